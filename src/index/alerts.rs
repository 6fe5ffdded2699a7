//! Alerts that are not accepted yet, and their acceptance.
//!
//! *Invariant:* an alert is open from the sync that saw it until it is accepted by name; that the upstream goes back to what
//! it said before closes nothing, since somebody tampered. What is accepted is what was offered last.
//! *Not for:* raising alerts, which `ops::syncing` does, or enforcing them: which kinds stop a plugin is told here, and
//! `ops::candidates` keeps to it.

use std::collections::HashMap;

use super::{
    CatalogChange, ChangeKind, Index, IndexError, RecordedChange, SyncWriter,
    changes::{CHANGES, change_of},
    provenance::{LogEntry, ProvenanceEvent, package_of},
    values::count_column,
};
use crate::model::{Digests, Package, Platform, PluginId, PluginVersion, Timestamp};

/// An alert that stops its plugin, or a version of it, until it is accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenAlert {
    /// What happened last, with what was before the first alert of this kind and what is offered since the last.
    pub change: CatalogChange,
    /// The sync that saw it first.
    pub sync: i64,
    /// When that sync began.
    pub since: Timestamp,
}

/// What an alert is about; a later one on the same takes the place of an earlier one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum About {
    Digest,
    Owner,
    Signature,
    Identity,
    /// A platform for which a version is no longer offered.
    Platform,
    Version,
}

impl ChangeKind {
    /// Returns whether an alert of this kind stops installs until it is accepted; others are only reported.
    pub fn stops(self) -> bool {
        About::from_change(self).is_some()
    }

    /// Returns whether an alert of this kind is on what a catalog says of a package's bytes.
    pub fn is_of_digest(self) -> bool {
        About::from_change(self) == Some(About::Digest)
    }

    /// Returns whether alerts of both kinds are on the same thing, so that the later one says how it is now.
    pub fn supersedes(self, earlier: Self) -> bool {
        About::from_change(self).is_some() && About::from_change(self) == About::from_change(earlier)
    }
}

impl About {
    fn from_change(kind: ChangeKind) -> Option<Self> {
        match kind {
            ChangeKind::DigestChanged
            | ChangeKind::DigestWithdrawn
            | ChangeKind::DigestReturned
            | ChangeKind::DigestContradicted => Some(Self::Digest),
            ChangeKind::OwnerChanged => Some(Self::Owner),
            ChangeKind::SignatureChanged => Some(Self::Signature),
            ChangeKind::IdentityChanged => Some(Self::Identity),
            ChangeKind::PackageWithdrawn => Some(Self::Platform),
            ChangeKind::VersionJumped => Some(Self::Version),
            _ => None,
        }
    }
}

/// The condition of the index `change_by_plugin`, word for word, or SQLite does not use it.
const ALERTS: &str = "(alert OR kind = 'alert-accepted')";

impl Index {
    /// Returns the open alerts of a plugin, oldest first.
    pub fn open_alerts(&self, plugin: &PluginId) -> Result<Vec<OpenAlert>, IndexError> {
        let sql = format!("{CHANGES} WHERE plugin = ?1 AND {ALERTS} ORDER BY change.id");
        let changes = self.session().rows("reading the alerts", &sql, [plugin], change_of)?;
        Ok(still_open(changes).remove(plugin).unwrap_or_default())
    }

    /// Returns all open alerts by plugin, oldest first.
    pub fn all_open_alerts(&self) -> Result<HashMap<PluginId, Vec<OpenAlert>>, IndexError> {
        let sql = format!("{CHANGES} WHERE {ALERTS} ORDER BY change.id");
        Ok(still_open(self.session().rows("reading the alerts", &sql, [], change_of)?))
    }

    /// Begins to accept alerts of a plugin: what is accepted is seen at once, with [`SyncWriter::commit`].
    pub fn begin_accepting(&mut self, plugin: &PluginId, now: Timestamp) -> Result<SyncWriter<'_>, IndexError> {
        let doing = "beginning to accept alerts";
        let sql = "SELECT location FROM plugin JOIN source ON source.id = plugin.source WHERE plugin.id = ?1";
        let location: Option<String> = self.session().row(doing, sql, [plugin], |row| row.get(0))?;
        let missing = IndexError::Sql { doing, source: rusqlite::Error::QueryReturnedNoRows };
        let mut writer = self.begin_sync(&location.ok_or(missing)?, now)?;
        writer.is_catalog = false;
        Ok(writer)
    }
}

