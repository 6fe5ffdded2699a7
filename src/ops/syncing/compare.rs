//! What changed about one plugin: what the index has of it against what the upstream tells now. Pure.
//!
//! *Invariant:* the first digest seen of a package stays; another one is an alert, never an update.

use std::collections::HashSet;

use super::{
    known::{KnownPlugin, change, change_of_release},
    promises,
};
use crate::{
    index::{CatalogChange, ChangeKind, StoredRelease, claimed_signer},
    model::{Platform, Plugin, PluginId, PluginStatus, PluginVersion, Release},
    upstream::Details,
};

/// What is to be done about a plugin.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Comparison {
    /// What to record, in the order in which people want to read it.
    pub(super) changes: Vec<CatalogChange>,
    /// Alerts that are recorded already, and still stand.
    pub(super) standing: Vec<CatalogChange>,
    /// The releases to write.
    pub(super) put: Vec<Release>,
    /// The releases to mark as withdrawn, if they are this source's, and what to record of it.
    pub(super) withdraw: Vec<(PluginVersion, CatalogChange)>,
    /// How many releases are new.
    pub(super) added: u64,
    /// How many releases are written again.
    pub(super) updated: u64,
}

/// Compares a plugin and all its releases.
pub(super) fn compare(before: &KnownPlugin, now: &Details) -> Comparison {
    let plugin = &now.entry.plugin;
    let mut result = Comparison { changes: compare_plugin(before, now), ..Comparison::default() };
    for release in &now.releases {
        let known = before.releases.iter().find(|known| known.release.version == release.version);
        match known {
            None => {
                result.added += 1;
                if before.plugin.is_some() {
                    result.changes.push(change_of_release(plugin, release, ChangeKind::VersionAdded));
                    result.changes.extend(jumped(before, plugin, release));
                }
                result.put.push(release.clone());
            }
            Some(known) => {
                result.changes.extend(compare_release(before, plugin, known, release));
                if must_put(known, release) {
                    result.updated += 1;
                    result.put.push(release.clone());
                }
            }
        }
    }
    if now.complete {
        result.withdraw = withdrawn(before, now);
    }
    result.changes.extend(contradicted(before, now));
    result.standing = before.open.iter().map(|alert| alert.change.clone()).collect();
    result.standing.retain(|open| !result.changes.iter().any(|change| replaces(change, open)));
    result
}

/// Returns whether an alert says how it is now with what another one was about.
fn replaces(change: &CatalogChange, open: &CatalogChange) -> bool {
    change.kind.supersedes(open.kind) && (&change.version, &change.platform) == (&open.version, &open.platform)
}

/// Returns an alert for every version of which one document has two contents, unless it is reported already.
fn contradicted(before: &KnownPlugin, now: &Details) -> Vec<CatalogChange> {
    let kind = ChangeKind::DigestContradicted;
    let new = now.contradicted.iter().filter(|version| before.open_alert(kind, Some(version), None).is_none());
    let alert = |version: &PluginVersion| CatalogChange {
        version: Some(version.clone()),
        alert: true,
        ..change(&now.entry.plugin.id, kind)
    };
    new.map(alert).collect()
}

impl Comparison {
    /// Returns whether there is nothing to write.
    pub(super) fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.put.is_empty() && self.withdraw.is_empty()
    }
}

