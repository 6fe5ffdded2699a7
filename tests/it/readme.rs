//! README.md keeps to the program: its commands, its flags and its exit codes.
//!
//! *Invariant:* what the program offers stands in README.md, and what stands there as an example is offered.
//! *Not for:* what examples print, which depends on the catalog.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::sandbox::Sandbox;

/// What begins an example in a fenced block.
const PROMPT: &str = "$ plugport ";

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("README.md is there")
}

/// Returns the help of a subcommand, or of the program for no words.
fn help(sandbox: &Sandbox, subcommand: &[String]) -> String {
    let words = subcommand.iter().map(String::as_str).chain(["--help"]);
    let output = sandbox.run(&words.collect::<Vec<_>>());
    assert_eq!(output.code, 0, "`plugport {} --help` fails: {}", subcommand.join(" "), output.stderr);
    output.stdout
}

/// Returns the names that a help lists under `Commands:`.
fn subcommands(help: &str) -> BTreeSet<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on with a description.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Returns the words of every `plugport …` line of the fenced blocks, comments left out.
fn examples(readme: &str) -> Vec<Vec<String>> {
    let fenced = readme.split("\n```").skip(1).step_by(2);
    let commands = fenced.flat_map(str::lines).filter_map(|line| line.strip_prefix(PROMPT));
    let words = |line: &str| {
        let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        words.map(|word| word.trim_matches('\'').to_owned()).collect()
    };
    commands.map(words).collect()
}

/// Returns the subcommand of an example, which may have one of its own.
fn subcommand(example: &[String], known: &BTreeSet<String>, sandbox: &Sandbox) -> Vec<String> {
    let Some(place) = example.iter().position(|word| known.contains(word)) else {
        // `plugport --version` has none.
        assert!(example.iter().all(|word| word.starts_with('-')), "no subcommand in {example:?}");
        return Vec::new();
    };
    let mut found = vec![example[place].clone()];
    let inner = subcommands(&help(sandbox, &found));
    if !inner.is_empty() {
        let word = example.get(place + 1).expect("a subcommand of its own follows");
        assert!(inner.contains(word), "`{word}` is none of {inner:?}");
        found.push(word.clone());
    }
    found
}

/// Returns whether a help lists a flag, not only one that begins like it.
fn lists(help: &str, flag: &str) -> bool {
    help.split([' ', ',', '\n', '.']).any(|word| word == flag)
}

#[test]
fn every_subcommand_has_an_example() {
    let (sandbox, readme) = (Sandbox::new(), readme());
    let known = subcommands(&help(&sandbox, &[]));
    assert!(known.len() > 10, "the help lists no subcommands: {known:?}");
    let shown: BTreeSet<_> = examples(&readme).iter().map(|example| subcommand(example, &known, &sandbox)).collect();
    for name in &known {
        let inner = subcommands(&help(&sandbox, std::slice::from_ref(name)));
        let wanted: Vec<_> = if inner.is_empty() {
            vec![vec![name.clone()]]
        } else {
            inner.into_iter().map(|inner| vec![name.clone(), inner]).collect()
        };
        for words in wanted {
            assert!(shown.contains(&words), "README.md has no example of `plugport {}`", words.join(" "));
        }
    }
}

#[test]
fn every_flag_of_an_example_is_one_of_its_command() {
    let (sandbox, readme) = (Sandbox::new(), readme());
    let known = subcommands(&help(&sandbox, &[]));
    let examples = examples(&readme);
    assert!(examples.len() > known.len(), "README.md has only {} examples", examples.len());
    for example in examples {
        let help = help(&sandbox, &subcommand(&example, &known, &sandbox));
        for flag in example.iter().filter(|word| word.starts_with('-')) {
            let flag = flag.split('=').next().unwrap_or(flag);
            assert!(lists(&help, flag), "`plugport {}`: there is no `{flag}`", example.join(" "));
        }
    }
}

#[test]
fn every_exit_code_is_in_the_table() {
    let readme = readme();
    let table = readme.split("\n## Exit codes\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = table.expect("README.md has a section `Exit codes`");
    for code in 0..=9 {
        let rows = table.lines().filter(|line| line.starts_with(&format!("| {code} |"))).count();
        assert_eq!(rows, 1, "rows of exit code {code}");
    }
}

#[test]
fn every_manifest_in_it_is_accepted() {
    let readme = readme();
    let manifests: Vec<_> = readme.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(manifests.iter().any(|manifest| manifest.contains("[network]")), "the complete one is missing");
    for manifest in manifests {
        let sandbox = Sandbox::new();
        sandbox.write("plugport.toml", manifest);
        let output = sandbox.run(&["workspace", "list"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
    }
}
