//! Each rule of the planner, on a workspace that is written down in a few words.

use super::*;
use crate::{
    lockfile::{LockReason, LockedPlugin, PackageDigest},
    model::{Change, Sha256Digest},
};

fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

fn version(text: &str) -> PluginVersion {
    text.parse().expect("a version")
}

fn ids(names: &[&str]) -> BTreeSet<PluginId> {
    names.iter().map(|name| id(name)).collect()
}

/// A server with Grafana 12.1.0, and nothing wanted or there.
fn input() -> PlannerInput {
    let snapshot =
        PlannerSnapshot { grafana: Some("12.1.0".parse().expect("a version")), ..PlannerSnapshot::default() };
    PlannerInput {
        name: "prod".parse().expect("a name"),
        platform: Platform::linux_amd64(),
        is_server: true,
        quota: None,
        asked: BTreeMap::new(),
        locked: Some(LockedWorkspace {
            grafana: snapshot.grafana.clone(),
            platform: Platform::linux_amd64(),
            plugins: BTreeMap::new(),
        }),
        known: BTreeMap::new(),
        missing: BTreeMap::new(),
        snapshot: Ok(snapshot),
        in_use: BTreeMap::new(),
        last_known: BTreeMap::new(),
    }
}

impl PlannerInput {
    fn snapshot(&mut self) -> &mut PlannerSnapshot {
        self.snapshot.as_mut().expect("it was read")
    }

    fn locks(mut self, plugin: &str, at: &str, reason: LockReason) -> Self {
        let digest = PackageDigest::Sha256(Sha256Digest::from_bytes([7; 32]));
        let packages = [(Platform::any(), digest)].into();
        let plugin_at = LockedPlugin { version: version(at), reason, signer: None, packages };
        self.locked.as_mut().expect("a lock").plugins.insert(id(plugin), plugin_at);
        self
    }

    /// Asks for a plugin, and has it in the lock.
    fn wants(mut self, plugin: &str, at: &str) -> Self {
        self.asked.insert(id(plugin), Requested::Present(Vec::new()));
        self.locks(plugin, at, LockReason::AskedFor)
    }

    /// Has in the lock what others need.
    fn needs(self, plugin: &str, at: &str, by: &[&str]) -> Self {
        self.locks(plugin, at, LockReason::NeededBy(by.iter().map(|name| id(name)).collect()))
    }

    fn unwanted(mut self, plugin: &str) -> Self {
        self.asked.insert(id(plugin), Requested::Absent);
        self
    }

    fn has(mut self, plugin: &str, at: &str, needs: &[&str]) -> Self {
        let present = Present { version: Some(version(at)), fault: None, needs: ids(needs), no_return: None };
        self.snapshot().plugins.insert(id(plugin), present);
        self
    }

    fn declares(mut self, plugin: &str, range: &str) -> Self {
        self.known.entry(id(plugin)).or_default().grafana_dependency = Some(range.to_owned());
        self
    }

    fn pins(mut self, plugin: &str, at: Option<&str>) -> Self {
        self.snapshot().preinstalled.insert(id(plugin), at.map(version));
        self
    }

    fn knew(mut self, plugin: &str, at: &str) -> Self {
        self.last_known.insert(id(plugin), version(at));
        self
    }

    /// Returns what is done, as `verb plugin`.
    fn done(&self) -> Vec<String> {
        let decision = decide(self);
        decision.changes.iter().map(|action| format!("{} {}", action.kind.as_str(), action.plugin)).collect()
    }

    fn blocked(&self) -> Vec<String> {
        decide(self).blocked.iter().map(|row| format!("{}: {}", row.plugin, row.reason)).collect()
    }
}

#[test]
fn the_version_that_is_there_decides_what_is_done() {
    let input = input()
        .wants("new", "1.0.0")
        .wants("older", "2.0.0")
        .wants("newer", "2.0.0")
        .wants("same", "v1.0.0")
        .has("older", "1.0.0", &[])
        .has("newer", "3.0.0", &[])
        .has("same", "1.0.0", &[]);
    assert_eq!(input.done(), ["install new", "downgrade newer", "upgrade older", "unchanged same"].sorted());
    let decision = decide(&input);
    let newer = decision.changes.iter().find(|action| action.plugin == id("newer")).expect("it is there");
    assert_eq!((newer.from.clone(), newer.to.clone()), (Some(version("3.0.0")), Some(version("2.0.0"))));
    let package = newer.package.clone().expect("one comes");
    assert_eq!(package.digest, Some(format!("sha256:{}", "07".repeat(32))));
    assert_eq!(package.platform, Platform::any());
}

