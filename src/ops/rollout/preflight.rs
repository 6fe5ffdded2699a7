//! What is checked before the first workspace is changed.
//!
//! *Invariant:* nothing is changed; every obstacle is named, not only the first.

use futures_util::{StreamExt, stream};

use super::{Members, RolloutOptions};
use crate::{
    diagnostic::{Chain, Diagnose as _},
    ops::content::{self, Secrets},
    rollout::Plan,
};

/// What was found out about the workspaces.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// What prevents the rollout.
    pub(super) obstacles: Vec<String>,
    /// What to do about it.
    pub(super) hints: Vec<String>,
    /// Notes that prevent nothing.
    pub(super) remarks: Vec<String>,
}

/// Fetches the secrets that the plan will send: what a program or a file does not give now, it would not give in the middle
/// of the rollout either.
pub(super) async fn check_secrets(plan: &Plan, members: &Members, options: &RolloutOptions, readiness: &mut Readiness) {
    for content in &plan.content {
        let Some(member) = members.get(&content.workspace) else { continue };
        let Ok(server) = member.target.as_server() else { continue };
        let environment = options.environment;
        let wishes = options.manifest.data_sources();
        let (workspace, run) = (&member.workspace, &options.secrets);
        let secrets = Secrets { wishes, workspace, environment: &environment, run };
        if let Err(error) = content::check_secrets(server, content, secrets).await {
            readiness.obstacles.push(format!("{}: {}", content.workspace, Chain(&error)));
            readiness.hints.extend(error.hint());
        }
    }
    readiness.hints.sort_unstable();
    readiness.hints.dedup();
}

/// Checks whether every workspace of the plan can be changed.
pub(super) async fn check(plan: &Plan, members: &Members, concurrency: usize) -> Readiness {
    let concerned = plan.waves.iter().flat_map(|wave| &wave.workspaces);
    let targets = concerned.filter_map(|name| Some((name, &members.get(name)?.target)));
    let checked: Vec<_> = stream::iter(targets.collect::<Vec<_>>())
        .map(|(name, target)| async move { (name, target.check_access().await) })
        .buffered(concurrency.max(1))
        .collect()
        .await;
    let mut readiness = Readiness::default();
    for (name, checked) in checked {
        match checked {
            Ok(note) => readiness.remarks.extend(note.map(|note| format!("{name}: {note}"))),
            Err(obstacle) => {
                readiness.obstacles.push(format!("{name}: {}", obstacle.message));
                readiness.hints.extend(obstacle.hint);
            }
        }
    }
    readiness.hints.sort_unstable();
    readiness.hints.dedup();
    readiness
}
