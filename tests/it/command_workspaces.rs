//! `install`, `uninstall`, `list`, `outdated` and `workspace` on workspaces, end to end.

use serde_json::json;

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

const CLOCK: &str = "acme-clock-panel";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "2.0.0").grafana_dependency(">=12.0.0"))
        .publish(FakePlugin::new("acme-sea-app", "3.0.0").depends_on(CLOCK, "^1.0.0"))
}

#[test]
fn every_workspace_gets_what_works_there_and_sees_its_own_token_only() {
    let (world, first) = World::new(catalog()).workspace("first", "12.1.0");
    let (world, second) = world.workspace("second", "11.0.0");
    for workspace in [&first, &second] {
        workspace.install_delay(50);
    }
    let document = world.json(0, &["install", CLOCK, "--on", "all"]);
    assert_eq!(outcomes(&document), ["first acme-clock-panel changed", "second acme-clock-panel changed"]);
    assert_eq!((first.installed()[CLOCK].as_str(), second.installed()[CLOCK].as_str()), ("2.0.0", "1.0.0"));
    for workspace in [&first, &second] {
        assert_eq!((workspace.foreign_tokens(), workspace.max_concurrent_installs()), (0, 1));
    }
    let again = world.json(0, &["install", CLOCK, "--on", "all"]);
    assert_eq!(again["summary"]["unchanged"], 2);
}

/// Grafana brings the newest of what a plugin needs, whatever was installed a moment ago.
#[test]
fn a_dependency_keeps_the_version_that_was_chosen() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    let document = world.json(0, &["install", "acme-sea-app", "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel changed", "prod acme-sea-app changed"]);
    assert_eq!(document["results"][0]["needed_by"], "acme-sea-app");
    let warning = "prod runs Grafana 12.1.0, which will use acme-clock-panel 2.0.0 instead of the chosen 1.0.0; 1.0.0 is \
                   installed again after that";
    assert_eq!(
        (&document["results"][0]["warning"], &document["results"][1]["warning"]),
        (&json!(warning), &json!(null))
    );
    assert_eq!(workspace.installed(), [(CLOCK.into(), "1.0.0".into()), ("acme-sea-app".into(), "3.0.0".into())].into());
    assert_eq!(workspace.max_concurrent_installs(), 1);
}

#[test]
fn a_dry_run_asks_for_no_change() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    let document = world.json(0, &["install", CLOCK, "--on", "prod", "--dry-run"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel planned"]);
    workspace.preinstalled(CLOCK, "1.0.0");
    world.run(&["uninstall", CLOCK, "--on", "prod", "--dry-run"]).expect_code(0).expect_stdout("planned");
    assert!(workspace.requests().iter().all(|request| request.method == "GET"));
    assert_eq!(world.downloads(), 0);
}

#[test]
fn what_is_needed_stays_on_a_workspace_too() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.0.0");
    world.run(&["install", "acme-sea-app", "--on", "prod"]).expect_code(0);
    world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("acme-sea-app");
    world.run(&["uninstall", CLOCK, "--force", "--on", "prod"]).expect_code(0);
    assert_eq!(workspace.installed().len(), 1);
    let document = world.json(0, &["uninstall", CLOCK, "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel unchanged"]);
}

/// A token with few rights sees an incomplete list.
#[test]
fn a_plugin_that_is_not_listed_is_asked_for_before_it_is_called_absent() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.fault(Fault::on("GET", "/api/plugins").body("[]"));
    world.run(&["uninstall", CLOCK, "--on", "prod", "--dry-run"]).expect_code(0).expect_stdout("planned");
    let document = world.json(0, &["uninstall", CLOCK, "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel changed"]);
    assert!(workspace.installed().is_empty());
}

#[test]
fn the_fleet_is_listed_and_outdated_plugins_are_found() {
    let (world, first) = World::new(catalog()).workspace("first", "12.1.0");
    let (world, second) = world.workspace("second", "11.0.0");
    first.preinstalled(CLOCK, "1.0.0");
    second.preinstalled(CLOCK, "1.0.0");
    let document = world.json(0, &["list"]);
    assert_eq!(document["workspaces"][0]["grafana"], "12.1.0");
    assert_eq!(document["workspaces"][1]["plugins"][0]["id"], CLOCK);
    let document = world.json(3, &["outdated", "--exit-code"]);
    assert_eq!(document["workspaces"][0]["plugins"][0]["newest"], "2.0.0");
    assert_eq!(document["workspaces"][1]["plugins"], json!([]));
}

