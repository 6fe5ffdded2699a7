//! `rollout`, end to end: the story of a rollout, the way on after whatever ended it, and the way back.

use serde_json::{Value, json};

use crate::fleet::{CLOCK, FORMER, Fleet, MAP, finish, signal, spawn, wait_until};
use crate::support::fake_grafana::fault::Fault;
use crate::world::{World, outcomes};

/// The variable that ends the program after so many entries of the journal.
const STOP_AFTER: &str = "PLUGPORT_TEST_STOP_AFTER";

/// Begins a rollout that is killed right after an entry of the journal, as by a power cut.
fn killed_after(fleet: &Fleet, entries: usize) {
    let mut command = fleet.world.sandbox.command(&["apply", "--yes"]);
    let child = command.env(STOP_AFTER, entries.to_string()).spawn().expect("the program starts");
    let (code, _, stderr) = finish(child);
    assert_eq!(code, -1, "{stderr}");
}

#[test]
fn the_story_tells_waves_steps_and_what_to_do_next() {
    let fleet = Fleet::new("");
    fleet.world.run(&["rollout", "show"]).expect_code(2).expect_stderr("no rollout yet");
    fleet.world.run(&["rollout", "list"]).expect_code(0).expect_stdout("no rollout yet");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let list = fleet.world.json(0, &["rollout", "list"]);
    let id = list["rollouts"][0]["rollout"].as_str().expect("a name").to_owned();
    assert_eq!(list["rollouts"][0]["ending"], "done");
    let output = fleet.world.run(&["rollout", "show", &id[..14]]).expect_code(0);
    let output =
        output.expect_stdout("wave 1 of 2 (canary): 1 workspace").expect_stdout("east: acme-map-panel 3.0.0 done");
    output.expect_stdout(&format!("`plugport rollout undo {id}` rolls it back"));
    fleet.world.run(&["rollout", "show", "1999"]).expect_code(2).expect_stderr("no rollout `1999`");
    fleet.world.run(&["rollout", "resume"]).expect_code(2).expect_stderr("is over");
    fleet.world.run(&["rollout", "abort"]).expect_code(2).expect_stderr("is over");
}

