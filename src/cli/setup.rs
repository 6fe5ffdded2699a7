//! From global arguments, the environment and the manifest to what every command works with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anstream::ColorChoice;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure,
    signals::ROLLOUT_GRACE,
    ui::{Format, Ui},
};
use crate::{
    archive::ArchiveLimits,
    diagnostic::{Chain, Kind},
    fleet::{
        Manifest,
        aws::{AccountTokens, Leftover},
        manifest::{Endpoint, KeySource, Login, Signatures, Source},
    },
    home::Home,
    index::Index,
    journal::{Operator, StopAfter},
    model::Timestamp,
    net::Client,
    ops::{
        Context, ContextParts,
        keys::{self, UpstreamKeys},
        rollout::{Interrupt, RolloutOptions},
        sources::{KnownSource, Sources},
        trust::Trust,
    },
    signature::{Enforcement, Keyring},
    upstream::Upstream,
};

/// Arguments that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct GlobalArgs {
    /// The folder with the index and the packages [default: ./cache if it exists, otherwise the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "PLUGPORT_CACHE")]
    cache: Option<PathBuf>,
    /// The manifest [default: ./plugport.toml]
    #[arg(long, global = true, value_name = "FILE", env = "PLUGPORT_CONFIG")]
    config: Option<PathBuf>,
    /// Open no network connection
    #[arg(long, global = true)]
    offline: bool,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Draw no progress bars
    #[arg(long, global = true)]
    no_progress: bool,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print more; given twice, print every request on stderr
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Color,
    /// Trust only the OpenPGP keys in this file; the built-in Grafana key is not used
    #[arg(long, global = true, value_name = "FILE", env = "PLUGPORT_TRUSTED_KEY")]
    trusted_key: Option<PathBuf>,
    /// Also trust the CA certificates in this PEM file
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl GlobalArgs {
    /// Returns how to speak.
    pub(super) fn ui(&self, events: bool) -> Ui {
        let color = match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let format = match (events, self.json) {
            (true, _) => Format::Events,
            (false, true) => Format::Json,
            (false, false) => Format::Text,
        };
        Ui { format, quiet: self.quiet, progress: !self.no_progress, color }
    }

    /// Starts the log on stderr, as talkative as was asked for.
    pub(super) fn start_log(&self) {
        let level = match self.verbose {
            0 => return,
            1 => tracing::Level::INFO,
            _ => tracing::Level::DEBUG,
        };
        // Only our own events: those of libraries may show headers.
        let ours = tracing_subscriber::filter::Targets::new().with_target("plugport", level);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(
            tracing_subscriber::registry(),
            tracing_subscriber::Layer::with_filter(lines, ours),
        );
        drop(tracing::subscriber::set_global_default(subscriber));
    }

    fn cache(&self) -> Result<PathBuf, Failure> {
        if let Some(cache) = &self.cache {
            return Ok(cache.clone());
        }
        let here = PathBuf::from("cache");
        if here.is_dir() {
            return Ok(here);
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        base.map(|base| base.join("plugport")).ok_or_else(|| {
            Failure::usage("there is no folder to keep the catalog in", "name one with `--cache DIR` or PLUGPORT_CACHE")
        })
    }

    fn manifest(&self) -> Result<Manifest, Failure> {
        Ok(match &self.config {
            Some(path) => Manifest::load(path)?,
            None => Manifest::load_or_default(&self.manifest_path())?,
        })
    }

    fn manifest_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from("plugport.toml"))
    }

    /// Returns the source whose keys are believed beside the built-in one; `--trusted-key` means its keys alone.
    fn keys_source(&self, manifest: &Manifest) -> Result<Option<String>, Failure> {
        let wanted = self.trusted_key.is_none() && manifest.trust().keys == KeySource::Upstream;
        Ok(if wanted { Some(location(manifest, &manifest.catalog().source)?) } else { None })
    }

    fn trust(&self, manifest: &Manifest, kept: Option<&UpstreamKeys>) -> Result<Trust, Failure> {
        let keyring = match (&self.trusted_key, kept) {
            (Some(path), _) => Trust::keys_of(path)?,
            (None, Some(kept)) => kept.keyring.clone(),
            (None, None) => Keyring::grafana(),
        };
        let enforcement = match manifest.trust().signatures {
            Signatures::Require => Enforcement::Require,
            Signatures::Warn => Enforcement::Warn,
            Signatures::Off => Enforcement::Off,
        };
        Ok(Trust { keyring, enforcement, unsigned: manifest.trust().unsigned.clone() })
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.ca_cert else { return Ok(None) };
        std::fs::read(path).map(Some).map_err(|source| {
            let message = format!("the authorities in `{}` cannot be read: {source}", path.display());
            Failure::usage(message, "`--ca-cert` names a file of certificates in PEM form")
        })
    }
}

