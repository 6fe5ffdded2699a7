//! The steps of an installation on a target, in their order. Reads the catalog, changes nothing.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
};

use super::{Ready, error::ChoiceError, versions::Versions};
use crate::{
    index::{Index, IndexError},
    model::{Change, Dependency, PluginId, PluginSpec, PluginVersion, Presence, VersionRequest, topological_order},
    ops::{
        candidates,
        changes::VersionChange,
        server_warnings::WarningKind,
        target::{InstalledPlugin, Snapshot},
    },
    upstream::PackageName,
};

/// One plugin of an installation.
#[derive(Debug)]
pub(super) struct InstallStep {
    pub(super) plugin: PluginId,
    pub(super) action: Result<VersionChange, ChoiceError>,
    /// The package to install.
    pub(super) package: Option<PackageName>,
    /// The plugins that must be installed before.
    pub(super) needs: Vec<PluginId>,
    /// The plugin that depends on it; `None` if it is requested.
    pub(super) needed_by: Option<PluginId>,
    /// A dependent with which the server changes it: its own installation comes after all its dependents.
    pub(super) brought_by: Option<PluginId>,
    /// The warnings to show before the step.
    pub(super) warnings: Vec<(WarningKind, String)>,
}

impl InstallStep {
    fn new(plugin: PluginId, needed_by: Option<PluginId>) -> Self {
        let (action, needs, warnings) = (Ok(VersionChange::none(None)), Vec::new(), Vec::new());
        Self { plugin, action, package: None, needs, needed_by, brought_by: None, warnings }
    }

    fn replaces(&self) -> bool {
        self.action.as_ref().is_ok_and(|action| matches!(action.kind, Change::Upgrade | Change::Downgrade))
    }

