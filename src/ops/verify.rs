//! Checks again: what is in the store, one zip, or what is installed in a folder.
//!
//! *Invariant:* every byte that is reported as good was read in this run.
//! *Not for:* repairing anything, which `fetch`, `install` and `doctor` do.

mod outcome;

use std::path::{Path, PathBuf};

use cap_std::{ambient_authority, fs::Dir};

pub(crate) use self::outcome::{ProvenanceOutcome, VerifyOutcome};
use crate::{
    archive::{self, CompareError, InstalledError, PluginJson},
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    index::{Blob, ChainCheck, Index, IndexError},
    model::{Digests, PluginId},
    ops::{
        Context, blocking,
        stored_packages::{files_of, read_verified},
        trust::Signed,
    },
    progress::Unit,
    signature::{PolicyError, Status, Verdict},
    store::{self, StoreError},
    verifier::{Received, VerifyError, verify_archive},
};

const FETCH_AGAIN: &str = "`plugport fetch ID` fetches a damaged package again";
const INSTALL_AGAIN: &str = "`plugport uninstall ID` and `plugport install ID@VERSION` bring a plugin back as it was";

/// A verification could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyStartError {
    /// The index cannot be used.
    #[error("nothing was verified")]
    Index(#[from] IndexError),
    /// The store cannot be used.
    #[error("nothing was verified")]
    Store(#[from] StoreError),
    /// There is no such folder, or it cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the folder cannot be read.
    #[error("nothing was verified")]
    Compare(#[from] CompareError),
    /// A folder is no plugin.
    #[error("`{}` is no plugin's folder, and none of the folders in it is", .0.display())]
    NoPlugin(PathBuf),
    /// None of these plugins is in the store.
    #[error("the store has no package of {0}")]
    NotStored(PluginId),
}

diagnose!(VerifyStartError {
    forward Index, Store;
    Folder { source } if source.kind() == std::io::ErrorKind::NotFound => Kind::Usage;
    Folder | Compare => Kind::Storage;
    NoPlugin => Kind::Failed, "name a plugin's folder, or a plugins folder";
    NotStored(plugin) => Kind::Failed, format!("`plugport fetch {plugin}` brings it");
});

/// Reads packages of the store from end to end: those of these plugins, or all.
pub(crate) async fn verify_store(context: &Context, plugins: &[PluginId]) -> Result<VerifyOutcome, VerifyStartError> {
    let wanted = plugins.to_vec();
    let select = move |index: &Index| {
        let mut blobs = index.blobs()?;
        if let Some(missing) = wanted.iter().find(|id| !blobs.iter().any(|blob| blob.plugin == **id)) {
            return Err(VerifyStartError::NotStored(missing.clone()));
        }
        let mut outcome = VerifyOutcome::default();
        if wanted.is_empty() {
            verify_provenance(index, &mut outcome)?;
        }
        blobs.retain(|blob| wanted.is_empty() || wanted.contains(&blob.plugin));
        Ok((blobs, outcome))
    };
    let (blobs, mut outcome) = context.index().proven(select).await?;
    context.reporter.begin("verifying the store", Some(blobs.iter().map(|blob| blob.size).sum()), Unit::Bytes);
    for blob in blobs {
        let object = format!("{}@{} ({}) sha256:{}", blob.plugin, blob.version, blob.platform, blob.sha256);
        let size = blob.size;
        match store::inspect(context.store(), blob.sha256, size).await {
            Err(error) => outcome.refused(object, &error, error.kind()),
            Ok(Some(fault)) => outcome.bad(object, fault.to_string(), Kind::Integrity, Some(FETCH_AGAIN.to_owned())),
            Ok(None) => {
                let this = context.clone();
                outcome = blocking(move || {
                    verify_blob(&this, &blob, object, &mut outcome);
                    outcome
                })
                .await;
            }
        }
        context.reporter.advance(size);
    }
    context.reporter.end();
    Ok(outcome)
}

fn verify_blob(context: &Context, blob: &Blob, object: String, outcome: &mut VerifyOutcome) {
    match read_verified(context, blob) {
        Ok(mut verified) => {
            if outcome.accepts(context, &object, &mut verified) {
                outcome.good_by(blob, object);
            }
        }
        Err(VerifyError::Mismatch { found, .. }) => {
            outcome.bad(object, format!("its bytes hash to {found}"), Kind::Integrity, Some(FETCH_AGAIN.to_owned()));
        }
        Err(error) => outcome.refused(object, &error, error.kind()),
    }
}

/// Checks the provenance log, and what the index has against it.
fn verify_provenance(index: &Index, outcome: &mut VerifyOutcome) -> Result<(), IndexError> {
    let ChainCheck { entries, head, faults } = index.check_provenance()?;
    outcome.provenance =
        Some(ProvenanceOutcome { entries, head: head.map(|head| head.to_string()), ok: faults.is_empty() });
    for fault in faults {
        outcome.bad("the provenance log".to_owned(), fault.to_string(), Kind::Integrity, None);
    }
    Ok(())
}

/// Verifies one zip: is its archive safe, and is it a package that the catalog knows?
pub(crate) async fn verify_file(context: &Context, path: &Path) -> Result<VerifyOutcome, VerifyStartError> {
    let (context, path) = (context.clone(), path.to_path_buf());
    blocking(move || verify_zip(&context, &path)).await
}

fn verify_zip(context: &Context, path: &Path) -> Result<VerifyOutcome, VerifyStartError> {
    let folder_error = |source| VerifyStartError::Folder { path: path.to_path_buf(), source };
    let received = std::fs::File::open(path).and_then(|file| Received::read(file, path.to_path_buf()));
    let received = received.map_err(folder_error)?;
    let (mut outcome, object, sha256) = (VerifyOutcome::default(), path.display().to_string(), received.sha256);
    let found = Digests { sha256: Some(sha256), md5: Some(received.md5) };
    let mut verified = match verify_archive(received, None, None, &context.limits) {
        Err(error) => {
            outcome.refused(object, &error, Kind::Integrity);
            return Ok(outcome);
        }
        Ok(verified) => verified,
    };
    let PluginJson { id, version, .. } = verified.archive().plugin_json();
    let remark = match promised(context, id, version, &found)? {
        PromisedDigests::Same(platform) => format!("it is {id}@{version} ({platform}), as the catalog has it"),
        PromisedDigests::Other(digests) => {
            let reason =
                format!("it says that it is {id}@{version}, of which the catalog has {digests}, not sha256:{sha256}");
            drop(outcome.sign(context, &object, &mut verified));
            outcome.bad(object, reason, Kind::Integrity, None);
            return Ok(outcome);
        }
        PromisedDigests::Nothing => {
            format!("it is a safe archive of {id}@{version}; the catalog does not know it, so nothing proves it")
        }
    };
    outcome.remarks.push(remark);
    if outcome.accepts(context, &object, &mut verified) {
        outcome.good();
    }
    Ok(outcome)
}

/// What the catalog promises of a version.
enum PromisedDigests {
    Same(crate::model::Platform),
    Other(String),
    Nothing,
}

fn promised(
    context: &Context,
    id: &PluginId,
    version: &crate::model::PluginVersion,
    found: &Digests,
) -> Result<PromisedDigests, IndexError> {
    let releases = match context.index().read_blocking(|index| index.releases(id)) {
        Err(IndexError::Missing { .. }) => return Ok(PromisedDigests::Nothing),
        releases => releases?,
    };
    let Some(stored) = releases.iter().find(|stored| stored.release.version.same_release(version)) else {
        return Ok(PromisedDigests::Nothing);
    };
    let packages = &stored.release.packages;
    // What the catalog says nothing of agrees with everything, and proves nothing.
    let known = packages.iter().filter(|(_, package)| package.digests.strongest().is_some());
    if let Some((platform, _)) = known.clone().find(|(_, package)| !package.digests.contradicts(found)) {
        return Ok(PromisedDigests::Same(platform.clone()));
    }
    let known: Vec<_> = known.map(|(_, package)| package.digests.describe()).collect();
    Ok(if known.is_empty() { PromisedDigests::Nothing } else { PromisedDigests::Other(known.join(", ")) })
}

/// Compares an installed plugin, or every plugin of a plugins folder, with the package it came from.
pub(crate) async fn verify_folder(context: &Context, path: &Path) -> Result<VerifyOutcome, VerifyStartError> {
    let (context, path) = (context.clone(), path.to_path_buf());
    blocking(move || verify_plugins(&context, &path)).await
}

fn verify_plugins(context: &Context, path: &Path) -> Result<VerifyOutcome, VerifyStartError> {
    let folder_error = |source| VerifyStartError::Folder { path: path.to_path_buf(), source };
    let has_index = match context.index().read_blocking(|_| Ok(())) {
        // Signatures can be verified without a catalog.
        Err(IndexError::Missing { .. }) => false,
        opened => opened.map(|()| true)?,
    };
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(folder_error)?;
    let mut outcome = VerifyOutcome::default();
    let below = installed_below(path).map_err(folder_error)?;
    let folders = match archive::read_installed(&dir) {
        Ok(plugin_json) if is_plugins_folder(path, &plugin_json, &below) => {
            let remark = format!(
                "`{}` has plugins in folders of their own, and a `plugin.json` of {} at its top that belongs to none",
                path.display(),
                plugin_json.id
            );
            outcome.remarks.push(remark);
            below
        }
        Ok(plugin_json) => vec![(path.to_path_buf(), Ok(plugin_json))],
        Err(_) => below,
    };
    if folders.is_empty() {
        return Err(VerifyStartError::NoPlugin(path.to_path_buf()));
    }
    context.reporter.begin("verifying installed plugins", Some(folders.len() as u64), Unit::Items);
    for (folder, plugin_json) in folders {
        match plugin_json {
            Ok(plugin_json) => verify_installed(context, has_index, &folder, &plugin_json, &mut outcome)?,
            Err(error) => outcome.refused(folder.display().to_string(), &error, Kind::Findings),
        }
        context.reporter.advance(1);
    }
    context.reporter.end();
    Ok(outcome)
}

/// Returns whether a folder with a plugin.json at its top is a plugins folder all the same: it bears another name, and has
/// a plugin in a folder of that plugin's name. Plugins within a plugin are in folders of other names.
fn is_plugins_folder(path: &Path, top: &PluginJson, below: &[FoundPlugin]) -> bool {
    let bears = |path: &Path, id: &PluginId| {
        std::fs::canonicalize(path).is_ok_and(|path| path.file_name().is_some_and(|name| name == id.as_str()))
    };
    let is_own = |(folder, found): &FoundPlugin| found.as_ref().is_ok_and(|found| bears(folder, &found.id));
    !bears(path, &top.id) && below.iter().any(is_own)
}

type FoundPlugin = (PathBuf, Result<PluginJson, InstalledError>);

fn installed_below(path: &Path) -> std::io::Result<Vec<FoundPlugin>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let (hidden, is_possible) = (
            name.to_string_lossy().starts_with('.'),
            name.to_str().is_some_and(|name| name.parse::<PluginId>().is_ok()),
        );
        if hidden || !entry.path().is_dir() {
            continue;
        }
        let found = match Dir::open_ambient_dir(entry.path(), ambient_authority()) {
            Ok(dir) => archive::read_installed(&dir),
            Err(source) => Err(InstalledError::Io { path: String::from("."), source }),
        };
        // Like `lost+found`: no plugin has such a name.
        if !is_possible && matches!(found, Err(InstalledError::NoPluginJson)) {
            continue;
        }
        folders.push((entry.path(), found));
    }
    folders.sort_by(|left, right| left.0.cmp(&right.0));
    // A folder full of folders that are no plugins is no plugins folder.
    if folders.iter().all(|(_, plugin_json)| plugin_json.is_err()) {
        folders.clear();
    }
    Ok(folders)
}

