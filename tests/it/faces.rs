//! Every operation on every face of Grafana: what is asked for is done, or taken back, on disk and in the registry.
//!
//! *Invariant:* what is refused stands in one table with its reason, and a line that no longer holds has to go.

use std::collections::BTreeMap;

use crate::fleet::QUICK;
use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_grafana::face::Face;
use crate::support::fake_grafana::fleet::FakeWorkspace;
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Output;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const MAP: &str = "acme-map-panel";
const SEA: &str = "acme-sea-app";
const TIDES: &str = "acme-tides-datasource";

/// What is done to a workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    /// Three plugins, of which one has a backend, come to an empty server.
    Install,
    /// An app is upgraded with the plugin it needs.
    InstallDependency,
    /// An app is upgraded, and the plugin it needs stays as it is: neither the written nor the newest version.
    InstallHeld,
    /// One of two plugins is removed.
    Uninstall,
    /// One plugin is upgraded, two are new, of which one has a backend.
    Apply,
    /// An app is upgraded with a plugin it needs, which is locked neither at the written nor at the newest version.
    ApplyDependency,
    /// An app is upgraded, and a plugin it needs stays as it is locked: neither at the written nor at the newest version.
    ApplyHeld,
    /// As `Apply`, and a gate fails.
    Rollback,
    /// As `ApplyDependency`, and a gate fails.
    RollbackDependency,
    /// As `Apply`, killed in the middle.
    Resume,
    /// As `ApplyDependency`, killed in the middle.
    ResumeDependency,
    /// As `Apply`, taken back later.
    Undo,
    /// As `ApplyDependency`, taken back later.
    UndoDependency,
    /// As `ApplyHeld`, taken back later.
    UndoHeld,
}

/// What is refused, and rightly, with the reason that is given. Amazon's gateway keeps the library panels back: they may use a
/// plugin, and nothing is removed of which it cannot be read whether something uses it (`--force` does it all the same).
const REFUSED: &[(Face, Operation, &str)] =
    &[(Face::Amazon, Operation::Uninstall, "library panels: the workspace gave no answer")];

fn plugin(id: &str, version: &str) -> FakePlugin {
    FakePlugin::new(id, version).grafana_dependency(">=7.0.0")
}

fn catalog() -> FakeCatalog {
    let mut catalog = FakeCatalog::new();
    for version in ["1.0.0", "2.0.0", "2.1.0", "2.2.0"] {
        catalog.add(plugin(CLOCK, version));
    }
    catalog
        .publish(plugin(MAP, "3.0.0"))
        .publish(plugin(TIDES, "1.0.0").backend("gpx_tides"))
        .publish(plugin(SEA, "1.0.0").depends_on(CLOCK, "^1.0.0"))
        .publish(plugin(SEA, "2.0.0").depends_on(CLOCK, "^2.0.0"))
}

/// Plugins with their versions.
type Contents = &'static [(&'static str, &'static str)];

const FORMER: Contents = &[(CLOCK, "1.0.0")];
const NEW: Contents = &[(CLOCK, "2.2.0"), (MAP, "3.0.0"), (TIDES, "1.0.0")];
const FORMER_APP: Contents = &[(CLOCK, "1.0.0"), (SEA, "1.0.0")];
const HELD_APP: Contents = &[(CLOCK, "2.1.0"), (SEA, "1.0.0")];
const NEW_APP: Contents = &[(CLOCK, "2.1.0"), (SEA, "2.0.0")];

/// One server with a face, and the program that knows it.
struct Place {
    world: World,
    server: FakeWorkspace,
    face: Face,
}

/// What happened instead.
type Done = Result<(), String>;

impl Place {
    fn new(face: Face, former: Contents) -> Self {
        let (world, server) = World::new(catalog()).workspace_as("prod", face);
        for (id, version) in former {
            server.preinstalled(id, version);
        }
        Self { world, server, face }
    }

