//! Which versions go onto a target, in which order. Reads the catalog, changes nothing.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
};

use super::{Ready, versions::Versions};
use crate::{
    diagnostic::{Kind, diagnose},
    index::{Index, IndexError},
    model::{Dependency, PluginId, PluginSpec, PluginVersion, VersionRequest},
    ops::{
        candidates::{self, LookupError},
        changes::Action,
        server_warnings::WarningKind,
        target::{InstalledPlugin, Snapshot},
    },
    resolver::Explanation,
    signature::PolicyError,
    upstream::PackageName,
};

/// There is no way to a plugin.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChoiceError {
    /// There is no version to install.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It goes with no version of what else was asked for.
    #[error(transparent)]
    Unsolvable(Box<Explanation>),
    /// The catalog calls it, or what it needs, unsigned, and its package is not looked at here.
    #[error("{explanation}")]
    Unsigned {
        /// The unsigned plugin.
        plugin: PluginId,
        /// Why no signed plugin will do.
        explanation: Box<Explanation>,
    },
    /// What it needs is there in another version, for another reason.
    #[error("it needs {plugin} `{wanted}`, and {chosen} was chosen because {}", reason(needed_by.as_ref()))]
    Conflict {
        /// The plugin that it needs.
        plugin: PluginId,
        /// The version that it needs.
        wanted: VersionRequest,
        /// The version that was chosen.
        chosen: PluginVersion,
        /// Which plugin that was chosen for; nothing where the user asked for it.
        needed_by: Option<PluginId>,
    },
}

fn reason(needed_by: Option<&PluginId>) -> String {
    needed_by.map_or_else(|| "it was asked for".to_owned(), |plugin| format!("{plugin} needs it"))
}

diagnose!(ChoiceError {
    forward Lookup, Unsolvable;
    Unsigned { plugin } => Kind::Integrity, PolicyError::Unsigned(plugin.clone()).hint();
    Conflict { plugin } => Kind::Failed, format!("name a version of {plugin} that all can work with: `{plugin}@VERSION`");
});

/// One plugin of a plan.
#[derive(Debug)]
pub(super) struct InstallStep {
    pub(super) plugin: PluginId,
    pub(super) action: Result<Action, ChoiceError>,
    /// The package that comes.
    pub(super) package: Option<PackageName>,
    /// What must be there before.
    pub(super) needs: Vec<PluginId>,
    /// Which plugin needs it; nothing where the user asked for it.
    pub(super) needed_by: Option<PluginId>,
    /// The plugin with which the server brings it: it is asked for afterwards, when that should have brought it.
    pub(super) brought_by: Option<PluginId>,
    /// What is to be told before it is done.
    pub(super) warnings: Vec<(WarningKind, String)>,
}

impl InstallStep {
    fn of(plugin: PluginId, needed_by: Option<PluginId>) -> Self {
        let (action, needs, warnings) = (Ok(Action::Keep { at: None }), Vec::new(), Vec::new());
        Self { plugin, action, package: None, needs, needed_by, brought_by: None, warnings }
    }

    fn replaces(&self) -> bool {
        matches!(self.action, Ok(Action::Replace { .. }))
    }

