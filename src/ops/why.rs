//! Why a plugin is on a workspace at its version, and why a version is not: reasons with the numbers that decided.
//!
//! *Invariant:* changes nothing, and opens no socket: what is installed was read before.
//! *Not for:* layout; every reason is a sentence already.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    fleet::manifest::{Ensure, Wish},
    index::{Index, IndexError},
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRequest},
    ops::{
        candidates::{self, IndexProvider, attempt, find_plugin, installed},
        target::InstalledPlugin,
    },
    resolver::{
        Explanation, Offer, Problem, Refusal, SignatureRule, Solution, Surroundings, WITHOUT_ANGULAR, WantedBy,
        refusals, surprises,
    },
};

/// How many versions that are not chosen are accounted for.
const TOLD: usize = 5;

const DAY: i64 = 86_400_000;

/// A workspace, or what stands for one, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Surrounding {
    /// The name for people.
    pub name: String,
    /// The version of Grafana, where it is known.
    pub grafana: Option<GrafanaVersion>,
    /// The platform; nothing to leave packages out of account.
    pub platform: Option<Platform>,
    /// Whether it is a server, which fetches what a plugin needs by itself.
    pub is_server: bool,
    /// What is installed.
    pub plugins: BTreeMap<PluginId, InstalledPlugin>,
    /// What the manifest says of it.
    pub wishes: Vec<Wish>,
}

/// What holds everywhere.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Versions that were published later wait, unless they are asked for by name.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
}

/// One reason.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Because {
    /// What sort of reason: `asked`, `unwanted`, `needed`, `nobody`, `unsolvable`; against a version `grafana`,
    /// `platform`, `withdrawn`, `too-new`, `signature`, `angular`, `range`, `prerelease`, `installed`, `conflict`, `dependency`,
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
    /// Why there is no way, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// The answer for one workspace.
#[derive(Clone, Debug, Serialize)]
pub struct WorkspaceReasons {
    /// The name for people.
    pub name: String,
    /// The version of Grafana, where it is known.
    pub grafana: Option<GrafanaVersion>,
    /// The version that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<PluginVersion>,
    /// The version that would be chosen now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<PluginVersion>,
    /// The reasons.
    pub because: Vec<Because>,
}

/// Returns why a plugin is, or would be, on a workspace, and at which version.
pub fn why(index: &Index, place: &Surrounding, id: &PluginId, policy: &Policy) -> Result<WorkspaceReasons, IndexError> {
    let case = Inquiry::of(index, place, id, policy)?;
    let mut because = case.asked();
    because.extend(case.needed());
    let mut problem = case.problem(case.wished());
    let mut outcome = attempt(index, &problem)?;
    if matches!(outcome, Err(Some(_))) && problem.wishes.iter().any(|wish| wish.id != *id) {
        // Another plugin of the manifest may be what has no way; this one is still to be told of.
        problem.wishes.retain(|wish| wish.id == *id);
        outcome = attempt(index, &problem)?;
    }
    let mut chosen = None;
    match outcome {
        Ok(solution) => {
            let found = solution.plugins.iter().find(|resolved| resolved.plugin == *id);
            chosen = found.map(|resolved| resolved.version.clone());
            let by_new = found.into_iter().flat_map(|resolved| &resolved.because);
            let known: Vec<_> = because.iter().filter_map(|reason| reason.plugin.clone()).collect();
            because.extend(
                by_new
                    .filter_map(would_need)
                    .filter(|reason| reason.plugin.as_ref().is_none_or(|plugin| !known.contains(plugin))),
            );
            because.extend(case.warnings(&problem, &solution)?);
        }
        Err(explanation) => because.push(unsolvable("unsolvable", explanation)),
    }
    if !because.iter().any(|reason| ["asked", "needed"].contains(&reason.kind)) {
        let text = format!("nobody asks for {id}, and nothing needs it");
        because.push(Because { kind: "nobody", text, ..Because::default() });
    }
    because.extend(case.passed_over(chosen.as_ref())?);
    Ok(case.answer(chosen, because))
}

/// Returns everything that speaks against a version on a workspace.
pub fn why_not(
    index: &Index,
    place: &Surrounding,
    spec: (&PluginId, &PluginVersion),
    policy: &Policy,
) -> Result<WorkspaceReasons, IndexError> {
    let (id, version) = spec;
    let case = Inquiry::of(index, place, id, policy)?;
    let mut because = Vec::new();
    match case.offer(version) {
        Some(offer) => because.extend(case.against(offer)?),
        None => because.push(case.unknown(version)),
    }
    if because.is_empty() {
        let text = format!("nothing speaks against {id} {version}");
        because.push(Because { kind: "nothing", text, ..Because::default() });
    }
    Ok(case.answer(None, because))
}

