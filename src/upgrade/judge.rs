//! The verdict on one plugin.

use std::fmt;

use super::{GrafanaUpgrade, Judgement, KnownPlugin, PluginBefore, UpgradeVerdict};
use crate::{
    model::{GrafanaVersion, PluginStatus, PluginVersion},
    resolver::{Offer, Refusal, Surroundings, WITHOUT_ANGULAR, refusals, works_with},
};

/// Returns what becomes of a plugin; `known` is nothing where the catalog has no such plugin.
pub fn judge(standing: &PluginBefore, known: Option<&KnownPlugin>, upgrade: &GrafanaUpgrade) -> Judgement {
    let Some(known) = known else { return unknown(standing, upgrade) };
    let mut judgement = match own_obstacle(standing, known, upgrade) {
        None => stays(standing, known, upgrade),
        Some(obstacle) => moves(standing, known, upgrade, &obstacle),
    };
    judgement.notes.extend(remarks(standing, known));
    judgement
}

/// Why an installed version does not work with the new Grafana.
enum Incompatibility {
    /// It declares another range.
    Range(String),
    /// It needs Angular.
    Angular,
    /// Nobody knows what it is.
    NoVersion,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(formatter, "needs Grafana `{}`", range.escape_debug()),
            Self::Angular => {
                write!(formatter, "is made with Angular, which Grafana {WITHOUT_ANGULAR} and newer refuse")
            }
            Self::NoVersion => formatter.write_str("tells no version"),
        }
    }
}

/// Returns what the catalog says of the version that is installed.
fn listed<'a>(standing: &PluginBefore, known: &'a KnownPlugin) -> Option<&'a Offer> {
    let version = standing.version.as_ref()?;
    known.offers.iter().find(|offer| offer.release.version.same_release(version))
}

/// Returns the range that the installed version declares. The catalog may have narrowed it since; the copy that is
/// installed was never told.
fn declared<'a>(standing: &'a PluginBefore, known: &'a KnownPlugin) -> Option<&'a str> {
    let listed = listed(standing, known);
    listed.map_or(standing.declared.as_deref(), |offer| offer.release.grafana_dependency.as_deref())
}

fn is_angular(standing: &PluginBefore, known: &KnownPlugin) -> bool {
    standing.angular || listed(standing, known).is_some_and(|offer| offer.release.angular)
}

