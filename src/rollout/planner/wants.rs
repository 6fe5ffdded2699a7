//! The wanted state of one workspace: what the manifest requests, as far as the lock agrees.

use std::collections::{BTreeMap, BTreeSet};

use super::{PlannerInput, Requested, outdated_lock};
use crate::{
    diagnostic::Obstacle,
    lockfile::{LockReason, LockedPlugin},
    model::{PluginId, VersionRange},
};

/// The wanted state of one workspace.
pub(super) struct Wants<'a> {
    /// The plugins to have, with their locked versions.
    pub(super) present: BTreeMap<&'a PluginId, &'a LockedPlugin>,
    /// The plugins to remove.
    pub(super) absent: BTreeSet<&'a PluginId>,
    /// The requested plugins for which the lock has no suitable version.
    pub(super) refused: BTreeMap<&'a PluginId, Obstacle>,
    /// The locked plugins that nothing requests any more.
    pub(super) stale: BTreeSet<&'a PluginId>,
}

impl<'a> Wants<'a> {
    pub(super) fn new(input: &'a PlannerInput) -> Self {
        let mut wants = Self {
            present: BTreeMap::new(),
            absent: BTreeSet::new(),
            refused: BTreeMap::new(),
            stale: BTreeSet::new(),
        };
        for (id, asked) in &input.asked {
            let locked = input.locked.as_ref().and_then(|locked| locked.plugins.get(id));
            match (asked, locked) {
                (Requested::Both, _) => drop(wants.refused.insert(id, contradiction())),
                (Requested::Absent, None) => drop(wants.absent.insert(id)),
                (Requested::Absent, Some(locked)) => {
                    let reason = format!("the manifest removes it, but the lock still has {}", describe(locked));
                    wants.refused.insert(id, outdated_lock(reason));
                }
                (Requested::Present(_), None) => drop(wants.refused.insert(id, not_locked(input, id))),
                (Requested::Present(ranges), Some(locked)) => match out_of_range(locked, ranges) {
                    Some(obstacle) => drop(wants.refused.insert(id, obstacle)),
                    None => drop(wants.present.insert(id, locked)),
                },
            }
        }
        wants.add_needed(input);
        wants
    }

    /// Adds the locked dependencies of requested plugins.
    fn add_needed(&mut self, input: &'a PlannerInput) {
        let Some(locked) = &input.locked else { return };
        let is_asked = |id: &PluginId| matches!(input.asked.get(id), Some(Requested::Present(_)));
        let mut wanted: BTreeSet<&PluginId> = locked.plugins.keys().filter(|id| is_asked(id)).collect();
        let mut others: Vec<_> = locked.plugins.iter().filter(|(id, _)| !input.asked.contains_key(*id)).collect();
        loop {
            let (needed, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(_, plugin)| is_needed(plugin, &wanted));
            wanted.extend(needed.iter().map(|(id, _)| *id));
            self.present.extend(needed.iter().copied());
            others = rest;
            if needed.is_empty() {
                break;
            }
        }
        self.stale = others.into_iter().map(|(id, _)| id).collect();
    }

    /// Returns every plugin except the stale ones.
    pub(super) fn every_plugin(&self) -> BTreeSet<&'a PluginId> {
        self.present.keys().chain(&self.absent).chain(self.refused.keys()).copied().collect()
    }
}

fn is_needed(plugin: &LockedPlugin, wanted: &BTreeSet<&PluginId>) -> bool {
    matches!(&plugin.reason, LockReason::NeededBy(by) if by.iter().any(|id| wanted.contains(id)))
}

fn describe(locked: &LockedPlugin) -> String {
    match &locked.reason {
        LockReason::NeededBy(_) => format!("{}, {}", locked.version, locked.reason),
        LockReason::AskedFor | LockReason::Adopted => locked.version.to_string(),
    }
}

fn contradiction() -> Obstacle {
    Obstacle {
        message: "one entry of the manifest requests it, and another removes it".to_owned(),
        hint: Some("let the `on` of the two entries select different workspaces".to_owned()),
    }
}

fn not_locked(input: &PlannerInput, id: &PluginId) -> Obstacle {
    match (&input.locked, input.missing.get(id)) {
        (None, Some(why)) => why.clone(),
        (None, None) => outdated_lock("the lock has no entry for this workspace"),
        (Some(_), None) => outdated_lock("the lock has no version of it"),
        (Some(_), Some(why)) => Obstacle {
            message: format!("the lock has no version of it: {}", why.message),
            hint: why.hint.clone().or_else(|| Some(super::LOCK_HINT.to_owned())),
        },
    }
}

fn out_of_range(locked: &LockedPlugin, ranges: &[VersionRange]) -> Option<Obstacle> {
    let range = ranges.iter().find(|range| !range.allows(&locked.version))?;
    let reason = format!("the manifest requests `{range}`, but the lock has {}", locked.version);
    Some(outdated_lock(reason))
}
