//! The rules of [`super::verify`] and [`super::decide`], against keys and manifests made here and by `GnuPG` 2.2.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use pgp::composed::KeyType;
use pgp::crypto::{ecc_curve::ECCCurve, hash::HashAlgorithm};
use pgp::packet::{Subpacket, SubpacketData};
use pgp::types::{KeyId, Timestamp as PgpTimestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    error::KeyFault,
    manifest::SignatureType,
    signing::{KEY_MADE, SIGNED, Signer},
    *,
};
use crate::{
    diagnostic::Chain,
    model::{RelPath, Sha256Digest},
};

const PUBLISHER: &[u8] = include_bytes!("../../fixtures/signatures/publisher.asc");
const RSA: &[u8] = include_bytes!("../../fixtures/signatures/rsa.MANIFEST.txt");
const SUBKEY: &[u8] = include_bytes!("../../fixtures/signatures/subkey.MANIFEST.txt");
const SHA1: &[u8] = include_bytes!("../../fixtures/signatures/sha1.MANIFEST.txt");

fn contents(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
    names.iter().map(|name| ((*name).to_owned(), format!("content of {name}").into_bytes())).collect()
}

fn files(names: &[&str]) -> FileDigests {
    let digest = |content: &Vec<u8>| Sha256Digest::from_bytes(Sha256::digest(content).into());
    contents(names).iter().map(|(name, content)| (name.parse().expect("a path"), digest(content))).collect()
}

fn ring(signers: &[&Signer]) -> Keyring {
    let mut ring = Keyring::default();
    for signer in signers {
        ring.add(signer.public_key().as_bytes()).expect("a public key");
    }
    ring
}

/// A plugin of two files, its signer, and what is done to it before it is judged.
struct SignedFixture {
    signer: Signer,
    manifest: Value,
    files: FileDigests,
    root_url: Option<&'static str>,
}

const NAMES: [&str; 2] = ["module.js", "plugin.json"];

impl SignedFixture {
    fn new() -> Self {
        let signer = Signer::new(1);
        let manifest = signer.manifest("acme-clock-panel", "1.0.0", &contents(&NAMES));
        Self { signer, manifest, files: files(&NAMES), root_url: Some("https://grafana.example/") }
    }

    fn with(field: &str, value: Value) -> Self {
        let mut case = Self::new();
        case.manifest[field] = value;
        case
    }

    fn text(&self) -> String {
        self.signer.sign(&format!("{:#}", self.manifest))
    }

    fn verdict(&self) -> Verdict {
        self.verdict_of_text(self.text().as_bytes())
    }

    fn verdict_of_text(&self, text: &[u8]) -> Verdict {
        self.verdict_with(text, &ring(&[&self.signer]))
    }

    fn verdict_with(&self, text: &[u8], keyring: &Keyring) -> Verdict {
        let (id, version) = (id(), "1.0.0".parse().expect("a version"));
        verify(Some(text), (&id, &version), &self.files, self.root_url, keyring)
    }
}

fn id() -> PluginId {
    "acme-clock-panel".parse().expect("an id")
}

fn describe(verdict: &Verdict) -> String {
    verdict.reason.as_ref().map_or_else(String::new, |reason| Chain(reason.as_ref()).to_string())
}

#[track_caller]
fn assert_told(verdict: &Verdict, status: Status, words: &str) {
    assert_eq!(verdict.status, status, "{}", describe(verdict));
    assert!(describe(verdict).contains(words), "{:?} does not say {words:?}", describe(verdict));
}

#[test]
fn what_was_signed_is_valid_and_tells_by_whom() {
    let verdict = SignedFixture::new().verdict();
    assert_eq!((verdict.status, describe(&verdict)), (Status::Valid, String::new()));
    let manifest = verdict.manifest.expect("a manifest");
    assert_eq!(manifest.signature_type, SignatureType::Community);
    assert_eq!(manifest.signed_by_org_name, "Publisher");
    assert_eq!(manifest.time.to_string(), "2025-01-01T00:00:00.000Z");
    assert_eq!(verdict.key, Some(Signer::new(1).key_id()));
}

#[test]
fn every_kind_of_key_that_signs_is_understood() {
    for key_type in [KeyType::ECDSA(ECCCurve::P256), KeyType::ECDSA(ECCCurve::P521), KeyType::Ed25519] {
        let mut case = SignedFixture::new();
        case.signer = Signer::of_type(2, key_type.clone());
        case.manifest["keyId"] = json!(case.signer.key_id());
        assert_eq!(describe(&case.verdict()), "", "{key_type:?}");
    }
}

