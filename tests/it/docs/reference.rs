//! The reference of the commands, made from what clap knows of them.

use std::collections::BTreeMap;

use clap::{Arg, Command};

use super::{alone, fill, page, sentence, wrapped};

#[test]
fn the_reference_of_commands_is_complete() {
    let _alone = alone();
    let (path, text) = page("commands.md");
    let mut root = plugport::cli::command();
    root.build();
    let globals = root.get_arguments().filter(|argument| argument.is_global_set()).map(item);
    let mut parts = BTreeMap::from([("global options".to_owned(), globals.collect::<String>())]);
    for command in root.get_subcommands() {
        let inner: Vec<_> = command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
        if inner.is_empty() {
            parts.insert(command.get_name().to_owned(), entry(command));
        }
        for inner in inner {
            parts.insert(format!("{} {}", command.get_name(), inner.get_name()), entry(inner));
        }
    }
    fill(&path, &text, parts);
}

/// Returns what a command does, how it is called, and its arguments.
fn entry(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: String = about.split("\n\n").map(|text| wrapped(&sentence(text), "", 0) + "\n").collect();
    let own = |argument: &&Arg| {
        !argument.is_global_set()
            && !argument.is_hide_set()
            && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let items: String = command.get_arguments().filter(own).map(item).collect();
    let gap = if items.is_empty() { "" } else { "\n" };
    format!("{paragraphs}Usage: `{usage}`\n{gap}{items}")
}

/// Returns an argument as an item of a list.
fn item(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    if argument.get_action().takes_values() {
        let values = argument.get_possible_values();
        let values: Vec<_> =
            values.iter().filter(|value| !value.is_hide_set()).map(|value| code(value.get_name())).collect();
        if !values.is_empty() {
            notes.push(format!("one of {}", values.join(", ")));
        }
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            notes.push(format!("default {}", defaults.join(", ")));
        }
    }
    if let Some(variable) = argument.get_env() {
        notes.push(format!("environment {}", code(&variable.to_string_lossy())));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    wrapped(&sentence(&format!("`{short}{argument}`{notes}: {help}")), "- ", 2)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
