//! Which version is right: the newest that is wanted and works, and why no other. Pure.
//!
//! [`choose`] looks at one plugin alone; [`solve()`] at plugins with all that they need; [`server_would`] says what a Grafana
//! server would do with a dependency.
//!
//! *Invariant:* the answer depends on nothing but the arguments. Withdrawn and deleted versions are never chosen, unless
//! they are locked; prereleases only when they are asked for or nothing else is left.
//! *Not for:* reading catalogs: what is known comes from a [`Provider`].

mod derivation;
mod explanation;
mod places;
mod problem;
mod refusal;
mod server;
mod solve;
mod universe;
#[cfg(test)]
mod worlds;

pub use self::{
    explanation::{Explanation, Fact, FactKind},
    problem::{Listing, Offer, PresentPlugin, Problem, Provider, SignatureRule},
    refusal::{NoVersion, Refusal},
    server::{Offering, ServerChoice, Surprise, brought_along, is_there, server_would, surprises},
    solve::{Resolved, Solution, SolveError, WantedBy, solve},
};

use crate::model::{
    GrafanaVersion, Platform, PluginId, PluginStatus, PluginVersion, Release, Timestamp, VersionRange, VersionRequest,
};

/// The first major version of Grafana that refuses what is made with Angular; the one before has it switched off unless
/// its settings switch it on.
pub const WITHOUT_ANGULAR: u64 = 12;

/// One version that may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The version and what the catalog says of it.
    pub release: &'a Release,
    /// Whether the upstream took it back.
    pub withdrawn: bool,
    /// When it was published, or else first seen.
    pub published_at: Option<Timestamp>,
}

/// What decides whether a version works, whoever tells it; its packages may decide too.
#[derive(Clone, Copy, Debug)]
struct ReleaseFacts<'a> {
    withdrawn: bool,
    published_at: Option<Timestamp>,
    /// The range of Grafana versions, and whether it has the one here.
    declared: Option<&'a str>,
    works: bool,
    angular: bool,
}

impl<'a> Candidate<'a> {
    fn facts(&self, surroundings: &Surroundings) -> ReleaseFacts<'a> {
        let declared = self.release.grafana_dependency.as_deref();
        ReleaseFacts {
            withdrawn: self.withdrawn || self.release.status == PluginStatus::Deleted,
            published_at: self.published_at,
            declared,
            works: surroundings.grafana.as_ref().is_none_or(|grafana| works_with(declared, grafana)),
            angular: self.release.angular,
        }
    }
}

/// Where a version must work.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The version of Grafana; nothing to leave it out of account.
    pub grafana: Option<GrafanaVersion>,
    /// The platforms a package is needed for; empty to leave packages out of account.
    pub platforms: Vec<Platform>,
    /// Versions that were published later wait, unless they are asked for by name.
    pub published_before: Option<Timestamp>,
}

/// Returns whether a Grafana version is in the range that a release declares: one that declares none works everywhere,
/// one that declares something unreadable nowhere (protocol page 2.6).
pub fn works_with(declared: Option<&str>, grafana: &GrafanaVersion) -> bool {
    match declared.map(str::trim) {
        None | Some("") => true,
        Some(range) => range.parse::<VersionRange>().is_ok_and(|range| range.allows_grafana(grafana)),
    }
}

/// Returns the newest version that is wanted and works, or why there is none.
pub fn choose<'a>(
    plugin: &PluginId,
    candidates: &[Candidate<'a>],
    wanted: &VersionRequest,
    surroundings: &Surroundings,
) -> Result<&'a Release, NoVersion> {
    let mut sorted: Vec<_> = candidates.to_vec();
    sorted.sort_by(|left, right| right.release.version.cmp(&left.release.version));
    // `3` is a range, and the name of a version where there is one called so.
    let named = sorted.iter().any(|candidate| wanted.names(&candidate.release.version));
    let mut refused: Vec<(PluginVersion, Refusal)> = Vec::new();
    let mut prerelease = None;
    for candidate in &sorted {
        let release = candidate.release;
        let is_wanted = if named { wanted.names(&release.version) } else { wanted.allows(&release.version) };
        if !is_wanted {
            refused.push((release.version.clone(), Refusal::NotWanted));
            continue;
        }
        match refuse(*candidate, pardon(wanted, &release.version), surroundings) {
            Some(refusal) => refused.push((release.version.clone(), refusal)),
            None if release.version.is_prerelease() && !wanted.mentions_prerelease() => {
                prerelease = prerelease.or(Some(release));
            }
            None => return Ok(release),
        }
    }
    prerelease.ok_or_else(|| NoVersion {
        plugin: plugin.clone(),
        wanted: wanted.clone(),
        grafana: surroundings.grafana.clone(),
        refused,
    })
}