#[test]
fn a_rollout_is_taken_back_later_and_only_once() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.expect_new();
    let document = fleet.world.json(0, &["rollout", "undo", "--yes"]);
    assert_eq!((document["ending"].as_str(), document["summary"]["rolled_back"].as_u64()), (Some("undone"), Some(7)));
    fleet.expect_former();
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(2).expect_stderr("rolled back already");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.expect_new();
    assert_eq!(fleet.world.json(0, &["rollout", "list"])["rollouts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn undo_without_a_terminal_needs_yes_and_a_dry_run_sends_nothing() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let requests = || fleet.servers.iter().map(|server| server.requests().len()).sum::<usize>();
    let before = requests();
    let output = fleet.world.run(&["rollout", "undo"]).expect_code(2).expect_stderr("nobody can be asked");
    output.expect_stderr("hint: use `--yes`; `plugport rollout undo ");
    assert_eq!(fleet.world.json(2, &["rollout", "undo"])["error"]["kind"], "usage");
    let document = fleet.world.json(0, &["rollout", "undo", "--dry-run"]);
    assert_eq!((&document["dry_run"], &document["planned"]), (&json!(true), &json!(7)), "{document}");
    let change = |workspace: &str, plugin: &str| {
        let results = document["results"].as_array().into_iter().flatten();
        let mut found = results.filter(|one| one["workspace"] == workspace && one["plugin"] == plugin);
        found.next().map(|one| (one["action"].clone(), one["from"].clone(), one["to"].clone(), one["outcome"].clone()))
    };
    let planned = json!("planned");
    let back = (json!("downgrade"), json!("2.0.0"), json!(FORMER[1]), planned.clone());
    assert_eq!(change("east", CLOCK), Some(back));
    assert_eq!(change("west", MAP), Some((json!("uninstall"), json!("3.0.0"), Value::Null, planned)));
    fleet.world.run(&["rollout", "undo", "--dry-run"]).expect_code(0).expect_stdout("downgrade");
    assert_eq!(requests(), before);
    fleet.expect_new();
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
    fleet.world.run(&["rollout", "undo", "--dry-run"]).expect_code(2).expect_stderr("rolled back already");
}

/// W22 on the way back.
#[test]
fn nothing_is_taken_back_over_what_somebody_else_put_there_since() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.servers[1].preinstalled(CLOCK, "1.2.0");
    let document = fleet.world.json(8, &["rollout", "undo", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed");
    assert_eq!(fleet.versions(CLOCK), [FORMER[0], "1.2.0", FORMER[2], FORMER[3]]);
    assert_eq!(fleet.versions(MAP), ["-"; 4]);
    assert!(outcomes(&document).contains(&format!("east {CLOCK} failed")), "{document}");
}

/// W20: what the token of one workspace stops goes on with another token.
#[test]
fn a_token_that_expires_pauses_the_rollout_until_there_is_another() {
    let fleet = Fleet::new("");
    let refused = || Fault::on("*", "/api/plugins*").status(401);
    fleet.servers[0].install_delay(300);
    let document = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(8, &["apply", "--yes"]));
        wait_until("the canary is through", || fleet.changes(0) == 2);
        for fault in [refused(), Fault::on("*", "/api/org").status(401), Fault::on("*", "/api/frontend*").status(401)] {
            fleet.servers[2].fault(fault);
        }
        running.join().expect("it ends")
    });
    let reason = document["paused"].as_str().unwrap_or_default();
    assert!(reason.starts_with("west: "), "{document:#}");
    assert_eq!(fleet.changes(2), 0);
    fleet.world.run(&["rollout", "list"]).expect_code(0).expect_stdout("unfinished");
    fleet.world.run(&["rollout", "resume"]).expect_code(8).expect_stderr("of this workspace is wrong or expired");
    fleet.servers[2].clear_faults();
    fleet.world.run(&["rollout", "resume"]).expect_code(0);
    fleet.expect_new();
    assert_eq!([0, 1, 2].map(|server| fleet.changes(server)), [2, 2, 2]);
    fleet.expect_no_leak(&[]);
}

/// W21, at some moments; `tests/rollout` tries all of them.
#[test]
fn a_rollout_that_was_killed_goes_on_and_repeats_nothing() {
    for entries in [3, 5, 6, 7, 9, 14] {
        let fleet = Fleet::new("");
        killed_after(&fleet, entries);
        fleet.world.run(&["apply", "--yes"]).expect_code(1).expect_stderr("is unfinished");
        fleet.world.run(&["rollout", "resume"]).expect_code(0);
        fleet.expect_new();
        assert_eq!([0, 1, 2].map(|server| fleet.changes(server)), [2, 2, 2], "after {entries} entries");
    }
}

#[test]
fn a_killed_rollout_is_taken_back_or_left_where_it_is() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
    killed_after(&fleet, 9);
    let before = fleet.versions(CLOCK);
    let document = fleet.world.json(0, &["rollout", "abort"]);
    assert_eq!(document["ending"], "aborted");
    assert_eq!(fleet.versions(CLOCK), before);
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.expect_new();
}

/// W23.
#[test]
fn a_second_operator_is_refused_with_who_has_the_lock_and_its_id() {
    let fleet = Fleet::new("");
    fleet.servers[0].hold_installs();
    let child = spawn(&fleet.world, &["--json", "apply", "--yes"]);
    wait_until("the first change is sent", || fleet.changes(0) > 0);
    for arguments in
        [&["apply", "--yes"][..], &["rollout", "resume"], &["rollout", "undo", "--yes"], &["rollout", "abort"]]
    {
        let output = fleet.world.run(arguments).expect_code(7);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let output = output.expect_stderr(&format!("@{host}, process {}, since ", child.id()));
        output.expect_stderr("--take-lock 1-");
    }
    fleet.world.run(&["rollout", "list"]).expect_code(0).expect_stdout("at work");
    fleet.servers[0].release_installs();
    let (code, stdout, stderr) = finish(child);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    fleet.expect_new();
}

