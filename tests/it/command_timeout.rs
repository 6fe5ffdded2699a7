//! `--timeout`, and what is told of a server that hangs.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    support::fake_grafana::{catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace},
    world::World,
};

/// A server that hangs, between two that answer.
fn world() -> (World, Vec<FakeWorkspace>) {
    let mut world = World::new(FakeCatalog::new());
    let mut workspaces = Vec::new();
    for name in ["first", "hung", "last"] {
        let workspace;
        (world, workspace) = world.workspace(name, "12.1.0");
        workspaces.push(workspace);
    }
    // The limit of a whole reading is another one.
    let manifest = std::fs::read_to_string(world.path("plugport.toml")).expect("there");
    world.sandbox.write("plugport.toml", manifest.replace("change-timeout = \"500ms\"", "change-timeout = \"1m\""));
    workspaces[1].fault(Fault::on("*", "*").stall_before_headers(Duration::from_mins(10)));
    (world, workspaces)
}

/// It cost two minutes: every request was repeated as often as one that fails at once.
#[test]
fn a_server_that_hangs_costs_seconds_and_the_others_are_shown() {
    let (world, _workspaces) = world();
    for arguments in [
        &["list"][..],
        &["outdated"],
        &["workspace", "ping"],
        &["check", "--grafana", "13.0.0"],
        &["usage"],
        &["api", "GET", "/api/health"],
    ] {
        let begun = Instant::now();
        let output = world.run(&[&["--timeout", "500ms"], arguments].concat()).expect_code(8);
        assert!(begun.elapsed() < Duration::from_secs(8), "{arguments:?}: {:?}", begun.elapsed());
        assert!(
            output.stderr.contains("hung") && output.stderr.contains("did not answer within 0.5 s"),
            "{}",
            output.stderr
        );
    }
    let output = world.run(&["--timeout", "500ms", "api", "GET", "/api/health"]).expect_code(8);
    assert_eq!(output.stdout.matches("\"status\":200").count(), 2, "{}", output.stdout);
}

#[test]
fn a_body_that_stops_counts_as_no_answer() {
    let (world, workspace) = World::new(FakeCatalog::new()).workspace("prod", "12.1.0");
    workspace.fault(Fault::on("GET", "/api/frontend/settings").stall_in_body(10));
    let manifest = std::fs::read_to_string(world.path("plugport.toml")).expect("there");
    let manifest = manifest.replace("slow-window = \"1s\"", "slow-window = \"5m\"");
    world.sandbox.write("plugport.toml", manifest.replace("change-timeout = \"500ms\"", "change-timeout = \"1m\""));
    let begun = Instant::now();
    world.run(&["--timeout", "500ms", "list"]).expect_stderr("sends less than 1 kB a second");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_timeout_is_a_length_of_time() {
    let (world, _workspaces) = world();
    for wrong in ["0s", "5", "soon", "-1s"] {
        world.run(&[&format!("--timeout={wrong}"), "list"]).expect_code(2);
    }
    let document = world.run(&["--json", "--timeout", "0s", "list"]).expect_code(2).json();
    assert_eq!(document["error"]["kind"], json!("usage"));
}

#[test]
fn somebody_who_gives_up_reads_what_was_waited_for() {
    let (world, workspaces) = world();
    let child = world.sandbox.command(&["--timeout", "1m", "list"]).spawn().expect("started");
    let begun = Instant::now();
    while workspaces[1].requests().is_empty() || workspaces[2].requests().len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::INT);
    let output = child.wait_with_output().expect("ended");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("note: still waiting for hung\n"), "{stderr}");
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
}
