//! Private plugins: those that were published here, and come from no upstream.
//!
//! *Invariant:* an id that is private stays private: no sync takes it over.

use serde_json::Value;

/// The name of their source in the index. It is neither an address nor a path.
pub(crate) const SOURCE: &str = "private";

/// The key that marks an entry of the index as private, and one that takes the place of a plugin of a catalog.
pub(super) const ORIGIN: &str = "origin";
pub(super) const SHADOWS: &str = "shadows";

/// Returns whether the JSON object of a release is that of a private one.
pub(super) fn is_private(raw: &str) -> bool {
    field(raw, ORIGIN).is_some_and(|origin| origin == SOURCE)
}

/// Returns whether the JSON object of a private plugin says that it represents one of a catalog.
pub(super) fn shadows(raw: &str) -> bool {
    field(raw, SHADOWS).is_some_and(|shadows| shadows == true)
}

fn field(raw: &str, key: &str) -> Option<Value> {
    serde_json::from_str::<Value>(raw).ok()?.get(key).cloned()
}
