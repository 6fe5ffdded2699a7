//! The plugins that the configuration of a Grafana installs at every start (protocol page 1, `[plugins] preinstall`).
//!
//! *Invariant:* old servers and weak tokens give a shorter list, never a failure.
//! *Not for:* what is installed now.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Grafana, WorkspaceError, wire::FrontendSettings};
use crate::{
    fleet::manifest::Service,
    model::{PluginId, PluginVersion},
};

impl Grafana {
    /// Returns the plugins that are installed at every start, with the versions that are pinned: those it refuses to change.
    ///
    /// Source: `pluginCatalogPreinstalledPlugins` of `/api/frontend/settings` (Grafana 11 and newer), and `[plugins]` of
    /// `/api/admin/settings`, if the token may read it.
    pub async fn preinstalled(&self) -> Result<BTreeMap<PluginId, Option<PluginVersion>>, WorkspaceError> {
        let settings = self.frontend_settings().await?;
        // Amazon's gateway offers it to nobody.
        let configuration = match self.service() {
            Service::Amg => None,
            Service::Grafana => self.get_optional("settings", &["api", "admin", "settings"]).await?,
        };
        Ok(preinstalled(Some(&settings), configuration.as_ref()))
    }
}

/// Merges both; a version that one of them pins is pinned.
fn preinstalled(
    settings: Option<&FrontendSettings>,
    configuration: Option<&Value>,
) -> BTreeMap<PluginId, Option<PluginVersion>> {
    let mut found: BTreeMap<PluginId, Option<PluginVersion>> = BTreeMap::new();
    let listed = settings.into_iter().flat_map(|settings| settings.preinstalled.iter().cloned());
    for (id, version) in listed.chain(configured(configuration)) {
        let known = found.entry(id).or_default();
        *known = known.take().or(version);
    }
    found
}

/// Reads `ID`, `ID@VERSION` and `ID@VERSION@URL`, with commas between them.
fn configured(configuration: Option<&Value>) -> impl Iterator<Item = (PluginId, Option<PluginVersion>)> {
    let plugins = configuration.and_then(|configuration| configuration.get("plugins"));
    let text = move |key: &str| plugins.and_then(|plugins| plugins.get(key)?.as_str()).unwrap_or_default();
    let preinstall = if text("preinstall_disabled") == "true" { "" } else { text("preinstall") };
    let lists = [preinstall, text("preinstall_sync")];
    lists.into_iter().flat_map(|list| list.split(',')).filter_map(|entry| {
        let mut parts = entry.trim().split('@');
        let id = parts.next()?.parse().ok()?;
        Some((id, parts.next().and_then(|version| version.parse().ok())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn preinstalled_ids(settings: &Value, configuration: &Value) -> Vec<String> {
        let found = preinstalled(Some(&FrontendSettings::read(settings)), Some(configuration));
        let shown = |version: &Option<PluginVersion>| version.as_ref().map_or("-".to_owned(), ToString::to_string);
        found.iter().map(|(id, version)| format!("{id} {}", shown(version))).collect()
    }

    #[test]
    fn both_sources_are_read_and_a_pinned_version_wins() {
        let settings = json!({"pluginCatalogPreinstalledPlugins": [
            {"id": "a-app", "version": ""}, {"id": "b-app", "version": "1.2.0", "url": "https://x.example/b.zip"},
            {"id": "c-app"}, {"id": "../x"}, {}, 7,
        ]});
        let configuration = json!({"plugins": {
            "preinstall": "c-app@2.0.0@https://x.example/c.zip, d-app", "preinstall_sync": "b-app,e-app@3.0.0",
        }});
        assert_eq!(
            preinstalled_ids(&settings, &configuration),
            ["a-app -", "b-app 1.2.0", "c-app 2.0.0", "d-app -", "e-app 3.0.0"]
        );
    }

    #[test]
    fn what_is_not_told_is_no_failure() {
        assert!(preinstalled(None, None).is_empty());
        let rubbish = json!({"pluginCatalogPreinstalledPlugins": "x", "plugins": {"preinstall": 5}});
        assert_eq!(preinstalled_ids(&rubbish, &rubbish), Vec::<String>::new());
        let off = json!({"plugins": {"preinstall": "a-app", "preinstall_disabled": "true"}});
        assert_eq!(preinstalled_ids(&json!({}), &off), Vec::<String>::new());
    }
}