fn compare_plugin(before: &KnownPlugin, now: &Details) -> Vec<CatalogChange> {
    let (now, entry) = (&now.entry.plugin, &now.entry);
    let Some(stored) = &before.plugin else {
        let version = now.version.as_ref().map(ToString::to_string);
        return vec![CatalogChange { after: version, ..change(&now.id, ChangeKind::PluginAdded) }];
    };
    let (known, mut changes) = (&stored.plugin, Vec::new());
    if stored.withdrawn_at.is_some() {
        changes.push(change(&now.id, ChangeKind::PluginReturned));
    }
    if known.status != now.status {
        let kind = status_kind(&now.status);
        changes.push(from_to(&now.id, kind, known.status.as_str(), now.status.as_str()));
    }
    let is_open = |kind| before.open_alert(kind, None, None).is_some();
    if let Some((was, is)) = promises::renumbered(stored, &entry.raw).filter(|_| before.same_source) {
        let change = from_to(&now.id, ChangeKind::IdentityChanged, &format!("number {was}"), &format!("number {is}"));
        changes.push(CatalogChange { alert: true, ..change });
    }
    let owner = |org: &str| if org.is_empty() { "nobody".to_owned() } else { org.to_owned() };
    if known.org != now.org && (!known.org.is_empty() || is_open(ChangeKind::OwnerChanged)) {
        let change = from_to(&now.id, ChangeKind::OwnerChanged, &owner(&known.org), &owner(&now.org));
        changes.push(CatalogChange { alert: true, ..change });
    }
    let (was, is) = (claimed_signer(&known.signature), claimed_signer(&now.signature));
    if was != is {
        // To be signed for the first time is no reason to worry, unless a signature was taken away before.
        let alert = !known.signature.signature_type.is_empty() || is_open(ChangeKind::SignatureChanged);
        changes.push(CatalogChange { alert, ..from_to(&now.id, ChangeKind::SignatureChanged, &was, &is) });
    }
    changes
}

fn compare_release(before: &KnownPlugin, plugin: &Plugin, known: &StoredRelease, now: &Release) -> Vec<CatalogChange> {
    let (release, mut changes) = (&known.release, Vec::new());
    let mut push = |kind, was: Option<&str>, is: Option<&str>| {
        let (before, after) = (was.map(str::to_owned), is.map(str::to_owned));
        changes.push(CatalogChange { before, after, ..change_of_release(plugin, now, kind) });
    };
    if known.withdrawn_at.is_some() {
        push(ChangeKind::VersionReturned, None, None);
    }
    if release.status != now.status {
        push(status_kind(&now.status), Some(release.status.as_str()), Some(now.status.as_str()));
    }
    if release.grafana_dependency != now.grafana_dependency {
        let (was, is) = (release.grafana_dependency.as_deref(), now.grafana_dependency.as_deref());
        push(ChangeKind::GrafanaDependencyChanged, was, is);
    }
    changes.extend(compare_packages(plugin, known, now));
    changes.extend(promises::compare(before, plugin, known, now));
    changes
}

fn compare_packages(plugin: &Plugin, known: &StoredRelease, now: &Release) -> Vec<CatalogChange> {
    let listed = &known.release.packages;
    let of = |platform: &Platform, kind| CatalogChange {
        platform: Some(platform.clone()),
        ..change_of_release(plugin, now, kind)
    };
    let mut changes = Vec::new();
    for platform in now.packages.keys() {
        // The first sync that names any package fills a gap; it adds none.
        if !known.pins.is_empty() && !listed.contains_key(platform) {
            changes.push(of(platform, ChangeKind::PackageAdded));
        }
    }
    if !now.packages.is_empty() {
        let gone = listed.keys().filter(|platform| !now.packages.contains_key(platform));
        // A published version does not lose a platform by itself: someone may be leading its users to another package.
        changes
            .extend(gone.map(|platform| CatalogChange { alert: true, ..of(platform, ChangeKind::PackageWithdrawn) }));
    }
    changes
}

/// How much higher the first number of a new version may be than that of the newest one before.
const HIGHEST_STEP: u64 = 50;
/// First numbers that are years are no jump: publishers change to versions by date.
const YEARS: std::ops::RangeInclusive<u64> = 2000..=2099;