#[test]
fn a_missing_secret_fails_its_own_workspace_only() {
    let (world, workspace) = World::new(catalog()).workspace("good", "12.1.0");
    let world = world.names("bad", "http://127.0.0.1:9").env("TOKEN_BAD", "");
    let document = world.json(8, &["install", CLOCK, "--on", "all"]);
    assert_eq!(outcomes(&document), ["bad acme-clock-panel failed", "good acme-clock-panel changed"]);
    assert!(document["results"][0]["error"].as_str().is_some_and(|error| error.contains("TOKEN_BAD")), "{document}");
    assert_eq!(workspace.installed().len(), 1);
    world.run(&["list"]).expect_code(8).expect_stderr("TOKEN_BAD").expect_stdout("good");
    world.run(&["outdated"]).expect_code(8).expect_stderr("TOKEN_BAD");
    world.run(&["workspace", "ping"]).expect_code(8).expect_stderr("TOKEN_BAD").expect_stdout("good");
    world.run(&["uninstall", CLOCK, "--on", "all"]).expect_code(8);
    assert!(workspace.installed().is_empty());
    world.run(&["install", CLOCK, "--on", "bad"]).expect_code(2).expect_stderr("TOKEN_BAD");
}

#[test]
fn a_workspace_that_is_down_stops_no_other() {
    let (world, workspace) = World::new(catalog()).workspace("up", "12.1.0");
    let world = world.names("down", "http://127.0.0.1:9");
    let document = world.json(8, &["install", CLOCK, "--on", "all"]);
    assert_eq!(outcomes(&document), ["down acme-clock-panel failed", "up acme-clock-panel changed"]);
    assert_eq!(workspace.installed().len(), 1);
    world.run(&["install", CLOCK, "--on", "down"]).expect_code(5);
    world.run(&["list", "--on", "down"]).expect_code(5);
    world.run(&["workspace", "ping", "down"]).expect_code(5);
}

#[cfg(not(feature = "aws"))]
#[test]
fn what_asks_aws_says_that_it_is_left_out() {
    let world = World::new(catalog()).manifest(
        "[[workspace]]\nname = \"prod\"\nkind = \"amg\"\ntoken = { aws-service-account = \"7\" }\n\
         url = \"https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com\"\n",
    );
    for arguments in [&["workspace", "discover"][..], &["list"]] {
        let output = world.run(arguments).expect_code(2).expect_stderr("is built without the feature `aws`");
        output.expect_stderr("hint: released programs have it");
    }
}

#[test]
fn workspaces_are_listed_without_a_question_and_pinged_with_one() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    let document = world.json(0, &["workspace", "list"]);
    assert_eq!(
        (&document["workspaces"][0]["name"], &document["workspaces"][0]["kind"]),
        (&json!("prod"), &json!("grafana"))
    );
    assert!(workspace.requests().is_empty());
    let document = world.json(0, &["workspace", "ping"]);
    let prod = &document["workspaces"][0];
    assert_eq!(
        (&prod["reachable"], &prod["grafana"], &prod["may_install"]),
        (&json!(true), &json!("12.1.0"), &json!(true))
    );
    assert_eq!(workspace.foreign_tokens(), 0);
}

#[test]
fn basic_auth_works_and_a_wrong_password_does_not() {
    let world = World::new(catalog());
    let office =
        FakeGrafana::workspace("office", "12.1.0", world.upstream.shared()).basic("admin", "s3cr3t-pass").start();
    let world = world
        .manifest(&format!(
            "[[workspace]]\nname = \"office\"\nkind = \"grafana\"\nurl = \"{}\"\nuser = \"admin\"\n\
             password = {{ env = \"OFFICE_PASSWORD\" }}\n",
            office.url()
        ))
        .env("OFFICE_PASSWORD", "s3cr3t-pass");
    world.run(&["install", CLOCK, "--on", "office"]).expect_code(0);
    assert_eq!(office.installed().len(), 1);
    let world = world.env("OFFICE_PASSWORD", "wr0ng-pass");
    let output = world.run(&["-vv", "uninstall", CLOCK, "--on", "office"]);
    assert_ne!(output.code, 0);
    assert!(!output.stderr.contains("wr0ng") && !output.stdout.contains("wr0ng"));
    assert_eq!(office.installed().len(), 1);
}

