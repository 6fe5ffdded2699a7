//! `add` and `remove`, end to end.

use serde_json::json;

use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";

fn catalog() -> FakeCatalog {
    FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")).publish(FakePlugin::new("acme-sea-app", "3.0.0"))
}

const COMMENTED: &str = "\n# Clocks everywhere\n[[plugin]]\nid = \"acme-clock-panel\" # the small one\nversion = \"^1\" # not 2\n\n\
    # The end\n[rollout]\nmax-failures = 1\n";

fn world() -> World {
    World::new(catalog()).workspace("prod", "12.1.0").0.manifest(COMMENTED)
}

fn manifest(world: &World) -> String {
    std::fs::read_to_string(world.path("plugport.toml")).expect("a manifest")
}

#[test]
fn a_plugin_is_added_and_comments_stay() {
    let world = world();
    let before = manifest(&world);
    let output = world.run(&["add", "acme-sea-app@^3", "--on", "prod"]).expect_code(0);
    let output = output.expect_stdout("added to `plugport.toml`: acme-sea-app (^3) on prod");
    output.expect_stderr("hint: `plugport lock`");
    let added = "# not 2\n\n[[plugin]]\nid = \"acme-sea-app\"\nversion = \"^3\"\non = \"prod\"\n";
    assert_eq!(manifest(&world), before.replace("# not 2\n", added));
    let document = world.json(0, &["add", "acme-sea-app@^3", "--on", "prod"]);
    assert_eq!(
        (&document["changed"], &document["on"], &document["version"]),
        (&json!(0), &json!("prod"), &json!("^3"))
    );
    world.run(&["add", CLOCK]).expect_code(0).expect_stdout("acme-clock-panel (any version) on all");
    let text = manifest(&world);
    assert!(text.contains("# Clocks everywhere\n[[plugin]]\nid = \"acme-clock-panel\" # the small one\n"), "{text}");
    assert!(!text.contains("\"^1\"") && text.contains("# The end\n[rollout]"), "{text}");
}

#[test]
fn a_plugin_of_several_selectors_is_read_back() {
    let world = world();
    let arguments = ["add", "acme-sea-app", "--on", "prod", "--on", "pro*"];
    assert_eq!(world.json(0, &arguments)["changed"], 1);
    assert!(manifest(&world).contains("on = [\"prod\", \"pro*\"]"), "{}", manifest(&world));
    assert_eq!(world.json(0, &arguments)["changed"], 0);
}

#[test]
fn a_slip_changes_nothing() {
    let world = world();
    let before = manifest(&world);
    for (arguments, code, wanted) in [
        (&["add", "acme-clock-pannel"][..], 1, "did you mean acme-clock-panel?"),
        (&["add", "acme-clock-panel@^9"], 1, "the manifest is unchanged"),
        (&["add", CLOCK, "--on", "prd"], 2, "did you mean `prod`?"),
        (&["remove", "acme-clock-pannel"], 2, "did you mean acme-clock-panel?"),
        (&["remove", "acme-sea-app"], 2, "has no entry for `acme-sea-app`"),
    ] {
        world.run(arguments).expect_code(code).expect_stderr(wanted);
        assert_eq!(manifest(&world), before, "{arguments:?}");
    }
    world
        .run(&["add", CLOCK, "--config", "none.toml"])
        .expect_code(2)
        .expect_stderr("there is no manifest `none.toml`");
}

#[test]
fn an_entry_is_removed_and_other_comments_stay() {
    let world = world();
    let before = manifest(&world);
    let output = world.run(&["remove", CLOCK]).expect_code(0).expect_stdout("(1 entry)");
    output.expect_stderr("it stays installed: `plugport uninstall acme-clock-panel --on all`");
    let entry =
        "# Clocks everywhere\n[[plugin]]\nid = \"acme-clock-panel\" # the small one\nversion = \"^1\" # not 2\n\n";
    assert_eq!(manifest(&world), before.replace(entry, ""));
    world.run(&["validate"]).expect_code(0);
}

#[test]
fn without_a_catalog_a_plugin_is_added_unseen() {
    let world = World::unsynced(catalog());
    world.run(&["add", "acme-new-panel"]).expect_code(0).expect_stderr("`acme-new-panel` was not searched");
    assert!(manifest(&world).contains("acme-new-panel"));
}