#[test]
fn a_lock_that_is_taken_fences_off_whoever_held_it() {
    let fleet = Fleet::new("");
    fleet.servers[0].hold_installs();
    let child = spawn(&fleet.world, &["apply", "--yes"]);
    wait_until("the first change is sent", || fleet.changes(0) > 0);
    let lock = fleet.world.json(0, &["rollout", "list"])["rollouts"][0]["lock"].as_str().expect("a lock").to_owned();
    fleet.world.run(&["rollout", "abort", "--take-lock", "1-zzzz"]).expect_code(2).expect_stderr("no lock `1-zzzz`");
    fleet.world.run(&["rollout", "abort", "--take-lock", &lock]);
    fleet.servers[0].release_installs();
    let (code, stdout, stderr) = finish(child);
    assert_eq!(code, 7, "{stdout}\n{stderr}");
    assert!(stderr.contains("was taken by somebody else"), "{stderr}");
    // The one that was fenced off sent nothing more.
    assert_eq!(fleet.changes(0), 1);
}

#[test]
fn a_lock_of_another_machine_is_taken_only_by_its_id() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 5);
    let path = fleet.world.path("cache/rollouts.sqlite");
    let elsewhere = rusqlite_update(&path, "UPDATE operator SET host = 'elsewhere'");
    assert!(elsewhere, "the journal could be changed");
    let output = fleet.world.run(&["rollout", "resume"]).expect_code(7).expect_stderr("@elsewhere, process ");
    let id =
        output.stderr.split("--take-lock ").nth(1).and_then(|rest| rest.split('`').next()).expect("an id").to_owned();
    fleet.world.run(&["rollout", "resume", "--take-lock", &id]).expect_code(0);
    fleet.expect_new();
}

/// Changes a file of SQLite as somebody else would.
fn rusqlite_update(path: &std::path::Path, statement: &str) -> bool {
    rusqlite::Connection::open(path).and_then(|connection| connection.execute(statement, [])).is_ok_and(|rows| rows > 0)
}

#[test]
fn a_damaged_journal_is_an_error_and_nothing_is_changed() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let path = fleet.world.path("cache/rollouts.sqlite");
    assert!(rusqlite_update(&path, "UPDATE entry SET text = replace(text, 'canary', 'east') WHERE number = 4"));
    let before = fleet.changes(0) + fleet.changes(1);
    for arguments in [&["rollout", "resume"][..], &["rollout", "show"], &["rollout", "undo", "--yes"]] {
        fleet.world.run(arguments).expect_code(6).expect_stderr("is damaged");
    }
    assert_eq!(fleet.changes(0) + fleet.changes(1), before);
}

#[test]
fn a_workspace_that_moved_is_not_taken_for_the_one_of_the_rollout() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 5);
    let manifest = std::fs::read_to_string(fleet.world.path("plugport.toml")).expect("a manifest");
    let (east, west) = (fleet.servers[1].url(), fleet.servers[2].url());
    let swapped = manifest.replace(&east, "X").replace(&west, &east).replace('X', &west);
    fleet.world.sandbox.write("plugport.toml", swapped);
    fleet.world.run(&["rollout", "resume"]).expect_code(1).expect_stderr("the manifest has it at");
    assert_eq!([1, 2].map(|server| fleet.servers[server].foreign_tokens()), [0, 0]);
}

/// Faults W8, W9, W10 and W12 in the middle of a rollout.
#[test]
fn answers_that_lie_are_settled_by_reading_back() {
    let install = format!("/api/plugins/{CLOCK}/install");
    let fault = || Fault::on("POST", &install).times(1);
    for (fault, code) in [
        (fault().status(502).before_effect(), 0),
        (fault().status(502).after_effect(), 0),
        (fault().close_at_once().after_effect(), 0),
        (fault().close_at_once().before_effect(), 0),
        // W27: a login page is no success, and no reason to try again.
        (fault().body("<html>login</html>").before_effect(), 8),
    ] {
        let fleet = Fleet::new("max-failures = 1\n");
        let described = format!("{fault:?}");
        fleet.servers[1].fault(fault);
        let output = fleet.world.run(&["apply", "--yes"]);
        assert_eq!(output.code, code, "{described}\n{}", output.stderr);
        let east = if code == 0 { "2.0.0" } else { FORMER[1] };
        assert_eq!(fleet.versions(CLOCK), ["2.0.0", east, "2.0.0", "2.0.0"], "{described}");
    }
}