fn still_open(changes: Vec<RecordedChange>) -> HashMap<PluginId, Vec<OpenAlert>> {
    let mut open: HashMap<PluginId, Vec<OpenAlert>> = HashMap::new();
    for RecordedChange { sync, at, change } in changes {
        let alerts = open.entry(change.plugin.clone()).or_default();
        let is_there =
            |alert: &OpenAlert| (&alert.change.version, &alert.change.platform) == (&change.version, &change.platform);
        if change.kind == ChangeKind::AlertAccepted {
            alerts.retain(|alert| !is_there(alert));
        } else if change.alert && change.kind.stops() {
            let earlier = alerts.iter_mut().find(|alert| is_there(alert) && change.kind.supersedes(alert.change.kind));
            match earlier {
                // The trusted value is the one before the first of them.
                Some(alert) => alert.change = CatalogChange { before: alert.change.before.take(), ..change },
                None => alerts.push(OpenAlert { change, sync, since: at }),
            }
        }
    }
    open.retain(|_, alerts| !alerts.is_empty());
    open
}

impl SyncWriter<'_> {
    /// Accepts an alert: a digest that was offered is pinned in the place of the pinned one, and a log entry says so.
    ///
    /// Where nothing is offered any more, or the pinned digest again, the pin stays; who owns and who signs a plugin is in
    /// the catalog already. What the store holds is not touched.
    pub fn accept(&mut self, alert: &OpenAlert) -> Result<(), IndexError> {
        let CatalogChange { kind, plugin, version, platform, before, after, .. } = &alert.change;
        let offered = after.as_deref().filter(|_| *kind == ChangeKind::DigestChanged).map(offered);
        let pinned = match (version, platform) {
            (Some(version), Some(platform)) => {
                if let Some(digests) = offered.filter(|digests| digests.strongest().is_some()) {
                    self.replace_pin(plugin, version, platform, &Package { digests, size: None })?;
                }
                self.pinned(plugin, version, platform)?
            }
            _ => Package::default(),
        };
        self.log(&LogEntry {
            event: ProvenanceEvent::Accepted,
            plugin: plugin.as_str(),
            version: version.as_ref().map(PluginVersion::as_str),
            platform: platform.as_ref().map(Platform::as_str),
            package: &pinned,
            signer: None,
            source: Some(&self.location.clone()),
            at: self.now,
            before: before.as_deref(),
            after: after.as_deref(),
        })?;
        self.record(&CatalogChange { kind: ChangeKind::AlertAccepted, alert: false, ..alert.change.clone() })
    }

    fn replace_pin(
        &mut self,
        plugin: &PluginId,
        version: &PluginVersion,
        platform: &Platform,
        package: &Package,
    ) -> Result<(), IndexError> {
        let sql = "UPDATE package SET sha256 = ?4, md5 = ?5, size = ?6
                   WHERE plugin = (SELECT number FROM plugin WHERE id = ?1) AND version = ?2 AND platform = ?3";
        let Digests { sha256, md5 } = package.digests;
        let parameters = (plugin, version, platform, sha256, md5, package.size.map(count_column));
        self.session().execute("replacing a pinned digest", sql, parameters).map(drop)
    }

    fn pinned(&self, plugin: &PluginId, version: &PluginVersion, platform: &Platform) -> Result<Package, IndexError> {
        let sql = "SELECT sha256, md5, size FROM package
                   WHERE plugin = (SELECT number FROM plugin WHERE id = ?1) AND version = ?2 AND platform = ?3";
        let pinned = self.session().row("reading a pin", sql, (plugin, version, platform), |row| package_of(row, 0))?;
        Ok(pinned.unwrap_or_default())
    }
}

