//! `apply`, end to end: waves, gates, the way back, and everything that keeps a rollout from beginning.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{CLOCK, FORMER, Fleet, MAP, NAMES, finish, signal, spawn, wait_until};
use crate::support::fake_grafana::fault::Fault;
use crate::world::{World, outcomes};

fn summary(document: &Value) -> [u64; 6] {
    let keys = ["changed", "unchanged", "failed", "unknown", "rolled_back", "skipped"];
    keys.map(|key| document["summary"][key].as_u64().unwrap_or(u64::MAX))
}

/// A gate that fails on one workspace.
fn gate_against(name: &str) -> String {
    format!("commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != {name}\"]]\n")
}

#[test]
fn a_fleet_is_changed_wave_by_wave() {
    let fleet = Fleet::new("");
    let output = fleet.world.run(&["--json", "apply", "--yes"]).expect_code(0);
    let document = output.json();
    fleet.expect_new();
    assert_eq!(document["command"], "apply");
    assert_eq!(document["ending"], "done");
    assert_eq!(summary(&document), [7, 0, 0, 0, 0, 0]);
    let first = document["results"]
        .as_array()
        .and_then(|results| results.iter().find(|result| result["workspace"] == "east" && result["plugin"] == CLOCK))
        .cloned();
    let wanted = json!({
        "workspace": "east", "plugin": CLOCK, "action": "upgrade", "from": "1.1.0", "to": "2.0.0", "outcome": "changed",
    });
    assert_eq!(first, Some(wanted));
    let events = fleet.events();
    let place =
        |event: &str| events.iter().position(|found| found == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    assert!(place("ended canary gate") < place("wave-done") && place("wave-done") < place("intent east prepare"));
    assert_eq!(events.last().map(String::as_str), Some("finished"));
    for server in &fleet.servers {
        assert_eq!(server.max_concurrent_installs(), 1);
    }
    let again = fleet.world.json(0, &["apply", "--yes"]);
    assert_eq!((summary(&again), &again["rollout"]), ([0, 7, 0, 0, 0, 0], &Value::Null));
    fleet.expect_no_leak(&[&output.stdout, &output.stderr]);
}

#[test]
fn people_follow_a_rollout_on_stderr_and_see_its_results_on_stdout() {
    let fleet = Fleet::new("");
    let output = fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let output = output.expect_stderr("wave 1 of 2 (canary): 1 workspace").expect_stderr("canary: healthy");
    let output = output.expect_stderr("west: acme-clock-panel 1.2.0 to 2.0.0 done").expect_stdout("changed");
    output.expect_stdout("everything is as planned (7 changed)");
    fleet.world.run(&["apply", "--yes"]).expect_code(0).expect_stdout("nothing to do");
}

/// W17: the canary is not well, so nobody else is touched, and it has its own former version again.
#[test]
fn a_red_gate_stops_the_rollout_and_every_workspace_goes_back_to_its_own_version() {
    let fleet = Fleet::new(&gate_against("canary"));
    let document = fleet.world.json(1, &["apply", "--yes"]);
    assert_eq!(document["ending"], "rolled-back");
    fleet.expect_former();
    assert_eq!([1, 2].map(|server| fleet.changes(server)), [0, 0]);
    assert_eq!(summary(&document), [0, 0, 0, 0, 2, 5]);
    let failure = document["failures"][0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(failure.contains("`sh` ended with 1"), "{failure}");
    let later = Fleet::new(&gate_against("west"));
    let document = later.world.json(1, &["apply", "--yes"]);
    later.expect_former();
    assert_eq!((document["ending"].as_str(), summary(&document)[0]), (Some("rolled-back"), 0));
    later.expect_no_leak(&[]);
}

#[test]
fn failures_within_the_budget_take_back_one_workspace_alone() {
    let fleet = Fleet::new(&format!("max-failures = 1\n{}", gate_against("east")));
    let document = fleet.world.json(8, &["apply", "--yes"]);
    assert_eq!(document["ending"], "partly");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], "2.0.0", "2.0.0"]);
    assert_eq!(summary(&document), [5, 0, 0, 0, 2, 0]);
}

#[test]
fn a_canary_that_is_its_whole_wave_and_fails_stops_the_rollout_whatever_may_fail() {
    let fleet = Fleet::new(&format!("max-failures = 3\n{}", gate_against("canary")));
    let document = fleet.world.json(1, &["apply", "--yes"]);
    assert_eq!(document["ending"], "rolled-back");
    fleet.expect_former();
    assert_eq!([1, 2].map(|server| fleet.changes(server)), [0, 0]);
    let reason = document["failures"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("`sh` ended with 1"), "{document}");
}

