//! `plugport lock`.

use std::{collections::BTreeSet, num::NonZeroUsize};

use clap::Args;

use super::{
    Failure, Report, Session,
    selection::{connect, select},
    setup::to_document,
    ui,
};
use crate::{
    lockfile::{LockChange, LockDifference},
    model::{PluginId, Selector},
    ops::{
        lock::{LockOutcome, lock, read_states},
        locking::{LockFailure, LockOptions, LockUpgrade},
    },
};

/// Write the lock: the exact versions and digests of the wanted plugins of every workspace
///
/// Locked versions are kept as long as they satisfy the manifest, even if they were withdrawn. Workspaces are only
/// read; if one cannot be read, and with `--offline`, the Grafana version of the existing lock is used. If only some
/// workspaces can be resolved, the others keep their previous entries and the exit code is 8. Packages may be fetched
/// to read their dependencies.
#[derive(Args, Debug)]
pub(super) struct LockArgs {
    /// Write nothing, and exit with 3 if the lock would change or has a version that upstream withdrew
    #[arg(long)]
    check: bool,
    /// Choose new versions of these plugins and their dependencies; without ID, of all
    #[arg(long, value_name = "ID", num_args = 0..)]
    upgrade: Option<Vec<PluginId>>,
    /// Lock only these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable). The others
    /// keep their entries
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
    /// How many workspaces are read, or packages downloaded, at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,
}

impl LockArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let services = session.services()?;
        let targets = connect(session, select(session, &self.on)?).await?;
        let states = read_states(session.context()?.reporter.as_ref(), targets, self.concurrency.get()).await;
        let options = LockOptions {
            upgrade: self.upgrade(),
            published_before: session.published_before()?,
            concurrency: self.concurrency.get(),
        };
        let (context, remarks) = session.with_fresh_keys().await?;
        let files = (session.manifest()?, session.manifest_path.as_path());
        let outcome = lock(&context, &services.sources, files, (states, options), self.check).await?;
        let mut report = report(&outcome);
        report.problems.splice(..0, remarks);
        Ok(report)
    }

    fn upgrade(&self) -> LockUpgrade {
        match self.upgrade.as_deref() {
            None => LockUpgrade::Nothing,
            Some([]) => LockUpgrade::All,
            Some(plugins) => LockUpgrade::Only(plugins.iter().cloned().collect()),
        }
    }
}

fn report(outcome: &LockOutcome) -> Report {
    let mut problems: Vec<_> = outcome.remarks.iter().map(|remark| format!("note: {remark}")).collect();
    let undigested = outcome.undigested.iter();
    problems.extend(
        undigested.map(|one| {
            format!("note: {} {} is locked without a digest: the catalog has none", one.plugin, one.version)
        }),
    );
    problems.extend(outcome.withdrawn.iter().map(|one| format!("withdrawn: {one}")));
    if !outcome.withdrawn.is_empty() {
        problems.push("hint: `plugport lock --upgrade ID` chooses another version".to_owned());
    }
    problems.extend(outcome.failed.iter().flat_map(failed));
    let same = !outcome.changed && outcome.failed.is_empty() && outcome.withdrawn.is_empty();
    Report {
        document: to_document(outcome),
        text: text(outcome).into(),
        notes: same.then(|| "the lock is up to date".to_owned()).into_iter().collect(),
        problems,
        kind: outcome.kind(),
    }
}

fn failed(failure: &LockFailure) -> Vec<String> {
    let kept = if failure.kept { "; its former entry stays" } else { "" };
    let mut lines = vec![format!("failed: {}: {}{kept}", failure.workspace, failure.reason())];
    lines.extend(failure.fault.hint().map(|hint| format!("hint: {hint}")));
    lines
}

/// Returns what changed, a line each, and what became of the file. Another version has other digests: those are left out.
fn text(outcome: &LockOutcome) -> String {
    let mut text = String::new();
    let key = |one: &LockDifference| (one.workspace.clone(), one.plugin.clone());
    let is_moved = |one: &&LockDifference| matches!(one.change, LockChange::Field { name: "version", .. });
    let moved: BTreeSet<_> = outcome.differences.iter().filter(is_moved).map(key).collect();
    let is_news =
        |one: &&LockDifference| !matches!(one.change, LockChange::Digest { .. }) || !moved.contains(&key(one));
    for difference in outcome.differences.iter().filter(is_news) {
        text.push_str(&ui::clean(&difference.to_string()));
        text.push('\n');
    }
    if outcome.changed {
        let verb = if outcome.written { "written" } else { "would be written" };
        text.push_str(&ui::clean(&format!("{verb}: {}", outcome.path.display())));
        text.push('\n');
    }
    text
}
