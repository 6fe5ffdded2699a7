//! Plugins that an app ships inside its own folder, like the data source of an app.
//!
//! *Invariant:* a nested plugin is one that the server lists and hides under `embedded=0`; it is never installed or removed by
//! itself.
//! *Not for:* plugins in folders on this machine, where only first-level folders are plugins.

use std::collections::{BTreeMap, BTreeSet};

use super::{Grafana, WorkspaceError, files::Files, wire, wire::ServerPlugin};
use crate::model::{PluginId, PluginType, PluginVersion};

/// A plugin that an app ships.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NestedPlugin {
    /// Its id.
    pub id: PluginId,
    /// The version that is registered; after an update of the app the old one, until Grafana is restarted.
    pub version: Option<PluginVersion>,
    /// The app; `None` if it is not known.
    pub app: Option<PluginId>,
}

impl Grafana {
    /// Returns the nested plugins that the server has registered.
    pub async fn nested(&self) -> Result<Vec<NestedPlugin>, WorkspaceError> {
        let all = self.plugin_list(&[("core", "0")]).await?;
        let own = self.plugin_list(&[("embedded", "0"), ("core", "0")]).await?;
        let ids: BTreeSet<_> = own.iter().map(|plugin| &plugin.id).collect();
        Ok(attribute(&own, all.iter().filter(|plugin| !ids.contains(&plugin.id))))
    }

    /// Returns the nested plugins of an app. Only apps ship plugins, and their ids end so.
    pub(in crate::fleet) async fn nested_in(&self, app: &PluginId) -> Vec<NestedPlugin> {
        if !app.as_str().ends_with("-app") {
            return Vec::new();
        }
        let nested = self.nested().await.unwrap_or_default();
        nested.into_iter().filter(|one| one.app.as_ref() == Some(app)).collect()
    }

    /// Returns what is to be known of the nested plugins of an app that was changed: Grafana unloads the app alone.
    pub(in crate::fleet) async fn left_running(&self, before: &[NestedPlugin]) -> Vec<String> {
        let Ok(now) = self.nested_ids().await else { return Vec::new() };
        let mut notes = Vec::new();
        for NestedPlugin { id, version, .. } in before {
            let Some(version) = version.as_ref().filter(|version| now.get(id) == Some(&Some((*version).clone())))
            else {
                continue;
            };
            let what = match self.files(id, version).await {
                Files::AsShown | Files::Unread => continue,
                Files::Other(found) => format!("its files are of {found}"),
                Files::Gone => "its files are gone".to_owned(),
                Files::Hidden => "its files cannot be read".to_owned(),
            };
            notes.push(format!(
                "{id}, a part of this app, runs on in {version} until Grafana is restarted ({what}): restart it; until then \
                 its health says nothing of the new version"
            ));
        }
        notes
    }

    async fn plugin_list(&self, query: &[(&str, &str)]) -> Result<Vec<ServerPlugin>, WorkspaceError> {
        let list = self.get("plugins", &["api", "plugins"], query).await?;
        Ok(wire::inventory(&list, BTreeMap::new())?.plugins)
    }

    async fn nested_ids(&self) -> Result<BTreeMap<PluginId, Option<PluginVersion>>, WorkspaceError> {
        let all = self.plugin_list(&[("core", "0")]).await?;
        Ok(all.into_iter().map(|plugin| (plugin.id, plugin.version)).collect())
    }
}

/// Returns whose part each nested plugin is: of the app with the longest common stem, else of the only app of its publisher.
fn attribute<'a>(own: &[ServerPlugin], nested: impl Iterator<Item = &'a ServerPlugin>) -> Vec<NestedPlugin> {
    let apps: Vec<_> = own.iter().filter(|plugin| plugin.plugin_type == Some(PluginType::App)).collect();
    let app_of = |id: &PluginId| {
        let by_stem = apps.iter().filter(|app| has_stem_of(id, &app.id)).max_by_key(|app| app.id.as_str().len());
        let mut same: Vec<_> = apps.iter().filter(|app| publisher(&app.id) == publisher(id)).collect();
        let only = if same.len() == 1 { same.pop() } else { None };
        by_stem.or(only).map(|app| app.id.clone())
    };
    nested.map(|one| NestedPlugin { id: one.id.clone(), version: one.version.clone(), app: app_of(&one.id) }).collect()
}

/// Returns whether an id begins like that of an app: `acme-sea-panel` in `acme-sea-app`.
fn has_stem_of(id: &PluginId, app: &PluginId) -> bool {
    let stem = app.as_str().strip_suffix("-app").unwrap_or(app.as_str());
    id.as_str().strip_prefix(stem).is_some_and(|rest| rest.starts_with('-') && id != app)
}

fn publisher(id: &PluginId) -> &str {
    id.as_str().split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plugins(list: &[(&str, &str)]) -> Vec<ServerPlugin> {
        let item =
            |(id, kind): &(&str, &str)| json!({"id": id, "type": kind, "name": id, "info": {"version": "1.0.0"}});
        wire::inventory(&list.iter().map(item).collect(), BTreeMap::new()).expect("a list").plugins
    }

    #[test]
    fn a_nested_plugin_belongs_to_the_app_that_it_is_named_like() {
        let own = plugins(&[
            ("acme-sea-app", "app"),
            ("acme-sea-tide-app", "app"),
            ("acme-sea-panel", "panel"),
            ("other-map-app", "app"),
        ]);
        let nested = plugins(&[
            ("acme-sea-datasource", "datasource"),
            ("acme-sea-tide-panel", "panel"),
            ("other-chart-panel", "panel"),
            ("acme-lost-panel", "panel"),
            ("strange-panel", "panel"),
        ]);
        let found = attribute(&own, nested.iter());
        let app_of = |one: &NestedPlugin| (one.id.to_string(), one.app.as_ref().map(ToString::to_string));
        let apps: BTreeMap<_, _> = found.iter().map(app_of).collect();
        let expected = [
            ("acme-lost-panel", None),
            ("acme-sea-datasource", Some("acme-sea-app")),
            ("acme-sea-tide-panel", Some("acme-sea-tide-app")),
            ("other-chart-panel", Some("other-map-app")),
            ("strange-panel", None),
        ];
        assert_eq!(apps, expected.map(|(id, app)| (id.to_owned(), app.map(str::to_owned))).into());
    }
}
