//! Carries out the steps of a plan on one target, one after another.

use std::collections::HashSet;

use super::{
    place::{Placed, place},
    plan::InstallStep,
};
use crate::{
    archive::ArchiveError,
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    fleet::{
        Grafana,
        directory::DirectoryError,
        settle::{self, PluginState},
    },
    index::{Index, IndexError},
    model::{Digests, PluginId},
    ops::{
        Context, blocking,
        candidates::LookupError,
        changes::{ChangeOutcome, ChangeResult},
        fetch::FetchFailure,
        target::{Place, Target},
        unmanaged_files::ForeignError,
    },
    signature::{Enforcement, PolicyError},
    store::StoreError,
    upstream::PackageName,
    verifier::{Promise, Received, Verified, VerifyError, verify},
};

/// A step was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// There is no version to install.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The package is not in the store.
    #[error("the package of {0} is not in the store")]
    NoPackage(PackageName),
    /// The catalog names no package for the target.
    #[error("the catalog names no package of {plugin} that could be checked here first")]
    Unchecked {
        /// The plugin.
        plugin: PluginId,
    },
    /// The package was refused.
    #[error("the package in the store is refused")]
    Verify(#[from] VerifyError),
    /// The package's files cannot be read.
    #[error("the package in the store cannot be read")]
    Archive(#[from] ArchiveError),
    /// Its signature does not satisfy the policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The folder failed.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// It is not known which files in the plugin's folder are foreign.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
}

diagnose!(StepError {
    forward Lookup, Policy, Store, Index, Folder, Foreign;
    NoPackage(name) => Kind::Failed,
        format!("`plugport fetch {}@{} --platform {}` brings it", name.plugin, name.version, name.platform);
    Unchecked => Kind::Integrity,
        "sync from a source that publishes packages, like `https://grafana.com/api`; or set `preflight = false` under \
         `[trust]` to let workspaces install what was not checked";
    Verify(error) => error.kind(), "`plugport verify --all` finds what else is damaged";
    Archive(error) => error.kind(), "`plugport verify --all` finds what else is damaged";
});

/// What the steps of one target are carried out with.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) target: &'a Target,
    pub(super) failed_fetches: &'a [FetchFailure],
    pub(super) preflight: bool,
}

/// A step as far as it is before anything is changed.
enum Begun {
    /// There is nothing to do, or it must not be done.
    Ended(ChangeResult),
    /// It may be done; this is its result when it was.
    Ready(ChangeResult),
}

/// Carries out all steps; what needs something that failed is not tried.
///
/// What a server brings along with another plugin is checked in its turn, before the server is asked for the other, and
/// asked for itself right after it (see `resolver::brought_along`).
pub(super) async fn apply(work: &Work<'_>, steps: Vec<InstallStep>) -> Vec<ChangeResult> {
    let mut results = Results::default();
    let mut waiting: Vec<(InstallStep, ChangeResult)> = Vec::new();
    for step in steps {
        let ready = match work.begin(&step, &results.failed).await {
            Begun::Ended(result) => {
                results.add(step, result);
                continue;
            }
            Begun::Ready(result) => result,
        };
        if step.brought_by.is_some() {
            waiting.push((step, ready));
            continue;
        }
        let mut next = vec![(step, ready)];
        while let Some((step, ready)) = next.pop() {
            let result = work.finish(&step, ready).await;
            next.extend(waiting.extract_if(.., |(waits, _)| waits.brought_by.as_ref() == Some(&step.plugin)));
            results.add(step, result);
        }
    }
    // What they were to come with was not asked for.
    for (step, ready) in waiting {
        let result = work.finish(&step, ready).await;
        results.add(step, result);
    }
    if let Place::Server(server) = &work.target.place {
        hold(server, &mut results.list).await;
    }
    results.list
}

/// What became of the steps so far.
#[derive(Default)]
struct Results {
    list: Vec<ChangeResult>,
    failed: HashSet<PluginId>,
}

impl Results {
    fn add(&mut self, step: InstallStep, result: ChangeResult) {
        if !matches!(result.outcome, ChangeOutcome::Changed | ChangeOutcome::Unchanged) {
            self.failed.insert(step.plugin);
        }
        self.list.push(ChangeResult { needed_by: step.needed_by, ..result });
    }
}

/// Grafana brings the newest version of whatever a plugin needs, also over the one that was installed a moment ago
/// (protocol page 8): what became another version is set right, once.
async fn hold(server: &Grafana, results: &mut [ChangeResult]) {
    let last = results.iter().rposition(|result| result.outcome == ChangeOutcome::Changed).unwrap_or(0);
    for result in &mut results[..last] {
        let reached = matches!(result.outcome, ChangeOutcome::Changed | ChangeOutcome::Unchanged);
        if let (true, Some(to)) = (reached, result.to.clone()) {
            let as_it_was = result.clone();
            *result = match server.install(&as_it_was.plugin, &to).await {
                Ok(settled) if settled.outcome == settle::Outcome::Unchanged => as_it_was,
                Ok(settled) => judge(as_it_was, settled),
                Err(error) => doubted(as_it_was, &error),
            };
        }
    }
}

