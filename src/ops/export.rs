//! Exports the lock: reads it, renders it for a tool, and copies packages of the store or compares a file.
//!
//! *Invariant:* with a file to compare nothing is written; packages are written only after every one of them was found, and
//! each after its bytes were read and compared with the lock.
//! *Not for:* what the text looks like, which `export` decides.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    diagnostic::{Kind, diagnose},
    disk,
    export::{
        self, ExportSet, ExportTool, ExportedPlugin, ExportedWorkspace, Host, LineDifference, PackageSource,
        package_file,
    },
    fleet::{
        Workspace,
        aws::AwsWorkspace,
        manifest::{Endpoint, Service},
    },
    index::{Blob, Index, IndexError},
    lockfile::PackageDigest,
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, WorkspaceName},
    ops::{
        Context, blocking,
        locking::{LockFileError, lock_path, read_lock},
        stored_packages::read_verified,
        text_file::{TextFileError, read_text},
    },
    verifier::VerifyError,
};

/// The folder beside a Dockerfile that the packages are written to.
const PACKAGES: &str = "plugins";

/// What to export, and how.
#[derive(Clone, Debug)]
pub(crate) struct ExportOptions {
    /// What reads the text.
    pub tool: ExportTool,
    /// The version of Grafana, instead of that in the lock.
    pub grafana: Option<GrafanaVersion>,
    /// The folder of a Dockerfile that packages of the store are written to.
    pub store_copies: Option<PathBuf>,
    /// The file to compare with.
    pub check: Option<PathBuf>,
    /// The command line, for the comment at the start.
    pub command: String,
}

/// An export.
#[derive(Debug, Serialize)]
pub(crate) struct ExportOutcome {
    /// The digest of the lock, like `sha256:…`.
    pub lock: String,
    /// The version of Grafana that it is for.
    pub grafana: GrafanaVersion,
    /// The workspaces.
    pub workspaces: Vec<WorkspaceName>,
    /// The plugins, in the order of the text.
    pub plugins: Vec<PluginVersionName>,
    /// The plugins that this version of Grafana brings itself.
    pub left_out: Vec<PluginVersionName>,
    /// The plugins that the tool cannot install: the lock has no digest that it accepts.
    pub unusable: Vec<PluginVersionName>,
    /// The text.
    pub text: String,
    /// The packages that were written.
    pub written: Vec<PathBuf>,
    /// With a file to compare: what is different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<LineDifference>>,
    /// Notes, a sentence each.
    pub remarks: Vec<String>,
}

/// A version of a plugin.
#[derive(Debug, Serialize)]
pub(crate) struct PluginVersionName {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: PluginVersion,
}

impl ExportOutcome {
    /// Returns the kind of failure: the file differs, or a plugin is missing.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match &self.differences {
            Some(differences) if !differences.is_empty() => Some(Kind::Findings),
            _ if !self.unusable.is_empty() => Some(Kind::Partly),
            _ => None,
        }
    }
}