fn own_obstacle(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> Option<Incompatibility> {
    if standing.version.is_none() {
        return Some(Incompatibility::NoVersion);
    }
    let declared = declared(standing, known);
    if !works_with(declared, &upgrade.to) {
        return Some(Incompatibility::Range(declared.unwrap_or_default().to_owned()));
    }
    (is_angular(standing, known) && upgrade.to.major() >= WITHOUT_ANGULAR).then_some(Incompatibility::Angular)
}

fn unknown(standing: &PluginBefore, upgrade: &GrafanaUpgrade) -> Judgement {
    let declared = standing.declared.as_deref().map(str::trim).filter(|range| !range.is_empty());
    let says = match declared {
        None => "it says nothing of the Grafana that it needs".to_owned(),
        Some(range) if works_with(Some(range), &upgrade.to) => {
            format!("it says itself that it works with Grafana `{}`", range.escape_debug())
        }
        Some(range) => {
            format!("it says itself that it needs Grafana `{}`, and {} is not that", range.escape_debug(), upgrade.to)
        }
    };
    let reason = format!("the catalog does not know it; {says}");
    Judgement { verdict: UpgradeVerdict::Unknown, target: None, reason, notes: Vec::new() }
}

fn stays(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> Judgement {
    let version = standing.version.as_ref().map(PluginVersion::as_str).unwrap_or_default();
    let reason = match declared(standing, known).map(str::trim).filter(|range| !range.is_empty()) {
        Some(range) => format!("{version} works with Grafana `{}`", range.escape_debug()),
        None => format!("{version} works with every Grafana, as it declares none"),
    };
    let off = is_angular(standing, known) && upgrade.to.major() + 1 == WITHOUT_ANGULAR;
    let note = format!(
        "it is made with Angular, which Grafana {} has switched off unless its settings switch it on",
        upgrade.to.major()
    );
    Judgement { verdict: UpgradeVerdict::Stays, target: None, reason, notes: off.then_some(note).into_iter().collect() }
}

fn moves(
    standing: &PluginBefore,
    known: &KnownPlugin,
    upgrade: &GrafanaUpgrade,
    obstacle: &Incompatibility,
) -> Judgement {
    let version = standing.version.as_ref().map_or("the installed copy", PluginVersion::as_str);
    let works_after = candidates(known, upgrade, standing, &upgrade.to);
    let works_before = |offer: &&&Offer| {
        let from = upgrade.from.as_ref();
        from.is_some_and(|from| judged(known, upgrade, standing, from, offer).is_empty())
    };
    if let Some(both) = works_after.iter().find(works_before) {
        let (target, from) = (both.release.version.clone(), upgrade.from.as_ref());
        let from = from.map(ToString::to_string).unwrap_or_default();
        let reason = format!("{version} {obstacle}; {target} works with {from} and with {}", upgrade.to);
        return Judgement { verdict: UpgradeVerdict::Before, target: Some(target), reason, notes: Vec::new() };
    }
    if let Some(after) = works_after.first() {
        let target = after.release.version.clone();
        let between = match &upgrade.from {
            None => "which Grafana runs now is not known, so whether it could move before is not either".to_owned(),
            Some(from) => format!("no version works with both {from} and {}", upgrade.to),
        };
        let reason = format!("{version} {obstacle}; {target} works with {}, and {between}", upgrade.to);
        let note = Judgement::GAP.to_owned();
        return Judgement { verdict: UpgradeVerdict::After, target: Some(target), reason, notes: vec![note] };
    }
    let reason = format!("{version} {obstacle}; {}", why_none(standing, known, upgrade));
    Judgement { verdict: UpgradeVerdict::Blocked, target: None, reason, notes: Vec::new() }
}

/// Returns what can be moved to under a version of Grafana, best first: the newest, prereleases only where nothing else
/// is, and deprecated versions last.
fn candidates<'a>(
    known: &'a KnownPlugin,
    upgrade: &GrafanaUpgrade,
    standing: &PluginBefore,
    grafana: &GrafanaVersion,
) -> Vec<&'a Offer> {
    let mut found: Vec<_> =
        known.offers.iter().filter(|offer| judged(known, upgrade, standing, grafana, offer).is_empty()).collect();
    found.sort_by(|left, right| {
        let rank = |offer: &Offer| (offer.release.version.is_prerelease(), is_deprecated(offer));
        rank(left).cmp(&rank(right)).then_with(|| right.release.version.cmp(&left.release.version))
    });
    found
}

fn is_deprecated(offer: &Offer) -> bool {
    offer.release.status == PluginStatus::Deprecated
}

/// Returns everything that speaks against a version under a version of Grafana.
fn judged(
    known: &KnownPlugin,
    upgrade: &GrafanaUpgrade,
    standing: &PluginBefore,
    grafana: &GrafanaVersion,
    offer: &Offer,
) -> Vec<Refusal> {
    let surroundings = Surroundings {
        grafana: Some(grafana.clone()),
        platforms: vec![upgrade.platform.clone()],
        published_before: upgrade.published_before,
    };
    let mut candidate = offer.candidate();
    candidate.withdrawn |= known.withdrawn;
    let mut against = refusals(candidate, false, &surroundings);
    if !upgrade.signatures.allows(&standing.plugin, offer.signed) {
        against.push(Refusal::Unsigned);
    }
    against
}

