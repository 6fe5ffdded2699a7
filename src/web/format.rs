//! Times, sizes and numbers as people read them.

use std::fmt;

use crate::{diagnostic::printable, model::Timestamp};

/// A point in time as a `time` element: a date, or a date with the minute, in UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    Date(Timestamp),
    Minute(Timestamp),
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Date(time) | Self::Minute(time)) = self;
        let iso = time.to_string();
        let text = match self {
            Self::Date(_) => time.date(),
            Self::Minute(_) => match (iso.get(..10), iso.get(11..16)) {
                (Some(date), Some(minute)) => format!("{date} {minute} UTC"),
                _ => iso.clone(),
            },
        };
        // Digits, dashes and colons: there is nothing to escape.
        write!(formatter, "<time datetime=\"{iso}\">{text}</time>")
    }
}

impl askama::filters::HtmlSafe for Moment {}

/// Returns a number of bytes with three digits and a unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut whole, mut rest, mut unit) = (bytes / 1_000, bytes % 1_000, 0);
    while whole >= 1_000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1_000, whole % 1_000, unit + 1);
    }
    if whole < 10 { format!("{whole}.{} {}", rest / 100, UNITS[unit]) } else { format!("{whole} {}", UNITS[unit]) }
}

/// Returns a number with spaces between its thousands.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Returns a number as [`number`] does, for a count of things in memory.
pub(super) fn count(count: usize) -> String {
    number(count as u64)
}

/// Returns a text of a catalog on one line, without characters that show something else than they are, and not too long.
pub(super) fn line(text: &str, longest: usize) -> String {
    let mut characters = text.trim().chars();
    let shown: String =
        characters.by_ref().take(longest).map(|it| if it == '\n' || it == '\t' { ' ' } else { it }).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", printable(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_short() {
        let sizes = [0, 999, 1_000, 9_949, 12_345, 1_500_000, 999_999_999, 5_000_000_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "9.9 kB", "12 kB", "1.5 MB", "999 MB", "5.0 TB"]);
        assert_eq!([7, 1_000, 1_234_567].map(number), ["7", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn texts_are_cut_and_cannot_turn_the_line_around() {
        assert_eq!(line(" a\nb ", 80), "a b");
        assert_eq!(line("abcdef", 3), "abc…");
        assert!(!line("a\u{202e}b", 80).contains('\u{202e}'));
    }

    #[test]
    fn a_moment_is_a_time_element() {
        let time = Timestamp::from_milliseconds(1_700_000_000_000);
        assert_eq!(
            Moment::Minute(time).to_string(),
            "<time datetime=\"2023-11-14T22:13:20.000Z\">2023-11-14 22:13 UTC</time>"
        );
        assert!(Moment::Date(time).to_string().ends_with(">2023-11-14</time>"));
        assert!(Moment::Minute(Timestamp::from_milliseconds(i64::MAX)).to_string().contains("ms"));
    }
}
