//! The fields of a data source: which of them can be compared, and how.
//!
//! *Invariant:* pure; what a server leaves out, or fills in, is as good as empty.
//! *Not for:* the values of secrets, which no server returns.

use serde_json::Value;

/// What the server adds to a data source by itself, and does not take.
const OWN: [&str; 7] =
    ["accessControl", "apiVersion", "orgId", "readOnly", "secureJsonFields", "typeLogoUrl", "typeName"];

/// Returns whether a data source has the settings that it is to have, without regard to secrets.
pub(crate) fn has_settings(found: &Value, name: &str, settings: &Value) -> bool {
    found.get("name").is_some_and(|found| found == name) && is_as(found, settings)
}

/// Returns whether a data source is as it was, without regard to secrets.
pub(crate) fn is_as_it_was(found: &Value, before: &Value) -> bool {
    is_as(found, &comparable(before)) && is_as(before, &comparable(found))
}

/// Returns what there is of a data source that can be sent and read back.
pub(super) fn comparable(found: &Value) -> Value {
    let object = found.as_object().cloned().unwrap_or_default();
    let kept = object.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    Value::Object(kept.filter(|(key, _)| !["id", "uid", "version"].contains(&key.as_str())).collect())
}

/// Returns whether a data source has every setting that is given; in `jsonData` key by key.
pub(super) fn is_as(found: &Value, wanted: &Value) -> bool {
    let of = |key: &str| found.get(key).unwrap_or(&Value::Null);
    wanted.as_object().into_iter().flatten().all(|(key, value)| match (of(key), value) {
        (Value::Object(there), Value::Object(given)) => given.iter().all(|(key, value)| there.get(key) == Some(value)),
        // Servers leave out, or fill in, what is empty.
        (there, value) => there == value || is_empty(there) && is_empty(value),
    })
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Returns the names of the secrets that a data source has; their values are in no answer.
pub(crate) fn secret_names(found: &Value) -> impl Iterator<Item = &str> {
    let fields = found.get("secureJsonFields").and_then(Value::as_object);
    fields.into_iter().flatten().filter(|(_, is_set)| **is_set == true).map(|(name, _)| name.as_str())
}

/// Returns whether a data source has a secret of this name.
pub(crate) fn has_secret(found: &Value, name: &str) -> bool {
    secret_names(found).any(|found| found == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_is_as_good_as_left_out() {
        assert!(is_as(&json!({"url": ""}), &json!({"user": "", "basicAuth": false, "jsonData": {}})));
        assert!(!is_as(&json!({"url": ""}), &json!({"url": "x"})) && !is_as(&json!({}), &json!({"basicAuth": true})));
    }
}
