//! The data sources of adopted workspaces as entries of the manifest.
//!
//! *Invariant:* what people wrote stays: a data source that the manifest has on a workspace is left out. A secret is only named:
//! each entry refers to a variable that is to be set, and none is shared by two workspaces.
//! *Not for:* data sources that were provisioned from files, which nobody can change.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use toml_edit::{Array, InlineTable, Table, Value as TomlValue, value};

use super::{grouping::selectors, reading::WorkspaceToAdopt};
use crate::{
    fleet::{
        Manifest,
        grafana::secret_names,
        manifest::{Access, DataSourceWish, Uid},
    },
    model::{PluginId, Selector, WorkspaceName},
    ops::manifest_draft::on,
};

/// A data source that is taken over.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AdoptedDataSource {
    /// The plugin.
    pub plugin: PluginId,
    /// Its unique id.
    pub uid: Uid,
    /// Its name.
    pub name: String,
    /// The workspaces.
    pub on: Selector,
    /// The variable that each secret is to be set in, by the name of the secret.
    pub secrets: BTreeMap<String, String>,
    /// Everything else, as the manifest has it.
    #[serde(skip)]
    settings: Settings,
}

/// The settings of a data source, without secrets: equal ones share an entry.
#[derive(Clone, Debug, Default, PartialEq)]
struct Settings {
    texts: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
    access: Access,
    json_data: Map<String, Value>,
}

/// The entries to add, and what is left out, in words.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    pub(super) added: Vec<AdoptedDataSource>,
    pub(super) left_out: Vec<String>,
}

/// Returns the entries for the data sources that were read and that the manifest does not have.
pub(super) fn adopt(manifest: &Manifest, workspaces: &[WorkspaceToAdopt]) -> Adopted {
    let mut adopted = Adopted::default();
    let mut entries: Vec<(AdoptedDataSource, BTreeSet<WorkspaceName>)> = Vec::new();
    for workspace in workspaces {
        for source in &workspace.data_sources {
            let found = match read(&workspace.name, source) {
                Ok(found) => found,
                Err(reason) => {
                    adopted.left_out.push(format!("{}: {reason}", workspace.name));
                    continue;
                }
            };
            if is_known(manifest, &workspace.name, &found) {
                continue;
            }
            match entries.iter_mut().find(|(entry, _)| is_same(entry, &found)) {
                Some((_, names)) => drop(names.insert(workspace.name.clone())),
                None => entries.push((found, BTreeSet::from([workspace.name.clone()]))),
            }
        }
    }
    for (entry, names) in entries {
        let each = selectors(&names, manifest.workspaces()).into_iter();
        adopted.added.extend(each.map(|on| AdoptedDataSource { on, ..entry.clone() }));
    }
    adopted
}

/// Entries with secrets are not shared: the secrets of two workspaces need not be the same.
fn is_same(one: &AdoptedDataSource, other: &AdoptedDataSource) -> bool {
    one.secrets.is_empty()
        && other.secrets.is_empty()
        && (&one.plugin, &one.uid, &one.name) == (&other.plugin, &other.uid, &other.name)
        && one.settings == other.settings
}

/// Returns whether the manifest has an entry of that unique id or name on a workspace.
fn is_known(manifest: &Manifest, workspace: &WorkspaceName, found: &AdoptedDataSource) -> bool {
    let Ok(workspace) = manifest.workspace(workspace) else { return false };
    let is_it = |wish: &DataSourceWish| wish.uid == found.uid || wish.name.as_deref() == Some(found.name.as_str());
    manifest.data_sources().iter().any(|wish| workspace.is_selected_by(&wish.on) && is_it(wish))
}

fn read(workspace: &WorkspaceName, source: &Value) -> Result<AdoptedDataSource, String> {
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    let shown = text("name").escape_debug().to_string();
    if source.get("readOnly").and_then(Value::as_bool) == Some(true) {
        return Err(format!("data source `{shown}` is provisioned from a file and is left out"));
    }
    let refused =
        |what: &str| format!("data source `{shown}` is left out: its {what} cannot be written into the manifest");
    let uid: Uid = text("uid").parse().map_err(|_| refused("unique id"))?;
    let plugin: PluginId = text("type").parse().map_err(|_| refused("type"))?;
    if text("name").trim().is_empty() {
        return Err(refused("name"));
    }
    let texts = [("url", "url"), ("database", "database"), ("user", "user"), ("basic-auth-user", "basicAuthUser")];
    let texts =
        texts.into_iter().map(|(key, field)| (key, text(field).to_owned())).filter(|(_, text)| !text.is_empty());
    let flags = [("basic-auth", "basicAuth"), ("with-credentials", "withCredentials"), ("is-default", "isDefault")];
    let is_set = |field: &str| source.get(field).and_then(Value::as_bool) == Some(true);
    let settings = Settings {
        texts: texts.collect(),
        flags: flags.into_iter().filter(|(_, field)| is_set(field)).map(|(key, _)| key).collect(),
        access: if text("access") == "direct" { Access::Direct } else { Access::Proxy },
        json_data: source.get("jsonData").and_then(Value::as_object).cloned().unwrap_or_default(),
    };
    let variable = |name: &str| (name.to_owned(), variable(&[workspace.as_str(), uid.as_str(), name]));
    let secrets = secret_names(source).map(variable).collect();
    let (name, on) = (text("name").to_owned(), Selector::all());
    Ok(AdoptedDataSource { plugin, uid, name, on, secrets, settings })
}

/// Returns the name of a variable for a secret, made of letters, digits and `_`.
fn variable(parts: &[&str]) -> String {
    let sign = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' };
    let parts: Vec<String> = parts.iter().map(|part| part.chars().map(sign).collect()).collect();
    format!("DATASOURCE_{}", parts.join("_"))
}

impl AdoptedDataSource {
    /// Returns the entry as a table of the manifest.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        table["plugin"] = value(self.plugin.as_str());
        table["uid"] = value(self.uid.as_str());
        table["name"] = value(self.name.as_str());
        if let Some(on) = on(&self.on) {
            table["on"] = value(on);
        }
        for (key, text) in &self.settings.texts {
            table[*key] = value(text.as_str());
        }
        if self.settings.access == Access::Direct {
            table["access"] = value("direct");
        }
        for key in &self.settings.flags {
            table[*key] = value(true);
        }
        let json_data = inline(&self.settings.json_data);
        if !json_data.is_empty() {
            table["json-data"] = value(json_data);
        }
        if !self.secrets.is_empty() {
            let mut secrets = InlineTable::new();
            for (name, variable) in &self.secrets {
                let reference = InlineTable::from_iter([("env", variable.as_str())]);
                secrets.insert(name, reference.into());
            }
            table["secrets"] = value(secrets);
        }
        table
    }
}

/// Returns an object as TOML, which has no null.
fn inline(object: &Map<String, Value>) -> InlineTable {
    let mut table = InlineTable::new();
    for (key, found) in object {
        if let Some(found) = toml(found) {
            table.insert(key, found);
        }
    }
    table
}

fn toml(found: &Value) -> Option<TomlValue> {
    Some(match found {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().filter_map(toml).collect::<Array>().into(),
        Value::Object(object) => inline(object).into(),
    })
}
