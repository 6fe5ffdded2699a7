//! Markdown as text for a terminal: the subset that the manual is written in.
//!
//! *Invariant:* no line is longer than the width, except code, addresses and words that are longer themselves. Bold text
//! is marked with ANSI codes, which the output stream strips where nobody sees them.
//! *Not for:* Markdown from outside; nothing is escaped here.

use std::fmt::Write as _;

/// What every line of a code block is indented by.
const INDENT: &str = "    ";

/// The narrowest last column of a table; a table that has less is printed as a list.
const LAST_COLUMN: usize = 28;

/// One block of a page.
enum Block {
    Heading(usize, String),
    Paragraph(String),
    /// Its indentation, its marker (`-` or `1.`), and its text.
    Item(usize, String, String),
    Table(Vec<Vec<String>>),
    Code(Vec<String>),
}

/// Returns a page as text with lines of at most `width` characters.
pub(super) fn render(page: &str, width: usize) -> String {
    let mut text = String::new();
    let mut was_item = false;
    for block in blocks(page) {
        let is_item = matches!(block, Block::Item(..));
        if !(text.is_empty() || is_item && was_item) {
            text.push('\n');
        }
        was_item = is_item;
        match block {
            Block::Heading(level, title) => heading(&mut text, level, &title),
            Block::Paragraph(words) => text.push_str(&wrap(&words, width, "", "")),
            Block::Item(indent, marker, words) => {
                let first = format!("{}{marker} ", " ".repeat(indent));
                text.push_str(&wrap(&words, width, &first, &" ".repeat(first.len())));
            }
            Block::Table(rows) => table(&mut text, &rows, width),
            Block::Code(lines) => {
                for line in lines {
                    let _ = writeln!(text, "{}", format!("{INDENT}{line}").trim_end());
                }
            }
        }
    }
    text
}

/// Returns words on lines of at most `width` characters, the first after `first`, the others after `rest`.
pub(super) fn wrap(text: &str, width: usize, first: &str, rest: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words(&inline(text)) {
        if !is_empty && length(&line) + 1 + length(&word) > width {
            let _ = writeln!(lines, "{}", line.trim_end());
            rest.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&word);
        is_empty = false;
    }
    let _ = writeln!(lines, "{}", line.trim_end());
    lines
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().peekable();
    // Whether the last block continues in the next line of text.
    let mut is_open = false;
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            blocks
                .push(Block::Code(lines.by_ref().take_while(|line| line.trim() != "```").map(str::to_owned).collect()));
            is_open = false;
        } else if trimmed.is_empty() || is_comment(trimmed) {
            is_open = false;
        } else if let Some(title) = trimmed.strip_prefix('#') {
            let level = 1 + title.chars().take_while(|sign| *sign == '#').count();
            blocks.push(Block::Heading(level, title.trim_start_matches('#').trim().to_owned()));
            is_open = false;
        } else if trimmed.starts_with('|') {
            let mut rows = vec![cells(trimmed)];
            while let Some(row) = lines.next_if(|line| line.trim().starts_with('|')) {
                rows.push(cells(row.trim()));
            }
            rows.retain(|row| !row.iter().all(|cell| cell.chars().all(|sign| matches!(sign, '-' | ':'))));
            blocks.push(Block::Table(rows));
            is_open = false;
        } else if let Some((marker, words)) = item(trimmed) {
            let indent = line.len() - line.trim_start().len();
            blocks.push(Block::Item(indent, marker.to_owned(), words.to_owned()));
            is_open = true;
        } else {
            match blocks.last_mut() {
                Some(Block::Paragraph(words) | Block::Item(_, _, words)) if is_open => {
                    words.push(' ');
                    words.push_str(trimmed);
                }
                _ => blocks.push(Block::Paragraph(trimmed.to_owned())),
            }
            is_open = true;
        }
    }
    blocks
}

fn is_comment(line: &str) -> bool {
    line.starts_with("<!--") && line.ends_with("-->")
}

/// Returns the marker and the text of an item of a list.
fn item(line: &str) -> Option<(&str, &str)> {
    let (marker, words) = line.split_once(' ')?;
    let is_number = marker.strip_suffix('.').is_some_and(|number| number.parse::<u8>().is_ok());
    (marker == "-" || is_number).then_some((marker, words))
}