#[test]
fn manifests_signed_with_gnupg_are_read() {
    let ring = Keyring::from_armored(PUBLISHER).expect("a public key");
    for text in [RSA, SUBKEY] {
        let manifest = read_manifest(text, &ring).expect("a good signature");
        assert_eq!((manifest.plugin.as_str(), vec![manifest.key_id]), ("publisher-clock-panel", ring.ids()));
    }
    assert!(matches!(read_manifest(RSA, &Keyring::grafana()), Err(SignatureError::UntrustedKey(_))));
}

#[test]
fn a_sub_key_that_another_key_claims_speaks_for_its_owner_only() {
    let thief = Signer::new(9).claiming(str::from_utf8(PUBLISHER).expect("text"));
    let error = read_manifest(SUBKEY, &ring(&[&thief])).expect_err("the sub-key did not agree");
    assert!(matches!(error, SignatureError::Key { fault: KeyFault::Unbound, .. }), "{error:?}");
}

#[test]
fn a_signature_with_sha1_is_refused_although_the_key_is_trusted() {
    let ring = Keyring::from_armored(PUBLISHER).expect("a public key");
    assert!(matches!(read_manifest(SHA1, &ring), Err(SignatureError::WeakHash(hash)) if hash == "SHA1"));
}

#[test]
fn no_manifest_and_next_to_none_is_unsigned() {
    let case = SignedFixture::new();
    let version = "1.0.0".parse().expect("a version");
    let ring = ring(&[&case.signer]);
    assert_eq!(verify(None, (&id(), &version), &case.files, None, &ring).status, Status::Unsigned);
    assert_eq!(case.verdict_of_text(b"too short").status, Status::Unsigned);
    assert_eq!(case.verdict_of_text(b"long enough").status, Status::Invalid);
}

#[test]
fn a_changed_text_is_refused_wherever_it_was_changed() {
    let case = SignedFixture::new();
    let text = case.text();
    for (from, to) in [("acme-clock", "acme-clack"), ("\"community\"", "\"grafana\""), ("\"time\": 1", "\"time\": 2")] {
        assert!(text.contains(from));
        assert_told(
            &case.verdict_of_text(text.replace(from, to).as_bytes()),
            Status::Invalid,
            "does not match its text",
        );
    }
}

#[test]
fn an_unknown_key_is_named() {
    let case = SignedFixture::new();
    let verdict = case.verdict_with(case.text().as_bytes(), &ring(&[&Signer::new(9)]));
    assert_told(&verdict, Status::Invalid, &format!("`{}`, which is not trusted", case.signer.key_id()));
    assert_eq!(verdict.key, Some(case.signer.key_id()));
}

#[test]
fn a_forged_issuer_helps_nobody() {
    let (case, forger) = (SignedFixture::new(), Signer::new(9));
    let issuer = KeyId::new(hex::decode(case.signer.key_id()).expect("hex").try_into().expect("8 bytes"));
    let text = forger.sign_with(&case.manifest.to_string(), |config| {
        config.hashed_subpackets.truncate(1);
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(issuer)).expect("short")];
    });
    assert_told(&case.verdict_of_text(text.as_bytes()), Status::Invalid, "does not match its text");
}

#[test]
fn of_several_trusted_keys_the_one_that_is_named_must_have_signed() {
    let (first, second) = (SignedFixture::new(), Signer::new(9));
    let ring = ring(&[&second, &first.signer]);
    assert_eq!(first.verdict_with(first.text().as_bytes(), &ring).status, Status::Valid);
    let signed_by_the_other = second.sign(&first.manifest.to_string());
    let verdict = first.verdict_with(signed_by_the_other.as_bytes(), &ring);
    assert_told(&verdict, Status::Invalid, "names the key");
    assert_eq!(verdict.key, Some(second.key_id()));
    let upper = SignedFixture::with("keyId", json!(first.signer.key_id().to_uppercase()));
    assert_told(&upper.verdict(), Status::Invalid, "names the key");
}

