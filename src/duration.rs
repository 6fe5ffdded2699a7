//! Lengths of time as people write them: `500ms`, `30s`, `5m`, `3d`.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A text is not a length of time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a duration: expected a number and `ms`, `s`, `m`, `h` or `d`", .0.escape_debug())]
pub(crate) struct ParseDurationError(String);

/// Returns the length of time that `text` stands for.
pub(crate) fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let refuse = || ParseDurationError(text.chars().take(40).collect());
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(refuse)
}

/// Reads a length of time from a setting.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Returns the text that [`parse`] reads as this length, to the millisecond.
pub(crate) fn format(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let fitting = units.into_iter().find(|(length, _)| milliseconds >= *length && milliseconds.is_multiple_of(*length));
    fitting.map_or_else(|| "0s".to_owned(), |(length, unit)| format!("{}{unit}", milliseconds / length))
}

/// Writes a length of time as a setting.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// A length of time as it is written, to a JSON Schema.
#[derive(Debug)]
pub(crate) struct DurationText(());

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A whole number and `ms`, `s`, `m`, `h` or `d`, like `5m`.",
            "pattern": "^[0-9]+ *(ms|s|m|h|d) *$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for text in ["0s", "500ms", "90s", "5m", "36h", "3d"] {
            assert_eq!(format(parse(text).expect("a length")), text);
        }
        assert_eq!(format(Duration::from_micros(1)), "0s");
    }

    #[test]
    fn lengths_are_read_as_people_write_them() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse("3d"), Ok(Duration::from_hours(72)));
        for text in ["", "5", "m", "-5s", "5 weeks", "99999999999999999999s", "99999999999999999d", "1.5s"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
