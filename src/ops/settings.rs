//! From the manifest and what the caller decides to what operations work with: trust, sources, credentials.
//!
//! *Invariant:* nothing here asks for the environment, the time or a folder of its own accord: they come in as data.
//! *Not for:* flags and their names.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::{
    Context, ContextParts,
    keys::{self, UpstreamKeys},
    sources::{Sources, known_sources, location},
    trust::Trust,
};
use crate::{
    archive::ArchiveLimits,
    diagnostic::Chain,
    fleet::{
        Manifest, Target, Workspace,
        access::RunSecrets,
        manifest::{KeySource, SelectError},
    },
    home::Home,
    model::Timestamp,
    net::{Client, NetError, Proxies},
    progress::Reporter,
    signature::Keyring,
};

/// How many workspaces are connected side by side.
const CONNECTED: usize = 16;

/// What the caller decides for one run, beside the manifest.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The cache folder.
    pub home: Home,
    /// Open no socket at all.
    pub offline: bool,
    /// The longest wait for the answer to a reading, in place of that of the manifest.
    pub timeout: Option<Duration>,
    /// CA certificates in PEM form, trusted beside those of the system.
    pub ca_certificates: Option<Vec<u8>>,
    /// The only keys to trust, in place of the built-in ones and those of the upstream.
    pub trusted_keys: Option<Keyring>,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// Receives progress.
    pub reporter: Arc<dyn Reporter>,
    /// Looks up the variables that secrets are in.
    pub environment: fn(&str) -> Option<String>,
    /// The name of the command, shown to other processes that find the cache locked.
    pub command: String,
}

/// What one run works with. Making it opens no socket, no index and no store.
#[derive(Debug)]
pub(crate) struct Services {
    /// For operations.
    pub context: Context,
    /// The upstreams that the manifest knows, and any other by its address.
    pub sources: Sources,
    /// The tokens that this run made, to be deleted at its end.
    pub tokens: Arc<RunSecrets>,
    environment: fn(&str) -> Option<String>,
    upstream_keys: Option<TrustedUpstream>,
}

/// The upstream whose keys are trusted beside the built-in one.
#[derive(Debug)]
struct TrustedUpstream {
    source: String,
    /// About the keys that were kept from the last time.
    notes: Vec<String>,
}

/// The settings and the manifest do not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The CA certificates cannot be used.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The catalog comes from a workspace that the manifest does not have.
    #[error(transparent)]
    Source(#[from] SelectError),
}

crate::diagnostic::diagnose!(SettingsError { forward Network, Source; });

impl Services {
    /// Makes what a run works with. Reads the kept keys of the upstream if the manifest trusts them.
    pub(crate) fn new(manifest: &Manifest, settings: Settings) -> Result<Self, SettingsError> {
        let (proxies, certificates) = (Proxies::from_environment(&settings.environment), settings.ca_certificates);
        let mut network = manifest.network().clone();
        if let Some(timeout) = settings.timeout {
            network.header_timeout = timeout;
            network.connect_timeout = network.connect_timeout.min(timeout);
        }
        let client = Client::behind(proxies, network, settings.offline, certificates.as_deref())?;
        let tokens = Arc::new(RunSecrets::new(client.clone(), settings.clock));
        let environment = settings.environment;
        let sources = Sources::new(client.clone(), known_sources(manifest), environment, Arc::clone(&tokens))
            .with_bundle_keys(manifest.trust().bundle_keys.clone());
        let source = trusted_upstream(manifest, settings.trusted_keys.is_some())?;
        let kept = source.map(|source| (keys::kept(&settings.home, &source), source));
        let keyring = match (settings.trusted_keys, &kept) {
            (Some(trusted), _) => trusted,
            (None, Some((kept, _))) => kept.keyring.clone(),
            (None, None) => Keyring::grafana(),
        };
        let context = Context::new(ContextParts {
            home: settings.home,
            client,
            clock: settings.clock,
            reporter: settings.reporter,
            limits: ArchiveLimits::default(),
            trust: Arc::new(Trust::from_manifest(manifest.trust(), keyring)),
            command: settings.command,
        });
        let upstream_keys = kept.map(|(kept, source)| TrustedUpstream { source, notes: kept.notes });
        Ok(Self { context, sources, tokens, environment, upstream_keys })
    }

