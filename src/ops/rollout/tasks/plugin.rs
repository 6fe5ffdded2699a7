//! Steps that change a plugin: carried out, read back, and rolled back, on whatever kind of workspace.
//!
//! *Invariant:* what the journal gets is what the workspace reported: nothing is decided here.
//! *Not for:* making changes: see [`crate::fleet::target`].

use std::sync::Arc;

use super::{
    TaskInput, TaskRunner,
    fault::{FaultCause as _, fault},
};
use crate::{
    fleet::{
        Outcome,
        target::{ChangeError, ChangeReport, ChangeRequest, Expected},
    },
    model::{Change, PluginId, PluginVersion, Presence},
    ops::blocking,
    rollout::{Cause, Fault, PlannedChange, Task, TaskResult},
};

impl TaskRunner {
    /// Carries out a step of the plan, rolls it back, or reads the outcome of either.
    pub(super) async fn change_plugin(&self, task: Task, planned: &PlannedChange, input: &TaskInput) -> TaskResult {
        if let Some(fault) = self.later_version(&input.unmoved).await {
            return TaskResult::Failed(fault);
        }
        let request = match task {
            Task::Back { .. } | Task::SettleBack { .. } => self.rollback_request(planned, input).await,
            _ => Ok(self.request(planned, input).await),
        };
        let request = match request {
            Ok(request) => ChangeRequest { open_call: input.open_call, ..request },
            Err(fault) => return TaskResult::Failed(fault),
        };
        let target = &self.member.target;
        match task {
            Task::Forward { .. } => changed(with_former(target.change(&request).await, input, planned)),
            Task::Back { .. } => changed(target.change(&request).await),
            _ => self.with_strangers(confirmed(target.confirm(&request).await, task, planned), input).await,
        }
    }

    /// Adds to what a last look found which plugins are there besides: a server installs what a plugin depends on along with
    /// it, and nothing tells these from what somebody else installed meanwhile.
    async fn with_strangers(&self, result: TaskResult, input: &TaskInput) -> TaskResult {
        let (true, TaskResult::Done { before, note }) = (input.is_last_final_check, &result) else { return result };
        let Ok(snapshot) = self.member.target.read(true).await else { return result };
        let known = &self.planned_workspace().plugins;
        let is_strange =
            |id: &&PluginId| !known.contains_key(*id) && !self.actions().any(|action| action.plugin == **id);
        let names: Vec<String> = snapshot.plugins.keys().filter(is_strange).map(ToString::to_string).collect();
        if names.is_empty() {
            return result;
        }
        let told = format!(
            "installed now and not before: {} (a server installs what a plugin depends on along with it; `plugport \
             uninstall` removes it)",
            names.join(", ")
        );
        TaskResult::Done {
            before: before.clone(),
            note: Some(note.iter().cloned().chain([told]).collect::<Vec<_>>().join("; ")),
        }
    }

    /// Returns the fault of a plugin that is only held, if somebody else installed a later version of it: the server may change
    /// it with the next step, and what is held would go over it.
    async fn later_version(&self, unmoved: &[(PluginId, PluginVersion)]) -> Option<Fault> {
        for (plugin, held) in unmoved {
            let found = match self.member.target.presence(plugin).await {
                Ok(found) => found,
                Err(error) => return Some(error.fault()),
            };
            if let Some(later) = found.version().filter(|found| found.cmp_precedence(held).is_gt()) {
                let message =
                    format!("somebody else installed {plugin} {later}, and this rollout would put {held} in its place");
                let hint = format!("nothing was changed; put {held} back first, or plan again");
                return Some(fault(Cause::Drift, message, Some(&hint)));
            }
        }
        None
    }

    async fn request(&self, planned: &PlannedChange, input: &TaskInput) -> ChangeRequest {
        let wanted = Presence::from(planned.to.as_ref());
        let expected = match planned.kind {
            Change::Repin => Expected::Anything,
            _ if input.former.is_some() => Expected::BeforeOrOlder(wanted.clone()),
            _ => Expected::Before,
        };
        let request = self.prepare_request(planned, wanted).await;
        ChangeRequest {
            expected,
            replaces_same: planned.kind == Change::Reinstall,
            is_retry: input.is_retry,
            ..request
        }
    }

