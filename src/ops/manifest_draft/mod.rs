//! The text of a manifest while entries are added to it.
//!
//! *Invariant:* comments, tables and their order stay; only entries that conflict with new ones are removed.
//! *Not for:* deciding which entries are added.

mod error;
mod removal;

use std::{
    fs,
    path::{Path, PathBuf, absolute},
};

use serde::Serialize;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

pub(crate) use error::DraftError;

use crate::{
    disk,
    fleet::{
        Manifest,
        manifest::{Endpoint, Ensure},
    },
    model::{PluginId, Selector, VersionRange, WorkspaceName},
    ops::text_file::{TextFileError, read_text, write_text},
};

/// An entry of the manifest.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct EntryGroup {
    /// The plugin.
    pub plugin: PluginId,
    /// The versions; `None` for any, also if no range can describe them.
    pub version: Option<VersionRange>,
    /// The workspaces.
    pub on: Selector,
    /// Whether the plugin is installed.
    #[serde(skip)]
    pub(in crate::ops) ensure: Ensure,
}

/// A manifest as text and as values.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    text: String,
    manifest: Manifest,
}

/// A change of the entries of one plugin.
#[derive(Debug, Default)]
pub(in crate::ops) struct Edit {
    pub(in crate::ops) removed: Vec<usize>,
    pub(in crate::ops) added: Vec<EntryGroup>,
}

impl Draft {
    /// Reads the manifest at `path`; it is empty if there is no file.
    pub(crate) fn open(path: &Path) -> Result<Self, DraftError> {
        Self::from_text(path, read_text(path)?.unwrap_or_default())
    }

    pub(in crate::ops) fn from_text(path: &Path, text: String) -> Result<Self, DraftError> {
        let whole = absolute(path).map_err(TextFileError::read(path))?;
        let manifest = Manifest::parse(&text, &whole)?;
        Ok(Self { path: path.to_owned(), text, manifest })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the manifest as values.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the name of the directory workspace at `folder`; if there is none, adds one with the name of the folder.
    pub(crate) fn with_folder(&mut self, folder: &Path) -> Result<WorkspaceName, DraftError> {
        let real = fs::canonicalize(folder).map_err(TextFileError::read(folder))?;
        let is_it = |endpoint: &Endpoint| match endpoint {
            Endpoint::Directory { path, .. } => fs::canonicalize(path).is_ok_and(|path| path == real),
            Endpoint::Server { .. } => false,
        };
        if let Some(known) = self.manifest.workspaces().iter().find(|workspace| is_it(workspace.endpoint())) {
            return Ok(known.name().clone());
        }
        let unnamed = || DraftError::FolderName { path: folder.to_owned() };
        let own = real.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
        let name: WorkspaceName = own.parse().ok().filter(|_| own != "all").ok_or_else(unnamed)?;
        if self.manifest.workspace(&name).is_ok() {
            return Err(DraftError::NameTaken { path: folder.to_owned(), name });
        }
        let home = disk::folder_of(&self.path);
        let home = fs::canonicalize(home).map_err(TextFileError::read(home))?;
        let path = match real.strip_prefix(&home) {
            Ok(inner) if inner.as_os_str().is_empty() => Path::new("."),
            Ok(inner) => inner,
            Err(_) => &real,
        };
        let path = path.to_str().ok_or_else(unnamed)?;
        let mut document = self.document()?;
        let fields = [("name", name.as_str()), ("kind", "directory"), ("path", path)];
        tables(&mut document, "workspace")?.push(table(&fields));
        *self = Self::from_text(&self.path, self.finish(&document))?;
        Ok(name)
    }

    /// Returns the draft with these `[[workspace]]` tables after the others.
    pub(in crate::ops) fn with_workspaces(&self, added: Vec<Table>) -> Result<Self, DraftError> {
        let mut document = self.document()?;
        let entries = tables(&mut document, "workspace")?;
        for table in added {
            entries.push(table);
        }
        Self::from_text(&self.path, self.finish(&document))
    }

    /// Returns the draft with these `[[datasource]]` tables after the others.
    pub(in crate::ops) fn with_data_sources(self, added: Vec<Table>) -> Result<Self, DraftError> {
        if added.is_empty() {
            return Ok(self);
        }
        let mut document = self.document()?;
        tables(&mut document, "datasource")?.extend(added);
        Self::from_text(&self.path, self.finish(&document))
    }

    /// Writes the manifest.
    pub(in crate::ops) fn save(&self) -> Result<(), DraftError> {
        Ok(write_text(&self.path, &self.text)?)
    }

    /// Returns the draft with these changes to the entries of plugins.
    pub(in crate::ops) fn with(&self, edits: Vec<Edit>) -> Result<Self, DraftError> {
        if edits.iter().all(|edit| edit.removed.is_empty() && edit.added.is_empty()) {
            return Ok(self.clone());
        }
        let mut document = self.document()?;
        let entries = tables(&mut document, "plugin")?;
        let mut gone = Vec::new();
        for edit in edits {
            gone.extend(change(entries, edit));
        }
        gone.sort_unstable();
        for place in gone.into_iter().rev() {
            entries.remove(place);
        }
        if entries.is_empty() {
            document.remove("plugin");
        }
        Self::from_text(&self.path, self.finish(&document))
    }

    /// Returns the draft without the `[[plugin]]` entries at these places.
    pub(in crate::ops) fn without(&self, places: &[usize]) -> Result<Self, DraftError> {
        let text = removal::without(&self.text, "plugin", places)
            .map_err(|source| DraftError::Edit { path: self.path.clone(), source })?;
        Self::from_text(&self.path, text.ok_or(DraftError::Inline { key: "plugin" })?)
    }

    fn document(&self) -> Result<DocumentMut, DraftError> {
        self.text.parse().map_err(|source| DraftError::Edit { path: self.path.clone(), source })
    }

    fn finish(&self, document: &DocumentMut) -> String {
        let text = document.to_string();
        if self.text.is_empty() { text.trim_start().to_owned() } else { text }
    }
}

/// Returns the `[[key]]` tables of a document, an empty list if there are none.
fn tables<'a>(document: &'a mut DocumentMut, key: &'static str) -> Result<&'a mut ArrayOfTables, DraftError> {
    let item = document.as_table_mut().entry(key).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or(DraftError::Inline { key })
}

/// Writes added entries over removed ones, so that comments stay; returns the places of the remaining removed entries.
fn change(entries: &mut ArrayOfTables, edit: Edit) -> Vec<usize> {
    let mut places = edit.removed.into_iter();
    for group in &edit.added {
        if let Some(entry) = places.next().and_then(|place| entries.get_mut(place)) {
            write_over(entry, group);
        } else {
            let mut entry = table(&[("id", group.plugin.as_str())]);
            write_over(&mut entry, group);
            entries.push(entry);
        }
    }
    places.collect()
}

fn table(fields: &[(&str, &str)]) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    for (key, text) in fields {
        set(&mut table, key, Some((*text).into()));
    }
    table
}

