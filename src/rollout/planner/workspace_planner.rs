//! The decision about one workspace that could be read.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    KnownVersion, PlannerInput, PlannerSnapshot, Present, WorkspaceDecision, blocked, links::Links, outdated_lock,
    wants::Wants,
};
use crate::{
    diagnostic::Obstacle,
    lockfile::{LockReason, LockedPlugin},
    model::{Change, PluginId, PluginVersion},
    resolver::{AngularSupport, dependents_first, works_with},
    rollout::{PlannedChange, PlannedPackage, Unmanaged, Warning},
};

/// One workspace while its actions are decided.
pub(super) struct WorkspacePlanner<'a> {
    input: &'a PlannerInput,
    snapshot: &'a PlannerSnapshot,
    wants: Wants<'a>,
    /// The plugins to have, and what is done for each.
    verbs: BTreeMap<&'a PluginId, Change>,
    /// The dependencies in the wanted state.
    links: Links<'a>,
    blocked: BTreeMap<&'a PluginId, Obstacle>,
    /// What is there and is removed.
    removed: BTreeSet<&'a PluginId>,
}

impl<'a> WorkspacePlanner<'a> {
    pub(super) fn new(input: &'a PlannerInput, snapshot: &'a PlannerSnapshot, mut wants: Wants<'a>) -> Self {
        let verb =
            |(id, locked): (&&'a PluginId, &&LockedPlugin)| (*id, verb(snapshot.plugins.get(*id), &locked.version));
        let verbs = wants.present.iter().map(verb).collect();
        let blocked = std::mem::take(&mut wants.refused);
        let links = links(input, snapshot, &wants);
        Self { input, snapshot, wants, verbs, links, blocked, removed: BTreeSet::new() }
    }

    pub(super) fn decide(mut self) -> WorkspaceDecision {
        self.block_changes();
        self.spread();
        self.remove();
        self.keep_to_quota();
        let mut decision = WorkspaceDecision {
            changes: self.actions(),
            unmanaged: self.unmanaged(),
            warnings: self.warnings(),
            ..WorkspaceDecision::default()
        };
        decision.blocked = self.blocked.iter().map(|(id, obstacle)| blocked(self.input, id, obstacle)).collect();
        decision
    }

    fn is_change(&self, id: &PluginId) -> bool {
        self.verbs.get(id).is_some_and(|verb| *verb != Change::None) && !self.blocked.contains_key(id)
    }

    fn known(&self, id: &PluginId) -> Option<&'a KnownVersion> {
        self.input.known.get(id)
    }

    fn block_changes(&mut self) {
        let changes: Vec<_> = self.verbs.keys().copied().filter(|id| self.is_change(id)).collect();
        for id in changes {
            if let Some(obstacle) = self.obstacle(id, self.wants.present[id]) {
                self.blocked.insert(id, obstacle);
            }
        }
    }

    /// Returns why a version cannot be installed.
    fn obstacle(&self, id: &PluginId, locked: &LockedPlugin) -> Option<Obstacle> {
        if let Some(obstacle) = self.no_install_route() {
            return Some(obstacle);
        }
        if let Some(obstacle) = self.no_return(id) {
            return Some(obstacle);
        }
        let said = self.known(id).and_then(|known| known.stopped.as_ref().or(known.withdrawn.as_ref()));
        if let Some(obstacle) = said {
            return Some(obstacle.clone());
        }
        if let Some(Some(pinned)) = self.snapshot.preinstalled.get(id) {
            let text = format!("the configuration of Grafana preinstalls {pinned}, and refuses every other version");
            return Some(pinned_hint(text));
        }
        self.other_platform(locked).or_else(|| self.other_grafana(id, locked))
    }

    /// Returns why a rollback could not restore the installed version; a version that is only repaired stays.
    fn no_return(&self, id: &PluginId) -> Option<Obstacle> {
        let is_repaired = self.verbs.get(id) == Some(&Change::Reinstall);
        self.snapshot.plugins.get(id).filter(|_| !is_repaired)?.no_return.clone()
    }