#[test]
fn dates_of_the_key_count_at_the_time_of_the_signature() {
    let day = 86_400;
    let signer = || Signer::new(1);
    for (signer, status, words) in [
        (signer().expiring_at(SIGNED + day), Status::Valid, ""),
        (signer().expiring_at(SIGNED - day), Status::Invalid, "it expired on 2024-12-31"),
        (signer().expiring_at(SIGNED), Status::Invalid, "it expired on 2025-01-01"),
        (signer().revoked_at(SIGNED + day, false), Status::Valid, ""),
        (signer().revoked_at(SIGNED - day, false), Status::Invalid, "it was revoked on 2024-12-31"),
        (signer().revoked_at(SIGNED + day, true), Status::Invalid, "it was revoked on 2025-01-02"),
        (signer().not_for_signing(), Status::Invalid, "not for signing"),
    ] {
        let case = SignedFixture { signer, ..SignedFixture::new() };
        assert_told(&case.verdict(), status, words);
        if status == Status::Invalid {
            assert_eq!(case.verdict().key, Some(case.signer.key_id()));
            assert!(describe(&case.verdict()).contains(&case.signer.key_id()));
        }
    }
}

#[test]
fn a_later_copy_of_a_key_brings_its_revocation() {
    let (case, revoked) = (SignedFixture::new(), Signer::new(1).revoked_at(SIGNED, true));
    let ring = ring(&[&case.signer, &revoked]);
    assert_eq!(ring.ids().len(), 1);
    assert_told(&case.verdict_with(case.text().as_bytes(), &ring), Status::Invalid, "revoked");
}

#[test]
fn a_signature_without_time_before_the_key_or_with_an_end_is_refused() {
    let case = SignedFixture::new();
    let sign = |data: Option<SubpacketData>| {
        case.signer.sign_with(&case.manifest.to_string(), |config| {
            config.hashed_subpackets.remove(0);
            config.hashed_subpackets.extend(data.map(|data| Subpacket::regular(data).expect("short")));
        })
    };
    let before = SubpacketData::SignatureCreationTime(PgpTimestamp::from_secs(KEY_MADE - 1));
    assert_told(&case.verdict_of_text(sign(Some(before)).as_bytes()), Status::Invalid, "it was made on 2020-01-01");
    assert_told(&case.verdict_of_text(sign(None).as_bytes()), Status::Invalid, "has no time");
    let end = SubpacketData::SignatureExpirationTime(pgp::types::Duration::from_secs(60));
    assert_told(&case.verdict_of_text(sign(Some(end)).as_bytes()), Status::Invalid, "signature expires");
}

#[test]
fn hashes_that_are_not_on_the_list_are_refused() {
    let case = SignedFixture::new();
    for (hash, status) in [
        (HashAlgorithm::Sha256, Status::Valid),
        (HashAlgorithm::Sha384, Status::Valid),
        (HashAlgorithm::Sha512, Status::Valid),
        (HashAlgorithm::Sha3_256, Status::Invalid),
    ] {
        let text = case.signer.sign_with(&case.manifest.to_string(), |config| config.hash_alg = hash);
        let words = if status == Status::Valid { "" } else { "the hash SHA3-256, which is not accepted" };
        assert_told(&case.verdict_of_text(text.as_bytes()), status, words);
    }
}

#[test]
fn unsigned_text_around_the_block_never_counts() {
    let case = SignedFixture::new();
    let other = SignedFixture::with("plugin", json!("acme-other-panel")).manifest;
    for text in [
        format!("{other}\n{}", case.text()),
        format!("{}\n{other}\n", case.text()),
        format!("\n{}", case.text()),
        case.text().replace("-----BEGIN PGP SIGNATURE-----\n", "-----BEGIN PGP SIGNATURE-----\r\n"),
    ] {
        let verdict = case.verdict_of_text(text.as_bytes());
        assert_eq!(describe(&verdict), "", "{text}");
        assert_eq!(verdict.manifest.expect("a manifest").plugin, "acme-clock-panel");
    }
}

#[test]
fn two_blocks_and_two_signatures_are_refused() {
    let case = SignedFixture::new();
    assert_told(&case.verdict_of_text(case.text().repeat(2).as_bytes()), Status::Invalid, "more than one signed block");
    let once = case.text();
    let (start, end) = (once.find("SIGNATURE-----\n\n").expect("a start") + 16, once.find("\n=").expect("a checksum"));
    let packet = BASE64.decode(once[start..end].replace('\n', "")).expect("base64");
    let twice = format!("{}{}\n-----END PGP SIGNATURE-----\n", &once[..start], BASE64.encode(packet.repeat(2)));
    assert_told(&case.verdict_of_text(twice.as_bytes()), Status::Invalid, "has 2 signatures");
}

