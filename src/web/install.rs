//! How a version is installed from here: the commands and settings that are shown to be copied.

use super::Site;
use crate::model::{GrafanaVersion, PluginId, PluginVersion};

/// A command or a setting, and what it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Snippet {
    pub(super) title: &'static str,
    pub(super) text: String,
}

/// Returns the ways to install a version of a plugin.
pub(super) fn snippets(site: &Site, id: &PluginId, version: &PluginVersion, is_unsigned: bool) -> Vec<Snippet> {
    let mut snippets = vec![
        Snippet {
            title: "Grafana CLI",
            text: format!("grafana cli --repo {}/plugins plugins install {id} {version}", site.api()),
        },
        Snippet { title: "plugport", text: format!("plugport install {id}@{version} --on WORKSPACE") },
        preinstall(site.grafana.version(), id, version),
    ];
    if is_unsigned {
        let text = format!("[plugins]\nallow_loading_unsigned_plugins = {id}");
        snippets.push(Snippet { title: "Unsigned: also in grafana.ini", text });
    }
    snippets
}

/// Returns the setting by which a Grafana installs it at its start.
fn preinstall(grafana: Option<&GrafanaVersion>, id: &PluginId, version: &PluginVersion) -> Snippet {
    let number = grafana.map_or((12, 1), |grafana| (grafana.semver().major, grafana.semver().minor));
    match number {
        (13.., _) | (12, 1..) => Snippet {
            title: "At the start of Grafana 12.1 and newer",
            text: format!("GF_PLUGINS_PREINSTALL_SYNC={id}@{version}"),
        },
        (12, _) | (11, 3..) => Snippet {
            title: "At the start of Grafana 11.3 to 12.0",
            text: format!("GF_PLUGINS_PREINSTALL={id}@{version}\nGF_PLUGINS_PREINSTALL_ASYNC=false"),
        },
        _ => Snippet {
            title: "At the start of a container of Grafana before 11.3",
            text: format!("GF_INSTALL_PLUGINS={id} {version}"),
        },
    }
}