    fn no_install_route(&self) -> Option<Obstacle> {
        let grafana = self.snapshot.grafana.as_ref().filter(|_| self.input.is_server)?;
        grafana.check_install_route().err().map(|error| Obstacle::from(&error))
    }

    fn other_platform(&self, locked: &LockedPlugin) -> Option<Obstacle> {
        let platform = &self.input.platform;
        let lacks = !locked.packages.is_empty() && platform.choose(locked.packages.keys()).is_none();
        let reason = format!("the lock has no package of {} for {platform}", locked.version);
        lacks.then(|| outdated_lock(reason))
    }

    /// A lock is made for one version of Grafana, which may have changed since.
    fn other_grafana(&self, id: &PluginId, locked: &LockedPlugin) -> Option<Obstacle> {
        let (grafana, known) = (self.snapshot.grafana.as_ref()?, self.known(id)?);
        let declared = known.grafana_dependency.as_deref();
        let has_no_angular = known.angular && AngularSupport::in_grafana(grafana) == AngularSupport::Removed;
        if works_with(declared, grafana) && !has_no_angular {
            return None;
        }
        let needed = if has_no_angular {
            "AngularJS, which Grafana 12 and newer no longer have".to_owned()
        } else {
            format!("Grafana `{}`", declared.unwrap_or_default().escape_debug())
        };
        let then = self.input.locked.as_ref().and_then(|locked| locked.grafana.as_ref());
        let then = then
            .filter(|then| *then != grafana)
            .map_or_else(String::new, |then| format!("; the lock was made for {then}"));
        let reason = format!("{} needs {needed}, and this is {grafana}{then}", locked.version);
        Some(outdated_lock(reason))
    }

    /// Blocks the dependents of blocked plugins, and the dependencies that only blocked plugins have.
    fn spread(&mut self) {
        loop {
            let changes = self.verbs.keys().copied().filter(|id| self.is_change(id));
            let found: Vec<_> = changes.filter_map(|id| Some((id, self.dragged_along(id)?))).collect();
            if found.is_empty() {
                return;
            }
            self.blocked.extend(found);
        }
    }

    fn dragged_along(&self, id: &PluginId) -> Option<Obstacle> {
        if let Some(need) = self.links.needs(id).find(|need| self.blocked.contains_key(need)) {
            return Some(Obstacle::new(format!("it needs {need}, which is blocked")));
        }
        let LockReason::NeededBy(by) = &self.wants.present.get(id)?.reason else { return None };
        if self.input.asked.contains_key(id) {
            return None;
        }
        let wanted = by.iter().filter(|by| self.wants.present.contains_key(by) || self.blocked.contains_key(by));
        let names: Vec<_> = wanted.map(|by| self.blocked.contains_key(by).then_some(by.as_str())).collect();
        let names: Vec<_> = names.into_iter().collect::<Option<_>>().filter(|names: &Vec<_>| !names.is_empty())?;
        let (verb, joined) = (if names.len() == 1 { "is" } else { "are" }, names.join(", "));
        Some(Obstacle::new(format!("only {joined} needs it, which {verb} blocked")))
    }

