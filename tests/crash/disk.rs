//! A disk that is really full: promise S8. It is a small file system in memory, seen by one shell and its children alone.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::ground::Ground;
use crate::judge;
use crate::point::side_by_side;
use crate::process::{plugport_below, run};
use crate::scenario::Scenario;
use crate::state;
use crate::summary::{Outcome, Summary};

/// How much room there is beside what is there already, in KiB.
const ROOM: [u32; 12] = [0, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384];

/// Makes the file system, runs the program in it, copies what is there, makes room, and runs the program again.
const SCRIPT: &str = r#"
set -e
place=$PWD room=$1; shift
mkdir disk; mount -t tmpfs -o size=256m none disk
cp -a start/. disk/; cd disk
used=$(df -k --output=used . | tail -n 1)
mount -o remount,size=$((used + room))k none .
export PLUGPORT_CACHE=$PWD/cache HOME=$PWD
code=0; "$@" || code=$?
mkdir "$place/found" "$place/final"
cp -a . "$place/found/"
mount -o remount,size=256m none .
again=0; "$@" >"$place/again" 2>&1 || again=$?
cp -a . "$place/final/"
echo "$again" >>"$place/again"
exit $code
"#;

/// Tries every scenario that there is, with every amount of room.
pub(crate) fn run_all(ground: &Ground, scenarios: &[Scenario], summary: &mut Summary) {
    let mount = "mount -t tmpfs -o size=64k none . && mount -o remount,size=128k none .";
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", mount]).current_dir(ground.path()).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        summary.note("NOT TESTED: a full disk; no file system can be mounted here".to_owned());
        return;
    }
    let pairs = scenarios.iter().flat_map(|scenario| ROOM.map(|room| (scenario, room)));
    let pairs: VecDeque<_> = pairs.collect();
    let results = Mutex::new(summary);
    side_by_side(pairs, |(scenario, room)| {
        let outcome = attempt(ground, scenario, room);
        let mut summary = results.lock().unwrap_or_else(PoisonError::into_inner);
        summary.add(scenario.name, "full disk", &format!("a disk with {room} KiB left"), outcome);
    });
}

fn attempt(ground: &Ground, scenario: &Scenario, room: u32) -> Outcome {
    let place = ground.place(None);
    crate::ground::copy(&scenario.start, &place.join("start"));
    let room = room.to_string();
    let outer = ["unshare", "-rm", "sh", "-c", SCRIPT, "sh", &room].map(Into::into);
    let ran = run(&mut plugport_below(place.path(), &outer, &scenario.arguments));
    let said = std::fs::read_to_string(place.join("again")).unwrap_or_default();
    let (found, last) = (state::read(&place.join("found")), state::read(&place.join("final")));
    let mut wrong = judge::between(scenario, &found);
    let was_tried = ran.code() != Some(0);
    if !was_tried {
        wrong.extend(judge::false_success(scenario, &found));
    }
    wrong.extend(judge::unfit(&ran));
    let code = said.lines().last().and_then(|code| code.parse().ok());
    if judge::is_done(scenario, code, &said) {
        wrong.extend(judge::differences(&last, &scenario.new));
    } else {
        wrong.push(format!("with room again, the next run failed: {}", said.replace('\n', " | ")));
    }
    Outcome { hit: None, was_tried, succeeded: false, wrong }
}
