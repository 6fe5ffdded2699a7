//! `export`, end to end: three locks for seven tools and eight versions of Grafana as files to compare, and what is refused.
//!
//! `PLUGPORT_UPDATE_DOCS=1 cargo test --test it command_export` writes the files of `fixtures/export`.

use std::{fs, path::Path};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin, sandbox::Sandbox};
use crate::world::World;

const TOOLS: [&str; 7] = ["preinstall", "helm", "operator", "terraform", "ansible", "docker", "nix"];
const GRAFANAS: [&str; 8] = ["9.4.0", "10.4.0", "11.2.0", "11.6.0", "12.0.0", "12.1.0", "12.4.0", "13.1.0"];

const ONE: &str = "[[workspace]]\nname = \"main\"\nkind = \"directory\"\npath = \"plugins\"\n";
const FLEET: &str = "[[workspace]]\nname = \"eu\"\nkind = \"directory\"\npath = \"eu\"\n\
    [[workspace]]\nname = \"us\"\nkind = \"directory\"\npath = \"us\"\nlabels = { tier = \"prod\" }\n";
const CLOUD: &str = "[[workspace]]\nname = \"own\"\nkind = \"directory\"\npath = \"own\"\n\
    [[workspace]]\nname = \"stack\"\nkind = \"grafana\"\nurl = \"https://acmeeu.grafana.net\"\ntoken = { env = \"T\" }\n";
const AMAZON: &str = "[[workspace]]\nname = \"main\"\nkind = \"amg\"\n\
    url = \"https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com\"\ntoken = { env = \"T\" }\n";

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/export").join(name)
}

fn lock(name: &str) -> String {
    fs::read_to_string(fixture(&format!("{name}.lock"))).expect("a lock")
}

/// A folder with a manifest and a lock, and neither a catalog nor a network.
fn sandbox(manifest: &str, lock: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("plugport.toml", manifest);
    sandbox.write("plugport.lock", lock);
    sandbox
}

/// Returns what a lock becomes for a tool: each text once, below the versions of Grafana that it is for.
fn texts(sandbox: &Sandbox, tool: &str) -> String {
    let mut found: Vec<(Vec<&str>, String)> = Vec::new();
    for grafana in GRAFANAS {
        let code = if tool == "nix" && lock_has_md5(sandbox) { 8 } else { 0 };
        let output = sandbox.run(&["export", tool, "--grafana", grafana]).expect_code(code);
        let text = output.stdout.replace(grafana, "GRAFANA");
        match found.iter_mut().find(|(_, known)| *known == text) {
            Some((versions, _)) => versions.push(grafana),
            None => found.push((vec![grafana], text)),
        }
    }
    let text = |(versions, text): (Vec<&str>, String)| format!("==== {}\n{text}", versions.join(" "));
    found.into_iter().map(text).collect()
}

fn lock_has_md5(sandbox: &Sandbox) -> bool {
    fs::read_to_string(sandbox.path().join("plugport.lock")).is_ok_and(|lock| lock.contains("md5 = "))
}

#[test]
fn three_locks_are_the_same_files_for_every_tool_and_version_of_grafana() {
    for (name, manifest) in [("one", ONE), ("fleet", FLEET), ("cloud", CLOUD)] {
        let sandbox = sandbox(manifest, &lock(name));
        for tool in TOOLS {
            let (path, is) = (fixture(&format!("{name}.{tool}.txt")), texts(&sandbox, tool));
            if std::env::var_os("PLUGPORT_UPDATE_DOCS").is_some() {
                fs::write(&path, &is).expect("the file can be written");
            }
            let wanted = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(is, wanted, "{} is out of date", path.display());
        }
    }
}

#[test]
fn each_age_of_grafana_gets_the_setting_that_it_reads() {
    let sandbox = sandbox(ONE, &lock("one"));
    let settings = [
        ("9.4.0", "GF_INSTALL_PLUGINS=acme-clock-panel 2.0.0,acme-tides-app 3.0.0"),
        ("11.2.9", "GF_INSTALL_PLUGINS=acme-clock-panel 2.0.0,acme-tides-app 3.0.0"),
        (
            "11.3.0",
            "GF_PLUGINS_PREINSTALL=acme-clock-panel@2.0.0,acme-tides-app@3.0.0\nGF_PLUGINS_PREINSTALL_ASYNC=false",
        ),
        (
            "12.0.9",
            "GF_PLUGINS_PREINSTALL=acme-clock-panel@2.0.0,acme-tides-app@3.0.0\nGF_PLUGINS_PREINSTALL_ASYNC=false",
        ),
        ("12.1.0", "GF_PLUGINS_PREINSTALL_SYNC=acme-clock-panel@2.0.0,acme-tides-app@3.0.0"),
        ("13.1.0", "GF_PLUGINS_PREINSTALL_SYNC=acme-clock-panel@2.0.0,acme-tides-app@3.0.0"),
    ];
    for (grafana, wanted) in settings {
        let output = sandbox.run(&["export", "preinstall", "--grafana", grafana]).expect_code(0);
        let lines: Vec<_> = output.stdout.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.join("\n"), wanted, "{grafana}");
        assert!(!output.stdout.contains("@@"), "{}", output.stdout);
    }
}

