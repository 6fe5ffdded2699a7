//! Carries out the steps of a plan on one target, one after another.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::plan::InstallStep;
use crate::{
    diagnostic::Chain,
    fleet::{
        Outcome,
        target::{ChangeError, ChangeRequest},
    },
    model::{ChangeOutcome, PluginId, Presence},
    ops::{changes::ChangeResult, fetching::FetchFailure, permits::Permits, target::Target},
};

/// The steps of one target and what they are carried out with.
pub(super) struct StepRunner<'a> {
    pub(super) target: &'a Target,
    pub(super) permits: &'a Permits,
    pub(super) failed_fetches: &'a [FetchFailure],
    /// Whether the target unpacks dependencies over installed plugins.
    pub(super) overwrites: bool,
    /// Whether folders are replaced that somebody works in.
    pub(super) force: bool,
}

/// Whether a step is carried out.
enum Decision {
    /// There is nothing to do, or it must not be done.
    Ended(ChangeResult),
    /// It may be done; this is its result if it is.
    Ready(ChangeResult),
}

/// Carries out all steps; what depends on something that failed is not tried.
///
/// What a server changes along with other plugins is checked in its turn, before the server is asked for the others, and
/// installed after the last of them (see `resolver::dependents_first`).
pub(super) async fn apply(runner: &StepRunner<'_>, steps: Vec<InstallStep>) -> Vec<ChangeResult> {
    let mut results = Results::default();
    let mut waiting: Vec<(InstallStep, ChangeResult)> = Vec::new();
    let mut steps = VecDeque::from(steps);
    while let Some(step) = steps.pop_front() {
        match runner.decide(&step, &results.failed).await {
            Decision::Ended(result) => results.add(step, result),
            Decision::Ready(ready) if step.brought_by.is_some() => waiting.push((step, ready)),
            Decision::Ready(ready) => {
                let result = runner.carry_out(&step, ready).await;
                results.add(step, result);
            }
        }
        while let Some(due) = due(&waiting, &steps) {
            let (step, ready) = waiting.remove(due);
            let result = runner.carry_out(&step, ready).await;
            results.add(step, result);
        }
    }
    // These need each other.
    for (step, ready) in waiting {
        let result = runner.carry_out(&step, ready).await;
        results.add(step, result);
    }
    if runner.target.as_server().is_ok() {
        runner.repin(&mut results).await;
    }
    results.list.into_iter().map(|(_, result)| result).collect()
}

/// Returns the place of a waiting step that nothing needs any more of what comes.
fn due(waiting: &[(InstallStep, ChangeResult)], coming: &VecDeque<InstallStep>) -> Option<usize> {
    let is_due = |(waits, _): &(InstallStep, ChangeResult)| {
        let mut others = waiting.iter().map(|(step, _)| step).chain(coming);
        !others.any(|other| other.plugin != waits.plugin && other.needs.contains(&waits.plugin))
    };
    waiting.iter().position(is_due)
}

/// The outcome of the steps so far.
#[derive(Default)]
struct Results {
    list: Vec<(InstallStep, ChangeResult)>,
    failed: HashSet<PluginId>,
}

impl Results {
    fn add(&mut self, step: InstallStep, result: ChangeResult) {
        if !is_reached(&result) {
            self.failed.insert(step.plugin.clone());
        }
        let result = ChangeResult { needed_by: step.needed_by.clone(), ..result };
        self.list.push((step, result));
    }
}

fn is_reached(result: &ChangeResult) -> bool {
    matches!(result.outcome, ChangeOutcome::Changed | ChangeOutcome::Unchanged)
}

fn concerns(failure: &FetchFailure, step: &InstallStep) -> bool {
    let Some(name) = &step.package else { return false };
    let same_version = failure.version.as_ref().is_none_or(|version| *version == name.version);
    let same_platform = failure.platform.as_ref().is_none_or(|platform| *platform == name.platform);
    failure.plugin == name.plugin && same_version && same_platform
}