/// Nothing was exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportFailure {
    /// The lock cannot be read.
    #[error(transparent)]
    Lock(#[from] LockFileError),
    /// There is no lock.
    #[error("there is no lock at `{}`", .0.display())]
    NoLock(PathBuf),
    /// The lock cannot be exported as it was asked for.
    #[error(transparent)]
    Export(#[from] export::ExportError),
    /// The file to compare cannot be read.
    #[error(transparent)]
    File(#[from] TextFileError),
    /// There is no file to compare.
    #[error("there is no file `{}`", .0.display())]
    NoFile(PathBuf),
    /// The index cannot be read.
    #[error("the packages cannot be found")]
    Index(#[from] IndexError),
    /// A package is not in the store.
    #[error("the store has no package of {plugin} {version} for {platform}")]
    NotStored {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
    },
    /// The manifest denies a version of the lock.
    #[error("{plugin} {version} is {why}")]
    Denied {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// Why, as the end of a sentence.
        why: String,
    },
    /// The package in the store is another one than the lock names.
    #[error("the package of {plugin} {version} in the store is not the one in the lock: {stored} instead of {locked}")]
    Contradicted {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// The digest in the store.
        stored: PackageDigest,
        /// The digest in the lock.
        locked: PackageDigest,
    },
    /// A package in the store is damaged.
    #[error("{plugin} cannot be exported")]
    Damaged {
        /// The plugin.
        plugin: PluginId,
        /// Why.
        source: VerifyError,
    },
    /// A package cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

diagnose!(ExportFailure {
    forward Lock, Export, File, Index, Damaged { source };
    NoLock => Kind::Usage, "`plugport lock` writes it";
    NoFile(path) => Kind::Usage, format!("without `--check` the command prints what belongs into `{}`", path.display());
    NotStored => Kind::Failed, "`plugport fetch --locked` fetches every package of the lock";
    Denied { plugin } => Kind::Integrity, format!("`plugport lock --upgrade {plugin}` chooses another version");
    Contradicted => Kind::Integrity, "`plugport diff` and `plugport verify ID` show what changed";
    Write => Kind::Storage;
});

/// Exports the lock beside the manifest at `manifest`, for these workspaces.
pub(crate) async fn export(
    context: &Context,
    manifest: &Path,
    workspaces: &[&Workspace],
    options: &ExportOptions,
) -> Result<ExportOutcome, ExportFailure> {
    let path = lock_path(manifest);
    let lock = blocking({
        let path = path.clone();
        move || read_lock(&path)
    });
    let lock = lock.await?.ok_or(ExportFailure::NoLock(path))?;
    let exported = workspaces.iter().map(|one| ExportedWorkspace { name: one.name().clone(), host: host(one) });
    let mut set = export::select(&lock, exported.collect(), options.grafana.as_ref())?;
    refuse_denied(context, &set)?;
    let remarks = remarks(&lock, &set, options);
    let copies = match &options.store_copies {
        Some(_) => find_packages(context, &mut set).await?,
        None => Vec::new(),
    };
    let source = if options.store_copies.is_some() { PackageSource::Files } else { PackageSource::Repository };
    let text = export::render(&set, options.tool, source, &options.command)?;
    let differences = match &options.check {
        Some(file) => Some(compare(file.clone(), text.clone()).await?),
        None => None,
    };
    let written = match &options.store_copies {
        Some(folder) if options.check.is_none() => write_packages(context, &folder.join(PACKAGES), copies).await?,
        _ => Vec::new(),
    };
    Ok(outcome(&set, options.tool, (text, written), (differences, remarks)))
}

/// Refuses a lock with a version that the manifest denies: another tool would install it.
fn refuse_denied(context: &Context, set: &ExportSet) -> Result<(), ExportFailure> {
    for ExportedPlugin { id, version, .. } in &set.plugins {
        if let Some(denial) = context.trust.denied.find(id, version) {
            let (plugin, version) = (id.clone(), version.clone());
            return Err(ExportFailure::Denied { plugin, version, why: denial.why() });
        }
    }
    Ok(())
}

fn outcome(
    set: &ExportSet,
    tool: ExportTool,
    (text, written): (String, Vec<PathBuf>),
    (differences, remarks): (Option<Vec<LineDifference>>, Vec<String>),
) -> ExportOutcome {
    let name = |one: &ExportedPlugin| PluginVersionName { plugin: one.id.clone(), version: one.version.clone() };
    let unusable = if tool == ExportTool::Nix { export::unusable_in_nix(set) } else { Vec::new() };
    ExportOutcome {
        lock: format!("sha256:{}", set.lock),
        grafana: set.grafana.clone(),
        workspaces: set.workspaces.iter().map(|one| one.name.clone()).collect(),
        plugins: set.plugins.iter().map(name).collect(),
        left_out: set.core.iter().map(name).collect(),
        unusable: unusable.into_iter().map(name).collect(),
        text,
        written,
        differences,
        remarks,
    }
}

/// Returns who runs a workspace, by its kind and its address.
fn host(workspace: &Workspace) -> Host {
    let Endpoint::Server { service, url, .. } = workspace.endpoint() else { return Host::Own };
    let is_amazon = AwsWorkspace::from_address(url).is_some();
    match url.host_str().unwrap_or_default().strip_suffix(".grafana.net") {
        _ if is_amazon || *service == Service::Amg => Host::Amazon,
        Some(stack) if !stack.is_empty() && !stack.contains('.') => Host::Cloud(stack.to_owned()),
        _ => Host::Own,
    }
}

/// Returns notes: which workspaces the tool does not reach, which lack a plugin, and which versions were chosen for another
/// Grafana.
fn remarks(lock: &crate::lockfile::Lock, set: &ExportSet, options: &ExportOptions) -> Vec<String> {
    let mut remarks = export::unreachable_workspaces(set, options.tool);
    for plugin in set.plugins.iter().filter(|one| one.workspaces.len() < set.workspaces.len()) {
        let names: Vec<_> = plugin.workspaces.iter().map(WorkspaceName::as_str).collect();
        remarks.push(format!("{} is exported, although only {} has it in the lock", plugin.id, names.join(", ")));
    }
    for plugin in &set.core {
        let (id, version, grafana) = (&plugin.id, &plugin.version, &set.grafana);
        remarks.push(format!("{id} {version} is left out: it is part of Grafana {grafana}"));
    }
    let release = |grafana: &GrafanaVersion| (grafana.semver().major, grafana.semver().minor);
    for ExportedWorkspace { name, .. } in &set.workspaces {
        let locked = lock.workspace(name).and_then(|entry| entry.grafana.as_ref());
        if let Some(locked) = locked.filter(|locked| release(locked) != release(&set.grafana)) {
            remarks.push(format!("the versions of {name} were chosen for Grafana {locked}, not {}", set.grafana));
        }
    }
    remarks
}

/// Returns the packages of the store for every platform of the set with their file names; the set gets their SHA-256.
async fn find_packages(context: &Context, set: &mut ExportSet) -> Result<Vec<(String, Blob)>, ExportFailure> {
    let mut wanted = set.clone();
    let find = move |index: &Index| {
        let mut found: Vec<(String, Blob)> = Vec::new();
        let platforms = wanted.platforms.clone();
        for plugin in &mut wanted.plugins {
            for platform in &platforms {
                let blob = find_package(index, plugin, platform)?;
                plugin.packages.insert(blob.platform.clone(), PackageDigest::Sha256(blob.sha256));
                let name = package_file(plugin, &blob.platform);
                if !found.iter().any(|(known, _)| *known == name) {
                    found.push((name, blob));
                }
            }
        }
        Ok::<_, ExportFailure>((wanted, found))
    };
    let (completed, found) = context.index().proven(find).await?;
    *set = completed;
    Ok(found)
}

fn find_package(index: &Index, plugin: &ExportedPlugin, platform: &Platform) -> Result<Blob, ExportFailure> {
    let ExportedPlugin { id, version, packages, .. } = plugin;
    let locked = platform.choose(packages.keys()).and_then(|key| Some((key, *packages.get(key)?)));
    let keys = match locked {
        Some((key, _)) => vec![key.clone()],
        None => vec![platform.clone(), Platform::any()],
    };
    for key in &keys {
        let Some(blob) = index.blob(id, version, key)? else { continue };
        let stored = match locked {
            Some((_, PackageDigest::Md5(_))) => blob.md5.map(PackageDigest::Md5),
            _ => Some(PackageDigest::Sha256(blob.sha256)),
        };
        return match (locked, stored) {
            (Some((_, locked)), Some(stored)) if locked != stored => {
                Err(ExportFailure::Contradicted { plugin: id.clone(), version: version.clone(), stored, locked })
            }
            _ => Ok(blob),
        };
    }
    Err(ExportFailure::NotStored { plugin: id.clone(), version: version.clone(), platform: platform.clone() })
}

/// Writes packages into a folder, which is created if it is missing; returns their paths.
async fn write_packages(
    context: &Context,
    folder: &Path,
    packages: Vec<(String, Blob)>,
) -> Result<Vec<PathBuf>, ExportFailure> {
    let (context, folder) = (context.clone(), folder.to_owned());
    blocking(move || {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportFailure::Write { path, source }
        };
        disk::create_dirs(&folder).map_err(failed(&folder))?;
        let mut written = Vec::new();
        for (name, blob) in packages {
            let path = folder.join(name);
            let verified = read_verified(&context, &blob);
            let mut verified =
                verified.map_err(|source| ExportFailure::Damaged { plugin: blob.plugin.clone(), source })?;
            let (file, _) = verified.file();
            let copied = io::Seek::rewind(file).and_then(|()| disk::copy_atomic(&path, file, 0o644));
            copied.map_err(failed(&path))?;
            written.push(path);
        }
        Ok(written)
    })
    .await
}

async fn compare(path: PathBuf, text: String) -> Result<Vec<LineDifference>, ExportFailure> {
    blocking(move || match read_text(&path)? {
        Some(file) => Ok(export::differences(&file, &text)),
        None => Err(ExportFailure::NoFile(path)),
    })
    .await
}
