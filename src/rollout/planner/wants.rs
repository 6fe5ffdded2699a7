//! What is wanted of one workspace: what the manifest says, as far as the lock says it too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Obstacle, PlannerInput, Requested};
use crate::{
    lockfile::{LockReason, LockedPlugin},
    model::{PluginId, VersionRange},
};

/// What is wanted of one workspace.
pub(super) struct Wants<'a> {
    /// What is to be there.
    pub(super) present: BTreeMap<&'a PluginId, &'a LockedPlugin>,
    /// What is not to be there.
    pub(super) absent: BTreeSet<&'a PluginId>,
    /// What the lock has no right answer for.
    pub(super) refused: BTreeMap<&'a PluginId, Obstacle>,
    /// What the lock has and nothing asks for any more.
    pub(super) stale: BTreeSet<&'a PluginId>,
}

impl<'a> Wants<'a> {
    pub(super) fn of(subject: &'a PlannerInput) -> Self {
        let mut wants = Self {
            present: BTreeMap::new(),
            absent: BTreeSet::new(),
            refused: BTreeMap::new(),
            stale: BTreeSet::new(),
        };
        for (id, asked) in &subject.asked {
            let locked = subject.locked.as_ref().and_then(|locked| locked.plugins.get(id));
            match (asked, locked) {
                (Requested::Both, _) => drop(wants.refused.insert(id, two_minds())),
                (Requested::Absent, None) => drop(wants.absent.insert(id)),
                (Requested::Absent, Some(locked)) => {
                    let reason = format!("the manifest wants it gone, and the lock still has {}", because(locked));
                    wants.refused.insert(id, Obstacle::of_lock(reason));
                }
                (Requested::Present(_), None) => drop(wants.refused.insert(id, not_locked(subject, id))),
                (Requested::Present(ranges), Some(locked)) => match out_of_range(locked, ranges) {
                    Some(obstacle) => drop(wants.refused.insert(id, obstacle)),
                    None => drop(wants.present.insert(id, locked)),
                },
            }
        }
        wants.add_needed(subject);
        wants
    }

    /// Adds what the lock has because something needs it that is still asked for.
    fn add_needed(&mut self, subject: &'a PlannerInput) {
        let Some(locked) = &subject.locked else { return };
        let is_asked = |id: &PluginId| matches!(subject.asked.get(id), Some(Requested::Present(_)));
        let mut wanted: BTreeSet<&PluginId> = locked.plugins.keys().filter(|id| is_asked(id)).collect();
        let mut others: Vec<_> = locked.plugins.iter().filter(|(id, _)| !subject.asked.contains_key(*id)).collect();
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

    /// Returns every plugin that the manifest or the lock speaks of, but for what is stale.
    pub(super) fn every_plugin(&self) -> BTreeSet<&'a PluginId> {
        self.present.keys().chain(&self.absent).chain(self.refused.keys()).copied().collect()
    }
}

fn is_needed(plugin: &LockedPlugin, wanted: &BTreeSet<&PluginId>) -> bool {
    matches!(&plugin.reason, LockReason::NeededBy(by) if by.iter().any(|id| wanted.contains(id)))
}

fn because(locked: &LockedPlugin) -> String {
    match &locked.reason {
        LockReason::NeededBy(_) => format!("{}, {}", locked.version, locked.reason),
        LockReason::AskedFor | LockReason::Adopted => locked.version.to_string(),
    }
}

fn two_minds() -> Obstacle {
    Obstacle {
        reason: "one entry of the manifest wants it there, and another wants it gone".to_owned(),
        hint: Some("give both entries an `on` that means other workspaces".to_owned()),
    }
}

fn not_locked(subject: &PlannerInput, id: &PluginId) -> Obstacle {
    match (&subject.locked, subject.missing.get(id)) {
        (None, Some(why)) => why.clone(),
        (None, None) => Obstacle::of_lock("the lock says nothing of this workspace"),
        (Some(_), None) => Obstacle::of_lock("the lock has no version of it"),
        (Some(_), Some(why)) => Obstacle {
            reason: format!("the lock has no version of it: {}", why.reason),
            hint: why.hint.clone().or_else(|| Some(super::LOCK_HINT.to_owned())),
        },
    }
}

fn out_of_range(locked: &LockedPlugin, ranges: &[VersionRange]) -> Option<Obstacle> {
    let range = ranges.iter().find(|range| !range.allows(&locked.version))?;
    let reason = format!("the manifest asks for `{range}`, and the lock has {}", locked.version);
    Some(Obstacle::of_lock(reason))
}