    /// Decides the removals: pinned plugins and those that others still need stay.
    fn remove(&mut self) {
        let installed = |id: &&&PluginId| self.snapshot.plugins.contains_key(**id);
        let is_pinned = |id: &&PluginId| matches!(self.snapshot.preinstalled.get(*id), Some(Some(_)));
        let (pinned, removed): (Vec<_>, Vec<_>) =
            self.wants.absent.iter().filter(installed).copied().partition(is_pinned);
        self.removed = removed.into_iter().collect();
        if let Some(obstacle) = self.no_install_route() {
            self.blocked.extend(std::mem::take(&mut self.removed).into_iter().map(|id| (id, obstacle.clone())));
        }
        let kept: Vec<_> = self.removed.iter().filter_map(|id| Some((*id, self.no_return(id)?))).collect();
        self.removed.retain(|id| !kept.iter().any(|(other, _)| other == id));
        self.blocked.extend(kept);
        let used: Vec<_> = self.removed.iter().copied().filter(|id| self.input.in_use.contains_key(*id)).collect();
        for id in used {
            self.removed.remove(id);
            self.blocked.insert(id, self.input.in_use[id].clone());
        }
        for id in pinned {
            let reason = "the configuration of Grafana preinstalls it in this version, and refuses to remove it";
            self.blocked.insert(id, pinned_hint(reason.to_owned()));
        }
        while let Some((id, by)) = self.removed.iter().find_map(|id| Some((*id, self.user_of(id)?))) {
            self.removed.remove(id);
            let hint = Some(format!("set `ensure = \"absent\"` for {by} too, or keep {id}"));
            self.blocked.insert(id, Obstacle { message: format!("{by} needs it, and stays"), hint });
        }
    }