/// Returns a result that could not be read once more: nothing was sent, and what was read after the change still stands.
fn doubted(result: ChangeResult, error: &impl Diagnose) -> ChangeResult {
    let doubt = format!("whether it stayed so could not be read: {}", Chain(error));
    result.noting(Some(doubt))
}

fn concerns(failure: &FetchFailure, step: &InstallStep) -> bool {
    let Some(name) = &step.package else { return false };
    let same_version = failure.version.as_ref().is_none_or(|version| *version == name.version);
    let same_platform = failure.platform.as_ref().is_none_or(|platform| *platform == name.platform);
    failure.plugin == name.plugin && same_version && same_platform
}

impl Work<'_> {
    /// Looks whether a step is to be carried out and may be: for a server, its package is judged now.
    async fn begin(&self, step: &InstallStep, failed: &HashSet<PluginId>) -> Begun {
        let name = &self.target.name;
        let action = match &step.action {
            Ok(action) if action.is_nothing() => {
                return Begun::Ended(ChangeResult::new(name, &step.plugin, action, ChangeOutcome::Unchanged));
            }
            Ok(action) => action,
            Err(error) => return Begun::Ended(ChangeResult::refused(name, &step.plugin, "install", error)),
        };
        let result = ChangeResult::new(name, &step.plugin, action, ChangeOutcome::Changed).noting(step.warning());
        if let Some(need) = step.needs.iter().find(|need| failed.contains(need)) {
            let error = Some(format!("it needs {need}, which failed"));
            return Begun::Ended(ChangeResult { outcome: ChangeOutcome::Skipped, error, ..result });
        }
        if let Some(failure) = self.failed_fetches.iter().find(|failure| concerns(failure, step)) {
            return Begun::Ended(ChangeResult { outcome: ChangeOutcome::Failed, ..result }.because(&failure.error));
        }
        match &self.target.place {
            Place::Folder { .. } => Begun::Ready(result),
            Place::Closed(error) => Begun::Ended(result.because(error.as_ref())),
            Place::Server(server) => {
                match check_for_server(self.context, server, &step.plugin, step.package.clone(), self.preflight).await {
                    Ok(Permit { warning, .. }) => {
                        Begun::Ready(result.noting(warning.map(|warning| Chain(&warning).to_string())))
                    }
                    Err(error) => Begun::Ended(result.because(&error)),
                }
            }
        }
    }

    /// Makes a change that may be made.
    async fn finish(&self, step: &InstallStep, result: ChangeResult) -> ChangeResult {
        let Some(to) = result.to.clone() else { return result };
        match &self.target.place {
            Place::Folder { path, .. } => {
                let (context, path, package) = (self.context.clone(), path.clone(), step.package.clone());
                let plugin = step.plugin.clone();
                match blocking(move || place(&context, &path, &plugin, package.as_ref())).await {
                    Ok(Placed { warning, note, kept }) => {
                        let warning = warning.map(|warning| Chain(&warning).to_string());
                        ChangeResult { kept, ..result.noting(warning).noting(note) }
                    }
                    Err(error) => result.because(&error),
                }
            }
            Place::Server(server) => {
                let result = settled(server, result, &step.plugin, &to).await;
                // It came with what needs it, so there was nothing left to do.
                let came = step.brought_by.is_some() && result.outcome == ChangeOutcome::Unchanged;
                ChangeResult { outcome: if came { ChangeOutcome::Changed } else { result.outcome }, ..result }
            }
            Place::Closed(error) => result.because(error.as_ref()),
        }
    }
}

/// Returns what is to be told of the signature of a package that a server may be asked to install; it is that of the store
/// where `preflight` says that it must be, else the catalog's word counts.
pub(in crate::ops) async fn check_for_server(
    context: &Context,
    server: &Grafana,
    plugin: &PluginId,
    package: Option<PackageName>,
    preflight: bool,
) -> Result<Permit, StepError> {
    let (context, plugin, root_url) = (context.clone(), plugin.clone(), server.site().base().to_owned());
    blocking(move || {
        if preflight {
            trusted(&context, &plugin, package.as_ref(), &root_url)
        } else {
            promised_signature(&context, &plugin).map(|warning| Permit { warning, is_for_all: true })
        }
    })
    .await
}