impl StepRunner<'_> {
    /// Decides whether a step is carried out: for a server, its package is checked now.
    async fn decide(&self, step: &InstallStep, failed: &HashSet<PluginId>) -> Decision {
        let name = &self.target.name;
        let change = match &step.action {
            Ok(change) if change.is_nothing() => {
                let result = ChangeResult::new(name, &step.plugin, change, ChangeOutcome::Unchanged);
                return Decision::Ended(result.with_note(self.lost_folder(step).await));
            }
            Ok(change) => change,
            Err(error) => return Decision::Ended(ChangeResult::refused(name, &step.plugin, "install", error)),
        };
        let result = ChangeResult::new(name, &step.plugin, change, ChangeOutcome::Changed).with_note(step.warning());
        if let Some(need) = step.needs.iter().find(|need| failed.contains(need)) {
            let error = Some(format!("it needs {need}, which failed"));
            return Decision::Ended(ChangeResult { outcome: ChangeOutcome::Skipped, error, ..result });
        }
        if let Some(failure) = self.failed_fetches.iter().find(|failure| concerns(failure, step)) {
            return Decision::Ended(result.with_error(&failure.error));
        }
        let Ok(server) = self.target.as_server() else { return Decision::Ready(result) };
        match self.permits.check(&server.root_url().await, &step.plugin, step.package.as_ref()).await {
            Ok(warning) => Decision::Ready(result.with_note(warning)),
            Err(error) => Decision::Ended(result.with_error(&error)),
        }
    }

    fn request(&self, step: &InstallStep, result: &ChangeResult) -> Option<ChangeRequest> {
        let wanted = Presence::Version(result.to.clone()?);
        let source = self.permits.package(&step.plugin, step.package.clone()).forced(self.force);
        let compares_files = self.overwrites && step.brought_by.is_some();
        Some(ChangeRequest { compares_files, ..ChangeRequest::unconditional(&step.plugin, wanted, Arc::new(source)) })
    }

    /// Returns the note about a requested plugin that stays although its folder is gone.
    async fn lost_folder(&self, step: &InstallStep) -> Option<String> {
        let version = step.action.as_ref().ok()?.to.as_ref().filter(|_| step.needed_by.is_none())?;
        let is_lost = self.target.as_server().ok()?.is_without_files(&step.plugin, version).await;
        is_lost.then(|| {
            "its folder is gone from that server, which loses it at its next start: uninstall it and install it again"
                .to_owned()
        })
    }

    /// Makes a change.
    async fn carry_out(&self, step: &InstallStep, result: ChangeResult) -> ChangeResult {
        let Some(request) = self.request(step, &result) else { return result };
        let result = result.with_report(self.target.change(&request).await);
        // It was installed together with the plugin that depends on it, so there was nothing left to do.
        let was_brought = step.brought_by.is_some() && result.outcome == ChangeOutcome::Unchanged;
        ChangeResult { outcome: if was_brought { ChangeOutcome::Changed } else { result.outcome }, ..result }
    }

    /// Installs once more what the server upgraded in the meantime: Grafana installs the newest version of every dependency,
    /// also over one that was installed a moment ago (protocol page 8).
    async fn repin(&self, results: &mut Results) {
        let last = results.list.iter().rposition(|(_, result)| result.outcome == ChangeOutcome::Changed).unwrap_or(0);
        for (step, result) in results.list[..last].iter_mut().filter(|(_, result)| is_reached(result)) {
            let Some(request) = self.request(step, result) else { continue };
            let report = self.target.change(&request).await;
            match &report.outcome {
                Outcome::Unchanged => {}
                Outcome::Failed(error @ (ChangeError::Server(_) | ChangeError::Refused(_))) => {
                    *result = unconfirmed(result.clone(), error);
                }
                _ => *result = result.clone().with_report(report),
            }
        }
    }
}

/// Returns a result that could not be read once more: nothing was sent, and what was read after the change still stands.
fn unconfirmed(result: ChangeResult, error: &ChangeError) -> ChangeResult {
    let note = format!("it could not be read once more: {}", Chain(error));
    result.with_note(Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::target::Refusal,
        ops::{changes::VersionChange, permits::PackageError},
    };

    #[test]
    fn a_proven_change_that_cannot_be_read_once_more_stays_proven() {
        let plugin: PluginId = "a-panel".parse().expect("an id");
        let change = VersionChange::to_version(&Presence::Absent, "1.0.0".parse().expect("a version"));
        let proven = ChangeResult::new("prod", &plugin, &change, ChangeOutcome::Changed);
        let proven = proven.with_note(Some("a warning".to_owned()));
        let error = ChangeError::from(Refusal::new(PackageError::Unchecked { plugin }));
        let result = unconfirmed(proven, &error);
        assert_eq!((result.outcome, result.error), (ChangeOutcome::Changed, None));
        let warning = result.warning.expect("a note");
        assert!(warning.starts_with("a warning; it could not be read once more: the catalog"), "{warning}");
    }
}
