//! Secrets do not leak: promises K1 to K13.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const CANARY: &str = "glsa_CaNaRy/0123+456789==abcdef";

fn world(reference: &str, token: &str) -> (World, FakeWorkspace) {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")));
    let workspace = FakeGrafana::workspace("prod", "12.1.0", world.upstream.shared()).token(token).start();
    let world = world.manifest(&format!(
        "[[workspace]]\nname = \"prod\"\nkind = \"grafana\"\nurl = \"{}\"\ntoken = {reference}\n",
        workspace.url()
    ));
    (world.env("CANARY", CANARY), workspace)
}

/// The canary as it might be written: plain, base64 in its three alignments, URL-encoded, and its beginning.
fn shapes() -> Vec<String> {
    let encoded: String = CANARY
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    vec![CANARY.to_owned(), encoded, CANARY[..8].to_owned(), "Z2xzYV9DYU5hUn".to_owned(), "bHNhX0NhTmFSe".to_owned()]
}

#[track_caller]
fn clean(what: &str, text: &str) {
    for shape in shapes() {
        assert!(!text.contains(&shape), "{what} shows `{shape}`:\n{text}");
    }
}

fn clean_files(folder: &Path) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            clean_files(&path);
        } else {
            clean(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).expect("readable")));
        }
    }
}

#[test]
fn k1_no_stream_and_no_file_shows_the_token_whatever_goes_wrong() {
    let install = || Fault::on("POST", "/api/plugins/acme-clock-panel/install");
    let faults = [
        install().status(401),
        install().status(403),
        install().status(404),
        install().status(409),
        install().status(502).after_effect(),
        install().close_at_once(),
        install().echo_token(),
        Fault::on("*", "*").echo_token(),
        Fault::on("GET", "/api/plugins").echo_token(),
        Fault::on("GET", "*").redirect(&format!("https://elsewhere.example/?token={CANARY}"), 302),
        Fault::on("GET", "*").headers_flood(),
        Fault::on("GET", "*").body("<html>"),
        Fault::on("GET", "/api/frontend/settings").delay(std::time::Duration::ZERO),
    ];
    let (world, workspace) = world("{ env = \"CANARY\" }", CANARY);
    for (number, fault) in faults.into_iter().enumerate() {
        workspace.clear_faults();
        workspace.fault(fault);
        for arguments in [&["install", CLOCK, "--on", "prod"][..], &["workspace", "ping"], &["list"]] {
            for level in [&[][..], &["-vv"], &["--json", "-vv"]] {
                let output = world.run(&[level, arguments].concat());
                clean(&format!("stdout of fault {number}"), &output.stdout);
                clean(&format!("stderr of fault {number}"), &output.stderr);
            }
        }
    }
    clean_files(world.sandbox.path());
    assert_eq!(workspace.foreign_tokens(), 0);
}

#[test]
fn k2_no_argument_takes_a_secret() {
    let (world, _workspace) = world("{ env = \"CANARY\" }", CANARY);
    for arguments in [["install", CLOCK, "--token", CANARY], ["workspace", "ping", "--password", CANARY]] {
        world.run(&arguments).expect_code(2);
    }
    for command in ["install", "workspace", "sync"] {
        let help = world.run(&[command, "--help"]).expect_code(0);
        assert!(!help.stdout.contains("--token") && !help.stdout.contains("--password"), "{}", help.stdout);
    }
}

#[test]
fn k7_a_redirect_takes_no_token_along() {
    let (world, workspace) = world("{ env = \"CANARY\" }", CANARY);
    let thief = FakeGrafana::workspace("thief", "12.1.0", FakeCatalog::new()).start();
    for status in [301, 302, 307, 308] {
        workspace.clear_faults();
        workspace.fault(Fault::on("*", "*").redirect(&format!("{}/api/plugins", thief.url()), status));
        assert_ne!(world.run(&["install", CLOCK, "--on", "prod"]).code, 0);
    }
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_none()), "{:?}", thief.requests());
}

#[test]
fn k10_a_token_file_that_others_may_read_is_refused() {
    let (world, workspace) = world("{ file = \"token.txt\" }", CANARY);
    let path = world.sandbox.write("token.txt", format!("{CANARY}\n"));
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    for open in [0o644, 0o640, 0o604] {
        mode(open);
        let output = world.run(&["list", "--on", "prod"]).expect_code(2).expect_stderr("token.txt");
        clean("stderr", &output.stderr);
    }
    assert!(workspace.requests().is_empty());
    mode(0o600);
    world.run(&["list", "--on", "prod"]).expect_code(0);
}

#[test]
fn a_token_may_come_from_a_program() {
    let (world, workspace) = world("{ command = [\"printenv\", \"CANARY\"] }", CANARY);
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(0);
    assert_eq!((workspace.installed().len(), workspace.foreign_tokens()), (1, 0));
    let (world, _workspace) = self::world("{ command = [\"false\"] }", CANARY);
    world.run(&["list", "--on", "prod"]).expect_code(2).expect_stderr("false");
}