#[test]
fn a_manifest_of_another_plugin_or_version_is_no_manifest_of_this_one() {
    for (field, value) in [("plugin", "acme-other-panel"), ("plugin", "Acme-clock-panel"), ("version", "1.0.1")] {
        assert_told(&SignedFixture::with(field, json!(value)).verdict(), Status::Modified, value);
    }
}

#[test]
fn the_first_file_that_differs_is_named() {
    let judged = |names: &[&str]| SignedFixture { files: files(names), ..SignedFixture::new() }.verdict();
    assert_told(&judged(&["plugin.json"]), Status::Modified, "`module.js` is missing");
    assert_told(&judged(&["Module.js", "plugin.json"]), Status::Modified, "`module.js` is named `Module.js`");
    assert_told(&judged(&["a", "module.js", "plugin.json"]), Status::Modified, "`a` is not in the manifest");
    assert_told(&judged(&[]), Status::Invalid, "no files");
    let mut case = SignedFixture::new();
    case.files.insert("module.js".parse().expect("a path"), Sha256Digest::from_bytes([0; 32]));
    assert_told(&case.verdict(), Status::Modified, "`module.js` was changed");
}

#[test]
fn only_the_manifest_in_the_root_need_not_be_listed() {
    let judged =
        |name| SignedFixture { files: files(&["module.js", "plugin.json", name]), ..SignedFixture::new() }.verdict();
    assert_eq!(judged("MANIFEST.txt").status, Status::Valid);
    assert_told(&judged("img/MANIFEST.txt"), Status::Modified, "`img/MANIFEST.txt` is not in the manifest");
    assert_told(&judged("manifest.txt"), Status::Modified, "`manifest.txt` is not in the manifest");
}

#[test]
fn a_digest_in_other_letters_is_no_digest() {
    for change in [|text: &str| text.to_uppercase(), |text: &str| text[..40].to_owned(), |_: &str| String::new()] {
        let mut case = SignedFixture::new();
        let digest = change(case.manifest["files"]["module.js"].as_str().expect("a digest"));
        case.manifest["files"]["module.js"] = json!(digest);
        assert_told(&case.verdict(), Status::Modified, "`module.js` is not 64 lower-case");
    }
}

#[test]
fn paths_that_lead_elsewhere_make_it_modified() {
    for path in ["../plugin.json", "/etc/passwd", "img\\logo.svg", "a/../module.js", "C:/x", ""] {
        let mut case = SignedFixture::new();
        case.manifest["files"][path] = case.manifest["files"]["module.js"].clone();
        assert_told(&case.verdict(), Status::Modified, "an invalid path");
    }
}

#[test]
fn every_required_field_is_required() {
    for field in ["plugin", "version", "keyId", "time", "files", "signedByOrg", "signedByOrgName", "signatureType"] {
        for value in [Value::Null, json!(""), json!(0), json!({}), json!([])] {
            assert_eq!(SignedFixture::with(field, value.clone()).verdict().status, Status::Invalid, "{field} {value}");
        }
    }
    assert_told(&SignedFixture::with("signatureType", json!("Grafana")).verdict(), Status::Invalid, "unknown");
    assert_told(
        &SignedFixture::with("rootUrls", json!("https://grafana.example/")).verdict(),
        Status::Invalid,
        "the wrong type",
    );
    assert_told(&SignedFixture::with("time", json!(1e12)).verdict(), Status::Invalid, "the wrong type");
}

#[test]
fn manifests_of_the_first_generation_are_invalid() {
    for version in [Value::Null, json!(""), json!("1.0.0"), json!("3.0.0"), json!("2"), json!(2.0)] {
        let verdict = SignedFixture::with("manifestVersion", version).verdict();
        assert_told(&verdict, Status::Invalid, "manifestVersion");
    }
    assert_eq!(SignedFixture::with("manifestVersion", json!("2.7")).verdict().status, Status::Valid);
}

#[test]
fn a_key_said_twice_in_any_case_is_refused() {
    let case = SignedFixture::new();
    let text = case.manifest.to_string().replacen('{', "{\"Plugin\":\"acme-other-panel\",", 1);
    assert_told(&case.verdict_of_text(case.signer.sign(&text).as_bytes()), Status::Invalid, "duplicate key");
    let one_in_capitals = case.manifest.to_string().replace("\"plugin\"", "\"PLUGIN\"");
    assert_eq!(case.verdict_of_text(case.signer.sign(&one_in_capitals).as_bytes()).status, Status::Valid);
}

