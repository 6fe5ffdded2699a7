//! Why a plugin is installed in its version, and why another version is not: reasons with the ranges and versions that
//! decide.
//!
//! *Invariant:* changes nothing, and opens no socket: the workspaces were read before.
//! *Not for:* layout; every reason is a sentence already.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    fleet::{
        grafana::NestedPlugin,
        manifest::{Ensure, Wish},
    },
    index::{Index, IndexError},
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRequest},
    ops::{
        candidates::{self, IndexProvider, installed},
        target::InstalledPlugin,
        unknown_plugins::{self, UnknownPlugin},
    },
    resolver::{
        AngularSupport, Candidate, Explanation, Problem, Refusal, RequiredBy, ServerDeviation, Settled, SignatureRule,
        Surroundings, UnsignedFallback, WishRefusal, deviations, refusals, settle,
    },
};

/// How many newer versions that are not chosen have a reason.
const MAX_NEWER: usize = 5;

const DAY: i64 = 86_400_000;

/// A workspace as it was read, or the options that replace it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkspaceView {
    /// The name for messages.
    pub name: String,
    /// The version of Grafana; `None` if it is not known.
    pub grafana: Option<GrafanaVersion>,
    /// The platform; `None` to ignore packages.
    pub platform: Option<Platform>,
    /// Whether it is a server, which installs dependencies itself.
    pub is_server: bool,
    /// The installed plugins.
    pub plugins: BTreeMap<PluginId, InstalledPlugin>,
    /// The plugins that its apps ship.
    pub nested: Vec<NestedPlugin>,
    /// The entries of the manifest that apply to it.
    pub wishes: Vec<Wish>,
}

/// The rules that apply to every workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Versions that were published later are not chosen, unless they are requested by name.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
}

/// One reason for or against a version.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Reason {
    /// The kind of reason: `asked`, `unwanted`, `needed`, `part`, `nobody`, `deprecated`, `unsolvable`; against a version
    /// `grafana`, `platform`, `withdrawn`, `denied`, `too-new`, `signature`, `angular`, `range`, `prerelease`, `installed`, `conflict`, `dependency`,
    /// `server`, `unknown`; and `nothing`.
    pub kind: &'static str,
    /// The reason as a sentence.
    pub text: String,
    /// The other plugin that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginId>,
    /// The version that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The range that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Why there is no solution, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// The answer for one workspace.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkspaceReasons {
    /// The name for messages.
    pub name: String,
    /// The version of Grafana; `None` if it is not known.
    pub grafana: Option<GrafanaVersion>,
    /// The version that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<PluginVersion>,
    /// The version that would be chosen now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<PluginVersion>,
    /// The reasons, the wishes and dependents first.
    #[serde(rename = "because")]
    pub reasons: Vec<Reason>,
}

/// Returns why a plugin is, or would be, installed on a workspace, and why in its version.
pub(crate) fn why(
    index: &Index,
    workspace: &WorkspaceView,
    id: &PluginId,
    policy: &Policy,
) -> Result<WorkspaceReasons, IndexError> {
    if let Some(nested) = workspace.nested.iter().find(|nested| nested.id == *id) {
        return Ok(part_of_app(workspace, nested));
    }
    let query = Query::new(index, workspace, id, policy)?;
    let mut reasons = query.requests();
    reasons.extend(query.demands());
    // Other plugins of the manifest may have no solution; that does not concern this one.
    let settled = settle(&query.provider, query.problem(), query.wishes(), UnsignedFallback::Never)?;
    let chosen = settled.solution.plugins.iter().find(|resolved| resolved.plugin == *id);
    if let Some((_, refusal)) = settled.refused.iter().find(|(plugin, _)| plugin == id) {
        reasons.push(unsolvable("unsolvable", refusal));
    } else {
        let known: Vec<_> = reasons.iter().filter_map(|reason| reason.plugin.clone()).collect();
        let is_new = |reason: &Reason| reason.plugin.as_ref().is_none_or(|plugin| !known.contains(plugin));
        let required_by = chosen.into_iter().flat_map(|resolved| &resolved.required_by);
        reasons.extend(required_by.filter_map(future_demand).filter(is_new));
        reasons.extend(query.deviations(&settled)?);
    }
    let chosen = chosen.map(|resolved| resolved.version.clone());
    if !reasons.iter().any(|reason| ["asked", "needed"].contains(&reason.kind)) {
        let text = format!("{id} is not in the manifest, and no plugin depends on it");
        reasons.push(Reason { kind: "nobody", text, ..Reason::default() });
    }
    reasons.extend(query.newer_versions(chosen.as_ref())?);
    let installed = workspace.plugins.get(id).and_then(|plugin| plugin.version.as_ref());
    let versions: BTreeSet<_> = chosen.iter().chain(installed).collect();
    for version in versions {
        let text = candidates::deprecated(index, id, version)?;
        let version = Some(version.clone());
        reasons.extend(text.map(|text| Reason { kind: "deprecated", text, version, ..Reason::default() }));
    }
    Ok(query.answer(chosen, reasons))
}

