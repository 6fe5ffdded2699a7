//! README.md and the manual keep to the program: its commands, its flags, its exit codes, its manifest and its files.
//!
//! *Invariant:* what the program offers has an example on some page, and what stands there as an example is offered.
//! *Not for:* what examples print (`docs`).

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    docs::{examples::arguments, examples::commands, page, pages},
    support::sandbox::Sandbox,
};

/// The most lines that README.md may have.
const README_LINES: usize = 200;

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

/// Returns the words of every `plugport …` line of the fenced blocks of all pages.
fn examples() -> Vec<Vec<String>> {
    let pages = pages();
    let examples = pages.iter().flat_map(|(_, page)| commands(page)).filter_map(|command| arguments(&command));
    // What follows `help` is no call of a command.
    examples.filter(|words| words[0] != "help").collect()
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
    let sandbox = Sandbox::new();
    let known = subcommands(&help(&sandbox, &[]));
    assert!(known.len() > 10, "the help lists no subcommands: {known:?}");
    let shown: BTreeSet<_> = examples().iter().map(|example| subcommand(example, &known, &sandbox)).collect();
    for name in &known {
        let inner = subcommands(&help(&sandbox, std::slice::from_ref(name)));
        let wanted: Vec<_> = if inner.is_empty() {
            vec![vec![name.clone()]]
        } else {
            inner.into_iter().map(|inner| vec![name.clone(), inner]).collect()
        };
        for words in wanted {
            assert!(shown.contains(&words), "no page has an example of `plugport {}`", words.join(" "));
        }
    }
}

#[test]
fn every_flag_of_an_example_is_one_of_its_command() {
    let sandbox = Sandbox::new();
    let known = subcommands(&help(&sandbox, &[]));
    let examples = examples();
    assert!(examples.len() > known.len(), "there are only {} examples", examples.len());
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
    let (_, table) = page("exit-codes.md");
    for code in 0..=9 {
        let rows = table.lines().filter(|line| line.starts_with(&format!("| {code} |"))).count();
        assert_eq!(rows, 1, "rows of exit code {code}");
    }
}

#[test]
fn every_manifest_in_a_page_is_accepted() {
    let pages = pages();
    let blocks = pages.iter().flat_map(|(_, page)| page.split("\n```toml\n").skip(1));
    let manifests: Vec<_> = blocks.filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(manifests.iter().any(|manifest| manifest.contains("[[datasource]]")), "there is no data source among them");
    for manifest in manifests {
        let sandbox = Sandbox::new();
        sandbox.write("plugport.toml", manifest);
        let output = sandbox.run(&["workspace", "list"]);
        assert_eq!(output.code, 0, "{manifest}\n{}", output.stderr);
    }
}

#[test]
fn the_readme_is_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let lines = fs::read_to_string(path).expect("README.md is there").lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines: the manual in src/docs has room");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, page) in pages() {
        let folder = path.parent().expect("a page is in a folder");
        for target in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_elsewhere = target.is_empty() || target.contains("://");
            assert!(is_elsewhere || folder.join(target).exists(), "{}: there is no `{target}`", path.display());
        }
        for name in page.split('`').skip(1).step_by(2) {
            let is_file = ["src/", "tests/", "fixtures/", ".github/"].iter().any(|start| name.starts_with(start));
            let is_plain = !name.contains(['*', ' ']) && !name.contains("NAME");
            assert!(!(is_file && is_plain) || root.join(name).exists(), "{}: there is no `{name}`", path.display());
        }
    }
}
