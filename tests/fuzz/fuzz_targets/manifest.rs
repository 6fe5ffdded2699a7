//! A text as MANIFEST.txt: only what the trusted key signed is believed, and it is read as any reader of JSON would.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plugport::exposed::signature::{Keyring, SignedManifest, read_manifest};
use plugport_fuzz::{PLUGIN, SIGN, VERSION, signer, signing::Signer};
use serde_json::Value;

static SIGNER: LazyLock<Signer> = LazyLock::new(signer);
static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::from_armored(SIGNER.public_key().as_bytes()).expect("a key"));

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [SIGN, text @ ..] => signed(text),
        _ => forged(bytes),
    }
});

/// Nobody but the maker of the seeds could sign, so that all that is accepted is what a seed says.
fn forged(bytes: &[u8]) {
    let Ok(manifest) = read_manifest(bytes, &KEYRING) else { return };
    assert_eq!((manifest.plugin.as_str(), manifest.version.as_str(), manifest.files.len()), (PLUGIN, VERSION, 2));
}

fn signed(text: &[u8]) {
    // A carriage return is a line end to OpenPGP, and white space at the end of a line does not count.
    let Some(text) = str::from_utf8(text).ok().filter(|text| !text.contains('\r')) else { return };
    let Ok(manifest) = read_manifest(SIGNER.sign(text).as_bytes(), &KEYRING) else { return };
    let value: Value = serde_json::from_str(text).expect("what was accepted is JSON");
    agree(&manifest, &value);
}

fn agree(manifest: &SignedManifest, value: &Value) {
    let get = |name: &str| {
        let object = value.as_object().expect("what was accepted is an object");
        let mut found = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "`{name}` is there twice");
        value
    };
    for (name, ours) in [
        ("plugin", manifest.plugin.as_str()),
        ("version", &manifest.version),
        ("signatureType", manifest.signature_type.as_str()),
        ("signedByOrg", &manifest.signed_by_org),
        ("keyId", &manifest.key_id),
    ] {
        assert_eq!(get(name).and_then(Value::as_str), Some(ours), "{name}");
    }
    let files = get("files").and_then(Value::as_object).expect("files");
    for (path, digest) in &manifest.files {
        assert_eq!(files.get(path).and_then(Value::as_str), Some(digest.to_string().as_str()), "{path}");
    }
}