/// Returns the answer for a plugin that is installed, upgraded and removed with its app.
fn part_of_app(workspace: &WorkspaceView, nested: &NestedPlugin) -> WorkspaceReasons {
    let NestedPlugin { id, version, app } = nested;
    let text = match app {
        Some(app) => format!("{id} is a part of {app}, and is installed and removed with it"),
        None => format!("{id} is a part of an app, and is installed and removed with it"),
    };
    WorkspaceReasons {
        name: workspace.name.clone(),
        grafana: workspace.grafana.clone(),
        installed: version.clone(),
        chosen: None,
        reasons: vec![Reason { kind: "part", text, plugin: app.clone(), ..Reason::default() }],
    }
}

/// Returns every reason against a version on a workspace.
pub(crate) fn why_not(
    index: &Index,
    workspace: &WorkspaceView,
    (id, version): (&PluginId, &PluginVersion),
    policy: &Policy,
) -> Result<WorkspaceReasons, IndexError> {
    let query = Query::new(index, workspace, id, policy)?;
    let mut reasons = Vec::new();
    match query.candidate(version) {
        Some(candidate) => reasons.extend(query.reasons_against(candidate)?),
        None => reasons.push(query.unknown(version)),
    }
    if reasons.is_empty() {
        let text = format!("there is no reason against {id} {version}");
        reasons.push(Reason { kind: "nothing", text, ..Reason::default() });
    }
    Ok(query.answer(None, reasons))
}

/// One plugin on one workspace.
struct Query<'a> {
    workspace: &'a WorkspaceView,
    id: &'a PluginId,
    policy: &'a Policy,
    surroundings: Surroundings,
    provider: IndexProvider<'a>,
    /// The versions, newest first.
    candidates: Vec<Candidate>,
}

impl<'a> Query<'a> {
    fn new(
        index: &'a Index,
        workspace: &'a WorkspaceView,
        id: &'a PluginId,
        policy: &'a Policy,
    ) -> Result<Self, IndexError> {
        let surroundings = Surroundings {
            grafana: workspace.grafana.clone(),
            platforms: workspace.platform.iter().cloned().collect(),
            published_before: policy.published_before,
        };
        let mut candidates = match index.plugin(id)? {
            Some(plugin) => candidates::candidates(&plugin, &index.releases(id)?, index.denied()),
            None => Vec::new(),
        };
        candidates.sort_by(|left, right| right.version.cmp(&left.version));
        let provider = IndexProvider::new(index, &surroundings);
        Ok(Self { workspace, id, policy, surroundings, provider, candidates })
    }

    fn answer(&self, chosen: Option<PluginVersion>, reasons: Vec<Reason>) -> WorkspaceReasons {
        let installed = self.workspace.plugins.get(self.id).and_then(|plugin| plugin.version.clone());
        WorkspaceReasons {
            name: self.workspace.name.clone(),
            grafana: self.workspace.grafana.clone(),
            installed,
            chosen,
            reasons,
        }
    }

