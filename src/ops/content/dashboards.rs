//! The dashboards that a plugin bundles: imports them, and rolls that back.
//!
//! *Invariant:* a dashboard that somebody saved since is neither removed nor replaced.

use serde_json::{Map, Value, json};

use super::{ContentChange, ContentFault};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        grafana::{BundledDashboard, Changed, ContentError, Saved},
    },
    model::PluginId,
    rollout::{PreviousState, TaskResult},
};

/// The outcome of a rollback of dashboards.
#[derive(Default)]
pub(super) struct DashboardRollback {
    changed: usize,
    notes: Vec<String>,
    pub(super) faults: Vec<ContentFault>,
}

impl DashboardRollback {
    fn record(&mut self, changed: Result<Changed, ContentError>) {
        match changed {
            Ok(Changed::Done) => self.changed += 1,
            Ok(Changed::Unchanged) => {}
            Err(error) => self.faults.push(error.into()),
        }
    }

    /// Returns the entry of the journal: the worst failure, or else what was done.
    pub(super) fn result(mut self) -> TaskResult {
        if let Some(index) = self.faults.iter().position(ContentFault::is_unknown) {
            return self.faults.swap_remove(index).result();
        }
        if let Some(first) = self.faults.first() {
            return first.result();
        }
        if self.changed == 0 && self.notes.is_empty() {
            return TaskResult::Unchanged;
        }
        let note = (!self.notes.is_empty()).then(|| self.notes.join("; "));
        TaskResult::Done { before: PreviousState::default(), note }
    }
}

/// Returns the folder, and each dashboard that the plugin bundles, as they are now: dashboards whole.
pub(super) async fn previous(server: &Grafana, plugin: &PluginId, folder_uid: &str) -> Result<Value, WorkspaceError> {
    let mut dashboards = Map::new();
    for bundled in server.bundled(plugin).await? {
        let saved = match &bundled.uid {
            Some(uid) => server.saved(uid).await?.map(|saved| saved.document().clone()),
            None => None,
        };
        dashboards.insert(bundled.path, saved.unwrap_or_default());
    }
    Ok(json!({ "folder": server.folder(folder_uid).await?, "dashboards": dashboards }))
}

/// Imports all dashboards that a plugin bundles into a folder. Without dashboards no folder is created.
pub(super) async fn import_all(
    server: &Grafana,
    plugin: &PluginId,
    folder_uid: &str,
    title: &str,
) -> Result<ContentChange, ContentFault> {
    let bundled = server.bundled(plugin).await?;
    if bundled.is_empty() {
        return Ok(ContentChange { changed: Changed::Unchanged, note: None });
    }
    let mut changed = server.put_folder(folder_uid, title).await?;
    let mut count = 0;
    for one in &bundled {
        if server.import(one, folder_uid).await? == Changed::Done {
            changed = Changed::Done;
            count += 1;
        }
    }
    let note =
        format!("{count} of {} dashboards were imported into the folder `{}`", bundled.len(), title.escape_debug());
    Ok(ContentChange { changed, note: Some(note) })
}

/// Names the dashboards that an import replaces and that somebody saved since they were imported, or made themselves. What
/// cannot be read is not named.
pub(super) async fn edited(server: &Grafana, plugin: &PluginId) -> Vec<String> {
    let mut named = Vec::new();
    for bundled in server.bundled(plugin).await.unwrap_or_default() {
        let Some(uid) = &bundled.uid else { continue };
        let Ok(Some(saved)) = server.saved(uid).await else { continue };
        let times = saved.version().unwrap_or(1);
        if bundled.is_imported && times <= 1 {
            continue;
        }
        let by = saved.document().pointer("/meta/updatedBy").and_then(Value::as_str).filter(|by| !by.is_empty());
        let by = by.map_or_else(String::new, |by| format!(", last by {}", by.escape_debug()));
        let (title, uid) = (bundled.title.escape_debug(), uid.escape_debug());
        let what = if bundled.is_imported {
            format!("dashboard `{title}` ({uid}) was saved {} times since it was imported{by}", times - 1)
        } else {
            format!("dashboard `{title}` ({uid}) is there and was not imported from the plugin{by}")
        };
        named.push(format!("{what}; the rollout replaces it if the plugin bundles another state of it"));
    }
    named
}

