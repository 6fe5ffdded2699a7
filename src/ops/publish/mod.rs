//! Publishes private packages into the local catalog.
//!
//! *Invariant:* a package passes the same checks as one that is fetched, and (plugin, version, platform) never changes once
//! it is published. All packages of one call appear at once. A plugin of a synced catalog is replaced only by name, and then
//! wholly.
//! *Not for:* signing, or sending packages to another mirror.

mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use self::record::{PublishedPackage, Texts};
use super::private::{self, SOURCE};
use crate::{
    archive,
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::{Blob, Index, IndexError, IndexWriter},
    model::{Digests, Platform, PluginId, PluginStatus, PluginVersion, RelPath, Release, Sha256Digest},
    ops::{
        Context, blocking,
        candidates::{self, LookupError},
    },
    signature::PolicyError,
    store::StoreError,
    verifier::{Received, Verified, VerifyError, verify_archive},
};

/// A package that is to be published.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The file, on the file system of the store; it is used up.
    pub received: Received,
    /// What its zip is for.
    pub platform: Platform,
    /// What plugin.json must say, if the caller named it.
    pub expected: Option<(PluginId, PluginVersion)>,
}

/// What was published.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PublishOutcome {
    /// The packages, in the order in which they were given; those that were published before too.
    pub published: Vec<Published>,
    /// What the signature policy warns of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether anything was new.
    #[serde(skip)]
    pub is_new: bool,
}