    /// Returns what there is to say about the upstream's keys that were kept.
    pub(crate) fn key_notes(&self) -> &[String] {
        self.upstream_keys.as_ref().map_or(&[], |upstream| &upstream.notes)
    }

    /// Returns the context with the upstream's keys read anew, if the manifest trusts them and there is a network, and what
    /// there is to say about them. Without an answer the kept keys count.
    pub(crate) async fn with_fresh_keys(&self) -> (Context, Vec<String>) {
        let (context, notes) = (self.context.clone(), self.key_notes().to_vec());
        let Some(upstream) = self.upstream_keys.as_ref().filter(|_| !context.client.is_offline()) else {
            return (context, notes);
        };
        match keys::read(&context, &self.sources, &upstream.source).await {
            Ok(UpstreamKeys { keyring, notes }) => {
                let trust = Trust { keyring, ..Trust::clone(&context.trust) };
                (context.with_trust(trust), notes)
            }
            Err(error) => {
                let note = format!("the upstream's keys could not be read anew: {}", Chain(&error));
                (context, notes.into_iter().chain([note]).collect())
            }
        }
    }

    /// Fetches the secret of a workspace and connects to it. Sends nothing to the workspace.
    pub(crate) async fn connect(&self, workspace: &Workspace) -> Target {
        Target::connect(workspace, &self.context.client, &self.environment, &self.tokens).await
    }

    /// Connects to several workspaces side by side, since a program that prints a token may take seconds; in their order.
    pub(crate) async fn connect_all(&self, workspaces: Vec<&Workspace>) -> Vec<Target> {
        stream::iter(workspaces).map(|workspace| self.connect(workspace)).buffered(CONNECTED).collect().await
    }
}

/// Returns the source whose keys are trusted beside the built-in one; keys that were named for the run stand alone.
fn trusted_upstream(manifest: &Manifest, has_trusted_keys: bool) -> Result<Option<String>, SelectError> {
    let wanted = !has_trusted_keys && manifest.trust().keys == KeySource::Upstream;
    if wanted { location(manifest, &manifest.catalog().source).map(Some) } else { Ok(None) }
}

/// Returns the cache folder if none is named: `here` if that is a folder, else the user's (`XDG_CACHE_HOME`, or
/// `.cache` in `HOME`); `None` if there is no home folder either.
pub(crate) fn default_cache(
    here: Option<PathBuf>,
    xdg_cache: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
    let user = || xdg_cache.filter(is_set).or_else(|| Some(home.filter(is_set)?.join(".cache")));
    here.or_else(|| Some(user()?.join("plugport")))
}

/// Returns the time after which a version is too new (`trust.min-release-age`), or `None` if the age does not matter.
pub(crate) fn published_before(manifest: &Manifest, now: Timestamp) -> Option<Timestamp> {
    let age = i64::try_from(manifest.trust().min_release_age.as_millis()).unwrap_or(i64::MAX);
    (age > 0).then(|| Timestamp::from_milliseconds(now.as_milliseconds().saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(text, Path::new("plugport.toml")).expect("sound")
    }

    #[test]
    fn the_cache_is_here_or_the_users() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(default_cache(path("cache"), path("/x"), path("/home/me")), path("cache"));
        assert_eq!(default_cache(None, path("/x"), path("/home/me")), path("/x/plugport"));
        assert_eq!(default_cache(None, path(""), path("/home/me")), path("/home/me/.cache/plugport"));
        assert_eq!(default_cache(None, None, path("")), None);
    }

    #[test]
    fn an_age_is_counted_back_from_now() {
        let now = Timestamp::from_milliseconds(86_400_000 * 10);
        assert_eq!(published_before(&Manifest::default(), now), None);
        let three_days = manifest("[trust]\nmin-release-age = \"3d\"\n");
        assert_eq!(published_before(&three_days, now), Some(Timestamp::from_milliseconds(86_400_000 * 7)));
    }

    #[test]
    fn keys_that_are_named_stand_alone() {
        let upstream = manifest("[trust]\nkeys = \"upstream\"\n");
        assert_eq!(trusted_upstream(&upstream, true).expect("none"), None);
        assert!(trusted_upstream(&upstream, false).expect("one").is_some_and(|source| source.starts_with("https://")));
        assert_eq!(trusted_upstream(&Manifest::default(), false).expect("none"), None);
    }
}