/// Returns whether every dashboard is imported into the folder.
pub(super) async fn is_done(
    server: &Grafana,
    plugin: &PluginId,
    folder_uid: &str,
    title: &str,
) -> Result<bool, WorkspaceError> {
    let bundled = server.bundled(plugin).await?;
    if bundled.is_empty() {
        return Ok(true);
    }
    let folder = server.folder(folder_uid).await?;
    if folder.as_ref().and_then(|folder| folder.get("title")).is_none_or(|found| found != title) {
        return Ok(false);
    }
    for one in &bundled {
        if !server.is_imported(one, folder_uid).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A dashboard as it was and as it is.
struct Pair {
    before: Option<Saved>,
    now: Option<(String, Saved)>,
}

/// Returns the saved dashboards, each with what is there now.
async fn pairs(server: &Grafana, plugin: &PluginId, before: &Value) -> Result<Vec<Pair>, ContentFault> {
    let kept = before.get("dashboards").and_then(Value::as_object).ok_or(ContentFault::Previous)?;
    // If the plugin is gone, it bundles nothing; the dashboards that were there before are known all the same.
    let bundled = match server.bundled(plugin).await {
        Ok(bundled) => bundled,
        Err(error) if error.status() == Some(404) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut pairs = Vec::new();
    for (path, document) in kept {
        let before = Saved::from_document(document.clone());
        let uid = before.as_ref().and_then(uid_of).or_else(|| imported(&bundled, path));
        let now = match uid {
            Some(uid) => server.saved(&uid).await?.map(|saved| (uid, saved)),
            None => None,
        };
        pairs.push(Pair { before, now });
    }
    Ok(pairs)
}

fn uid_of(saved: &Saved) -> Option<String> {
    saved.document().pointer("/dashboard/uid").and_then(Value::as_str).map(str::to_owned)
}

fn imported(bundled: &[BundledDashboard], path: &str) -> Option<String> {
    bundled.iter().find(|one| one.path == path && one.is_imported)?.uid.clone()
}

/// Removes what was imported, restores what was replaced, and lastly the folder.
pub(super) async fn roll_back(
    server: &Grafana,
    plugin: &PluginId,
    folder_uid: &str,
    before: &Value,
) -> DashboardRollback {
    let mut back = DashboardRollback::default();
    let pairs = match pairs(server, plugin, before).await {
        Ok(pairs) => pairs,
        Err(fault) => {
            back.faults.push(fault);
            return back;
        }
    };
    for Pair { before, now } in pairs {
        match (before, now) {
            (None, None) => {}
            (Some(before), now) if now.as_ref().is_some_and(|(_, now)| now.is_same(&before)) => {}
            (before, Some((uid, now))) if is_edited(before.as_ref(), &now) => {
                let what = format!("dashboard `{}`", uid.escape_debug());
                back.faults.push(ContentError::Drifted { what }.into());
            }
            (None, Some((uid, _))) => back.record(server.delete_dashboard(&uid).await),
            (Some(before), _) => back.record(server.restore_dashboard(&before).await),
        }
    }
    if back.faults.is_empty() {
        roll_back_folder(server, folder_uid, before, &mut back).await;
    }
    back
}

/// One save is ours; a further one is somebody else's.
fn is_edited(before: Option<&Saved>, now: &Saved) -> bool {
    let ours = before.and_then(Saved::version).unwrap_or(0) + 1;
    now.version().is_some_and(|version| version > ours)
}

async fn roll_back_folder(server: &Grafana, folder_uid: &str, before: &Value, back: &mut DashboardRollback) {
    let former = before.pointer("/folder/title").and_then(Value::as_str);
    if let Some(title) = former {
        back.record(server.put_folder(folder_uid, title).await);
        return;
    }
    match server.folder(folder_uid).await {
        Ok(None) => {}
        Err(error) => back.faults.push(error.into()),
        Ok(Some(_)) => match server.delete_empty_folder(folder_uid).await {
            Ok(true) => back.changed += 1,
            Ok(false) => {
                back.notes.push(format!("the folder `{folder_uid}` is not removed, since somebody else uses it"));
            }
            Err(error) => back.faults.push(error.into()),
        },
    }
}

/// Returns whether everything is as it was. A folder that somebody else filled may stay.
pub(super) async fn is_rolled_back(
    server: &Grafana,
    plugin: &PluginId,
    folder_uid: &str,
    before: &Value,
) -> Result<bool, WorkspaceError> {
    let pairs = match pairs(server, plugin, before).await {
        Ok(pairs) => pairs,
        Err(ContentFault::Change(ContentError::Workspace(error))) => return Err(error),
        Err(_) => return Ok(false),
    };
    let is_same = |pair: &Pair| match (&pair.before, &pair.now) {
        (None, None) => true,
        (Some(before), Some((_, now))) => now.is_same(before),
        _ => false,
    };
    let title = |folder: Option<&Value>| folder.and_then(|folder| folder.get("title")).cloned();
    let folder = server.folder(folder_uid).await?;
    Ok(pairs.iter().all(is_same) && title(folder.as_ref()) == title(before.get("folder")))
}
