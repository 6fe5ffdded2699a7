//! `plugport serve`, end to end: over real sockets, with the requests that real Grafana servers send.

mod airgap;
mod channels;
mod clients;
mod http;
mod listing;
mod operation;
mod publishing;
mod pulling;
mod robustness;
mod web;

use std::{
    io::{BufRead as _, BufReader},
    process::Child,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use self::http::{Answer, Request};
use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
    world::World,
};

const CLOCK: &str = "acme-clock-panel";
const TIDES: &str = "acme-tides-datasource";

/// A mirror that runs.
struct Mirror {
    child: Child,
    address: String,
}

impl Mirror {
    /// Starts `plugport serve` in a world, on any port.
    fn start(world: &World, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let child = world.sandbox.command(&arguments).spawn().expect("the program starts");
        let mut mirror = Self { child, address: String::new() };
        let stderr = BufReader::new(mirror.child.stderr.take().expect("it is a pipe"));
        let (sender, lines) = channel();
        // Somebody must go on reading, or the program would be held up.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut said = Vec::new();
        while mirror.address.is_empty() {
            let line =
                lines.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| panic!("it does not listen: {said:?}"));
            if let Some(url) = line.strip_prefix("listening on ") {
                url.split_once("://").expect("an address").1.clone_into(&mut mirror.address);
            }
            said.push(line);
        }
        mirror
    }

    fn send(&self, request: Request) -> Answer {
        request.send(&self.address)
    }

    fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path))
    }

    /// Returns the JSON of an answer that must be 200.
    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Waits until an answer is as it should be; ten seconds at most.
    #[track_caller]
    fn wait_until(&self, path: &str, is_right: impl Fn(&Answer) -> bool) {
        let started = Instant::now();
        loop {
            let answer = self.get(path);
            if is_right(&answer) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{path}: {} {}", answer.status, answer.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
    }

    /// Waits for its end after a signal; returns its exit code.
    fn stop_waiting(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn clock(version: &str) -> FakePlugin {
    FakePlugin::new(CLOCK, version)
}

fn tides(version: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version).platforms(["linux-amd64", "linux-arm64"]).backend("gpx_tides")
}

/// Returns a world in which every package of this catalog is stored.
fn stored(catalog: FakeCatalog) -> World {
    let world = World::new(catalog);
    let arguments = ["fetch", "--all", "--latest", "9", "--platform", "linux-amd64", "--platform", "linux-arm64"];
    world.run(&arguments).expect_code(0);
    world
}