/// Returns why no version can be moved to: what speaks against the newest ones.
fn why_none(standing: &PluginBefore, known: &KnownPlugin, upgrade: &GrafanaUpgrade) -> String {
    if known.withdrawn {
        return "the upstream no longer lists the plugin".to_owned();
    }
    let mut offers: Vec<_> = known.offers.iter().collect();
    offers.sort_by(|left, right| right.release.version.cmp(&left.release.version));
    let told: Vec<_> = offers
        .iter()
        .filter(|offer| standing.version.as_ref().is_none_or(|version| !offer.release.version.same_release(version)))
        .filter_map(|offer| {
            let against = judged(known, upgrade, standing, &upgrade.to, offer);
            Some(against.first()?.sentence(offer.release.version.as_str(), false, Some(&upgrade.to)))
        })
        .take(3)
        .collect();
    match told.len() {
        0 => "there is no other version".to_owned(),
        _ => format!("no other version works: {}", told.join(", ")),
    }
}

fn remarks(standing: &PluginBefore, known: &KnownPlugin) -> Vec<String> {
    let mut notes = Vec::new();
    if known.status == PluginStatus::Deprecated {
        notes.push("its publisher advises against it: it is deprecated".to_owned());
    }
    if known.withdrawn {
        notes.push("the upstream no longer lists it: it cannot be installed again from there".to_owned());
    }
    match (standing.version.as_ref(), listed(standing, known)) {
        (Some(version), None) => notes.push(format!("the catalog has no version {version}")),
        (Some(version), Some(offer)) if offer.withdrawn && !known.withdrawn => {
            notes.push(format!("{version} was withdrawn: there is no way back to it from the upstream"));
        }
        _ => {}
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Package, Platform, PluginId, Release},
        resolver::SignatureRule,
    };

    fn offer(version: &str, range: Option<&str>) -> Offer {
        let release = Release {
            version: version.parse().expect("a version"),
            created_at: None,
            status: PluginStatus::Active,
            grafana_dependency: range.map(str::to_owned),
            angular: false,
            packages: [("linux-amd64".parse::<Platform>().expect("a platform"), Package::default())].into(),
            raw: String::new(),
        };
        Offer { release, withdrawn: false, published_at: None, signed: true }
    }

    fn known(offers: Vec<Offer>) -> KnownPlugin {
        KnownPlugin { offers, status: PluginStatus::Active, withdrawn: false }
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
        PluginBefore { plugin, version: Some(version.parse().expect("a version")), declared: None, angular: false }
    }

    fn verdict(
        version: &str,
        offers: Vec<Offer>,
        from: Option<&str>,
        to: &str,
    ) -> (UpgradeVerdict, Option<String>, String) {
        let judgement = judge(&standing(version), Some(&known(offers)), &upgrade(from, to));
        (judgement.verdict, judgement.target.map(|target| target.to_string()), judgement.reason)
    }

    #[test]
    fn what_works_on_both_sides_stays_even_where_there_is_something_newer() {
        let offers = vec![offer("1.0.0", Some(">=10")), offer("2.0.0", Some(">=12"))];
        let (verdict, target, reason) = verdict("1.0.0", offers, Some("11.0.0"), "12.0.0");
        assert_eq!(
            (verdict, target, reason.as_str()),
            (UpgradeVerdict::Stays, None, "1.0.0 works with Grafana `>=10`")
        );
    }

    #[test]
    fn the_newest_that_works_on_both_sides_is_moved_to_before() {
        let offers = vec![
            offer("1.0.0", Some("<12")),
            offer("1.5.0", Some(">=10")),
            offer("1.6.0", Some(">=10")),
            offer("2.0.0", Some(">=12")),
        ];
        let (verdict, target, reason) = verdict("1.0.0", offers, Some("11.0.0"), "12.0.0");
        assert_eq!((verdict, target.as_deref()), (UpgradeVerdict::Before, Some("1.6.0")));
        assert_eq!(reason, "1.0.0 needs Grafana `<12`; 1.6.0 works with 11.0.0 and with 12.0.0");
    }

    #[test]
    fn without_a_version_for_both_sides_it_moves_after() {
        let offers = || vec![offer("1.0.0", Some("<12")), offer("2.0.0", Some(">=12"))];
        let (after, target, reason) = verdict("1.0.0", offers(), Some("11.0.0"), "12.0.0");
        assert_eq!((after, target.as_deref()), (UpgradeVerdict::After, Some("2.0.0")));
        assert!(reason.ends_with("no version works with both 11.0.0 and 12.0.0"), "{reason}");
        assert_eq!(verdict("1.0.0", offers(), None, "12.0.0").0, UpgradeVerdict::After);
    }

    #[test]
    fn nothing_that_works_is_blocked_and_says_why() {
        let mut offers = vec![offer("1.0.0", Some("<12")), offer("2.0.0", Some("<13")), offer("3.0.0", None)];
        offers[2].signed = false;
        let (verdict, _, reason) = verdict("1.0.0", offers, Some("11.0.0"), "13.0.0");
        assert_eq!(verdict, UpgradeVerdict::Blocked);
        assert_eq!(
            reason,
            "1.0.0 needs Grafana `<12`; no other version works: 3.0.0 is unsigned according to the catalog, and \
             signatures are required, 2.0.0 needs Grafana `<13` and this is 13.0.0"
        );
    }

    #[test]
    fn angular_is_off_in_11_and_refused_from_12_on() {
        let angular = || {
            let mut offers = vec![offer("1.0.0", None)];
            offers[0].release.angular = true;
            known(offers)
        };
        let judgement = |to| judge(&standing("1.0.0"), Some(&angular()), &upgrade(Some("10.4.1"), to));
        assert_eq!((judgement("10.4.2").verdict, judgement("10.4.2").notes.len()), (UpgradeVerdict::Stays, 0));
        assert_eq!(judgement("11.0.0").verdict, UpgradeVerdict::Stays);
        assert!(judgement("11.0.0").notes[0].contains("switched off"));
        assert_eq!(judgement("12.0.0").verdict, UpgradeVerdict::Blocked);
        assert!(judgement("12.0.0").reason.starts_with("1.0.0 is made with Angular"));
    }

    #[test]
    fn a_withdrawn_plugin_that_must_move_is_blocked_and_one_that_stays_says_so() {
        let gone = KnownPlugin { withdrawn: true, ..known(vec![offer("1.0.0", Some("<12")), offer("2.0.0", None)]) };
        let judgement = |version| judge(&standing(version), Some(&gone), &upgrade(Some("11.0.0"), "12.0.0"));
        assert_eq!(judgement("1.0.0").verdict, UpgradeVerdict::Blocked);
        assert_eq!((judgement("2.0.0").verdict, judgement("2.0.0").notes.len()), (UpgradeVerdict::Stays, 1));
    }

    #[test]
    fn what_the_catalog_does_not_know_is_unknown_and_its_own_word_is_told() {
        let mut own = standing("1.0.0");
        own.declared = Some("<12".to_owned());
        let judgement = judge(&own, None, &upgrade(Some("11.0.0"), "12.0.0"));
        assert_eq!(judgement.verdict, UpgradeVerdict::Unknown);
        assert!(judgement.reason.ends_with("needs Grafana `<12`, and 12.0.0 is not that"), "{}", judgement.reason);
    }

    #[test]
    fn prereleases_and_deprecated_versions_are_the_last_resort() {
        let mut offers =
            vec![offer("1.0.0", Some("<12")), offer("2.0.0", None), offer("2.1.0", None), offer("3.0.0-beta1", None)];
        offers[2].release.status = PluginStatus::Deprecated;
        assert_eq!(verdict("1.0.0", offers, Some("11.0.0"), "12.0.0").1.as_deref(), Some("2.0.0"));
        let offers = vec![offer("1.0.0", Some("<12")), offer("3.0.0-beta1", None)];
        assert_eq!(verdict("1.0.0", offers, Some("11.0.0"), "12.0.0").1.as_deref(), Some("3.0.0-beta1"));
    }
}