/// Sorts by plugin, which is the order of those that do not need each other.
trait Sorted {
    fn sorted(self) -> Vec<String>;
}

impl<const N: usize> Sorted for [&str; N] {
    fn sorted(self) -> Vec<String> {
        let mut all = self.map(str::to_owned).to_vec();
        all.sort_by(|left, right| left.split(' ').next_back().cmp(&right.split(' ').next_back()));
        all
    }
}

#[test]
fn what_is_broken_is_put_there_again_and_what_has_no_version_is_upgraded() {
    let mut input = input().wants("broken", "1.0.0").wants("dark", "1.0.0").has("broken", "1.0.0", &[]);
    let snapshot = input.snapshot();
    snapshot.plugins.get_mut(&id("broken")).expect("it is there").fault = Some("signatureInvalid".to_owned());
    snapshot.plugins.insert(id("dark"), Present::default());
    assert_eq!(input.done(), ["reinstall broken", "upgrade dark"]);
    assert!(decide(&input).changes[0].reason.contains("signatureInvalid"));
}

/// W32.
#[test]
fn what_is_needed_comes_first_and_circles_end() {
    let input = input().wants("app", "1.0.0").needs("source", "1.0.0", &["app"]).needs("base", "1.0.0", &["source"]);
    let done = input.done();
    assert_eq!(done[..3], ["install base", "install source", "install app"]);
    let circle = super::tests::input().wants("a", "1.0.0").needs("b", "1.0.0", &["a", "c"]).needs("c", "1.0.0", &["b"]);
    assert_eq!(circle.done().iter().filter(|step| step.starts_with("install")).count(), 3);
}

#[test]
fn what_others_need_is_wanted_only_while_they_are() {
    let input =
        input().needs("source", "1.0.0", &["app"]).locks("app", "1.0.0", LockReason::AskedFor).has("app", "0.9.0", &[]);
    let decision = decide(&input);
    assert_eq!((decision.changes.len(), decision.blocked.len()), (0, 0));
    let told: Vec<_> = decision.warnings.iter().filter_map(|warning| warning.plugin.clone()).collect();
    assert_eq!(told, [id("app"), id("source")]);
    assert_eq!(decision.unmanaged.len(), 1);
}

#[test]
fn what_is_not_wanted_goes_last_and_what_needs_others_goes_first() {
    let input = input()
        .wants("new", "1.0.0")
        .unwanted("app")
        .unwanted("source")
        .unwanted("never-there")
        .has("app", "1.0.0", &["source"])
        .has("source", "1.0.0", &[]);
    assert_eq!(input.done(), ["install new", "uninstall app", "uninstall source"]);
}

#[test]
fn nothing_goes_because_the_manifest_does_not_speak_of_it() {
    let input = input().has("stranger", "1.0.0", &[]);
    let decision = decide(&input);
    assert_eq!(decision.changes, []);
    assert_eq!(decision.unmanaged[0].version, Some(version("1.0.0")));
}

#[test]
fn what_something_needs_that_stays_does_not_go() {
    let one = input().unwanted("source").has("source", "1.0.0", &[]).has("app", "1.0.0", &["source"]);
    assert_eq!((one.done().len(), one.blocked()), (0, vec!["source: app needs it, and stays".to_owned()]));
    // What cannot go needs what it needs.
    let chain = input()
        .unwanted("base")
        .unwanted("source")
        .has("base", "1.0.0", &[])
        .has("source", "1.0.0", &["base"])
        .pins("source", Some("1.0.0"));
    assert_eq!((chain.done().len(), chain.blocked().len()), (0, 2));
    let coming = input().wants("app", "1.0.0").unwanted("source").has("source", "1.0.0", &[]);
    let mut coming = coming;
    coming.known.insert(id("app"), KnownVersion { needs: Some(ids(&["source"])), ..KnownVersion::default() });
    assert_eq!(coming.blocked(), ["source: app needs it, and stays"]);
}

