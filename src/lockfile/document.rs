//! The text of the file.

use std::{collections::BTreeMap, fmt::Write as _};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    CatalogState, FORMAT, Lock, LockError, LockReason, LockedPlugin, LockedSigner, LockedWorkspace, PackageDigest,
};
use crate::{
    diagnostic::unknown_key,
    model::{GrafanaVersion, Md5Digest, Platform, PluginId, PluginVersion, Sha256Digest, Timestamp, WorkspaceName},
};

/// The comment at the start of every lock.
const HEADER: &str = "\
# Written by plugport: the exact version and digests of every plugin on every workspace, and why.
# Keep it under version control beside the manifest; do not edit it.
";

/// The format, which is read first: a newer one may have unknown keys.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// What was chosen for every workspace, written by plugport.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLock {
    /// The format; this is 1.
    #[serde(rename = "format")]
    _format: u32,
    catalog: Option<RawSnapshot>,
    /// The workspaces, in the order of their names.
    #[serde(default)]
    workspace: Vec<WorkspaceDocument>,
}

/// The state of the catalog that it was chosen from.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Snapshot")]
struct RawSnapshot {
    /// The address or the folder it was copied from.
    source: String,
    /// The number of the sync that copied it.
    sync: i64,
    /// When that sync ended.
    synced_at: Timestamp,
}

/// What was chosen for one workspace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Workspace")]
struct WorkspaceDocument {
    /// The name.
    name: WorkspaceName,
    /// The version of Grafana that it was chosen for, where it is known.
    grafana: Option<GrafanaVersion>,
    /// The platform.
    platform: Platform,
    /// The plugins, in the order of their ids.
    #[serde(default)]
    plugin: Vec<RawPlugin>,
}

/// The version of a plugin that was chosen.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Plugin")]
struct RawPlugin {
    /// The plugin.
    id: PluginId,
    /// The version as it is published.
    version: PluginVersion,
    /// Why it is there: `asked for`, `adopted` or `needed by ID, ID`.
    reason: String,
    /// How it is signed, as the catalog says; left out where it is not.
    signature: Option<String>,
    /// The organisation that signed it.
    signer: Option<String>,
    /// The packages, in the order of their platforms.
    #[serde(default)]
    package: Vec<RawPackage>,
}

/// A package, by one digest.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Package")]
struct RawPackage {
    /// The platform.
    platform: Platform,
    /// The SHA-256, where the catalog has one.
    sha256: Option<Sha256Digest>,
    /// Else the MD5.
    md5: Option<Md5Digest>,
}

/// Reads a lock from a text.
pub(super) fn parse(text: &str) -> Result<Lock, LockError> {
    let head: Head = toml::from_str(text).map_err(|error| explain(text, &error))?;
    if head.format > FORMAT {
        return Err(LockError::Newer { found: head.format, known: FORMAT });
    }
    let raw: RawLock = toml::from_str(text).map_err(|error| explain(text, &error))?;
    let catalog = raw.catalog.map(|RawSnapshot { source, sync, synced_at }| CatalogState { source, sync, synced_at });
    let mut workspaces = BTreeMap::new();
    for workspace in raw.workspace {
        let name = workspace.name.clone();
        if workspaces.insert(name.clone(), workspace.check()?).is_some() {
            return Err(LockError::WorkspaceTwice(name));
        }
    }
    Ok(Lock { catalog, workspaces })
}

impl WorkspaceDocument {
    fn check(self) -> Result<LockedWorkspace, LockError> {
        let mut plugins = BTreeMap::new();
        for plugin in self.plugin {
            let id = plugin.id.clone();
            if plugins.insert(id.clone(), plugin.check(&self.name)?).is_some() {
                return Err(LockError::PluginTwice { workspace: self.name, plugin: id });
            }
        }
        Ok(LockedWorkspace { grafana: self.grafana, platform: self.platform, plugins })
    }
}

impl RawPlugin {
    fn check(self, workspace: &WorkspaceName) -> Result<LockedPlugin, LockError> {
        let reason: LockReason = self.reason.parse().map_err(|error: super::ParseReasonError| LockError::Reason {
            workspace: workspace.clone(),
            plugin: self.id.clone(),
            source: error,
        })?;
        let signer = match (self.signature, self.signer) {
            (None, None) => None,
            (None, Some(_)) => return Err(LockError::Signer { workspace: workspace.clone(), plugin: self.id }),
            (Some(signature), organisation) => {
                Some(LockedSigner { signature, organisation: organisation.unwrap_or_default() })
            }
        };
        let mut packages = BTreeMap::new();
        for RawPackage { platform, sha256, md5 } in self.package {
            let digest = match (sha256, md5) {
                (Some(sha256), None) => PackageDigest::Sha256(sha256),
                (None, Some(md5)) => PackageDigest::Md5(md5),
                _ => return Err(LockError::Digest { plugin: self.id, platform }),
            };
            if packages.insert(platform.clone(), digest).is_some() {
                return Err(LockError::PackageTwice { plugin: self.id, platform });
            }
        }
        Ok(LockedPlugin { version: self.version, reason, signer, packages })
    }
}

fn explain(text: &str, error: &toml::de::Error) -> LockError {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    match unknown_key(error.message()) {
        Some((key, known)) => LockError::UnknownKey { line, key, known },
        None => LockError::Syntax { line, message: error.message().to_owned() },
    }
}

/// Returns the text of a lock.
pub(super) fn write(lock: &Lock) -> String {
    let mut text = format!("{HEADER}format = {FORMAT}\n");
    if let Some(CatalogState { source, sync, synced_at }) = &lock.catalog {
        text.push_str("\n[catalog]\n");
        field(&mut text, "source", source);
        let _ = writeln!(text, "sync = {sync}");
        field(&mut text, "synced-at", &synced_at.to_string());
    }
    for (name, workspace) in &lock.workspaces {
        write_workspace(&mut text, name, workspace);
    }
    text
}

fn write_workspace(text: &mut String, name: &WorkspaceName, workspace: &LockedWorkspace) {
    text.push_str("\n[[workspace]]\n");
    field(text, "name", name.as_str());
    if let Some(grafana) = &workspace.grafana {
        field(text, "grafana", grafana.as_str());
    }
    field(text, "platform", workspace.platform.as_str());
    for (id, plugin) in &workspace.plugins {
        write_plugin(text, id, plugin);
    }
}

fn write_plugin(text: &mut String, id: &PluginId, plugin: &LockedPlugin) {
    text.push_str("\n[[workspace.plugin]]\n");
    field(text, "id", id.as_str());
    field(text, "version", plugin.version.as_str());
    field(text, "reason", &plugin.reason.to_string());
    if let Some(LockedSigner { signature, organisation }) = &plugin.signer {
        field(text, "signature", signature);
        if !organisation.is_empty() {
            field(text, "signer", organisation);
        }
    }
    for (platform, digest) in &plugin.packages {
        text.push_str("\n[[workspace.plugin.package]]\n");
        field(text, "platform", platform.as_str());
        match digest {
            PackageDigest::Sha256(sha256) => field(text, "sha256", &sha256.to_string()),
            PackageDigest::Md5(md5) => field(text, "md5", &md5.to_string()),
        }
    }
}

fn field(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {}", quoted(value));
}

/// Returns a basic string of TOML (TOML 1.0, "String"), always on one line.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