/// Returns an alert for a new version after which no other could ever be newer: one first number too high for its history.
fn jumped(before: &KnownPlugin, plugin: &Plugin, now: &Release) -> Option<CatalogChange> {
    let is_settled = |known: &&StoredRelease| {
        let version = &known.release.version;
        known.withdrawn_at.is_none() && before.open_alert(ChangeKind::VersionJumped, Some(version), None).is_none()
    };
    let newest = before.releases.iter().filter(is_settled).map(|known| &known.release.version).max()?;
    let first = first_number(&now.version);
    let is_jump = first > first_number(newest).saturating_add(HIGHEST_STEP) && !YEARS.contains(&first);
    is_jump.then(|| CatalogChange {
        version: Some(now.version.clone()),
        alert: true,
        ..from_to(&plugin.id, ChangeKind::VersionJumped, newest.as_str(), now.version.as_str())
    })
}

/// Returns the first number of a version, the greatest there is if it is too long for one.
fn first_number(version: &PluginVersion) -> u64 {
    let digits: String = version.as_str().chars().skip_while(|&c| c == 'v').take_while(char::is_ascii_digit).collect();
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) }
}

/// Returns whether what is listed of a release must be written: a release that names no package leaves those of before.
fn must_put(known: &StoredRelease, now: &Release) -> bool {
    let others = !now.packages.is_empty() && !now.packages.keys().eq(known.release.packages.keys());
    known.release.raw != now.raw || known.withdrawn_at.is_some() || others
}

/// Returns the releases that are no longer listed. One that is listed in a form that cannot be read is not withdrawn.
fn withdrawn(before: &KnownPlugin, now: &Details) -> Vec<(PluginVersion, CatalogChange)> {
    let plugin = &now.entry.plugin;
    let listed: HashSet<&str> = now.releases.iter().map(|release| release.version.as_str()).collect();
    let unreadable: HashSet<&str> = now.skipped.iter().filter_map(|skipped| skipped.version.as_deref()).collect();
    let newest = now.releases.iter().map(|release| &release.version).max();
    let gone = before.releases.iter().filter(|known| {
        let version = known.release.version.as_str();
        known.withdrawn_at.is_none() && !listed.contains(version) && !unreadable.contains(version)
    });
    gone.map(|known| {
        let version = known.release.version.clone();
        // The newest version does not vanish by itself: someone may be hiding an update.
        let alert = newest.is_none_or(|newest| version > *newest);
        (version, CatalogChange { alert, ..change_of_release(plugin, &known.release, ChangeKind::VersionWithdrawn) })
    })
    .collect()
}

fn status_kind(now: &PluginStatus) -> ChangeKind {
    if *now == PluginStatus::Deprecated { ChangeKind::Deprecated } else { ChangeKind::StatusChanged }
}