/// For tests alone: ends the process by itself after so many entries of the journal, see [`StopAfter`].
const STOP_AFTER: &str = "PLUGPORT_TEST_STOP_AFTER";

/// What every command works with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) context: Context,
    pub(super) manifest: Manifest,
    /// Where the manifest is, or would be.
    pub(super) manifest_path: PathBuf,
    /// Whether the JSON document is wanted: a large one is not made for nothing.
    pub(super) wants_document: bool,
    /// Whether people want to be told more.
    pub(super) verbose: bool,
    /// How to speak.
    pub(super) ui: Ui,
    /// Who may want a rollout to end.
    pub(super) interrupt: Arc<Interrupt>,
    /// The tokens that this run made, to be deleted at its end.
    pub(super) tokens: Arc<AccountTokens>,
    sources: Sources,
    keys: Option<KeysOf>,
}

/// Whose keys are believed beside the built-in one.
#[derive(Debug)]
struct KeysOf {
    /// The upstream.
    source: String,
    /// What is to be told of those that were kept.
    remarks: Vec<String>,
}

impl Session {
    pub(super) fn open(
        globals: &GlobalArgs,
        ui: Ui,
        command: &str,
        interrupt: Arc<Interrupt>,
    ) -> Result<Self, Failure> {
        let manifest = globals.manifest()?;
        let authorities = globals.authorities()?;
        let client = Client::new(manifest.network().clone(), globals.offline, authorities.as_deref())?;
        let tokens = Arc::new(AccountTokens::new(client.clone(), now));
        let sources = Sources::new(client.clone(), known_sources(&manifest), environment, Arc::clone(&tokens));
        let (home, source) = (Home::new(globals.cache()?), globals.keys_source(&manifest)?);
        let kept = source.as_deref().map(|source| keys::kept(&home, source));
        let context = Context::new(ContextParts {
            home,
            client,
            clock: now,
            reporter: ui.reporter(),
            limits: ArchiveLimits::default(),
            trust: Arc::new(globals.trust(&manifest, kept.as_ref())?),
            command: command.to_owned(),
        });
        let remarks = kept.map(|kept| kept.remarks).unwrap_or_default();
        let keys = source.map(|source| KeysOf { source, remarks });
        let manifest_path = globals.manifest_path();
        let wants_document = ui.format != Format::Text;
        let verbose = globals.verbose > 0;
        Ok(Self { context, manifest, manifest_path, wants_document, verbose, ui, interrupt, tokens, sources, keys })
    }

    /// Returns how a rollout is carried out.
    pub(super) fn rollout_options(&self, take_lock: Option<String>, no_way_back: bool) -> RolloutOptions {
        let user = environment("USER").or_else(|| environment("LOGNAME")).filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        RolloutOptions {
            operator: Operator { user, host, pid: std::process::id() },
            take_lock,
            no_way_back,
            manifest: Arc::new(self.manifest.clone()),
            grace: ROLLOUT_GRACE,
            environment,
            stop: environment(STOP_AFTER).as_deref().and_then(StopAfter::parse),
        }
    }

    /// Deletes the tokens that this run made, within a time; returns what is to be told of those that stay.
    pub(super) async fn give_back(&self, limit: Duration) -> Vec<String> {
        let Ok(leftovers) = tokio::time::timeout(limit, self.tokens.delete_all()).await else {
            return vec![
                "note: not every token that was made for this run is deleted: they expire by themselves".to_owned(),
            ];
        };
        let told = |left: Leftover| {
            let Leftover { workspace, account, name, error } = left;
            let error = Chain(&error);
            format!(
                "note: the token `{name}` of the service account {account} of {workspace} is not deleted and expires by \
                 itself: {error}"
            )
        };
        leftovers.into_iter().map(told).collect()
    }

