//! The keys that a mirror publishes at `ci/keys`.

use serde_json::{Value, json};

use crate::signature::Keyring;

/// When the key of Grafana Labs was made, in milliseconds since 1970.
const GRAFANA_SINCE: u64 = 1_586_810_719_000;

/// Returns the answer to `ci/keys`: the key of Grafana Labs always, since a server deletes the keys that are missing
/// (protocol page 2.3.7), and those of a file in text form.
pub(crate) fn published_keys(own: Option<&[u8]>) -> Value {
    let mut items: Vec<Value> = Vec::new();
    let mut add = |block: &str, since: u64| {
        let Ok(ring) = Keyring::from_armored(block.as_bytes()) else { return };
        let Some(id) = ring.ids().into_iter().next() else { return };
        if !items.iter().any(|item| item["keyId"] == id.as_str()) {
            items.push(json!({ "keyId": id, "public": block, "since": since }));
        }
    };
    add(Keyring::grafana_text(), GRAFANA_SINCE);
    let text = String::from_utf8_lossy(own.unwrap_or_default()).into_owned();
    for (start, _) in text.match_indices("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
        if let Some(end) = text[start..].find(END) {
            add(&format!("{}\n", &text[start..start + end + END.len()]), 0);
        }
    }
    json!({ "items": items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grafanas_key_is_always_there_and_once() {
        for own in [None, Some(&b"no key"[..]), Some(Keyring::grafana_text().as_bytes())] {
            let keys = published_keys(own);
            let items = keys["items"].as_array().expect("a list");
            assert_eq!(items.len(), 1);
            assert_eq!(items[0]["keyId"], "7e4d0c6a708866e7");
            assert!(items[0]["public"].as_str().is_some_and(|text| text.starts_with("-----BEGIN PGP")));
        }
    }
}
