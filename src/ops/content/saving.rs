//! The dashboards that use a plugin which is to be changed, saved before the first change.
//!
//! *Invariant:* nothing on the workspace is changed but snapshots made, where those are asked for; what could not be saved
//! is said.

use std::{collections::BTreeMap, collections::BTreeSet, io, path::Path};

use serde_json::Value;

use crate::{
    diagnostic::{Chain, printable},
    disk,
    fleet::{Grafana, WorkspaceError},
    model::{OrganisationInfo, PluginId},
    ops::{
        Context,
        target::Target,
        workspace_usage::{OrganisationUsage, read_one},
    },
};

/// How long a snapshot is there, in seconds: 7 days.
const SNAPSHOT_SECONDS: u64 = 7 * 24 * 60 * 60;
/// How many single troubles are told.
const MAX_TOLD: usize = 10;

/// Saves every dashboard that uses one of these plugins: a file for each below `folder`, by organisation and unique id. With
/// `snapshot` also makes a Grafana snapshot of each. Returns what is to be told of it: where they are, and what is missing.
pub async fn save_dashboards(
    context: &Context,
    target: &Target,
    plugins: &BTreeSet<PluginId>,
    folder: &Path,
    snapshot: bool,
) -> Vec<String> {
    let Ok(server) = target.as_server() else { return Vec::new() };
    if plugins.is_empty() {
        return Vec::new();
    }
    let usage = match read_one(context, target).await {
        Ok(usage) => usage,
        Err(error) => return vec![format!("no dashboards were saved: {}", Chain(&error))],
    };
    let mut notes = Vec::new();
    for organisation in &usage.organisations {
        let used = used_by(organisation, plugins);
        let gaps = organisation.gaps.iter().map(|gap| format!("dashboards may be missing: {}", printable(gap)));
        notes.extend(gaps);
        if !used.is_empty() {
            Saving { folder, snapshot, notes: &mut notes }.save_all(server, &organisation.info, used).await;
        }
    }
    notes
}

/// Returns the unique ids and titles of the dashboards that use one of the plugins, each once.
fn used_by<'a>(organisation: &'a OrganisationUsage, plugins: &BTreeSet<PluginId>) -> BTreeMap<&'a str, &'a str> {
    let uses = plugins.iter().filter_map(|plugin| organisation.graph.uses_of(plugin));
    uses.flat_map(|uses| &uses.dashboards).map(|used| (used.uid.as_str(), used.title.as_str())).collect()
}

/// One round of saving.
struct Saving<'a> {
    folder: &'a Path,
    snapshot: bool,
    notes: &'a mut Vec<String>,
}

impl Saving<'_> {
    async fn save_all(&mut self, server: &Grafana, info: &OrganisationInfo, used: BTreeMap<&str, &str>) {
        let entered = match server.enter(info).await {
            Ok(entered) => entered,
            Err(error) => {
                self.notes.push(format!("no dashboards of organisation {} were saved: {}", info.id, Chain(&error)));
                return;
            }
        };
        let folder = self.folder.join(info.id.to_string());
        let (mut count, mut troubles, all) = (0, Vec::new(), used.len());
        for (uid, title) in used {
            match save_one(&entered.grafana, &folder, uid).await {
                Ok(document) => {
                    count += 1;
                    if self.snapshot {
                        self.take_snapshot(&entered.grafana, title, &document).await;
                    }
                }
                Err(error) => troubles.push(format!("dashboard `{}` was not saved: {error}", printable(title))),
            }
        }
        if let Some(left) = entered.left
            && let Err(error) = server.switch(left).await
        {
            troubles.push(format!("the login is still in organisation {}: {}", info.id, Chain(&error)));
        }
        let path = folder.display().to_string();
        self.notes.push(format!("{count} of {all} dashboards are saved under `{}`", path.escape_debug()));
        self.notes.extend(troubles.into_iter().take(MAX_TOLD));
    }

    async fn take_snapshot(&mut self, server: &Grafana, title: &str, document: &Value) {
        let dashboard = document.get("dashboard").unwrap_or(document);
        let (title, name) = (printable(title), format!("{title} (plugport)"));
        self.notes.push(match server.snapshot(dashboard, &name, SNAPSHOT_SECONDS).await {
            Ok(url) => format!("a snapshot of dashboard `{title}` is at `{}` for 7 days", printable(&url)),
            Err(error) => format!("no snapshot of dashboard `{title}` was made: {}", Chain(&error)),
        });
    }
}

/// A dashboard was not saved.
#[derive(Debug, thiserror::Error)]
enum DashboardSaveError {
    #[error("{}", Chain(.0))]
    Server(WorkspaceError),
    #[error("it is no longer there")]
    Gone,
    #[error("its file cannot be written: {0}")]
    File(io::Error),
}

async fn save_one(server: &Grafana, folder: &Path, uid: &str) -> Result<Value, DashboardSaveError> {
    let saved = server.saved(uid).await.map_err(DashboardSaveError::Server)?.ok_or(DashboardSaveError::Gone)?;
    let document = saved.document().clone();
    let text = format!("{document:#}");
    disk::create_dirs(folder).map_err(DashboardSaveError::File)?;
    disk::write_atomic(&folder.join(file_name(uid)), text.as_bytes(), 0o600).map_err(DashboardSaveError::File)?;
    Ok(document)
}

/// A unique id comes from a server, and may be anything there.
fn file_name(uid: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_');
    if (1..=100).contains(&uid.len()) && uid.chars().all(is_plain) {
        format!("{uid}.json")
    } else {
        format!("hex.{}.json", hex::encode(&uid.as_bytes()[..uid.len().min(100)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_id_cannot_lead_out_of_the_folder() {
        assert_eq!(file_name("aB_1-x"), "aB_1-x.json");
        for uid in ["../x", "", "a/b", ".", "a\0", &"x".repeat(300)] {
            let name = file_name(uid);
            assert!(name.starts_with("hex.") && !name.contains('/') && name.len() <= 255, "{name}");
        }
    }
}
