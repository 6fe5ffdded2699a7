//! Looking into JSON of which nothing is promised.

use serde_json::Value;

/// The longest text that is kept, in bytes; titles and names have no bound of their own.
const MAX_TEXT: usize = 512;

/// Returns the text of a member that is one and is not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the text of a member for keeping: no longer than is of use.
pub(super) fn kept(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(bounded)
}

/// Returns as much of a text as is kept.
pub(super) fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

/// Returns the elements of a member that is a list; none where it is something else.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the number of a member, also where it is written as a text.
pub(super) fn number(value: &Value, key: &str) -> Option<i64> {
    let member = value.get(key)?;
    member.as_i64().or_else(|| member.as_str()?.parse().ok())
}