    /// Returns a place with a manifest of what is wanted, and with its lock.
    fn locked(face: Face, wanted: &str, former: Contents, gate: &str) -> Self {
        let mut place = Self::new(face, former);
        let lines = format!("{wanted}[rollout]\nwaves = [\"100%\"]\n{QUICK}{gate}");
        place.world = place.world.manifest(&lines);
        place.world.run(&["lock"]);
        place
    }

    /// Runs the program; where there is no install route it has to refuse and to send nothing.
    fn run(&self, code: i32, arguments: &[&str], wanted: Contents, former: Contents) -> Done {
        let output = self.world.run(arguments);
        if self.face == Face::V7_5 {
            let sent = self.server.requests().iter().filter(|request| request.method != "GET").count();
            return match (output.code, sent) {
                (1..=8, 0) => self.holds(former, &output),
                (code, sent) => Err(format!("not refused: exit code {code}, {sent} changes sent; {}", last(&output))),
            };
        }
        self.holds(wanted, &output)?;
        if output.code == code { Ok(()) } else { Err(format!("exit code {}: {}", output.code, last(&output))) }
    }

    /// Compares disk and registry.
    fn holds(&self, wanted: Contents, output: &Output) -> Done {
        let wanted: BTreeMap<_, _> =
            wanted.iter().map(|(id, version)| ((*id).to_owned(), (*version).to_owned())).collect();
        for (name, found) in [("registry", self.server.installed()), ("disk", self.server.on_disk())] {
            if found != wanted {
                return Err(format!("{name} {found:?}; exit code {}: {}", output.code, last(output)));
            }
        }
        Ok(())
    }

    /// Begins a rollout that is killed after an entry of its journal, as by a power cut.
    fn is_killed(&self) -> Done {
        let mut command = self.world.sandbox.command(&["apply", "--yes"]);
        let child = command.env("PLUGPORT_TEST_STOP_AFTER", "6").spawn().expect("the program starts");
        let (code, _, stderr) = crate::fleet::finish(child);
        if code == -1 || self.face == Face::V7_5 { Ok(()) } else { Err(format!("it ended with {code}: {stderr}")) }
    }
}

