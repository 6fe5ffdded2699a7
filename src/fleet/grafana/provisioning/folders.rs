//! Folders (Folder API).

use serde_json::{Value, json};

use super::{Changed, ContentError, Goal, Request};
use crate::{
    fleet::{Grafana, WorkspaceError},
    net::Method,
};

impl Grafana {
    /// Returns a folder as the server has it.
    pub async fn folder(&self, uid: &str) -> Result<Option<Value>, WorkspaceError> {
        self.found("a folder", &["api", "folders", uid]).await
    }

    /// Makes a folder with a unique id, or gives the one that is there this title.
    ///
    /// A folder that is changed at the same moment (412) is read again and tried once more.
    pub async fn put_folder(&self, uid: &str, title: &str) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let goal = Goal::Folder { uid, title };
        let mut found = self.folder(uid).await?;
        if found.is_none() {
            let body = json!({ "uid": uid, "title": title });
            let request = Request { method: Method::POST, path: &["api", "folders"], body, hidden: &[] };
            match self.bring_about(request, goal).await {
                // Somebody else made it first, with another title.
                Err(error @ ContentError::Refused { status: 409 | 412, .. }) => {
                    found = self.folder(uid).await?;
                    if found.is_none() {
                        return Err(error);
                    }
                }
                other => return other.map(|_| Changed::Done),
            }
        }
        let Some(mut found) = found else { return Ok(Changed::Unchanged) };
        for is_last in [false, true] {
            if has_title(&found, title) {
                return Ok(Changed::Unchanged);
            }
            let body = json!({ "title": title, "version": found.get("version") });
            let request = Request { method: Method::PUT, path: &["api", "folders", uid], body, hidden: &[] };
            match self.bring_about(request, goal).await {
                Err(ContentError::Refused { status: 412, .. }) if !is_last => {
                    let what = || goal.what();
                    found = self.folder(uid).await?.ok_or_else(|| ContentError::Drifted { what: what() })?;
                }
                other => return other.map(|_| Changed::Done),
            }
        }
        Ok(Changed::Unchanged)
    }

    /// Removes a folder, but only while nothing is in it: Grafana would remove that too.
    ///
    /// Returns whether it is gone.
    pub async fn delete_empty_folder(&self, uid: &str) -> Result<bool, ContentError> {
        let _only_one = self.changing.lock().await;
        let Some(folder) = self.folder(uid).await? else { return Ok(true) };
        if self.has_content(&folder).await? {
            return Ok(false);
        }
        let path = ["api", "folders", uid];
        let request = Request { method: Method::DELETE, path: &path, body: Value::Null, hidden: &[] };
        self.bring_about(request, Goal::NoFolder(uid)).await.map(|_| true)
    }

    /// Returns whether something is in a folder, as far as the caller sees.
    async fn has_content(&self, folder: &Value) -> Result<bool, WorkspaceError> {
        let uid = folder.get("uid").and_then(Value::as_str).unwrap_or_default();
        let number = folder.get("id").and_then(Value::as_i64);
        let id = number.map(|number| number.to_string()).unwrap_or_default();
        // Older servers know folders by number, newer ones by unique id; each passes over the other key.
        for (key, value) in [("folderUIDs", uid), ("folderIds", id.as_str())] {
            let hits = self.get("a folder", &["api", "search"], &[(key, value), ("limit", "1000")]).await?;
            let hits = hits.as_array().ok_or(WorkspaceError::Shape { what: "a folder", lacks: "list" })?;
            let inside = |hit: &&Value| {
                let of = |key: &str| hit.get(key).filter(|found| !found.is_null());
                of("folderUid").is_some_and(|found| found == uid)
                    || number.is_some() && of("folderId").and_then(Value::as_i64) == number
            };
            if hits.iter().any(|hit| inside(&hit)) {
                return Ok(true);
            }
        }
        let (panels, rules) = (self.library_panels().await?, self.alert_rules().await?);
        let is_here = |found: &Option<String>| found.as_deref() == Some(uid);
        Ok(panels.iter().any(|panel| is_here(&panel.folder_uid)) || rules.iter().any(|rule| is_here(&rule.folder_uid)))
    }
}

pub(super) fn has_title(folder: &Value, title: &str) -> bool {
    folder.get("title").is_some_and(|found| found == title)
}
