//! From global arguments and the environment to what commands work with, opened when a command first asks for it.
//!
//! *Invariant:* a command that needs neither manifest nor cache reads neither, so it also works where they are broken.
//! *Not for:* what the manifest means for trust and sources, which `ops::settings` knows.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anstream::ColorChoice;
use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure,
    bars::reporter,
    lookup,
    signals::ROLLOUT_GRACE,
    table::Shape,
    ui::{Format, Ui},
};
use crate::{
    diagnostic::{Chain, Kind},
    duration,
    fleet::{Manifest, aws::Leftover, manifest::Source},
    home::Home,
    index::IndexHandle,
    journal::{Operator, StopAfter},
    model::{DenyList, Timestamp},
    ops::{
        Context,
        rollout::{Interrupt, RolloutOptions},
        settings::{self, Services, Settings},
        sources::{Sources, location},
        trust::Trust,
    },
    signature::Keyring,
    upstream::Upstream,
};

/// Arguments that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct GlobalArgs {
    /// The folder with the index and the packages [default: ./cache if it is one, otherwise the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "PLUGPORT_CACHE", value_parser = path())]
    cache: Option<PathBuf>,
    /// The manifest [default: plugport.toml here, or in the nearest folder above]
    #[arg(long, global = true, value_name = "FILE", env = "PLUGPORT_CONFIG", value_parser = path())]
    config: Option<PathBuf>,
    /// Open no network connection
    #[arg(long, global = true)]
    offline: bool,
    /// The longest wait for the answer to a request that reads, like `3s` [default: `header-timeout` of the manifest, 10s]
    #[arg(long, global = true, value_name = "D", value_parser = timeout)]
    timeout: Option<Duration>,
    /// Print one JSON document on stdout: `-o json`
    #[arg(long, global = true)]
    json: bool,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT",
        conflicts_with = "json"
    )]
    output: Output,
    /// Print only these columns of tables, in this order
    #[arg(long, global = true, value_name = "NAME,...", value_delimiter = ',')]
    pub(super) columns: Vec<String>,
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
    #[arg(long, global = true, value_name = "FILE", env = "PLUGPORT_TRUSTED_KEY", value_parser = path())]
    trusted_key: Option<PathBuf>,
    /// Also trust the CA certificates in this PEM file
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Output {
    /// Tables as wide as the terminal
    Table,
    /// Tables as wide as they need to be
    Wide,
    /// Comma-separated values
    Csv,
    /// Markdown
    Md,
    /// One JSON document
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl GlobalArgs {
    /// Returns how to print.
    pub(super) fn ui(&self, stream: Option<Format>) -> Ui {
        let color = match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let format = match (stream, self.json || self.output == Output::Json) {
            (Some(stream), _) => stream,
            (None, true) => Format::Json,
            (None, false) => Format::Text,
        };
        let shape = match self.output {
            Output::Table | Output::Json => Shape::Fit,
            Output::Wide => Shape::Wide,
            Output::Csv => Shape::Csv,
            Output::Md => Shape::Markdown,
        };
        Ui { format, shape, quiet: self.quiet, progress: !self.no_progress, color }
    }

    /// Starts the log on stderr, at the level of `-v`.
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

    /// Takes an empty value for none: a variable of the environment that is empty is not set.
    pub(super) fn unset_empty(&mut self) {
        for path in [&mut self.cache, &mut self.config, &mut self.trusted_key] {
            drop(path.take_if(|path| path.as_os_str().is_empty()));
        }
    }

    fn cache(&self) -> Result<PathBuf, Failure> {
        if let Some(cache) = &self.cache {
            return Ok(cache.clone());
        }
        let here = Some(PathBuf::from("cache")).filter(|here| lookup::is_cache(here));
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        settings::default_cache(here, variable("XDG_CACHE_HOME"), variable("HOME")).ok_or_else(|| {
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
        self.config.clone().unwrap_or_else(lookup::manifest)
    }

    fn trusted_keys(&self) -> Result<Option<Keyring>, Failure> {
        Ok(self.trusted_key.as_deref().map(Trust::read_keys).transpose()?)
    }

    fn ca_certificates(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.ca_cert else { return Ok(None) };
        std::fs::read(path).map(Some).map_err(|source| {
            let message = format!("the CA certificates in `{}` cannot be read: {source}", path.display());
            Failure::usage(message, "`--ca-cert` names a file of certificates in PEM form")
        })
    }
}

/// For tests alone: ends the process by itself after so many entries of the journal, see [`StopAfter`].
const STOP_AFTER: &str = "PLUGPORT_TEST_STOP_AFTER";

/// What commands work with. Nothing is read or opened before a command asks for it.
#[derive(Debug)]
pub(super) struct Session {
    globals: GlobalArgs,
    command: &'static str,
    /// Where the manifest is, or would be.
    pub(super) manifest_path: PathBuf,
    /// Whether the JSON document is wanted: a large one is not made for nothing.
    pub(super) wants_document: bool,
    /// Whether more detail is wanted.
    pub(super) verbose: bool,
    /// How to print.
    pub(super) ui: Ui,
    /// Asks a rollout to end.
    pub(super) interrupt: Arc<Interrupt>,
    manifest: OnceLock<Manifest>,
    home: OnceLock<Home>,
    index: OnceLock<IndexHandle>,
    services: OnceLock<Services>,
}

impl Session {
    pub(super) fn new(globals: &GlobalArgs, ui: Ui, command: &'static str, interrupt: Arc<Interrupt>) -> Self {
        Self {
            globals: globals.clone(),
            command,
            manifest_path: globals.manifest_path(),
            wants_document: ui.format != Format::Text,
            verbose: globals.verbose > 0,
            ui,
            interrupt,
            manifest: OnceLock::new(),
            home: OnceLock::new(),
            index: OnceLock::new(),
            services: OnceLock::new(),
        }
    }

    /// Returns where a first manifest is written: the named file, or one in this folder.
    pub(super) fn first_manifest_path(&self) -> PathBuf {
        self.globals.config.clone().unwrap_or_else(|| PathBuf::from("plugport.toml"))
    }

    /// Returns the manifest; without a file the default one.
    pub(super) fn manifest(&self) -> Result<&Manifest, Failure> {
        // `init --config FILE` writes the file that is named.
        let is_written = self.command == "init";
        once(&self.manifest, || {
            if is_written {
                Ok(Manifest::load_or_default(&self.first_manifest_path())?)
            } else {
                self.globals.manifest()
            }
        })
    }

    /// Returns the cache folder.
    pub(super) fn home(&self) -> Result<&Home, Failure> {
        once(&self.home, || Ok(Home::new(self.globals.cache()?)))
    }

    /// Returns the index, for commands that need nothing else of the cache.
    pub(super) fn index(&self) -> Result<&IndexHandle, Failure> {
        once(&self.index, || {
            // What only reads the catalog works without a sound manifest too.
            let denied = self.manifest().map(|manifest| DenyList::new(manifest.trust().deny.clone()));
            Ok(IndexHandle::new(self.home()?.index_path()).denying(Arc::new(denied.unwrap_or_default())))
        })
    }

    /// Returns what commands need that go by the manifest.
    pub(super) fn services(&self) -> Result<&Services, Failure> {
        once(&self.services, || {
            let settings = Settings {
                ca_certificates: self.globals.ca_certificates()?,
                offline: self.globals.offline,
                timeout: self.globals.timeout,
                home: self.home()?.clone(),
                trusted_keys: self.globals.trusted_keys()?,
                clock: now,
                reporter: reporter(self.ui),
                environment,
                command: self.command.to_owned(),
            };
            Ok(Services::new(self.manifest()?, settings)?)
        })
    }

    /// Returns what operations work with.
    pub(super) fn context(&self) -> Result<&Context, Failure> {
        Ok(&self.services()?.context)
    }

    /// Returns the upstreams that are known.
    pub(super) fn sources(&self) -> Result<&Sources, Failure> {
        Ok(&self.services()?.sources)
    }

    /// Returns whether no socket may be opened to others.
    pub(super) fn is_offline(&self) -> bool {
        self.globals.offline
    }

    /// Returns the file of `--trusted-key`, if one is named.
    pub(super) fn trusted_key_file(&self) -> Result<Option<Vec<u8>>, Failure> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| {
                let message = format!("the keys in `{}` cannot be read: {source}", path.display());
                Failure::usage(message, "`--trusted-key` names a file of OpenPGP public keys in text form")
            })
        };
        self.globals.trusted_key.as_ref().map(read).transpose()
    }

    /// Returns how a rollout is carried out.
    pub(super) fn rollout_options(
        &self,
        take_lock: Option<String>,
        no_way_back: bool,
    ) -> Result<RolloutOptions, Failure> {
        Ok(RolloutOptions {
            operator: operator(),
            take_lock,
            no_way_back,
            manifest: Arc::new(self.manifest()?.clone()),
            wait: false,
            grace: ROLLOUT_GRACE,
            environment,
            secrets: Arc::clone(&self.services()?.tokens),
            stop: environment(STOP_AFTER).as_deref().and_then(StopAfter::parse),
        })
    }

    /// Deletes the tokens that this run made, within `limit`; returns notes about those that stay.
    pub(super) async fn delete_tokens(&self, limit: Duration) -> Vec<String> {
        let Some(services) = self.services.get() else { return Vec::new() };
        let Ok(leftovers) = tokio::time::timeout(limit, services.tokens.delete_all()).await else {
            return vec![
                "note: not every token that was made for this run is deleted: they expire by themselves".to_owned(),
            ];
        };
        let note = |left: Leftover| {
            let Leftover { workspace, account, name, error } = left;
            let error = Chain(&error);
            format!(
                "note: the token `{name}` of the service account {account} of {workspace} is not deleted and expires by \
                 itself: {error}"
            )
        };
        leftovers.into_iter().map(note).collect()
    }

    /// Returns the names of what is waited for now.
    pub(super) fn awaited(&self) -> Vec<String> {
        self.services.get().map(|services| services.context.reporter.awaited()).unwrap_or_default()
    }

    /// Returns notes about the upstream's keys that were kept.
    pub(super) fn key_notes(&self) -> Result<Vec<String>, Failure> {
        Ok(self.services()?.key_notes().iter().map(|note| format!("note: {note}")).collect())
    }

    /// Returns the context with the upstream's keys read anew, if the manifest trusts them, and notes about them.
    pub(super) async fn with_fresh_keys(&self) -> Result<(Context, Vec<String>), Failure> {
        let (context, notes) = self.services()?.with_fresh_keys().await;
        Ok((context, notes.iter().map(|note| format!("note: {note}")).collect()))
    }

    /// Returns the time after which a version is too new (`trust.min-release-age`), or `None` if the age does not matter.
    pub(super) fn published_before(&self) -> Result<Option<Timestamp>, Failure> {
        Ok(settings::published_before(self.manifest()?, now()))
    }

    /// Returns the upstream that was named, or that of the manifest.
    pub(super) async fn upstream(&self, named: Option<&str>) -> Result<Arc<Upstream>, Failure> {
        let source = match named {
            Some(text) => text.parse::<Source>()?,
            None => self.manifest()?.catalog().source.clone(),
        };
        Ok(self.sources()?.open(&location(self.manifest()?, &source)?).await?)
    }
}

/// Reads a path, also an empty one: see [`GlobalArgs::unset_empty`].
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads a length of time that is not zero.
fn timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("no answer comes within no time".to_owned()),
        read => read.map_err(|error| error.to_string()),
    }
}

/// Returns what is in `place`, made now if nothing is.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// Looks up a variable that a secret is in.
#[expect(clippy::disallowed_methods, reason = "here is where the environment enters")]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns who runs the program.
pub(super) fn operator() -> Operator {
    let user = environment("USER").or_else(|| environment("LOGNAME")).filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Operator { user, host, pid: std::process::id() }
}

/// Returns the time of the machine.
pub(super) fn now() -> Timestamp {
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
