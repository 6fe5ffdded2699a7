use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Chain, Diagnose};

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}`"))
}

const TEXT: &str = r#"# Written by plugport: the exact version and digests of every plugin on every workspace, and why.
# Keep it under version control beside the manifest; do not edit it.
format = 1

[catalog]
source = "https://grafana.com/api"
sync = 3
synced-at = "2025-03-04T10:00:00.000Z"

[[workspace]]
name = "prod-eu"
grafana = "12.1.0"
platform = "linux-amd64"

[[workspace.plugin]]
id = "acme-sea-app"
version = "3.0.0"
reason = "asked for"

[[workspace.plugin]]
id = "acme-sea-datasource"
version = "v1.4"
reason = "needed by acme-sea-app, acme-tide-app"
signature = "community"
signer = "acme"

[[workspace.plugin.package]]
platform = "linux-amd64"
sha256 = "0707070707070707070707070707070707070707070707070707070707070707"

[[workspace.plugin.package]]
platform = "linux-arm64"
md5 = "09090909090909090909090909090909"
"#;

fn refused(text: &str) -> String {
    let error = Lock::parse(text).expect_err("refused");
    format!("{} | {}", Chain(&error), error.hint().unwrap_or_default())
}

#[test]
fn a_lock_is_read_and_written_byte_by_byte() {
    let lock = Lock::parse(TEXT).expect("a lock");
    assert_eq!(lock.to_text(), TEXT);
    let workspace = lock.workspace(&parsed("prod-eu")).expect("it is there");
    let source = &workspace.plugins[&parsed::<PluginId>("acme-sea-datasource")];
    assert_eq!(source.packages[&parsed::<Platform>("linux-arm64")], PackageDigest::Md5(Md5Digest::from_bytes([9; 16])));
    assert_eq!(source.reason, LockReason::NeededBy(vec![parsed("acme-sea-app"), parsed("acme-tide-app")]));
    assert!(lock.workspace(&parsed("prod")).is_none());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    let text = refused(&TEXT.replace("sha256", "sha265"));
    assert!(text.contains("line 29") && text.contains("`sha265`") && text.contains("`sha256`?"), "{text}");
}

#[test]
fn a_newer_format_is_refused_whatever_else_it_has() {
    let text = refused("format = 2\nwaves = []\n");
    assert!(text.starts_with("it has the format 2, but this program supports formats up to 1"), "{text}");
    assert!(refused("").contains("missing field `format`"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let end = TEXT.find("\n[[workspace]]").expect("it has one");
    let twice = format!("{TEXT}{}", &TEXT[end..]);
    assert!(refused(&twice).contains("duplicate workspace `prod-eu`"));
    assert!(
        refused(&TEXT.replace("acme-sea-datasource", "acme-sea-app"))
            .contains("duplicate plugin `acme-sea-app` of `prod-eu`")
    );
    assert!(refused(&TEXT.replace("linux-arm64", "linux-amd64")).contains("duplicate package of"));
    let both = TEXT.replace("md5 = ", &format!("sha256 = \"{}\"\nmd5 = ", "07".repeat(32)));
    assert!(refused(&both).contains("does not have exactly one digest"));
    assert!(refused(&TEXT.replace("signature = \"community\"\n", "")).contains("a `signer`, but no `signature`"));
    for reason in ["because", "needed by ", "needed by acme-tide-app, acme-sea-app", "needed by a b"] {
        let text = refused(&TEXT.replace("asked for", reason));
        assert!(text.contains("is not a reason"), "{reason}: {text}");
    }
}

#[test]
fn text_from_outside_stays_on_its_line() {
    let mut lock = Lock::parse(TEXT).expect("a lock");
    let source = "a\"b\\c\nd\u{1b}[31m\u{7f}é\u{2028}";
    lock.catalog.as_mut().expect("there").source = source.to_owned();
    let text = lock.to_text();
    assert_eq!(text.lines().count(), TEXT.lines().count());
    assert_eq!(Lock::parse(&text).expect("a lock"), lock);
}

#[test]
fn differences_are_told_one_by_one() {
    let before = Lock::parse(TEXT).expect("a lock");
    assert_eq!(before.differences(&before), []);
    let changed = TEXT
        .replace("sync = 3", "sync = 4")
        .replace("12.1.0", "12.2.0")
        .replace("v1.4", "v1.5")
        .replace("\"asked for\"", "\"adopted\"")
        .replace("signer = \"acme\"", "signer = \"mallory\"")
        .replace("0909", "0a0a");
    let changed = format!("{changed}\n[[workspace]]\nname = \"new\"\nplatform = \"linux-amd64\"\n");
    let after = Lock::parse(&changed).expect("a lock");
    let lines: Vec<_> = before.differences(&after).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "the lock: catalog was `https://grafana.com/api sync 3 of 2025-03-04T10:00:00.000Z` and is \
             `https://grafana.com/api sync 4 of 2025-03-04T10:00:00.000Z`",
            "new is new",
            "prod-eu: grafana was `12.1.0` and is `12.2.0`",
            "prod-eu: acme-sea-app: reason was `asked for` and is `adopted`",
            "prod-eu: acme-sea-datasource: version was `v1.4` and is `v1.5`",
            "prod-eu: acme-sea-datasource: signer was `community acme` and is `community mallory`",
            "prod-eu: acme-sea-datasource: the digest for linux-arm64 was `md5:09090909090909090909090909090909` and is \
             `md5:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a`",
        ]
    );
    let back: Vec<_> = after.differences(&before).iter().map(ToString::to_string).collect();
    assert_eq!((lines.len(), back.len(), back[1].as_str()), (7, 7, "new is gone"));
}