#[test]
fn unknown_names_are_answered_with_those_there_are() {
    let (world, _workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    world.run(&["install", CLOCK, "--on", "prdo"]).expect_code(2).expect_stderr("prod");
    world.run(&["install", "acme-clok-panel", "--on", "prod"]).expect_code(1).expect_stderr(CLOCK);
    world.run(&["install", "acme-clock-panel@7", "--on", "prod"]).expect_code(1).expect_stderr("2.0.0");
}

#[test]
fn a_dry_run_tells_where_the_server_would_do_something_else() {
    let (world, _workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    let output = world.run(&["install", "acme-sea-app", "--on", "prod", "--dry-run"]).expect_code(0);
    output.expect_stderr(
        "note: prod: prod runs Grafana 12.1.0, which will use acme-clock-panel 2.0.0 instead of the chosen 1.0.0",
    );
    let (world, _workspace) = World::new(catalog()).workspace("calm", "11.6.0");
    let calm = world.run(&["install", "acme-sea-app", "--on", "calm", "--dry-run"]).expect_code(0);
    assert!(!calm.stderr.contains("runs Grafana"), "{}", calm.stderr);
}

/// What is there and stays has no result of its own: then it is told of what needs it.
#[test]
fn a_server_that_would_update_what_stays_is_announced_too() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    let document = world.json(0, &["install", "acme-sea-app", "--on", "prod", "--dry-run"]);
    assert_eq!(outcomes(&document), ["prod acme-sea-app planned"]);
    let warning = "prod runs Grafana 12.1.0, which will use acme-clock-panel 2.0.0 instead of the chosen 1.0.0";
    assert_eq!(document["results"][0]["warning"], warning);
}

#[test]
fn a_plugin_that_needs_a_core_plugin_is_announced_to_fail_since_13() {
    let catalog = || FakeCatalog::new().publish(FakePlugin::new("acme-text-app", "1.0.0").depends_on("text", ""));
    let (world, _workspace) = World::new(catalog()).workspace("prod", "13.0.0");
    let output = world.run(&["install", "acme-text-app", "--on", "prod"]).expect_code(1);
    output
        .expect_stderr("note: prod runs Grafana 13.0.0, which includes text and refuses to install acme-text-app")
        .expect_stderr("failed: acme-text-app on prod: ")
        .expect_stderr("Cannot install or change a Core plugin");
    let (world, _workspace) = World::new(catalog()).workspace("prod", "12.4.0");
    assert_eq!(world.run(&["install", "acme-text-app", "--on", "prod"]).expect_code(0).stderr, "");
}

/// Before Grafana 12 a plugin comes before what it needs, which the server brings along (`grafana-by-version`, section 2).
#[test]
fn an_old_server_brings_what_is_needed_with_what_needs_it() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    let document = world.json(0, &["install", "acme-sea-app", "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-sea-app changed", "prod acme-clock-panel changed"]);
    assert_eq!(
        (&document["results"][1]["needed_by"], &document["results"][1]["to"]),
        (&json!("acme-sea-app"), &json!("1.0.0"))
    );
    assert!(
        document["results"].as_array().is_some_and(|all| all.iter().all(|one| one["warning"].is_null())),
        "{document}"
    );
    assert_eq!(workspace.installed(), [(CLOCK.into(), "1.0.0".into()), ("acme-sea-app".into(), "3.0.0".into())].into());
    let asked: Vec<_> = workspace.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[test]
fn what_an_old_server_brings_in_another_version_is_set_right_afterwards() {
    let catalog = catalog().publish(FakePlugin::new("acme-any-app", "1.0.0").depends_on(CLOCK, ""));
    let (world, workspace) = World::new(catalog).workspace("prod", "11.2.0");
    let document = world.json(0, &["install", "acme-any-app", "--on", "prod"]);
    let warning = document["results"][1]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("will use acme-clock-panel 2.0.0 instead of the chosen 1.0.0"), "{document}");
    assert_eq!(workspace.installed()[CLOCK], "1.0.0");
}