fn cells(row: &str) -> Vec<String> {
    let inner = row.trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

fn heading(text: &mut String, level: usize, title: &str) {
    let title = inline(title);
    let _ = writeln!(text, "{}", bold(&title));
    let line = match level {
        1 => "=",
        2 => "-",
        _ => return,
    };
    let _ = writeln!(text, "{}", line.repeat(length(&title)));
}

/// Prints a table in columns, its last one wrapped; or as a list where the others leave it too little.
fn table(text: &mut String, rows: &[Vec<String>], width: usize) {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| inline(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let (Some((last, before)), Some((header, body))) = (widths.split_last(), rows.split_first()) else { return };
    let taken: usize = before.iter().map(|width| width + 2).sum();
    if taken + (*last).min(LAST_COLUMN) > width {
        return list(text, header, body, width);
    }
    let rest = " ".repeat(taken);
    for (at, row) in rows.iter().enumerate() {
        let mut first = String::new();
        for (cell, width) in row.iter().zip(before) {
            let shown = if at == 0 { bold(cell) } else { cell.clone() };
            let _ = write!(first, "{shown}{}", " ".repeat(width - length(cell) + 2));
        }
        let cell = row.get(before.len()).map_or("", String::as_str);
        let cell = if at == 0 { bold(cell) } else { cell.to_owned() };
        text.push_str(&wrap(&cell, width, &first, &rest));
    }
}

fn list(text: &mut String, header: &[String], rows: &[Vec<String>], width: usize) {
    for row in rows {
        let Some((name, cells)) = row.split_first() else { continue };
        text.push_str(&wrap(&bold(name), width, "- ", "  "));
        for (title, cell) in header.iter().skip(1).zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let words = if header.len() > 2 { format!("{title}: {cell}") } else { cell.clone() };
            text.push_str(&wrap(&words, width, INDENT, INDENT));
        }
    }
}

/// Returns text with its bold parts in ANSI codes and its links as what a reader can type.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            shown.push('`');
        }
        if at % 2 == 1 {
            shown.push_str(part);
        } else {
            shown.push_str(&emphasis(part));
        }
    }
    links(&shown)
}

/// Returns the parts between `**` in bold.
fn emphasis(text: &str) -> String {
    let mut parts = text.split("**");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    let mut is_bold = false;
    for part in parts {
        is_bold = !is_bold;
        shown.push_str(if is_bold { BOLD } else { PLAIN });
        shown.push_str(part);
    }
    shown
}

/// Returns `[text](topic.md)` as ``text (`plugport help topic`)``, and other links with their address.
fn links(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (Some((head, label)), Some((target, tail))) = (before.rsplit_once('['), after.split_once(')')) else {
            break;
        };
        let file = target.split('#').next().unwrap_or(target).rsplit('/').next().unwrap_or(target);
        let shown_target = match (file.strip_suffix(".md"), target.contains("://")) {
            (_, true) => format!(" ({target})"),
            (Some(topic), false) if topic.chars().all(|sign| sign.is_ascii_lowercase() || sign == '-') => {
                format!(" (`plugport help {topic}`)")
            }
            _ => String::new(),
        };
        let _ = write!(shown, "{head}{label}{shown_target}");
        rest = tail;
    }
    shown + rest
}

const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

fn bold(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{BOLD}{text}{PLAIN}") }
}

/// Returns the words of a text; the text between backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut in_code = false;
    for sign in text.chars() {
        in_code ^= sign == '`';
        match words.last_mut() {
            Some(word) if !sign.is_whitespace() || in_code => word.push(sign),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns how many columns a text takes: its ANSI codes take none.
fn length(text: &str) -> usize {
    let mut count = 0;
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign == '\u{1b}' {
            // A code ends with its letter.
            signs.by_ref().find(char::is_ascii_alphabetic);
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(page: &str, width: usize) -> String {
        render(page, width).replace(BOLD, "").replace(PLAIN, "")
    }

    #[test]
    fn blocks_are_set_apart_and_lines_are_joined() {
        let page = "# Title\n\nOne two\nthree [four](rollouts.md).\n\n<!-- note -->\n- a\n- b\n  c\n\n```console\n$ x  y\n```\n";
        let text = "Title\n=====\n\nOne two three four (`plugport help rollouts`).\n\n- a\n- b c\n\n    $ x  y\n";
        assert_eq!(plain(page, 80), text);
    }

    #[test]
    fn code_is_not_broken_and_bold_takes_no_room() {
        assert_eq!(plain("aaa `b c` **d e** f", 9), "aaa `b c`\nd e f\n");
    }

    #[test]
    fn a_table_wraps_its_last_column_or_becomes_a_list() {
        let page = "| name | meaning |\n|---|---|\n| `x` | one two three four five six seven eight |\n";
        assert_eq!(plain(page, 40), "name  meaning\n`x`   one two three four five six seven\n      eight\n");
        assert_eq!(plain(page, 20), "- `x`\n    one two three\n    four five six\n    seven eight\n");
    }

    #[test]
    fn a_cell_may_have_a_bar() {
        assert_eq!(plain("| a | b |\n|---|---|\n| `x\\|y` | z |", 40), "a      b\n`x|y`  z\n");
    }
}
