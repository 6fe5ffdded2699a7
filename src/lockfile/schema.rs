//! The JSON Schema of `plugport.lock`.

use serde_json::Value;

use super::document::RawLock;
use crate::model::root_schema;

/// Returns the JSON Schema (draft 2020-12) of a lock.
pub(crate) fn lock_schema() -> Value {
    root_schema::<RawLock>("plugport.lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::{Lock, LockError};

    #[test]
    fn every_key_that_is_read_is_in_the_schema_and_no_other() {
        let schema = lock_schema();
        let known = |text: &str| match Lock::parse(text) {
            Err(LockError::UnknownKey { mut known, .. }) => {
                known.sort();
                known
            }
            other => panic!("{text}: {other:?}"),
        };
        let keys = |table: &Value| {
            assert_eq!(table["additionalProperties"], false, "{table}");
            let mut keys: Vec<_> = table["properties"].as_object().expect("a table").keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(known("format = 1\nno-such-key = 1"), keys(&schema));
        let tables = [
            ("[catalog]", "Snapshot"),
            ("[[workspace]]", "Workspace"),
            ("[[workspace]]\n[[workspace.plugin]]", "Plugin"),
            ("[[workspace]]\n[[workspace.plugin]]\n[[workspace.plugin.package]]", "Package"),
        ];
        for (header, name) in tables {
            assert_eq!(
                known(&format!("format = 1\n{header}\nno-such-key = 1")),
                keys(&schema["$defs"][name]),
                "{name}"
            );
        }
    }
}
