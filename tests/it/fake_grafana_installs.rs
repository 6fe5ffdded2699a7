//! Installs and uninstalls on each face of the fake Grafana: disk and registry, updates, dependencies, nested plugins.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fake_grafana::{TOKEN, get, post, send, wait_until};
use crate::fake_grafana_faces::{CLOCK, SEA, TIDES, install, plugin, said, workspace};
use crate::support::fake_grafana::face::Face;
use crate::support::fake_grafana::fleet::FakeWorkspace;

/// Faces that install over HTTP.
fn installers() -> impl Iterator<Item = Face> {
    Face::ALL.into_iter().filter(|face| *face != Face::V7_5)
}

/// Returns disk and registry.
fn both(workspace: &FakeWorkspace, id: &str) -> [String; 2] {
    let version = |list: &BTreeMap<String, String>| list.get(id).cloned().unwrap_or_else(|| "-".to_owned());
    let shown = get(workspace, &format!("/public/plugins/{id}/plugin.json"));
    let [disk, loaded] = [version(&workspace.on_disk()), version(&workspace.installed())];
    if shown.status() == 200 {
        assert_eq!(shown.json()["info"]["version"], disk.as_str());
    }
    [disk, loaded]
}

#[test]
fn an_update_removes_first_and_passes_the_status_of_the_download_on() {
    for face in installers() {
        for (status, said_of_it) in
            [(404, "404 gone"), (403, "403 gone"), (429, "429 gone"), (502, "500 Failed to install plugin")]
        {
            let workspace = workspace(face);
            workspace.preinstalled(CLOCK, "1.0.0");
            workspace.refuse_download(CLOCK, "2.0.0", status, "gone");
            assert_eq!(said(&install(&workspace, CLOCK, "2.0.0")), said_of_it, "{face:?}");
            assert!(workspace.installed().is_empty() && workspace.on_disk().is_empty(), "{face:?}");
        }
        let workspace = workspace(face);
        workspace.preinstalled(CLOCK, "1.0.0");
        assert_eq!(install(&workspace, CLOCK, "9.9.9").status(), 404, "{face:?}");
        assert_eq!(said(&install(&workspace, CLOCK, "1.0.0")), "409 Plugin already installed");
        assert_eq!(workspace.installed()[CLOCK], "1.0.0", "{face:?}: it was never begun");
    }
}

#[test]
fn a_digest_is_compared_at_a_first_install_alone() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.catalog(|catalog| catalog.replace_bytes(CLOCK, "2.0.0", "other bytes"));
        let wanted = match face {
            Face::V8_5 | Face::V9_4 | Face::Amazon => "500 Failed to install plugin",
            Face::V10_4 | Face::V11_2 => "500 plugin.checksumMismatch",
            _ => "422 plugin.checksumMismatch",
        };
        assert_eq!(said(&install(&workspace, CLOCK, "2.0.0")), wanted, "{face:?}");
        assert!(workspace.installed().is_empty());
        workspace.preinstalled(CLOCK, "1.0.0");
        assert_eq!(install(&workspace, CLOCK, "2.0.0").status(), 200, "{face:?}");
        assert_eq!(workspace.installed()[CLOCK], "2.0.0");
    }
}

#[test]
fn a_dependency_over_another_version_is_what_the_version_makes_of_it() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.preinstalled(CLOCK, "2.0.0");
        assert_eq!(install(&workspace, SEA, "1.0.0").status(), 200, "{face:?}");
        let wanted = match face {
            Face::V11_2 => ["1.0.0", "1.0.0"],
            Face::V12_1 | Face::V13 => ["2.1.0", "2.1.0"],
            _ => ["1.0.0", "2.0.0"],
        };
        assert_eq!(both(&workspace, CLOCK), wanted, "{face:?}");
        assert_eq!(both(&workspace, SEA), ["1.0.0", "1.0.0"], "{face:?}");
        if wanted[0] != wanted[1] {
            // Installed once more in the wanted version it is right in both.
            assert_eq!(install(&workspace, CLOCK, "2.1.0").status(), 200, "{face:?}");
            assert_eq!(both(&workspace, CLOCK), ["2.1.0", "2.1.0"], "{face:?}");
        }
        workspace.restarts();
        let [disk, loaded] = both(&workspace, CLOCK);
        assert_eq!(disk, loaded, "{face:?}: a restart loads what is on disk");
    }
}