/// W18: what could not be taken back is told one by one.
#[test]
fn a_way_back_that_fails_on_some_is_told_and_can_be_tried_again() {
    let gate = "commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != west\"]]\n";
    let fleet = Fleet::new(gate);
    let uninstall = format!("/api/plugins/{MAP}/uninstall");
    fleet.servers[0].fault(Fault::on("POST", &uninstall).status(403));
    let document = fleet.world.json(8, &["apply", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed");
    assert_eq!(fleet.versions(MAP), ["3.0.0", "-", "-", "-"]);
    assert_eq!(fleet.versions(CLOCK), FORMER);
    fleet.servers[0].clear_faults();
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
}

#[test]
fn what_the_way_back_needs_stays_in_the_store() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.world.run(&["gc", "--keep", "1"]).expect_code(0);
    fleet.world.upstream.catalog(|catalog| {
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            catalog.withdraw(CLOCK, version);
        }
    });
    // The servers of this test have their packages from the same catalog, so only the folder shows it.
    fleet.world.run(&["rollout", "undo", "--yes"]);
    assert_eq!(fleet.versions(CLOCK)[3], FORMER[3]);
}

#[test]
fn the_journal_is_read_while_somebody_else_writes_it_and_from_where_nothing_may_be_written() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let before = fleet.events();
    assert_eq!(before.len(), 9);
    let document = fleet.story();
    assert_eq!(document["ending"], Value::Null);
    assert_eq!(document["results"].as_array().map(Vec::len), Some(7));
    assert!(document["next"][0].as_str().unwrap_or_default().contains("rollout resume"), "{document}");
    assert_eq!(document["entries"][0]["event"], json!("started"));
}

#[test]
fn a_rollout_interrupted_in_its_pause_between_waves_is_resumed() {
    let fleet = Fleet::new("soak = \"30s\"\n");
    let child = spawn(&fleet.world, &["apply", "--yes"]);
    wait_until("the canary is done", || {
        fleet.versions(MAP)[0] == "3.0.0" && fleet.events().contains(&"wave-done".to_owned())
    });
    signal(&child, "INT");
    assert_eq!(finish(child).0, 130);
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
    assert!(!fleet.events().iter().any(|event| event.contains("east")), "{:?}", fleet.events());
    fleet.expect_no_leak(&[&World::token("nobody")]);
}

#[test]
fn a_rollout_goes_on_where_it_is_selected_and_later_on_the_others() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let output = fleet.world.run(&["rollout", "resume", "--on", "nobody"]).expect_code(2);
    output.expect_stderr("nobody");
    let document = fleet.world.json(8, &["rollout", "resume", "--on", "east"]);
    assert!(document["paused"].as_str().is_some_and(|text| text.contains("does not select")), "{document:#}");
    // The wave of the canary is not over, and `east` is in the next.
    assert_eq!(fleet.versions(CLOCK)[1..], FORMER[1..]);
    fleet.world.run(&["rollout", "resume", "--on", "canary"]).expect_code(8).expect_stderr("rollout resume");
    assert_eq!(fleet.versions(MAP), ["3.0.0", "-", "-", "-"]);
    let document = fleet.world.json(8, &["rollout", "resume", "--on", "canary,east"]);
    assert!(outcomes(&document).contains(&format!("east {CLOCK} changed")), "{document:#}");
    assert!(outcomes(&document).contains(&format!("west {CLOCK} skipped")), "{document:#}");
    assert!(document["remarks"].to_string().contains("west is skipped: `--on` does not select it"), "{document:#}");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", "2.0.0", FORMER[2], FORMER[3]]);
    assert_eq!(fleet.world.json(0, &["rollout", "resume"])["ending"], "done");
    fleet.expect_new();
    assert_eq!([0, 1, 2].map(|server| fleet.changes(server)), [2, 2, 2]);
}