    /// Returns all warnings in one line.
    pub(super) fn warning(&self) -> Option<String> {
        let all: Vec<_> = self.warnings.iter().map(|(_, text)| text.as_str()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// A requested plugin or a dependency.
struct InstallWish {
    spec: PluginSpec,
    needed_by: Option<PluginId>,
    /// The version that works with the others.
    settled: Option<PluginVersion>,
}

impl Versions {
    /// Returns a wish with the version that was chosen.
    fn wish(&self, spec: PluginSpec, needed_by: Option<&PluginId>) -> InstallWish {
        InstallWish { settled: self.chosen.get(&spec.id).cloned(), needed_by: needed_by.cloned(), spec }
    }

    /// Returns the failed step of a refused wish.
    fn refuse(&mut self, wish: &InstallWish) -> Option<InstallStep> {
        let error = self.refused.remove(&wish.spec.id).filter(|_| wish.needed_by.is_none())?;
        Some(InstallStep { action: Err(error), ..InstallStep::new(wish.spec.id.clone(), None) })
    }

    /// Adds warnings and what the server installs itself to the steps; returns the warnings that belong to no step.
    fn annotate(self, steps: &mut BTreeMap<PluginId, InstallStep>) -> Vec<String> {
        let is_change = |step: &InstallStep| step.action.as_ref().is_ok_and(|action| !action.is_nothing());
        for (plugin, by) in self.installed_with_dependents {
            if steps.get(&by).is_some_and(is_change)
                && let Some(step) = steps.get_mut(&plugin).filter(|step| is_change(step))
            {
                step.brought_by = Some(by);
            }
        }
        for (plugin, denied) in self.denied {
            if let Some(step) = steps.get_mut(&plugin).filter(|step| is_change(step)) {
                step.action = Err(ChoiceError::ByServer(denied));
            }
        }
        let mut remarks = Vec::new();
        for warning in self.warnings {
            // A plugin that stays has no step: its warning belongs to its dependent.
            let places = [Some(warning.affected()), warning.needed_by.as_ref()];
            let place = places.into_iter().flatten().find(|plugin| steps.get(*plugin).is_some_and(is_change)).cloned();
            let is_repeated =
                warning.kind == WarningKind::ServerTakesAnother && place.as_ref() == Some(&warning.plugin);
            let text = match warning.version.filter(|_| is_repeated) {
                Some(version) => format!("{}; {version} is installed again after that", warning.text),
                None => warning.text,
            };
            match place.and_then(|plugin| steps.get_mut(&plugin)) {
                // A server removes the old version before it checks the dependencies of the new one (protocol page 5.1).
                Some(step) if warning.kind == WarningKind::ServerRefuses && step.replaces() => {
                    step.warnings.push((warning.kind, format!("{text}; the installed version may be removed by that")));
                }
                Some(step) => step.warnings.push((warning.kind, text)),
                None => remarks.push(text),
            }
        }
        remarks
    }
}

/// The steps on a target, and the warnings that belong to no step.
pub(super) struct InstallPlan {
    pub(super) steps: Vec<InstallStep>,
    pub(super) remarks: Vec<String>,
}

/// Returns the steps for these wishes, dependencies before dependents.
pub(super) fn plan(index: &Index, ready: &Ready, specs: &[PluginSpec]) -> Result<InstallPlan, IndexError> {
    let mut versions = Versions::choose(index, ready, specs)?;
    let mut wishes: VecDeque<_> = specs.iter().map(|spec| versions.wish(spec.clone(), None)).collect();
    let mut steps: BTreeMap<PluginId, InstallStep> = BTreeMap::new();
    let mut order = Vec::new();
    while let Some(wish) = wishes.pop_front() {
        let id = wish.spec.id.clone();
        if let Some(conflict) = steps.get(&id).map(|step| conflict(step, &wish)) {
            let needs_it = wish.needed_by.as_ref().and_then(|plugin| steps.get_mut(plugin));
            if let (Some(error), Some(step)) = (conflict, needs_it) {
                step.action = Err(error);
            }
            continue;
        }
        if is_settled(index, &ready.state, &wish)? {
            let step = if versions.is_corrected_afterwards(&id) { reinstallation(index, ready, wish)? } else { None };
            order.extend(step.as_ref().map(|_| id.clone()));
            steps.extend(step.map(|step| (id, step)));
            continue;
        }
        if let Some(step) = versions.refuse(&wish) {
            order.push(id.clone());
            steps.insert(id, step);
            continue;
        }
        let (step, dependencies) = plan_one(index, ready, wish)?;
        for Dependency { id, range } in dependencies {
            let spec = PluginSpec { id, version: VersionRequest::from(range) };
            wishes.push_back(versions.wish(spec, Some(&step.plugin)));
        }
        order.push(id.clone());
        steps.insert(id, step);
    }
    let remarks = versions.annotate(&mut steps);
    Ok(InstallPlan { steps: sort(steps, order), remarks })
}

/// Returns why a chosen version does not satisfy a later wish.
fn conflict(step: &InstallStep, wish: &InstallWish) -> Option<ChoiceError> {
    let chosen = step.action.as_ref().ok()?.to.as_ref()?;
    let wanted = &wish.spec.version;
    (!wanted.allows(chosen)).then(|| ChoiceError::Conflict {
        plugin: step.plugin.clone(),
        wanted: wanted.clone(),
        chosen: chosen.clone(),
        needed_by: step.needed_by.clone(),
    })
}

/// Returns whether a dependency needs no step: it is part of Grafana, or installed in a version that satisfies it and that
/// the manifest does not deny.
fn is_settled(index: &Index, state: &Snapshot, wish: &InstallWish) -> Result<bool, IndexError> {
    if wish.needed_by.is_none() {
        return Ok(false);
    }
    let installed = state.plugins.get(&wish.spec.id).filter(|installed| installed.fault.is_none());
    let present = installed.and_then(|installed| installed.version.as_ref());
    let present = present.filter(|version| candidates::denied(index, &wish.spec.id, version).is_none());
    let stays = |version: &PluginVersion| wish.settled.as_ref().is_none_or(|settled| settled.same_release(version));
    if present.is_some_and(|version| wish.spec.version.allows(version) && stays(version)) {
        return Ok(true);
    }
    candidates::is_core(index, &wish.spec.id)
}

/// Returns the step that installs a dependency once more in its version, if the catalog has that version.
fn reinstallation(index: &Index, ready: &Ready, wish: InstallWish) -> Result<Option<InstallStep>, IndexError> {
    let (mut step, _) = plan_one(index, ready, wish)?;
    let there = ready.state.plugins.get(&step.plugin).and_then(|installed| installed.version.as_ref());
    let Some(version) = step.package.as_ref().and(there) else { return Ok(None) };
    let stays = step.action.as_ref().is_ok_and(VersionChange::is_nothing);
    step.action = Ok(VersionChange::reinstall(version.clone()));
    Ok(stays.then_some(step))
}

fn plan_one(index: &Index, ready: &Ready, wish: InstallWish) -> Result<(InstallStep, Vec<Dependency>), IndexError> {
    let Ready { target, state, surroundings, .. } = ready;
    let InstallWish { spec, needed_by, settled } = wish;
    let mut step = InstallStep::new(spec.id.clone(), needed_by);
    let chosen = match candidates::choose_settled(index, &spec, settled.as_ref(), surroundings) {
        Ok(chosen) => chosen,
        Err(error) => {
            step.action = Err(error.into());
            return Ok((step, Vec::new()));
        }
    };
    let version = chosen.release.version.clone();
    let installed = state.plugins.get(&spec.id);
    if step.needed_by.is_some()
        && let Some(newer) = installed.and_then(|installed| newer_than(installed, &version))
    {
        // A dependency is not downgraded: Grafana itself accepts any newer version (protocol page 8).
        step.action = Ok(VersionChange::none(Some(newer.clone())));
        return Ok((step, Vec::new()));
    }
    let platform = target.platform.choose(chosen.release.packages.keys()).cloned();
    step.package = platform.map(|platform| PackageName { plugin: spec.id.clone(), version: version.clone(), platform });
    let known = candidates::dependencies(index, &chosen.plugin, &chosen.release, Some(&target.platform))?;
    let dependencies = known.unwrap_or_default();
    step.needs = dependencies.iter().map(|dependency| dependency.id.clone()).collect();
    step.action = Ok(action(installed, version));
    Ok((step, dependencies))
}

/// Returns the installed version if it works and is newer.
fn newer_than<'a>(installed: &'a InstalledPlugin, version: &PluginVersion) -> Option<&'a PluginVersion> {
    let there = installed.version.as_ref().filter(|_| installed.fault.is_none())?;
    (there.cmp_precedence(version) == Ordering::Greater).then_some(there)
}

fn action(installed: Option<&InstalledPlugin>, to: PluginVersion) -> VersionChange {
    match installed {
        None => VersionChange::to_version(&Presence::Absent, to),
        Some(InstalledPlugin { fault: None, version: Some(version), .. }) if version.same_release(&to) => {
            VersionChange::none(Some(to))
        }
        // It was not loaded, so that nobody knows its version: there is nothing to upgrade.
        Some(InstalledPlugin { fault: Some(_), version: None, .. }) => {
            VersionChange { kind: Change::Reinstall, from: None, to: Some(to) }
        }
        Some(InstalledPlugin { version: Some(version), fault: Some(_), .. }) if version.same_release(&to) => {
            VersionChange::reinstall(to)
        }
        Some(InstalledPlugin { version, .. }) => {
            VersionChange::to_version(&version.clone().map_or(Presence::Unknown, Presence::Version), to)
        }
    }
}

/// Puts dependencies before dependents; in a circle, the plugin that was requested first comes last.
fn sort(mut steps: BTreeMap<PluginId, InstallStep>, order: Vec<PluginId>) -> Vec<InstallStep> {
    let needs = |id: &PluginId| steps.get(id).map_or_else(Vec::new, |step| step.needs.clone());
    let sorted = topological_order(order.into_iter().rev(), needs);
    sorted.iter().filter_map(|id| steps.remove(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(plugin: &str, needs: &[&str]) -> (PluginId, InstallStep) {
        let id: PluginId = plugin.parse().expect("an id");
        let needs = needs.iter().map(|need| need.parse().expect("an id")).collect();
        (id.clone(), InstallStep { needs, ..InstallStep::new(id, None) })
    }

    fn sorted(steps: [(PluginId, InstallStep); 3]) -> Vec<String> {
        let order = steps.iter().map(|(id, _)| id.clone()).collect();
        sort(BTreeMap::from(steps), order).into_iter().map(|step| step.plugin.to_string()).collect()
    }

    #[test]
    fn what_is_needed_comes_first() {
        assert_eq!(sorted([step("a", &["b", "core"]), step("b", &["c"]), step("c", &[])]), ["c", "b", "a"]);
    }

    #[test]
    fn a_leading_v_does_not_make_an_installed_version_another() {
        let version = |text: &str| text.parse().expect("a version");
        let installed = InstalledPlugin {
            id: "a-panel".parse().expect("an id"),
            version: Some(version("1.0.0")),
            name: String::new(),
            plugin_type: None,
            signature: None,
            dependencies: Vec::new(),
            grafana_dependency: None,
            angular: false,
            fault: None,
        };
        assert!(action(Some(&installed), version("v1.0.0")).is_nothing());
        assert!(!action(Some(&installed), version("v1.0.1")).is_nothing());
    }

    #[test]
    fn circles_end() {
        assert_eq!(sorted([step("a", &["b"]), step("b", &["a"]), step("c", &["c"])]).len(), 3);
    }
}