#[test]
fn a_dependency_in_the_same_version_fails_its_parent_on_11_2_0_alone() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.catalog(|catalog| catalog.add(plugin(SEA, "2.0.0").depends_on(CLOCK, "2.1.0")));
        workspace.preinstalled(CLOCK, "2.1.0");
        let found = said(&install(&workspace, SEA, "2.0.0"));
        if face == Face::V11_2 {
            assert_eq!(found, "409 Plugin already installed");
            assert_eq!(both(&workspace, SEA), ["2.0.0", "-"], "extracted, not loaded");
        } else {
            assert_eq!(
                (found.as_str(), both(&workspace, SEA)),
                ("200", ["2.0.0", "2.0.0"].map(str::to_owned)),
                "{face:?}"
            );
        }
        assert_eq!(both(&workspace, CLOCK), ["2.1.0", "2.1.0"], "{face:?}");
    }
}

#[test]
fn dependencies_go_one_level_deep_or_all_the_way_and_one_that_fails_leaves_its_parent_extracted() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.catalog(|catalog| {
            catalog.add(plugin("acme-a-app", "1.0.0").depends_on("acme-b-app", "1.0.0"));
            catalog.add(plugin("acme-b-app", "1.0.0").depends_on("acme-c-panel", "1.0.0"));
            catalog.add(plugin("acme-c-panel", "1.0.0"));
            catalog.add(
                plugin("acme-lost-app", "1.0.0").depends_on(CLOCK, "2.1.0").depends_on("acme-nope-panel", "1.0.0"),
            );
        });
        assert_eq!(install(&workspace, "acme-a-app", "1.0.0").status(), 200, "{face:?}");
        let deep = matches!(face, Face::V11_2 | Face::V12_1 | Face::V13);
        assert_eq!(workspace.installed().contains_key("acme-c-panel"), deep, "{face:?}");
        assert_eq!(install(&workspace, "acme-lost-app", "1.0.0").status(), 404, "{face:?}");
        assert_eq!(both(&workspace, "acme-lost-app"), ["1.0.0", "-"], "{face:?}");
        // Where each is loaded as it comes, the one before the failure stays.
        assert_eq!(both(&workspace, CLOCK), ["2.1.0", if deep { "2.1.0" } else { "-" }], "{face:?}");
        workspace.catalog(|catalog| catalog.add(plugin("acme-text-app", "1.0.0").depends_on("text", "*")));
        let core = said(&install(&workspace, "acme-text-app", "1.0.0"));
        let wanted = if face == Face::V13 { "403 Cannot install or change a Core plugin" } else { "200" };
        assert_eq!(core, wanted, "{face:?}");
    }
}

#[test]
fn a_second_install_at_once_runs_too_or_answers_at_once_without_doing_anything() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.install_delay(600);
        let target = format!("/api/plugins/{CLOCK}/install");
        let headers = [TOKEN, "Content-Type: application/json"];
        let first = send(&workspace, "POST", &target, &headers, r#"{"version":"1.0.0"}"#);
        wait_until("the first is under way", || workspace.max_concurrent_installs() == 1);
        let second = install(&workspace, CLOCK, "2.0.0");
        assert_eq!((second.status(), second.body.len()), (200, 0), "{face:?}");
        wait_until("the first has ended", || workspace.installed().contains_key(CLOCK));
        let guarded = matches!(face, Face::V11_2 | Face::V12_1 | Face::V13);
        let wanted = if guarded { ["1.0.0", "1.0.0"] } else { ["2.0.0", "1.0.0"] };
        assert_eq!(both(&workspace, CLOCK), wanted, "{face:?}");
        drop(first);
    }
}