/// Returns up to `count` versions that work, newest first; prereleases only where nothing else works.
pub fn newest<'a>(candidates: &[Candidate<'a>], surroundings: &Surroundings, count: usize) -> Vec<&'a Release> {
    let works = |candidate: &&Candidate<'a>| refuse(**candidate, Pardon::default(), surroundings).is_none();
    let mut releases: Vec<_> = candidates.iter().filter(works).map(|candidate| candidate.release).collect();
    releases.sort_by(|left, right| right.version.cmp(&left.version));
    if releases.iter().any(|release| !release.version.is_prerelease()) {
        releases.retain(|release| !release.version.is_prerelease());
    }
    releases.truncate(count);
    releases
}

/// What does not speak against a version.
#[derive(Clone, Copy, Debug, Default)]
struct Pardon {
    /// That it is too new: it was asked for by name.
    new: bool,
    /// That it was withdrawn: it is locked.
    withdrawn: bool,
}

fn pardon(wanted: &VersionRequest, version: &PluginVersion) -> Pardon {
    Pardon { new: wanted.names(version), withdrawn: false }
}

/// Returns the first reason why a version is not to be chosen.
fn refuse(candidate: Candidate<'_>, pardon: Pardon, surroundings: &Surroundings) -> Option<Refusal> {
    every_refusal(candidate, pardon, surroundings).next()
}

/// Returns every reason that the catalog knows why a version does not work in these surroundings; `named` tells that it
/// is asked for by name, so that its age does not count.
pub fn refusals(candidate: Candidate<'_>, named: bool, surroundings: &Surroundings) -> Vec<Refusal> {
    every_refusal(candidate, Pardon { new: named, withdrawn: false }, surroundings).collect()
}

fn every_refusal<'a>(
    candidate: Candidate<'a>,
    pardon: Pardon,
    surroundings: &'a Surroundings,
) -> impl Iterator<Item = Refusal> + 'a {
    let facts = candidate.facts(surroundings);
    refusals_by_facts(facts, pardon, surroundings)
        .chain(lacks_platform(&candidate.release.packages.keys(), &surroundings.platforms))
}

/// Returns the reasons for which the packages need not be known.
fn refusals_by_facts<'a>(
    facts: ReleaseFacts<'a>,
    pardon: Pardon,
    surroundings: &'a Surroundings,
) -> impl Iterator<Item = Refusal> + 'a {
    let checks = [too_new, withdrawn, other_grafana, angular];
    checks.into_iter().filter_map(move |check| check(facts, pardon, surroundings))
}

fn too_new(facts: ReleaseFacts<'_>, pardon: Pardon, surroundings: &Surroundings) -> Option<Refusal> {
    let limit = surroundings.published_before.filter(|_| !pardon.new)?;
    facts.published_at.filter(|published| *published > limit).map(Refusal::TooNew)
}

fn withdrawn(facts: ReleaseFacts<'_>, pardon: Pardon, _: &Surroundings) -> Option<Refusal> {
    (facts.withdrawn && !pardon.withdrawn).then_some(Refusal::Withdrawn)
}

fn other_grafana(facts: ReleaseFacts<'_>, _: Pardon, _: &Surroundings) -> Option<Refusal> {
    (!facts.works).then(|| Refusal::Grafana(facts.declared.unwrap_or_default().to_owned()))
}

fn angular(facts: ReleaseFacts<'_>, _: Pardon, surroundings: &Surroundings) -> Option<Refusal> {
    let grafana = surroundings.grafana.as_ref().filter(|_| facts.angular)?;
    (grafana.major() >= WITHOUT_ANGULAR).then_some(Refusal::Angular)
}