    /// Returns a plugin that stays or is installed, and depends on this one.
    fn user_of(&self, id: &PluginId) -> Option<&'a PluginId> {
        let stays = self.snapshot.plugins.keys().filter(|other| !self.removed.contains(other));
        let comes = self.verbs.keys().copied().filter(|other| self.is_change(other));
        // A blocked plugin keeps its version and its dependencies.
        let still_needs = |other: &PluginId| {
            self.blocked.contains_key(other)
                && self.snapshot.plugins.get(other).is_some_and(|snapshot| snapshot.needs.contains(id))
        };
        let needs = |other: &PluginId| self.links.needs(other).any(|need| need == id) || still_needs(other);
        stays.chain(comes).find(|other| *other != id && needs(other))
    }

    /// Blocks the last installations, which exceed the quota.
    fn keep_to_quota(&mut self) {
        let Some(quota) = self.input.quota else { return };
        let counts = |id: &&PluginId| !self.snapshot.preinstalled.contains_key(*id);
        let snapshot = self.snapshot.plugins.keys().filter(counts).count();
        let gone = self.removed.iter().copied().filter(counts).count();
        let mut free = (quota + gone).saturating_sub(snapshot);
        for id in self.links.sorted(self.verbs.keys().copied()) {
            if self.verbs[id] != Change::Install || !self.is_change(id) {
                continue;
            }
            if free > 0 {
                free -= 1;
                continue;
            }
            let reason = format!("the workspace may have {quota} plugins, and {snapshot} are installed");
            let hint = Some("remove other plugins first, or ask AWS for a higher quota".to_owned());
            self.blocked.insert(id, Obstacle { message: reason, hint });
            self.spread();
        }
    }

    fn actions(&self) -> Vec<PlannedChange> {
        let open = self.verbs.keys().copied().filter(|id| !self.blocked.contains_key(id));
        let is_reversed = self.has_dependents_first();
        let order = if is_reversed { self.links.dependents_first(open) } else { self.links.sorted(open) };
        let mut actions: Vec<_> = order.iter().map(|id| self.action(id)).collect();
        if is_reversed {
            self.mark_brought(&mut actions);
        }
        actions.extend(self.holds(&order));
        let going = self.links.sorted(self.removed.iter().copied());
        actions.extend(going.into_iter().rev().map(|id| self.removal(id)));
        actions
    }

    /// Returns whether dependents are changed before their dependencies (see [`dependents_first`]).
    fn has_dependents_first(&self) -> bool {
        self.input.is_server && self.snapshot.grafana.as_ref().is_some_and(dependents_first)
    }

    /// Writes down for every change which changes before it bring its plugin along.
    fn mark_brought(&self, actions: &mut [PlannedChange]) {
        let mut changed: Vec<&'a PluginId> = Vec::new();
        for action in actions.iter_mut().filter(|action| !action.is_nothing()) {
            let brings = |id: &&&'a PluginId| self.links.all_needs([**id]).contains(&action.plugin);
            action.brought_by = changed.iter().filter(brings).map(|id| (*id).clone()).collect();
            changed.extend(self.verbs.get_key_value(&action.plugin).map(|(id, _)| *id));
        }
    }

    fn action(&self, id: &PluginId) -> PlannedChange {
        let (locked, verb) = (self.wants.present[id], self.verbs[id]);
        let present = self.snapshot.plugins.get(id);
        let mut reason = locked.reason.to_string();
        if verb == Change::Reinstall
            && let Some(fault) = present.and_then(|present| present.fault.as_deref())
        {
            reason = format!("{reason}; it does not work: {}", fault.escape_debug());
        }
        let drift = self.drift(id, Some(&locked.version));
        if let Some(drift) = &drift {
            reason = format!("{reason}; {drift}");
        }
        PlannedChange {
            workspace: self.input.name.clone(),
            plugin: id.clone(),
            kind: verb,
            from: present.and_then(|present| present.version.clone()),
            to: Some(locked.version.clone()),
            reason,
            drift: drift.is_some(),
            package: (verb != Change::None).then(|| self.package(locked)),
            brought_by: Vec::new(),
        }
    }

    fn package(&self, locked: &LockedPlugin) -> PlannedPackage {
        let key = self.input.platform.choose(locked.packages.keys());
        PlannedPackage {
            platform: key.unwrap_or(&self.input.platform).clone(),
            digest: key.and_then(|key| locked.packages.get(key)).map(ToString::to_string),
        }
    }

    fn removal(&self, id: &PluginId) -> PlannedChange {
        let drift = self.drift(id, None);
        let mut reason = "the manifest removes it".to_owned();
        if let Some(drift) = &drift {
            reason = format!("{reason}; {drift}");
        }
        PlannedChange {
            workspace: self.input.name.clone(),
            plugin: id.clone(),
            kind: Change::Uninstall,
            from: self.snapshot.plugins.get(id).and_then(|present| present.version.clone()),
            to: None,
            reason,
            drift: drift.is_some(),
            package: None,
            brought_by: Vec::new(),
        }
    }

    /// Returns the re-pins of dependencies that a server may change with their dependents, dependents first: re-pinning a
    /// dependent may change its dependencies again. What is changed after its dependents anyway needs none.
    fn holds(&self, order: &[&'a PluginId]) -> Vec<PlannedChange> {
        if !self.input.is_server {
            return Vec::new();
        }
        let changed: Vec<_> = order.iter().copied().filter(|id| self.is_change(id)).collect();
        let brought = self.links.all_needs(changed.iter().copied());
        let is_held = |id: &&'a PluginId| brought.contains(id);
        if self.has_dependents_first() {
            let is_unchanged = |id: &&'a PluginId| !self.is_change(id);
            return order
                .iter()
                .copied()
                .filter(is_held)
                .filter(is_unchanged)
                .map(|id| self.hold(id, &changed))
                .collect();
        }
        order.iter().rev().copied().filter(is_held).map(|id| self.hold(id, &changed)).collect()
    }

    fn hold(&self, id: &'a PluginId, changed: &[&'a PluginId]) -> PlannedChange {
        let by = changed.iter().find(|other| self.links.all_needs([**other]).contains(id));
        let by = by.map_or("a dependent plugin", |by| by.as_str());
        let locked = self.wants.present[id];
        PlannedChange {
            workspace: self.input.name.clone(),
            plugin: id.clone(),
            kind: Change::Repin,
            from: Some(locked.version.clone()),
            to: Some(locked.version.clone()),
            reason: format!("{by} is changed, and the server may install another version with it"),
            drift: false,
            package: Some(self.package(locked)),
            brought_by: Vec::new(),
        }
    }

    /// Returns how the installed version differs from the lock and from the last known one.
    fn drift(&self, id: &PluginId, locked: Option<&PluginVersion>) -> Option<String> {
        let last = self.input.last_known.get(id)?;
        let Some(present) = self.snapshot.plugins.get(id) else {
            return Some(format!("it is absent, but {last} was installed when it was last known"));
        };
        let version = present.version.as_ref()?;
        let is_known = version.same_release(last) || locked.is_some_and(|locked| version.same_release(locked));
        (!is_known).then(|| format!("{version} is installed, but {last} was when it was last known"))
    }

    fn unmanaged(&self) -> Vec<Unmanaged> {
        let managed = |id: &PluginId| {
            self.verbs.contains_key(id) || self.wants.absent.contains(id) || self.blocked.contains_key(id)
        };
        let others = self.snapshot.plugins.iter().filter(|(id, _)| !managed(id));
        let unmanaged = |(id, present): (&PluginId, &Present)| Unmanaged {
            workspace: self.input.name.clone(),
            plugin: id.clone(),
            version: present.version.clone(),
        };
        others.map(unmanaged).collect()
    }

    fn warnings(&self) -> Vec<Warning> {
        let warning = |id: &PluginId, text: String| Warning {
            workspace: self.input.name.clone(),
            plugin: Some(id.clone()),
            text,
        };
        let unchanged = self.verbs.iter().filter(|(_, verb)| **verb == Change::None).map(|(id, _)| *id);
        let unfit = unchanged.flat_map(|id| {
            let withdrawn = self.known(id).and_then(|known| known.withdrawn.clone());
            self.other_grafana(id, self.wants.present[id])
                .into_iter()
                .chain(withdrawn)
                .map(move |why| (id, why.message))
        });
        let mut warnings: Vec<_> = unfit.map(|(id, reason)| warning(id, reason)).collect();
        let again = self.removed.iter().filter(|id| self.snapshot.preinstalled.contains_key(**id));
        warnings.extend(again.map(|id| {
            warning(
                id,
                "the configuration of Grafana preinstalls it: Grafana installs it again at its next start".to_owned(),
            )
        }));
        warnings.extend(
            self.wants.stale.iter().map(|id| {
                warning(id, format!("the lock has it, but nothing requests it any more: {}", super::LOCK_HINT))
            }),
        );
        warnings
    }
}

