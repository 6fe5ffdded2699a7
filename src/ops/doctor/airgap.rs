//! Asks a mirror what a Grafana of one version asks, and tells what it cannot answer.
//!
//! *Invariant:* what is reported as answered was asked, by the request of that version, and read.
//! *Not for:* which requests there are, which [`crate::airgap`] knows; or serving.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::{
    airgap::{self, CatalogRequest, Egress, Example, IniSetting, MirrorAnswer, Offer, Redirection},
    diagnostic::{Chain, Kind},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion},
    net::{Client, Method, RawRequest},
    upgrade::{is_core, preinstalled},
};

/// A mirror that can be asked.
pub(crate) trait Mirror: Send + Sync {
    /// Sends a request of a Grafana; the error says why there is no answer.
    fn ask<'a>(&'a self, request: MirrorRequest<'a>) -> BoxFuture<'a, Result<MirrorAnswer, String>>;
}

/// A request to a mirror.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirrorRequest<'a> {
    /// The path and query below the address of the mirror.
    pub path: &'a str,
    /// The headers that the client sends.
    pub headers: &'a [(&'static str, String)],
}

/// A mirror at an address.
#[derive(Debug)]
pub(crate) struct RemoteMirror {
    /// The way to the network.
    pub client: Client,
    /// Its address, without a slash at its end.
    pub url: String,
}

impl Mirror for RemoteMirror {
    fn ask<'a>(&'a self, request: MirrorRequest<'a>) -> BoxFuture<'a, Result<MirrorAnswer, String>> {
        Box::pin(async move {
            let address = format!("{}{}", self.url, request.path);
            let url =
                address.parse().map_err(|error| format!("`{}` is no address: {error}", address.escape_debug()))?;
            let headers = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let request = RawRequest { method: Method::GET, url, headers, body: Vec::new(), timeout: None };
            let answer = self.client.send(request).await.map_err(|error| Chain(&error).to_string())?;
            Ok(MirrorAnswer { status: answer.status, body: answer.body })
        })
    }
}

/// What is examined.
#[derive(Clone, Debug)]
pub(crate) struct AirgapOptions {
    /// The version of Grafana.
    pub grafana: GrafanaVersion,
    /// The platform that it runs on.
    pub platform: Platform,
    /// The address of the mirror as Grafana is to use it, without a slash at its end.
    pub url: String,
}

/// Whether a mirror has what a Grafana needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AirgapOutcome {
    /// The version of Grafana.
    pub grafana: GrafanaVersion,
    /// The address of the mirror.
    pub url: String,
    /// The requests that this version makes to the catalog.
    pub requests: Vec<RequestCheck>,
    /// What it asks of others, which no mirror answers.
    pub egress: Vec<Egress>,
    /// The plugins that it installs by itself, and what they depend on.
    pub preinstalled: Vec<PreinstalledCheck>,
    /// What its operator must know.
    pub warnings: Vec<&'static str>,
    /// The keys of grafana.ini.
    pub ini: Vec<IniSetting>,
    /// The same as variables of the environment, and those that have no key.
    pub environment: Vec<EnvironmentVariable>,
}

/// A variable of the environment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The result of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestVerdict {
    /// The client can use the answer.
    Ok,
    /// It cannot.
    Wrong,
    /// There was no answer.
    Unreachable,
    /// No setting leads the request to a mirror, so it was not asked.
    NotRedirected,
    /// The mirror has no plugin to ask for.
    NotAsked,
}

/// A request, and what the mirror said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestCheck {
    /// When it is made: `start`, `browse`, `install` or `poll`.
    pub moment: &'static str,
    /// Who makes it: `server`, `cli`, `browser` or `app`.
    pub client: &'static str,
    /// The path and query.
    pub path: String,
    /// The setting that leads it to the mirror, if there is one.
    pub setting: Option<&'static str>,
    /// The result.
    pub verdict: RequestVerdict,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it is not right, or what helps.
    pub detail: Option<String>,
}

/// A plugin that a Grafana installs by itself, or that one of those needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PreinstalledCheck {
    /// The plugin.
    pub plugin: PluginId,
    /// The plugin that needs it, if Grafana does not install it by itself.
    pub needed_by: Option<PluginId>,
    /// The version that the mirror offers; `None` if it offers none.
    pub version: Option<PluginVersion>,
    /// Why it offers none.
    pub detail: Option<String>,
}

impl AirgapOutcome {
    /// Returns the kind of failure if something is missing.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let is_unreachable = |check: &RequestCheck| check.verdict == RequestVerdict::Unreachable;
        if self.requests.iter().any(is_unreachable) {
            return Some(Kind::Network);
        }
        let is_wrong = |check: &RequestCheck| matches!(check.verdict, RequestVerdict::Wrong | RequestVerdict::NotAsked);
        let is_incomplete = self.preinstalled.iter().any(|check| check.version.is_none());
        (is_incomplete || self.requests.iter().any(is_wrong)).then_some(Kind::Findings)
    }
}

impl RequestVerdict {
    /// Returns it in words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "wrong",
            Self::Unreachable => "no answer",
            Self::NotRedirected => "not redirected",
            Self::NotAsked => "not asked",
        }
    }
}

/// Asks a mirror everything that a Grafana asks.
pub(crate) async fn examine(mirror: &dyn Mirror, options: &AirgapOptions) -> AirgapOutcome {
    let asking = Examination { mirror, options };
    let (grafana, url) = (&options.grafana, options.url.clone());
    let ini = airgap::ini_settings(grafana, &url);
    let variables = ini.iter().map(|setting| (setting.variable(), setting.value.clone()));
    let others = airgap::other_variables(grafana, &url).into_iter().map(|(name, value)| (name.to_owned(), value));
    let environment = variables.chain(others).map(|(name, value)| EnvironmentVariable { name, value }).collect();
    AirgapOutcome {
        requests: asking.requests().await,
        preinstalled: asking.preinstalled().await,
        egress: airgap::egress(grafana),
        warnings: airgap::warnings(grafana),
        grafana: grafana.clone(),
        environment,
        url,
        ini,
    }
}

