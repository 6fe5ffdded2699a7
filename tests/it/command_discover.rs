//! `workspace discover`, tokens of service accounts, and what AWS offers.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_aws::{AwsWorkspace, FakeAws};
use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Output;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const KEY_ID: &str = "AKIAC4N4RYKEYID00001";
const SECRET_KEY: &str = "c4n4ry/Secret+Key/0123456789abcdefghijk";
const SESSION: &str = "c4n4rySessionToken/0123456789/abcdefghijklmnop==";
const TOKEN: &str = "glsa_c4n4ryMinted0123456789abcdef_01234567";
const EU: &str = "eu-west-1";
const US: &str = "us-east-1";

fn catalog() -> FakeCatalog {
    FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0"))
}

fn fleet() -> Vec<AwsWorkspace> {
    vec![
        AwsWorkspace::new(EU, "g-0000000001", "Prod EU").account("3", "ADMIN").account("4", "VIEWER"),
        AwsWorkspace::new(EU, "g-0000000002", "Lab")
            .account("5", "ADMIN")
            .account("6", "ADMIN")
            .without_plugin_management(),
        AwsWorkspace::new(EU, "g-0000000003", "Going").status("DELETING"),
        AwsWorkspace::new(US, "g-0000000004", "Prod EU"),
    ]
}

/// Whatever a run of the program is told of AWS; nothing is asked of the machine it runs on.
fn with_aws(world: World, aws: &FakeAws) -> World {
    world
        .env("AWS_ENDPOINT_URL", &aws.url())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_SESSION_TOKEN", SESSION)
}

fn world(workspaces: Vec<AwsWorkspace>) -> (World, FakeAws) {
    let aws = FakeAws::start(workspaces, TOKEN);
    (with_aws(World::unsynced(catalog()), &aws), aws)
}

/// A workspace behind another address than that of AWS, reached by tokens of its service account 7.
fn account_world(more: &str) -> (World, FakeAws, FakeWorkspace) {
    let aws = FakeAws::start(vec![AwsWorkspace::new(EU, "g-0000000001", "prod").account("7", "ADMIN")], TOKEN);
    let world = with_aws(World::new(catalog()), &aws);
    let workspace = FakeGrafana::workspace("prod", "12.1.0", world.upstream.shared()).token(TOKEN).amg(true).start();
    let world = world.manifest(&format!(
        "[[workspace]]\nname = \"prod\"\nkind = \"amg\"\nurl = \"{}\"\n\
         token = {{ aws-service-account = \"7\", workspace = \"g-0000000001\", region = \"{EU}\"{more} }}\n",
        workspace.url()
    ));
    (world, aws, workspace)
}

#[track_caller]
fn shows_no_secret(output: &Output) {
    for secret in [SECRET_KEY, SESSION, TOKEN, &SESSION[..12], &SECRET_KEY[..10]] {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{secret} is shown: {output:?}");
    }
}

fn rows(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = document["workspaces"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| ["id", "name", "region", "plugin_management", "manifest"].map(|key| text(&one[key])).join(" "))
        .collect()
}

#[test]
fn the_workspaces_of_several_regions_are_listed() {
    let (world, aws) = world(fleet());
    let world = world.manifest(
        "[[workspace]]\nname = \"europe\"\nkind = \"amg\"\ntoken = { env = \"X\" }\n\
         url = \"https://g-0000000001.grafana-workspace.eu-west-1.amazonaws.com/\"\n",
    );
    let document = world.json(0, &["workspace", "discover", "--region", EU, "--region", US]);
    let expected = [
        "g-0000000001 Prod EU eu-west-1 true europe",
        "g-0000000002 Lab eu-west-1 false null",
        "g-0000000003 Going eu-west-1 true null",
        "g-0000000004 Prod EU us-east-1 true null",
    ];
    assert_eq!(rows(&document), expected);
    let first = &document["workspaces"][0];
    assert_eq!(
        [&first["account"], &first["grafana"], &first["status"], &first["url"]],
        ["123456789012", "10.4", "ACTIVE", "https://g-0000000001.grafana-workspace.eu-west-1.amazonaws.com"]
    );
    assert_eq!((&document["regions"][1]["region"], &document["written"]), (&json!(US), &json!(false)));
    let output = world.run(&["workspace", "discover", "--region", EU]).expect_code(0);
    shows_no_secret(&output);
    output.expect_stdout("PLUGIN MANAGEMENT").expect_stdout("europe").expect_stderr("plugin management is off on Lab");
    assert_eq!(aws.unsigned(), 0, "a request was not signed");
    assert!(aws.requests().iter().all(|request| request.method == "GET"), "something was changed");
}

