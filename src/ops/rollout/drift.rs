//! Whether a plan still fits: a plan is refused once its planned has shifted.
//!
//! *Invariant:* it only reads; every difference is named.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::{Member, Members};
use crate::{
    diagnostic::{Chain, Diagnose as _, Kind},
    fleet::Manifest,
    model::{PluginId, PluginVersion, Sha256Digest, WorkspaceName},
    ops::{content, target::Snapshot},
    rollout::{Content, ContentItem, Plan, PlannedWorkspace, Rollout},
};

const NOT_IN_MANIFEST: &str = "it is not in the manifest any more";

/// What differs from the time when a plan was made.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    /// What has changed, one sentence each.
    pub(super) changed: Vec<String>,
    /// The workspaces that cannot be reached, and why.
    pub(super) unreachable: BTreeMap<WorkspaceName, String>,
}

/// Returns what has changed since the plan was made.
pub(super) async fn shifts(
    plan: &Plan,
    members: &Members,
    (manifest, lock): (&Manifest, Option<Sha256Digest>),
    concurrency: usize,
) -> Shifts {
    let mut shifts = Shifts::default();
    let found = &mut shifts.changed;
    if plan.base.lock != lock {
        found.push("the lock is another one than the plan was made from".to_owned());
    }
    // When waves begin is not a matter of the plan.
    let Rollout { freeze, time_zone, .. } = manifest.rollout().clone();
    if (Rollout { freeze, time_zone, ..plan.policy.clone() }) != *manifest.rollout() {
        found.push("`[rollout]` in the manifest is another one than the plan was made with".to_owned());
    }
    found.extend(plan.content.iter().filter(|item| !is_asked_for(item, members, manifest)).map(|item| {
        let (workspace, plugin) = (&item.workspace, &item.plugin);
        format!("{workspace}: the manifest asks for other dashboards or data sources of {plugin}")
    }));
    let concerned: Vec<&WorkspaceName> = plan.waves.iter().flat_map(|wave| &wave.workspaces).collect();
    let of_each: Vec<Shifts> = stream::iter(concerned)
        .map(|name| async move {
            match plan.workspaces.get(name) {
                Some(planned) => workspace_shifts(name, planned, members).await,
                None => Shifts::default(),
            }
        })
        .buffered(concurrency.max(1))
        .collect()
        .await;
    for one in of_each {
        shifts.changed.extend(one.changed);
        shifts.unreachable.extend(one.unreachable);
    }
    shifts
}

impl Shifts {
    fn of_changes(changed: Vec<String>) -> Self {
        Self { changed, ..Self::default() }
    }
}

/// Returns whether the manifest asks for content as it is planned: a plan that was changed by hand may want a secret to go
/// elsewhere.
fn is_asked_for(item: &Content, members: &Members, manifest: &Manifest) -> bool {
    let Some(member) = members.get(&item.workspace) else { return false };
    let asked = content::planned(manifest, &member.workspace, &BTreeSet::from([item.plugin.clone()]));
    asked.iter().any(|asked| asked.plugin == item.plugin && is_same_wish(&asked.item, &item.item))
}

/// Returns whether two items are about the same wish: when it is carried out, and whether secrets are sent again, is not for
/// the manifest to say.
fn is_same_wish(asked: &ContentItem, planned: &ContentItem) -> bool {
    let mut planned = planned.clone();
    match (&mut planned, asked) {
        (ContentItem::DataSource { keep_secrets, .. }, ContentItem::DataSource { keep_secrets: other, .. }) => {
            *keep_secrets = *other;
        }
        (ContentItem::NoDataSource { after_gate, .. }, ContentItem::NoDataSource { after_gate: other, .. }) => {
            *after_gate = *other;
        }
        _ => {}
    }
    planned == *asked
}

/// Returns the workspaces that are not where the plan has them: enough for going on with a rollout.
pub(super) fn moved(plan: &Plan, members: &Members) -> Vec<String> {
    let moved = members.iter().filter_map(|(name, member)| moved_from(name, member, plan.workspaces.get(name)?));
    moved.collect()
}

/// Returns the workspaces of the plan that the manifest does not have.
pub(super) fn missing(plan: &Plan, members: &Members) -> BTreeMap<WorkspaceName, String> {
    let concerned = plan.waves.iter().flat_map(|wave| &wave.workspaces).filter(|name| !members.contains_key(*name));
    concerned.map(|name| (name.clone(), NOT_IN_MANIFEST.to_owned())).collect()
}

fn moved_from(name: &WorkspaceName, member: &Member, planned: &PlannedWorkspace) -> Option<String> {
    let (now, then) = (member.workspace.endpoint_text(), &planned.place);
    (now != *then).then(|| format!("{name}: the manifest has it at `{now}`, the plan at `{then}`"))
}

async fn workspace_shifts(name: &WorkspaceName, planned: &PlannedWorkspace, members: &Members) -> Shifts {
    let Some(member) = members.get(name) else {
        return Shifts::of_changes(vec![format!("{name}: {NOT_IN_MANIFEST}")]);
    };
    if let Some(moved) = moved_from(name, member, planned) {
        return Shifts::of_changes(vec![moved]);
    }
    if member.target.platform != planned.platform {
        let (now, then) = (&member.target.platform, &planned.platform);
        return Shifts::of_changes(vec![format!("{name}: it is for {now} now, and was for {then}")]);
    }
    match member.target.read(true).await {
        Err(error) if error.kind() == Kind::Network => {
            let reason = format!("it cannot be reached: {}", Chain(&error));
            Shifts { unreachable: BTreeMap::from([(name.clone(), reason)]), ..Shifts::default() }
        }
        Err(error) => Shifts::of_changes(vec![format!("{name}: it cannot be read: {}", Chain(&error))]),
        Ok(state) => Shifts::of_changes(compare(name, planned, &state)),
    }
}

fn compare(name: &WorkspaceName, planned: &PlannedWorkspace, state: &Snapshot) -> Vec<String> {
    let now: BTreeMap<&PluginId, Option<&PluginVersion>> =
        state.plugins.iter().map(|(id, plugin)| (id, plugin.version.as_ref())).collect();
    let mut found = Vec::new();
    if planned.grafana.is_some() && state.grafana.is_some() && planned.grafana != state.grafana {
        let text = |version: &Option<crate::model::GrafanaVersion>| {
            version.as_ref().map_or_else(String::new, ToString::to_string)
        };
        let (now, then) = (text(&state.grafana), text(&planned.grafana));
        found.push(format!("{name}: Grafana was {then} and is {now}"));
    }
    for (id, then) in &planned.plugins {
        match now.get(id) {
            None => found.push(format!("{name}: {id} was there and is not")),
            Some(now) if !is_same(then.as_ref(), *now) => {
                found.push(format!("{name}: {id} was {} and is {}", shown(then.as_ref()), shown(*now)));
            }
            Some(_) => {}
        }
    }
    let new = now.keys().filter(|id| !planned.plugins.contains_key(**id));
    found.extend(new.map(|id| format!("{name}: {id} was not there and is")));
    found
}

fn is_same(one: Option<&PluginVersion>, other: Option<&PluginVersion>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.same_release(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn shown(version: Option<&PluginVersion>) -> String {
    version.map_or_else(|| "in a version that cannot be made out".to_owned(), |version| format!("at {version}"))
}
