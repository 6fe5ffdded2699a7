//! A catalog that has one of everything that pages show.

use super::super::{Mirror, stored};
use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
    world::World,
};

/// The smallest PNG: one pixel.
pub(super) const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 2,
    0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 12, b'I', b'D', b'A', b'T', 0x08, 0xd7, 0x63, 0x38, 0x71, 0xe2, 0x04,
    0x00, 0x04, 0xb4, 0x02, 0x59, 0x2d, 0xd4, 0x8b, 0x2c, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 24 24\"><circle cx=\"12\" cy=\"12\" r=\"10\" \
    fill=\"#0a7\"/><path d=\"M4 13c3-4 5-4 8 0s5 4 8 0\" fill=\"none\" stroke=\"#fff\" stroke-width=\"2\"/></svg>";

const SHOT: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 160 100\"><rect width=\"160\" height=\"100\" \
    fill=\"#123\"/><path d=\"M5 80 40 40 70 60 110 20 155 50\" fill=\"none\" stroke=\"#4df\" stroke-width=\"3\"/></svg>";

const README: &str = "# Tides\n\nShows **tide tables** of [many harbours](https://tides.example/harbours).\n\n\
    ![Tides of a week](img/week.svg)\n\n## Requirements\n\n- Grafana 10.4 or newer\n- A key of the service\n\n\
    | Setting | Meaning | Default |\n|---|---|---|\n| `station` | The id of the harbour | none |\n\
    | `interval` | How often it is asked | `10m` |\n\n```yaml\napiVersion: 1\ndatasources:\n  - name: Tides\n    \
    type: acme-tides-datasource\n    jsonData: { station: \"cuxhaven\" }\n```\n\n> Times are in UTC.\n\n### Support\n\n\
    ![build](https://img.example/build.svg) Write to [us](mailto:tides@acme.example).\n";

const CHANGELOG: &str = "# Changelog\n\n## 2.1.0\n\n- Alerts on spring tides\n- Fixes the time of low water\n\n## 2.0.0\n\n\
    - Needs Grafana 10.4\n";

/// Returns a world with plugins of every kind; the packages of some are stored.
pub(super) fn world() -> World {
    let tides = |version: &str, grafana: &str, date: &str| {
        FakePlugin::new("acme-tides-datasource", version)
            .name("Tides")
            .org("acme", "Acme Instruments")
            .description("Tide tables of two thousand harbours, with forecasts and the height of water now.")
            .keywords(["tides", "harbour", "water"])
            .platforms(["linux-amd64", "linux-arm64"])
            .backend("gpx_tides")
            .grafana_dependency(grafana)
            .created_at(date)
            .downloads(48_211)
            .readme(README)
            .changelog(CHANGELOG)
            .file("img/logo.svg", LOGO)
            .screenshot("Tides of a week", "img/week.svg", SHOT)
            .screenshot("One harbour", "img/harbour.png", PIXEL)
    };
    let mut catalog = FakeCatalog::new()
        .publish(tides("1.9.0", ">=9.0.0", "2024-05-02T08:00:00.000Z"))
        .publish(tides("2.0.0", ">=10.4.0", "2025-02-11T08:00:00.000Z"))
        .publish(tides("2.1.0", ">=12.1.0", "2026-09-20T08:00:00.000Z"))
        .publish(clock("1.0.0", ">=9.0.0"))
        .publish(clock("2.1.8", ">=10.0.0"))
        .publish(
            FakePlugin::new("acme-harbour-app", "1.4.2")
                .name("Harbour control")
                .org("acme", "Acme Instruments")
                .description("Berths, pilots and tides of a harbour on one screen.")
                .depends_on("acme-tides-datasource", "^2.0.0")
                .depends_on("acme-clock-panel", ">=1.0.0")
                .downloads(912)
                .created_at("2026-03-01T08:00:00.000Z"),
        )
        .publish(
            FakePlugin::new("old-worldmap-panel", "1.0.6")
                .name("Worldmap")
                .org("oldies", "Old Panels")
                .status("deprecated")
                .status_context("Use the Geomap panel, which is part of Grafana since 8.1.")
                .angular()
                .downloads(2_400_000)
                .grafana_dependency(">=8.0.0 <12.0.0")
                .created_at("2021-06-01T08:00:00.000Z"),
        );
    for number in 0..58 {
        let kind = ["panel", "datasource", "app"][number % 3];
        let plugin = FakePlugin::new(&format!("sample-number{number:02}-{kind}"), "1.0.0")
            .name(&format!("Sample number {number}"))
            .org(["sample", "second"][number % 2], ["Sample Works", "Second Works"][number % 2])
            .description("One of many plugins, so that there is more than a page of them.")
            .signature(["community", "grafana", "commercial"][number % 3])
            .downloads(number as u64 * 7)
            .created_at("2025-11-01T08:00:00.000Z");
        catalog = catalog.publish(plugin);
    }
    let world = World::new(catalog);
    let fetch = ["fetch", "acme-tides-datasource@2.0.0", "acme-harbour-app", "old-worldmap-panel@1.0.6"];
    let platforms = ["--platform", "linux-amd64", "--platform", "linux-arm64"];
    world.run(&[&fetch[..], &["acme-tides-datasource@2.1.0"], &platforms].concat()).expect_code(0);
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    world
}

fn clock(version: &str, grafana: &str) -> FakePlugin {
    FakePlugin::new("acme-clock-panel", version)
        .name("Clock")
        .org("acme", "Acme Instruments")
        .description("A clock with countdowns and time zones.")
        .grafana_dependency(grafana)
        .downloads(10_023_400)
        .created_at("2025-08-01T08:00:00.000Z")
}

/// Starts a mirror of it that has served a package and missed another.
pub(super) fn mirror(world: &World, arguments: &[&str]) -> Mirror {
    let mirror = Mirror::start(world, arguments);
    let download = |path: &str, grafana: &str| {
        let request = super::Request::get(path).grafana(grafana, "linux", "amd64");
        mirror.send(request.header("User-Agent", &format!("grafana {grafana}")).header("grafana-origin", "api")).status
    };
    for grafana in ["12.1.0", "12.4.1", "12.4.1"] {
        assert_eq!(download("/api/plugins/sample-number01-datasource/versions/1.0.0/download", grafana), 404);
    }
    mirror
}

/// Returns a world in which one plugin is stored, for tests that need no more.
pub(super) fn small() -> World {
    stored(FakeCatalog::new().publish(clock("1.0.0", ">=9.0.0")).publish(clock("2.0.0", ">=11.0.0")))
}