fn reasons() -> impl Strategy<Value = LockReason> {
    let ids = proptest::collection::btree_set("[a-z][a-z0-9-]{0,6}[a-z]", 1..4);
    prop_oneof![
        Just(LockReason::AskedFor),
        Just(LockReason::Adopted),
        ids.prop_map(|ids| LockReason::NeededBy(ids.iter().map(|id| parsed(id)).collect())),
    ]
}

fn plugins() -> impl Strategy<Value = LockedPlugin> {
    let digest = prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| PackageDigest::Sha256(Sha256Digest::from_bytes(bytes))),
        any::<[u8; 16]>().prop_map(|bytes| PackageDigest::Md5(Md5Digest::from_bytes(bytes))),
    ];
    let packages = proptest::collection::btree_map("(any|linux-(amd64|arm64))", digest, 0..3);
    let signer = proptest::option::of(("\\PC{0,8}", "(.|\\n){0,8}"));
    ("[0-9a-z][0-9a-z.+-]{0,3}[0-9]", reasons(), signer, packages).prop_filter_map(
        "a version",
        |(version, reason, signer, packages)| {
            let signer = signer.map(|(signature, organisation)| LockedSigner { signature, organisation });
            let packages = packages.into_iter().map(|(platform, digest)| (parsed(&platform), digest)).collect();
            Some(LockedPlugin { version: version.parse().ok()?, reason, signer, packages })
        },
    )
}

fn locks() -> impl Strategy<Value = Lock> {
    let workspace = (
        proptest::option::of("1[0-3]\\.[0-9]\\.[0-9]"),
        proptest::collection::btree_map("[a-z]{1,3}", plugins(), 0..3),
    );
    let workspaces = proptest::collection::btree_map("[a-z][a-z0-9._-]{0,5}", workspace, 0..3);
    let catalog = proptest::option::of(("(.|\\n){0,12}", any::<i64>(), 0..4_000_000_000_000_i64));
    (catalog, workspaces).prop_map(|(catalog, workspaces)| Lock {
        catalog: catalog.map(|(source, sync, at)| CatalogState {
            source,
            sync,
            synced_at: Timestamp::from_milliseconds(at),
        }),
        workspaces: workspaces
            .into_iter()
            .map(|(name, (grafana, plugins))| {
                let plugins = plugins.into_iter().map(|(id, plugin)| (parsed(&id), plugin)).collect();
                let grafana = grafana.map(|grafana| parsed(&grafana));
                (parsed(&name), LockedWorkspace { grafana, platform: Platform::linux_amd64(), plugins })
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(lock in locks()) {
        let text = lock.to_text();
        let read = Lock::parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&lock), "{}", text);
        prop_assert_eq!(lock.to_text(), text);
        prop_assert!(lock.differences(&lock).is_empty());
    }

    #[test]
    fn no_text_makes_a_lock_panic(text in "(.|\\n){0,80}") {
        drop(Lock::parse(&text));
    }
}