#[test]
fn root_urls_count_for_every_type_of_signature() {
    let mut case = SignedFixture::with("rootUrls", json!(["https://other.example/", "https://grafana.example"]));
    assert_eq!(case.verdict().status, Status::Valid);
    case.root_url = Some("https://elsewhere.example/");
    assert_told(&case.verdict(), Status::Invalid, "not for `https://elsewhere.example/`");
    case.root_url = None;
    assert_eq!(case.verdict().status, Status::Valid);
}

#[test]
fn patterns_of_root_urls_are_for_their_type_only() {
    let mut case = SignedFixture::with("rootUrls", json!(["https://*.example/"]));
    assert_eq!(case.verdict().status, Status::Invalid);
    case.manifest["signatureType"] = json!("private-glob");
    assert_eq!(case.verdict().status, Status::Valid);
    // Grafana's own root URL always ends in a slash, however it is written here.
    let mut case = SignedFixture::with("rootUrls", json!(["http://*.0.0.1:3000/"]));
    case.manifest["signatureType"] = json!("private-glob");
    for root_url in ["http://127.0.0.1:3000", "http://127.0.0.1:3000/"] {
        case.root_url = Some(root_url);
        assert_eq!(case.verdict().status, Status::Valid, "{root_url}");
        case.manifest["rootUrls"] = json!(["http://*.0.0.1:3000"]);
        assert_eq!(case.verdict().status, Status::Invalid, "{root_url}");
        case.manifest["rootUrls"] = json!(["http://*.0.0.1:3000/"]);
    }
}

#[test]
fn a_child_is_what_its_parent_is_unless_it_is_valid_itself() {
    let all = files(&["plugin.json", "a/plugin.json", "a/x.js", "b/c/plugin.json", "b/c/MANIFEST.txt", "xplugin.json"]);
    let children = nested(&all);
    let folders: Vec<_> = children.iter().map(|child| (child.folder.as_str(), child.has_manifest())).collect();
    assert_eq!(folders, [("a", false), ("b/c", true)]);
    let names: Vec<_> = children[0].files.keys().map(RelPath::as_str).collect();
    assert_eq!(names, ["plugin.json", "x.js"]);

    let (valid, modified) = (SignedFixture::new().verdict(), SignedFixture::with("plugin", json!("x")).verdict());
    assert_eq!(inherit(modified.clone(), &valid).status, Status::Valid);
    assert_eq!(inherit(valid.clone(), &modified).status, Status::Valid);
    assert_eq!(inherit(SignedFixture::new().verdict_of_text(b""), &modified).status, Status::Modified);
}

#[test]
fn only_unsigned_plugins_are_helped_by_a_list() {
    let decided = |verdict: &Verdict, enforcement, allowed: &[PluginId]| {
        decide(verdict, &id(), enforcement, &allowed.iter().cloned().collect::<BTreeSet<_>>())
    };
    let unsigned = SignedFixture::new().verdict_of_text(b"");
    let (modified, invalid) =
        (SignedFixture::with("plugin", json!("x")).verdict(), SignedFixture::new().verdict_of_text(b"no signature"));
    for bad in [&modified, &invalid] {
        for allowed in [&[][..], &[id()]] {
            assert!(matches!(decided(bad, Enforcement::Require, allowed), PolicyDecision::Refuse(_)));
            assert!(matches!(decided(bad, Enforcement::Warn, allowed), PolicyDecision::AllowWithWarning(_)));
            assert!(matches!(decided(bad, Enforcement::Off, allowed), PolicyDecision::Allow));
        }
    }
    assert!(matches!(decided(&unsigned, Enforcement::Require, &[id()]), PolicyDecision::Allow));
    assert!(matches!(decided(&unsigned, Enforcement::Warn, &[]), PolicyDecision::AllowWithWarning(_)));
    assert!(matches!(decided(&SignedFixture::new().verdict(), Enforcement::Require, &[]), PolicyDecision::Allow));
    let PolicyDecision::Refuse(error) = decided(&unsigned, Enforcement::Require, &[]) else { panic!("it was allowed") };
    assert!(matches!(error, PolicyError::Unsigned(_)));
    let PolicyDecision::Refuse(error) = decided(&modified, Enforcement::Require, &[]) else { panic!("it was allowed") };
    assert!(Chain(&error).to_string().contains("for the plugin `x`"), "{}", Chain(&error));
}