#[test]
fn plugins_of_an_app_stay_registered_in_their_old_version() {
    for face in installers() {
        let workspace = workspace(face);
        let child = |version: &str| plugin("acme-inner-datasource", version).backend("gpx_inner");
        workspace.catalog(|catalog| {
            catalog.add(plugin("acme-outer-app", "1.0.0").ships(child("1.0.0")));
            catalog.add(plugin("acme-outer-app", "2.0.0").ships(child("2.0.0")));
        });
        workspace.preinstalled("acme-outer-app", "1.0.0");
        workspace.ill_version("acme-inner-datasource", "2.0.0", "broken");
        assert_eq!(install(&workspace, "acme-outer-app", "2.0.0").status(), 200, "{face:?}");
        let health = "/api/plugins/acme-inner-datasource/health";
        let settings = get(&workspace, "/api/plugins/acme-inner-datasource/settings").json();
        assert_eq!((settings["info"]["version"].as_str(), get(&workspace, health).status()), (Some("1.0.0"), 200));
        let public = || get(&workspace, "/public/plugins/acme-inner-datasource/plugin.json");
        if face != Face::Amazon {
            assert_eq!(public().json()["info"]["version"], "2.0.0", "{face:?}: the files are the new ones");
        }
        let ids = |query: &str| {
            let list = get(&workspace, &format!("/api/plugins?{query}")).json();
            list.as_array().into_iter().flatten().map(|plugin| plugin["id"].to_string()).collect::<String>()
        };
        assert_eq!(ids("core=0"), r#""acme-outer-app""acme-inner-datasource""#, "{face:?}");
        assert_eq!(ids("core=0&embedded=0"), r#""acme-outer-app""#, "{face:?}");
        assert_eq!(post(&workspace, "/api/plugins/acme-outer-app/uninstall", "").status(), 200, "{face:?}");
        assert_eq!(ids("core=0"), r#""acme-inner-datasource""#, "{face:?}: until a restart");
        assert_ne!(public().status(), 200, "{face:?}");
        workspace.restarts();
        assert_eq!(ids("core=0"), "", "{face:?}");
    }
}

#[test]
fn files_can_stay_be_gone_or_not_be_writable() {
    for face in installers() {
        let workspace = workspace(face);
        workspace.preinstalled(CLOCK, "1.0.0");
        workspace.read_only_folder(true);
        assert_eq!(said(&install(&workspace, CLOCK, "2.0.0")), "500 Failed to install plugin", "{face:?}");
        assert_eq!(both(&workspace, CLOCK), ["1.0.0", "-"], "{face:?}: unloaded first, the files stay");
        workspace.read_only_folder(false);
        workspace.restarts();
        workspace.deletes_folder(CLOCK);
        assert_eq!(both(&workspace, CLOCK), ["-", "1.0.0"], "{face:?}");
        assert_ne!(get(&workspace, "/public/plugins/acme-clock-panel/plugin.json").status(), 200, "{face:?}");
        workspace.reject_at_load(TIDES, "signatureInvalid");
        assert_eq!(install(&workspace, TIDES, "1.0.0").status(), 200, "{face:?}");
        assert_eq!(both(&workspace, TIDES), ["1.0.0", "-"], "{face:?}");
        let uninstall = post(&workspace, "/api/plugins/acme-tides-datasource/uninstall", "");
        assert_eq!(said(&uninstall), "404 Plugin not installed", "{face:?}");
    }
    let workspace = workspace(Face::V12_1);
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.uninstall_leaves_files();
    assert_eq!(post(&workspace, "/api/plugins/acme-clock-panel/uninstall", "").status(), 200);
    assert_eq!(both(&workspace, CLOCK), ["1.0.0", "-"]);
}

#[test]
fn without_an_install_route_nothing_is_installed() {
    let workspace = workspace(Face::V7_5);
    workspace.preinstalled(CLOCK, "1.0.0");
    let refused = install(&workspace, CLOCK, "2.0.0");
    assert_eq!((refused.status(), refused.json()), (404, json!({ "message": "Not found" })));
    assert_eq!(post(&workspace, "/api/plugins/acme-clock-panel/uninstall", "").status(), 404);
    assert_eq!(workspace.installed()[CLOCK], "1.0.0");
}

#[test]
fn an_upgraded_server_takes_another_face_and_loads_what_is_on_disk() {
    let workspace = workspace(Face::V9_4);
    workspace.preinstalled(CLOCK, "2.0.0");
    assert_eq!(install(&workspace, SEA, "1.0.0").status(), 200);
    assert_eq!(both(&workspace, CLOCK), ["1.0.0", "2.0.0"]);
    workspace.upgrade_to(Face::V12_1);
    assert_eq!(both(&workspace, CLOCK), ["1.0.0", "1.0.0"]);
    assert_eq!(said(&get(&workspace, "/api/user")), "200 service-account:7");
}