/// What a server brings along is checked before it is asked for anything.
#[test]
fn what_comes_along_and_is_refused_here_stops_what_would_bring_it() {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0").unsigned())
        .publish(FakePlugin::new("acme-sea-app", "3.0.0").depends_on(CLOCK, "^1.0.0"));
    let (world, workspace) = World::new(catalog).workspace("prod", "11.2.0");
    let document = world.json(4, &["install", "acme-sea-app", "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel failed", "prod acme-sea-app skipped"]);
    assert!(workspace.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn an_old_server_that_will_refuse_is_announced_before_it_is_asked() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    let told = "prod runs Grafana 11.2.0, which refuses to install acme-sea-app because its dependency acme-clock-panel \
                1.0.0 is installed already";
    let dry = world.run(&["install", "acme-sea-app", "--on", "prod", "--dry-run"]).expect_code(0);
    dry.expect_stderr(&format!("note: prod: {told}"));
    let output = world.run(&["install", "acme-sea-app", "--on", "prod"]).expect_code(1);
    assert!(output.stderr.starts_with(&format!("note: {told}\n")), "{}", output.stderr);
    output.expect_stderr("failed: acme-sea-app on prod: ").expect_stderr("Plugin already installed");
    assert_eq!(workspace.installed()[CLOCK], "1.0.0");
    workspace.preinstalled("acme-sea-app", "2.0.0");
    let dry = world.run(&["install", "acme-sea-app", "--on", "prod", "--dry-run"]).expect_code(0);
    dry.expect_stderr("is installed already; the installed version may be removed by that");
}

#[test]
fn a_list_that_may_lack_plugins_is_not_called_complete() {
    let world = World::new(catalog());
    let viewer = FakeGrafana::workspace("prod", "12.1.0", world.upstream.shared())
        .token(&World::token("prod"))
        .role("Viewer")
        .may_install(false)
        .start();
    viewer.preinstalled(CLOCK, "1.0.0");
    let world = world.names("prod", &viewer.url());
    let document = world.json(8, &["list"]);
    let prod = &document["workspaces"][0];
    assert_eq!((&prod["plugins"], &prod["complete"]), (&json!([]), &json!(false)));
    assert!(prod["gaps"][0].as_str().is_some_and(|gap| gap.contains("`plugins:install`")), "{document}");
    let output =
        world.run(&["list"]).expect_code(8).expect_stderr("incomplete: prod: installed plugins: the credential");
    assert!(!output.stderr.contains("no plugins are installed"), "{}", output.stderr);
    for command in [&["outdated"][..], &["why", CLOCK]] {
        world.run(command).expect_code(8).expect_stderr("incomplete: prod: ");
    }
    world.sandbox.write("fleet.json", document.to_string());
    let check = ["--offline", "check", "--grafana", "13.0.0", "--workspace-file", "fleet.json"];
    world.run(&check).expect_code(8).expect_stderr("incomplete: prod: installed plugins");
    let refused = world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(1);
    refused.expect_stderr("it is not known whether something needs acme-clock-panel: installed plugins: ");
}

#[test]
fn a_whole_list_says_so() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    let document = world.json(0, &["list"]);
    assert_eq!(
        (&document["workspaces"][0]["complete"], &document["workspaces"][0]["gaps"]),
        (&json!(true), &json!([]))
    );
}

/// Three workspaces: `prod-eu` and `prod-us` with tier `prod`, `stage` with tier `team`.
fn labelled() -> (World, [FakeWorkspace; 3]) {
    let (world, eu) = World::new(catalog()).workspace("prod-eu", "12.1.0");
    let world = world.manifest("labels = { tier = \"prod\", region = \"eu\" }\n");
    let (world, us) = world.workspace("prod-us", "12.1.0");
    let world = world.manifest("labels = { tier = \"prod\" }\n");
    let (world, stage) = world.workspace("stage", "12.1.0");
    (world.manifest("labels = { tier = \"team\" }\n"), [eu, us, stage])
}