    /// Returns all that is to be told of it in one line.
    pub(super) fn warning(&self) -> Option<String> {
        let all: Vec<_> = self.warnings.iter().map(|(_, text)| text.as_str()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// What is looked for, and who needs it.
struct InstallWish {
    spec: PluginSpec,
    needed_by: Option<PluginId>,
    /// The version that goes with the others.
    settled: Option<PluginVersion>,
}

impl Versions {
    /// Returns what is asked for, with the version that was settled on.
    fn wish(&self, spec: PluginSpec, needed_by: Option<&PluginId>) -> InstallWish {
        InstallWish { settled: self.chosen.get(&spec.id).cloned(), needed_by: needed_by.cloned(), spec }
    }

    /// Returns the step of a wish that goes with no version of what else was asked for, or that may not be fulfilled.
    fn refuse(&mut self, wish: &InstallWish) -> Option<InstallStep> {
        let error = self.refused.remove(&wish.spec.id).filter(|_| wish.needed_by.is_none())?;
        Some(InstallStep { action: Err(error), ..InstallStep::of(wish.spec.id.clone(), None) })
    }

    /// Adds to the steps what the server brings along and what is to be told of them; returns what is to be told of others.
    fn annotate(self, steps: &mut BTreeMap<PluginId, InstallStep>) -> Vec<String> {
        let comes = |step: &InstallStep| step.action.as_ref().is_ok_and(|action| !action.is_nothing());
        for (plugin, by) in self.installed_by_server {
            if steps.get(&by).is_some_and(comes)
                && let Some(step) = steps.get_mut(&plugin).filter(|step| comes(step))
            {
                step.brought_by = Some(by);
            }
        }
        let mut remarks = Vec::new();
        for warning in self.warnings {
            // What stays has no step: then it is told of what needs it.
            let places = [Some(warning.affected()), warning.needed_by.as_ref()];
            let place = places.into_iter().flatten().find(|plugin| steps.get(*plugin).is_some_and(comes)).cloned();
            let put_right = warning.kind == WarningKind::ServerTakesAnother && place.as_ref() == Some(&warning.plugin);
            let text = match warning.version.filter(|_| put_right) {
                Some(version) => format!("{}; {version} is installed again after that", warning.text),
                None => warning.text,
            };
            match place.and_then(|plugin| steps.get_mut(&plugin)) {
                // A server removes the old version before it looks at what the new one needs (protocol page 5.1).
                Some(step) if warning.kind == WarningKind::ServerRefuses && step.replaces() => {
                    step.warnings
                        .push((warning.kind, format!("{text}; the version that is there may be gone after that")));
                }
                Some(step) => step.warnings.push((warning.kind, text)),
                None => remarks.push(text),
            }
        }
        remarks
    }
}

/// The steps of a target, and what else is to be told of the choice.
pub(super) struct InstallPlan {
    pub(super) steps: Vec<InstallStep>,
    pub(super) remarks: Vec<String>,
}

/// Returns the steps for these wishes, what is needed before what needs it.
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

/// Returns why a version that was chosen is none that a later wish can do with.
fn conflict(step: &InstallStep, wish: &InstallWish) -> Option<ChoiceError> {
    let chosen = step.action.as_ref().ok()?.to()?;
    let wanted = &wish.spec.version;
    (!wanted.allows(chosen)).then(|| ChoiceError::Conflict {
        plugin: step.plugin.clone(),
        wanted: wanted.clone(),
        chosen: chosen.clone(),
        needed_by: step.needed_by.clone(),
    })
}

/// Returns whether a dependency needs no step: Grafana brings it, or a version that will do is there.
fn is_settled(index: &Index, state: &Snapshot, wish: &InstallWish) -> Result<bool, IndexError> {
    if wish.needed_by.is_none() {
        return Ok(false);
    }
    let installed = state.plugins.get(&wish.spec.id).filter(|installed| installed.fault.is_none());
    let will_do = installed.and_then(|installed| installed.version.as_ref());
    let stays = |version: &PluginVersion| wish.settled.as_ref().is_none_or(|settled| settled.same_release(version));
    if will_do.is_some_and(|version| wish.spec.version.allows(version) && stays(version)) {
        return Ok(true);
    }
    candidates::is_core(index, &wish.spec.id)
}

fn plan_one(index: &Index, ready: &Ready, wish: InstallWish) -> Result<(InstallStep, Vec<Dependency>), IndexError> {
    let Ready { target, state, surroundings, .. } = ready;
    let InstallWish { spec, needed_by, settled } = wish;
    let mut step = InstallStep::of(spec.id.clone(), needed_by);
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
        // Nobody asked for a step back: Grafana itself takes any newer version of what a plugin needs (protocol page 8).
        step.action = Ok(Action::Keep { at: Some(newer.clone()) });
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

/// Returns the version that is installed, where it works and is newer.
fn newer_than<'a>(installed: &'a InstalledPlugin, version: &PluginVersion) -> Option<&'a PluginVersion> {
    let there = installed.version.as_ref().filter(|_| installed.fault.is_none())?;
    (there.cmp_precedence(version) == Ordering::Greater).then_some(there)
}

fn action(installed: Option<&InstalledPlugin>, to: PluginVersion) -> Action {
    match installed {
        None => Action::Install { to },
        Some(InstalledPlugin { fault: None, version: Some(version), .. }) if version.same_release(&to) => {
            Action::Keep { at: Some(to) }
        }
        Some(installed) => Action::Replace { from: installed.version.clone(), to },
    }
}

/// Puts what is needed before what needs it; in a circle, whoever was asked for first comes last. Of those that need what
/// the server brings along, the one that it is brought for comes first.
fn sort(mut steps: BTreeMap<PluginId, InstallStep>, order: Vec<PluginId>) -> Vec<InstallStep> {
    let brought = |(id, step): (&PluginId, &InstallStep)| Some((id.clone(), step.brought_by.clone()?));
    let brought: HashMap<PluginId, PluginId> = steps.iter().filter_map(brought).collect();
    let mut waiting: Vec<PluginId> = order.into_iter().rev().collect();
    let mut sorted = Vec::new();
    while !waiting.is_empty() {
        let open: HashSet<PluginId> = waiting.iter().cloned().collect();
        let bringer = |need: &PluginId| brought.get(need).filter(|bringer| open.contains(*bringer));
        let is_ready = |id: &PluginId| {
            let waits = |need: &PluginId| {
                need != id && (open.contains(need) || bringer(need).is_some_and(|bringer| bringer != id))
            };
            steps.get(id).is_none_or(|step| !step.needs.iter().any(waits))
        };
        let place = waiting.iter().position(is_ready).unwrap_or(0);
        let id = waiting.remove(place);
        sorted.extend(steps.remove(&id));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(plugin: &str, needs: &[&str]) -> (PluginId, InstallStep) {
        let id: PluginId = plugin.parse().expect("an id");
        let needs = needs.iter().map(|need| need.parse().expect("an id")).collect();
        (id.clone(), InstallStep { needs, ..InstallStep::of(id, None) })
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
    fn of_those_that_need_what_a_server_brings_the_one_it_comes_with_is_first() {
        let (source, mut brought) = step("source", &[]);
        brought.brought_by = Some("a".parse().expect("an id"));
        assert_eq!(sorted([step("a", &["source"]), step("b", &["source"]), (source, brought)]), ["source", "a", "b"]);
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
