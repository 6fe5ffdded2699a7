//! The dashboards that plugins bundle, dashboards saved whole, and snapshots.

use serde_json::{Value, json};

use super::{ChangeAnswer, Changed, ContentError, Goal, Request};
use crate::{
    fleet::{Grafana, WorkspaceError},
    model::PluginId,
    net::Method,
};

/// A dashboard that a plugin bundles, and whether it is imported (`GET /api/plugins/:id/dashboards`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BundledDashboard {
    /// The plugin.
    pub plugin: PluginId,
    /// Where it is in the plugin: its name for the import.
    pub path: String,
    /// The title.
    pub title: String,
    /// The unique id, if it is known: of what was imported, or as the plugin has it.
    pub uid: Option<String>,
    /// Whether it was imported.
    pub is_imported: bool,
    /// Whether what was imported is of the plugin's present state.
    pub is_current: bool,
}

impl BundledDashboard {
    fn read(plugin: &PluginId, item: &Value) -> Option<Self> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let flag = |key: &str| item.get(key).and_then(Value::as_bool).unwrap_or_default();
        // What was imported and is bundled no more cannot be imported again.
        if flag("removed") {
            return None;
        }
        let url = text("importedUrl");
        let of_url = url.and_then(|url| Some(url.split_once("/d/")?.1.split('/').next()?.to_owned()));
        let is_imported = flag("imported");
        Some(Self {
            plugin: plugin.clone(),
            path: text("path")?,
            title: text("title").unwrap_or_default(),
            uid: of_url.or_else(|| text("uid")),
            is_imported,
            is_current: is_imported && item.get("importedRevision") == item.get("revision"),
        })
    }
}

/// A dashboard as it was, whole: what is needed to put it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved(Value);

impl Saved {
    /// Returns a dashboard as it was kept.
    pub fn from_document(document: Value) -> Option<Self> {
        document.get("dashboard").is_some_and(Value::is_object).then_some(Self(document))
    }

    /// Returns the document with its metadata: `dashboard` and `meta`.
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// Returns how often it was saved.
    pub fn version(&self) -> Option<i64> {
        let found = |path: &str| self.0.pointer(path).and_then(Value::as_i64);
        found("/meta/version").or_else(|| found("/dashboard/version"))
    }

    /// Returns the folder that it is in; `None` at the top.
    pub fn folder_uid(&self) -> Option<&str> {
        self.0.pointer("/meta/folderUid").and_then(Value::as_str).filter(|uid| !uid.is_empty())
    }

    /// Returns whether it is in this folder. Before Grafana 8 a dashboard names its folder by number alone.
    fn is_in(&self, folder: &Value) -> bool {
        match self.folder_uid() {
            Some(uid) => folder.get("uid").is_some_and(|found| found == uid),
            None => self.folder_id().is_some_and(|id| folder.get("id") == Some(id)),
        }
    }

    fn folder_id(&self) -> Option<&Value> {
        self.0.pointer("/meta/folderId").filter(|id| **id != 0 && !id.is_null())
    }

    /// Returns whether two dashboards and their folders are equal, ignoring `id` and `version`, which Grafana assigns at every
    /// save.
    pub fn is_same(&self, other: &Self) -> bool {
        let bare = |saved: &Self| {
            let mut dashboard = saved.0.get("dashboard").cloned().unwrap_or_default();
            for key in ["id", "version"] {
                dashboard.as_object_mut().map(|object| object.remove(key));
            }
            dashboard
        };
        let is_there = match (self.folder_uid(), other.folder_uid()) {
            (None, None) => self.folder_id() == other.folder_id(),
            (one, another) => one == another,
        };
        is_there && bare(self) == bare(other)
    }

    fn is_provisioned(&self) -> bool {
        self.0.pointer("/meta/provisioned").and_then(Value::as_bool).unwrap_or_default()
    }
}

impl Grafana {
    /// Returns the dashboards that a plugin bundles; those that were imported and are no longer bundled are left out.
    pub async fn bundled(&self, plugin: &PluginId) -> Result<Vec<BundledDashboard>, WorkspaceError> {
        let what = "bundled dashboards";
        let list = self.get(what, &["api", "plugins", plugin.as_str(), "dashboards"], &[]).await?;
        let list = list.as_array().ok_or(WorkspaceError::Shape { what, lacks: "list" })?;
        Ok(list.iter().filter_map(|item| BundledDashboard::read(plugin, item)).collect())
    }

    /// Returns the current dashboard with its metadata.
    pub async fn saved(&self, uid: &str) -> Result<Option<Saved>, WorkspaceError> {
        let found = self.found("a dashboard", &["api", "dashboards", "uid", uid]).await?;
        let lacks = WorkspaceError::Shape { what: "a dashboard", lacks: "dashboard" };
        found.map(|document| Saved::from_document(document).ok_or(lacks)).transpose()
    }

