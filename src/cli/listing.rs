//! What was read of workspaces, for the commands that list or compare it.
//!
//! *Invariant:* a workspace that could not be read, or not whole, hides no other and is always reported.
//! *Not for:* tables: each command has its own.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Session};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::grafana::NestedPlugin,
    ops::target::{InstalledPlugin, Snapshot, Target, TargetError, Unread},
    progress::{Announced, Reporter},
};

/// How many targets are read side by side.
const AT_ONCE: usize = 16;

/// What is announced while workspaces are read.
pub(super) const ASKING: &str = "asking workspaces";

/// What was read of a target.
pub(super) struct TargetListing {
    pub(super) target: Target,
    pub(super) state: Result<Snapshot, TargetError>,
    /// Why the list of its plugins may lack some.
    pub(super) gap: Option<String>,
    /// The plugins that its apps ship.
    pub(super) nested: Vec<NestedPlugin>,
}

impl TargetListing {
    /// Returns what is there, where it could be read.
    pub(super) fn there(&self) -> Option<(&Target, &Snapshot)> {
        Some((&self.target, self.state.as_ref().ok()?))
    }
}

pub(super) async fn read_all(session: &Session, targets: Vec<Target>) -> Result<Vec<TargetListing>, Failure> {
    Ok(read(session.context()?.reporter.as_ref(), targets, false).await)
}

/// Also reads the plugins that apps ship, which takes servers two more requests.
pub(super) async fn read_all_with_nested(
    session: &Session,
    targets: Vec<Target>,
) -> Result<Vec<TargetListing>, Failure> {
    Ok(read(session.context()?.reporter.as_ref(), targets, true).await)
}

async fn read(reporter: &dyn Reporter, targets: Vec<Target>, reads_nested: bool) -> Vec<TargetListing> {
    let asking = &Announced::begin(reporter, ASKING, targets.len());
    stream::iter(targets)
        .map(|target| async move {
            let name = target.name.clone();
            asking.track(&name, read_one(target, reads_nested)).await
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

async fn read_one(target: Target, reads_nested: bool) -> TargetListing {
    let (state, reach) = tokio::join!(target.read(false), target.reach());
    let nested = match (&state, target.as_server()) {
        (Ok(_), Ok(server)) if reads_nested => server.nested().await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let gap = reach.gap().filter(|_| state.is_ok()).map(|gap| format!("installed plugins: {gap}"));
    TargetListing { target, state, gap, nested }
}

pub(super) fn version(plugin: &InstalledPlugin) -> String {
    plugin.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

pub(super) fn document(read: &TargetListing, plugin: impl Fn(&InstalledPlugin) -> Value) -> Value {
    let target = &read.target;
    match &read.state {
        Ok(state) => {
            let mut document = json!({
                "name": target.name,
                "grafana": state.grafana,
                "platform": target.platform,
                "plugins": state.plugins.values().map(plugin).collect::<Vec<_>>(),
                "complete": read.gap.is_none(),
                "gaps": read.gap.as_slice(),
            });
            if !read.nested.is_empty() {
                let nested = |one: &NestedPlugin| json!({ "id": one.id, "version": one.version, "app": one.app });
                document["nested"] = read.nested.iter().map(nested).collect();
            }
            document
        }
        Err(error) => {
            json!({ "name": target.name, "plugins": [], "complete": false, "error": Chain(error).to_string() })
        }
    }
}

pub(super) fn problems(read: &[TargetListing]) -> Vec<String> {
    let mut problems = Vec::new();
    for TargetListing { target, state, gap, .. } in read {
        match state {
            Ok(state) => problems.extend(state.remarks.iter().map(|remark| format!("note: {}: {remark}", target.name))),
            Err(error) => problems.extend(Unread::from(error).lines(&target.name)),
        }
        problems.extend(gap.iter().map(|gap| format!("incomplete: {}: {gap}", target.name)));
    }
    problems
}

/// What could not be read, or not whole, makes the list a partial one; when nothing could, it is what the first failure
/// is.
pub(super) fn kind(read: &[TargetListing]) -> Option<Kind> {
    match read.iter().find_map(|one| one.state.as_ref().err()) {
        Some(first) if read.iter().all(|one| one.state.is_err()) => Some(first.kind()),
        Some(_) => Some(Kind::Partly),
        None => read.iter().any(|one| one.gap.is_some()).then_some(Kind::Partly),
    }
}
