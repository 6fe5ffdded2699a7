//! The sections of the manifest about the mirror.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    duration::DurationText,
    fleet::reference::SecretReference,
    model::{GrafanaVersion, Platform},
};

/// `[serve]`: how the mirror is served. Arguments of `plugport serve` take the place of these.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Serve")]
pub struct ServeSection {
    /// The address to listen on: `127.0.0.1:8080` if there is none.
    pub listen: Option<String>,
    /// The address of health and metrics, if they have one of their own.
    pub admin_listen: Option<String>,
    /// The address that clients reach the mirror by, for the links in answers.
    pub public_url: Option<String>,
    /// List what the catalog lists, although its packages cannot be downloaded.
    pub metadata_only: bool,
    /// List what the catalog lists, and fetch a package when somebody asks for it.
    pub pull: bool,
    /// How often the catalog is synced.
    #[serde(deserialize_with = "optional_duration")]
    #[schemars(with = "Option<DurationText>")]
    pub sync_every: Option<Duration>,
    /// What needs a token that reads.
    pub guard: GuardedPart,
    /// The tokens that open what is guarded.
    pub read_token: Vec<SecretReference>,
    /// The tokens that may publish packages.
    pub write_token: Vec<SecretReference>,
    /// The file with the chain of certificates, if the mirror speaks TLS.
    pub tls_cert: Option<PathBuf>,
    /// The file with the private key of the certificate.
    pub tls_key: Option<PathBuf>,
    /// How old the catalog may be while the mirror counts as ready.
    #[serde(deserialize_with = "optional_duration")]
    #[schemars(with = "Option<DurationText>")]
    pub max_age: Option<Duration>,
}

/// What needs a token that reads.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Guard")]
pub enum GuardedPart {
    /// Nothing.
    #[default]
    None,
    /// Packages; Grafana 10 and later can send a token for them.
    Downloads,
    /// Everything; no page of Grafana works with it.
    All,
}

impl ServeSection {
    /// Returns the section with relative files put under `folder`.
    pub(super) fn below(self, folder: &Path) -> Self {
        let tokens = |tokens: Vec<SecretReference>| tokens.into_iter().map(|token| token.below(folder)).collect();
        let file = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        Self {
            read_token: tokens(self.read_token),
            write_token: tokens(self.write_token),
            tls_cert: file(self.tls_cert),
            tls_key: file(self.tls_key),
            ..self
        }
    }
}

/// `[mirror]`: what the mirror keeps. `fetch --mirror` and `serve --sync-every` fetch it, and `gc` keeps it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Mirror")]
pub struct MirrorSection {
    /// Ids of plugins, and patterns with `*` and `?`; `locked` is what the lock needs.
    pub plugins: Vec<String>,
    /// The platforms that packages are kept for; this machine's if there are none.
    pub platforms: Vec<Platform>,
    /// Versions of Grafana, like `12.4`: for each, the newest release of every plugin that works with it.
    #[serde(deserialize_with = "grafana_versions")]
    #[schemars(with = "Vec<String>")]
    pub grafana: Vec<GrafanaVersion>,
    /// How many of the newest releases of every plugin are kept beside these.
    pub latest: usize,
}

impl Default for MirrorSection {
    fn default() -> Self {
        Self { plugins: Vec::new(), platforms: Vec::new(), grafana: Vec::new(), latest: 1 }
    }
}

/// Reads versions of which the patch may be left out.
fn grafana_versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GrafanaVersion>, D::Error> {
    let read = |text: String| {
        let whole = if text.matches('.').count() == 1 { format!("{text}.0") } else { text };
        whole.parse::<GrafanaVersion>().map_err(D::Error::custom)
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(read).collect()
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    crate::duration::deserialize(deserializer).map(Some)
}