#[test]
fn an_upgrade_that_no_longer_needs_a_plugin_lets_it_go() {
    let mut input = input().wants("app", "2.0.0").unwanted("source");
    input = input.has("app", "1.0.0", &["source"]).has("source", "1.0.0", &[]);
    input.known.insert(id("app"), KnownVersion { needs: Some(BTreeSet::new()), ..KnownVersion::default() });
    assert_eq!(input.done(), ["upgrade app", "uninstall source"]);
    let kept = input.pins("app", Some("1.0.0"));
    assert_eq!(kept.done().len(), 0, "it stays at the version that needs it: {:?}", kept.blocked());
}

#[test]
fn a_workspace_that_was_not_read_is_blocked_for_every_plugin() {
    let mut input = input().wants("app", "1.0.0").needs("source", "1.0.0", &["app"]).unwanted("old");
    input.snapshot = Err(Obstacle::new("the workspace gave no answer"));
    let rows: Vec<_> = ["app", "old", "source"].map(|name| format!("{name}: the workspace gave no answer")).into();
    assert_eq!(input.blocked(), rows);
    assert!(input.done().is_empty());
}

#[test]
fn a_lock_that_does_not_fit_the_manifest_blocks_what_it_is_about() {
    let mut input = input().wants("app", "1.0.0").wants("fine", "1.0.0").unwanted("gone");
    input = input.locks("gone", "1.0.0", LockReason::AskedFor);
    input.asked.insert(id("app"), Requested::Present(vec!["^2".parse().expect("a range")]));
    input.asked.insert(id("new"), Requested::Present(Vec::new()));
    input.asked.insert(id("torn"), Requested::Both);
    input.asked.insert(id("never"), Requested::Present(Vec::new()));
    input.missing.insert(id("never"), Obstacle::new("no version works"));
    let decision = decide(&input);
    let hints: Vec<_> = decision.blocked.iter().map(|row| row.hint.as_deref() == Some(LOCK_HINT)).collect();
    assert_eq!(hints, [true, true, true, true, false]);
    assert_eq!(
        input.blocked(),
        [
            "app: the manifest requests `^2`, but the lock has 1.0.0",
            "gone: the manifest removes it, but the lock still has 1.0.0",
            "never: the lock has no version of it: no version works",
            "new: the lock has no version of it",
            "torn: one entry of the manifest requests it, and another removes it",
        ]
    );
    assert_eq!(input.done(), ["install fine"]);
    input.locked = None;
    assert!(input.blocked().contains(&"fine: the lock has no entry for this workspace".to_owned()));
}

/// W31.
#[test]
fn a_version_that_does_not_work_with_this_grafana_is_not_installed_and_warned_of_where_it_is() {
    let mut input = input().wants("app", "1.0.0").declares("app", ">=12.4");
    input.locked.as_mut().expect("a lock").grafana = Some("12.4.0".parse().expect("a version"));
    let reason = "app: 1.0.0 needs Grafana `>=12.4`, and this is 12.1.0; the lock was made for 12.4.0";
    assert_eq!((input.done().len(), input.blocked()), (0, vec![reason.to_owned()]));
    let input = input.has("app", "1.0.0", &[]);
    assert_eq!((input.done(), input.blocked().len()), (vec!["unchanged app".to_owned()], 0));
    assert_eq!(decide(&input).warnings.len(), 1);
}

#[test]
fn what_needs_something_that_is_blocked_is_blocked_and_so_is_what_is_only_there_for_it() {
    let input = input()
        .wants("top", "1.0.0")
        .needs("middle", "1.0.0", &["top"])
        .needs("alone", "1.0.0", &["top"])
        .needs("shared", "1.0.0", &["other", "top"])
        .wants("other", "1.0.0")
        .declares("middle", ">=13");
    assert_eq!(input.done()[..2], ["install shared", "install other"]);
    assert_eq!(
        input.blocked(),
        [
            "alone: only top needs it, which is blocked",
            "middle: 1.0.0 needs Grafana `>=13`, and this is 12.1.0",
            "top: it needs middle, which is blocked",
        ]
    );
}

#[test]
fn what_must_not_be_used_is_blocked_but_may_stay() {
    let mut input = input().wants("app", "1.0.0");
    let stopped = Some(Obstacle::new("an alert stops it"));
    input.known.insert(id("app"), KnownVersion { stopped, ..KnownVersion::default() });
    assert_eq!(input.blocked(), ["app: an alert stops it"]);
    assert_eq!(input.has("app", "1.0.0", &[]).blocked().len(), 0);
}