struct Examination<'a> {
    mirror: &'a dyn Mirror,
    options: &'a AirgapOptions,
}

impl Examination<'_> {
    async fn ask(&self, client: &str, path: &str) -> Result<MirrorAnswer, String> {
        let headers = headers(client, path, self.options);
        self.mirror.ask(MirrorRequest { path, headers: &headers }).await
    }

    async fn requests(&self) -> Vec<RequestCheck> {
        let example = self.example().await;
        let is_known = example.is_some();
        let stand_in = || Example { plugin: "ID".to_owned(), version: "VERSION".to_owned(), screenshot: None };
        let mut checks = Vec::new();
        for request in airgap::requests(&self.options.grafana, &example.unwrap_or_else(stand_in)) {
            checks.push(self.request(request, is_known).await);
        }
        checks
    }

    async fn request(&self, request: CatalogRequest, is_known: bool) -> RequestCheck {
        let (setting, helps) = match request.redirection {
            Redirection::Setting(setting) => (Some(setting), None),
            Redirection::None(helps) => (None, Some(helps)),
        };
        let needs_plugin = request.names_plugin;
        let (verdict, status, detail) = match helps {
            Some(helps) => (RequestVerdict::NotRedirected, None, Some(helps.to_owned())),
            None if needs_plugin && !is_known => (RequestVerdict::NotAsked, None, None),
            None => match self.ask(request.client, &request.path).await {
                Err(reason) => (RequestVerdict::Unreachable, None, Some(reason)),
                Ok(answer) => match airgap::check(&answer, request.expected) {
                    None => (RequestVerdict::Ok, Some(answer.status), None),
                    Some(reason) => (RequestVerdict::Wrong, Some(answer.status), Some(reason)),
                },
            },
        };
        let (moment, client) = (request.moment.as_str(), request.client);
        RequestCheck { moment, client, path: request.path, setting, verdict, status, detail }
    }

    /// Returns a plugin of the mirror that works with this Grafana, to ask for.
    async fn example(&self) -> Option<Example> {
        let list = self.ask("browser", "/api/plugins?includeDeprecated=true").await.ok()?;
        for plugin in airgap::plugins(&list).into_iter().take(EXAMPLES) {
            let Ok(Offer::Version(version)) = self.offer(&plugin).await else { continue };
            let details = self.ask("browser", &format!("/api/plugins/{plugin}")).await.ok()?;
            let (plugin, version) = (plugin.to_string(), version.to_string());
            return Some(Example { screenshot: airgap::screenshot(&details), plugin, version });
        }
        None
    }

    async fn offer(&self, plugin: &PluginId) -> Result<Offer, String> {
        let answer = self.ask("server", &format!("/api/plugins/{plugin}/versions")).await?;
        Ok(airgap::offer(&answer, self.options.platform.as_str()))
    }

    /// Returns what the mirror offers of the preinstalled plugins, and of what they need.
    async fn preinstalled(&self) -> Vec<PreinstalledCheck> {
        let grafana = &self.options.grafana;
        let mut left: Vec<(PluginId, Option<PluginId>)> =
            preinstalled(grafana).into_iter().rev().map(|plugin| (plugin, None)).collect();
        let mut seen: BTreeSet<PluginId> = left.iter().map(|(plugin, _)| plugin.clone()).collect();
        let mut checks = Vec::new();
        while let Some((plugin, needed_by)) = left.pop() {
            let (version, detail) = match self.offer(&plugin).await {
                Ok(Offer::Version(version)) => (Some(version), None),
                Ok(Offer::None(detail)) | Err(detail) => (None, Some(detail)),
            };
            if let Some(version) = &version
                && let Ok(details) = self.ask("server", &format!("/api/plugins/{plugin}/versions/{version}")).await
            {
                let needed = airgap::dependencies(&details).into_iter().filter(|needed| !is_core(needed, grafana));
                left.extend(
                    needed.filter(|needed| seen.insert(needed.clone())).map(|needed| (needed, Some(plugin.clone()))),
                );
            }
            checks.push(PreinstalledCheck { plugin, needed_by, version, detail });
        }
        checks
    }
}

/// How many plugins of a list are tried for one that works with the Grafana.
const EXAMPLES: usize = 20;

/// Returns the headers that a client sends (protocol page 2.1 and 4).
fn headers(client: &str, path: &str, options: &AirgapOptions) -> Vec<(&'static str, String)> {
    let version = options.grafana.to_string();
    let (os, arch) = options.platform.as_str().split_once('-').unwrap_or(("linux", "amd64"));
    let agent = match client {
        "browser" => "Mozilla/5.0 plugport-doctor".to_owned(),
        "app" => "grafana-plugins-app".to_owned(),
        _ => format!("grafana {version}"),
    };
    let mut headers = vec![
        ("user-agent", agent),
        ("grafana-version", version),
        ("grafana-os", os.to_owned()),
        ("grafana-arch", arch.to_owned()),
    ];
    match client {
        "cli" => headers.push(("grafana-origin", "cli".to_owned())),
        "server" => headers.push(("grafana-origin", "api".to_owned())),
        _ => {}
    }
    if path.ends_with("/download") {
        // The start of a package is enough to see that it is one.
        headers.push(("range", "bytes=0-1023".to_owned()));
    }
    headers
}