/// One plugin on one workspace.
struct Inquiry<'a> {
    index: &'a Index,
    place: &'a Surrounding,
    id: &'a PluginId,
    policy: &'a Policy,
    surroundings: Surroundings,
    /// The versions, newest first.
    offers: Vec<Offer>,
}

impl<'a> Inquiry<'a> {
    fn of(index: &'a Index, place: &'a Surrounding, id: &'a PluginId, policy: &'a Policy) -> Result<Self, IndexError> {
        let surroundings = Surroundings {
            grafana: place.grafana.clone(),
            platforms: place.platform.iter().cloned().collect(),
            published_before: policy.published_before,
        };
        let mut offers = match index.plugin(id)? {
            Some(plugin) => candidates::offers(&plugin, index.releases(id)?).collect(),
            None => Vec::new(),
        };
        offers.sort_by(|left: &Offer, right| right.release.version.cmp(&left.release.version));
        Ok(Self { index, place, id, policy, surroundings, offers })
    }

    fn answer(&self, chosen: Option<PluginVersion>, because: Vec<Because>) -> WorkspaceReasons {
        let installed = self.place.plugins.get(self.id).and_then(|plugin| plugin.version.clone());
        WorkspaceReasons {
            name: self.place.name.clone(),
            grafana: self.place.grafana.clone(),
            installed,
            chosen,
            because,
        }
    }

    /// Returns what the manifest says of the plugin.
    fn asked(&self) -> Vec<Because> {
        let one = |wish: &Wish| {
            let range = wish.version.as_ref().map(ToString::to_string);
            let which =
                range.as_ref().map_or_else(|| "any version".to_owned(), |range| format!("`{}`", range.escape_debug()));
            let (kind, text) = match wish.ensure {
                Ensure::Present => ("asked", format!("the manifest asks for {which} on `{}`", wish.on)),
                Ensure::Absent => ("unwanted", format!("the manifest wants it gone on `{}`", wish.on)),
            };
            Because { kind, text, range, ..Because::default() }
        };
        self.place.wishes.iter().filter(|wish| wish.id == *self.id).map(one).collect()
    }

