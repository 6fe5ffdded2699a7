//! What a workspace holds is read wholly, cheaply, and with what may be missing said.

use plugport::exposed::{
    fleet::{Grafana, grafana::Reach, manifest::Service},
    model::{Credential, Secret},
    net::{Client, NetSettings, Site},
};
use serde_json::json;

use crate::support::fake_grafana::{
    FakeGrafana,
    catalog::FakeCatalog,
    fleet::{FakeWorkspace, WorkspaceSetup},
};

fn setup() -> WorkspaceSetup {
    FakeGrafana::workspace("prod", "12.1.0", FakeCatalog::new()).token("secret")
}

fn grafana(workspace: &FakeWorkspace) -> Grafana {
    let client = Client::new(NetSettings::default(), false, None).expect("a client");
    let credential = Credential::Bearer(Secret::new("secret".to_owned()));
    Grafana::new(Site::new(&client, &workspace.url(), Some(credential), false).expect("a site"), Service::Grafana)
}

fn asked(workspace: &FakeWorkspace, path: &str) -> usize {
    workspace.requests().iter().filter(|request| request.path.starts_with(path)).count()
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page_and_every_dashboard_has_a_marker() {
    let workspace = setup().start();
    for number in 0..1001 {
        workspace.dashboard(&format!("d{number}"), "One of many", "", json!({}));
    }
    let grafana = grafana(&workspace);
    let first = grafana.dashboards().await.expect("read");
    assert_eq!(first.len(), 1001);
    assert!(first.iter().all(|listed| listed.marker.is_some()));
    assert_eq!((asked(&workspace, "/api/search"), asked(&workspace, "/api/dashboards")), (3, 0));
    workspace.dashboard("d7", "Changed", "", json!({"panels": []}));
    workspace.remove_dashboard("d8");
    let second = grafana.dashboards().await.expect("read");
    let changed: Vec<_> = second.iter().filter(|listed| first.iter().all(|old| old.marker != listed.marker)).collect();
    assert_eq!(second.len(), 1000);
    assert_eq!(changed.iter().map(|listed| listed.info.uid.as_str()).collect::<Vec<_>>(), ["d7"]);
}

#[tokio::test]
async fn a_server_without_api_groups_gives_no_markers() {
    let workspace = setup().groups(false).start();
    workspace.folder("net", "Network");
    workspace.dashboard("d", "Links", "net", json!({"panels": [{"type": "acme-clock-panel"}]}));
    let grafana = grafana(&workspace);
    let listed = grafana.dashboards().await.expect("read");
    assert_eq!(listed[0].marker, None);
    let (info, document) = grafana.dashboard(&listed[0]).await.expect("read");
    assert_eq!(
        (info.folder_uid.as_deref(), info.created_by.as_deref(), info.version),
        (Some("net"), Some("admin"), Some(1))
    );
    assert_eq!(document["panels"][0]["type"], "acme-clock-panel");
}

#[tokio::test]
async fn folders_sources_panels_and_rules_are_read() {
    let workspace = setup().role("Viewer").start();
    workspace.folder("net", "Network");
    workspace.subfolder("wan", "WAN", "net");
    workspace.data_source("prom", "prometheus");
    workspace.library_panel("lib", "Clock", &json!({"type": "acme-clock-panel"}));
    workspace.alert_rule("down", "net", &["prom"]);
    let grafana = grafana(&workspace);
    let folders = grafana.folders().await.expect("read");
    assert_eq!(folders[1].parent_uid.as_deref(), Some("net"));
    assert_eq!(grafana.data_sources().await.expect("read").sources[0].plugin, "prometheus");
    assert_eq!(grafana.library_panels().await.expect("read")[0].model["type"], "acme-clock-panel");
    // The list for provisioning is refused to a viewer; the ruler's is not.
    assert_eq!(grafana.alert_rules().await.expect("read")[0].datasource_uids, ["prom"]);
}

#[tokio::test]
async fn a_token_that_reads_one_folder_is_known_to_see_a_part() {
    let workspace = setup().reads_only(&["net"]).hides_data_sources().start();
    workspace.dashboard("seen", "Seen", "net", json!({}));
    workspace.dashboard("hidden", "Hidden", "board", json!({}));
    workspace.data_source("prom", "prometheus");
    let grafana = grafana(&workspace);
    assert_eq!(grafana.dashboards().await.expect("read").len(), 1);
    let rights = grafana.rights().await.expect("read");
    assert!(matches!(&rights.dashboards, Reach::Part(reason) if reason.contains("folders:uid:net")), "{rights:?}");
    assert!(matches!(rights.data_sources, Reach::Part(_)));
    let sources = grafana.data_sources().await.expect("read");
    assert!(sources.refused.is_some());
    assert_eq!(sources.sources[0].name, "prom");
}

#[tokio::test]
async fn rights_that_are_not_told_are_unknown_unless_the_role_is_admin() {
    for (role, all) in [("Admin", true), ("Viewer", false)] {
        let workspace = setup().permissions_route(false).role(role).start();
        let rights = grafana(&workspace).rights().await.expect("read");
        assert_eq!(rights.dashboards == Reach::All, all, "{role}");
    }
}

#[tokio::test]
async fn another_organisation_is_asked_by_header_and_else_by_switching_there_and_back() {
    for heeds in [true, false] {
        let workspace = setup().heeds_organisation_header(heeds).start();
        workspace.organisation(2, "Second", "theirs", json!({}));
        let grafana = grafana(&workspace);
        let organisations = grafana.organisations().await.expect("read").readable;
        assert_eq!(organisations.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2]);
        let entered = grafana.enter(&organisations[1]).await.expect("entered");
        let listed = entered.grafana.dashboards().await.expect("read");
        assert_eq!(listed[0].info.uid, "theirs");
        assert!(listed[0].marker.is_some());
        assert_eq!((entered.left, workspace.using()), if heeds { (None, 1) } else { (Some(1), 2) });
        if let Some(left) = entered.left {
            grafana.switch(left).await.expect("back");
        }
        assert_eq!(workspace.using(), 1);
    }
}
