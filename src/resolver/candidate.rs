//! A release that may be chosen, and everything that speaks against it.

use std::rc::Rc;

use super::{Refusal, grafana::AngularSupport};
use crate::model::{GrafanaVersion, Platform, PluginVersion, Timestamp, VersionRange};

/// A release that may be chosen, with what speaks for and against it: what decides, and nothing more. A search may look at
/// a hundred thousand of them.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The version, as it was published.
    pub version: PluginVersion,
    /// The range of Grafana versions it works with, as published; `None` if it declares none.
    pub grafana_dependency: Option<Rc<str>>,
    /// Whether the upstream or the publisher withdrew it.
    pub withdrawn: bool,
    /// Why it must not be used, as the end of a sentence about it; `None` if it may.
    pub denied: Option<Rc<str>>,
    /// When it was published, or else first seen.
    pub published_at: Option<Timestamp>,
    /// Whether the plugin is signed, according to the catalog.
    pub signed: bool,
    /// Whether it uses AngularJS.
    pub angular: bool,
    /// The platforms it has packages for, empty if the upstream names none. `None` if they are not loaded: a search asks
    /// [`Provider::platforms`](super::Provider::platforms) then.
    pub platforms: Option<Rc<[Platform]>>,
}

/// Where a version must work.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The version of Grafana; `None` to ignore what versions declare.
    pub grafana: Option<GrafanaVersion>,
    /// The platforms a package is needed for; empty to ignore packages.
    pub platforms: Vec<Platform>,
    /// Versions that were published later are not chosen, unless they are requested by name.
    pub published_before: Option<Timestamp>,
}

/// Returns whether a Grafana version is in the range that a release declares: without a range every version is, with an
/// invalid range none (protocol page 2.6).
pub(crate) fn works_with(declared: Option<&str>, grafana: &GrafanaVersion) -> bool {
    match declared.map(str::trim) {
        None | Some("") => true,
        Some(range) => range.parse::<VersionRange>().is_ok_and(|range| range.allows_grafana(grafana)),
    }
}

/// Returns every reason why a release does not work in these surroundings, signatures left out of account; `named` if it
/// is requested by name, so that its age does not count. Platforms that are not loaded are not examined.
pub(crate) fn refusals(candidate: &Candidate, named: bool, surroundings: &Surroundings) -> Vec<Refusal> {
    every_refusal(candidate, Exemptions { age: named, withdrawal: false }, surroundings).collect()
}

/// What does not count against a version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exemptions {
    /// Its age: it is requested by name.
    pub(super) age: bool,
    /// Its withdrawal: it is locked.
    pub(super) withdrawal: bool,
}

/// Returns every reason against a release, as [`refusals`] does.
pub(super) fn every_refusal(
    candidate: &Candidate,
    exemptions: Exemptions,
    surroundings: &Surroundings,
) -> impl Iterator<Item = Refusal> + use<> {
    let declared = candidate.grafana_dependency.as_deref();
    let works = surroundings.grafana.as_ref().is_none_or(|grafana| works_with(declared, grafana));
    let platforms = candidate.platforms.as_deref();
    let platform = platforms.and_then(|platforms| missing_platform(platforms, &surroundings.platforms));
    refusals_by_catalog(candidate, works, exemptions, surroundings).chain(platform)
}

/// Returns the reasons for which platforms need not be known; `works` if the range of the candidate has the Grafana of the
/// surroundings, which a search remembers for each range.
pub(super) fn refusals_by_catalog(
    candidate: &Candidate,
    works: bool,
    exemptions: Exemptions,
    surroundings: &Surroundings,
) -> impl Iterator<Item = Refusal> + use<> {
    let declared = candidate.grafana_dependency.as_deref().unwrap_or_default();
    let reasons = [
        candidate.denied.as_ref().map(|why| Refusal::Denied(why.to_string())),
        too_new(candidate, exemptions, surroundings),
        (candidate.withdrawn && !exemptions.withdrawal).then_some(Refusal::Withdrawn),
        (!works).then(|| Refusal::Grafana(declared.to_owned())),
        uses_removed_angular(candidate, surroundings),
    ];
    reasons.into_iter().flatten()
}

fn too_new(candidate: &Candidate, exemptions: Exemptions, surroundings: &Surroundings) -> Option<Refusal> {
    let limit = surroundings.published_before.filter(|_| !exemptions.age)?;
    candidate.published_at.filter(|published| *published > limit).map(Refusal::TooNew)
}

fn uses_removed_angular(candidate: &Candidate, surroundings: &Surroundings) -> Option<Refusal> {
    let grafana = surroundings.grafana.as_ref().filter(|_| candidate.angular)?;
    (AngularSupport::in_grafana(grafana) == AngularSupport::Removed).then_some(Refusal::Angular)
}

/// Returns the refusal of a version that has packages, but none for one of the wanted platforms.
///
/// A release without packages may have one for every platform: the catalog of a workspace names packages only of the
/// newest version.
pub(super) fn missing_platform(packages: &[Platform], wanted: &[Platform]) -> Option<Refusal> {
    let is_missing = |platform: &&Platform| !packages.is_empty() && platform.choose(packages.iter()).is_none();
    let missing = wanted.iter().find(is_missing)?;
    Some(Refusal::Platform { wanted: missing.clone(), available: packages.to_vec() })
}
