//! The rules of what is listed, and the shapes of answers, without sockets and files.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Asking, Coded, Generation, HeldBack, Links, Mode, PluginFacts, Policy, ReleaseFacts, SignatureState, StoredFacts,
    serve,
};
use crate::{
    model::{
        Digests, Package, Platform, Plugin, PluginStatus, PluginType, Release, Sha256Digest, Signature, Timestamp,
    },
    signature::Enforcement,
};

const ID: &str = "acme-tides-datasource";

fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        enforcement: Enforcement::Require,
        denied: std::sync::Arc::default(),
        unsigned: [].into(),
        minimum_age: 0,
        now: Timestamp::from_milliseconds(1_000_000),
    }
}

fn digests(byte: u8) -> Digests {
    Digests { sha256: Some(Sha256Digest::from_bytes([byte; 32])), md5: None }
}

/// Returns digests that differ by the platform.
fn digests_of(platform: &str) -> Digests {
    digests(u8::try_from(platform.len()).expect("short"))
}

/// Returns a release with a package for each platform, of which those of `stored` are in the store.
fn release(version: &str, range: Option<&str>, platforms: &[&str], stored: &[&str]) -> ReleaseFacts {
    let platform = |text: &&str| text.parse::<Platform>().expect("a platform");
    let package = |text: &&str| (platform(text), Package { digests: digests_of(text), size: Some(9) });
    let packages: BTreeMap<_, _> = platforms.iter().map(package).collect();
    let of_store = |text: &&str| {
        let digests = digests_of(text);
        let sha256 = digests.sha256.expect("set");
        let facts = StoredFacts {
            sha256,
            digests,
            size: 9,
            signature: SignatureState::Valid,
            signer: None,
            plugin_json: plugin_json(version),
            added_at: Timestamp::from_milliseconds(700_000),
        };
        (platform(text), facts)
    };
    ReleaseFacts {
        release: Release {
            version: version.parse().expect("a version"),
            created_at: Some(Timestamp::from_milliseconds(500_000)),
            status: PluginStatus::Active,
            grafana_dependency: range.map(str::to_owned),
            angular: false,
            packages: packages.clone(),
            raw: json!({ "id": 7, "version": version, "url": "https://git.example/tides", "commit": "c" }).to_string(),
        },
        first_seen: Timestamp::from_milliseconds(600_000),
        is_withdrawn: false,
        pins: packages,
        stored: stored.iter().map(of_store).collect(),
    }
}

fn plugin_json(version: &str) -> Arc<str> {
    let json = json!({ "id": ID, "type": "datasource", "info": { "version": version,
        "logos": { "small": "./img/small.svg", "large": "img/large.svg" }, "screenshots": [{ "path": "img/shot.png" }] } });
    json.to_string().into()
}

fn facts(releases: Vec<ReleaseFacts>) -> PluginFacts {
    let raw = json!({ "id": 410, "slug": ID, "name": "Tides", "url": "https://git.example/tides", "orgId": "77",
        "downloads": "many", "featured": false, "readme": "<p>Hi<script>alert(1)</script></p>", "extra": { "kept": true } });
    let plugin = Plugin {
        plugin_type: PluginType::Datasource,
        description: "Tide tables".to_owned(),
        org: "acme".to_owned(),
        org_name: "Acme".to_owned(),
        signature: Signature { signature_type: "community".to_owned(), ..Signature::default() },
        downloads: 3,
        ..crate::model::tests::plugin(ID, "Tides")
    };
    PluginFacts {
        plugin,
        number: 5,
        list_raw: raw.to_string().into(),
        detail_raw: None,
        first_seen: Timestamp::from_milliseconds(400_000),
        is_withdrawn: false,
        releases,
        alerts: Vec::new(),
    }
}

fn generation(facts: PluginFacts, policy: &Policy) -> Generation {
    Generation::new(vec![serve(facts, policy)], Links::default(), None)
}

fn value(coded: &Coded) -> Value {
    serde_json::from_slice(&coded.plain).expect("JSON")
}

fn versions(generation: &Generation, asking: &Asking) -> Vec<(String, bool)> {
    let Some(coded) = generation.versions(0, asking) else { return Vec::new() };
    let of_item = |item: &Value| {
        (item["version"].as_str().expect("a text").to_owned(), item["isCompatible"].as_bool().expect("a flag"))
    };
    value(&coded)["items"].as_array().expect("a list").iter().map(of_item).collect()
}

