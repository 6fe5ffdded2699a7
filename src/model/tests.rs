//! Values that the tests of several modules need.

use super::{Plugin, PluginStatus, PluginType, Signature};

/// Returns an active panel of which nothing else is known.
pub(crate) fn plugin(id: &str, name: &str) -> Plugin {
    Plugin {
        id: id.parse().expect("an id"),
        name: name.to_owned(),
        plugin_type: PluginType::Panel,
        description: String::new(),
        status: PluginStatus::Active,
        status_context: String::new(),
        version: None,
        org: String::new(),
        org_name: String::new(),
        signature: Signature::default(),
        downloads: 0,
        created_at: None,
        updated_at: None,
        angular: false,
        internal: false,
        grafana_dependency: None,
        keywords: Vec::new(),
        dependencies: Vec::new(),
        packages: [].into(),
    }
}
