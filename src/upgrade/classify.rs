//! What an upgrade means for one plugin.
//!
//! *Invariant:* the answer depends on the declared ranges, not on version numbers.
//! *Not for:* dependencies; see `ops::check`.

use std::fmt;

use super::{Classification, GrafanaUpgrade, KnownPlugin, PluginBefore, UpgradeVerdict};
use crate::{
    model::{GrafanaVersion, PluginStatus, PluginVersion},
    resolver::{ANGULAR_REMOVED_IN, AngularSupport, Candidate, Refusal, Surroundings, refusals, works_with},
};

/// Returns what an upgrade means for an installed plugin; `known` is `None` if the catalog does not have it.
pub(crate) fn classify(
    standing: &PluginBefore,
    known: Option<&KnownPlugin>,
    upgrade: &GrafanaUpgrade,
) -> Classification {
    if let Some(code) = &standing.fault {
        return rejected(code);
    }
    let Some(known) = known else { return unknown(standing, upgrade) };
    let mut classification = match incompatibility(standing, known, upgrade) {
        None => stays(standing, known, upgrade),
        Some(incompatible) => moves(standing, known, upgrade, &incompatible),
    };
    classification.notes.extend(catalog_notes(standing, known));
    classification
}

/// Why an installed version does not work with the new Grafana.
enum Incompatibility {
    /// It declares another range.
    Range(String),
    /// It uses AngularJS.
    Angular,
    /// Its version is not known.
    NoVersion,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(formatter, "needs Grafana `{}`", range.escape_debug()),
            Self::Angular => {
                write!(formatter, "uses AngularJS, which Grafana {ANGULAR_REMOVED_IN} and newer no longer have")
            }
            Self::NoVersion => formatter.write_str("has no known version"),
        }
    }
}

/// Returns the installed version as the catalog has it.
fn listed<'a>(standing: &PluginBefore, known: &'a KnownPlugin) -> Option<&'a Candidate> {
    let version = standing.version.as_ref()?;
    known.candidates.iter().find(|candidate| candidate.version.same_release(version))
}

/// Returns the range that the installed version declares, at best that of the catalog, which may have changed since the
/// installation.
fn declared<'a>(standing: &'a PluginBefore, known: &'a KnownPlugin) -> Option<&'a str> {
    let listed = listed(standing, known);
    listed.map_or(standing.declared.as_deref(), |candidate| candidate.grafana_dependency.as_deref())
}

fn is_angular(standing: &PluginBefore, known: &KnownPlugin) -> bool {
    standing.angular || listed(standing, known).is_some_and(|candidate| candidate.angular)
}