    /// Returns the installed plugins that need it, and in which range.
    fn needing(&self) -> impl Iterator<Item = (&InstalledPlugin, &Dependency)> {
        let one = |plugin: &'a InstalledPlugin| {
            let found = plugin.dependencies.iter().find(|needed| needed.id == *self.id)?;
            Some((plugin, found))
        };
        self.place.plugins.values().filter(|plugin| plugin.id != *self.id).filter_map(one)
    }

    fn needed(&self) -> Vec<Because> {
        let one = |(plugin, needed): (&InstalledPlugin, &Dependency)| {
            let range = needed.range.as_ref().map(ToString::to_string);
            let text = format!("{} needs it{}", called(plugin), within(range.as_deref()));
            let version = plugin.version.clone();
            Because { kind: "needed", text, plugin: Some(plugin.id.clone()), version, range, ..Because::default() }
        };
        self.needing().map(one).collect()
    }

    /// Returns what is wished for on this workspace, this plugin among it.
    fn wished(&self) -> Vec<PluginSpec> {
        let present = self.place.wishes.iter().filter(|wish| wish.ensure == Ensure::Present);
        let spec = |wish: &Wish| PluginSpec { id: wish.id.clone(), version: wish.version.clone().into() };
        let mut wishes: Vec<_> = present.map(spec).collect();
        if wishes.iter().any(|wish| wish.id == *self.id) {
            return wishes;
        }
        let needed =
            self.needing().map(|(_, needed)| PluginSpec { id: self.id.clone(), version: needed.range.clone().into() });
        wishes.extend(needed);
        if !wishes.iter().any(|wish| wish.id == *self.id) {
            wishes.push(PluginSpec::any(self.id.clone()));
        }
        wishes
    }

    fn problem(&self, wishes: Vec<PluginSpec>) -> Problem {
        Problem {
            wishes,
            surroundings: self.surroundings.clone(),
            signatures: self.policy.signatures.clone(),
            locked: BTreeMap::new(),
            installed: installed(self.place.plugins.values()),
        }
    }

    /// Returns where the server will not follow what was chosen.
    fn warnings(&self, problem: &Problem, solution: &Solution) -> Result<Vec<Because>, IndexError> {
        if !self.place.is_server {
            return Ok(Vec::new());
        }
        let found = surprises(&IndexProvider::new(self.index, &self.surroundings), problem, solution)?;
        let about = found.into_iter().filter(|surprise| [&surprise.plugin, &surprise.needed_by].contains(&self.id));
        let one = |surprise: crate::resolver::Surprise| Because {
            kind: "server",
            text: surprise.sentence(&self.place.name),
            plugin: Some(surprise.plugin),
            version: surprise.chosen,
            ..Because::default()
        };
        Ok(about.map(one).collect())
    }

    /// Returns why the versions that are newer than the chosen one were not chosen, the newest few.
    fn passed_over(&self, chosen: Option<&PluginVersion>) -> Result<Vec<Because>, IndexError> {
        let newer = |offer: &&Offer| chosen.is_none_or(|chosen| offer.release.version > *chosen);
        let newer: Vec<_> = self.offers.iter().filter(newer).collect();
        let mut because = Vec::new();
        for offer in newer.iter().take(TOLD) {
            let mut reasons = self.against(offer)?;
            if reasons.is_empty() {
                reasons.extend(self.held_back(offer));
            }
            because.extend(reasons.into_iter().next());
        }
        Ok(because)
    }

    /// Returns why a version that works is passed over.
    fn held_back(&self, offer: &Offer) -> Option<Because> {
        let version = &offer.release.version;
        let text = match self.place.plugins.get(self.id).and_then(|plugin| plugin.version.as_ref()) {
            _ if version.is_prerelease() => format!("{} {version} is a prerelease, and nobody asks for one", self.id),
            Some(installed) => format!("{} {installed} is there and will do, so {version} is not needed", self.id),
            None => return None,
        };
        let kind = if version.is_prerelease() { "prerelease" } else { "installed" };
        Some(Because { kind, text, version: Some(version.clone()), ..Because::default() })
    }

    fn offer(&self, version: &PluginVersion) -> Option<&Offer> {
        let exact = self.offers.iter().find(|offer| offer.release.version == *version);
        exact.or_else(|| self.offers.iter().find(|offer| offer.release.version.same_release(version)))
    }

    fn unknown(&self, version: &PluginVersion) -> Because {
        let newest: Vec<_> = self.offers.iter().take(3).map(|offer| offer.release.version.as_str()).collect();
        let there = match newest.as_slice() {
            [] => "it lists none".to_owned(),
            newest => format!("the newest are {}", newest.join(", ")),
        };
        let text = format!("the catalog has no version {version} of {}; {there}", self.id);
        Because { kind: "unknown", text, version: Some(version.clone()), ..Because::default() }
    }

    /// Returns everything that speaks against a version.
    fn against(&self, offer: &Offer) -> Result<Vec<Because>, IndexError> {
        let version = &offer.release.version;
        let mut found: Vec<_> = refusals(offer.candidate(), false, &self.surroundings)
            .into_iter()
            .map(|why| self.refused(version, &why))
            .collect();
        if !self.policy.signatures.allows(self.id, offer.signed) {
            found.push(self.refused(version, &Refusal::Unsigned));
        }
        found.extend(self.angular(offer));
        let catalog_agrees = found.iter().all(|reason| reason.kind == "too-new");
        found.extend(self.out_of_range(version));
        if catalog_agrees {
            found.extend(self.tangled(version)?);
        }
        Ok(found)
    }

    fn refused(&self, version: &PluginVersion, why: &Refusal) -> Because {
        let name = format!("{} {version}", self.id);
        let text = match (why, self.policy.published_before) {
            (Refusal::TooNew(published), Some(limit)) => {
                let days = (published.as_milliseconds().saturating_sub(limit.as_milliseconds()) + DAY - 1) / DAY;
                let left = if days == 1 { "1 more day".to_owned() } else { format!("{days} more days") };
                format!(
                    "{name} is from {} and waits {left} (`trust.min-release-age`), unless it is asked for by name",
                    published.date()
                )
            }
            _ => why.sentence(&name, false, self.surroundings.grafana.as_ref()),
        };
        let range = match why {
            Refusal::Grafana(range) => Some(range.clone()),
            _ => None,
        };
        Because { kind: why.kind(), text, version: Some(version.clone()), range, ..Because::default() }
    }

    /// The Grafana before the first without AngularJS has it switched off.
    fn angular(&self, offer: &Offer) -> Option<Because> {
        let grafana = self.surroundings.grafana.as_ref().filter(|_| offer.release.angular)?;
        let version = &offer.release.version;
        let text = format!(
            "{} {version} needs AngularJS, which Grafana {grafana} has switched off unless it is told otherwise",
            self.id
        );
        let is_off = grafana.major() + 1 == WITHOUT_ANGULAR;
        is_off.then(|| Because { kind: "angular", text, version: Some(version.clone()), ..Because::default() })
    }

    /// Returns the ranges of the manifest and of installed plugins that a version is not in.
    fn out_of_range(&self, version: &PluginVersion) -> Vec<Because> {
        let wishes = self.place.wishes.iter().filter(|wish| wish.id == *self.id && wish.ensure == Ensure::Present);
        let mut found = Vec::new();
        for range in wishes.filter_map(|wish| wish.version.as_ref()).filter(|range| !range.allows(version)) {
            let text = format!(
                "{} {version} is not in `{}`, which the manifest asks for",
                self.id,
                range.as_str().escape_debug()
            );
            let (range, version) = (Some(range.to_string()), Some(version.clone()));
            found.push(Because { kind: "range", text, version, range, ..Because::default() });
        }
        for (plugin, needed) in self.needing() {
            let Some(range) = needed.range.as_ref().filter(|range| !range.allows(version)) else { continue };
            let range = range.to_string();
            let text =
                format!("{} needs {} `{}`, which has not {version}", called(plugin), self.id, range.escape_debug());
            let (plugin, version) = (Some(plugin.id.clone()), Some(version.clone()));
            found.push(Because { kind: "conflict", text, plugin, version, range: Some(range), ..Because::default() });
        }
        found
    }

    /// Returns why a version does not go with what it needs, or with what else is wished for.
    fn tangled(&self, version: &PluginVersion) -> Result<Option<Because>, IndexError> {
        let exact = VersionRequest::Text { version: version.clone(), range: None };
        let this = PluginSpec { id: self.id.clone(), version: exact };
        let mut problem = self.problem(vec![this]);
        if let Err(explanation) = attempt(self.index, &problem)? {
            return Ok(Some(Because { version: Some(version.clone()), ..unsolvable("dependency", explanation) }));
        }
        problem.wishes.extend(self.wished().into_iter().filter(|wish| wish.id != *self.id));
        let others = problem.wishes.split_off(1);
        for other in others {
            problem.wishes.push(other);
            if let Err(explanation) = attempt(self.index, &problem)? {
                let other = problem.wishes.pop().filter(|wish| wish.id != *self.id);
                let alone = Problem { wishes: other.iter().cloned().collect(), ..problem.clone() };
                // What has no way by itself says nothing about this version.
                if attempt(self.index, &alone)?.is_ok() {
                    let plugin = other.map(|wish| wish.id);
                    let conflict = unsolvable("conflict", explanation);
                    return Ok(Some(Because { version: Some(version.clone()), plugin, ..conflict }));
                }
            }
        }
        Ok(None)
    }
}