    /// Returns what is to be told of the keys that were kept.
    pub(super) fn key_remarks(&self) -> Vec<String> {
        let remarks = self.keys.iter().flat_map(|keys| &keys.remarks);
        remarks.map(|remark| format!("note: {remark}")).collect()
    }

    /// Returns what to work with once the upstream's keys were read anew, where they are believed and there is a network;
    /// and what is to be told of them. Without an answer those hold that were read before.
    pub(super) async fn with_fresh_keys(&self) -> (Context, Vec<String>) {
        let (context, kept) = (self.context.clone(), self.key_remarks());
        let Some(KeysOf { source, .. }) = self.keys.as_ref().filter(|_| !context.client.is_offline()) else {
            return (context, kept);
        };
        match keys::read(&context, &self.sources, source).await {
            Ok(UpstreamKeys { keyring, remarks }) => {
                let trust = Trust { keyring, ..Trust::clone(&context.trust) };
                (context.with_trust(trust), remarks.iter().map(|remark| format!("note: {remark}")).collect())
            }
            Err(error) => {
                let remark = format!("note: the upstream's keys could not be read anew: {}", Chain(&error));
                (context, kept.into_iter().chain([remark]).collect())
            }
        }
    }

    /// Returns the index for reading.
    pub(super) fn index(&self) -> Result<Index, Failure> {
        Ok(Index::open_existing(&self.context.home.index_path())?)
    }

    /// Returns the upstreams that are known.
    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the time after which a version is too new (`trust.min-release-age`), or nothing where none is.
    pub(super) fn published_before(&self) -> Option<Timestamp> {
        let age = i64::try_from(self.manifest.trust().min_release_age.as_millis()).unwrap_or(i64::MAX);
        (age > 0).then(|| Timestamp::from_milliseconds(self.context.now().as_milliseconds().saturating_sub(age)))
    }

    /// Returns the upstream that was named, or that of the manifest.
    pub(super) async fn upstream(&self, named: Option<&str>) -> Result<Arc<Upstream>, Failure> {
        let source = match named {
            Some(text) => text.parse::<Source>()?,
            None => self.manifest.catalog().source.clone(),
        };
        Ok(self.sources.open(&location(&self.manifest, &source)?).await?)
    }
}

/// Returns the address or the path of a source.
fn location(manifest: &Manifest, source: &Source) -> Result<String, Failure> {
    Ok(match source {
        Source::Workspace(name) => gnet(&manifest.workspace(name)?.place_text()),
        Source::Url(address) => address.clone(),
        Source::Path(path) => path.display().to_string(),
    })
}

/// Returns the address of the catalog that a Grafana passes on (protocol page 4).
fn gnet(address: &str) -> String {
    format!("{}/api/gnet", address.trim_end_matches('/'))
}

/// Returns what the manifest says of addresses: its catalog's, and that of every workspace as a catalog.
fn known_sources(manifest: &Manifest) -> Vec<KnownSource> {
    let catalog = manifest.catalog();
    let own = match &catalog.source {
        Source::Url(address) => Some(KnownSource {
            location: address.trim_end_matches('/').trim_end_matches("/plugins").to_owned(),
            login: catalog.token.clone().map(Login::Token),
            allow_http: catalog.allow_http,
        }),
        _ => None,
    };
    let of_workspaces = manifest.workspaces().iter().filter_map(|workspace| match workspace.place() {
        Endpoint::Server { allow_http, login, .. } => Some(KnownSource {
            location: gnet(&workspace.place_text()),
            login: Some(login.clone()),
            allow_http: *allow_http,
        }),
        Endpoint::Directory { .. } => None,
    });
    own.into_iter().chain(of_workspaces).collect()
}

/// Looks up a variable that a secret is in.
#[expect(clippy::disallowed_methods, reason = "here is where the environment enters")]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn now() -> Timestamp {
    Timestamp::from_milliseconds(jiff::Timestamp::now().as_millisecond())
}

/// Returns an outcome as the document that `--json` prints.
pub(super) fn to_document(outcome: &impl Serialize) -> Value {
    serde_json::to_value(outcome).unwrap_or_default()
}

/// Returns the failure of a machine that has no threads or files left.
pub(super) fn no_runtime(source: &std::io::Error) -> Failure {
    Failure { kind: Kind::Failed, message: format!("the program cannot start: {source}"), hint: None }
}