#[test]
fn a_withdrawn_version_is_blocked_and_reported_where_it_is_installed() {
    let mut input = input().wants("app", "1.0.0");
    let withdrawn = Some(Obstacle::new("upstream withdrew it"));
    input.known.insert(id("app"), KnownVersion { withdrawn, ..KnownVersion::default() });
    assert_eq!(input.blocked(), ["app: upstream withdrew it"]);
    let input = input.has("app", "1.0.0", &[]);
    assert_eq!(input.blocked().len(), 0);
    assert_eq!(decide(&input).warnings[0].text, "upstream withdrew it");
}

#[test]
fn what_a_rollback_could_not_restore_is_neither_changed_nor_removed() {
    let mut input = input().wants("app", "2.0.0").unwanted("gone").has("app", "1.0.0", &[]).has("gone", "1.0.0", &[]);
    for plugin in ["app", "gone"] {
        let present = input.snapshot().plugins.get_mut(&id(plugin)).expect("there");
        present.no_return = Some(Obstacle::new("it is unsigned"));
    }
    assert_eq!(input.blocked(), ["app: it is unsigned", "gone: it is unsigned"]);
    assert_eq!(input.done().len(), 0);
}

#[test]
fn after_an_upgrade_of_grafana_a_locked_angular_plugin_is_blocked() {
    let mut input = input().wants("app", "1.0.0");
    input.snapshot().grafana = Some("12.0.0".parse().expect("a version"));
    input.known.insert(id("app"), KnownVersion { angular: true, ..KnownVersion::default() });
    let blocked = input.blocked();
    assert!(blocked[0].starts_with("app: 1.0.0 needs AngularJS, which Grafana 12"), "{blocked:?}");
    let warnings = decide(&input.has("app", "1.0.0", &[])).warnings;
    assert!(warnings[0].text.contains("AngularJS"), "{warnings:?}");
}

#[test]
fn a_lock_for_another_platform_brings_no_package() {
    let mut input = input().wants("app", "1.0.0");
    let packages = &mut input.locked.as_mut().expect("a lock").plugins.get_mut(&id("app")).expect("it").packages;
    *packages = std::mem::take(packages).into_values().map(|digest| (Platform::linux_amd64(), digest)).collect();
    assert_eq!(input.done(), ["install app"]);
    input.platform = "linux-arm64".parse().expect("a platform");
    assert_eq!(input.blocked(), ["app: the lock has no package of 1.0.0 for linux-arm64"]);
}

#[test]
fn the_quota_blocks_the_installations_that_go_over_it() {
    let mut input = input().wants("a", "1.0.0").wants("b", "1.0.0").wants("c", "1.0.0").needs("d", "1.0.0", &["c"]);
    input = input.has("one", "1.0.0", &[]).has("two", "1.0.0", &[]).has("brought", "1.0.0", &[]).pins("brought", None);
    input.quota = Some(4);
    assert_eq!(input.done(), ["install a", "install b"]);
    assert_eq!(
        input.blocked(),
        ["c: it needs d, which is blocked", "d: the workspace may have 4 plugins, and 2 are installed",]
    );
    let roomier = input.unwanted("one");
    assert_eq!(roomier.done(), ["install a", "install b", "uninstall one"], "{:?}", roomier.blocked());
    let mut wide = roomier;
    wide.quota = Some(5);
    assert_eq!(wide.blocked().len(), 0);
}

#[test]
fn what_grafana_preinstalls_in_a_version_is_not_changed_and_otherwise_comes_back() {
    let input = input()
        .wants("pinned", "2.0.0")
        .wants("same", "1.0.0")
        .unwanted("kept")
        .unwanted("loose")
        .has("pinned", "1.0.0", &[])
        .has("same", "1.0.0", &[])
        .has("kept", "1.0.0", &[])
        .has("loose", "1.0.0", &[])
        .pins("pinned", Some("1.0.0"))
        .pins("same", Some("1.0.0"))
        .pins("kept", Some("1.0.0"))
        .pins("loose", None);
    assert_eq!(input.done(), ["unchanged same", "uninstall loose"]);
    let decision = decide(&input);
    let rows: Vec<_> = decision.blocked.iter().map(|row| row.plugin.as_str()).collect();
    assert_eq!(rows, ["kept", "pinned"]);
    assert!(decision.blocked.iter().all(|row| row.hint.as_deref().is_some_and(|hint| hint.contains("`preinstall`"))));
    assert_eq!(decision.warnings.len(), 1);
    assert!(decision.warnings[0].text.contains("installs it again"));
}

