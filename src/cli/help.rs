//! `plugport help`: the manual that is built in, and the help of single commands.
//!
//! *Invariant:* every page of `src/docs` is a topic, every command is in one group, and no name is both.
//! *Not for:* `--help`, which clap answers.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{
    Failure, Report, Text,
    markdown::{render, wrap},
};
use crate::spelling::nearest;

/// Show a page of the manual, or the help of a command
///
/// Without a name, lists the commands and the topics.
#[derive(Args, Debug)]
pub(super) struct HelpArgs {
    /// A topic like `rollouts`, or a command like `sync` or `rollout undo`
    #[arg(value_name = "NAME")]
    name: Vec<String>,
}

/// A page of the manual.
struct Topic {
    name: &'static str,
    summary: &'static str,
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $summary:literal,)*) => {
        [$(Topic { name: $name, summary: $summary, text: include_str!(concat!("../docs/", $name, ".md")) }),*]
    };
}

const TOPICS: [Topic; 15] = topics! {
    "packages": "archives, deb, rpm, image and chart; the services",
    "commands": "every command, with its arguments and examples",
    "manifest": "every key of `plugport.toml`",
    "selectors": "how `--on`, `on` and `waves` select workspaces",
    "sources": "the sources of a catalog, folders among them",
    "cache": "the index, the store and the journal: what is where, and how it is repaired",
    "trust": "digests, signatures, alerts, tokens",
    "rollouts": "from the lock to the last wave, and how to roll back",
    "mirror": "`serve`: Grafana servers browse and install from this machine",
    "bundles": "catalog and packages over an air gap, signed",
    "json": "the documents that `--json` prints",
    "exit-codes": "what each exit code means",
    "limits": "sizes, environment variables, known gaps",
    "real-servers": "which Grafana versions and platforms are supported, and what each was tried on",
    "architecture": "how the program is built, and where to change what",
};

/// The commands as the overview lists them.
const GROUPS: [(&str, &[&str]); 8] = [
    ("Start", &["init", "validate", "status"]),
    ("Catalog", &["sync", "search", "show", "versions", "diff", "alerts", "accept"]),
    ("Packages", &["fetch", "verify", "gc"]),
    ("Mirror", &["serve", "publish", "channel", "bundle"]),
    ("Workspaces", &["workspace", "list", "outdated", "usage", "install", "upgrade", "uninstall", "api"]),
    ("Before an upgrade of Grafana", &["check", "why", "why-not"]),
    ("Fleet", &["adopt", "add", "remove", "lock", "plan", "apply", "rollout", "export"]),
    ("Other", &["doctor", "backup", "restore", "schema", "completions", "man", "help"]),
];

/// The width of a page where the terminal does not say its own, and the widest line that is easy to read.
const WIDTH: usize = 80;
const WIDEST: usize = 100;

impl HelpArgs {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let words: Vec<&str> = self.name.iter().map(String::as_str).collect();
        let topic = || TOPICS.iter().find(|topic| [topic.name] == *words);
        let (text, markdown) = match (words.is_empty(), topic()) {
            (true, _) => return Ok(overview_report()),
            (false, Some(topic)) => (render(topic.text, width()), without_comments(topic.text)),
            (false, None) => {
                let help = command_help(&words).ok_or_else(|| unknown(&words))?;
                (help.ansi().to_string(), help.to_string())
            }
        };
        let document = json!({ "topic": words.join(" "), "text": markdown });
        Ok(Report { document, text: Text::verbatim(text), ..Report::default() })
    }
}

/// Returns the commands by group, and the topics.
pub(super) fn overview() -> String {
    let command = super::command();
    let summary =
        |name: &str| command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = wrap(&format!("{about}."), width(), "", "");
    text.push_str("\nUsage: plugport [OPTIONS] <COMMAND>\n");
    for (title, names) in GROUPS {
        let rows = names.iter().map(|name| (*name, summary(name).unwrap_or_default()));
        section(&mut text, title, rows);
    }
    section(&mut text, "Topics of the manual", TOPICS.iter().map(|topic| (topic.name, topic.summary.to_owned())));
    let last = "`plugport help NAME` shows a topic or a command; `plugport --help` lists the global options.";
    text.push('\n');
    text.push_str(&wrap(last, width(), "", ""));
    text
}

fn section<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, String)>) {
    let _ = writeln!(text, "\n\u{1b}[1m{title}\u{1b}[0m");
    for (name, summary) in rows {
        text.push_str(&wrap(&summary, width(), &format!("  {name:<12}  "), &" ".repeat(16)));
    }
}

fn overview_report() -> Report {
    let command = super::command();
    let commands = command.get_subcommands().map(|command| {
        let summary = command.get_about().map(ToString::to_string);
        json!({ "name": command.get_name(), "summary": summary })
    });
    let topics = TOPICS.iter().map(|topic| json!({ "name": topic.name, "summary": topic.summary }));
    let document = json!({ "commands": commands.collect::<Vec<_>>(), "topics": topics.collect::<Vec<_>>() });
    Report { document, text: Text::verbatim(overview()), ..Report::default() }
}

/// Returns the help of a command, given by its words; `None` if there is no such command.
fn command_help(words: &[&str]) -> Option<clap::builder::StyledStr> {
    let mut root = super::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        command = command.find_subcommand_mut(word)?;
    }
    Some(command.render_long_help())
}

fn unknown(words: &[&str]) -> Failure {
    let command = super::command();
    let known = command.get_subcommands().map(clap::Command::get_name).chain(TOPICS.iter().map(|topic| topic.name));
    let near: Vec<_> = nearest(&words.join(" "), known).into_iter().map(|name| format!("`{name}`")).collect();
    let hint = match near.as_slice() {
        [] => "`plugport help` lists the commands and the topics".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Failure::usage(format!("there is no topic and no command `{}`", words.join(" ").escape_debug()), hint)
}

fn width() -> usize {
    super::ui::stdout_width().map_or(WIDTH, |width| width.min(WIDEST))
}

/// Returns a page without the marks of its generator and its tests.
fn without_comments(page: &str) -> String {
    page.lines().filter(|line| !line.starts_with("<!--")).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = super::super::command();
        let there: BTreeSet<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(grouped.len(), there.len(), "a command is in two groups, or in none");
        assert_eq!(grouped.into_iter().collect::<BTreeSet<_>>(), there);
        assert!(TOPICS.iter().all(|topic| !there.contains(topic.name)), "a topic has the name of a command");
    }

    #[test]
    fn every_page_is_a_topic() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs");
        let pages = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let pages: BTreeSet<_> = pages.map(|name| name.to_string_lossy().into_owned()).collect();
        assert_eq!(pages, TOPICS.iter().map(|topic| format!("{}.md", topic.name)).collect());
    }

    #[test]
    fn prose_fits_the_width() {
        for topic in &TOPICS {
            let page = render(topic.text, WIDTH).replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
            let long = page
                .lines()
                .find(|line| !line.starts_with("    ") && line.chars().count() > WIDTH && !line.trim().contains("://"));
            assert_eq!(long, None, "in {}", topic.name);
        }
    }
}
