//! Data sources that people use: what a rollout does to them, and to their secrets (promise 13).

use serde_json::{Value, json};

use crate::support::fake_grafana::{catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const SEA: &str = "acme-sea-datasource";
const WISH: &str = "[[datasource]]\nplugin = \"acme-sea-datasource\"\nuid = \"sea\"\nname = \"Sea\"\nurl = \"db:1\"\n\
    secrets = { password = { env = \"SEA_PASSWORD\" } }\n";
const ABSENT: &str = "[[datasource]]\nplugin = \"acme-sea-datasource\"\nuid = \"old\"\nensure = \"absent\"\n";

/// A server with the plugin and a data source with a secret, of which the manifest asks for these lines.
fn world(lines: &str) -> (World, FakeWorkspace) {
    let (world, server) =
        World::new(FakeCatalog::new().publish(FakePlugin::new(SEA, "1.0.0"))).workspace("prod", "12.1.0");
    let quick = "[rollout]\nhealth = [\"grafana\"]\ngate-timeout = \"200ms\"\ngate-pause = \"20ms\"\n";
    let world = world.manifest(&format!("[[plugin]]\nid = \"{SEA}\"\n{lines}{quick}")).env("SEA_PASSWORD", "canary");
    server.preinstalled(SEA, "1.0.0");
    for (uid, name) in [("sea", "Sea"), ("old", "Old")] {
        server.data_source(uid, SEA);
        let fields = [("name", json!(name)), ("url", json!("db:1")), ("secureJsonFields", json!({"password": true}))];
        for (key, value) in fields {
            server.change_data_source(uid, key, value);
        }
    }
    world.run(&["lock"]).expect_code(0);
    (world, server)
}

fn sent(server: &FakeWorkspace, method: &str) -> usize {
    server.requests().iter().filter(|request| request.method == method).count()
}

fn uids(server: &FakeWorkspace) -> Vec<Value> {
    server.data_sources().iter().map(|source| source["uid"].clone()).collect()
}

#[test]
fn a_changed_secret_alone_is_rolled_out_when_that_is_asked_for() {
    let (world, server) = world(WISH);
    let document = world.json(0, &["plan"]);
    assert_eq!(document["content"], Value::Null, "{document}");
    let document = world.json(0, &["plan", "--resend-secrets", "--out", "p.json"]);
    assert_eq!(document["content"].as_array().map(Vec::len), Some(1), "{document}");
    assert!(document["warnings"].to_string().contains("no rollback can restore"), "{document}");
    world.json(0, &["apply", "p.json"]);
    assert_eq!(server.given_secrets(), [("sea".to_owned(), json!({"password": "canary"}))]);
    let output = world.run(&["apply", "p.json", "--resend-secrets"]);
    output.expect_code(2);
}

#[test]
fn a_rollback_that_cannot_restore_secrets_is_no_success() {
    let (world, server) = world(WISH);
    let world = world.manifest("commands = [[\"false\"]]\n");
    let document = world.json(8, &["apply", "--yes", "--resend-secrets"]);
    assert_eq!(document["ending"], "rollback-failed", "{document}");
    assert!(document["results"].to_string().contains("cannot be restored"), "{document}");
    assert_eq!(server.given_secrets().len(), 1);
}

#[test]
fn a_secret_that_cannot_be_fetched_keeps_the_rollout_from_beginning() {
    let (world, server) = world(&WISH.replace("SEA_PASSWORD", "MISSING"));
    let output = world.run(&["apply", "--yes", "--resend-secrets"]);
    output.expect_code(1).expect_stderr("`MISSING`").expect_stderr("nothing was changed");
    assert_eq!(sent(&server, "PUT") + sent(&server, "POST"), 0);
    assert_eq!(world.json(0, &["rollout", "list"])["rollouts"], json!([]));
}

#[test]
fn a_data_source_with_secrets_is_removed_after_the_gate_and_only_with_consent() {
    let (world, server) = world(ABSENT);
    let document = world.json(0, &["plan"]);
    assert!(document["blocked"][0]["reason"].to_string().contains("(password)"), "{document}");
    assert!(document["blocked"][0]["hint"].to_string().contains("lose-secrets"), "{document}");
    assert_eq!(document["content"], Value::Null);

    let agreed = format!("{ABSENT}lose-secrets = true\n");
    let (world, ill) = self::world(&agreed);
    let failing = world.manifest("commands = [[\"false\"]]\n");
    let document = failing.json(1, &["apply", "--yes"]);
    assert_eq!((&document["ending"], sent(&ill, "DELETE")), (&json!("rolled-back"), 0), "{document}");
    assert_eq!(uids(&ill), ["sea", "old"]);
    let (world, well) = self::world(&agreed);
    world.json(0, &["apply", "--yes"]);
    assert_eq!(uids(&well), ["sea"]);
    let document = world.json(8, &["rollout", "undo", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed", "{document}");
    assert_eq!(uids(&well), ["sea", "old"]);
    assert_eq!(sent(&server, "DELETE"), 0);
}