#[test]
fn the_document_has_what_the_text_is_made_of() {
    let sandbox = sandbox(FLEET, &lock("fleet"));
    let output = sandbox.run(&["--json", "export", "helm"]).expect_code(0);
    let document = output.json();
    assert_eq!((&document["command"], &document["tool"]), (&json!("export"), &json!("helm")));
    assert_eq!((&document["grafana"], &document["workspaces"]), (&json!("12.4.0"), &json!(["eu", "us"])));
    assert_eq!(document["left_out"], json!([{ "plugin": "prometheus", "version": "12.0.1" }]));
    assert_eq!(
        document["plugins"][0],
        json!({ "plugin": "acme-sea-datasource", "version": "1.4.0" }),
        "first what others need"
    );
    assert_eq!(document["text"], sandbox.run(&["export", "helm"]).stdout);
    output
        .expect_stderr("prometheus 12.0.1 is left out: it is part of Grafana 12.4.0")
        .expect_stderr("acme-worldmap-panel is exported, although only eu has it in the lock");
}

#[test]
fn the_lock_s_digest_is_that_of_the_file() {
    let sandbox = sandbox(ONE, &lock("one"));
    let digest = hex::encode(Sha256::digest(lock("one")));
    sandbox.run(&["export", "nix"]).expect_code(0).expect_stdout(&format!("# The lock: sha256:{digest}\n"));
}

#[test]
fn workspaces_that_disagree_are_refused_with_their_names() {
    let other = lock("fleet").replacen("version = \"1.4.0\"", "version = \"1.5.0\"", 1);
    let fleet = sandbox(FLEET, &other);
    fleet
        .run(&["export", "helm"])
        .expect_code(2)
        .expect_stderr("the workspaces have different versions of acme-sea-datasource: eu 1.5.0, us 1.4.0")
        .expect_stderr("hint: export them one by one with `--on NAME`");
    fleet.run(&["export", "helm", "--on", "tier=prod"]).expect_code(0).expect_stdout("acme-sea-datasource@1.4.0");
    fleet.run(&["export", "helm", "--on", "eu"]).expect_code(0).expect_stdout("acme-sea-datasource@1.5.0");

    let older = sandbox(FLEET, &lock("fleet").replace("12.4.1", "11.6.0"));
    older
        .run(&["export", "helm"])
        .expect_code(2)
        .expect_stderr("the workspaces need different files for their versions of Grafana: eu 12.4.0, us 11.6.0");
    older
        .run(&["export", "helm", "--grafana", "12.4.0"])
        .expect_code(0)
        .expect_stderr("the versions of us were chosen for Grafana 11.6.0, not 12.4.0");
}

#[test]
fn what_is_not_locked_or_not_known_is_an_error_of_the_caller() {
    let bare = Sandbox::new();
    bare.write("plugport.toml", ONE);
    bare.run(&["export", "nix"]).expect_code(2).expect_stderr("there is no lock at `plugport.lock`");
    sandbox(FLEET, &lock("one")).run(&["export", "nix"]).expect_code(2).expect_stderr("the lock has no entry for eu");
    let unknown = lock("one").replace("grafana = \"12.4.0\"\n", "");
    sandbox(ONE, &unknown)
        .run(&["export", "nix"])
        .expect_code(2)
        .expect_stderr("does not know the version of Grafana of main");
    sandbox(ONE, &lock("one"))
        .run(&["export", "helm", "--from-store", "image"])
        .expect_code(2)
        .expect_stderr("`--from-store` is for `plugport export docker`");
    let only_core = lock("one").replace("acme-clock-panel", "loki").replace("acme-tides-app", "tempo");
    let core = sandbox(ONE, &only_core);
    core.run(&["export", "helm"]).expect_code(1).expect_stderr("this version of Grafana brings all of them itself");
    core.run(&["export", "helm", "--grafana", "13.0.0"]).expect_code(0).expect_stdout("loki@2.0.0,tempo@3.0.0");
}

#[test]
fn where_a_tool_can_do_nothing_it_says_so() {
    let amazon = sandbox(AMAZON, &lock("one"));
    let output = amazon
        .run(&["export", "terraform"])
        .expect_code(2)
        .expect_stderr("Terraform has no resource for a plugin of Amazon Managed Grafana, which runs main")
        .expect_stderr("hint: `plugport apply` installs there");
    assert_eq!(output.stdout, "");
    amazon.run(&["export", "docker"]).expect_code(0).expect_stderr("note: main is on Amazon Managed Grafana");
    sandbox(CLOUD, &lock("cloud"))
        .run(&["export", "helm"])
        .expect_code(0)
        .expect_stderr("note: stack is on Grafana Cloud");
}