fn pinned_hint(reason: String) -> Obstacle {
    let hint = "remove it from `preinstall` under `[plugins]` in the configuration of Grafana".to_owned();
    Obstacle { message: reason, hint: Some(hint) }
}

fn verb(present: Option<&Present>, to: &PluginVersion) -> Change {
    let Some(Present { version, fault, .. }) = present else { return Change::Install };
    match version {
        Some(version) if version.same_release(to) && fault.is_some() => Change::Reinstall,
        Some(version) if version.same_release(to) => Change::None,
        Some(version) if version.cmp(to) == Ordering::Greater => Change::Downgrade,
        // It was not loaded, so that nobody knows its version: there is nothing to upgrade.
        None if fault.is_some() => Change::Reinstall,
        _ => Change::Upgrade,
    }
}

/// Returns the dependencies in the wanted state: from the catalog, the lock, and the installed plugins.
fn links<'a>(input: &'a PlannerInput, snapshot: &'a PlannerSnapshot, wants: &Wants<'a>) -> Links<'a> {
    let mut links = Links::default();
    for (id, locked) in &wants.present {
        if let LockReason::NeededBy(by) = &locked.reason {
            for by in by {
                links.add(by, id);
            }
        }
    }
    for (id, present) in &snapshot.plugins {
        // The dependencies of the wanted version count, not those of the version that it replaces.
        let of_wanted = input.known.get(id).filter(|_| wants.present.contains_key(id));
        let needs = of_wanted.and_then(|known| known.needs.as_ref()).unwrap_or(&present.needs);
        for need in needs {
            links.add(id, need);
        }
    }
    for (id, _) in wants.present.iter().filter(|(id, _)| !snapshot.plugins.contains_key(**id)) {
        let needs = input.known.get(*id).and_then(|known| known.needs.as_ref());
        for need in needs.into_iter().flatten() {
            links.add(id, need);
        }
    }
    links
}