#[test]
fn a_published_key_is_added_and_takes_no_place() {
    let (built_in, other) = (Signer::new(1), Signer::new(2));
    let mut ring = ring(&[&built_in]);
    ring.add_published(&other.key_id().to_uppercase(), other.public_key().as_bytes()).expect("another key");
    assert_eq!(ring.ids(), [built_in.key_id(), other.key_id()]);
    let third = Signer::new(3);
    let error = ring.add_published(&built_in.key_id(), third.public_key().as_bytes()).expect_err("another's id");
    assert!(matches!(error, KeyringError::OtherKey { .. }), "{error:?}");
    assert_eq!(ring.ids(), [built_in.key_id(), other.key_id()]);
    ring.add_published(&built_in.key_id(), built_in.public_key().as_bytes()).expect("known already");
    assert_eq!(ring.ids().len(), 2);
}

#[test]
fn a_published_key_that_adopts_a_sub_key_of_another_is_refused() {
    let mut ring = Keyring::from_armored(PUBLISHER).expect("keys");
    let before = ring.ids();
    let thief = Signer::new(2).claiming(str::from_utf8(PUBLISHER).expect("text"));
    let error = ring.add_published(&thief.key_id(), thief.public_key().as_bytes()).expect_err("refused");
    assert!(matches!(error, KeyringError::TakenId(_)), "{error:?}");
    assert_eq!(ring.ids(), before);
}

#[test]
fn a_published_copy_of_a_known_key_brings_its_revocation_and_nothing_else() {
    let case = SignedFixture::new();
    let mut ring = ring(&[&case.signer.clone().expiring_at(SIGNED + 100)]);
    ring.add_published(&case.signer.key_id(), case.signer.public_key().as_bytes()).expect("known already");
    assert_eq!(case.verdict_with(case.text().as_bytes(), &ring).status, Status::Valid);
    let revoked = case.signer.clone().revoked_at(SIGNED - 100, true);
    ring.add_published(&revoked.key_id(), revoked.public_key().as_bytes()).expect("known already");
    assert_told(&case.verdict_with(case.text().as_bytes(), &ring), Status::Invalid, "was revoked on");
}

#[test]
fn a_damaged_block_is_told_in_a_sentence() {
    let text = SignedFixture::new().signer.sign("{\"a\": 1}");
    let (start, end) = text.split_at(text.rfind("-----END").expect("signed"));
    for damaged in [format!("{}\n{end}", &start[..start.len() - 20]), text.replace("\n\n", "\n\n!!")] {
        let error = read_manifest(damaged.as_bytes(), &Keyring::default()).expect_err("damaged");
        let told = Chain(&error).to_string();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || " `,'-:".contains(letter);
        assert!(!told.contains("::") && told.chars().all(plain), "{told}");
    }
}

#[test]
fn files_that_hold_no_public_key_are_refused() {
    let read = |text: &str| Keyring::from_armored(text.as_bytes());
    assert!(matches!(read(""), Err(KeyringError::NoKey)));
    assert!(matches!(read("-----BEGIN PGP PRIVATE KEY BLOCK-----"), Err(KeyringError::PrivateKey)));
    assert!(matches!(read(&"x".repeat((1 << 20) + 1)), Err(KeyringError::TooLong(_))));
    let good = Signer::new(1).public_key();
    assert!(read(&good[..good.len() / 2]).is_err());
    assert_eq!(read(&format!("{good}\n{}", Signer::new(2).public_key())).expect("two keys").ids().len(), 2);
    assert_eq!(Keyring::grafana().ids(), ["7e4d0c6a708866e7"]);
}

#[test]
fn the_signer_of_tests_makes_the_same_manifest_every_time() {
    let text = || Signer::new(5).manifest_text("acme-clock-panel", "1.0.0", &contents(&NAMES));
    assert_eq!(text(), text());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_judge_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        SignedFixture::new().verdict_of_text(&text);
    }

    #[test]
    fn no_damage_to_a_manifest_makes_the_judge_panic_or_believe_it(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let case = SignedFixture::new();
        let mut text = case.text().into_bytes();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let verdict = case.verdict_of_text(&text);
        // Damage outside of what is signed, such as a header of the block, may do no harm.
        if let Some(manifest) = verdict.manifest {
            prop_assert_eq!(manifest.plugin, "acme-clock-panel");
            prop_assert_eq!(manifest.files.len(), NAMES.len());
        }
    }

    #[test]
    fn no_signed_json_makes_the_judge_panic(text in "[{\\[\"a-zA-Z0-9:,. \\]}]{0,80}") {
        let case = SignedFixture::new();
        case.verdict_of_text(case.signer.sign(&text).as_bytes());
    }
}
