//! What the manifest asks for besides plugins, on one workspace.
//!
//! *Invariant:* pure; data sources are changed before dashboards, which may query them, and removals are last.

use std::collections::BTreeSet;

use crate::{
    fleet::{
        Manifest,
        manifest::{DataSourceWish, Ensure, Workspace, WorkspaceKind},
    },
    model::PluginId,
    rollout::{Content, ContentItem},
};

/// Returns what is done besides plugins on a workspace. `wanted` are the plugins that are to be there when the rollout is
/// over; content of one that the manifest wants and that cannot be there is left out.
pub fn planned(manifest: &Manifest, workspace: &Workspace, wanted: &BTreeSet<PluginId>) -> Vec<Content> {
    if workspace.kind() == WorkspaceKind::Directory {
        return Vec::new();
    }
    let content =
        |plugin: &PluginId, item| Content { workspace: workspace.name().clone(), plugin: plugin.clone(), item };
    let meant: Vec<_> = manifest.data_sources().iter().filter(|wish| workspace.is_selected_by(&wish.on)).collect();
    let wishes = || manifest.plugins().iter().filter(|wish| workspace.is_selected_by(&wish.on));
    // The manifest says nothing of plugins that are part of Grafana.
    let is_possible =
        |wish: &&&DataSourceWish| wanted.contains(&wish.plugin) || !wishes().any(|plugin| plugin.id == wish.plugin);
    let present = meant.iter().filter(|wish| wish.ensure == Ensure::Present).filter(is_possible);
    let mut planned: Vec<_> = present.map(|wish| content(&wish.plugin, data_source(wish))).collect();
    for wish in wishes().filter(|wish| wish.ensure == Ensure::Present && wanted.contains(&wish.id)) {
        if let Some((uid, title)) = wish.folder() {
            let item = ContentItem::Dashboards { folder_uid: uid.to_string(), folder_title: title.to_owned() };
            planned.push(content(&wish.id, item));
        }
    }
    let absent = meant.iter().filter(|wish| wish.ensure == Ensure::Absent);
    planned.extend(absent.map(|wish| {
        let (uid, lose_secrets) = (wish.uid.to_string(), wish.lose_secrets);
        content(&wish.plugin, ContentItem::NoDataSource { uid, lose_secrets, after_gate: true })
    }));
    planned
}

fn data_source(wish: &DataSourceWish) -> ContentItem {
    ContentItem::DataSource {
        uid: wish.uid.to_string(),
        name: wish.name.clone().unwrap_or_default(),
        settings: wish.settings(),
        secrets: wish.secrets.keys().cloned().collect(),
        keep_secrets: true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MANIFEST: &str = r#"
[[workspace]]
name = "prod"
kind = "grafana"
url = "https://g"
token = { env = "A" }

[[workspace]]
name = "disk"
kind = "directory"
path = "p"

[[plugin]]
id = "acme-sql-datasource"
dashboards = { folder = "SQL", uid = "sql-folder" }

[[datasource]]
plugin = "acme-sql-datasource"
uid = "gone"
ensure = "absent"

[[datasource]]
plugin = "acme-sql-datasource"
uid = "sql"
name = "SQL"
secrets = { password = { env = "CANARY" } }

[[datasource]]
plugin = "prometheus"
uid = "prom"
name = "Prometheus"
on = "prod"
"#;

    fn kinds(workspace: &str, wanted: &[&str]) -> Vec<String> {
        let manifest = Manifest::parse(MANIFEST, Path::new("/etc/plugport.toml")).expect("sound");
        let workspace = manifest.workspace(&workspace.parse().expect("a name")).expect("it is there");
        let wanted = wanted.iter().map(|id| id.parse().expect("an id")).collect();
        let planned = planned(&manifest, workspace, &wanted);
        assert!(!serde_json::to_string(&planned).expect("JSON").contains("CANARY"), "a plan names secrets alone");
        let kind = |content: Content| match content.item {
            ContentItem::Dashboards { folder_uid, .. } => format!("folder {folder_uid}"),
            ContentItem::DataSource { uid, secrets, .. } => format!("source {uid} {}", secrets.join(",")),
            ContentItem::NoDataSource { uid, .. } => format!("no source {uid}"),
        };
        planned.into_iter().map(kind).collect()
    }

    #[test]
    fn sources_come_before_dashboards_and_what_goes_comes_last() {
        let all = ["source sql password", "source prom ", "folder sql-folder", "no source gone"];
        assert_eq!(kinds("prod", &["acme-sql-datasource"]), all);
    }

    #[test]
    fn content_of_a_plugin_that_cannot_be_there_is_left_out() {
        assert_eq!(kinds("prod", &[]), ["source prom ", "no source gone"]);
    }

    #[test]
    fn a_folder_of_plugins_has_no_content() {
        assert!(kinds("disk", &["acme-sql-datasource"]).is_empty());
    }
}