fn verify_installed(
    context: &Context,
    has_index: bool,
    folder: &Path,
    plugin_json: &PluginJson,
    outcome: &mut VerifyOutcome,
) -> Result<(), VerifyStartError> {
    let PluginJson { id, version, .. } = plugin_json;
    let object = format!("{id}@{version} in {}", folder.display());
    let dir = Dir::open_ambient_dir(folder, ambient_authority())
        .map_err(|source| VerifyStartError::Folder { path: folder.to_path_buf(), source })?;
    let judged = match context.trust.evaluate_installed(&dir) {
        Ok(judged) => judged,
        Err(error) => {
            outcome.refused(object, &error, Kind::Findings);
            return Ok(());
        }
    };
    outcome.sign_installed(&object, &judged);
    // What counts for the plugins inside it is what counts for it, where they are not valid by themselves.
    let refusal = outcome.refusal(context, &object, id, &judged.verdict);
    let blobs = if has_index { context.index().read_blocking(|index| index.blobs_of(id))? } else { Vec::new() };
    let blobs: Vec<_> = blobs.into_iter().filter(|blob| blob.version.same_release(version)).collect();
    if blobs.is_empty() {
        by_signature(&judged.verdict, refusal, plugin_json, object, outcome);
        return Ok(());
    }
    let mut nearest: Option<Vec<String>> = None;
    for blob in blobs {
        let files = match files_of(context, &blob) {
            Ok(files) => files,
            Err(error) => {
                let reason = format!("its package in the store is refused: {}", Chain(&error));
                outcome.bad(object, reason, Kind::Integrity, error.hint());
                return Ok(());
            }
        };
        let differences: Vec<_> = archive::compare(&files, &dir)?.iter().map(ToString::to_string).collect();
        if differences.is_empty() {
            match refusal {
                Some(error) => outcome.refused(object, &error, Kind::Findings),
                None => outcome.good_by(&blob, object),
            }
            return Ok(());
        }
        // Of packages for several platforms, the one that differs least is the one it came from.
        if nearest.as_ref().is_none_or(|nearest| differences.len() < nearest.len()) {
            nearest = Some(differences);
        }
    }
    outcome.bad(object, nearest.unwrap_or_default().join("; "), Kind::Findings, Some(INSTALL_AGAIN.to_owned()));
    Ok(())
}

