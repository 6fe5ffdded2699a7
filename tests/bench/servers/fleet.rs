//! Many workspaces behind HTTP, each with a token of its own and the same latency, for `tests/bench/rollout`.
//!
//! Writes a manifest and tokens into a folder, prints `ready`, and then, for every line of its input, how many requests there
//! were so far. Serves until its input ends. Arguments: the folder, how many workspaces, how many plugins each, the latency in
//! milliseconds, and how many workspaces are changed at once.

use std::{fmt::Write as _, fs, io::BufRead as _, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::support::signing::Signer;

/// Serves the workspaces until standard input ends.
pub(crate) fn serve(arguments: &[String]) {
    let mut arguments = arguments.iter();
    let folder = arguments.next().expect("a folder");
    let mut numbers = arguments.filter_map(|argument| argument.parse::<usize>().ok());
    let mut next = |standard| numbers.next().unwrap_or(standard);
    let (count, plugins, latency, concurrency) = (next(1_000), next(5), next(50), next(32));
    let folder = Path::new(&folder);
    let mut catalog = FakeCatalog::new();
    for number in 0..plugins {
        for version in ["1.0.0", "2.0.0"] {
            catalog.add(FakePlugin::new(&id(number), version));
        }
    }
    let upstream = FakeGrafana::upstream(catalog).start();
    let mut manifest = format!("[catalog]\nsource = \"{}\"\n", upstream.url());
    fs::create_dir_all(folder.join("tokens")).expect("a folder");
    fs::write(folder.join("publisher.asc"), Signer::publisher().public_key()).expect("written");
    let mut workspaces = Vec::new();
    for number in 0..count {
        let token = format!("glsa_bench{number}");
        let workspace =
            FakeGrafana::workspace(&format!("w{number}"), "12.1.0", upstream.shared()).token(&token).start();
        for plugin in 0..plugins {
            workspace.preinstalled(&id(plugin), "1.0.0");
        }
        let latency = Duration::from_millis(latency.try_into().unwrap_or(50));
        workspace.fault(Fault::on("*", "*").delay(latency));
        let file = folder.join(format!("tokens/{number}"));
        fs::write(&file, token).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        let _ = write!(
            manifest,
            "[[workspace]]\nname = \"w{number}\"\nkind = \"grafana\"\nurl = \"{}\"\ntoken = {{ file = \"tokens/{number}\" }}\n",
            workspace.url()
        );
        workspaces.push(workspace);
    }
    for plugin in 0..plugins {
        let _ = write!(manifest, "[[plugin]]\nid = \"{}\"\n", id(plugin));
    }
    let _ = write!(manifest, "[rollout]\nmax-concurrent = {concurrency}\n");
    fs::write(folder.join("plugport.toml"), manifest).expect("written");
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        println!("{}", workspaces.iter().map(|workspace| workspace.requests().len()).sum::<usize>());
    }
    let foreign: usize = workspaces.iter().map(FakeWorkspace::foreign_tokens).sum();
    assert_eq!(foreign, 0, "a token reached another workspace");
}

fn id(number: usize) -> String {
    format!("acme-p{number}-panel")
}