#[test]
fn what_the_manifest_lacks_is_written_into_it() {
    let (world, _aws) = world(fleet());
    let world = world.manifest("# the end\n");
    let arguments = ["workspace", "discover", "--region", EU, "--region", US, "--write"];
    let document = world.json(0, &arguments);
    assert_eq!(document["written"], true);
    assert_eq!(rows(&document)[0], "g-0000000001 Prod EU eu-west-1 true Prod-EU");
    assert_eq!(rows(&document)[3], "g-0000000004 Prod EU us-east-1 true Prod-EU-us-east-1");
    let text = std::fs::read_to_string(world.path("plugport.toml")).expect("a manifest");
    let (_, added) = text.split_once("\n\n").expect("entries behind an empty line");
    insta::assert_snapshot!(added, @r#"
    [[workspace]]
    name = "Prod-EU"
    kind = "amg"
    url = "https://g-0000000001.grafana-workspace.eu-west-1.amazonaws.com"
    token = { aws-service-account = "3" }
    labels = { region = "eu-west-1", account = "123456789012" }

    [[workspace]]
    name = "Lab"
    kind = "amg"
    url = "https://g-0000000002.grafana-workspace.eu-west-1.amazonaws.com"
    # or `token = { aws-service-account = "ID" }` with one of the service accounts 5, 6
    token = { env = "LAB_TOKEN" }
    labels = { region = "eu-west-1", account = "123456789012" }

    [[workspace]]
    name = "Prod-EU-us-east-1"
    kind = "amg"
    url = "https://g-0000000004.grafana-workspace.us-east-1.amazonaws.com"
    # or `token = { aws-service-account = "ID" }`, once there is a service account with the role Admin
    token = { env = "PROD_EU_US_EAST_1_TOKEN" }
    labels = { region = "us-east-1", account = "123456789012" }
    # the end
    "#);
    let document = world.json(0, &["workspace", "list"]);
    assert_eq!(document["workspaces"].as_array().map(Vec::len), Some(3));
    let before = text;
    assert_eq!(world.json(0, &arguments)["written"], false);
    assert_eq!(std::fs::read_to_string(world.path("plugport.toml")).expect("a manifest"), before);
}

#[test]
fn a_manifest_is_begun_where_none_is() {
    let (world, _aws) = world(fleet());
    std::fs::remove_file(world.path("plugport.toml")).expect("it is there");
    world
        .run(&["workspace", "discover", "--region", US, "--write"])
        .expect_code(0)
        .expect_stderr("1 workspace is added");
    let document = world.json(0, &["workspace", "list"]);
    assert_eq!(document["workspaces"][0]["labels"], json!({ "account": "123456789012", "region": US }));
}

#[test]
fn one_region_that_fails_does_not_hide_the_others() {
    let (world, aws) = world(fleet());
    aws.close(US);
    let document = world.json(8, &["workspace", "discover", "--region", US, "--region", EU]);
    assert_eq!(rows(&document).len(), 3);
    assert!(document["regions"][0]["error"].is_string() && document["regions"][1]["error"].is_null(), "{document}");
    let output = world.run(&["workspace", "discover", "--region", US]).expect_code(5);
    output.expect_stderr("failed: us-east-1: AWS cannot be reached for `grafana:ListWorkspaces`");
}

#[test]
fn what_is_not_allowed_is_named() {
    let (world, aws) = world(fleet());
    aws.deny("DescribeWorkspaceConfiguration");
    let output = world.run(&["workspace", "discover", "--region", EU]).expect_code(8).expect_stdout("Prod EU");
    output.expect_stderr("hint: allow `grafana:DescribeWorkspaceConfiguration`");
    aws.deny("ListWorkspaces");
    let output = world.run(&["workspace", "discover", "--region", EU]).expect_code(1);
    output.expect_stderr("is not authorized").expect_stderr("hint: allow `grafana:ListWorkspaces`");
}

#[test]
fn without_credentials_or_a_region_the_hint_says_what_to_set() {
    let aws = FakeAws::start(fleet(), TOKEN);
    let world = World::unsynced(catalog()).env("AWS_ENDPOINT_URL", &aws.url()).env("AWS_EC2_METADATA_DISABLED", "true");
    let output = world.run(&["workspace", "discover", "--region", EU]).expect_code(2);
    output.expect_stderr("no AWS credentials were found").expect_stderr("hint: set AWS_PROFILE");
    world.run(&["workspace", "discover"]).expect_code(2).expect_stderr("hint: name one with `--region");
    world.run(&["workspace", "discover", "--region", "eu/../x"]).expect_code(2).expect_stderr("not a region");
    assert!(aws.requests().is_empty());
}

#[test]
fn a_region_and_credentials_of_the_profile_count() {
    let aws = FakeAws::start(fleet(), TOKEN);
    let world = World::unsynced(catalog()).env("AWS_ENDPOINT_URL", &aws.url()).env("AWS_EC2_METADATA_DISABLED", "true");
    let profile = format!("[ops]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET_KEY}\n");
    world.sandbox.write(".aws/credentials", profile);
    world.sandbox.write(".aws/config", format!("[profile ops]\nregion = {US}\n"));
    let world = world.env("AWS_PROFILE", "ops");
    assert_eq!(rows(&world.json(0, &["workspace", "discover"])).len(), 1);
    assert_eq!(aws.requests()[0].region, US);
}

/// K1: AWS repeats what was signed when a signature is wrong, and a session token is a part of that.
#[test]
fn no_credential_is_shown_when_aws_repeats_it() {
    let (world, aws) = world(fleet());
    aws.echo_signatures();
    for level in [&[][..], &["-vv"], &["--json", "-vv"]] {
        let output = world.run(&[&["workspace", "discover", "--region", EU], level].concat()).expect_code(1);
        shows_no_secret(&output);
        assert!(output.stderr.contains("****"), "nothing was repeated: {output:?}");
    }
}

#[test]
fn offline_no_socket_is_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let seen = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for _stream in listener.incoming() {
            shared.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (world, _aws, workspace) = account_world("");
    // Also who we are would be asked for here.
    let world = world
        .env("AWS_ENDPOINT_URL", &format!("http://{address}"))
        .env("AWS_ACCESS_KEY_ID", "")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{address}/credentials"));
    let output = world.run(&["--offline", "workspace", "discover", "--region", EU]).expect_code(5);
    output.expect_stderr("`--offline` is on");
    world.run(&["--offline", "list"]).expect_code(5).expect_stderr("--offline");
    assert_eq!(seen.load(Ordering::SeqCst), 0, "somebody called");
    assert!(workspace.requests().is_empty());
    // The same without `--offline` does call, so that the count means something.
    world.run(&["workspace", "discover", "--region", EU]);
    assert!(seen.load(Ordering::SeqCst) >= 1, "nobody calls in any case");
}

#[test]
fn a_token_is_made_for_a_command_and_deleted_after_it() {
    let (world, aws, workspace) = account_world("");
    for arguments in [&["install", CLOCK, "--on", "prod"][..], &["list", "-vv"], &["--json", "workspace", "ping"]] {
        let output = world.run(arguments).expect_code(0);
        shows_no_secret(&output);
        assert_eq!(aws.tokens().len(), 0, "a token stays after `{}`", arguments.join(" "));
    }
    assert_eq!((aws.made(), workspace.foreign_tokens(), aws.unsigned()), (3, 0, 0));
    assert_eq!(workspace.installed().len(), 1);
    let made = aws.requests().into_iter().find(|request| request.method == "POST").expect("a token was made");
    assert_eq!((made.path.as_str(), made.region.as_str()), ("/workspaces/g-0000000001/serviceaccounts/7/tokens", EU));
}

#[test]
fn the_token_is_deleted_when_the_command_fails() {
    let (world, aws, workspace) = account_world("");
    workspace.fault(Fault::on("GET", "*").status(500));
    shows_no_secret(&world.run(&["list"]).expect_code(5));
    assert_eq!((aws.made(), aws.tokens().len()), (1, 0));
}

/// A killed program leaves a token that expires by itself; one that is asked to end does not leave it.
#[test]
fn the_token_is_deleted_when_the_command_is_interrupted() {
    let (world, aws, workspace) = account_world(", ttl = \"2h\"");
    workspace.fault(Fault::on("GET", "*").stall_before_headers(Duration::from_secs(20)));
    let mut child = world.sandbox.command(&["list", "-vv"]).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    while aws.made() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(aws.tokens().first().map(|token| token.seconds_to_live), Some(7200));
    while workspace.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = i32::try_from(child.id()).expect("a process id");
    let id = rustix::process::Pid::from_raw(id).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert!(lines.all(|line| !line.expect("text").contains(TOKEN)));
    assert_eq!(aws.tokens().len(), 0, "the token stays");
}

#[test]
fn a_token_whose_answer_was_lost_is_deleted_too() {
    let (world, aws, _workspace) = account_world("");
    aws.lose_answers(1);
    world.run(&["list"]).expect_code(0);
    assert_eq!((aws.made(), aws.tokens().len()), (2, 0));
    aws.lose_answers(10);
    world.run(&["list"]).expect_code(1).expect_stderr("no token can be made");
    assert_eq!(aws.tokens().len(), 0);
}

#[test]
fn a_token_that_cannot_be_deleted_is_told_and_changes_no_exit_code() {
    let (world, aws, _workspace) = account_world("");
    aws.deny("DeleteWorkspaceServiceAccountToken");
    let output = world.run(&["list", "-q"]).expect_code(0);
    shows_no_secret(&output);
    output.expect_stderr("is not deleted and expires by itself").expect_stderr("plugport-");
    aws.deny("CreateWorkspaceServiceAccountToken");
    let output = world.run(&["list"]).expect_code(1);
    output.expect_stderr("hint: allow `grafana:CreateWorkspaceServiceAccountToken`");
}

#[test]
fn a_secret_in_the_place_of_an_account_is_refused_and_not_repeated() {
    for (token, said) in [
        (format!("{{ aws-service-account = \"{TOKEN}\" }}"), "is the id of a service account"),
        (format!("{{ aws-service-account = \"7\", env = \"{TOKEN}\" }}"), "there may be `ttl`"),
        ("{ aws-service-account = \"7\" }".to_owned(), "does not belong to Amazon Managed Grafana"),
    ] {
        let world = World::unsynced(catalog()).manifest(&format!(
            "[[workspace]]\nname = \"prod\"\nkind = \"amg\"\nurl = \"https://grafana.example\"\ntoken = {token}\n"
        ));
        let output = world.run(&["workspace", "list"]).expect_code(2);
        shows_no_secret(&output);
        output.expect_stderr(said);
    }
}

#[test]
fn check_says_when_aws_does_not_offer_the_version() {
    let aws = FakeAws::start(vec![AwsWorkspace::new(EU, "g-0000000001", "prod").offers(&["11.2", "12.4"])], TOKEN);
    let world = with_aws(World::new(catalog()), &aws);
    let workspace = FakeGrafana::workspace("prod", "10.4.1", world.upstream.shared()).token(TOKEN).amg(true).start();
    let world = world.manifest(&format!(
        "[[workspace]]\nname = \"prod\"\nkind = \"amg\"\nurl = \"{}\"\n\
         token = {{ aws-service-account = \"7\", workspace = \"g-0000000001\", region = \"{EU}\" }}\n",
        workspace.url()
    ));
    let output = world.run(&["check", "--grafana", "12.1.0"]).expect_code(0);
    output.expect_stderr("AWS does not offer Grafana 12.1.0 for this workspace, but 11.2 and 12.4");
    let document = world.json(0, &["check", "--grafana", "12.4.3"]);
    assert_eq!(document["offers"], json!([{ "workspace": "prod", "offered": ["11.2", "12.4"], "available": true }]));
    aws.deny("ListVersions");
    world
        .run(&["check", "--grafana", "12.1.0"])
        .expect_code(0)
        .expect_stderr("what AWS offers in eu-west-1 is not known");
}
