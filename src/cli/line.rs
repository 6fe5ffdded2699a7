//! Lines of text: harmless for a terminal, and no wider than it.
//!
//! *Not for:* pages of the manual, see `markdown`.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::diagnostic::is_hostile;

/// Replaces what would move the cursor, change colours or turn the direction of writing.
pub(super) fn clean(text: &str) -> String {
    let is_harmless = |character: char| match character {
        // Our own colours; what comes from outside is cleaned before it is put between them.
        '\n' | '\t' => true,
        character => !is_hostile(character),
    };
    text.chars().map(|character| if is_harmless(character) { character } else { '\u{fffd}' }).collect()
}

/// Returns `text` on one line of at most `width` columns of a terminal.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| {
        let wide = character.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    line.chars().take_while(fits).chain(['…']).collect()
}

/// Wraps the lines that are wider than the terminal; the rest is indented like the start of the line.
pub(super) fn wrap_lines(text: &str, width: usize) -> String {
    let line = |line: &str| {
        let (words, end) = line.strip_suffix('\n').map_or((line, ""), |words| (words, "\n"));
        let indent = words.len() - words.trim_start().len();
        if shown_width(words) <= width || indent > width / 2 {
            return line.to_owned();
        }
        let (indent, words) = words.split_at(indent);
        let wrapped = wrap(words, width - indent.len());
        format!("{indent}{}{end}", wrapped.join(&format!("\n{indent}")))
    };
    text.split_inclusive('\n').map(line).collect()
}

/// Breaks a text into lines of at most `width` columns, at blanks; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line =
            lines.last_mut().filter(|line| line.is_empty() || shown_width(line) + 1 + shown_width(word) <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns how many columns a text takes: colours take none.
fn shown_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(clean("a\u{1b}[31mb\u{9b}c\u{202e}d\re"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(shorten("one\n two   three", 9), "one two …");
    }

    /// A row with a coloured word was taken for wider than it is, and lost its columns.
    #[test]
    fn a_coloured_line_that_fits_is_left_as_it_is() {
        let line = "prod    \u{1b}[32mchanged\u{1b}[0m";
        assert_eq!(wrap_lines(line, 15), line);
        assert_eq!(wrap_lines(line, 11), "prod\n\u{1b}[32mchanged\u{1b}[0m");
    }
}