    async fn rollback_request(&self, planned: &PlannedChange, input: &TaskInput) -> Result<ChangeRequest, Fault> {
        let unreadable = || fault(Cause::Other, "the journal does not contain what was there before", None);
        let rollback = input.rollback.as_ref().ok_or_else(unreadable)?;
        let wanted = rollback.target.presence().ok_or_else(unreadable)?;
        let after_step = Presence::from(planned.to.as_ref());
        let request = self.prepare_request(planned, wanted.clone()).await;
        let left = rollback.left.as_ref().map(|left| left.presence().ok_or_else(unreadable)).transpose()?;
        let (before, expected) = match left {
            _ if rollback.accepts_anything => (after_step, Expected::Anything),
            Some(left) if input.former.is_some() => (left.clone(), Expected::BeforeOrOlder(after_step)),
            None if input.former.is_some() => (after_step, Expected::BeforeOrOlder(wanted.clone())),
            None => (after_step, Expected::Before),
            Some(left) => (left.clone(), Expected::BeforeOr(after_step)),
        };
        Ok(ChangeRequest { before, expected, ..request })
    }

    /// Returns a request for what is wanted, with its package.
    async fn prepare_request(&self, planned: &PlannedChange, wanted: Presence) -> ChangeRequest {
        let plugin = planned.plugin.clone();
        let package = match wanted.version().cloned() {
            None => None,
            Some(version) => {
                let (packages, context) = (self.packages.clone(), self.context.clone());
                let platform = self.planned_workspace().platform.clone();
                blocking(move || packages.name_of(&context, (&plugin, &version, &platform))).await
            }
        };
        ChangeRequest {
            before: planned.former(),
            expected: Expected::Before,
            replaces_same: false,
            compares_files: self.may_have_other_files(planned),
            ..ChangeRequest::unconditional(
                &planned.plugin,
                wanted,
                Arc::new(self.packages.permits.package(&planned.plugin, package)),
            )
        }
    }

    /// Returns whether the server may have unpacked another version of a plugin over the installed one.
    fn may_have_other_files(&self, planned: &PlannedChange) -> bool {
        let is_moved = planned.kind == Change::Repin || !planned.brought_by.is_empty();
        is_moved && self.overwrites_dependencies()
    }
}

/// Returns the report of a step whose plugin earlier steps may have changed along with theirs: what they made of it counts
/// as done by this step, and what they found is what was there before.
fn with_former(report: ChangeReport, input: &TaskInput, planned: &PlannedChange) -> ChangeReport {
    let Some(former) = &input.former else { return report };
    let is_other = !former.is_same(&Presence::from(planned.to.as_ref()));
    let outcome = match report.outcome {
        Outcome::Unchanged if is_other => Outcome::Changed,
        outcome => outcome,
    };
    ChangeReport { outcome, before: former.clone(), ..report }
}

/// Returns the entry for a change that was made.
fn changed(report: ChangeReport) -> TaskResult {
    match &report.outcome {
        Outcome::Unchanged => TaskResult::Unchanged,
        Outcome::Changed => {
            let note = (!report.notes.is_empty()).then(|| report.notes.join("; "));
            TaskResult::Done { before: report.before.into(), note }
        }
        Outcome::Failed(error) => failed(&report, error),
        Outcome::Unknown(error) => TaskResult::Unknown(report_fault(&report, error)),
    }
}

/// Returns the entry for a change that was read back.
fn confirmed(report: ChangeReport, task: Task, planned: &PlannedChange) -> TaskResult {
    match &report.outcome {
        // Whether it was re-pinned or there all the time is not known, and does not matter.
        Outcome::Changed if planned.kind == Change::Repin && matches!(task, Task::Settle { .. }) => {
            TaskResult::Unchanged
        }
        Outcome::Changed => TaskResult::Done { before: report.before.into(), note: None },
        Outcome::Unchanged => TaskResult::NotDone,
        Outcome::Failed(error) => failed(&report, error),
        Outcome::Unknown(error) => TaskResult::Unknown(report_fault(&report, error)),
    }
}

fn failed(report: &ChangeReport, error: &ChangeError) -> TaskResult {
    let fault = report_fault(report, error);
    match &report.left {
        Some(left) => {
            TaskResult::Damaged { before: report.before.clone().into(), left: Box::new(left.clone().into()), fault }
        }
        None => TaskResult::Failed(fault),
    }
}

fn report_fault(report: &ChangeReport, error: &ChangeError) -> Fault {
    let fault = error.fault();
    let is_late = report.may_be_late && !matches!(fault.cause, Cause::Token | Cause::Drift);
    let cause = if is_late { Cause::NoAnswer } else { fault.cause };
    Fault { cause, message: report.describe(error), ..fault }
}