#[test]
fn a_check_finds_what_is_different_and_writes_nothing() {
    let sandbox = sandbox(ONE, &lock("one"));
    let text = sandbox.run(&["export", "helm"]).expect_code(0).stdout;
    sandbox.write("values.yaml", &text);
    let same = sandbox.run(&["export", "helm", "--check", "values.yaml"]).expect_code(0);
    assert_eq!((same.stdout.as_str(), same.stderr.as_str()), ("", "`values.yaml` is up to date\n"));
    sandbox.write("values.yaml", text.replace('\n', "\r\n"));
    sandbox.run(&["export", "helm", "--check", "values.yaml"]).expect_code(0);

    let old = text.replace("acme-tides-app@3.0.0", "acme-tides-app@2.9.0");
    sandbox.write("values.yaml", &old);
    let output = sandbox.run(&["export", "helm", "--check", "values.yaml"]).expect_code(3);
    let setting = "  GF_PLUGINS_PREINSTALL_SYNC: \"acme-clock-panel@2.0.0,acme-tides-app";
    let wanted = format!(
        "values.yaml: line 7 is no longer right: {setting}@2.9.0\"\nvalues.yaml: line 7 would be: {setting}@3.0.0\"\n"
    );
    assert_eq!((output.stdout, output.stderr), (wanted, String::new()));
    assert_eq!(fs::read_to_string(sandbox.path().join("values.yaml")).expect("there"), old);
    let document = sandbox.run(&["--json", "export", "helm", "--check", "values.yaml"]).expect_code(3).json();
    assert_eq!(document["differences"][0]["change"], "extra");
    sandbox
        .run(&["export", "helm", "--check", "nowhere.yaml"])
        .expect_code(2)
        .expect_stderr("there is no file `nowhere.yaml`");
}

/// A lock of a folder with plugins of a catalog, and an empty store.
fn locked() -> World {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new("acme-clock-panel", "1.0.0"))
        .publish(FakePlugin::new("acme-sea-datasource", "1.4.0").platforms(["linux-amd64", "linux-arm64"]));
    let world = World::new(catalog).manifest(
        "[[workspace]]\nname = \"here\"\nkind = \"directory\"\npath = \"here\"\ngrafana = \"12.4.0\"\nplatform = \"linux-amd64\"\n\
         [[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-sea-datasource\"\n",
    );
    fs::create_dir(world.path("here")).expect("a folder");
    world.run(&["lock"]).expect_code(0);
    world
}

#[test]
fn an_image_gets_the_verified_packages_of_the_store_beside_it() {
    let world = locked();
    let export = ["export", "docker", "--from-store", "image"];
    world
        .run(&export)
        .expect_code(1)
        .expect_stderr("the store has no package of acme-clock-panel 1.0.0 for linux-amd64")
        .expect_stderr("hint: `plugport fetch --locked`");
    assert!(!world.path("image").exists(), "nothing is written unless everything is there");
    world.run(&["fetch", "--locked"]).expect_code(0);
    let downloads = world.downloads();
    let output = world
        .run(&export)
        .expect_code(0)
        .expect_stdout("COPY plugins/acme-clock-panel-1.0.0.any.zip acme-clock-panel.zip\n")
        .expect_stdout("COPY plugins/acme-sea-datasource-1.4.0.linux-amd64.zip acme-sea-datasource.zip\n")
        .expect_stderr("written: image/plugins/acme-clock-panel-1.0.0.any.zip");
    let names = ["acme-clock-panel-1.0.0.any.zip", "acme-sea-datasource-1.4.0.linux-amd64.zip"];
    assert_eq!((world.entries("image/plugins"), world.downloads()), (names.map(str::to_owned).to_vec(), downloads));
    for name in names {
        world.run(&["verify", "--file", &format!("image/plugins/{name}")]).expect_code(0);
    }
    world.sandbox.write("image/Dockerfile", &output.stdout);
    fs::remove_dir_all(world.path("image/plugins")).expect("removed");
    world.run(&[&export[..], &["--check", "image/Dockerfile"]].concat()).expect_code(0);
    assert!(!world.path("image/plugins").exists(), "a check writes nothing");
}

#[test]
fn a_package_that_is_not_the_locked_one_is_not_exported() {
    let world = locked();
    world.run(&["fetch", "--locked"]).expect_code(0);
    let lock = fs::read_to_string(world.path("plugport.lock")).expect("a lock");
    let start = lock.find("sha256 = \"").expect("a digest") + "sha256 = \"".len();
    let forged = format!("{}{}{}", &lock[..start], "ab".repeat(32), &lock[start + 64..]);
    world.sandbox.write("plugport.lock", forged);
    world
        .run(&["export", "docker", "--from-store", "image"])
        .expect_code(4)
        .expect_stderr("the package of acme-clock-panel 1.0.0 in the store is not the one in the lock");
    assert!(!world.path("image").exists());
}