fn from_to(plugin: &PluginId, kind: ChangeKind, before: &str, after: &str) -> CatalogChange {
    CatalogChange { before: Some(before.to_owned()), after: Some(after.to_owned()), ..change(plugin, kind) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        index::{OpenAlert, StoredPlugin},
        model::{Digests, Package, PluginEntry, Sha256Digest, Signature, Timestamp},
        upstream::SkippedItem,
    };

    const THEN: Timestamp = Timestamp::from_milliseconds(1);

    fn plugin(org: &str, signature_type: &str) -> Plugin {
        Plugin {
            org: org.into(),
            signature: Signature { signature_type: signature_type.into(), ..Signature::default() },
            ..crate::model::tests::plugin("a-panel", "A")
        }
    }

    fn release(version: &str, digest: u8) -> Release {
        let digests = Digests { sha256: Some(Sha256Digest::from_bytes([digest; 32])), md5: None };
        Release {
            version: version.parse().expect("a version"),
            created_at: None,
            status: PluginStatus::Active,
            grafana_dependency: None,
            angular: false,
            packages: [(Platform::any(), Package { digests, size: None })].into(),
            raw: format!("{version} {digest}"),
        }
    }

    fn before(plugin: Plugin, releases: &[Release]) -> KnownPlugin {
        let known = |release: &Release| StoredRelease {
            release: release.clone(),
            withdrawn_at: None,
            first_seen: THEN,
            pins: release.packages.clone(),
            stored: BTreeMap::new(),
        };
        KnownPlugin {
            plugin: Some(StoredPlugin {
                plugin,
                source: "here".into(),
                withdrawn_at: None,
                first_seen: THEN,
                list_raw: String::new(),
                detail_raw: None,
            }),
            releases: releases.iter().map(known).collect(),
            open: Vec::new(),
            same_source: true,
        }
    }

    fn details(plugin: Plugin, releases: &[Release]) -> Details {
        let entry = PluginEntry { plugin, raw: String::new() };
        Details { entry, releases: releases.to_vec(), skipped: Vec::new(), contradicted: Vec::new(), complete: true }
    }

    fn kinds(comparison: &Comparison) -> Vec<(ChangeKind, bool)> {
        comparison.changes.iter().map(|change| (change.kind, change.alert)).collect()
    }

    #[test]
    fn a_new_plugin_is_one_change_however_many_versions_it_has() {
        let result =
            compare(&KnownPlugin::default(), &details(plugin("a", ""), &[release("1.0.0", 1), release("2.0.0", 2)]));
        assert_eq!(kinds(&result), [(ChangeKind::PluginAdded, false)]);
        assert_eq!((result.added, result.put.len()), (2, 2));
    }

    #[test]
    fn nothing_new_is_nothing_to_write() {
        let releases = [release("1.0.0", 1)];
        let result =
            compare(&before(plugin("a", "community"), &releases), &details(plugin("a", "community"), &releases));
        assert_eq!(result, Comparison::default());
    }

    #[test]
    fn another_digest_is_an_alert_with_both_digests() {
        let result = compare(
            &before(plugin("a", ""), &[release("1.0.0", 1)]),
            &details(plugin("a", ""), &[release("1.0.0", 2)]),
        );
        assert_eq!(kinds(&result), [(ChangeKind::DigestChanged, true)]);
        assert!(result.changes[0].before.as_ref().is_some_and(|text| text.ends_with("0101")), "{result:?}");
        assert!(result.changes[0].after.as_ref().is_some_and(|text| text.ends_with("0202")), "{result:?}");
    }

    #[test]
    fn a_package_that_was_delisted_and_comes_back_with_another_digest_is_an_alert() {
        let mut known = before(plugin("a", ""), &[release("1.0.0", 1)]);
        let mut other = release("1.0.0", 1);
        let package = other.packages.remove(&Platform::any()).expect("it has one");
        other.packages.insert("linux-amd64".parse().expect("a platform"), package);
        other.raw.push('x');
        let delisted = compare(&known, &details(plugin("a", ""), std::slice::from_ref(&other)));
        assert_eq!(kinds(&delisted), [(ChangeKind::PackageAdded, false), (ChangeKind::PackageWithdrawn, true)]);
        known.releases[0].release = other.clone();
        let returned = compare(&known, &details(plugin("a", ""), &[release("1.0.0", 2)]));
        let expected = [ChangeKind::PackageAdded, ChangeKind::PackageWithdrawn, ChangeKind::DigestChanged];
        assert_eq!(returned.changes.iter().map(|change| change.kind).collect::<Vec<_>>(), expected);
        other.packages.clear();
        let silent = compare(&known, &details(plugin("a", ""), &[other]));
        assert_eq!(kinds(&silent), []);
    }

    #[test]
    fn a_version_that_jumps_out_of_its_history_is_an_alert() {
        let of = |old: &str, new: &str| {
            let (old, new) = (release(old, 1), release(new, 2));
            let now = details(plugin("a", ""), &[old.clone(), new]);
            kinds(&compare(&before(plugin("a", ""), &[old]), &now))
        };
        let jump = [(ChangeKind::VersionAdded, false), (ChangeKind::VersionJumped, true)];
        for (old, new) in [
            ("2.1.0", "4294967295.0.0"),
            ("2.1.0", "99999999999999999999.0.0"),
            ("2.1.0", "53.0.0"),
            ("2.1.0", "9999.0.0"),
            ("2.1.0", "v9999.0.0"),
            ("2026.1.0", "20260101.0.0"),
        ] {
            assert_eq!(of(old, new), jump, "{old} {new}");
        }
        for (old, new) in [("2.1.0", "3.0.0"), ("2.1.0", "52.0.0"), ("2.1.0", "2026.1.0"), ("9999.0.0", "10000.0.0")] {
            assert_eq!(of(old, new), jump[..1], "{old} {new}");
        }
        let first = details(plugin("a", ""), &[release("1.0.0", 1), release("4294967295.0.0", 2)]);
        assert_eq!(kinds(&compare(&KnownPlugin::default(), &first)), [(ChangeKind::PluginAdded, false)]);
    }

    /// Returns what is open after these changes were recorded.
    fn open(changes: Vec<CatalogChange>) -> Vec<OpenAlert> {
        let open = |change: CatalogChange| OpenAlert { change, sync: 1, since: THEN };
        changes.into_iter().filter(|change| change.alert).map(open).collect()
    }

    #[test]
    fn an_alert_that_is_recorded_stands_and_is_not_recorded_again() {
        let mut known = before(plugin("a", ""), &[release("1.0.0", 1)]);
        let mut lie = release("1.0.0", 2);
        known.releases[0].release.raw.clone_from(&lie.raw);
        known.open = open(compare(&known, &details(plugin("a", ""), std::slice::from_ref(&lie))).changes);
        let again = compare(&known, &details(plugin("a", ""), std::slice::from_ref(&lie)));
        assert!(again.is_nothing(), "{again:?}");
        assert_eq!(again.standing, [known.open[0].change.clone()]);
        lie.packages = release("1.0.0", 3).packages;
        let other = compare(&known, &details(plugin("a", ""), &[lie]));
        assert_eq!((kinds(&other), other.standing), (vec![(ChangeKind::DigestChanged, true)], vec![]));
    }

    /// A change that is reverted was tampering all the same.
    #[test]
    fn the_pinned_digest_that_returns_is_an_alert_where_another_one_was_offered() {
        let mut known = before(plugin("a", ""), &[release("1.0.0", 1)]);
        known.open = open(compare(&known, &details(plugin("a", ""), &[release("1.0.0", 2)])).changes);
        let now = details(plugin("a", ""), &[release("1.0.0", 1)]);
        let returned = compare(&known, &now);
        assert_eq!(kinds(&returned), [(ChangeKind::DigestReturned, true)]);
        assert!(returned.standing.is_empty());
        known.open = open(returned.changes);
        let again = compare(&known, &now);
        assert_eq!((kinds(&again), again.standing.len()), (vec![], 1));
    }

    #[test]
    fn a_digest_that_is_dropped_is_an_alert_once_and_only_from_the_source_that_told_it() {
        let raw = |packages: &str| format!(r#"{{"version":"1.0.0","packages":{packages}}}"#);
        let mut whole = release("1.0.0", 1);
        whole.raw = raw(r#"{"any":{"sha256":"01"}}"#);
        for dropped in ["{}", "null", r#"{"any":{}}"#] {
            let mut known = before(plugin("a", ""), std::slice::from_ref(&whole));
            let mut bare = release("1.0.0", 1);
            bare.raw = raw(dropped);
            bare.packages.clear();
            if dropped.contains("any") {
                bare.packages.insert(Platform::any(), Package::default());
            }
            let now = details(plugin("a", ""), std::slice::from_ref(&bare));
            let result = compare(&known, &now);
            assert_eq!(kinds(&result), [(ChangeKind::DigestWithdrawn, true)], "{dropped}");
            known.open = open(result.changes);
            known.releases[0].release.raw.clone_from(&bare.raw);
            let again = compare(&known, &now);
            assert_eq!((kinds(&again), again.standing.len()), (vec![], 1), "{dropped}");
            let back = compare(&known, &details(plugin("a", ""), std::slice::from_ref(&whole)));
            assert_eq!(kinds(&back), [(ChangeKind::DigestReturned, true)], "{dropped}");
            known.releases[0].release.raw.clone_from(&whole.raw);
            (known.open, known.same_source) = (Vec::new(), false);
            assert_eq!(kinds(&compare(&known, &now)), [], "{dropped}");
        }
    }

    /// Fault C29.
    #[test]
    fn two_contents_of_one_version_are_an_alert_once() {
        let mut known = before(plugin("a", ""), &[release("1.0.0", 1)]);
        let mut now = details(plugin("a", ""), &[]);
        now.complete = false;
        now.contradicted = vec!["1.0.0".parse().expect("a version")];
        let result = compare(&known, &now);
        assert_eq!(kinds(&result), [(ChangeKind::DigestContradicted, true)]);
        known.open = open(result.changes);
        let again = compare(&known, &now);
        assert_eq!((kinds(&again), again.standing.len()), (vec![], 1));
    }

    /// Fault C31.
    #[test]
    fn a_name_that_moves_to_another_number_is_an_alert() {
        let mut known = before(plugin("a", ""), &[]);
        let mut now = details(plugin("a", ""), &[]);
        for (was, is, alerts) in
            [(r#"{"id":5}"#, r#"{"id":6}"#, 1), (r#"{"id":5}"#, r#"{"id":5}"#, 0), ("{}", r#"{"id":6}"#, 0)]
        {
            known.plugin.as_mut().expect("it is known").detail_raw = Some(was.to_owned());
            is.clone_into(&mut now.entry.raw);
            assert_eq!(kinds(&compare(&known, &now)).len(), alerts, "{was} {is}");
        }
        r#"{"id":7}"#.clone_into(&mut now.entry.raw);
        known.plugin.as_mut().expect("it is known").detail_raw = Some(r#"{"id":5}"#.to_owned());
        known.same_source = false;
        assert_eq!(kinds(&compare(&known, &now)), [], "another source counts otherwise");
    }

    #[test]
    fn another_owner_or_a_lost_signature_is_an_alert() {
        let result = compare(&before(plugin("a", "community"), &[]), &details(plugin("b", ""), &[]));
        assert_eq!(kinds(&result), [(ChangeKind::OwnerChanged, true), (ChangeKind::SignatureChanged, true)]);
        let signed = compare(&before(plugin("a", ""), &[]), &details(plugin("a", "community"), &[]));
        assert_eq!(kinds(&signed), [(ChangeKind::SignatureChanged, false)]);
        let mut lost = before(plugin("", ""), &[]);
        lost.open = open(result.changes);
        let result = compare(&lost, &details(plugin("mallory", "private"), &[]));
        let expected = [(ChangeKind::OwnerChanged, true), (ChangeKind::SignatureChanged, true)];
        assert_eq!(kinds(&result), expected, "in two steps it is no less");
    }

    #[test]
    fn the_newest_version_does_not_vanish_without_an_alert() {
        let known = [release("1.0.0", 1), release("2.0.0", 2), release("3.0.0", 3)];
        let result = compare(&before(plugin("a", ""), &known), &details(plugin("a", ""), &known[1..2]));
        let alerts: Vec<_> = result.withdraw.iter().map(|(version, change)| (version.as_str(), change.alert)).collect();
        assert_eq!(alerts, [("1.0.0", false), ("3.0.0", true)]);
    }

    #[test]
    fn nothing_is_withdrawn_where_not_everything_could_be_read() {
        let known = [release("1.0.0", 1), release("2.0.0", 2)];
        let mut now = details(plugin("a", ""), &known[1..]);
        now.complete = false;
        assert_eq!(compare(&before(plugin("a", ""), &known), &now).withdraw, []);
    }

    #[test]
    fn a_version_that_cannot_be_read_is_not_withdrawn() {
        let known = [release("1.0.0", 1), release("2.0.0", 2)];
        let mut now = details(plugin("a", ""), &known[1..]);
        now.skipped.push(SkippedItem::version("a-panel", "1.0.0", "there twice"));
        assert_eq!(compare(&before(plugin("a", ""), &known), &now).withdraw, []);
    }
}