#[test]
fn a_mirror_lists_the_platforms_that_it_has_and_the_others_what_there_is() {
    let facts = || facts(vec![release("1.0.0", None, &["linux-amd64", "linux-arm64"], &["linux-arm64"])]);
    let platforms = |mode| {
        let coded = generation(facts(), &policy(mode)).versions(0, &Asking::Anyone).expect("listed");
        value(&coded)["items"][0]["packages"].as_object().expect("packages").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(platforms(Mode::Mirror), ["linux-arm64"]);
    assert_eq!(platforms(Mode::MetadataOnly), ["linux-amd64", "linux-arm64"]);
}

#[test]
fn a_version_without_packages_names_none_rather_than_an_empty_object() {
    let bare = facts(vec![release("1.0.0", None, &[], &[])]);
    let coded = generation(bare.clone(), &policy(Mode::MetadataOnly)).versions(0, &Asking::Anyone).expect("listed");
    assert_eq!(value(&coded)["items"][0]["packages"], Value::Null);
    assert_eq!(versions(&generation(bare, &policy(Mode::Mirror)), &Asking::Anyone), []);
}

#[test]
fn compatibility_is_that_of_npm_and_what_is_no_version_works_nowhere() {
    let releases = vec![
        release("3.0.0", Some(">=12.1.0"), &["any"], &["any"]),
        release("2.0.0", Some("not a range"), &["any"], &["any"]),
        release("1.0.0", None, &["any"], &["any"]),
    ];
    let generation = generation(facts(releases), &policy(Mode::Mirror));
    let flags = |text: Option<&str>| {
        versions(&generation, &Asking::parse(text))
            .into_iter()
            .map(|(_, is_compatible)| is_compatible)
            .collect::<Vec<_>>()
    };
    assert_eq!(flags(Some("12.1.0")), [true, false, true]);
    assert_eq!(flags(Some("12.1.0-123")), [false, false, true]);
    assert_eq!(flags(Some("13.0.1 security-01")), [true, false, true], "a form took the plus away");
    assert_eq!(flags(Some("12.4")), [false, false, true]);
    assert_eq!(flags(None), [true, true, true]);
}

#[test]
fn alerts_hold_back_what_came_with_them_or_later() {
    let held = |version: Option<&str>, since| HeldBack {
        version: version.map(|version| version.parse().expect("a version")),
        since: Timestamp::from_milliseconds(since),
        text: "owner changed".to_owned(),
    };
    let listed = |alert: HeldBack| {
        let mut facts = facts(vec![release("1.0.0", None, &["any"], &["any"])]);
        facts.alerts.push(alert);
        !versions(&generation(facts, &policy(Mode::Mirror)), &Asking::Anyone).is_empty()
    };
    assert!(listed(held(None, 600_001)), "it was listed before");
    assert!(!listed(held(None, 600_000)) && !listed(held(Some("1.0.0"), 5)));
    assert!(listed(held(Some("2.0.0"), 5)), "another version");
}

#[test]
fn other_bytes_than_the_pinned_ones_are_not_served() {
    let mut changed = release("1.0.0", None, &["any"], &["any"]);
    changed.pins.insert(Platform::any(), Package { digests: digests(99), size: None });
    assert_eq!(versions(&generation(facts(vec![changed]), &policy(Mode::Mirror)), &Asking::Anyone), []);
}

/// A package that is refused may be a forgery, and its plugin.json with it.
#[test]
fn nothing_of_a_refused_package_is_shown() {
    let mut forged = release("1.0.0", None, &["any", "linux-amd64"], &["any", "linux-amd64"]);
    let package = forged.stored.get_mut(&Platform::any()).expect("stored");
    (package.signature, package.plugin_json, package.added_at) =
        (SignatureState::Invalid, plugin_json("6.6.6"), Timestamp::from_milliseconds(-1));
    let policy = Policy { enforcement: Enforcement::Require, ..policy(Mode::Mirror) };
    let generation = generation(facts(vec![forged]), &policy);
    assert_eq!(value(&generation.detail(0, None))["json"]["info"]["version"], "1.0.0");
    assert_eq!(versions(&generation, &Asking::Anyone).len(), 1);
}

#[test]
fn the_policy_decides_on_signatures_and_age() {
    let stored_as = |state, policy: &Policy| {
        let mut release = release("1.0.0", None, &["any"], &["any"]);
        release.stored.get_mut(&Platform::any()).expect("stored").signature = state;
        !versions(&generation(facts(vec![release]), policy), &Asking::Anyone).is_empty()
    };
    let require = policy(Mode::Mirror);
    assert!(!stored_as(SignatureState::Unsigned, &require) && !stored_as(SignatureState::Invalid, &require));
    let allowed = Policy { unsigned: [ID.parse().expect("an id")].into(), ..require.clone() };
    assert!(stored_as(SignatureState::Unsigned, &allowed) && !stored_as(SignatureState::Invalid, &allowed));
    let off = Policy { enforcement: Enforcement::Off, ..require.clone() };
    assert!(stored_as(SignatureState::Invalid, &off));
    let young = Policy { minimum_age: 500_001, ..require };
    let waiting = generation(facts(vec![release("1.0.0", None, &["any"], &["any"])]), &young);
    assert_eq!(versions(&waiting, &Asking::Anyone), []);
    assert_eq!(waiting.due, Some(Timestamp::from_milliseconds(1_000_001)));
}

#[test]
fn the_list_holds_active_versions_and_a_single_one_is_answered_whatever_it_is() {
    let mut old = release("1.0.0", None, &["any"], &["any"]);
    old.release.status = PluginStatus::Deprecated;
    let mut gone = release("0.9.0", None, &["any"], &["any"]);
    gone.is_withdrawn = true;
    let generation =
        generation(facts(vec![release("2.0.0", None, &["any"], &["any"]), old, gone]), &policy(Mode::Mirror));
    assert_eq!(versions(&generation, &Asking::Anyone), [("2.0.0".to_owned(), true)]);
    let (at, plugin) = generation.plugin("410").expect("by number");
    let status = |version: &str| {
        let release = plugin.release(version).expect("answered");
        value(&generation.version(at, release, &Asking::Anyone))["status"].clone()
    };
    assert_eq!(
        [status("2.0.0"), status("1.0.0"), status("v0.9.0")],
        [json!("active"), json!("deprecated"), json!("deleted")]
    );
}

#[test]
fn fields_have_the_types_that_clients_read() {
    let generation = generation(facts(vec![release("1.0.0", None, &["any"], &["any"])]), &policy(Mode::Mirror));
    let list = value(generation.list(false));
    let item = &list["items"][0];
    for key in ["id", "orgId", "userId", "typeId", "downloads", "popularity", "featured"] {
        assert!(item[key].is_number(), "{key}: {}", item[key]);
    }
    for key in ["versionDistributionType", "versionSignedByOrg", "signatureType", "updatedAt", "createdAt", "orgUrl"] {
        assert!(item[key].is_string(), "{key}: {}", item[key]);
    }
    assert_eq!(
        (&item["extra"]["kept"], &item["typeName"], &item["id"]),
        (&json!(true), &json!("Data Source"), &json!(410))
    );
    assert!(item.get("readme").is_none() && item["links"].is_array());
    let detail = value(&generation.detail(0, None));
    assert_eq!(detail["readme"], "<p>Hi</p>");
    assert_eq!(detail["json"]["info"]["version"], "1.0.0");
}

#[test]
fn who_has_no_number_gets_one_that_a_float_holds() {
    let mut facts = facts(vec![release("1.0.0", None, &["any"], &["any"])]);
    facts.list_raw = json!({ "slug": ID }).to_string().into();
    let number =
        value(generation(facts, &policy(Mode::Mirror)).list(false))["items"][0]["id"].as_u64().expect("a number");
    assert!((9_000_000..1 << 24).contains(&number), "{number}");
}

#[test]
fn invented_versions_make_no_new_answers() {
    let generation =
        generation(facts(vec![release("1.0.0", Some(">=10.0.0"), &["any"], &["any"])]), &policy(Mode::Mirror));
    let body = |version: &str| generation.versions(0, &Asking::parse(Some(version))).expect("listed").plain;
    let (new, old) = (body("12.0.0"), body("9.0.0"));
    for at in 0..1_000 {
        assert_eq!(body(&format!("12.0.{at}")).as_ptr(), new.as_ptr(), "the same memory");
        assert_eq!(body(&format!("9.0.{at}")).as_ptr(), old.as_ptr());
    }
}

#[test]
fn the_id_of_a_generation_follows_its_content() {
    let of = |releases| generation(facts(releases), &policy(Mode::Mirror)).id().to_owned();
    let one = || release("1.0.0", None, &["any"], &["any"]);
    assert_eq!(of(vec![one()]), of(vec![one()]));
    assert_ne!(of(vec![one()]), of(vec![release("1.0.0", None, &["any", "linux-amd64"], &["any", "linux-amd64"])]));
    assert_ne!(of(vec![one()]), of(vec![release("1.0.1", None, &["any"], &["any"])]));
}