#[test]
fn selectors_add_up_and_the_positional_one_is_the_same() {
    let (world, _workspaces) = labelled();
    let names = |document: &serde_json::Value| -> Vec<String> {
        let all = document["workspaces"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    for (arguments, wanted) in [
        (vec!["workspace", "ping", "--on", "prod-*,!region", "--on", "stage"], vec!["prod-us", "stage"]),
        (vec!["workspace", "ping", "prod-us", "tier in (team)"], vec!["prod-us", "stage"]),
        (vec!["workspace", "ping", "--on", "tier!=prod"], vec!["stage"]),
        (vec!["list", "--on", "prod-eu", "--on", "stage"], vec!["prod-eu", "stage"]),
    ] {
        assert_eq!(names(&world.json(0, &arguments)), wanted, "{arguments:?}");
    }
}

#[test]
fn a_selector_that_selects_nothing_is_an_error_with_the_nearest() {
    let (world, _workspaces) = labelled();
    for command in ["list", "plan", "lock", "apply", "outdated", "usage"] {
        for (selector, hint) in [
            ("tier=taem", "did you mean `tier=team`?"),
            ("prod-*,stagge", "did you mean `stage`?"),
            ("prdo-*", "did you mean `prod-eu` or `prod-us`?"),
            ("tier in (gold)", "known here: `tier=prod`, `tier=team`"),
        ] {
            world.run(&[command, "--on", "prod-eu", "--on", selector]).expect_code(2).expect_stderr(hint);
        }
    }
    world.run(&["list", "--on", "tier in (prod,team"]).expect_code(2).expect_stderr("invalid selector");
    let world = world.manifest("[rollout]\nwaves = [\"tier=canray\", \"100%\"]\n");
    for command in ["lock", "plan", "apply", "list"] {
        let run = world.run(&[command]).expect_code(2);
        run.expect_stderr("`waves`: no workspace has the labels `tier=canray`")
            .expect_stderr("known here: `tier=prod`");
    }
}

#[test]
fn an_entry_of_the_manifest_may_have_a_list_of_selectors() {
    let (world, _workspaces) = labelled();
    let entry = format!(
        "[[plugin]]\nid = \"{CLOCK}\"\non = [\"prod-us\", \"tier=team\"]\n[rollout]\nwaves = [[\"stage\", \"region=eu\"], \"100%\"]\n"
    );
    let world = world.manifest(&entry);
    world.run(&["lock"]).expect_code(0);
    let plan = world.json(0, &["plan"]);
    let names: Vec<_> =
        plan["actions"].as_array().expect("a list").iter().map(|one| one["workspace"].clone()).collect();
    assert_eq!(names, ["prod-us", "stage"]);
    let waves = json!([{ "name": "stage or region=eu", "workspaces": ["stage"] }, { "name": "100%", "workspaces": ["prod-us"] }]);
    assert_eq!(plan["waves"], waves);
}

#[test]
fn a_misspelt_id_is_not_a_plugin_that_nobody_needs() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled("acme-private-panel", "1.0.0");
    for (arguments, near) in [
        (&["usage", "acme-clok-panel", "--on", "all"][..], CLOCK),
        (&["usage", "acme-private-pannel"], "acme-private-panel"),
        (&["uninstall", "acme-clok-panel", CLOCK, "--on", "prod"], CLOCK),
        (&["why", "acme-privat-panel"], "acme-private-panel"),
    ] {
        let output = world.run(arguments).expect_code(2).expect_stderr("no workspace and no catalog knows");
        output.expect_stderr(&format!("did you mean {near}"));
    }
    assert!(workspace.requests().iter().all(|request| request.method == "GET"));
    // What is known, or was known once, is no slip.
    world.run(&["usage", CLOCK, "timeseries"]).expect_code(0);
    for known in [CLOCK, "tides-gone-app"] {
        world.run(&["uninstall", known, "--on", "prod"]).expect_code(0);
    }
}

#[test]
fn an_entry_that_removes_a_misspelt_plugin_is_refused() {
    let (world, _workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    let entries = "[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-sae-app\"\nensure = \"absent\"\n";
    let world = world.manifest(entries);
    for command in ["lock", "plan", "apply"] {
        let output = world.run(&[command]).expect_code(2).expect_stderr("the manifest removes `acme-sae-app`");
        output.expect_stderr("did you mean acme-sea-app?");
    }
    world.sandbox.write("plugport.lock", "format = 1\n");
    world.run(&["plan"]).expect_code(2).expect_stderr("did you mean acme-sea-app?");
}

#[test]
fn an_entry_that_removes_a_plugin_which_is_known_or_was_once_is_no_slip() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled("acme-sae-app", "1.0.0");
    let absent = |id: &str| format!("[[plugin]]\nid = \"{id}\"\nensure = \"absent\"\n");
    let world = world.manifest(&["acme-sae-app", CLOCK, "tides-gone-app"].map(absent).concat());
    world.run(&["lock"]).expect_code(0);
    world.run(&["plan"]).expect_code(0).expect_stdout("to uninstall");
}
