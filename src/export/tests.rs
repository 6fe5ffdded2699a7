use super::*;
use crate::{
    lockfile::{Lock, LockReason, LockedPlugin, LockedWorkspace},
    model::Md5Digest,
};

fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

fn plugin(version: &str, reason: LockReason, digest: PackageDigest) -> LockedPlugin {
    let packages = BTreeMap::from([(Platform::any(), digest)]);
    LockedPlugin { version: version.parse().expect("a version"), reason, signer: None, packages }
}

fn sha256(byte: u8) -> PackageDigest {
    PackageDigest::Sha256(Sha256Digest::from_bytes([byte; 32]))
}

fn workspace(plugins: impl IntoIterator<Item = (&'static str, LockedPlugin)>) -> LockedWorkspace {
    LockedWorkspace {
        grafana: Some("12.4.0".parse().expect("a version")),
        platform: Platform::linux_amd64(),
        plugins: plugins.into_iter().map(|(name, plugin)| (id(name), plugin)).collect(),
    }
}

/// Selects all of these workspaces, which are named `a`, `b` and so on.
fn selected(workspaces: impl IntoIterator<Item = LockedWorkspace>) -> Result<ExportSet, ExportError> {
    let names = ["a", "b", "c"].map(|name| name.parse::<WorkspaceName>().expect("a name"));
    let lock = Lock { catalog: None, workspaces: names.into_iter().zip(workspaces).collect() };
    let exported = lock.workspaces.keys().map(|name| ExportedWorkspace { name: name.clone(), host: Host::Own });
    select(&lock, exported.collect(), None)
}

fn needed_by(plugins: &[&str]) -> LockReason {
    LockReason::NeededBy(plugins.iter().map(|name| id(name)).collect())
}

#[test]
fn a_plugin_follows_those_that_it_needs() {
    let asked_for = || plugin("1.0.0", LockReason::AskedFor, sha256(1));
    let set = selected([workspace([
        ("acme-a-app", asked_for()),
        ("acme-b-panel", asked_for()),
        ("acme-c-datasource", plugin("1.0.0", needed_by(&["acme-a-app", "acme-d-panel"]), sha256(1))),
        ("acme-d-panel", plugin("1.0.0", needed_by(&["acme-a-app"]), sha256(1))),
    ])]);
    let set = set.expect("a set");
    let order: Vec<_> = set.plugins.iter().map(|plugin| plugin.id.as_str()).collect();
    assert_eq!(order, ["acme-b-panel", "acme-c-datasource", "acme-d-panel", "acme-a-app"]);
}

#[test]
fn plugins_that_need_each_other_are_each_exported_once() {
    let set = selected([workspace([
        ("acme-a-app", plugin("1.0.0", needed_by(&["acme-b-app"]), sha256(1))),
        ("acme-b-app", plugin("1.0.0", needed_by(&["acme-a-app"]), sha256(1))),
    ])]);
    assert_eq!(set.expect("a set").plugins.len(), 2);
}

#[test]
fn the_better_of_two_digests_counts_and_two_that_differ_are_refused() {
    let with = |digest| workspace([("acme-a-app", plugin("1.0.0", LockReason::AskedFor, digest))]);
    let md5 = PackageDigest::Md5(Md5Digest::from_bytes([7; 16]));
    for order in [[md5, sha256(1)], [sha256(1), md5]] {
        let set = selected(order.map(with)).expect("a set");
        assert_eq!(set.plugins[0].packages[&Platform::any()], sha256(1));
    }
    let error = selected([with(sha256(1)), with(sha256(2))]).expect_err("refused");
    assert_eq!(error.to_string(), "a and b have different digests of acme-a-app (any)");
}

#[test]
fn versions_of_grafana_that_get_the_same_file_need_not_be_the_same() {
    let on = |grafana: &str| {
        let mut one = workspace([("acme-a-app", plugin("1.0.0", LockReason::AskedFor, sha256(1)))]);
        one.grafana = Some(grafana.parse().expect("a version"));
        one
    };
    assert_eq!(selected([on("12.4.0"), on("12.1.3")]).expect("a set").grafana.as_str(), "12.1.3");
    assert_eq!(selected([on("13.1.0"), on("12.1.3")]).expect("a set").grafana.as_str(), "12.1.3");
    assert!(matches!(selected([on("12.1.0"), on("12.0.0")]), Err(ExportError::GrafanaDiffers(_))));
    let mut core = on("13.1.0");
    core.plugins.insert(id("loki"), plugin("13.0.0", LockReason::Adopted, sha256(1)));
    assert!(matches!(selected([core, on("12.1.3")]), Err(ExportError::GrafanaDiffers(_))));
}

#[test]
fn no_line_of_a_comment_is_more_than_a_comment() {
    let set = selected([workspace([("acme-a-app", plugin("1.0.0", LockReason::AskedFor, sha256(1)))])]).expect("a set");
    let text = render(&set, ExportTool::Helm, PackageSource::Repository, "plugport export helm --on 'a=b\nevil: 1'");
    assert!(
        text.expect("a text").starts_with("# Written by `plugport export helm --on 'a=bevil: 1'`; do not edit it.\n# ")
    );
}

#[test]
fn an_image_is_for_linux_and_has_every_package() {
    let mut folder = workspace([("acme-a-app", plugin("1.0.0", LockReason::AskedFor, sha256(1)))]);
    folder.platform = "windows-amd64".parse().expect("a platform");
    let render = |set: &ExportSet| render(set, ExportTool::Docker, PackageSource::Repository, "");
    let error = render(&selected([folder.clone()]).expect("a set")).expect_err("refused");
    assert_eq!(error.to_string(), "there is no container image of Grafana for windows-amd64");
    folder.platform = Platform::linux_amd64();
    let plugin = folder.plugins.get_mut(&id("acme-a-app")).expect("it is there");
    plugin.packages = BTreeMap::from([("linux-arm64".parse().expect("a platform"), sha256(1))]);
    let error = render(&selected([folder]).expect("a set")).expect_err("refused");
    assert_eq!(error.to_string(), "the lock has no digest of acme-a-app 1.0.0 for linux-amd64");
}
