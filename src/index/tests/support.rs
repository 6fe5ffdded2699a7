//! What the tests of this module build: a folder with an index, plugins and releases.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    index::{Index, PluginRecord},
    model::{
        Digests, Package, Platform, Plugin, PluginId, PluginStatus, PluginVersion, Release, Sha256Digest, Timestamp,
    },
};

pub(in crate::index) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(in crate::index) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(in crate::index) fn path(&self) -> PathBuf {
        self.0.path().join("index.sqlite")
    }

    pub(in crate::index) fn open(&self) -> Index {
        Index::open(&self.path()).expect("a new index")
    }
}

/// Puts a plugin with releases in a sync of its own, from the source `here`.
pub(in crate::index) fn put(index: &mut Index, plugin: &str, releases: &[Release]) {
    let mut writer = index.begin_sync("here", time(1)).expect("begin");
    writer.put_plugin(&record(plugin_called(plugin, plugin))).expect("put");
    for release in releases {
        writer.put_release(&id(plugin), release).expect("put");
    }
    writer.commit(&json!({})).expect("commit");
}

pub(in crate::index) fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

pub(in crate::index) fn version(text: &str) -> PluginVersion {
    text.parse().expect("a version")
}

pub(in crate::index) fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

pub(in crate::index) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

pub(in crate::index) fn package(digest: u8) -> Package {
    let sha256 = Some(Sha256Digest::from_bytes([digest; 32]));
    Package { digests: Digests { sha256, md5: None }, size: None }
}

pub(in crate::index) fn release(text: &str, packages: &[(&str, u8)]) -> Release {
    Release {
        version: version(text),
        created_at: Some(time(5)),
        status: PluginStatus::Active,
        grafana_dependency: None,
        angular: false,
        packages: packages.iter().map(|(key, digest)| (platform(key), package(*digest))).collect(),
        raw: format!("{{\"version\":\"{text}\"}}"),
    }
}

pub(in crate::index) fn plugin_called(plugin: &str, name: &str) -> Plugin {
    crate::model::tests::plugin(plugin, name)
}

pub(in crate::index) fn record(plugin: Plugin) -> PluginRecord {
    PluginRecord {
        plugin,
        fingerprint: "f".to_owned(),
        list_digest: "l".to_owned(),
        list_raw: "{}".to_owned(),
        detail_raw: None,
    }
}
