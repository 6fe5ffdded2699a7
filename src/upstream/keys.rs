//! The signing keys that an upstream publishes: `GET plugins/ci/keys` (protocol page 2.3.7).
//!
//! *Invariant:* at most [`MAX_KEYS`] keys leave this module, none longer than [`MAX_LENGTH`] bytes; the others are reported.
//! *Not for:* whether a key is one, or whether it is trusted.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DocumentError, SkippedItem};
use crate::json::{self, KeyComparison, Limits, field};

/// How large an answer may be.
pub(super) const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 8 };
/// How many keys are taken from one answer.
const MAX_KEYS: usize = 64;
/// The longest key in text form, in bytes.
const MAX_LENGTH: usize = 64 << 10;

/// A key as an upstream publishes it; nobody examined it yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublishedKey {
    /// `keyId`: the id that manifests name it by.
    pub id: String,
    /// `public`: the key in text form.
    pub public: String,
}

/// The keys of an upstream.
#[derive(Clone, Debug, Default)]
pub struct PublishedKeys {
    /// Those that could be read.
    pub keys: Vec<PublishedKey>,
    /// The others.
    pub skipped: Vec<SkippedItem>,
}

/// Reads `{"items": [{"keyId", "public", "since"}, …]}`.
pub(super) fn read_keys(document: &[u8]) -> Result<PublishedKeys, DocumentError> {
    let value = json::parse(json::without_mark(document), LIMITS, KeyComparison::Folded)?;
    let items = field(&value, "items").and_then(Value::as_array).ok_or(DocumentError::NoList("items"))?;
    let mut published = PublishedKeys::default();
    for item in items {
        let text = |name| field(item, name).and_then(Value::as_str).unwrap_or_default();
        let (id, public) = (text("keyId"), text("public"));
        let reason = match () {
            () if id.is_empty() || public.is_empty() => "it has no texts `keyId` and `public`".to_owned(),
            () if public.len() > MAX_LENGTH => format!("it has more than {MAX_LENGTH} bytes"),
            () if published.keys.len() == MAX_KEYS => format!("only the first {MAX_KEYS} are used"),
            () => {
                published.keys.push(PublishedKey { id: id.to_owned(), public: public.to_owned() });
                continue;
            }
        };
        published.skipped.push(SkippedItem::plugin(id, reason));
    }
    Ok(published)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(items: &Value) -> Result<PublishedKeys, DocumentError> {
        read_keys(json!({ "items": items }).to_string().as_bytes())
    }

    #[test]
    fn keys_are_read_and_what_is_none_is_reported() {
        let long = "x".repeat(MAX_LENGTH + 1);
        let items =
            json!([{"keyId": "a", "public": "text", "since": 1}, {"keyId": "b"}, 7, {"keyId": "c", "public": long}]);
        let published = read(&items).expect("a list");
        assert_eq!(published.keys, [PublishedKey { id: "a".to_owned(), public: "text".to_owned() }]);
        assert_eq!(published.skipped.len(), 3);
        assert!(matches!(read(&json!("none")), Err(DocumentError::NoList("items"))));
        assert!(matches!(read_keys(b"<html>"), Err(DocumentError::Json(_))));
    }

    #[test]
    fn so_many_keys_are_taken_and_no_more() {
        let items: Value = (0..=MAX_KEYS).map(|id| json!({"keyId": id.to_string(), "public": "text"})).collect();
        let published = read(&items).expect("a list");
        assert_eq!((published.keys.len(), published.skipped.len()), (MAX_KEYS, 1));
    }
}