fn incompatibility(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> Option<Incompatibility> {
    if standing.version.is_none() {
        return Some(Incompatibility::NoVersion);
    }
    let declared = declared(standing, known);
    if !works_with(declared, &upgrade.to) {
        return Some(Incompatibility::Range(declared.unwrap_or_default().to_owned()));
    }
    let removed = AngularSupport::in_grafana(&upgrade.to) == AngularSupport::Removed;
    (removed && is_angular(standing, known)).then_some(Incompatibility::Angular)
}

/// What the server does not load now, it does not load after the upgrade either.
fn rejected(code: &str) -> Classification {
    let reason = format!(
        "the server does not load it now (`{}`): install a version that it loads, or remove its folder and restart Grafana",
        code.escape_debug()
    );
    Classification { verdict: UpgradeVerdict::Blocked, target: None, reason, notes: Vec::new() }
}

fn unknown(standing: &PluginBefore, upgrade: &GrafanaUpgrade) -> Classification {
    if standing.angular && AngularSupport::in_grafana(&upgrade.to) == AngularSupport::Removed {
        let reason = format!("it is not in the catalog, and it {}", Incompatibility::Angular);
        return Classification { verdict: UpgradeVerdict::Blocked, target: None, reason, notes: Vec::new() };
    }
    let declared = standing.declared.as_deref().map(str::trim).filter(|range| !range.is_empty());
    let claim = match declared {
        None => "it declares no range of Grafana versions".to_owned(),
        Some(range) if works_with(Some(range), &upgrade.to) => {
            format!("it declares that it works with Grafana `{}`", range.escape_debug())
        }
        Some(range) => {
            format!(
                "it declares that it needs Grafana `{}`, and {} is not in that range",
                range.escape_debug(),
                upgrade.to
            )
        }
    };
    let reason = format!("it is not in the catalog; {claim}");
    Classification { verdict: UpgradeVerdict::Unknown, target: None, reason, notes: Vec::new() }
}

fn stays(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> Classification {
    let version = standing.version.as_ref().map(PluginVersion::as_str).unwrap_or_default();
    let reason = match declared(standing, known).map(str::trim).filter(|range| !range.is_empty()) {
        Some(range) => format!("{version} works with Grafana `{}`", range.escape_debug()),
        None => format!("{version} works with every Grafana: it declares no range"),
    };
    let off = is_angular(standing, known) && AngularSupport::in_grafana(&upgrade.to) == AngularSupport::OffByDefault;
    let note = format!("it uses AngularJS, which Grafana {} has switched off by default", upgrade.to.major());
    Classification {
        verdict: UpgradeVerdict::Stays,
        target: None,
        reason,
        notes: off.then_some(note).into_iter().collect(),
    }
}

fn moves(
    standing: &PluginBefore,
    known: &KnownPlugin,
    upgrade: &GrafanaUpgrade,
    incompatible: &Incompatibility,
) -> Classification {
    let version = standing.version.as_ref().map_or("the installed copy", PluginVersion::as_str);
    let works_after = working(known, upgrade, standing, &upgrade.to);
    let works_before = |candidate: &&&Candidate| {
        let from = upgrade.from.as_ref();
        from.is_some_and(|from| reasons_against(candidate, (known, standing), upgrade, from).is_empty())
    };
    if let Some(both) = works_after.iter().find(works_before) {
        let (target, from) = (both.version.clone(), upgrade.from.as_ref());
        let from = from.map(ToString::to_string).unwrap_or_default();
        let reason = format!("{version} {incompatible}; {target} works with {from} and with {}", upgrade.to);
        return Classification { verdict: UpgradeVerdict::Before, target: Some(target), reason, notes: Vec::new() };
    }
    if let Some(after) = works_after.first() {
        let target = after.version.clone();
        let between = match &upgrade.from {
            None => {
                "the version of Grafana that runs now is not known, so no version can be chosen for before the upgrade"
                    .to_owned()
            }
            Some(from) => format!("no version works with both {from} and {}", upgrade.to),
        };
        let reason = format!("{version} {incompatible}; {target} works with {}, and {between}", upgrade.to);
        let note = Classification::GAP.to_owned();
        return Classification { verdict: UpgradeVerdict::After, target: Some(target), reason, notes: vec![note] };
    }
    let reason = format!("{version} {incompatible}; {}", why_none(standing, known, upgrade));
    Classification { verdict: UpgradeVerdict::Blocked, target: None, reason, notes: Vec::new() }
}

/// Returns the versions that work with a version of Grafana, best first: newest first, then deprecated versions, then
/// prereleases.
fn working<'a>(
    known: &'a KnownPlugin,
    upgrade: &GrafanaUpgrade,
    standing: &PluginBefore,
    grafana: &GrafanaVersion,
) -> Vec<&'a Candidate> {
    let works = |candidate: &&Candidate| reasons_against(candidate, (known, standing), upgrade, grafana).is_empty();
    let mut found: Vec<_> = known.candidates.iter().filter(works).collect();
    found.sort_by(|left, right| {
        let rank = |one: &Candidate| (one.version.is_prerelease(), known.deprecated.contains(&one.version));
        rank(left).cmp(&rank(right)).then_with(|| right.version.cmp(&left.version))
    });
    found
}

/// Returns every reason against a version under a version of Grafana.
fn reasons_against(
    candidate: &Candidate,
    (known, standing): (&KnownPlugin, &PluginBefore),
    upgrade: &GrafanaUpgrade,
    grafana: &GrafanaVersion,
) -> Vec<Refusal> {
    let surroundings = Surroundings {
        grafana: Some(grafana.clone()),
        platforms: vec![upgrade.platform.clone()],
        published_before: upgrade.published_before,
    };
    let mut found = refusals(candidate, false, &surroundings);
    if known.withdrawn && !candidate.withdrawn {
        found.push(Refusal::Withdrawn);
    }
    if !upgrade.signatures.allows(&standing.plugin, candidate.signed) {
        found.push(Refusal::Unsigned);
    }
    found
}