    /// Imports a bundled dashboard into a folder that is there; does nothing if that was done already. What was
    /// imported before is replaced. Panels query the plugin's own data source, if it has one.
    pub async fn import(&self, bundled: &BundledDashboard, folder_uid: &str) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let goal = Goal::Imported { bundled, folder_uid };
        if self.is_imported(bundled, folder_uid).await? {
            return Ok(Changed::Unchanged);
        }
        let mut overwrite = bundled.is_imported;
        if let Some(uid) = &bundled.uid
            && let Some(saved) = self.saved(uid).await?
        {
            if saved.is_provisioned() {
                return Err(ContentError::ReadOnly { what: goal.what() });
            }
            overwrite = true;
        }
        let folder = self.folder(folder_uid).await?;
        let body = json!({
            "pluginId": bundled.plugin,
            "path": bundled.path,
            // Otherwise a dashboard that only has the same title would be lost.
            "overwrite": overwrite,
            "inputs": self.inputs(&bundled.plugin).await?,
            "folderUid": folder_uid,
            // Before Grafana 9 folders were known by number here.
            "folderId": folder.as_ref().and_then(|folder| folder.get("id")).cloned().unwrap_or(json!(0)),
        });
        let path = ["api", "dashboards", "import"];
        self.bring_about(Request { method: Method::POST, path: &path, body, hidden: &[] }, goal).await?;
        Ok(Changed::Done)
    }

    /// Returns the values for the placeholders of a bundled dashboard, as Grafana's own pages send them.
    async fn inputs(&self, plugin: &PluginId) -> Result<Value, WorkspaceError> {
        let mut sources = self.data_sources().await?.sources;
        sources.retain(|source| source.plugin == plugin.as_str());
        sources.sort_by(|left, right| right.is_default.cmp(&left.is_default).then_with(|| left.name.cmp(&right.name)));
        let input = |name: &str| json!([{ "name": "*", "type": "datasource", "pluginId": plugin, "value": name }]);
        Ok(sources.first().map_or_else(|| json!([]), |source| input(&source.name)))
    }

    /// Returns whether the plugin's present dashboard is in that folder.
    pub async fn is_imported(&self, bundled: &BundledDashboard, folder_uid: &str) -> Result<bool, WorkspaceError> {
        let Some(uid) = bundled.uid.as_ref().filter(|_| bundled.is_current) else { return Ok(false) };
        let (Some(saved), Some(folder)) = (self.saved(uid).await?, self.folder(folder_uid).await?) else {
            return Ok(false);
        };
        Ok(saved.is_in(&folder))
    }

    /// Restores a dashboard, in its former folder.
    pub async fn restore_dashboard(&self, saved: &Saved) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let document = saved.document();
        let mut dashboard = document.get("dashboard").cloned().unwrap_or_default();
        let Some(uid) = dashboard.get("uid").and_then(Value::as_str).map(str::to_owned) else {
            return Err(WorkspaceError::Shape { what: "a dashboard", lacks: "uid" }.into());
        };
        let now = self.saved(&uid).await?;
        if now.as_ref().is_some_and(|now| now.is_same(saved)) {
            return Ok(Changed::Unchanged);
        }
        // Its number is another one if it was removed meanwhile; by its unique id it is found.
        if let Some(object) = dashboard.as_object_mut() {
            object.insert("id".to_owned(), Value::Null);
        }
        let folder = match saved.folder_uid() {
            Some(uid) => self.folder(uid).await?.and_then(|folder| folder.get("id").cloned()),
            None => saved.folder_id().cloned(),
        };
        let body = json!({
            "dashboard": dashboard,
            "folderUid": saved.folder_uid().unwrap_or_default(),
            "folderId": folder.unwrap_or(json!(0)),
            "overwrite": true,
            "message": "put back by plugport",
        });
        let goal = Goal::Saved { uid: &uid, not: now.as_ref().and_then(Saved::version) };
        let path = ["api", "dashboards", "db"];
        self.bring_about(Request { method: Method::POST, path: &path, body, hidden: &[] }, goal).await?;
        Ok(Changed::Done)
    }

    /// Removes a dashboard; does nothing if there is none.
    pub async fn delete_dashboard(&self, uid: &str) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        if self.saved(uid).await?.is_none() {
            return Ok(Changed::Unchanged);
        }
        let path = ["api", "dashboards", "uid", uid];
        let request = Request { method: Method::DELETE, path: &path, body: Value::Null, hidden: &[] };
        self.bring_about(request, Goal::NoDashboard(uid)).await?;
        Ok(Changed::Done)
    }

    /// Makes a snapshot of a dashboard that expires after so many seconds, and returns its address (`POST
    /// /api/snapshots`). Sent once: one that may have been made is not made again.
    pub async fn snapshot(&self, dashboard: &Value, name: &str, seconds: u64) -> Result<String, ContentError> {
        let _only_one = self.changing.lock().await;
        let what = || format!("snapshot `{}`", name.escape_debug());
        let body = json!({ "dashboard": dashboard, "name": name, "expires": seconds });
        let path = ["api", "snapshots"];
        let request = Request { method: Method::POST, path: &path, body, hidden: &[] };
        match self.send(request, &what()).await? {
            ChangeAnswer::Accepted(answer) => {
                let url = answer.get("url").and_then(Value::as_str);
                url.map(str::to_owned).ok_or_else(|| ContentError::NoEffect { what: what() })
            }
            ChangeAnswer::Refused { status, message } => Err(ContentError::Refused { what: what(), status, message }),
            ChangeAnswer::Unclear { .. } => Err(ContentError::Unknown { what: what(), source: None }),
        }
    }
}
