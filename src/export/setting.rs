//! Which setting tells a Grafana server what to install when it starts.

use crate::{export::ExportedPlugin, model::GrafanaVersion};

/// A setting that lists plugins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InstallSetting {
    /// `preinstall_sync`: before the server answers (grafana/grafana#105292, in 12.1).
    PreinstallSync,
    /// `preinstall`, with `preinstall_async = false` so that the server does not answer before (in 11.3,
    /// grafana/grafana#91895; in 11.0 to 11.2 nothing reads it).
    Preinstall,
    /// `GF_INSTALL_PLUGINS`, which only the start script of the container image reads.
    StartScript,
}

impl InstallSetting {
    /// Returns the setting for a version of Grafana.
    pub(super) fn for_grafana(grafana: &GrafanaVersion) -> Self {
        let version = grafana.semver();
        match (version.major, version.minor) {
            (13.., _) | (12, 1..) => Self::PreinstallSync,
            (12, _) | (11, 3..) => Self::Preinstall,
            _ => Self::StartScript,
        }
    }

    /// Returns the variables of the environment, each with its value.
    pub(super) fn variables(self, plugins: &[ExportedPlugin]) -> Vec<(&'static str, String)> {
        match self {
            Self::PreinstallSync => vec![("GF_PLUGINS_PREINSTALL_SYNC", pinned(plugins, '@'))],
            Self::Preinstall => vec![
                ("GF_PLUGINS_PREINSTALL", pinned(plugins, '@')),
                ("GF_PLUGINS_PREINSTALL_ASYNC", "false".to_owned()),
            ],
            Self::StartScript => vec![("GF_INSTALL_PLUGINS", pinned(plugins, ' '))],
        }
    }

    /// Returns the same as keys of the section `plugins` of grafana.ini; empty if that file has no such key.
    pub(super) fn ini_keys(self, plugins: &[ExportedPlugin]) -> Vec<(&'static str, String)> {
        match self {
            Self::PreinstallSync => vec![("preinstall_sync", pinned(plugins, '@'))],
            Self::Preinstall => {
                vec![("preinstall", pinned(plugins, '@')), ("preinstall_async", "false".to_owned())]
            }
            Self::StartScript => Vec::new(),
        }
    }
}

fn pinned(plugins: &[ExportedPlugin], separator: char) -> String {
    let one = |plugin: &ExportedPlugin| format!("{}{separator}{}", plugin.id, plugin.version);
    plugins.iter().map(one).collect::<Vec<_>>().join(",")
}