    /// Returns the entries of the manifest for the plugin.
    fn requests(&self) -> Vec<Reason> {
        let one = |wish: &Wish| {
            let range = wish.version.as_ref().map(ToString::to_string);
            let which =
                range.as_ref().map_or_else(|| "any version".to_owned(), |range| format!("`{}`", range.escape_debug()));
            let (kind, text) = match wish.ensure {
                Ensure::Present => ("asked", format!("the manifest requests {which} on `{}`", wish.on)),
                Ensure::Absent => ("unwanted", format!("the manifest removes it from `{}`", wish.on)),
            };
            Reason { kind, text, range, ..Reason::default() }
        };
        self.workspace.wishes.iter().filter(|wish| wish.id == *self.id).map(one).collect()
    }

    /// Returns the installed plugins that depend on it, each with the dependency.
    fn dependents(&self) -> impl Iterator<Item = (&InstalledPlugin, &Dependency)> {
        let one = |plugin: &'a InstalledPlugin| {
            let found = plugin.dependencies.iter().find(|dependency| dependency.id == *self.id)?;
            Some((plugin, found))
        };
        self.workspace.plugins.values().filter(|plugin| plugin.id != *self.id).filter_map(one)
    }

    fn demands(&self) -> Vec<Reason> {
        let one = |(plugin, dependency): (&InstalledPlugin, &Dependency)| {
            let range = dependency.range.as_ref().map(ToString::to_string);
            let text = format!("{} needs it{}", with_version(plugin), within(range.as_deref()));
            let version = plugin.version.clone();
            Reason { kind: "needed", text, plugin: Some(plugin.id.clone()), version, range, ..Reason::default() }
        };
        self.dependents().map(one).collect()
    }

    /// Returns the wishes for this workspace; the plugin is always one of them.
    fn wishes(&self) -> Vec<PluginSpec> {
        let present = self.workspace.wishes.iter().filter(|wish| wish.ensure == Ensure::Present);
        let spec = |wish: &Wish| PluginSpec { id: wish.id.clone(), version: wish.version.clone().into() };
        let mut wishes: Vec<_> = present.map(spec).collect();
        if wishes.iter().any(|wish| wish.id == *self.id) {
            return wishes;
        }
        let demand = |(_, dependency): (_, &Dependency)| PluginSpec {
            id: self.id.clone(),
            version: dependency.range.clone().into(),
        };
        wishes.extend(self.dependents().map(demand));
        if !wishes.iter().any(|wish| wish.id == *self.id) {
            wishes.push(PluginSpec::any(self.id.clone()));
        }
        wishes
    }

    /// Returns the problem of this workspace, without wishes.
    fn problem(&self) -> Problem {
        Problem {
            wishes: Vec::new(),
            surroundings: self.surroundings.clone(),
            signatures: self.policy.signatures.clone(),
            locked: BTreeMap::new(),
            installed: installed(self.workspace.plugins.values()),
        }
    }

    /// Returns where the server will deviate from the solution as far as it concerns this plugin.
    fn deviations(&self, settled: &Settled) -> Result<Vec<Reason>, IndexError> {
        if !self.workspace.is_server {
            return Ok(Vec::new());
        }
        let found = deviations(&self.provider, &settled.problem, &settled.solution)?;
        let concerned = found.into_iter().filter(|one| [&one.plugin, &one.needed_by].contains(&self.id));
        let reason = |deviation: ServerDeviation| Reason {
            kind: "server",
            text: deviation.message(&self.workspace.name),
            plugin: Some(deviation.plugin),
            version: deviation.chosen,
            ..Reason::default()
        };
        Ok(concerned.map(reason).collect())
    }

    /// Returns the first reason against each of the newest versions that are newer than the chosen one.
    fn newer_versions(&self, chosen: Option<&PluginVersion>) -> Result<Vec<Reason>, IndexError> {
        let newer = |candidate: &&Candidate| chosen.is_none_or(|chosen| candidate.version > *chosen);
        let mut found = Vec::new();
        for candidate in self.candidates.iter().filter(newer).take(MAX_NEWER) {
            let first = self.reasons_against(candidate)?.into_iter().next();
            found.extend(first.or_else(|| self.not_needed(candidate)));
        }
        Ok(found)
    }

    /// Returns why a version that works is not chosen.
    fn not_needed(&self, candidate: &Candidate) -> Option<Reason> {
        let version = &candidate.version;
        let text = match self.workspace.plugins.get(self.id).and_then(|plugin| plugin.version.as_ref()) {
            _ if version.is_prerelease() => format!("{} {version} is a prerelease, and none is requested", self.id),
            Some(installed) => {
                format!("{} {installed} is installed and satisfies everything, so {version} is not needed", self.id)
            }
            None => return None,
        };
        let kind = if version.is_prerelease() { "prerelease" } else { "installed" };
        Some(Reason { kind, text, version: Some(version.clone()), ..Reason::default() })
    }

    fn candidate(&self, version: &PluginVersion) -> Option<&Candidate> {
        let exact = self.candidates.iter().find(|candidate| candidate.version == *version);
        exact.or_else(|| self.candidates.iter().find(|candidate| candidate.version.same_release(version)))
    }

    fn unknown(&self, version: &PluginVersion) -> Reason {
        let newest: Vec<_> = self.candidates.iter().take(3).map(|candidate| candidate.version.as_str()).collect();
        let listed = match newest.as_slice() {
            [] => "it lists none".to_owned(),
            newest => format!("the newest are {}", newest.join(", ")),
        };
        let text = format!("the catalog has no version {version} of {}; {listed}", self.id);
        Reason { kind: "unknown", text, version: Some(version.clone()), ..Reason::default() }
    }

    /// Returns every reason against a version.
    fn reasons_against(&self, candidate: &Candidate) -> Result<Vec<Reason>, IndexError> {
        let version = &candidate.version;
        let mut refusals = refusals(candidate, false, &self.surroundings);
        if !self.policy.signatures.allows(self.id, candidate.signed) {
            refusals.push(Refusal::Unsigned);
        }
        let mut found: Vec<_> = refusals.iter().map(|refusal| self.refused(version, refusal)).collect();
        found.extend(self.angular(candidate));
        let catalog_agrees = found.iter().all(|reason| reason.kind == "too-new");
        found.extend(self.out_of_range(version));
        if catalog_agrees {
            found.extend(self.conflict(version)?);
        }
        Ok(found)
    }

    fn refused(&self, version: &PluginVersion, refusal: &Refusal) -> Reason {
        let name = format!("{} {version}", self.id);
        let text = match (refusal, self.policy.published_before) {
            (Refusal::TooNew(published), Some(limit)) => {
                let days = (published.as_milliseconds().saturating_sub(limit.as_milliseconds()) + DAY - 1) / DAY;
                let left = if days == 1 { "1 more day".to_owned() } else { format!("{days} more days") };
                format!(
                    "{name} is from {} and is not chosen for {left} (`trust.min-release-age`), unless it is requested by name",
                    published.date()
                )
            }
            _ => refusal.message(&name, false, self.surroundings.grafana.as_ref()),
        };
        let range = match refusal {
            Refusal::Grafana(range) => Some(range.clone()),
            _ => None,
        };
        Reason { kind: refusal.kind(), text, version: Some(version.clone()), range, ..Reason::default() }
    }

    /// Returns the reason against a version that uses AngularJS if Grafana has it switched off by default.
    fn angular(&self, candidate: &Candidate) -> Option<Reason> {
        let grafana = self.surroundings.grafana.as_ref().filter(|_| candidate.angular)?;
        let version = &candidate.version;
        let text =
            format!("{} {version} needs AngularJS, which Grafana {grafana} has switched off by default", self.id);
        let is_off = AngularSupport::in_grafana(grafana) == AngularSupport::OffByDefault;
        is_off.then(|| Reason { kind: "angular", text, version: Some(version.clone()), ..Reason::default() })
    }

    /// Returns the ranges of the manifest and of installed plugins that exclude a version.
    fn out_of_range(&self, version: &PluginVersion) -> Vec<Reason> {
        let wishes = self.workspace.wishes.iter().filter(|wish| wish.id == *self.id && wish.ensure == Ensure::Present);
        let mut found = Vec::new();
        for range in wishes.filter_map(|wish| wish.version.as_ref()).filter(|range| !range.allows(version)) {
            let text = format!(
                "{} {version} is not in the range `{}` of the manifest",
                self.id,
                range.as_str().escape_debug()
            );
            let (range, version) = (Some(range.to_string()), Some(version.clone()));
            found.push(Reason { kind: "range", text, version, range, ..Reason::default() });
        }
        for (plugin, dependency) in self.dependents() {
            let Some(range) = dependency.range.as_ref().filter(|range| !range.allows(version)) else { continue };
            let range = range.to_string();
            let text = format!("{} needs {} `{}`, not {version}", with_version(plugin), self.id, range.escape_debug());
            let (plugin, version) = (Some(plugin.id.clone()), Some(version.clone()));
            found.push(Reason { kind: "conflict", text, plugin, version, range: Some(range), ..Reason::default() });
        }
        found
    }

    /// Returns why a version does not work with its dependencies, or with another wish for this workspace.
    fn conflict(&self, version: &PluginVersion) -> Result<Option<Reason>, IndexError> {
        let exact = VersionRequest::Text { version: version.clone(), range: None };
        let mut wishes = vec![PluginSpec { id: self.id.clone(), version: exact }];
        wishes.extend(self.wishes().into_iter().filter(|wish| wish.id != *self.id));
        let settled = settle(&self.provider, self.problem(), wishes, UnsignedFallback::Never)?;
        let version = Some(version.clone());
        if let Some((_, refusal)) = settled.refused.iter().find(|(plugin, _)| plugin == self.id) {
            return Ok(Some(Reason { version, ..unsolvable("dependency", refusal) }));
        }
        // A wish that has no solution alone does not concern this version.
        let conflicts = |refusal: &WishRefusal| matches!(refusal, WishRefusal::Conflict(_) | WishRefusal::GivenUp);
        let found = settled.refused.iter().find(|(_, refusal)| conflicts(refusal));
        let reason = |(plugin, refusal): &(PluginId, WishRefusal)| {
            let plugin = Some(plugin.clone());
            Reason { plugin, version, ..unsolvable("conflict", refusal) }
        };
        Ok(found.map(reason))
    }
}