/// Returns what is to be told of the signature of a package of the store that a server may be asked to install.
fn trusted(
    context: &Context,
    plugin: &PluginId,
    package: Option<&PackageName>,
    root_url: &str,
) -> Result<Permit, StepError> {
    let mut verified = from_store(context, plugin, package)?;
    // Where signatures do not count, the package need not be read once more for them.
    if context.trust.enforcement == Enforcement::Off {
        return Ok(Permit { warning: None, is_for_all: true });
    }
    let verdict = context.trust.judge(&mut verified, Some(root_url))?;
    let is_for_some = verdict.manifest.as_ref().is_some_and(|manifest| !manifest.root_urls.is_empty());
    Ok(Permit { warning: context.trust.decide(&verdict, plugin)?, is_for_all: !is_for_some })
}

/// That a server may be asked to install a package.
#[derive(Debug)]
pub(in crate::ops) struct Permit {
    /// What is to be told of its signature.
    pub(in crate::ops) warning: Option<PolicyError>,
    /// Whether the address of the server had no part in that.
    pub(in crate::ops) is_for_all: bool,
}

/// Decides by what the catalog says of a plugin's signature, where the package itself is not looked at here.
fn promised_signature(context: &Context, plugin: &PluginId) -> Result<Option<PolicyError>, StepError> {
    let index = Index::open_existing(&context.home.index_path())?;
    let signature = index.plugin(plugin)?.map(|stored| stored.plugin.signature.signature_type).unwrap_or_default();
    let unsigned = signature.is_empty() && !context.trust.unsigned.contains(plugin);
    match context.trust.enforcement {
        Enforcement::Require if unsigned => Err(PolicyError::Unsigned(plugin.clone()).into()),
        Enforcement::Warn if unsigned => Ok(Some(PolicyError::Unsigned(plugin.clone()))),
        _ => Ok(None),
    }
}

/// Opens a package of the store, and judges the very bytes that are then used.
pub(super) fn from_store(
    context: &Context,
    plugin: &PluginId,
    package: Option<&PackageName>,
) -> Result<Verified, StepError> {
    let Some(name) = package else { return Err(StepError::Unchecked { plugin: plugin.clone() }) };
    let index = Index::open_existing(&context.home.index_path())?;
    let blob = index.blob(&name.plugin, &name.version, &name.platform)?;
    let blob = blob.ok_or_else(|| StepError::NoPackage(name.clone()))?;
    let store = context.store();
    let path = store.path(&blob.sha256);
    let received =
        Received::read(store.open(&blob.sha256)?, path.clone()).map_err(|source| VerifyError::Read { path, source })?;
    let digests = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
    let promise = Promise { plugin: name.plugin.clone(), version: name.version.clone(), digests };
    Ok(verify(received, &promise, &context.limits)?)
}

async fn settled(
    server: &Grafana,
    result: ChangeResult,
    plugin: &PluginId,
    to: &crate::model::PluginVersion,
) -> ChangeResult {
    match server.install(plugin, to).await {
        Ok(settled) => judge(result, settled),
        Err(error) => result.because(&error),
    }
}

/// Turns what a workspace came to into a result.
pub(in crate::ops) fn judge(result: ChangeResult, settled: crate::fleet::grafana::Settled) -> ChangeResult {
    let trouble = settled.trouble.map(|trouble| Chain(&trouble).to_string());
    // A server removes the old version before it has the new one (protocol page 5.1).
    let lost = match (&settled.before, &settled.after) {
        (PluginState::Loaded { version: Some(version) }, Some(PluginState::Absent)) => {
            Some(format!("version {version}, which was there before, is gone: install it again"))
        }
        _ => None,
    };
    let with_trouble = |result: ChangeResult| match (&result.error, trouble) {
        (Some(error), Some(trouble)) => ChangeResult { error: Some(format!("{error} ({trouble})")), ..result },
        _ => result,
    };
    match settled.outcome {
        settle::Outcome::Done => ChangeResult { outcome: ChangeOutcome::Changed, ..result },
        settle::Outcome::Unchanged => ChangeResult { outcome: ChangeOutcome::Unchanged, ..result },
        settle::Outcome::Failed(failure) => {
            let result = with_trouble(result.because(&failure));
            result.noting(lost)
        }
        settle::Outcome::Unknown(doubt) => with_trouble(result.because(&doubt)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::changes::Action;

    #[test]
    fn a_proven_change_that_cannot_be_read_once_more_stays_proven() {
        let plugin: PluginId = "a-panel".parse().expect("an id");
        let action = Action::Install { to: "1.0.0".parse().expect("a version") };
        let proven = ChangeResult::new("prod", &plugin, &action, ChangeOutcome::Changed);
        let proven = proven.with_warning(Some(&StepError::Unchecked { plugin: plugin.clone() }));
        let result = doubted(proven, &StepError::Unchecked { plugin });
        assert_eq!((result.outcome, result.error), (ChangeOutcome::Changed, None));
        let warning = result.warning.expect("a note");
        assert!(warning.contains("checked here first; whether it stayed so"), "{warning}");
    }
}