#[test]
fn a_rollout_is_taken_back_where_it_is_selected_and_later_on_the_others() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let preview = fleet.world.json(0, &["rollout", "undo", "--on", "tier=east", "--dry-run"]);
    assert_eq!(preview["planned"], json!(2), "{preview:#}");
    let document = fleet.world.json(8, &["rollout", "undo", "--on", "tier=east", "--yes"]);
    assert_eq!(document["ending"], "partly-undone");
    assert!(outcomes(&document).contains(&format!("west {CLOCK} changed")), "{document:#}");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], "2.0.0", "2.0.0"]);
    assert_eq!([0, 2].map(|server| fleet.changes(server)), [2, 2]);
    fleet.world.run(&["rollout", "list"]).expect_code(0).expect_stdout("partly-undone");
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
}

#[test]
fn a_selector_of_no_workspace_of_the_rollout_is_an_error() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes", "--on", "canary"]).expect_code(0);
    let output = fleet.world.run(&["rollout", "undo", "--on", "east", "--yes"]).expect_code(2);
    output.expect_stderr("changes none of the selected workspaces").expect_stderr("hint: it changes canary");
}

/// The canary, and then the others once somebody approved them.
fn approved_fleet() -> Fleet {
    Fleet::with_waves("waves = [\"canary\", { on = \"100%\", approve = true }]\n", "")
}

#[test]
fn a_wave_waits_for_an_approval_which_the_journal_keeps() {
    let fleet = approved_fleet();
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0).expect_stdout("wave 2 (100%, once approved): ");
    let document = fleet.world.json(8, &["apply", "plan.json"]);
    assert_eq!(document["waiting_for"], json!({ "kind": "approval", "wave": 2 }), "{document:#}");
    assert_eq!(document["paused"], "wave 2 (100%) waits for an approval");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], FORMER[2], FORMER[3]]);
    let output = fleet.world.run(&["rollout", "resume"]).expect_code(8);
    output.expect_stderr("paused: wave 2 (100%) waits for an approval").expect_stderr("`plugport rollout approve ");
    fleet.world.run(&["rollout", "show"]).expect_code(0).expect_stdout("to be approved");
    let approval = fleet.world.json(0, &["rollout", "approve"]);
    assert_eq!((&approval["wave"], &approval["name"]), (&json!(2), &json!("100%")), "{approval}");
    fleet.world.run(&["rollout", "approve"]).expect_code(2).expect_stderr("does not wait for an approval");
    let entries = fleet.story()["entries"].as_array().cloned().unwrap_or_default();
    let entry = entries.last().cloned().unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!((&entry["event"], &entry["wave"]), (&json!("approved"), &json!(1)), "{entry}");
    assert!(entry["by"].as_str().is_some_and(|by| by.ends_with(&format!("@{host}"))), "{entry}");
    fleet.world.run(&["rollout", "resume"]).expect_code(0);
    fleet.expect_new();
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
}

#[test]
fn a_rollout_that_stays_goes_on_as_soon_as_another_process_approves() {
    let fleet = approved_fleet();
    let child = spawn(&fleet.world, &["apply", "--yes", "--wait"]);
    let waits = || {
        let output = fleet.world.run(&["rollout", "show"]);
        output.code == 0 && output.stdout.contains("to be approved")
    };
    wait_until("it waits", waits);
    assert_eq!([1, 2].map(|server| fleet.changes(server)), [0, 0]);
    let approval = fleet.world.json(0, &["rollout", "approve"]);
    assert!(approval["next"].as_str().is_some_and(|next| next.contains("goes on by itself")), "{approval}");
    let (code, stdout, stderr) = finish(child);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stderr.contains("waits for an approval: `plugport rollout approve "), "{stderr}");
    assert!(stderr.contains("wave 2 is approved by "), "{stderr}");
    fleet.expect_new();
    assert_eq!(fleet.story()["ending"], "done");
}

