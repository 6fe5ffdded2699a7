//! The right version of one plugin alone.
//!
//! *Invariant:* prereleases are chosen only if they are requested or nothing else works.
//! *Not for:* plugins with their dependencies; see [`solve()`](super::solve()).

use std::cmp::Reverse;

use super::{
    Candidate, NoVersion, Refusal, Surroundings,
    candidate::{Exemptions, every_refusal},
};
use crate::model::{PluginId, PluginVersion, VersionRequest};

/// Returns the newest version that is requested and works, or why there is none.
pub(crate) fn choose<'a>(
    plugin: &PluginId,
    candidates: &'a [Candidate],
    requested: &VersionRequest,
    surroundings: &Surroundings,
) -> Result<&'a Candidate, NoVersion> {
    // `3` is a range, and the name of a version if there is one with that name.
    let named = candidates.iter().any(|candidate| requested.names(&candidate.version));
    let mut refused: Vec<(PluginVersion, Refusal)> = Vec::new();
    let mut prerelease = None;
    for candidate in newest_first(candidates) {
        let version = &candidate.version;
        let is_requested = if named { requested.names(version) } else { requested.allows(version) };
        let exemptions = Exemptions { age: requested.names(version), withdrawal: false };
        let refusal = if is_requested {
            every_refusal(candidate, exemptions, surroundings).next()
        } else {
            Some(Refusal::NotRequested)
        };
        match refusal {
            Some(refusal) => refused.push((version.clone(), refusal)),
            None if version.is_prerelease() && !requested.mentions_prerelease() => {
                prerelease = prerelease.or(Some(candidate));
            }
            None => return Ok(candidate),
        }
    }
    prerelease.ok_or_else(|| NoVersion {
        plugin: plugin.clone(),
        requested: requested.clone(),
        grafana: surroundings.grafana.clone(),
        refused,
    })
}

/// Returns up to `count` versions that work, newest first; prereleases only if nothing else works.
pub(crate) fn newest<'a>(candidates: &'a [Candidate], surroundings: &Surroundings, count: usize) -> Vec<&'a Candidate> {
    let works = |candidate: &&Candidate| every_refusal(candidate, Exemptions::default(), surroundings).next().is_none();
    let mut working = newest_first(candidates);
    working.retain(works);
    if working.iter().any(|candidate| !candidate.version.is_prerelease()) {
        working.retain(|candidate| !candidate.version.is_prerelease());
    }
    working.truncate(count);
    working
}

fn newest_first(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut sorted: Vec<_> = candidates.iter().collect();
    sorted.sort_by_key(|candidate| Reverse(&candidate.version));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Timestamp, resolver::test_catalogs::candidate};

    fn release(version: &str, grafana: Option<&str>, platforms: &[&str]) -> Candidate {
        let platforms = platforms.iter().map(|text| text.parse().expect("a platform")).collect();
        Candidate { platforms: Some(platforms), ..candidate(version, grafana) }
    }

    fn chosen(
        releases: &[Candidate],
        requested: &str,
        grafana: Option<&str>,
        platforms: &[&str],
    ) -> Result<String, NoVersion> {
        let surroundings = Surroundings {
            grafana: grafana.map(|version| version.parse().expect("a version")),
            platforms: platforms.iter().map(|text| text.parse().expect("a platform")).collect(),
            published_before: Some(Timestamp::from_milliseconds(1_000)),
        };
        let plugin = "a-panel".parse().expect("an id");
        choose(&plugin, releases, &requested.parse().expect("a request"), &surroundings)
            .map(|candidate| candidate.version.to_string())
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
    fn prereleases_are_chosen_only_on_request_or_if_nothing_else_works() {
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
    fn the_newest_few_are_versions_that_would_be_chosen() {
        let mut releases = [
            release("1.0.0", None, &[]),
            release("3.0.0", None, &[]),
            release("2.0.0", None, &[]),
            release("4.0.0-rc1", None, &[]),
        ];
        releases[1].withdrawn = true;
        let versions = |count| {
            let found = newest(&releases, &Surroundings::default(), count);
            found.into_iter().map(|candidate| candidate.version.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(versions(2), ["2.0.0", "1.0.0"]);
        assert_eq!(versions(1), ["2.0.0"]);
    }

    #[test]
    fn withdrawn_versions_are_not_chosen() {
        let mut releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        releases[1].withdrawn = true;
        assert_eq!(chosen(&releases, "", None, &[]).as_deref(), Ok("1.0.0"));
    }

    #[test]
    fn versions_that_are_too_new_are_chosen_only_by_name() {
        let mut releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        releases[1].published_at = Some(Timestamp::from_milliseconds(1_001));
        assert_eq!(chosen(&releases, ">=1", None, &[]).as_deref(), Ok("1.0.0"));
        assert_eq!(chosen(&releases, "2.0.0", None, &[]).as_deref(), Ok("2.0.0"));
    }

    #[test]
    fn plugins_with_angular_are_not_chosen_for_a_grafana_without_it() {
        let mut releases = [release("1.0.0", None, &[]), release("2.0.0", None, &[])];
        releases[1].angular = true;
        assert_eq!(chosen(&releases, "", None, &[]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "", Some("11.6.0"), &[]).as_deref(), Ok("2.0.0"));
        assert_eq!(chosen(&releases, "", Some("12.0.0"), &[]).as_deref(), Ok("1.0.0"));
        let error = chosen(&releases, "2.0.0", Some("12.0.0"), &[]).expect_err("not even by name");
        assert!(error.to_string().contains("2.0.0 needs AngularJS, which Grafana 12.0.0 no longer has"), "{error}");
    }

    #[test]
    fn a_failure_has_a_short_reason() {
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
