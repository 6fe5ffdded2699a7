//! `init` and `validate`, end to end.

use serde_json::json;

use crate::support::sandbox::Sandbox;

fn manifest(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path().join("plugport.toml")).expect("a manifest")
}

#[test]
fn a_first_manifest_is_sound_and_never_replaces_a_file() {
    let sandbox = Sandbox::new();
    let output =
        sandbox.run(&["init"]).expect_code(0).expect_stdout("written: plugport.toml (0 workspaces, 0 plugins)");
    output.expect_stdout("1. add a `[[workspace]]` to `plugport.toml`").expect_stdout("`plugport sync`");
    sandbox.run(&["validate"]).expect_code(0).expect_stdout("`plugport.toml` is valid: 0 workspaces");
    let first = manifest(&sandbox);
    sandbox.run(&["init", "--dir", "."]).expect_code(2).expect_stderr("`plugport.toml` exists and is not replaced");
    assert_eq!(manifest(&sandbox), first);
    sandbox.run(&["init", "--config", "other.toml"]).expect_code(0);
    std::os::unix::fs::symlink("nowhere", sandbox.path().join("link.toml")).expect("a link");
    sandbox.run(&["init", "--config", "link.toml"]).expect_code(2);
}

#[test]
fn a_server_is_named_after_its_host_and_its_token_stays_outside() {
    let sandbox = Sandbox::new().env("METRICS_TOKEN", "glsa_secret");
    let arguments = ["--json", "init", "--url", "https://metrics.example.com/grafana", "--token-env", "METRICS_TOKEN"];
    let document = sandbox.run(&arguments).expect_code(0).json();
    assert_eq!((&document["workspaces"], &document["manifest"]), (&json!(["metrics"]), &json!("plugport.toml")));
    let next: Vec<_> = document["next"].as_array().into_iter().flatten().filter_map(|step| step.as_str()).collect();
    assert!(next[0].contains("plugport workspace ping") && next[1].contains("plugport sync"), "{next:?}");
    let text = manifest(&sandbox);
    assert!(text.contains("token = { env = \"METRICS_TOKEN\" }") && !text.contains("glsa_secret"), "{text}");
    sandbox.run(&["workspace", "list"]).expect_code(0).expect_stdout("https://metrics.example.com/grafana");
}

#[test]
fn what_would_be_refused_is_not_written() {
    let sandbox = Sandbox::new();
    for (arguments, wanted) in [
        (&["--url", "https://metrics.example.com"][..], "--token-env"),
        (&["--url", "http://metrics.example.com", "--token-env", "T"], "is not https"),
        (&["--url", "https://ann:hunter2@metrics.example.com", "--token-env", "T"], "nothing was written"),
        (&["--dir", "missing"], "`missing` cannot be read"),
        (&["--from-preinstall", "grafana:\n  replicas: 1"], "`grafana:` is not a plugin"),
        (&["--from-preinstall", " , "], "names no plugin"),
    ] {
        let output = sandbox.run(&[&["init"], arguments].concat()).expect_code(2).expect_stderr(wanted);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        assert!(!sandbox.path().join("plugport.toml").exists(), "{arguments:?}");
    }
}

#[test]
fn a_folder_and_the_list_of_an_image_become_a_manifest() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("plugins")).expect("a folder");
    let list = "GF_INSTALL_PLUGINS=grafana-clock-panel 1.3.1,acme-sea-app,https://host/x.zip;acme-own-panel";
    let output = sandbox.run(&["init", "--dir", "plugins", "--from-preinstall", list]).expect_code(0);
    let output = output.expect_stdout("(1 workspace, 3 plugins)").expect_stdout("`plugport lock`");
    output.expect_stderr("note: acme-own-panel was installed from an address");
    let text = manifest(&sandbox);
    assert!(text.contains("[[plugin]]\nid = \"grafana-clock-panel\"\nversion = \"1.3.1\"\n"), "{text}");
    assert!(text.contains("path = \"plugins\"") && !text.contains("x.zip"), "{text}");
    let output = sandbox.run(&["validate"]).expect_code(0);
    output.expect_stdout("`plugport.toml` is valid: 1 workspace, 3 plugin entries, 0 data sources");
}

#[test]
fn validate_names_the_line_and_what_is_not_here() {
    let sandbox = Sandbox::new().env("EMPTY_TOKEN", "");
    let output = sandbox.run(&["validate"]).expect_code(2).expect_stderr("there is no manifest `plugport.toml`");
    output.expect_stderr("hint: `plugport init` writes one");
    sandbox.write(
        "plugport.toml",
        "[[workspace]]\nname = \"a\"\nkind = \"grafana\"\nurl = \"https://a.example\"\ntoken = { env = \"EMPTY_TOKEN\" }\n\
         [[workspace]]\nname = \"b\"\nkind = \"directory\"\npath = \"missing\"\n\
         [[workspace]]\nname = \"c\"\nkind = \"grafana\"\nurl = \"https://c.example\"\ntoken = { file = \"no-file\" }\n",
    );
    let document = sandbox.run(&["--json", "validate"]).expect_code(0).json();
    assert_eq!((&document["valid"], &document["workspaces"]), (&json!(true), &json!(3)));
    assert_eq!(document["missing"].as_array().map(Vec::len), Some(3), "{document}");
    let output =
        sandbox.run(&["validate"]).expect_code(0).expect_stderr("note: a: the environment variable `EMPTY_TOKEN`");
    output.expect_stderr("note: b: there is no folder `").expect_stderr("note: c: there is no file `");
    sandbox.write("plugport.toml", "[rollout]\nmax-concurrent = 0\n");
    sandbox.run(&["validate"]).expect_code(2).expect_stderr("line 2");
    let document = sandbox.run(&["--json", "validate"]).expect_code(2).json();
    assert_eq!(document["error"]["kind"], "usage");
}