/// Returns why there is no version to change to: the first reason against each of the newest versions.
fn why_none(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> String {
    if known.withdrawn {
        return "the upstream no longer lists the plugin".to_owned();
    }
    let installed = standing.version.as_ref();
    let is_other = |one: &&Candidate| installed.is_none_or(|version| !one.version.same_release(version));
    let mut others: Vec<_> = known.candidates.iter().filter(is_other).collect();
    others.sort_by(|left, right| right.version.cmp(&left.version));
    let reason = |one: &Candidate| {
        let reasons = reasons_against(one, (known, standing), upgrade, &upgrade.to);
        Some(reasons.first()?.message(one.version.as_str(), false, Some(&upgrade.to)))
    };
    let reasons: Vec<_> = others.into_iter().filter_map(reason).take(3).collect();
    match reasons.len() {
        0 => "there is no other version".to_owned(),
        _ => format!("no other version works: {}", reasons.join(", ")),
    }
}

fn catalog_notes(standing: &PluginBefore, known: &KnownPlugin) -> Vec<String> {
    let mut notes = Vec::new();
    if known.status == PluginStatus::Deprecated {
        notes.push("it is deprecated by its publisher".to_owned());
    }
    if known.withdrawn {
        notes.push("the upstream no longer lists it, so it cannot be installed again from there".to_owned());
    }
    match (standing.version.as_ref(), listed(standing, known)) {
        (Some(version), None) => notes.push(format!("the catalog has no version {version}")),
        (Some(version), Some(candidate)) if candidate.withdrawn && !known.withdrawn => {
            notes.push(format!("{version} was withdrawn, so it cannot be installed again from the upstream"));
        }
        _ => {}
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Platform, PluginId},
        resolver::SignatureRule,
    };

    fn candidate(version: &str, range: Option<&str>) -> Candidate {
        Candidate {
            version: version.parse().expect("a version"),
            grafana_dependency: range.map(Into::into),
            withdrawn: false,
            denied: None,
            published_at: None,
            signed: true,
            angular: false,
            platforms: Some([Platform::linux_amd64()].into()),
        }
    }

    fn known(candidates: Vec<Candidate>) -> KnownPlugin {
        KnownPlugin { candidates, deprecated: Vec::new(), status: PluginStatus::Active, withdrawn: false }
    }

    fn upgrade(from: Option<&str>, to: &str) -> GrafanaUpgrade {
        GrafanaUpgrade {
            from: from.map(|from| from.parse().expect("a version")),
            to: to.parse().expect("a version"),
            platform: "linux-amd64".parse().expect("a platform"),
            published_before: None,
            signatures: SignatureRule::Required { unsigned: [].into() },
        }
    }

    fn standing(version: &str) -> PluginBefore {
        let plugin: PluginId = "acme-clock-panel".parse().expect("an id");
        let version = Some(version.parse().expect("a version"));
        PluginBefore { plugin, version, declared: None, angular: false, fault: None }
    }

    fn verdict(
        version: &str,
        candidates: Vec<Candidate>,
        from: Option<&str>,
        to: &str,
    ) -> (UpgradeVerdict, Option<String>, String) {
        let found = classify(&standing(version), Some(&known(candidates)), &upgrade(from, to));
        (found.verdict, found.target.map(|target| target.to_string()), found.reason)
    }

    #[test]
    fn what_the_server_does_not_load_and_angular_that_is_not_listed_are_blocked() {
        let upgrade = upgrade(Some("11.2.0"), "12.1.0");
        let rejected = PluginBefore { fault: Some("signatureInvalid".to_owned()), ..standing("1.0.0") };
        let angular = PluginBefore { angular: true, ..standing("1.0.0") };
        for (before, reason) in [(rejected, "does not load it now (`signatureInvalid`)"), (angular, "uses AngularJS")] {
            let class = classify(&before, None, &upgrade);
            assert_eq!(class.verdict, UpgradeVerdict::Blocked);
            assert!(class.reason.contains(reason), "{}", class.reason);
        }
    }

    #[test]
    fn a_version_that_works_on_both_sides_stays_even_if_there_is_a_newer_one() {
        let candidates = vec![candidate("1.0.0", Some(">=10")), candidate("2.0.0", Some(">=12"))];
        let (verdict, target, reason) = verdict("1.0.0", candidates, Some("11.0.0"), "12.0.0");
        assert_eq!(
            (verdict, target, reason.as_str()),
            (UpgradeVerdict::Stays, None, "1.0.0 works with Grafana `>=10`")
        );
    }

    #[test]
    fn before_the_upgrade_the_target_is_the_newest_that_works_on_both_sides() {
        let candidates = vec![
            candidate("1.0.0", Some("<12")),
            candidate("1.5.0", Some(">=10")),
            candidate("1.6.0", Some(">=10")),
            candidate("2.0.0", Some(">=12")),
        ];
        let (verdict, target, reason) = verdict("1.0.0", candidates, Some("11.0.0"), "12.0.0");
        assert_eq!((verdict, target.as_deref()), (UpgradeVerdict::Before, Some("1.6.0")));
        assert_eq!(reason, "1.0.0 needs Grafana `<12`; 1.6.0 works with 11.0.0 and with 12.0.0");
    }

    #[test]
    fn without_a_version_for_both_sides_the_target_comes_after() {
        let candidates = || vec![candidate("1.0.0", Some("<12")), candidate("2.0.0", Some(">=12"))];
        let (after, target, reason) = verdict("1.0.0", candidates(), Some("11.0.0"), "12.0.0");
        assert_eq!((after, target.as_deref()), (UpgradeVerdict::After, Some("2.0.0")));
        assert!(reason.ends_with("no version works with both 11.0.0 and 12.0.0"), "{reason}");
        assert_eq!(verdict("1.0.0", candidates(), None, "12.0.0").0, UpgradeVerdict::After);
    }

    #[test]
    fn a_plugin_without_a_working_version_is_blocked_with_a_reason() {
        let mut candidates =
            vec![candidate("1.0.0", Some("<12")), candidate("2.0.0", Some("<13")), candidate("3.0.0", None)];
        candidates[2].signed = false;
        let (verdict, _, reason) = verdict("1.0.0", candidates, Some("11.0.0"), "13.0.0");
        assert_eq!(verdict, UpgradeVerdict::Blocked);
        assert_eq!(
            reason,
            "1.0.0 needs Grafana `<12`; no other version works: 3.0.0 is unsigned according to the catalog, and \
             signatures are required, 2.0.0 needs Grafana `<13` and this is 13.0.0"
        );
    }

    #[test]
    fn angular_is_off_in_11_and_gone_since_12() {
        let angular = || {
            let mut candidates = vec![candidate("1.0.0", None)];
            candidates[0].angular = true;
            known(candidates)
        };
        let classified = |to| classify(&standing("1.0.0"), Some(&angular()), &upgrade(Some("10.4.1"), to));
        assert_eq!((classified("10.4.2").verdict, classified("10.4.2").notes.len()), (UpgradeVerdict::Stays, 0));
        assert_eq!(classified("11.0.0").verdict, UpgradeVerdict::Stays);
        assert!(classified("11.0.0").notes[0].contains("switched off"));
        assert_eq!(classified("12.0.0").verdict, UpgradeVerdict::Blocked);
        assert!(classified("12.0.0").reason.starts_with("1.0.0 uses AngularJS"));
    }

    #[test]
    fn a_withdrawn_plugin_is_blocked_or_stays_with_a_note() {
        let gone =
            KnownPlugin { withdrawn: true, ..known(vec![candidate("1.0.0", Some("<12")), candidate("2.0.0", None)]) };
        let classified = |version| classify(&standing(version), Some(&gone), &upgrade(Some("11.0.0"), "12.0.0"));
        assert_eq!(classified("1.0.0").verdict, UpgradeVerdict::Blocked);
        assert_eq!((classified("2.0.0").verdict, classified("2.0.0").notes.len()), (UpgradeVerdict::Stays, 1));
    }

    #[test]
    fn a_plugin_that_is_not_in_the_catalog_is_unknown_with_its_own_range() {
        let mut own = standing("1.0.0");
        own.declared = Some("<12".to_owned());
        let classified = classify(&own, None, &upgrade(Some("11.0.0"), "12.0.0"));
        assert_eq!(classified.verdict, UpgradeVerdict::Unknown);
        assert!(
            classified.reason.ends_with("needs Grafana `<12`, and 12.0.0 is not in that range"),
            "{}",
            classified.reason
        );
    }

    #[test]
    fn prereleases_and_deprecated_versions_are_the_last_resort() {
        let candidates = vec![
            candidate("1.0.0", Some("<12")),
            candidate("2.0.0", None),
            candidate("2.1.0", None),
            candidate("3.0.0-beta1", None),
        ];
        let deprecated = vec![candidates[2].version.clone()];
        let plugin = KnownPlugin { deprecated, ..known(candidates) };
        let found = classify(&standing("1.0.0"), Some(&plugin), &upgrade(Some("11.0.0"), "12.0.0"));
        assert_eq!(found.target.as_ref().map(PluginVersion::as_str), Some("2.0.0"));
        let candidates = vec![candidate("1.0.0", Some("<12")), candidate("3.0.0-beta1", None)];
        assert_eq!(verdict("1.0.0", candidates, Some("11.0.0"), "12.0.0").1.as_deref(), Some("3.0.0-beta1"));
    }
}