/// Returns the refusal of a version that has packages for `there`, where there is none for one of the platforms.
///
/// A release that names no package at all may have one everywhere: a workspace's catalog names only the newest.
fn lacks_platform<'a>(
    there: &(impl ExactSizeIterator<Item = &'a Platform> + Clone),
    platforms: &[Platform],
) -> Option<Refusal> {
    let lacks = |platform: &&Platform| there.len() > 0 && platform.choose(there.clone()).is_none();
    let missing = platforms.iter().find(lacks)?;
    Some(Refusal::Platform { wanted: missing.clone(), there: there.clone().cloned().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Package;

    fn release(version: &str, grafana: Option<&str>, platforms: &[&str]) -> Release {
        let platform = |text: &&str| (text.parse().expect("a platform"), Package::default());
        Release {
            version: version.parse().expect("a version"),
            created_at: None,
            status: PluginStatus::Active,
            grafana_dependency: grafana.map(str::to_owned),
            angular: false,
            packages: platforms.iter().map(platform).collect(),
            raw: String::new(),
        }
    }

    fn chosen(
        releases: &[Release],
        wanted: &str,
        grafana: Option<&str>,
        platforms: &[&str],
    ) -> Result<String, NoVersion> {
        let candidates: Vec<_> = releases
            .iter()
            .map(|release| Candidate { release, withdrawn: false, published_at: release.created_at })
            .collect();
        let surroundings = Surroundings {
            grafana: grafana.map(|version| version.parse().expect("a version")),
            platforms: platforms.iter().map(|text| text.parse().expect("a platform")).collect(),
            published_before: Some(Timestamp::from_milliseconds(1_000)),
        };
        let plugin = "a-panel".parse().expect("an id");
        choose(&plugin, &candidates, &wanted.parse().expect("a request"), &surroundings)
            .map(|release| release.version.to_string())
    }

    #[test]
    fn the_newest_that_works_is_chosen() {
        let releases = [
            release("1.0.0", Some(">=9"), &["any"]),
            release("3.0.0", Some(">=12"), &["linux-amd64"]),
            release("2.0.0", None, &["linux-amd64", "linux-arm64"]),
        ];
        assert_eq!(chosen(&releases, "", None, &["linux-amd64"]).as_deref(), Ok("3.0.0"));
        assert_eq!(chosen(&releases, "", Some("11.0.0"), &["linux-amd64"]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "", Some("12.0.0"), &["linux-arm64"]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "^1", Some("12.0.0"), &["linux-arm64", "windows-amd64"]).as_deref(), Ok("1.0.0"));
    }

    #[test]
    fn prereleases_wait_until_they_are_asked_for_or_alone() {
        let releases = [release("1.0.0", None, &[]), release("2.0.0-beta1", None, &[])];
        assert_eq!(chosen(&releases, "", None, &[]).as_deref(), Ok("1.0.0"));
        assert_eq!(chosen(&releases, ">=2.0.0-beta0", None, &[]).as_deref(), Ok("2.0.0-beta1"));
        assert_eq!(chosen(&releases[1..], "", None, &[]).as_deref(), Ok("2.0.0-beta1"));
    }

    #[test]
    fn a_release_that_names_no_packages_may_have_one() {
        let releases = [release("1.0.0", None, &["any"]), release("2.0.0", None, &[])];
        assert_eq!(chosen(&releases, "", None, &["linux-amd64"]).as_deref(), Ok("2.0.0"));
    }

    #[test]
    fn the_newest_few_are_those_that_would_be_chosen() {
        let mut releases = [
            release("1.0.0", None, &[]),
            release("3.0.0", None, &[]),
            release("2.0.0", None, &[]),
            release("4.0.0-rc1", None, &[]),
        ];
        releases[1].status = PluginStatus::Deleted;
        let candidate = |release| Candidate { release, withdrawn: false, published_at: None };
        let candidates: Vec<_> = releases.iter().map(candidate).collect();
        let versions = |count| {
            let found = newest(&candidates, &Surroundings::default(), count);
            found.into_iter().map(|release| release.version.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(versions(2), ["2.0.0", "1.0.0"]);
        assert_eq!(versions(1), ["2.0.0"]);
    }

    #[test]
    fn withdrawn_versions_are_not_chosen() {
        let releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        let candidates = [
            Candidate { release: &releases[0], withdrawn: false, published_at: None },
            Candidate { release: &releases[1], withdrawn: true, published_at: None },
        ];
        let plugin = "a-panel".parse().expect("an id");
        let surroundings = Surroundings::default();
        let found = choose(&plugin, &candidates, &VersionRequest::Any, &surroundings).expect("one is left");
        assert_eq!(found.version.as_str(), "1.0.0");
    }

    #[test]
    fn versions_that_are_too_new_wait_unless_they_are_named() {
        let mut releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        releases[1].created_at = Some(Timestamp::from_milliseconds(1_001));
        assert_eq!(chosen(&releases, ">=1", None, &[]).as_deref(), Ok("1.0.0"));
        assert_eq!(chosen(&releases, "2.0.0", None, &[]).as_deref(), Ok("2.0.0"));
    }

    #[test]
    fn what_is_made_with_angular_is_not_chosen_for_a_grafana_without_it() {
        let mut releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        releases[1].angular = true;
        assert_eq!(chosen(&releases, "", None, &[]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "", Some("11.6.0"), &[]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "", Some("12.0.0"), &[]).as_deref(), Ok("1.0.0"));
        let error = chosen(&releases, "2.0.0", Some("12.0.0"), &[]).expect_err("asked for by name or not");
        assert!(error.to_string().contains("2.0.0 needs AngularJS, which Grafana 12.0.0 no longer has"), "{error}");
    }

    #[test]
    fn a_failure_says_why_in_few_words() {
        let releases = [
            release("1.0.0", Some("<9"), &["any"]),
            release("2.0.0", Some(">=12"), &["any"]),
            release("3.0.0", Some(">=11"), &["darwin-arm64"]),
        ];
        let error = chosen(&releases, ">=2", Some("11.0.0"), &["linux-amd64"]).expect_err("none works");
        assert_eq!(
            error.to_string(),
            "no version of a-panel fits `>=2`: 3.0.0 has no package for linux-amd64, only for darwin-arm64, 2.0.0 needs Grafana `>=12` and \
             this is 11.0.0"
        );
    }
}