#[test]
fn a_rollout_that_waits_for_an_approval_can_be_interrupted() {
    let fleet = approved_fleet();
    let child = spawn(&fleet.world, &["apply", "--yes", "--wait"]);
    wait_until("the canary is through", || {
        fleet.world.run(&["rollout", "list"]).code == 0
            && fleet.changes(0) == 2
            && fleet.events().contains(&"wave-done".to_owned())
    });
    signal(&child, "INT");
    assert_eq!(finish(child).0, 130);
    fleet.world.run(&["rollout", "approve"]).expect_code(0);
    fleet.world.run(&["rollout", "resume"]).expect_code(0);
    fleet.expect_new();
}

#[test]
fn no_wave_begins_in_a_freeze_period_and_undo_is_never_frozen() {
    let fleet = Fleet::new("freeze = [\"2020-01-01..2099-12-31\"]\n");
    fleet
        .world
        .run(&["plan", "--out", "plan.json"])
        .expect_code(0)
        .expect_stdout("no wave begins in `2020-01-01..2099");
    let document = fleet.world.json(8, &["apply", "plan.json"]);
    let waiting = json!({ "kind": "freeze", "wave": 1, "until": "2100-01-01T00:00:00.000Z" });
    assert_eq!(document["waiting_for"], waiting, "{document:#}");
    fleet.expect_former();
    let output = fleet.world.run(&["rollout", "resume"]).expect_code(8);
    output
        .expect_stderr("is frozen until 2100-01-01 00:00 UTC")
        .expect_stderr("hint: after 2100-01-01 00:00 UTC, `plugport");
    // The manifest decides when waves begin, whatever the plan says.
    let manifest = std::fs::read_to_string(fleet.world.path("plugport.toml")).expect("a manifest");
    fleet.world.sandbox.write("plugport.toml", manifest.replace("2020-01-01..", "2098-01-01.."));
    fleet.world.run(&["rollout", "resume"]).expect_code(0);
    fleet.expect_new();
    fleet.world.sandbox.write("plugport.toml", manifest);
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
}

#[test]
fn a_rollout_that_stays_begins_its_wave_when_the_freeze_period_ends() {
    let soon = jiff::Timestamp::now().as_second() + 4;
    let soon = jiff::Timestamp::from_second(soon).expect("a time").to_string();
    let fleet = Fleet::new(&format!("freeze = [\"2020-01-01T00:00..{} UTC\"]\n", soon.trim_end_matches('Z')));
    let output = fleet.world.run(&["apply", "--yes", "--wait"]).expect_code(0);
    output.expect_stderr("wave 1 of 2");
    fleet.expect_new();
}

#[test]
fn a_freeze_period_that_is_none_is_refused_with_its_line() {
    let fleet = Fleet::new("");
    let manifest = std::fs::read_to_string(fleet.world.path("plugport.toml")).expect("a manifest");
    for (line, said) in [
        ("freeze = [\"fri 16:00..2026-12-20\"]", "is not a freeze period: expected one like"),
        ("time-zone = \"Mars/Olympus\"", "`Mars/Olympus` is not a time zone"),
    ] {
        let text = manifest.replace("[rollout]\n", &format!("[rollout]\n{line}\n"));
        let number = text.lines().position(|found| found == line).expect("there") + 1;
        fleet.world.sandbox.write("plugport.toml", &text);
        let output = fleet.world.run(&["validate"]).expect_code(2).expect_stderr(said);
        assert!(output.stderr.contains(&number.to_string()), "{number}: {}", output.stderr);
    }
}

/// Returns the events that the program of `[notify]` got.
fn messages(fleet: &Fleet) -> Vec<Value> {
    let text = std::fs::read_to_string(fleet.world.path("messages")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect()
}

fn events_of(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["event"].as_str().unwrap_or_default()).collect()
}

const NOTIFY: &str = "[notify]\ncommand = [\"sh\", \"-c\", \"env > $HOME/seen; cat >> $HOME/messages\"]\n";