/// Checks that the catalog or one of the workspaces has the plugin; otherwise the nearest ids are told.
pub fn find(index: &Index, places: &[Surrounding], id: &PluginId) -> Result<(), crate::ops::candidates::LookupError> {
    if places.iter().any(|place| place.plugins.contains_key(id)) {
        return Ok(());
    }
    find_plugin(index, id).map(drop)
}

fn called(plugin: &InstalledPlugin) -> String {
    let version = plugin.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    format!("{}{version}", plugin.id)
}

fn within(range: Option<&str>) -> String {
    range.map_or_else(|| " in any version".to_owned(), |range| format!(" in `{}`", range.escape_debug()))
}

/// Returns the reason of a plugin that is to come.
fn would_need(reason: &WantedBy) -> Option<Because> {
    let WantedBy::NeededBy { plugin, version, range } = reason else { return None };
    let range = range.as_ref().map(ToString::to_string);
    let text =
        format!("{plugin} {version}, which the manifest asks for or needs, needs it{}", within(range.as_deref()));
    let (plugin, version) = (Some(plugin.clone()), Some(version.clone()));
    Some(Because { kind: "needed", text, plugin, version, range, ..Because::default() })
}

fn unsolvable(kind: &'static str, explanation: Option<Box<Explanation>>) -> Because {
    let explanation = explanation.map(|explanation| *explanation);
    let text = explanation
        .as_ref()
        .map_or_else(|| "the search for versions that go together took too long".to_owned(), ToString::to_string);
    Because { kind, text, explanation, ..Because::default() }
}