/// Reads the digests of an alert, `sha256:…` or `md5:…`, or both with a space between them.
fn offered(text: &str) -> Digests {
    let part = |name: &str| text.split(' ').find_map(|part| part.strip_prefix(name));
    let sha256 = part("sha256:").and_then(|digest| digest.parse().ok());
    Digests { sha256, md5: part("md5:").and_then(|digest| digest.parse().ok()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::tests::support::{Scratch, id, package, platform, put, release, time, version};

    fn alert(kind: ChangeKind, before: &str, after: &str) -> CatalogChange {
        let is_of_package = kind.is_of_digest();
        CatalogChange {
            kind,
            plugin: id("a-clock-panel"),
            version: is_of_package.then(|| version("1.0.0")),
            platform: is_of_package.then(Platform::any),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
            alert: true,
        }
    }

    fn record(index: &mut Index, at: i64, change: &CatalogChange) {
        let mut writer = index.begin_sync("here", time(at)).expect("begin");
        writer.record(change).expect("record");
        writer.commit(&json!({})).expect("commit");
    }

    fn open(index: &Index) -> Vec<OpenAlert> {
        let open = index.open_alerts(&id("a-clock-panel")).expect("read");
        assert_eq!(index.all_open_alerts().expect("read").remove(&id("a-clock-panel")).unwrap_or_default(), open);
        open
    }

    fn accept(index: &mut Index, alerts: &[OpenAlert]) {
        let mut writer = index.begin_accepting(&id("a-clock-panel"), time(9)).expect("begin");
        for alert in alerts {
            writer.accept(alert).expect("accept");
        }
        writer.commit(&json!({})).expect("commit");
    }

    fn digest(byte: u8) -> String {
        package(byte).digests.describe()
    }

    #[test]
    fn an_alert_is_open_until_it_is_accepted() {
        let mut index = Scratch::new().open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
        record(&mut index, 2, &CatalogChange { alert: false, ..alert(ChangeKind::SignatureChanged, "", "community") });
        record(&mut index, 2, &alert(ChangeKind::VersionWithdrawn, "", ""));
        assert_eq!(open(&index), [], "neither is to be accepted");
        for kind in [ChangeKind::DigestChanged, ChangeKind::OwnerChanged] {
            record(&mut index, 3, &alert(kind, "a", "b"));
            let found = open(&index);
            assert_eq!((found.len(), found[0].since), (1, time(3)));
            accept(&mut index, &found);
            assert_eq!(open(&index), []);
            record(&mut index, 4, &alert(kind, "a", "c"));
            assert_eq!(open(&index)[0].since, time(4), "another change is another alert");
            let found = open(&index);
            accept(&mut index, &found);
        }
    }

    #[test]
    fn of_several_alerts_on_one_thing_the_first_says_what_was_and_the_last_what_is() {
        let mut index = Scratch::new().open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
        record(&mut index, 2, &alert(ChangeKind::OwnerChanged, "acme", "mallory"));
        record(&mut index, 3, &alert(ChangeKind::SignatureChanged, "community", "unsigned"));
        record(&mut index, 4, &alert(ChangeKind::OwnerChanged, "mallory", "eve"));
        let found = open(&index);
        let texts: Vec<_> =
            found.iter().map(|alert| (alert.change.before.as_deref(), alert.change.after.as_deref())).collect();
        assert_eq!(texts, [(Some("acme"), Some("eve")), (Some("community"), Some("unsigned"))]);
        assert_eq!((found[0].since, found[0].sync), (time(2), 2));
    }

    #[test]
    fn accepting_pins_what_was_offered_and_logs_it() {
        let mut index = Scratch::new().open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1), ("linux-amd64", 2)])]);
        record(&mut index, 2, &alert(ChangeKind::DigestChanged, &digest(1), &digest(9)));
        let found = open(&index);
        accept(&mut index, &found);
        let pins = index.releases(&id("a-clock-panel")).expect("read").swap_remove(0).pins;
        assert_eq!((&pins[&platform("any")], &pins[&platform("linux-amd64")]), (&package(9), &package(2)));
        let last = index.provenance(&id("a-clock-panel")).expect("read").pop().expect("an entry");
        assert_eq!((last.event, &last.package, last.before), (ProvenanceEvent::Accepted, &package(9), Some(digest(1))));
        assert_eq!(index.check_provenance().expect("read").faults, []);
        assert_eq!(index.source("here").expect("read").expect("there").synced_at, Some(time(2)), "that was no sync");
    }

    #[test]
    fn accepting_what_is_no_longer_offered_leaves_the_pin() {
        for kind in [ChangeKind::DigestWithdrawn, ChangeKind::DigestReturned] {
            let mut index = Scratch::new().open();
            put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
            record(&mut index, 2, &alert(ChangeKind::DigestChanged, &digest(1), &digest(9)));
            record(&mut index, 3, &alert(kind, &digest(9), &digest(1)));
            let found = open(&index);
            assert_eq!((found.len(), found[0].change.kind), (1, kind));
            accept(&mut index, &found);
            let pins = index.releases(&id("a-clock-panel")).expect("read").swap_remove(0).pins;
            assert_eq!(pins[&Platform::any()], package(1));
            assert_eq!(index.check_provenance().expect("read").faults, []);
        }
    }

    #[test]
    fn both_digests_of_an_offer_are_read() {
        let md5 = "ab".repeat(16);
        assert_eq!(offered(&digest(7)), package(7).digests);
        let both = offered(&format!("{} md5:{md5}", digest(7)));
        assert_eq!(both, Digests { md5: md5.parse().ok(), ..package(7).digests });
        assert_eq!(offered("no digest"), Digests::default());
    }
}