#[test]
fn a_wave_may_have_a_budget_of_its_own_as_a_share_of_its_workspaces() {
    let waves = |share: &str| format!("waves = [\"canary\", {{ on = \"100%\", max-failures = \"{share}\" }}]\n");
    for (share, code, ending) in [("34%", 8, "partly"), ("33%", 1, "rolled-back")] {
        let fleet = Fleet::with_waves(&waves(share), &gate_against("east"));
        let document = fleet.world.json(code, &["apply", "--yes"]);
        assert_eq!(document["ending"], ending, "{share}");
    }
}

#[test]
fn what_was_changed_stays_where_that_is_wanted() {
    let fleet = Fleet::new(&format!("on-failure = \"stop\"\n{}", gate_against("canary")));
    let document = fleet.world.json(8, &["apply", "--yes"]);
    assert_eq!(document["ending"], "stopped");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], FORMER[2], FORMER[3]]);
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
}

/// W13: nobody knows, so it is not done, and nothing is changed over it.
#[test]
fn an_unknown_outcome_wins_over_all() {
    let fleet = Fleet::new("");
    let settings = format!("/api/plugins/{CLOCK}/settings");
    let canary = &fleet.servers[0];
    // The change is sent and then nothing can be read any more.
    canary.fault(Fault::on("POST", &format!("/api/plugins/{CLOCK}/install")).status(502).after_effect());
    let armed = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(9, &["apply", "--yes"]));
        wait_until("the change is sent", || fleet.changes(0) > 0);
        canary.fault(Fault::on("GET", &settings).status(500));
        canary.fault(Fault::on("GET", "/api/plugins*").status(500));
        running.join().expect("it ends")
    });
    assert_eq!(armed["ending"], "unknown");
    assert!(outcomes(&armed).contains(&format!("canary {CLOCK} unknown")), "{armed}");
    assert_eq!([1, 2].map(|server| fleet.changes(server)), [0, 0]);
}

/// W24.
#[test]
fn a_plan_whose_ground_has_shifted_is_refused_and_says_what_has() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    fleet.servers[1].preinstalled(CLOCK, "1.2.0");
    fleet.servers[2].preinstalled("someone-else-panel", "7.0.0");
    let output = fleet.world.run(&["apply", "plan.json"]).expect_code(1);
    let output = output.expect_stderr("east: acme-clock-panel was at 1.1.0 and is at 1.2.0");
    output.expect_stderr("west: someone-else-panel was not there and is").expect_stderr("plugport plan");
    let text = std::fs::read_to_string(fleet.world.path("plugport.lock")).expect("a lock");
    fleet.world.sandbox.write("plugport.lock", text.replace("2.0.0", "1.2.0"));
    fleet.world.run(&["apply", "plan.json"]).expect_code(1).expect_stderr("the lock is another one");
    let plan = std::fs::read_to_string(fleet.world.path("plan.json")).expect("a plan");
    fleet.world.sandbox.write("plan.json", plan.replace("2.0.0", "1.2.0"));
    fleet.world.run(&["apply", "plan.json"]).expect_code(2).expect_stderr("changed after it was made");
    assert_eq!([0, 1, 2].map(|server| fleet.changes(server)), [0, 0, 0]);
}

#[test]
fn a_saved_plan_is_applied_as_it_is_without_a_question() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    fleet.world.run(&["apply", "plan.json"]).expect_code(0);
    fleet.expect_new();
}

#[test]
fn without_anybody_to_ask_a_plan_made_now_is_not_carried_out() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply"]).expect_code(2).expect_stderr("--yes");
    fleet.expect_former();
}

/// W22: somebody installs another version between the plan and the step.
#[test]
fn nothing_is_changed_over_what_somebody_else_put_there_meanwhile() {
    let fleet = Fleet::new("");
    fleet.servers[0].install_delay(600);
    let document = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(1, &["apply", "--yes"]));
        wait_until("the first change is sent", || fleet.changes(0) > 0);
        fleet.servers[0].preinstalled(MAP, "2.5.0");
        running.join().expect("it ends")
    });
    assert_eq!(document["ending"], "rolled-back");
    assert_eq!(fleet.versions(MAP), ["2.5.0", "-", "-", "-"]);
    assert_eq!(fleet.versions(CLOCK), FORMER);
    let error = document["failures"][0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("somebody else changed the plugin in the meantime"), "{document:#}");
}

/// W19.
#[test]
fn without_a_way_back_nothing_begins_unless_that_is_accepted() {
    let fleet = Fleet::new("");
    fleet.world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "1.1.0"));
    fleet.world.run(&["sync"]);
    let output = fleet.world.run(&["apply", "--yes"]).expect_code(4);
    output.expect_stderr("acme-clock-panel@1.1.0 for east").expect_stderr("--no-way-back");
    fleet.expect_former();
    fleet.world.run(&["apply", "--yes", "--no-way-back"]).expect_code(0);
    fleet.expect_new();
}

