//! The dashboards that use a plugin which is to be changed, saved before the first change.
//!
//! *Invariant:* the workspace is not changed, except that snapshots are created if requested; failures are reported.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    diagnostic::{Chain, printable},
    fleet::{Grafana, WorkspaceError},
    model::{OrganisationInfo, PluginId},
    ops::{
        Context,
        target::Target,
        workspace_usage::{OrganisationUsage, read_dashboards_of},
    },
    records::{Creation, RecordError, RecordName, Records},
};

/// How long a snapshot is there, in seconds: 7 days.
const SNAPSHOT_SECONDS: u64 = 7 * 24 * 60 * 60;
/// How many dashboards are read side by side.
const AT_ONCE: usize = 8;
/// The maximum number of failures reported per organisation.
const MAX_REPORTED: usize = 10;

/// Saves every dashboard that uses one of these plugins: a record for each below `name`, by organisation and unique id. With
/// `snapshot` also makes a Grafana snapshot of each. Returns notes: where they are, and what is missing.
pub async fn save_dashboards(
    context: &Context,
    target: &Target,
    plugins: &BTreeSet<PluginId>,
    name: &RecordName,
    snapshot: bool,
) -> Vec<String> {
    let Ok(server) = target.as_server() else { return Vec::new() };
    if plugins.is_empty() {
        return Vec::new();
    }
    let usage = match read_dashboards_of(context, target, plugins).await {
        Ok(usage) => usage,
        Err(error) => return vec![format!("no dashboards were saved: {}", Chain(&error))],
    };
    let mut notes = Vec::new();
    for organisation in &usage.organisations {
        let used = used_by(organisation, plugins);
        let gaps = organisation.gaps.iter().map(|gap| format!("dashboards may be missing: {}", printable(gap)));
        notes.extend(gaps);
        if !used.is_empty() {
            Saving { records: context.records(), name, snapshot, notes: &mut notes }
                .save_all(server, &organisation.info, used)
                .await;
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
    records: &'a dyn Records,
    name: &'a RecordName,
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
        let below = self.name.join(&info.id.to_string());
        let (mut count, mut failures, all) = (0, Vec::new(), used.len());
        let (grafana, records) = (&entered.grafana, self.records);
        let save = |(uid, title): (String, String)| {
            let below = &below;
            async move { (title, save_one(grafana, records, below, &uid).await) }
        };
        let used: Vec<_> = used.into_iter().map(|(uid, title)| (uid.to_owned(), title.to_owned())).collect();
        let mut saved = stream::iter(used).map(save).buffered(AT_ONCE);
        while let Some((title, saved)) = saved.next().await {
            match saved {
                Ok(document) => {
                    count += 1;
                    if self.snapshot {
                        self.take_snapshot(grafana, &title, &document).await;
                    }
                }
                Err(error) => failures.push(format!("dashboard `{}` was not saved: {error}", printable(&title))),
            }
        }
        drop(saved);
        if let Some(left) = entered.left
            && let Err(error) = server.switch(left).await
        {
            failures.push(format!("the login is still in organisation {}: {}", info.id, Chain(&error)));
        }
        self.notes.push(format!("{count} of {all} dashboards are saved under `rollouts/{below}` in the cache"));
        self.notes.extend(failures.into_iter().take(MAX_REPORTED));
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
    #[error("{}", Chain(.0))]
    Record(#[from] RecordError),
}

/// Saves a dashboard. One that was saved before and has changed since is saved beside the first.
async fn save_one(
    server: &Grafana,
    records: &dyn Records,
    below: &RecordName,
    uid: &str,
) -> Result<Value, DashboardSaveError> {
    let saved = server.saved(uid).await.map_err(DashboardSaveError::Server)?.ok_or(DashboardSaveError::Gone)?;
    let document = saved.document().clone();
    let bytes = format!("{document:#}").into_bytes();
    let name = below.join(uid);
    if records.create(name.clone(), bytes.clone()).await? == Creation::Exists
        && records.read(name).await?.as_ref() != Some(&bytes)
    {
        let digest = hex::encode(Sha256::digest(&bytes));
        records.create(below.join(&format!("{uid}.{}", &digest[..16])), bytes).await?;
    }
    Ok(document)
}