/// The end of what the program said.
fn last(output: &Output) -> String {
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

const THREE: &str = "[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-map-panel\"\n\
    [[plugin]]\nid = \"acme-tides-datasource\"\n";
const APP: &str = "[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"~2.1\"\n[[plugin]]\nid = \"acme-sea-app\"\n";
const RED: &str = "commands = [[\"false\"]]\n";

fn carry_out(face: Face, operation: Operation) -> Done {
    let apply = |wanted, former, gate| Place::locked(face, wanted, former, gate);
    match operation {
        Operation::Install => {
            let place = Place::new(face, &[]);
            place.run(0, &["install", CLOCK, MAP, TIDES, "--on", "prod"], NEW, &[])
        }
        Operation::InstallDependency => {
            let place = Place::new(face, FORMER_APP);
            place.run(0, &["install", SEA, "--on", "prod"], &[(CLOCK, "2.2.0"), (SEA, "2.0.0")], FORMER_APP)
        }
        Operation::InstallHeld => {
            // Since 12 a server moves it to the newest version, which is told and satisfies the app.
            let is_moved = matches!(face, Face::V12_1 | Face::V13);
            let wanted: Contents = if is_moved { &[(CLOCK, "2.2.0"), (SEA, "2.0.0")] } else { NEW_APP };
            Place::new(face, HELD_APP).run(0, &["install", SEA, "--on", "prod"], wanted, HELD_APP)
        }
        Operation::Uninstall => {
            let both: Contents = &[(CLOCK, "1.0.0"), (MAP, "3.0.0")];
            Place::new(face, both).run(0, &["uninstall", CLOCK, "--on", "prod"], &[(MAP, "3.0.0")], both)
        }
        Operation::Apply => apply(THREE, FORMER, "").run(0, &["apply", "--yes"], NEW, FORMER),
        Operation::ApplyDependency => apply(APP, FORMER_APP, "").run(0, &["apply", "--yes"], NEW_APP, FORMER_APP),
        Operation::ApplyHeld => apply(APP, HELD_APP, "").run(0, &["apply", "--yes"], NEW_APP, HELD_APP),
        Operation::UndoHeld => undone(&apply(APP, HELD_APP, ""), NEW_APP, HELD_APP),
        Operation::Rollback => rolled_back(&apply(THREE, FORMER, RED), FORMER),
        Operation::RollbackDependency => rolled_back(&apply(APP, FORMER_APP, RED), FORMER_APP),
        Operation::Resume => resumed(&apply(THREE, FORMER, ""), NEW, FORMER),
        Operation::ResumeDependency => resumed(&apply(APP, FORMER_APP, ""), NEW_APP, FORMER_APP),
        Operation::Undo => undone(&apply(THREE, FORMER, ""), NEW, FORMER),
        Operation::UndoDependency => undone(&apply(APP, FORMER_APP, ""), NEW_APP, FORMER_APP),
    }
}

/// A rollout that never began has taken nothing back.
fn rolled_back(place: &Place, former: Contents) -> Done {
    place.run(1, &["apply", "--yes"], former, former)?;
    let sent = place.server.requests().iter().filter(|request| request.method != "GET").count();
    if sent > 1 || place.face == Face::V7_5 { Ok(()) } else { Err(format!("{sent} changes sent")) }
}

fn resumed(place: &Place, wanted: Contents, former: Contents) -> Done {
    place.is_killed()?;
    place.run(0, &["rollout", "resume"], wanted, former)
}

fn undone(place: &Place, wanted: Contents, former: Contents) -> Done {
    place.run(0, &["apply", "--yes"], wanted, former)?;
    place.run(0, &["rollout", "undo", "--yes"], former, former)
}

/// Compares one operation on all faces with the table, in both directions.
#[track_caller]
fn on_every_face(operation: Operation) {
    let mut wrong = Vec::new();
    for face in Face::ALL {
        let refused = REFUSED.iter().find(|(on, of, _)| (*on, *of) == (face, operation));
        match (carry_out(face, operation), refused) {
            (Err(what), Some((.., reason))) if what.contains(reason) => {}
            (Err(what), _) => wrong.push(format!("(Face::{face:?}, Operation::{operation:?}, {what:?}),")),
            (Ok(()), Some((.., reason))) => {
                wrong.push(format!("{face:?} {operation:?} works now: delete \"{reason}\""));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn install_on_every_face() {
    on_every_face(Operation::Install);
}

#[test]
fn install_with_a_dependency_on_every_face() {
    on_every_face(Operation::InstallDependency);
}

#[test]
fn install_with_a_dependency_that_stays_on_every_face() {
    on_every_face(Operation::InstallHeld);
}

#[test]
fn apply_and_undo_with_a_dependency_that_stays_on_every_face() {
    on_every_face(Operation::ApplyHeld);
    on_every_face(Operation::UndoHeld);
}

#[test]
fn uninstall_on_every_face() {
    on_every_face(Operation::Uninstall);
}

#[test]
fn apply_on_every_face() {
    on_every_face(Operation::Apply);
}

#[test]
fn apply_with_a_dependency_on_every_face() {
    on_every_face(Operation::ApplyDependency);
}

#[test]
fn rollback_on_every_face() {
    on_every_face(Operation::Rollback);
}

#[test]
fn rollback_with_a_dependency_on_every_face() {
    on_every_face(Operation::RollbackDependency);
}

#[test]
fn resume_on_every_face() {
    on_every_face(Operation::Resume);
}

#[test]
fn resume_with_a_dependency_on_every_face() {
    on_every_face(Operation::ResumeDependency);
}

#[test]
fn undo_on_every_face() {
    on_every_face(Operation::Undo);
}

#[test]
fn undo_with_a_dependency_on_every_face() {
    on_every_face(Operation::UndoDependency);
}
