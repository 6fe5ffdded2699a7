//! A Grafana by its HTTP API, Amazon's or anybody's: what is on it, who we are to it, and changes to its plugins.
//!
//! *Invariant:* one change call at a time per [`Grafana`], and no change counts without a reading that shows it. Nothing
//! here judges an answer to a change: [`Settling`] does.
//! *Not for:* deciding what should be installed, or talking to a catalog.

mod content;
mod error;
mod expected;
mod identity;
mod preinstalled;
mod probes;
mod provisioning;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, mpsc::UnboundedSender},
    time::Instant,
};

pub use content::{ApiGroup, DataSources, ListedDashboard, OrganisationSession, Organisations, Reach, Rights};
pub use error::WorkspaceError;
pub use expected::{ChangeError, Expected};
pub use identity::{Identity, InstallObstacle, MayInstall};
pub use probes::{ProbeHints, ProbeTargets};
pub use provisioning::{BundledDashboard, Changed, ContentError, Saved, has_settings, is_as_it_was};
pub use wire::{ServerInventory, ServerPlugin, SkipReason, SkippedPlugin};

use super::{
    manifest::Service,
    settle::{Bounds, Event, Outcome, PluginState, Settling, Step, Wanted},
};
use crate::{
    json::{self, JsonError, KeyComparison, Limits},
    model::{GrafanaVersion, PluginId, PluginVersion},
    net::{Form, Method, NetError, Reply, Site},
};
use identity::IdentityAnswers;

/// A Grafana server, and who we are to it.
#[derive(Clone, Debug)]
pub struct Grafana {
    site: Site,
    service: Service,
    changing: Arc<Mutex<()>>,
    /// Who hears that it wants to be left alone, and under which name.
    slowed: Option<(String, UnboundedSender<(String, Duration)>)>,
}

/// What became of a change, and how it came to that.
#[derive(Debug)]
pub struct Settled {
    /// What became of it.
    pub outcome: Outcome,
    /// What the workspace showed before.
    pub before: PluginState,
    /// What the last reading showed; `None` where it failed. After a failed upgrade the old version may be gone.
    pub after: Option<PluginState>,
    /// How often the change was sent, or tried to be.
    pub attempts: u32,
    /// The last thing that went wrong on the way.
    pub trouble: Option<WorkspaceError>,
}

impl Grafana {
    /// Returns the Grafana at `site`.
    pub fn new(site: Site, service: Service) -> Self {
        Self { site, service, changing: Arc::default(), slowed: None }
    }

    /// Returns this Grafana, telling under `name` whenever it answers a change by 429, and for how long it wants to be left
    /// alone.
    #[must_use]
    pub fn telling(self, name: &str, slowed: UnboundedSender<(String, Duration)>) -> Self {
        Self { slowed: Some((name.to_owned(), slowed)), ..self }
    }

    /// Returns the site, for other questions and for the traffic so far.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Returns who runs it.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Returns the version of the server, from its frontend settings, or from its health page.
    pub async fn grafana_version(&self) -> Result<GrafanaVersion, WorkspaceError> {
        let refusal = match self.get("frontend settings", &["api", "frontend", "settings"], &[]).await {
            Ok(settings) => match wire::settings_version(&settings) {
                Some(version) => return Ok(version),
                None => WorkspaceError::Shape { what: "frontend settings", lacks: "version" },
            },
            Err(error @ WorkspaceError::NotReached(_)) if error.status().is_none() => return Err(error),
            Err(error) => error,
        };
        let health = self.get("health", &["api", "health"], &[]).await.ok();
        health.as_ref().and_then(wire::health_version).ok_or(refusal)
    }

    /// Returns who the token is and whether it may install plugins.
    ///
    /// Tokens of older servers may not ask for their own name; what is not told is `None`.
    pub async fn identity(&self) -> Result<Identity, WorkspaceError> {
        Ok(self.told_of_us().await?.identity(self.service))
    }