#[test]
fn drift_is_what_neither_the_lock_nor_we_put_there() {
    let input = input().wants("app", "2.0.0").has("app", "1.5.0", &[]);
    assert!(!decide(&input).changes[0].drift, "nothing was known");
    let drifted = input.clone().knew("app", "1.0.0");
    let action = &decide(&drifted).changes[0];
    assert!(action.drift && action.reason.contains("1.5.0 is installed, but 1.0.0 was"), "{action:?}");
    assert!(!decide(&input.clone().knew("app", "1.5.0")).changes[0].drift, "it is as we left it");
    let there_already = super::tests::input().wants("app", "2.0.0").has("app", "2.0.0", &[]).knew("app", "1.0.0");
    assert!(!decide(&there_already).changes[0].drift, "it is as the lock says");
    let gone = super::tests::input().wants("app", "2.0.0").knew("app", "1.0.0");
    assert!(decide(&gone).changes[0].drift);
    let unwanted = super::tests::input().unwanted("app").has("app", "3.0.0", &[]).knew("app", "1.0.0");
    assert!(decide(&unwanted).changes[0].drift);
}

#[test]
fn servers_are_held_to_what_they_may_bring_along_and_what_needs_others_is_held_first() {
    let input = input()
        .wants("app", "2.0.0")
        .needs("source", "1.0.0", &["app"])
        .needs("base", "1.0.0", &["source"])
        .wants("other", "1.0.0")
        .has("source", "1.0.0", &[])
        .has("base", "1.0.0", &[])
        .has("other", "1.0.0", &[]);
    assert_eq!(
        input.done(),
        ["unchanged base", "unchanged other", "unchanged source", "install app", "hold source", "hold base"]
    );
    let hold = &decide(&input).changes[4];
    assert_eq!((hold.from.clone(), hold.kind), (hold.to.clone(), Change::Repin));
    assert!(hold.package.is_some() && hold.reason.starts_with("app is changed"), "{hold:?}");
    let mut unknown = input.clone();
    unknown.snapshot().grafana = None;
    assert_eq!(unknown.done(), input.done());
    let folder = PlannerInput { is_server: false, ..input.clone() };
    assert!(folder.done().iter().all(|step| !step.starts_with("hold")));
    let still = input.has("app", "2.0.0", &[]);
    assert!(still.done().iter().all(|step| step.starts_with("unchanged")), "{:?}", still.done());
}

#[test]
fn servers_before_12_get_dependents_first_and_are_held_only_to_what_is_not_changed() {
    let input = input()
        .wants("app", "2.0.0")
        .needs("source", "2.0.0", &["app", "other"])
        .needs("base", "1.0.0", &["source"])
        .wants("other", "2.0.0")
        .has("app", "1.0.0", &["source"])
        .has("source", "1.0.0", &[])
        .has("base", "1.0.0", &[]);
    for grafana in ["8.5.0", "10.4.0", "11.2.0", "11.6.0"] {
        let mut old = input.clone();
        old.snapshot().grafana = Some(grafana.parse().expect("a version"));
        assert_eq!(
            old.done(),
            ["upgrade app", "install other", "upgrade source", "unchanged base", "hold base"],
            "{grafana}"
        );
        let brought: Vec<_> = decide(&old).changes.iter().map(|action| action.brought_by.clone()).collect();
        assert_eq!(brought, [vec![], vec![], vec![id("app"), id("other")], vec![], vec![]]);
        let folder = PlannerInput { is_server: false, ..old.clone() };
        assert_eq!(folder.done(), ["unchanged base", "upgrade source", "upgrade app", "install other"]);
        assert!(decide(&folder).changes.iter().all(|action| action.brought_by.is_empty()));
    }
    let circle = super::tests::input().wants("a", "1.0.0").needs("b", "1.0.0", &["a", "c"]).needs("c", "1.0.0", &["b"]);
    let mut circle = circle;
    circle.snapshot().grafana = Some("10.4.0".parse().expect("a version"));
    assert_eq!(circle.done(), ["install a", "install b", "install c"]);
}