#[test]
fn a_program_gets_a_message_at_each_turn_and_no_secret() {
    let fleet = Fleet::with("", NOTIFY);
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let got = messages(&fleet);
    assert_eq!(events_of(&got), ["begun", "wave-begun", "wave-done", "wave-begun", "wave-done", "over"]);
    let last = got.last().expect("a message");
    assert_eq!((&last["format_version"], &last["ending"]), (&json!("1.0"), &json!("done")));
    assert_eq!(last["workspaces"], json!({ "total": 4, "begun": 4, "passed": 4, "failed": 0 }), "{last}");
    assert_eq!((&last["summary"]["changed"], &got[1]["wave"]["name"]), (&json!(7), &json!("canary")), "{last}");
    assert!(last["base"]["lock"].is_string() && last["rollout"].is_string(), "{last}");
    let seen = std::fs::read_to_string(fleet.world.path("seen")).expect("it ran");
    assert!(!seen.contains("TOKEN_") && !seen.contains("glsa_"), "{seen}");
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    let got = messages(&fleet);
    assert_eq!(events_of(&got)[6..], ["rolling-back", "over"]);
    fleet.expect_no_leak(&[]);
}

#[test]
fn a_wanted_approval_and_a_failure_are_messages() {
    let waves = "waves = [\"canary\", { on = \"100%\", approve = true }]\n";
    let gate = "commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != west\"]]\n";
    let fleet = Fleet::with_waves(waves, &format!("{gate}{NOTIFY}"));
    fleet.world.run(&["apply", "--yes"]).expect_code(8);
    fleet.world.run(&["rollout", "approve"]).expect_code(0);
    fleet.world.run(&["rollout", "resume"]).expect_code(1);
    let got = messages(&fleet);
    let expected = [
        "begun",
        "wave-begun",
        "wave-done",
        "approval-wanted",
        "resumed",
        "wave-begun",
        "failed",
        "rolling-back",
        "over",
    ];
    assert_eq!(events_of(&got), expected);
    assert_eq!(got[3]["wave"], json!({ "number": 2, "name": "100%" }));
    assert!(got[6]["reason"].as_str().is_some_and(|reason| reason.contains("west")), "{}", got[6]);
}

#[test]
fn a_program_that_fails_is_a_note_and_the_rollout_goes_on() {
    for command in ["[\"sh\", \"-c\", \"echo no room >&2; exit 3\"]", "[\"./no-such-program\"]"] {
        let fleet = Fleet::with("", &format!("[notify]\ncommand = {command}\n"));
        let document = fleet.world.json(0, &["apply", "--yes"]);
        fleet.expect_new();
        let remarks = document["remarks"].to_string();
        assert!(remarks.contains("the message `over` was not received"), "{remarks}");
        assert!(remarks.contains("ended with 3: no room") || remarks.contains("could not be started"), "{remarks}");
    }
}

#[test]
fn a_rollout_is_followed_from_another_process_to_its_end_and_exit_code() {
    let gate = "commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != west\"]]\n";
    for (policy, code, end) in [("", 0, "everything is as planned"), (gate, 1, "rolled back; everything is as it was")]
    {
        let fleet = Fleet::new(policy);
        fleet.servers[0].hold_installs();
        let child = spawn(&fleet.world, &["apply", "--yes"]);
        wait_until("the first change is sent", || fleet.changes(0) > 0);
        let people = spawn(&fleet.world, &["rollout", "show", "--follow"]);
        let machine = spawn(&fleet.world, &["--json", "rollout", "show", "--follow"]);
        fleet.servers[0].release_installs();
        assert_eq!(finish(child).0, code);
        let (ended, stdout, stderr) = finish(people);
        assert_eq!(ended, code, "{stdout}\n{stderr}");
        assert!(stdout.contains("canary: healthy") && stdout.contains(end), "{stdout}");
        let (ended, stdout, stderr) = finish(machine);
        assert_eq!(ended, code, "{stdout}\n{stderr}");
        let lines: Vec<Value> =
            stdout.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
        let entries = fleet.story()["entries"].as_array().map(Vec::len);
        assert_eq!((Some(lines.len() - 1), &lines[lines.len() - 1]["event"]), (entries, &json!("result")), "{stdout}");
    }
}

#[test]
fn a_rollout_that_nobody_carries_out_is_not_followed_for_ever() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let output = fleet.world.run(&["rollout", "show", "--follow"]).expect_code(8);
    output.expect_stdout("wave 1 of 2").expect_stdout("interrupted");
}
