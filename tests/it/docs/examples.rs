//! The examples of the pages: every one is parsed, those that are marked `<!-- run -->` are run and their output compared.
//!
//! *Invariant:* what differs from run to run (times, ports, digests, sizes, processes) is compared by its kind.
//! `<!-- setup: COMMAND -->` runs a command before the next block; `<!-- world: EVENT -->` changes the world.

use std::fmt::Write as _;

use clap::error::ErrorKind;

use super::{alone, pages, settle, world::World};

/// What begins a command in a block.
const PROMPT: &str = "$ ";

/// Returns the commands of every block of a page, each on one line.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if let Some(command) = line.strip_prefix(PROMPT).filter(|_| fenced) {
            commands.push(command.to_owned());
        }
    }
    commands
}

/// Returns the arguments of a `plugport …` line as a shell would pass them, without comment, pipe and redirection.
pub(crate) fn arguments(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut is_word) = (String::new(), None, false);
    for sign in command.strip_prefix("plugport ")?.chars().chain([' ']) {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => (quote, is_word) = (Some(sign), true),
            (None, ' ') if is_word => {
                words.push(std::mem::take(&mut word));
                is_word = false;
            }
            (None, ' ') => {}
            (None, '#' | '|' | '>' | ';' | '&') if !is_word => break,
            _ => {
                word.push(sign);
                is_word = true;
            }
        }
    }
    Some(words)
}

#[test]
fn every_example_is_accepted_by_the_program() {
    let mut count = 0;
    for (path, page) in pages() {
        for command in commands(&page) {
            let Some(arguments) = arguments(&command) else { continue };
            count += 1;
            let words = ["plugport".to_owned()].into_iter().chain(arguments);
            match plugport::cli::command().try_get_matches_from(words).map_err(|error| (error.kind(), error)) {
                Ok(_) | Err((ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _)) => {}
                Err((_, error)) => panic!("{}: `{command}`: {error}", path.display()),
            }
        }
    }
    assert!(count > 60, "only {count} examples were found");
}

#[test]
fn what_examples_print_is_what_the_program_prints() {
    let _alone = alone();
    let mut count = 0;
    for (path, page) in pages() {
        let mut run = Run { world: None, count: 0 };
        let wanted = run.page(&page);
        count += run.count;
        settle(&path, &page, &wanted);
    }
    assert!(count > 25, "only {count} examples were run");
}

/// The examples of one page, in one world.
struct Run {
    world: Option<World>,
    count: usize,
}

impl Run {
    /// Returns the page with the output of every example that is run; what is the same but for times and the like stays.
    fn page(&mut self, page: &str) -> String {
        let mut wanted = String::new();
        let mut lines = page.lines().peekable();
        let mut is_run = false;
        while let Some(line) = lines.next() {
            wanted.push_str(line);
            wanted.push('\n');
            match line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                Some("run") => is_run = true,
                Some("world: new") => self.world = None,
                Some(mark) => self.prepare(mark),
                None => {}
            }
            if !line.starts_with("```") {
                continue;
            }
            while let Some(line) = lines.next() {
                wanted.push_str(line);
                wanted.push('\n');
                if line.starts_with("```") {
                    break;
                }
                if let Some(command) = line.strip_prefix(PROMPT).filter(|_| is_run) {
                    let mut shown = String::new();
                    while let Some(line) = lines.next_if(|line| !line.starts_with(PROMPT) && !line.starts_with("```")) {
                        shown.push_str(line);
                        shown.push('\n');
                    }
                    wanted.push_str(&self.example(command, shown));
                }
            }
            is_run = false;
        }
        wanted
    }

    fn prepare(&mut self, mark: &str) {
        if let Some(command) = mark.strip_prefix("setup: ") {
            let (code, output) = self.world().run(command);
            assert_eq!(code, 0, "`{command}`: {output}");
        } else if let Some(event) = mark.strip_prefix("world: ") {
            self.world().happens(event);
        }
    }

    /// Runs an example; returns what is shown if that is what it prints, else what it prints.
    fn example(&mut self, command: &str, shown: String) -> String {
        self.count += 1;
        let (code, mut output) = self.world().run(command);
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        if code != 0 {
            let _ = writeln!(output, "[exit code {code}]");
        }
        if kinds(&shown) == kinds(&output) { shown } else { output }
    }

    fn world(&mut self) -> &World {
        self.world.get_or_insert_with(World::start)
    }
}

/// Stands for what differs from run to run.
const VARIES: &str = "[varies]";

/// Returns a text with what differs from run to run replaced, and its columns one space apart.
fn kinds(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().filter(|word| *word != "uid").collect();
        for (at, word) in words.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |before| words[before]);
            let after = words.get(at + 1).map_or("", |after| after.trim_end_matches([',', ';', '.', ')']));
            shown.push_str(&kind(before, word, after));
            shown.push(' ');
        }
        shown.push('\n');
    }
    shown
}

/// Returns a word, or what stands for it: sizes, durations, processes, users, times, digests, the ids of rollouts, ports.
fn kind(before: &str, word: &str, after: &str) -> String {
    const UNITS: [&str; 8] = ["ms", "s", "B", "kB", "MB", "KiB", "MiB", "GiB"];
    let core = word.trim_matches(|sign: char| !sign.is_alphanumeric());
    let is_number = !core.is_empty() && core.chars().all(|sign| sign.is_ascii_digit() || sign == '.');
    if (is_number && (UNITS.contains(&after) || before == "process")) || (core.contains('@') && after == "process") {
        return VARIES.to_owned();
    }
    let digits = core.chars().filter(char::is_ascii_digit).count();
    let is_time = digits >= 6 && core.chars().all(|sign| sign.is_ascii_digit() || "-:.TZ+".contains(sign));
    let bare = core.strip_prefix("sha256:").unwrap_or(core);
    let is_digest = bare.len() >= 8 && bare.chars().all(|sign| sign.is_ascii_hexdigit() || sign == '-');
    if (is_time && core.contains(['-', ':'])) || is_digest {
        return VARIES.to_owned();
    }
    match word.split_once("127.0.0.1:") {
        Some((before, after)) => {
            format!("{before}{VARIES}{}", after.trim_start_matches(|sign: char| sign.is_ascii_digit()))
        }
        None => word.to_owned(),
    }
}

#[test]
fn what_varies_is_compared_by_its_kind() {
    assert_eq!(kinds("12 requests, 0.2 s  2026-11-30"), kinds("12 requests, 1.25 s 2027-01-01"));
    assert_eq!(kinds("at http://127.0.0.1:4000/api"), kinds("at http://127.0.0.1:50000/api"));
    assert_eq!(
        kinds("20261130-153244-0cf5  by uid 0@vm, process 47"),
        kinds("20271130-153244-0125 by ann@ops, process 2")
    );
    assert_ne!(kinds("12 requests"), kinds("13 requests"));
    assert_ne!(kinds("version 1.2.3"), kinds("version 1.2.4"));
}