#[test]
fn k11_a_token_that_is_echoed_is_masked() {
    let (world, workspace) = world("{ env = \"CANARY\" }", CANARY);
    workspace.fault(Fault::on("POST", "*").echo_token());
    let output = world.run(&["install", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("Invalid credentials");
    clean("stderr", &output.stderr);
}

#[test]
fn k12_each_workspace_sees_its_own_token_only() {
    let mut world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")));
    let mut workspaces = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let (more, workspace) = world.workspace(name, "12.1.0");
        world = more;
        workspaces.push(workspace);
    }
    world.run(&["install", CLOCK, "--on", "all"]).expect_code(0);
    world.run(&["list"]).expect_code(0);
    world.run(&["workspace", "ping"]).expect_code(0);
    world.run(&["uninstall", CLOCK, "--on", "all"]).expect_code(0);
    for workspace in &workspaces {
        assert_eq!((workspace.foreign_tokens(), workspace.max_concurrent_installs()), (0, 1));
    }
    let seen = world.upstream.requests();
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn k13_an_address_with_a_password_is_refused_and_not_repeated() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")));
    let world = world.names("prod", "https://admin:hunter2hunter2@grafana.example");
    for arguments in [&["-vv", "list"][..], &["workspace", "list"], &["install", CLOCK, "--on", "prod"]] {
        let output = world.run(arguments).expect_code(2);
        assert!(!output.stderr.contains("hunter2") && !output.stdout.contains("hunter2"), "{}", output.stderr);
    }
    let world = World::unsynced(FakeCatalog::new());
    let output = world.run(&["sync", "--source", "https://admin:hunter2hunter2@grafana.example/api"]).expect_code(2);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
}

#[test]
fn k3_a_command_that_prints_a_secret_does_not_see_the_others() {
    let (world, workspace) = World::new(FakeCatalog::new().publish(FakePlugin::new("acme-clock-panel", "1.0.0")))
        .workspace("prod", "12.0.0");
    let command = format!(
        "[[workspace]]\nname = \"other\"\nkind = \"grafana\"\nurl = \"{}\"\n\
         token = {{ command = [\"sh\", \"-c\", \"echo seen-${{TOKEN_PROD:-nothing}} >&2; exit 1\"] }}\n",
        workspace.url().replace("127.0.0.1", "localhost")
    );
    let world = world.manifest(&command);
    world.run(&["list", "--on", "other"]).expect_code(2).expect_stderr("seen-nothing");
    world.run(&["list", "--on", "prod"]).expect_code(0);
}

/// Promise K4. `sleep` shows whether this system can dump at all.
#[test]
fn k4_a_program_that_is_aborted_leaves_no_core_file() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::Duration;

    let (world, workspace) = world("{ env = \"CANARY\" }", CANARY);
    let dumps = |program: &Command, ready: &dyn Fn() -> bool| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg("ulimit -c unlimited; exec \"$0\" \"$@\"").arg(program.get_program());
        shell.args(program.get_args()).current_dir(world.sandbox.path());
        shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let mut child = shell.spawn().expect("a shell");
        while !ready() {
            assert!(child.try_wait().expect("ours").is_none(), "it ended before it was aborted");
            std::thread::sleep(Duration::from_millis(5));
        }
        let abort = ["-ABRT".to_owned(), child.id().to_string()];
        assert!(Command::new("kill").args(abort).status().expect("a `kill`").success());
        child.wait().expect("ours").core_dumped()
    };
    let asleep = || {
        std::thread::sleep(Duration::from_millis(200));
        true
    };
    if !dumps(Command::new("sleep").arg("60"), &asleep) {
        println!("NOT RUN: this system writes no core files");
        return;
    }
    workspace.fault(Fault::on("*", "*").delay(Duration::from_secs(20)));
    let program = world.sandbox.command(&["list", "--on", "prod"]);
    assert!(!dumps(&program, &|| !workspace.requests().is_empty()));
}

/// Promise K8: the type has no `Display` and cannot be serialised (its documentation has the proof); this is about `Debug`.
#[test]
fn k8_a_secret_that_is_debugged_or_panicked_with_shows_nothing() {
    use plugport::exposed::model::{Credential, Secret};

    let secret = Secret::new(CANARY.to_owned());
    let bearer = Credential::Bearer(secret.clone());
    let basic = Credential::Basic { user: "admin".to_owned(), password: secret.clone() };
    for text in
        [format!("{secret:?} {secret:#?}"), format!("{bearer:?} {basic:#?}"), format!("{:?}", bearer.authorization())]
    {
        clean("Debug", &text);
    }
    let panicked = std::panic::catch_unwind(|| None::<()>.ok_or(secret).expect("a test")).expect_err("it is none");
    clean("a panic", panicked.downcast_ref::<String>().expect("a text"));
}

/// Promise K9: variables that make other programs talk, or write down the keys of their connections.
#[test]
fn k9_no_variable_makes_it_write_down_a_token_or_a_key() {
    let (world, workspace) = world("{ env = \"CANARY\" }", CANARY);
    let keys = world.path("keys.log");
    let mut world = world.env("SSLKEYLOGFILE", keys.to_str().expect("text"));
    for (key, value) in [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")] {
        world = world.env(key, value);
    }
    workspace.fault(Fault::on("POST", "*").echo_token());
    for arguments in [&["-vvv", "install", CLOCK, "--on", "prod"][..], &["-vvvv", "list"], &["workspace", "ping"]] {
        let output = world.run(arguments);
        clean("stdout", &output.stdout);
        clean("stderr", &output.stderr);
    }
    assert!(!keys.exists());
    clean_files(world.sandbox.path());
    assert_eq!(workspace.foreign_tokens(), 0);
}