/// A published package.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Published {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform.
    pub platform: Platform,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// Nothing was published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The cache cannot be used.
    #[error("nothing was published")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("nothing was published")]
    Index(#[from] IndexError),
    /// The store cannot be used.
    #[error("nothing was published")]
    Store(#[from] StoreError),
    /// It is no package, or another one.
    #[error("nothing was published")]
    Verify(#[from] VerifyError),
    /// The signature policy refuses it.
    #[error("nothing was published: {plugin}@{version} is refused")]
    Signature {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// Why.
        source: PolicyError,
    },
    /// The manifest denies it.
    #[error("nothing was published")]
    Denied(#[source] LookupError),
    /// It looks like a core plugin.
    #[error(
        "`{0}` looks like the id of a core plugin: an id is an organisation, a name and a type, like `acme-tides-panel`"
    )]
    Id(PluginId),
    /// Its version cannot be ordered.
    #[error("the version `{version}` of {plugin} is not a semantic version")]
    Version {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
    },
    /// A catalog has a plugin of this id.
    #[error("`{plugin}` is a plugin of the catalog `{catalog}`")]
    Shadow {
        /// The plugin.
        plugin: PluginId,
        /// Whose it is.
        catalog: String,
    },
    /// Other bytes are known under this name.
    #[error("{plugin}@{version} ({platform}) is published with other bytes: {known}")]
    Conflict {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
        /// What is published.
        known: String,
    },
    /// Two files are one package.
    #[error("two files are {plugin}@{version} for {platform}")]
    Twice {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
    },
    /// There is no such private version.
    #[error("{plugin}@{version} is not a version that was published here")]
    NotPrivate {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
    },
}

diagnose!(PublishError {
    forward Home, Index, Store, Verify, Denied, Signature { source };
    Read => Kind::Storage;
    Id => Kind::Failed;
    Version => Kind::Failed, "write `info.version` in plugin.json like `1.2.3`";
    Shadow { plugin } => Kind::Failed,
        format!("choose another id, or let yours take the place of all its versions with `--shadow {plugin}`");
    Conflict => Kind::Integrity, "what is published never changes: publish another version";
    Twice => Kind::Usage, "name the platform in the file name, like `…-linux-amd64.zip`";
    NotPrivate => Kind::Failed, "only what `plugport publish` published is withdrawn here";
});

/// Copies a file of the user to where it can be published from.
pub(crate) async fn submit(context: &Context, path: &Path, platform: Platform) -> Result<Submission, PublishError> {
    let (this, path) = (context.clone(), path.to_path_buf());
    blocking(move || {
        let failed = |source| PublishError::Read { path: path.clone(), source };
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > this.limits.package_bytes {
            let too_large = format!("it has {length} bytes, more than a package may have");
            return Err(failed(std::io::Error::other(too_large)));
        }
        let mut copy = this.folder_store().downloads().temporary_file()?;
        std::io::copy(&mut file, &mut copy).map_err(failed)?;
        let (file, kept) = copy.keep().map_err(|error| failed(error.error))?;
        let received = Received::read(file, kept).map_err(failed)?;
        Ok(Submission { received, platform, expected: None })
    })
    .await
}

/// Publishes packages: all of them or none. Those of a plugin of a catalog need its id in `shadow`.
pub(crate) async fn publish(
    context: &Context,
    submissions: Vec<Submission>,
    shadow: &BTreeSet<PluginId>,
) -> Result<PublishOutcome, PublishError> {
    let left_over: Vec<PathBuf> = submissions.iter().map(|submission| submission.received.path.clone()).collect();
    let published = publish_all(context, submissions, shadow).await;
    // What was stored is no longer there; what was refused, or stored before, is not needed.
    blocking(move || left_over.iter().for_each(|path| drop(std::fs::remove_file(path)))).await;
    published
}

async fn publish_all(
    context: &Context,
    submissions: Vec<Submission>,
    shadow: &BTreeSet<PluginId>,
) -> Result<PublishOutcome, PublishError> {
    let mut outcome = PublishOutcome::default();
    let mut packages = Vec::new();
    for submission in submissions {
        let (package, verified, warning) = inspect(context, submission).await?;
        outcome.published.push(package.published());
        outcome.warnings.extend(warning.map(|warning| warning.to_string()));
        packages.push((package, verified));
    }
    refuse_twins(&outcome.published)?;
    let _lock = context.lock().await?;
    let writer = context.index().create_writer().await?;
    let written = write_all(context, &writer, packages, shadow).await;
    writer.close().await;
    outcome.is_new = written?;
    Ok(outcome)
}

async fn write_all(
    context: &Context,
    writer: &IndexWriter,
    packages: Vec<(PublishedPackage, Verified)>,
    shadow: &BTreeSet<PluginId>,
) -> Result<bool, PublishError> {
    let names: Vec<Published> = packages.iter().map(|(package, _)| package.published()).collect();
    let allowed = shadow.clone();
    let check = move |index: &mut Index| {
        if let Some(denied) = names.iter().find_map(|name| candidates::denied(index, &name.plugin, &name.version)) {
            return Err(PublishError::Denied(denied));
        }
        names.iter().map(|name| is_new(index, name, &allowed)).collect::<Result<Vec<_>, _>>()
    };
    let new = writer.run(check).await?;
    let mut added = Vec::new();
    for ((package, verified), is_new) in packages.into_iter().zip(new) {
        if is_new {
            context.store().insert(verified).await?;
            added.push(package);
        }
    }
    if added.is_empty() {
        return Ok(false);
    }
    let now = context.now();
    writer.run(move |index| record::write(index, &added, now)).await?;
    Ok(true)
}

/// Checks a package as one that is fetched is checked.
async fn inspect(
    context: &Context,
    submission: Submission,
) -> Result<(PublishedPackage, Verified, Option<PolicyError>), PublishError> {
    let (limits, trust, now) = (context.limits, Arc::clone(&context.trust), context.now());
    blocking(move || {
        let Submission { received, platform, expected } = submission;
        let (plugin, version) = expected.as_ref().map(|(plugin, version)| (plugin, version)).unzip();
        let mut verified = verify_archive(received, plugin, version, &limits)?;
        let plugin_json = verified.archive().plugin_json().clone();
        let (plugin, version) = (plugin_json.id.clone(), plugin_json.version.clone());
        if !plugin.as_str().contains('-') {
            return Err(PublishError::Id(plugin));
        }
        if semver::Version::parse(version.normalized()).is_err() {
            return Err(PublishError::Version { plugin, version });
        }
        let refused = |source| PublishError::Signature { plugin: plugin.clone(), version: version.clone(), source };
        let unreadable =
            |source| VerifyError::Archive { plugin: Some(plugin.clone()), version: Some(version.clone()), source };
        let verdict = trust.evaluate(&mut verified, None).map_err(unreadable)?;
        let warning = trust.decide(&verdict, &plugin).map_err(refused)?;
        let texts = texts(&mut verified).map_err(unreadable)?;
        let received = verified.received();
        let blob = Blob {
            plugin,
            version,
            platform,
            sha256: received.sha256,
            md5: Some(received.md5),
            size: received.size,
            plugin_json: plugin_json.raw.clone(),
            weak: false,
            added_at: now,
        };
        Ok((PublishedPackage { blob, plugin_json, verdict, texts }, verified, warning))
    })
    .await
}

/// Reads the readme and the changelog of a package.
fn texts(verified: &mut Verified) -> Result<Texts, archive::ArchiveError> {
    const LONGEST: u64 = 1 << 20;
    let (file, archive) = verified.file();
    let names = ["README.md", "CHANGELOG.md"].map(|name| archive.path_in_plugin(name));
    let wanted: BTreeSet<RelPath> = names.iter().flatten().cloned().collect();
    let mut found = archive::read_files(file, archive, &wanted, LONGEST)?;
    let [readme, changelog] = names.map(|name| Some(String::from_utf8_lossy(&found.remove(&name?)?).into_owned()));
    Ok(Texts { readme, changelog })
}

fn refuse_twins(published: &[Published]) -> Result<(), PublishError> {
    let mut seen = BTreeSet::new();
    for Published { plugin, version, platform, .. } in published {
        if !seen.insert((plugin, version.as_str(), platform)) {
            let (plugin, version, platform) = (plugin.clone(), version.clone(), platform.clone());
            return Err(PublishError::Twice { plugin, version, platform });
        }
    }
    Ok(())
}

/// Returns whether a package is new: `false` if it was published before with these bytes, an error if it may not be.
pub(crate) fn is_new(index: &Index, name: &Published, shadow: &BTreeSet<PluginId>) -> Result<bool, PublishError> {
    let Published { plugin, version, platform, sha256 } = name;
    let Some(stored) = index.plugin(plugin)? else { return Ok(true) };
    if stored.source != SOURCE && !shadow.contains(plugin) {
        return Err(PublishError::Shadow { plugin: plugin.clone(), catalog: stored.source });
    }
    let given = Digests { sha256: Some(*sha256), md5: None };
    let releases = index.releases(plugin)?;
    let release = releases.iter().find(|known| known.release.version.same_release(version));
    let pin = release.and_then(|known| known.pins.get(platform));
    match pin {
        None => Ok(true),
        Some(pin) if pin.digests.contradicts(&given) => {
            let (plugin, version, platform) = (plugin.clone(), version.clone(), platform.clone());
            Err(PublishError::Conflict { plugin, version, platform, known: pin.digests.describe() })
        }
        Some(_) => Ok(!release
            .is_some_and(|known| private::is_private(&known.release.raw) && known.stored.contains_key(platform))),
    }
}

/// Marks a private version as withdrawn: it is no longer listed, and answered when it is named.
pub(crate) async fn withdraw(
    context: &Context,
    plugin: &PluginId,
    version: &PluginVersion,
    reason: &str,
) -> Result<(), PublishError> {
    let _lock = context.lock().await?;
    let (id, wanted, reason, now) = (plugin.clone(), version.clone(), reason.to_owned(), context.now());
    context
        .index()
        .write(move |index| {
            let missing = || PublishError::NotPrivate { plugin: id.clone(), version: wanted.clone() };
            let stored = index.plugin(&id)?.filter(|stored| stored.source == SOURCE).ok_or_else(missing)?;
            let releases = index.releases(&id)?;
            let known =
                releases.iter().map(|known| &known.release).find(|release| release.version.same_release(&wanted));
            let known = known.filter(|release| private::is_private(&release.raw)).ok_or_else(missing)?;
            let withdrawn = Release {
                status: PluginStatus::Deleted,
                raw: record::with_reason(&known.raw, &reason),
                ..known.clone()
            };
            record::withdraw(index, &stored, &releases, &withdrawn, now)?;
            Ok(())
        })
        .await
}

/// Returns what the name of a file says it is for: `…_linux_amd64.zip`, `….linux-arm64.zip`; else it is for any platform.
pub(crate) fn platform_of(path: &Path) -> Platform {
    const SYSTEMS: [&str; 4] = ["linux", "darwin", "windows", "freebsd"];
    const ARCHITECTURES: [&str; 4] = ["amd64", "arm64", "arm", "386"];
    let name = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let words: BTreeMap<usize, &str> =
        name.split(['-', '_', '.']).rev().enumerate().filter(|(at, _)| *at < 2).collect();
    let (Some(architecture), Some(system)) = (words.get(&0), words.get(&1)) else { return Platform::any() };
    if SYSTEMS.contains(system) && ARCHITECTURES.contains(architecture) {
        return format!("{system}-{architecture}").parse().unwrap_or_else(|_| Platform::any());
    }
    Platform::any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_platform() {
        for (name, platform) in [
            ("acme-tides-datasource-1.0.0.linux_amd64.zip", "linux-amd64"),
            ("acme-tides-datasource-1.0.0-linux-arm64.zip", "linux-arm64"),
            ("acme-tides-datasource-1.0.0_darwin_arm64.zip", "darwin-arm64"),
            ("acme-tides-datasource-1.0.0.zip", "any"),
            ("linux.zip", "any"),
            ("amd64.zip", "any"),
            ("", "any"),
        ] {
            assert_eq!(platform_of(Path::new(name)).as_str(), platform, "{name}");
        }
    }
}