    /// Asks everything that the server may tell of us, once.
    async fn told_of_us(&self) -> Result<IdentityAnswers, WorkspaceError> {
        let user = self.told("user", &["api", "user"]).await?;
        // Every valid token may ask for its organisation: what is refused here is the token.
        let organisation = match self.get("organisation", &["api", "org"], &[]).await {
            Ok(organisation) => Some(organisation),
            Err(WorkspaceError::Refused { status: 403, .. }) => None,
            Err(WorkspaceError::Refused { status: 401, .. }) if user.is_some() => None,
            Err(error) if error.status() == Some(404) && user.is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(IdentityAnswers {
            organisations: self.told("organisations", &["api", "user", "orgs"]).await?,
            permissions: self.told("permissions", &["api", "access-control", "user", "permissions"]).await?,
            settings: self.told("frontend settings", &["api", "frontend", "settings"]).await?,
            user,
            organisation,
        })
    }

    /// Returns whether the settings say that plugins may be managed, where they may be read: a server admin may.
    pub async fn plugin_management(&self) -> Option<bool> {
        let settings = self.get("settings", &["api", "admin", "settings"], &[]).await.ok()?;
        let value = settings.get("plugins")?.get("plugin_admin_enabled")?;
        value.as_bool().or_else(|| value.as_str()?.parse().ok())
    }

    /// Returns the plugins that were installed, those that were refused at loading included.
    ///
    /// A token with few rights sees fewer plugins, and Grafana does not say so (protocol page 5.3).
    pub async fn installed(&self) -> Result<ServerInventory, WorkspaceError> {
        let list = self.get("plugins", &["api", "plugins"], &[("embedded", "0"), ("core", "0")]).await?;
        wire::inventory(&list, self.errors().await?)
    }

    /// Returns what the workspace shows of one plugin.
    pub async fn state(&self, id: &PluginId) -> Result<PluginState, WorkspaceError> {
        let settings = self.get("a plugin", &["api", "plugins", id.as_str(), "settings"], &[]).await;
        if let Err(WorkspaceError::NotReached(error)) = &settings
            && error.status().is_none()
        {
            return settings.map(|_| PluginState::Absent);
        }
        // Asked afterwards: an error that is noted while the plugin loads must not be missed.
        let code = self.errors().await?.remove(id.as_str());
        match (settings, code) {
            (Ok(settings), Some(code)) => Ok(PluginState::Broken { code, version: wire::version(&settings) }),
            (Err(_), Some(code)) => Ok(PluginState::Broken { code, version: None }),
            (Ok(settings), None) if settings.get("id").is_none_or(|found| found == id.as_str()) => {
                Ok(PluginState::Loaded { version: wire::version(&settings) })
            }
            (Ok(_), None) => Err(WorkspaceError::Shape { what: "a plugin", lacks: "id that was asked for" }),
            (Err(error), None) if is_not_installed(&error) => Ok(PluginState::Absent),
            (Err(error), None) if error.status() == Some(404) => self.listed(id).await,
            (Err(error), None) => Err(error),
        }
    }

    /// Returns what the list of plugins shows of one: the second opinion on a 404 that may be a proxy's.
    async fn listed(&self, id: &PluginId) -> Result<PluginState, WorkspaceError> {
        let list = self.get("plugins", &["api", "plugins"], &[("embedded", "0")]).await?;
        let inventory = wire::inventory(&list, BTreeMap::new())?;
        let found = inventory.plugins.into_iter().find(|plugin| plugin.id == *id);
        Ok(found.map_or(PluginState::Absent, |plugin| PluginState::Loaded { version: plugin.version }))
    }

    /// Installs `version`, over whatever version is there; does nothing where it runs already.
    ///
    /// An error means that nothing was sent. Source: protocol page 5.1.
    pub async fn install(&self, id: &PluginId, version: &PluginVersion) -> Result<Settled, WorkspaceError> {
        self.change(id, Wanted::Version(version.clone())).await
    }

    /// Removes a plugin; does nothing where it is not installed.
    ///
    /// An error means that nothing was sent. Source: protocol page 5.2.
    pub async fn uninstall(&self, id: &PluginId) -> Result<Settled, WorkspaceError> {
        self.change(id, Wanted::Absent).await
    }

    /// Brings about what is wanted, but not over what is neither that nor `expected`: then nothing is sent (fault W22).
    ///
    /// An error means that nothing was sent. What is wanted and there already is [`Outcome::Unchanged`], whoever put it
    /// there.
    pub async fn change_expecting(
        &self,
        id: &PluginId,
        wanted: Wanted,
        expected: &Expected,
    ) -> Result<Settled, ChangeError> {
        let _only_one = self.changing.lock().await;
        let before = self.state(id).await?;
        if !expected.is_met_by(&before) && !wanted.is_met_by(&before) {
            return Err(ChangeError::Drifted { expected: expected.clone(), found: before });
        }
        Ok(self.settle(id, wanted, before).await)
    }

    async fn change(&self, id: &PluginId, wanted: Wanted) -> Result<Settled, WorkspaceError> {
        let _only_one = self.changing.lock().await;
        let before = self.state(id).await?;
        Ok(self.settle(id, wanted, before).await)
    }

    /// Sends and reads back until it is known what became of it. The caller keeps other changes away.
    async fn settle(&self, id: &PluginId, wanted: Wanted, before: PluginState) -> Settled {
        let bounds = Bounds::from(self.site.client().settings());
        let (mut settling, mut step) = Settling::begin(wanted.clone(), before.clone(), bounds);
        let mut trouble = None;
        loop {
            let begun = Instant::now();
            let heard = match step {
                Step::Send(pause) => self.send_after(pause, id, &wanted).await,
                Step::ReadBack(pause) => self.read_after(pause, id).await,
                Step::Finish(outcome) => {
                    tracing::debug!(plugin = %id, ?outcome, attempts = settling.attempts(), "change settled");
                    let (after, attempts) = (settling.seen().cloned(), settling.attempts());
                    return Settled { outcome, before, after, attempts, trouble };
                }
            };
            trouble = heard.trouble.or(trouble);
            step = settling.next(heard.event, begun.elapsed());
        }
    }

    async fn send_after(&self, pause: Duration, id: &PluginId, wanted: &Wanted) -> Heard {
        tokio::time::sleep(pause).await;
        let (verb, body) = match wanted {
            Wanted::Version(version) => ("install", json!({ "version": version.as_str() })),
            Wanted::Absent => ("uninstall", json!({})),
        };
        let path = ["api", "plugins", id.as_str(), verb];
        let timeout = self.site.client().settings().change_timeout;
        match self.site.call(Method::POST, &path, Some(&body), timeout).await {
            Ok(Reply { status, message, retry_after }) => {
                if let (429, Some((name, slowed))) = (status, &self.slowed) {
                    let settings = self.site.client().settings();
                    let pause = retry_after.unwrap_or(settings.settle_pause).min(settings.retry_after);
                    // Nobody may listen any more.
                    drop(slowed.send((name.clone(), pause)));
                }
                Heard { event: Event::Answered { status, message, retry_after }, trouble: None }
            }
            Err(error) => {
                let was_sent = !matches!(error, NetError::Offline { .. } | NetError::Unreachable { .. });
                let event = if was_sent { Event::NoAnswer } else { Event::NotSent };
                Heard { event, trouble: Some(WorkspaceError::NotReached(Box::new(error))) }
            }
        }
    }

    async fn read_after(&self, pause: Duration, id: &PluginId) -> Heard {
        tokio::time::sleep(pause).await;
        // A reading asks again by itself when it is not answered; all of that must fit into the time there is.
        let limit = self.site.client().settings().settle_timeout;
        match tokio::time::timeout(limit, self.state(id)).await {
            Ok(Ok(state)) => Heard { event: Event::ReadBack(state), trouble: None },
            Ok(Err(error)) => Heard { event: Event::ReadBackFailed, trouble: Some(error) },
            Err(_) => Heard { event: Event::ReadBackFailed, trouble: None },
        }
    }

    /// Asks for something that not every server and not every token has.
    async fn told(&self, what: &'static str, path: &[&str]) -> Result<Option<Value>, WorkspaceError> {
        match self.get(what, path, &[]).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.status(), Some(401 | 403 | 404 | 500)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Servers that do not know the question have no answer to give.
    async fn errors(&self) -> Result<BTreeMap<String, String>, WorkspaceError> {
        match self.get("broken plugins", &["api", "plugins", "errors"], &[]).await {
            Ok(answer) => wire::errors(&answer),
            Err(error) if error.status() == Some(404) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, what: &'static str, path: &[&str], query: &[(&str, &str)]) -> Result<Value, WorkspaceError> {
        self.get_as(what, Form::Whole, path, query).await
    }

    async fn get_as(
        &self,
        what: &'static str,
        form: Form,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, WorkspaceError> {
        let url = || self.site.base().to_owned();
        let limit = Limits::CATALOG;
        let answer = self.site.get_as(form, path, query, limit.bytes as u64).await.map_err(|error| match error {
            NetError::Status { status: status @ (401 | 403), message, .. } => {
                WorkspaceError::Refused { url: url(), status, message }
            }
            error => WorkspaceError::NotReached(Box::new(error)),
        })?;
        let bytes = answer.document().map_or_else(Vec::new, |document| document.bytes);
        json::parse(&bytes, limit, KeyComparison::Exact).map_err(|error| match error {
            JsonError::Html => WorkspaceError::NotGrafana { url: url() },
            source => WorkspaceError::Answer { what, source },
        })
    }
}

/// What a step brought.
struct Heard {
    event: Event,
    trouble: Option<WorkspaceError>,
}

/// A 404 by Grafana says "Plugin not found, no installed plugin with that id"; one by a proxy that finds no Grafana
/// behind itself must not pass for it.
fn is_not_installed(error: &WorkspaceError) -> bool {
    match error {
        WorkspaceError::NotReached(error) => {
            let NetError::Status { status: 404, message: Some(message), .. } = error.as_ref() else { return false };
            message.to_lowercase().contains("plugin")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::settle::Failure,
        net::{Client, NetSettings},
    };
    use std::sync::Mutex as Lock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    /// A status and a body for a request line and a body.
    type ScriptedAnswer = Box<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

    /// What a scripted server was asked: request lines and bodies, in order.
    type RecordedRequests = Arc<Lock<Vec<(String, String)>>>;

    async fn serve(answer: ScriptedAnswer) -> (Grafana, RecordedRequests) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}/sub", listener.local_addr().expect("an address"));
        let heard = RecordedRequests::default();
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            let answer = Arc::new(answer);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        let moment = Duration::from_millis(5);
        let settings = NetSettings {
            tries: 2,
            backoff: moment,
            settle_pause: moment,
            settle_timeout: Duration::from_secs(1),
            ..NetSettings::default()
        };
        let client = Client::new(settings, false, None).expect("a client");
        let site = Site::new(&client, &address, None, false).expect("a site");
        (Grafana::new(site, Service::Grafana), heard)
    }

    async fn converse(mut stream: TcpStream, answer: Arc<ScriptedAnswer>, log: RecordedRequests) {
        let mut request = Vec::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap_or(0);
            request.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().and_then(|number| number.parse().ok()).unwrap_or(0));
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        };
        let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let (status, text) = answer(&line, &body);
        log.lock().expect("the log").push((line, body));
        let answer =
            format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        drop(stream.write_all(answer.as_bytes()).await);
    }

    fn posts(heard: &RecordedRequests) -> Vec<(String, String)> {
        let heard = heard.lock().expect("the log");
        heard.iter().filter(|(line, _)| line.starts_with("POST")).cloned().collect()
    }

    fn not_installed() -> (u16, String) {
        (404, r#"{"message":"Plugin not found, no installed plugin with that id"}"#.to_owned())
    }

    fn settings(version: &str) -> (u16, String) {
        (200, format!(r#"{{"id":"a-panel","info":{{"version":"{version}"}}}}"#))
    }

    fn id() -> PluginId {
        "a-panel".parse().expect("an id")
    }

    fn version() -> PluginVersion {
        "1.2.0".parse().expect("a version")
    }

    /// A workspace on which an install has its effect, whatever it answers.
    async fn effective(answered: (u16, &'static str)) -> (Grafana, RecordedRequests) {
        let installed = Lock::new(false);
        let answer = move |line: &str, _: &str| {
            let mut installed = installed.lock().expect("the state");
            match line {
                "POST /sub/api/plugins/a-panel/install" => {
                    *installed = true;
                    (answered.0, answered.1.to_owned())
                }
                "GET /sub/api/plugins/a-panel/settings" if *installed => settings("1.2.0"),
                "GET /sub/api/plugins/a-panel/settings" => not_installed(),
                _ => (200, "[]".to_owned()),
            }
        };
        serve(Box::new(answer)).await
    }

    #[tokio::test]
    async fn an_install_is_sent_once_and_read_back() {
        for answered in [(200, ""), (200, "<html>login</html>"), (502, "bad gateway")] {
            let (grafana, heard) = effective(answered).await;
            let settled = grafana.install(&id(), &version()).await.expect("settled");
            assert_eq!((settled.outcome, settled.attempts), (Outcome::Done, 1), "{answered:?}");
            assert_eq!(
                (settled.before, settled.after),
                (PluginState::Absent, Some(PluginState::Loaded { version: Some(version()) }))
            );
            assert_eq!(posts(&heard).len(), 1);
            assert_eq!(posts(&heard)[0].1, r#"{"version":"1.2.0"}"#);
            let again = grafana.install(&id(), &version()).await.expect("settled");
            assert_eq!((again.outcome, posts(&heard).len()), (Outcome::Unchanged, 1));
        }
    }

    #[tokio::test]
    async fn w22_nothing_is_sent_over_what_somebody_else_put_there() {
        let answer = |line: &str, _: &str| match line {
            line if line.ends_with("/settings") => settings("1.1.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, heard) = serve(Box::new(answer)).await;
        let id = id();
        let expected = [Expected::Absent, Expected::Version("1.0.0".parse().expect("a version"))];
        for expected in expected {
            let error = grafana.change_expecting(&id, Wanted::Version(version()), &expected).await.expect_err("drift");
            assert!(matches!(error, ChangeError::Drifted { .. }), "{error}");
            let there = Wanted::Version("1.1.0".parse().expect("a version"));
            let settled = grafana.change_expecting(&id, there, &expected).await.expect("as wanted");
            assert_eq!(settled.outcome, Outcome::Unchanged);
        }
        assert_eq!(posts(&heard), []);
        let expected = Expected::Version("1.1.0".parse().expect("a version"));
        let settled = grafana.change_expecting(&id, Wanted::Version(version()), &expected).await.expect("sent");
        assert_eq!((settled.attempts, posts(&heard).len()), (1, 1));
    }

    #[tokio::test]
    async fn w27_a_login_page_is_no_success() {
        let answer = |line: &str, _: &str| match line {
            line if line.starts_with("POST") => (200, "<html>login</html>".to_owned()),
            line if line.ends_with("/settings") => settings("1.0.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, heard) = serve(Box::new(answer)).await;
        let settled = grafana.install(&id(), &version()).await.expect("settled");
        assert!(matches!(settled.outcome, Outcome::Failed(Failure::NoEffect { .. })), "{:?}", settled.outcome);
        assert_eq!(posts(&heard).len(), 1);
    }

    #[tokio::test]
    async fn a_refusal_says_what_the_workspace_said() {
        let answer = |line: &str, _: &str| match line {
            line if line.starts_with("POST") => (403, r#"{"message":"Cannot uninstall a Core plugin"}"#.to_owned()),
            line if line.ends_with("/settings") => settings("1.0.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let settled = grafana.uninstall(&id()).await.expect("settled");
        let Outcome::Failed(failure) = settled.outcome else { panic!("{:?}", settled.outcome) };
        assert!(failure.to_string().contains("Cannot uninstall a Core plugin"), "{failure}");
    }

    #[tokio::test]
    async fn a_broken_plugin_is_told_from_an_absent_one() {
        let answer = |line: &str, _: &str| match line {
            "GET /sub/api/plugins/errors" => {
                (200, r#"[{"pluginId":"a-panel","errorCode":"signatureInvalid"}]"#.to_owned())
            }
            _ => not_installed(),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let wanted = PluginState::Broken { code: "signatureInvalid".into(), version: None };
        assert_eq!(grafana.state(&id()).await.expect("a state"), wanted);
        assert_eq!(grafana.state(&"b-panel".parse().expect("an id")).await.expect("a state"), PluginState::Absent);
    }

    #[tokio::test]
    async fn the_404_of_a_proxy_is_not_an_absent_plugin() {
        for page in ["<html>404</html>", "404 page not found", "", r#"{"message":"no such app"}"#] {
            let (grafana, heard) = serve(Box::new(move |_, _| (404, page.to_owned()))).await;
            assert!(grafana.state(&id()).await.is_err(), "{page}");
            assert!(grafana.uninstall(&id()).await.is_err() && posts(&heard).is_empty(), "{page}");
        }
    }

    #[tokio::test]
    async fn changes_to_one_workspace_wait_for_each_other() {
        let (grafana, heard) = effective((200, "")).await;
        let other = grafana.clone();
        let (id, version) = (id(), version());
        let (first, second) = tokio::join!(grafana.install(&id, &version), other.install(&id, &version));
        assert_eq!(first.expect("settled").outcome, Outcome::Done);
        // The second one looked only after the first was through.
        assert_eq!(second.expect("settled").outcome, Outcome::Unchanged);
        assert_eq!(posts(&heard).len(), 1);
    }

    #[tokio::test]
    async fn the_version_is_found_on_either_page() {
        let settings = r#"{"buildInfo":{"version":"12.1.0"}}"#;
        let health = r#"{"database":"ok","version":"11.0.0"}"#;
        for (told, wanted) in [((200, settings), "12.1.0"), ((403, ""), "11.0.0"), ((200, "{}"), "11.0.0")] {
            let answer = move |line: &str, _: &str| match line {
                "GET /sub/api/frontend/settings" => (told.0, told.1.to_owned()),
                _ => (200, health.to_owned()),
            };
            let (grafana, _) = serve(Box::new(answer)).await;
            assert_eq!(grafana.grafana_version().await.expect("a version").to_string(), wanted);
        }
        let (grafana, _) = serve(Box::new(|_, _| (200, "<html>login</html>".to_owned()))).await;
        assert!(matches!(grafana.grafana_version().await, Err(WorkspaceError::NotGrafana { .. })));
    }

    #[tokio::test]
    async fn a_token_without_a_user_has_an_identity_and_a_wrong_one_has_none() {
        let answer = |line: &str, _: &str| match line {
            "GET /sub/api/org" => (200, r#"{"id":1,"name":"Main Org."}"#.to_owned()),
            "GET /sub/api/access-control/user/permissions" => (200, r#"{"plugins:install":[""]}"#.to_owned()),
            "GET /sub/api/frontend/settings" => (200, r#"{"pluginAdminEnabled":true}"#.to_owned()),
            _ => (404, r#"{"message":"user not found"}"#.to_owned()),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let identity = grafana.identity().await.expect("an identity");
        assert_eq!((identity.login, identity.may_install), (None, MayInstall::Yes));
        let (grafana, _) = serve(Box::new(|_, _| (401, r#"{"message":"Invalid API key"}"#.to_owned()))).await;
        let error = grafana.identity().await.expect_err("refused");
        assert!(matches!(error, WorkspaceError::Refused { status: 401, .. }), "{error}");
    }
}
