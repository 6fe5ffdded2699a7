//! `schema`, end to end: what manifests and locks look like, for editors and checks.

use serde_json::{Value, json};

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::World;

/// The manifest of the README and one with what is seldom said.
const MANIFESTS: [&str; 2] = [
    r#"
[catalog]
source = "https://grafana.com/api"
[trust]
signatures = "require"
unsigned = ["acme-internal-panel"]
min-release-age = "3d"
preflight = true
[[workspace]]
name = "prod-eu"
kind = "amg"
url = "https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com"
token = { env = "PROD_EU_TOKEN" }
labels = { tier = "prod", region = "eu" }
[[plugin]]
id = "grafana-athena-datasource"
version = "^2.12"
on = "tier=prod"
ensure = "present"
[rollout]
waves = ["tier=prod", "10%", "100%"]
max-concurrent = 8
max-failures = 0
soak = "5m"
health = ["grafana", "plugin", "datasources"]
on-failure = "rollback"
"#,
    r#"
[catalog]
source = "https://grafana.com/api"
token = { command = ["pass", "show", "grafana"] }
[[workspace]]
name = "office"
kind = "grafana"
url = "http://10.0.0.7:3000/grafana/"
allow-http = true
user = "admin"
password = { file = "secrets/office" }
platform = "linux-arm64"
[[workspace]]
name = "laptop"
kind = "directory"
path = "./plugins"
grafana = "12.1.0"
[rollout]
commands = [["true"]]
snapshot = true
gate-passes = 2
[network]
tries = 2
"#,
];

/// Returns what of a value a schema does not accept, by its path: the words that ours use. Patterns are not looked at.
fn faults(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut refuse = |what: String| found.push(format!("{path}: {what}"));
    let holds = |schema: &Value| faults(root, schema, value, path).is_empty();
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind(value)) {
        refuse(format!("it is no {}", schema["type"]));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        refuse(format!("it is not {}", schema["const"]));
    }
    for (word, wanted) in [("oneOf", 1..=1), ("anyOf", 1..=usize::MAX)] {
        let count = schema[word].as_array().map(|all| all.iter().filter(|one| holds(one)).count());
        if count.is_some_and(|count| !wanted.contains(&count)) {
            refuse(format!("{word} does not hold"));
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value[key].is_null() {
            refuse(format!("`{key}` is missing"));
        }
    }
    if !schema["if"].is_null() && !holds(&schema[if holds(&schema["if"]) { "then" } else { "else" }]) {
        refuse("it lacks what its kind needs".to_owned());
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        found.extend(faults(root, &root["$defs"][name], value, path));
    }
    found.extend(below(root, schema, value, path));
    found
}

fn below(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, one) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => found.push(format!("{path}: it is not known")),
            (Value::Null, more) => found.extend(faults(root, more, one, &path)),
            (known, _) => found.extend(faults(root, known, one, &path)),
        }
    }
    for one in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        found.extend(faults(root, &schema["items"], one, &format!("{path}[]")));
    }
    found
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn judged(schema: &Value, text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().expect("TOML");
    faults(schema, schema, &serde_json::to_value(table).expect("plain values"), "")
}

fn schema(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.run(arguments).expect_code(0).stdout).expect("JSON")
}

#[test]
fn manifests_that_are_read_are_accepted_and_slips_are_found() {
    let world = World::unsynced(FakeCatalog::new());
    let schema = schema(&world, &["schema"]);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(world.json(0, &["schema", "manifest"])["schema"], schema);
    for text in MANIFESTS {
        assert_eq!(judged(&schema, text), Vec::<String>::new());
        world.sandbox.write("plugport.toml", text);
        world.run(&["workspace", "list"]).expect_code(0);
    }
    for (slip, wanted) in [
        ("tocken = 1", ".tocken: it is not known"),
        ("[trust]\npreflight = \"yes\"", ".trust.preflight: it is no \"boolean\""),
        ("[trust]\nsignatures = \"maybe\"", ".trust.signatures: oneOf does not hold"),
        ("[catalog]\ntoken = \"glsa_secret\"", ".catalog.token: oneOf does not hold"),
        ("[[plugin]]\nversion = \"1\"", ".plugin[]: `id` is missing"),
        ("[[workspace]]\nname = \"a\"\nkind = \"directory\"", ".workspace[]: it lacks what its kind needs"),
    ] {
        assert_eq!(judged(&schema, slip), [wanted], "{slip}");
    }
}

#[test]
fn a_lock_that_is_written_is_accepted() {
    let catalog = FakeCatalog::new().publish(FakePlugin::new("acme-clock-panel", "1.0.0"));
    let lines =
        "[[workspace]]\nname = \"a\"\nkind = \"directory\"\npath = \"p\"\n[[plugin]]\nid = \"acme-clock-panel\"\n";
    let world = World::new(catalog).manifest(lines);
    world.run(&["lock"]).expect_code(0);
    let lock = std::fs::read_to_string(world.path("plugport.lock")).expect("a lock");
    let schema = schema(&world, &["schema", "lock"]);
    assert_eq!(judged(&schema, &lock), Vec::<String>::new());
    assert_eq!(judged(&schema, &lock.replace("reason =", "why =")).len(), 2, "one key is missing, one is not known");
    assert_eq!(schema["properties"]["catalog"]["$ref"], json!("#/$defs/Snapshot"));
}

/// Runs a command beside a manifest that is no TOML and in a cache that does not exist.
fn beside_a_broken_manifest(arguments: &[&str]) -> crate::support::sandbox::Output {
    let sandbox = crate::support::sandbox::Sandbox::new();
    sandbox.write("plugport.toml", "[[workspace]\nname = ");
    sandbox.run(arguments)
}

#[test]
fn what_needs_no_manifest_works_beside_a_broken_one() {
    for arguments in [
        &["schema"][..],
        &["schema", "lock"],
        &["completions", "bash"],
        &["man"],
        &["help"],
        &["--help"],
        &["help", "apply"],
        &["--version"],
        &["rollout", "list"],
    ] {
        let output = beside_a_broken_manifest(arguments);
        assert!(!output.stderr.contains("plugport.toml"), "{arguments:?}: {}", output.stderr);
        output.expect_code(0);
    }
    // The catalog can be searched whatever the manifest says: here there is none.
    for arguments in [&["search", "clock"][..], &["versions", "a-clock-panel"], &["diff"]] {
        beside_a_broken_manifest(arguments).expect_code(6).expect_stderr("plugport sync");
    }
}

#[test]
fn what_goes_by_the_manifest_says_what_is_wrong_with_it() {
    for arguments in [&["list"][..], &["plan"], &["lock"], &["workspace", "list"], &["verify", "--all"]] {
        beside_a_broken_manifest(arguments).expect_code(2).expect_stderr("plugport.toml");
    }
}
