//! Which versions go onto a target, in which order. Reads the catalog, changes nothing.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
};

use crate::{
    diagnostic::{Diagnose, Kind},
    index::{Index, IndexError},
    model::{Dependency, PluginId, PluginSpec, PluginVersion, VersionRequest},
    ops::{
        candidates::{self, LookupError, attempt},
        changes::Action,
        target::{InstalledPlugin, State, Target},
    },
    resolver::{Explanation, Problem, Solution, Surroundings},
    upstream::PackageName,
};

/// There is no way to a plugin.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// There is no version to install.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It goes with no version of what else was asked for.
    #[error(transparent)]
    Unsolvable(Box<Explanation>),
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

impl Diagnose for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Unsolvable(explanation) => explanation.kind(),
            Self::Conflict { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Unsolvable(explanation) => explanation.hint(),
            Self::Conflict { plugin, .. } => {
                Some(format!("name a version of {plugin} that all can work with: `{plugin}@VERSION`"))
            }
        }
    }
}

/// One plugin of a plan.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) plugin: PluginId,
    pub(super) action: Result<Action, PlanError>,
    /// The package that comes.
    pub(super) package: Option<PackageName>,
    /// What must be there before.
    pub(super) needs: Vec<PluginId>,
    /// Which plugin needs it; nothing where the user asked for it.
    pub(super) needed_by: Option<PluginId>,
}

/// What is looked for, and who needs it.
struct Wish {
    spec: PluginSpec,
    needed_by: Option<PluginId>,
    /// The version that goes with the others.
    settled: Option<PluginVersion>,
}

/// The versions that go together.
#[derive(Default)]
struct Versions {
    chosen: HashMap<PluginId, PluginVersion>,
    /// Wishes that go with no version of those before them.
    refused: HashMap<PluginId, Box<Explanation>>,
}

impl Versions {
    /// Settles on versions for as many wishes as go together, the first of them first.
    ///
    /// A wish that has no way by itself gets none: the walk over what it needs comes to where the way ends, and says so
    /// of that plugin.
    fn settle(
        index: &Index,
        state: &State,
        specs: &[PluginSpec],
        surroundings: &Surroundings,
    ) -> Result<Self, IndexError> {
        let mut problem = Problem {
            wishes: specs.to_vec(),
            surroundings: surroundings.clone(),
            installed: candidates::installed(state.plugins.values()),
            ..Problem::default()
        };
        if let Ok(solution) = attempt(index, &problem)? {
            return Ok(Self::of(solution));
        }
        problem.wishes.clear();
        let (mut versions, mut refused) = (Self::default(), HashMap::new());
        for spec in specs {
            let alone = Problem { wishes: vec![spec.clone()], ..problem.clone() };
            if attempt(index, &alone)?.is_err() {
                continue;
            }
            problem.wishes.push(spec.clone());
            match attempt(index, &problem)? {
                Ok(solution) => versions = Self::of(solution),
                Err(why) => {
                    problem.wishes.pop();
                    refused.extend(why.map(|why| (spec.id.clone(), why)));
                }
            }
        }
        Ok(Self { refused, ..versions })
    }

    fn of(solution: Solution) -> Self {
        let chosen = solution.plugins.into_iter().map(|resolved| (resolved.plugin, resolved.version));
        Self { chosen: chosen.collect(), refused: HashMap::new() }
    }

    /// Returns what is asked for, with the version that was settled on.
    fn wish(&self, spec: PluginSpec, needed_by: Option<&PluginId>) -> Wish {
        Wish { settled: self.chosen.get(&spec.id).cloned(), needed_by: needed_by.cloned(), spec }
    }

    /// Returns the step of a wish that goes with no version of what else was asked for.
    fn refuse(&mut self, wish: &Wish) -> Option<Step> {
        let why = self.refused.remove(&wish.spec.id).filter(|_| wish.needed_by.is_none())?;
        let (plugin, action) = (wish.spec.id.clone(), Err(PlanError::Unsolvable(why)));
        Some(Step { plugin, action, package: None, needs: Vec::new(), needed_by: None })
    }
}

/// Returns the steps for these wishes, what is needed before what needs it.
pub(super) fn plan(
    index: &Index,
    target: &Target,
    state: &State,
    specs: &[PluginSpec],
    surroundings: &Surroundings,
) -> Result<Vec<Step>, IndexError> {
    let mut versions = Versions::settle(index, state, specs, surroundings)?;
    let mut wishes: VecDeque<_> = specs.iter().map(|spec| versions.wish(spec.clone(), None)).collect();
    let mut steps: BTreeMap<PluginId, Step> = BTreeMap::new();
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
        if is_settled(index, state, &wish)? {
            continue;
        }
        if let Some(step) = versions.refuse(&wish) {
            order.push(id.clone());
            steps.insert(id, step);
            continue;
        }
        let (step, dependencies) = plan_one(index, target, state, wish, surroundings)?;
        for Dependency { id, range } in dependencies {
            let spec = PluginSpec { id, version: VersionRequest::from(range) };
            wishes.push_back(versions.wish(spec, Some(&step.plugin)));
        }
        order.push(id.clone());
        steps.insert(id, step);
    }
    Ok(sort(steps, order))
}

/// Returns why a version that was chosen is none that a later wish can do with.
fn conflict(step: &Step, wish: &Wish) -> Option<PlanError> {
    let chosen = step.action.as_ref().ok()?.to()?;
    let wanted = &wish.spec.version;
    (!wanted.allows(chosen)).then(|| PlanError::Conflict {
        plugin: step.plugin.clone(),
        wanted: wanted.clone(),
        chosen: chosen.clone(),
        needed_by: step.needed_by.clone(),
    })
}

/// Returns whether a dependency needs no step: Grafana brings it, or a version that will do is there.
fn is_settled(index: &Index, state: &State, wish: &Wish) -> Result<bool, IndexError> {
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

fn plan_one(
    index: &Index,
    target: &Target,
    state: &State,
    wish: Wish,
    surroundings: &Surroundings,
) -> Result<(Step, Vec<Dependency>), IndexError> {
    let Wish { spec, needed_by, settled } = wish;
    let mut step = Step {
        plugin: spec.id.clone(),
        action: Ok(Action::Keep { at: None }),
        package: None,
        needs: Vec::new(),
        needed_by,
    };
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

/// Puts what is needed before what needs it; in a circle, whoever was asked for first comes last.
fn sort(mut steps: BTreeMap<PluginId, Step>, order: Vec<PluginId>) -> Vec<Step> {
    let mut waiting: Vec<PluginId> = order.into_iter().rev().collect();
    let mut sorted = Vec::new();
    while !waiting.is_empty() {
        let open: HashSet<PluginId> = waiting.iter().cloned().collect();
        let is_ready = |id: &PluginId| {
            steps.get(id).is_none_or(|step| !step.needs.iter().any(|need| open.contains(need) && need != id))
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

    fn step(plugin: &str, needs: &[&str]) -> (PluginId, Step) {
        let id: PluginId = plugin.parse().expect("an id");
        let needs = needs.iter().map(|need| need.parse().expect("an id")).collect();
        (id.clone(), Step { plugin: id, action: Ok(Action::Keep { at: None }), package: None, needs, needed_by: None })
    }

    fn sorted(steps: [(PluginId, Step); 3]) -> Vec<String> {
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
