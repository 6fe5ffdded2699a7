//! What is different between a file and what would be exported.

use std::{collections::HashMap, fmt};

use serde::Serialize;

/// A line that one of the two has alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub(crate) enum LineDifference {
    /// The file has it, and the export has not.
    Extra {
        /// Its number in the file, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// The export has it, and the file has not.
    Missing {
        /// Its number in the export, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// Both have the same lines, but this one is somewhere else.
    Moved {
        /// Its number in the file, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
}

impl fmt::Display for LineDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extra { line, text } => write!(formatter, "line {line} is no longer right: {text}"),
            Self::Missing { line, text } => write!(formatter, "line {line} would be: {text}"),
            Self::Moved { line, text } => write!(formatter, "line {line} is in another place: {text}"),
        }
    }
}

/// Returns the lines that differ, those of the file first; empty if both have the same lines. The ends of lines do not count.
pub(crate) fn differences(file: &str, export: &str) -> Vec<LineDifference> {
    let extra = without(file, export).map(|(line, text)| LineDifference::Extra { line, text });
    let missing = without(export, file).map(|(line, text)| LineDifference::Missing { line, text });
    let found: Vec<_> = extra.chain(missing).collect();
    if !found.is_empty() {
        return found;
    }
    let moved = file.lines().zip(export.lines()).zip(1..).find(|((is, wanted), _)| is != wanted);
    moved.map(|((is, _), line)| LineDifference::Moved { line, text: is.to_owned() }).into_iter().collect()
}

/// Returns the lines of a text that the other has not, or not as often, with their numbers.
fn without<'a>(text: &'a str, other: &str) -> impl Iterator<Item = (usize, String)> + use<'a> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for line in other.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    let is_alone = move |(_, line): &(usize, &str)| match counts.get_mut(*line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let mut is_alone = is_alone;
    (1..).zip(text.lines()).filter(move |line| is_alone(line)).map(|(line, text)| (line, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_changed_is_named_on_both_sides() {
        let found = differences("a\nb\nc\n", "a\nB\nc\n");
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["line 2 is no longer right: b", "line 2 would be: B"]);
    }

    #[test]
    fn the_order_counts_and_the_ends_of_lines_do_not() {
        assert_eq!(differences("a\r\nb", "a\nb\n"), []);
        assert_eq!(differences("b\na\n", "a\nb\n"), [LineDifference::Moved { line: 1, text: "b".to_owned() }]);
        assert_eq!(differences("a\na\n", "a\n"), [LineDifference::Extra { line: 2, text: "a".to_owned() }]);
    }
}