/// Checks that the catalog or one of the workspaces has the plugin; the error has the ids with the most similar spelling.
pub(crate) fn find(index: &Index, workspaces: &[WorkspaceView], id: &PluginId) -> Result<(), UnknownPlugin> {
    let installed = workspaces.iter().flat_map(|workspace| workspace.plugins.keys().cloned());
    let nested = workspaces.iter().flat_map(|workspace| workspace.nested.iter().map(|nested| nested.id.clone()));
    let installed = installed.chain(nested).collect();
    unknown_plugins::check_named(index, id, &installed)
}

fn with_version(plugin: &InstalledPlugin) -> String {
    let version = plugin.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    format!("{}{version}", plugin.id)
}

fn within(range: Option<&str>) -> String {
    range.map_or_else(|| " in any version".to_owned(), |range| format!(" in `{}`", range.escape_debug()))
}

/// Returns the demand of a plugin that would be installed.
fn future_demand(required_by: &RequiredBy) -> Option<Reason> {
    let RequiredBy::Plugin { plugin, version, range } = required_by else { return None };
    let range = range.as_ref().map(ToString::to_string);
    let text = format!(
        "{plugin} {version}, which the manifest requests directly or as a dependency, needs it{}",
        within(range.as_deref())
    );
    let (plugin, version) = (Some(plugin.clone()), Some(version.clone()));
    Some(Reason { kind: "needed", text, plugin, version, range, ..Reason::default() })
}

fn unsolvable(kind: &'static str, refusal: &WishRefusal) -> Reason {
    let explanation = refusal.explanation().cloned();
    let text = explanation
        .as_ref()
        .map_or_else(|| "the search for versions that work together took too long".to_owned(), ToString::to_string);
    Reason { kind, text, explanation, ..Reason::default() }
}