fn write_over(entry: &mut Table, group: &EntryGroup) {
    let version = group.version.as_ref().map(ToString::to_string);
    set(entry, "version", version.map(Value::from));
    set(entry, "on", on(&group.on));
    set(entry, "ensure", (group.ensure == Ensure::Absent).then(|| "absent".into()));
}

/// Returns the workspaces of an entry as they are written; `None` for all of them.
pub(in crate::ops) fn on(selector: &Selector) -> Option<Value> {
    match selector.groups() {
        _ if selector.is_all() => None,
        [group] => Some(group.to_string().into()),
        groups => Some(Value::Array(groups.iter().map(ToString::to_string).collect())),
    }
}

/// Sets a key, or removes it; the comment behind it stays with it.
fn set(entry: &mut Table, key: &str, value: Option<Value>) {
    let Some(mut value) = value else {
        entry.remove(key);
        return;
    };
    match entry.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => drop(entry.insert(key, Item::Value(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The fleet of acme\n\n[[workspace]] # the first\nname = \"a\"\nkind = \"directory\"\npath = \"a\"\n\n\
        # Clocks\n[[plugin]]\nid = \"acme-clock-panel\"\n# not 3\nversion = \"^2\" # two\n\n[rollout]\nmax-failures = 1\n# the end\n";

    fn draft() -> Draft {
        Draft::from_text(Path::new("/etc/fleet/plugport.toml"), TEXT.to_owned()).expect("a manifest")
    }

    fn group(plugin: &str, version: &str) -> EntryGroup {
        let (plugin, version) = (plugin.parse().expect("an id"), version.parse().ok());
        EntryGroup { plugin, version, on: Selector::all(), ensure: Ensure::Present }
    }

    #[test]
    fn nothing_to_change_changes_no_byte() {
        assert_eq!(draft().with(vec![Edit::default()]).expect("the same").text(), TEXT);
    }

    #[test]
    fn entries_are_added_beside_the_others_and_comments_stay() {
        let edit = Edit { removed: Vec::new(), added: vec![group("acme-sea-app", "^1.0.0")] };
        let new = draft().with(vec![edit]).expect("a manifest");
        let added = "two\n\n[[plugin]]\nid = \"acme-sea-app\"\nversion = \"^1.0.0\"\n\n[rollout]";
        assert_eq!(new.text(), TEXT.replace("two\n\n[rollout]", added));
    }

    #[test]
    fn an_entry_that_is_replaced_keeps_its_comments() {
        let edit = Edit { removed: vec![0], added: vec![group("acme-clock-panel", "^1.0.0")] };
        let new = draft().with(vec![edit]).expect("a manifest");
        assert_eq!(new.text(), TEXT.replace("\"^2\" # two", "\"^1.0.0\" # two"));
        let gone = draft().with(vec![Edit { removed: vec![0], added: Vec::new() }]).expect("a manifest");
        assert!(gone.manifest().plugins().is_empty() && gone.text().contains("# the end"), "{}", gone.text());
    }

    #[test]
    fn an_empty_manifest_begins_with_its_first_entry() {
        let empty = Draft::from_text(Path::new("plugport.toml"), String::new()).expect("a manifest");
        let edit = Edit { removed: Vec::new(), added: vec![group("acme-sea-app", "^1.0.0")] };
        let new = empty.with(vec![edit]).expect("a manifest");
        assert_eq!(new.text(), "[[plugin]]\nid = \"acme-sea-app\"\nversion = \"^1.0.0\"\n");
    }

    #[test]
    fn a_list_in_one_line_is_not_edited() {
        let inline = Draft::from_text(Path::new("plugport.toml"), "plugin = []\n".to_owned()).expect("a manifest");
        let edit = Edit { removed: Vec::new(), added: vec![group("acme-sea-app", "^1.0.0")] };
        assert!(matches!(inline.with(vec![edit]), Err(DraftError::Inline { key: "plugin" })));
    }
}
