//! Tables and sentences in real (pseudo) terminals of 60 to 140 columns: no line is wider than the terminal, and what
//! somebody copies is whole.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    command_sync::{CLOCK, ZABBIX, sync, upstream},
    fleet::Fleet,
    support::{
        fake_grafana::{catalog::FakeCatalog, fault::Fault},
        sandbox::Sandbox,
    },
    world::World,
};

/// Runs a command with a terminal of `columns` on stdout and stderr; returns its lines without colours, as they are at last.
fn lines(sandbox: &Sandbox, arguments: &[&str], columns: u16) -> Vec<String> {
    let text = shown(sandbox, arguments, columns);
    // A bar is drawn over, and what follows it begins at the start of the line again.
    let last = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    text.lines().map(|line| without_colours(&last(line))).collect()
}

/// Runs a command with a terminal of `columns` on stdout and stderr; returns all that it wrote.
fn shown(sandbox: &Sandbox, arguments: &[&str], columns: u16) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("granted");
    let path = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("text");
    let open = || File::options().read(true).write(true).open(&path).expect("opened");
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(open(), size).expect("a size");
    let mut command = sandbox.command(arguments);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(open()).stderr(open());
    let mut child = command.spawn().expect("started");
    // Its copies of the terminal are closed, so that reading ends with the program.
    drop(command);
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal whose other side is closed is an error on Linux.
        drop(File::from(terminal).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    });
    child.wait().expect("ended");
    reading.join().expect("read")
}

/// Runs a command with a terminal on stdin and stderr, where somebody answers; returns the exit code and what was shown.
fn answered(sandbox: &Sandbox, arguments: &[&str], answer: &str) -> (i32, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("granted");
    let path = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("text");
    let open = || File::options().read(true).write(true).open(&path).expect("opened");
    let mut command = sandbox.command(arguments);
    command.env("TERM", "xterm").stdin(open()).stdout(Stdio::null()).stderr(open());
    let mut child = command.spawn().expect("started");
    drop(command);
    let mut terminal = File::from(terminal);
    terminal.write_all(format!("{answer}\n").as_bytes()).expect("answered");
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal whose other side is closed is an error on Linux.
        drop(terminal.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let code = child.wait().expect("ended").code().unwrap_or(-1);
    (code, reading.join().expect("read"))
}

/// "No" ends with 1 and changes nothing; only "yes" goes on.
#[test]
fn somebody_on_a_terminal_is_asked_before_several_workspaces_are_changed() {
    let fleet = Fleet::new("");
    let changes = || [0, 1, 2].map(|server| fleet.changes(server));
    for arguments in [&["apply"][..], &["install", "acme-map-panel", "--on", "kind=server"]] {
        let (code, shown) = answered(&fleet.world.sandbox, arguments, "no");
        assert_eq!((code, changes()), (1, [0; 3]), "{shown}");
        assert!(shown.contains("acme-map-panel") && shown.contains("was not confirmed"), "{shown}");
    }
    let (code, shown) = answered(&fleet.world.sandbox, &["upgrade", "--all", "--on", "kind=server"], "no");
    assert_eq!((code, changes()), (1, [0; 3]), "{shown}");
    let call = ["api", "POST", "/api/folders", "-f", "title=Operations", "--on", "kind=server"];
    let (code, shown) = answered(&fleet.world.sandbox, &call, "no");
    assert_eq!((code, changes()), (1, [0; 3]), "{shown}");
    assert!(shown.contains("POST /api/folders") && shown.contains("Send this to"), "{shown}");
    let (code, shown) = answered(&fleet.world.sandbox, &["apply"], "yes");
    assert_eq!(code, 0, "{shown}");
    fleet.expect_new();
    for arguments in [&["rollout", "undo"][..], &["uninstall", "acme-map-panel", "--on", "kind=server"]] {
        let before = changes();
        let (code, shown) = answered(&fleet.world.sandbox, arguments, "");
        assert_eq!((code, changes()), (1, before), "{shown}");
        assert!(shown.contains("uninstall") && shown.contains("Only `yes` does:"), "{shown}");
    }
    let (code, shown) = answered(&fleet.world.sandbox, &["rollout", "undo"], "yes");
    assert_eq!(code, 0, "{shown}");
    fleet.expect_former();
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(['m', 'K', 'h', 'l']).map_or("", |(_, rest)| rest))
}