#[test]
fn a_workspace_that_may_not_be_changed_keeps_the_rollout_from_beginning() {
    let fleet = Fleet::new("");
    let denied = json!({ "pluginAdminEnabled": false, "buildInfo": { "version": "12.1.0" } }).to_string();
    fleet.servers[2].fault(Fault::on("GET", "/api/frontend/settings").body(denied));
    let output = fleet.world.run(&["apply", "--yes"]).expect_code(1);
    output.expect_stderr("west: plugin management is off");
    fleet.expect_former();
    assert_eq!(fleet.world.json(0, &["rollout", "list"])["rollouts"], json!([]));
}

/// W30: a workspace that hangs is bounded, and does not keep the others.
#[test]
fn a_workspace_that_hangs_is_given_up_and_the_others_are_done() {
    let fleet = Fleet::new("max-failures = 1\n");
    let install = format!("/api/plugins/{CLOCK}/install");
    fleet.servers[2].fault(Fault::on("POST", &install).stall_before_headers(Duration::from_mins(1)).before_effect());
    let document = fleet.world.json(8, &["apply", "--yes"]);
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", "2.0.0", FORMER[2], "2.0.0"]);
    assert_eq!(document["ending"], "partly");
}

/// W29.
#[test]
fn a_workspace_that_asks_for_fewer_calls_is_left_alone_for_that_long() {
    let fleet = Fleet::new("");
    fleet.servers[0]
        .fault(Fault::on("POST", &format!("/api/plugins/{CLOCK}/install")).status(429).retry_after("1").times(1));
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.expect_new();
    assert!(fleet.events().contains(&"throttled".to_owned()), "{:?}", fleet.events());
}

#[test]
fn each_entry_is_streamed_as_it_is_written() {
    let fleet = Fleet::new("");
    let output = fleet.world.run(&["apply", "--yes", "--json-events"]).expect_code(0);
    let lines: Vec<Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let journal = fleet.story()["entries"].as_array().cloned().unwrap_or_default();
    let streamed: Vec<Value> = lines
        .iter()
        .filter(|line| line.get("rollout").is_some() && line["event"] != "result")
        .map(|line| {
            let mut line = line.clone();
            line.as_object_mut().expect("an object").remove("rollout");
            line
        })
        .collect();
    assert_eq!(streamed, journal);
    let last = lines.last().expect("a result");
    assert_eq!((&last["event"], &last["ending"]), (&json!("result"), &json!("done")));
    fleet.expect_no_leak(&[&output.stdout, &output.stderr]);
}

#[test]
fn commands_of_a_gate_see_the_workspace_and_no_secret() {
    let fleet = Fleet::new("commands = [[\"sh\", \"-c\", \"env > $HOME/seen-$PLUGPORT_WORKSPACE\"]]\n");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    for (name, server) in NAMES.iter().zip(&fleet.servers) {
        let seen = std::fs::read_to_string(fleet.world.path(&format!("seen-{name}"))).expect("it ran");
        assert!(seen.contains(&format!("PLUGPORT_WORKSPACE_URL={}", server.url())), "{seen}");
        assert!(!seen.contains("TOKEN_") && NAMES.iter().all(|name| !seen.contains(&World::token(name))), "{seen}");
    }
}

#[test]
fn an_unreachable_workspace_is_left_out_and_said() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan"]).expect_code(0);
    fleet.servers[2].fault(Fault::on("*", "*").status(503));
    let document = fleet.world.json(8, &["apply", "--yes"]);
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", "2.0.0", FORMER[2], "2.0.0"]);
    assert_eq!(document["blocked"][0]["workspace"], "west");
}

#[test]
fn an_interrupted_rollout_ends_what_is_under_way_and_says_how_to_go_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let fleet = Fleet::new("");
        fleet.servers[0].install_delay(300);
        let child = spawn(&fleet.world, &["--json", "apply", "--yes"]);
        wait_until("the first change is sent", || fleet.changes(0) > 0);
        signal(&child, name);
        let (ended, stdout, stderr) = finish(child);
        assert_eq!(ended, code, "{stdout}\n{stderr}");
        let document: Value = serde_json::from_str(&stdout).expect("a document");
        let id = document["rollout"].as_str().expect("a rollout").to_owned();
        assert!(stderr.contains(&format!("plugport rollout resume {id}")), "{stderr}");
        // What was under way came to its end and is written down.
        assert!(fleet.events().contains(&"ended canary forward 0".to_owned()), "{:?}", fleet.events());
        assert_eq!(fleet.changes(0), 1);
        fleet.world.run(&["apply", "--yes"]).expect_code(1).expect_stderr("is unfinished");
        fleet.world.run(&["rollout", "resume"]).expect_code(0);
        fleet.expect_new();
        assert_eq!(fleet.changes(0), 2);
    }
}
