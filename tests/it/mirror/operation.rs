//! What those who operate a mirror rely on: the numbers that the dashboard and the alert rules name, and the supervisor.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    time::Duration,
};

use rustix::process::Signal;

use super::{CLOCK, Mirror, Request, clock, stored};
use crate::{
    support::{
        fake_grafana::{catalog::FakeCatalog, fault::Fault},
        sandbox::Sandbox,
    },
    world::World,
};

/// Labels that Prometheus adds to everything it reads from a mirror.
const OF_THE_SCRAPER: [&str; 2] = ["instance", "job"];

/// The names of metrics, each with its labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_dashboard_and_the_alert_rules_name_only_what_is_exported() {
    let exported = exported();
    let labels: BTreeSet<&str> = exported.values().flatten().map(String::as_str).chain(OF_THE_SCRAPER).collect();
    for file in ["dashboard.json", "alerts.yml"] {
        let text = read(&format!("monitoring/{file}"));
        let named = named(&text);
        assert!(named.len() > 8, "{file} names {named:?}");
        for (metric, selected) in named {
            let found = exported.get(&metric).unwrap_or_else(|| panic!("{file}: `{metric}` is not in {exported:#?}"));
            let unknown: Vec<_> = selected
                .iter()
                .filter(|label| !found.contains(*label) && !OF_THE_SCRAPER.contains(&label.as_str()))
                .collect();
            assert!(unknown.is_empty(), "{file}: `{metric}` has no label {unknown:?}");
        }
        for grouped in text.split("by (").skip(1).filter_map(|rest| rest.split_once(')')) {
            let unknown: Vec<_> = grouped.0.split(", ").filter(|label| !labels.contains(label)).collect();
            assert!(unknown.is_empty(), "{file}: nothing has the label {unknown:?}");
        }
    }
}

/// Returns what a mirror exports after one of everything happened to it.
fn exported() -> Metrics {
    let catalog = FakeCatalog::new().publish(clock("1.0.0"));
    let world = World::new(catalog);
    world.upstream.fault(Fault::on("GET", "/api/plugins").status(500));
    let mirror = Mirror::start(&world, &["--metadata-only", "--sync-every", "1s"]);
    let download = format!("/api/plugins/{CLOCK}/versions/1.0.0/download");
    mirror.send(Request::get(&download).grafana("12.1.0", "linux", "amd64")).expect_refusal(404, "NotFound");
    mirror.wait_until("/metrics", |answer| answer.text().contains("plugport_sync_errors_total{"));
    let answer = mirror.get("/metrics");
    named(&answer.text().lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n"))
}

/// Returns the metrics that a text names, each with the labels that it names in braces.
fn named(text: &str) -> Metrics {
    let mut found = Metrics::new();
    for (at, _) in text.match_indices("plugport_") {
        let rest = &text[at..];
        let end = rest.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(rest.len());
        let labels = found.entry(rest[..end].to_owned()).or_default();
        let braces = rest[end..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let pairs = braces.into_iter().flat_map(|(inside, _)| inside.split(','));
        labels.extend(pairs.filter_map(|pair| Some(pair.split_once(['=', '!'])?.0.trim().to_owned())));
    }
    found
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_supervisor_hears_that_the_mirror_is_ready_lives_and_stops() {
    let folder = Sandbox::new();
    let socket = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&socket).expect("a socket");
    supervisor.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let world = world.env("NOTIFY_SOCKET", &socket.to_string_lossy()).env("WATCHDOG_USEC", "400000");
    let hear = || {
        let mut message = [0; 100];
        let length = supervisor.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(hear(), "READY=1");
    assert_eq!([hear(), hear(), hear()], ["WATCHDOG=1"; 3]);
    mirror.signal(Signal::TERM);
    let last = std::iter::repeat_with(hear).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert_eq!(mirror.stop_waiting(), Some(0));
}

/// Every command line of a unit is one that the program accepts, and the manifest beside it is valid.
#[test]
fn the_units_and_their_manifest_are_for_this_program() {
    let sandbox = Sandbox::new();
    let mut commands = 0;
    for unit in ["plugport.service", "plugport-sync.service"] {
        let text = read(&format!("systemd/{unit}"));
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/plugport ")) {
            let arguments: Vec<_> = line.split(' ').chain(["--help"]).collect();
            sandbox.run(&arguments).expect_code(0);
            commands += 1;
        }
        for setting in ["DynamicUser=yes", "User=plugport", "StateDirectory=plugport", "NoNewPrivileges=yes"] {
            assert!(text.lines().any(|line| line == setting), "{unit}: {setting}");
        }
    }
    assert_eq!(commands, 3);
    let manifest = sandbox.write("plugport.toml", read("plugport.toml"));
    sandbox.run(&["--config", &manifest.to_string_lossy(), "validate"]).expect_code(0);
}
