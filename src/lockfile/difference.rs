//! The differences between two locks.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{Lock, LockedPlugin, LockedWorkspace};
use crate::model::{Platform, PluginId, WorkspaceName};

/// One difference between two locks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockDifference {
    /// The workspace; `None` for the lock as a whole.
    pub workspace: Option<WorkspaceName>,
    /// The plugin; `None` for the workspace as a whole.
    pub plugin: Option<PluginId>,
    /// What differs.
    pub change: LockChange,
}

/// What differs; the texts are those of the files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LockChange {
    /// It is only in the second; the text is the version of a plugin, and empty for a workspace.
    Added(String),
    /// It is only in the first; the text is the version of a plugin, and empty for a workspace.
    Removed(String),
    /// A field has another value.
    Field {
        /// Its name: `catalog`, `grafana`, `platform`, `version`, `reason`, `signer`.
        name: &'static str,
        /// The value in the first lock.
        before: Option<String>,
        /// The value in the second lock.
        after: Option<String>,
    },
    /// The package for a platform has another digest.
    Digest {
        /// The platform.
        platform: Platform,
        /// The value in the first lock.
        before: Option<String>,
        /// The value in the second lock.
        after: Option<String>,
    },
}

impl fmt::Display for LockDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.workspace, &self.plugin) {
            (Some(workspace), Some(plugin)) => write!(formatter, "{workspace}: {plugin}")?,
            (Some(workspace), None) => write!(formatter, "{workspace}")?,
            _ => formatter.write_str("the lock")?,
        }
        let text_or_none = |text: &Option<String>| {
            text.as_ref().map_or_else(|| "nothing".to_owned(), |text| format!("`{}`", text.escape_debug()))
        };
        match &self.change {
            LockChange::Added(version) if version.is_empty() => formatter.write_str(" is new"),
            LockChange::Removed(version) if version.is_empty() => formatter.write_str(" is gone"),
            LockChange::Added(version) => write!(formatter, " {version} is new"),
            LockChange::Removed(version) => write!(formatter, " {version} is gone"),
            LockChange::Field { name, before, after } => {
                write!(formatter, ": {name} was {} and is {}", text_or_none(before), text_or_none(after))
            }
            LockChange::Digest { platform, before, after } => {
                write!(
                    formatter,
                    ": the digest for {platform} was {} and is {}",
                    text_or_none(before),
                    text_or_none(after)
                )
            }
        }
    }
}

impl Serialize for LockDifference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (change, field, platform, before, after) = match &self.change {
            LockChange::Added(version) => {
                ("added", None, None, None, Some(version).filter(|version| !version.is_empty()))
            }
            LockChange::Removed(version) => {
                ("removed", None, None, Some(version).filter(|version| !version.is_empty()), None)
            }
            LockChange::Field { name, before, after } => ("field", Some(*name), None, before.as_ref(), after.as_ref()),
            LockChange::Digest { platform, before, after } => {
                ("digest", None, Some(platform.as_str()), before.as_ref(), after.as_ref())
            }
        };
        let columns = [
            ("workspace", self.workspace.as_ref().map(WorkspaceName::as_str)),
            ("plugin", self.plugin.as_ref().map(PluginId::as_str)),
            ("change", Some(change)),
            ("field", field),
            ("platform", platform),
            ("before", before.map(String::as_str)),
            ("after", after.map(String::as_str)),
        ];
        let mut fields = serializer.serialize_struct("LockDifference", columns.len() + 1)?;
        for (key, value) in columns {
            if let Some(value) = value {
                fields.serialize_field(key, value)?;
            }
        }
        fields.serialize_field("text", &self.to_string())?;
        fields.end()
    }
}

/// Returns every key of two maps, in order, with the value in each.
fn pairs<'a, K: Ord, V>(
    first: &'a BTreeMap<K, V>,
    second: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let keys: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
    keys.into_iter().map(|key| (key, first.get(key), second.get(key)))
}

fn field(name: &'static str, before: Option<String>, after: Option<String>) -> Option<LockChange> {
    (before != after).then_some(LockChange::Field { name, before, after })
}

pub(super) fn between(first: &Lock, second: &Lock) -> Vec<LockDifference> {
    let snapshot = |lock: &Lock| {
        let catalog = lock.catalog.as_ref()?;
        Some(format!("{} sync {} of {}", catalog.source, catalog.sync, catalog.synced_at))
    };
    let whole = field("catalog", snapshot(first), snapshot(second));
    let mut found: Vec<_> =
        whole.into_iter().map(|change| LockDifference { workspace: None, plugin: None, change }).collect();
    for (name, before, after) in pairs(&first.workspaces, &second.workspaces) {
        let about = |change| LockDifference { workspace: Some(name.clone()), plugin: None, change };
        match (before, after) {
            (Some(before), Some(after)) => compare_workspaces(name, before, after, &mut found),
            (None, _) => found.push(about(LockChange::Added(String::new()))),
            (_, None) => found.push(about(LockChange::Removed(String::new()))),
        }
    }
    found
}

fn compare_workspaces(
    name: &WorkspaceName,
    first: &LockedWorkspace,
    second: &LockedWorkspace,
    found: &mut Vec<LockDifference>,
) {
    let grafana = |workspace: &LockedWorkspace| workspace.grafana.as_ref().map(ToString::to_string);
    let platform = |workspace: &LockedWorkspace| Some(workspace.platform.to_string());
    let fields =
        [field("grafana", grafana(first), grafana(second)), field("platform", platform(first), platform(second))];
    let about = |plugin: Option<&PluginId>, change| LockDifference {
        workspace: Some(name.clone()),
        plugin: plugin.cloned(),
        change,
    };
    found.extend(fields.into_iter().flatten().map(|change| about(None, change)));
    for (id, before, after) in pairs(&first.plugins, &second.plugins) {
        let changes = match (before, after) {
            (Some(before), Some(after)) => compare_plugins(before, after),
            (Some(before), None) => vec![LockChange::Removed(before.version.to_string())],
            (None, after) => after.map(|after| LockChange::Added(after.version.to_string())).into_iter().collect(),
        };
        found.extend(changes.into_iter().map(|change| about(Some(id), change)));
    }
}

fn compare_plugins(first: &LockedPlugin, second: &LockedPlugin) -> Vec<LockChange> {
    let version = |plugin: &LockedPlugin| Some(plugin.version.to_string());
    let reason = |plugin: &LockedPlugin| Some(plugin.reason.to_string());
    let signer = |plugin: &LockedPlugin| {
        plugin.signer.as_ref().map(|signer| format!("{} {}", signer.signature, signer.organisation).trim().to_owned())
    };
    let fields = [
        field("version", version(first), version(second)),
        field("reason", reason(first), reason(second)),
        field("signer", signer(first), signer(second)),
    ];
    let digests = pairs(&first.packages, &second.packages).filter(|(_, before, after)| before != after);
    let digest =
        |(platform, before, after): (&Platform, Option<&super::PackageDigest>, Option<&super::PackageDigest>)| {
            LockChange::Digest {
                platform: platform.clone(),
                before: before.map(ToString::to_string),
                after: after.map(ToString::to_string),
            }
        };
    fields.into_iter().flatten().chain(digests.map(digest)).collect()
}