/// What takes its time shows that it goes on, and what it waits for.
#[test]
fn workspaces_that_are_slow_to_answer_are_shown_while_they_are_asked() {
    let (world, fast) = World::new(FakeCatalog::new()).workspace("fast", "12.1.0");
    let (world, slow) = world.workspace("slow", "12.1.0");
    slow.fault(Fault::on("GET", "*").delay(Duration::from_millis(400)));
    for arguments in [
        &["list"][..],
        &["outdated"],
        &["workspace", "ping"],
        &["check", "--grafana", "13.0.0"],
        &["usage"],
        &["why", "acme-clock-panel"],
        &["lock"],
        &["status"],
        &["api", "GET", "/api/health"],
    ] {
        let begun = Instant::now();
        let seen = shown(&world.sandbox, arguments, 120);
        let is_shown = seen.contains("asking workspaces") || seen.contains("reading workspaces");
        assert!(is_shown || begun.elapsed() < Duration::from_millis(300), "{arguments:?}: {seen}");
        let quiet = shown(&world.sandbox, &[&["--no-progress"], arguments].concat(), 120);
        assert!(!quiet.contains("asking workspaces"), "{arguments:?}: {quiet}");
    }
    assert_eq!((fast.foreign_tokens(), slow.foreign_tokens()), (0, 0));
}

const MANIFEST: &str = r#"
[[workspace]]
name = "prod-europe-west"
kind = "directory"
path = "plugins"
grafana = "12.0.0"
labels = { tier = "prod", region = "eu-west-1", team = "platform-observability" }
"#;

#[test]
fn no_line_of_any_table_is_wider_than_the_terminal() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    sandbox.write("plugport.toml", MANIFEST);
    let installed =
        r#"{"type": "panel", "name": "x", "id": "acme-rather-long-name-panel", "info": {"version": "1.0.0"}}"#;
    sandbox.write("plugins/acme-rather-long-name-panel/plugin.json", installed);
    let commands: &[&[&str]] = &[
        &["search"],
        &["search", "nothing that anybody has ever published anywhere"],
        &["show", ZABBIX],
        &["versions", ZABBIX],
        &["diff", "--since", "0"],
        &["list"],
        &["list", "--matrix"],
        &["status"],
        &["alerts"],
        &["validate"],
        &["outdated"],
        &["check", "--grafana", "13.0.0"],
        &["why", "acme-rather-long-name-panel"],
        &["workspace", "list"],
        &["workspace", "ping"],
        &["usage"],
        &["install", ZABBIX, "--on", "all", "--dry-run"],
        &["doctor"],
        &["gc", "--dry-run"],
        &["rollout", "list"],
        &["help"],
    ];
    for &columns in &[60, 80, 100, 140] {
        for arguments in commands {
            let lines = lines(&sandbox, arguments, columns);
            assert!(!lines.is_empty(), "{arguments:?}");
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= columns.into(), "{arguments:?} at {columns} has {widest}:\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn ids_are_whole_at_sixty_columns_and_a_row_has_at_most_three_lines() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let lines = lines(&sandbox, &["search"], 60);
    for id in [ZABBIX, CLOCK] {
        assert!(lines.iter().any(|line| line.starts_with(id)), "{lines:#?}");
    }
    assert!(lines.len() <= 1 + 3 * 3, "{lines:#?}");
}

#[test]
fn tables_are_printed_as_csv_markdown_and_by_columns() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let csv = sandbox.run(&["search", "clock", "-o", "csv", "--columns", "id,version"]).expect_code(0);
    assert_eq!(csv.stdout, "id,version\r\ngrafana-clock-panel,2.0.0\r\n");
    let markdown = sandbox.run(&["search", "clock", "-o", "md", "--columns", "version"]).expect_code(0);
    assert_eq!(markdown.stdout, "| version |\n| --- |\n| 2.0.0 |\n");
    let json = sandbox.run(&["search", "clock", "-o", "json"]).expect_code(0).json();
    assert_eq!(json["command"], "search");
    let unknown = sandbox.run(&["search", "clock", "--columns", "versoin"]).expect_code(2);
    assert!(unknown.stderr.contains("there is no column `versoin`"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("hint: the columns are description, downloads, id,"), "{}", unknown.stderr);
    sandbox.run(&["search", "clock", "--json", "-o", "csv"]).expect_code(2);
}