/// Evaluates an installed plugin of which the store has no package: a signature says as well what its files must be.
fn by_signature(
    verdict: &Verdict,
    refusal: Option<PolicyError>,
    PluginJson { id, version, .. }: &PluginJson,
    object: String,
    outcome: &mut VerifyOutcome,
) {
    match (verdict.status, &verdict.reason) {
        (Status::Valid, _) => {
            outcome
                .remarks
                .push(format!("{object}: the store has no package of it; its files are those that were signed"));
            outcome.good();
        }
        (Status::Modified, Some(reason)) => {
            let reason = format!("it is not what was signed: {}", Chain(reason.as_ref()));
            outcome.bad(object, reason, Kind::Findings, Some(INSTALL_AGAIN.to_owned()));
        }
        _ => {
            let refused = refusal.as_ref().map_or_else(String::new, |error| format!("{}; ", Chain(error)));
            let reason = format!(
                "{refused}the store has no package of {id}@{version} to compare with: `plugport fetch {id}@{version}`"
            );
            outcome.bad(object, reason, Kind::Findings, refusal.and_then(|error| error.hint()));
        }
    }
}

/// Returns what the signatures of packages in the store say, and what could not be read of them.
pub(crate) fn stored_signatures(context: &Context, blobs: &[Blob]) -> (Vec<Signed>, Vec<String>) {
    let mut outcome = VerifyOutcome::default();
    for blob in blobs {
        let object = format!("{}@{} ({})", blob.plugin, blob.version, blob.platform);
        match read_verified(context, blob) {
            Ok(mut verified) => {
                if let Err(error) = outcome.sign(context, &object, &mut verified) {
                    outcome.remarks.push(format!("{object}: its signature cannot be read: {}", Chain(&error)));
                }
            }
            Err(error) => outcome.remarks.push(format!("{object}: the package is refused: {}", Chain(&error))),
        }
    }
    (outcome.signatures, outcome.remarks)
}
