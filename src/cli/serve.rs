//! `plugport serve`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Report, Session, failure::kind_name, fetch::mirror_options, supervisor, ui};
use crate::{
    fleet::{
        manifest::{GuardedPart, ServeSection},
        reference::SecretReference,
    },
    mirror::{Links, Mode},
    ops::{
        Context,
        fetch::fetch,
        pull::Puller,
        serving::{Serving, ServingOptions, age, published_keys},
        sync::sync,
        syncing::SyncOptions,
    },
    server::{AccessLog, Guarded, Guards, LineFormat, Listening, Server, ServerOptions, Tls, Token},
};

/// Serve the catalog and the packages to Grafana servers, as grafana.com does
///
/// Point a Grafana at it with `GF_GRAFANA_COM_API_URL=http://ADDRESS/api`. Only versions are listed whose packages are in
/// the store, and which the policy in the manifest accepts. What another process syncs or fetches shows within seconds.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServeArgs {
    /// The address to listen on; port 0 is any that is free [default: `serve.listen`, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Answer /healthz, /readyz and /metrics on this address, and no longer on the other
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// The address that clients reach the mirror by, for the links in answers
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// List what the catalog lists, although its packages cannot be downloaded here
    #[arg(long, conflicts_with = "pull")]
    metadata_only: bool,
    /// List what the catalog lists, and fetch a package when somebody asks for it
    #[arg(long)]
    pull: bool,
    /// Sync the catalog of the manifest at the start and then this often; SIGHUP does it at once
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    sync_every: Option<Duration>,
    /// What needs a token: nothing; downloads, which Grafana 10 and later can send one for; or everything, which plugport
    /// and people can use, but no page of Grafana
    #[arg(long, value_enum, value_name = "WHAT")]
    guard: Option<Guard>,
    /// A file with a token that opens what is guarded; may be given several times
    #[arg(long, value_name = "FILE")]
    read_token_file: Vec<PathBuf>,
    /// A file with a token that may publish packages with PUT /api/publish/ID/VERSION/PLATFORM; may be given several times
    #[arg(long, value_name = "FILE")]
    write_token_file: Vec<PathBuf>,
    /// A chain of certificates in PEM form: speak TLS. Read again when the file changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How old the catalog may be before /readyz answers 503
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    max_age: Option<Duration>,
    /// Write a line for each request on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "off")]
    access_log: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Guard {
    None,
    Downloads,
    All,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Off,
    Text,
    Json,
}

impl ServeArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        Box::pin(self.with(session.manifest()?.serve()).serve(session)).await
    }

    /// Returns the arguments with what the manifest says in the place of those that are not given.
    fn with(&self, section: &ServeSection) -> Self {
        let names_mode = self.metadata_only || self.pull;
        Self {
            listen: self.listen.clone().or_else(|| section.listen.clone()),
            admin_listen: self.admin_listen.clone().or_else(|| section.admin_listen.clone()),
            public_url: self.public_url.clone().or_else(|| section.public_url.clone()),
            metadata_only: self.metadata_only || (section.metadata_only && !names_mode),
            pull: self.pull || (section.pull && !names_mode),
            sync_every: self.sync_every.or(section.sync_every),
            guard: self.guard.or(match section.guard {
                GuardedPart::None => None,
                GuardedPart::Downloads => Some(Guard::Downloads),
                GuardedPart::All => Some(Guard::All),
            }),
            tls_cert: self.tls_cert.clone().or_else(|| section.tls_cert.clone()),
            tls_key: self.tls_key.clone().or_else(|| section.tls_key.clone()),
            max_age: self.max_age.or(section.max_age),
            ..self.clone()
        }
    }

    async fn serve(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?.with_lock_patience(LOCK_PATIENCE);
        let serving = Arc::new(Serving::new(context, self.serving_options(session)?));
        serving.reload().await?;
        if session.is_offline() && (self.pull || self.sync_every.is_some()) {
            let hint = "leave out `--offline`, or serve what is stored";
            return Err(Failure::usage("`--pull` and `--sync-every` need the network", hint));
        }
        let public = Listening::public(self.listen.as_deref().unwrap_or(DEFAULT_ADDRESS)).await?;
        let public_address = public.address;
        let mut listening = vec![public];
        if let Some(address) = &self.admin_listen {
            let admin = Listening::admin(address).await?;
            session.ui.announce(&format!("health and metrics on http://{}", admin.address));
            listening.push(admin);
        }
        let (puller, tls) = (self.pull.then(Arc::<Puller>::default), self.tls()?);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{public_address}");
        let options = self.server_options(session, (puller.clone(), tls.clone())).await?;
        let server = Arc::new(Server::new(Arc::clone(&serving), options));
        for note in notes(&serving) {
            session.ui.note(&note);
        }
        // Before anybody hears of the mirror: until then a hangup would end it.
        let hangups = signal(SignalKind::hangup()).ok();
        session.ui.announce(&format!("listening on {url}"));
        supervisor::notify("READY=1");
        let _heeded = session.interrupt.heed();
        let counting = Arc::clone(&server);
        let sources = session.sources()?;
        tokio::select! {
            () = server.run(listening, session.interrupt.wanted()) => {}
            () = serving.follow() => {}
            () = serving.scrub(move |_| counting.count_damage()) => {}
            () = async { puller.as_ref().expect("it is there").run(&serving, sources).await }, if puller.is_some() => {}
            () = async { tls.as_ref().expect("it is there").follow().await }, if tls.is_some() => {}
            () = self.keep_synced(session, (&serving, &server), hangups) => {}
            () = supervisor::keep_alive() => {}
        }
        supervisor::notify("STOPPING=1");
        Ok(Report { document: json!({ "listened_on": url }), ..Report::default() })
    }

    fn serving_options(&self, session: &Session) -> Result<ServingOptions, Failure> {
        let manifest = session.manifest()?;
        let age = i64::try_from(manifest.trust().min_release_age.as_millis()).unwrap_or(i64::MAX);
        let mode = match (self.metadata_only, self.pull) {
            (true, _) => Mode::MetadataOnly,
            (_, true) => Mode::Pull,
            _ => Mode::Mirror,
        };
        Ok(ServingOptions { mode, links: Links { prefix: self.prefix()? }, minimum_age: age })
    }

    /// Returns the public address without a slash at its end.
    fn prefix(&self) -> Result<String, Failure> {
        let Some(url) = &self.public_url else { return Ok(String::new()) };
        let parsed = url::Url::parse(url).ok().filter(|parsed| {
            matches!(parsed.scheme(), "http" | "https") && parsed.query().is_none() && parsed.fragment().is_none()
        });
        let parsed = parsed.ok_or_else(|| {
            let message = format!("`{}` is not the address of a mirror", url.escape_debug());
            Failure::usage(message, "`--public-url` is like `https://plugins.example.com`")
        })?;
        Ok(parsed.as_str().trim_end_matches('/').to_owned())
    }

    async fn server_options(
        &self,
        session: &Session,
        (puller, tls): (Option<Arc<Puller>>, Option<Arc<Tls>>),
    ) -> Result<ServerOptions, Failure> {
        let format = match self.access_log {
            LogFormat::Off => None,
            LogFormat::Text => Some(LineFormat::Text),
            LogFormat::Json => Some(LineFormat::Json),
        };
        let ui = session.ui;
        let log = format.map(|format| AccessLog::new(format, move |line| ui.log(line))).transpose();
        let log = log.map_err(|error| super::setup::no_runtime(&error))?;
        Ok(ServerOptions {
            guards: self.guards(session.manifest()?.serve()).await?,
            max_age: self.max_age,
            log,
            puller,
            tls,
            keys: published_keys(session.trusted_key_file()?.as_deref()),
            has_admin: self.admin_listen.is_some(),
        })
    }
}

impl ServeArgs {
    fn tls(&self) -> Result<Option<Arc<Tls>>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(Arc::new(Tls::load(certificate.clone(), key.clone())?))),
            (None, None) => Ok(None),
            _ => Err(Failure::usage("of a certificate and its key only one is named", "name both, or none")),
        }
    }

    /// Syncs from time to time, and when a hangup comes; without `--sync-every` a hangup only reads the catalog again.
    async fn keep_synced(
        &self,
        session: &Session,
        (serving, server): (&Serving, &Server),
        mut hangups: Option<Signal>,
    ) {
        if let Some(every) = self.sync_every {
            let age = age(&serving.generation(), serving.context().now());
            // One that was synced a moment ago is not synced again because of a restart.
            let mut pause = age.map_or(Duration::ZERO, |age| every.saturating_sub(age));
            loop {
                wait(pause, hangups.as_mut()).await;
                pause = match sync_once(session, serving.context()).await {
                    Ok(lines) => {
                        for line in &lines {
                            session.ui.announce(line);
                        }
                        every
                    }
                    Err(failure) => {
                        server.count_sync_error(kind_name(failure.kind));
                        session.ui.announce(&format!("the sync failed: {}", failure.message));
                        every.min(AFTER_FAILURE)
                    }
                };
                serving.wake();
            }
        }
        loop {
            wait(Duration::MAX, hangups.as_mut()).await;
            serving.wake();
        }
    }

    async fn guards(&self, section: &ServeSection) -> Result<Guards, Failure> {
        let guarded = match self.guard.unwrap_or(Guard::None) {
            Guard::None => Guarded::Nothing,
            Guard::Downloads => Guarded::Downloads,
            Guard::All => Guarded::Everything,
        };
        let read = tokens(&self.read_token_file, &section.read_token).await?;
        match (guarded, read.is_empty()) {
            (Guarded::Nothing, false) => {
                let hint = "add `--guard downloads` or `--guard all`";
                return Err(Failure::usage("a token that reads is named, but nothing is guarded", hint));
            }
            (Guarded::Downloads | Guarded::Everything, true) => {
                return Err(Failure::usage("`--guard` needs a token", "name its file with `--read-token-file`"));
            }
            _ => {}
        }
        Ok(Guards { guarded, read, write: tokens(&self.write_token_file, &section.write_token).await? })
    }
}

/// Where the mirror listens if nobody says otherwise: this machine alone.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

/// How long after a failed sync the next is tried, at the most.
const AFTER_FAILURE: Duration = Duration::from_mins(5);

/// Returns the mirror that `serve` without arguments would run, which listens nowhere.
pub(super) async fn local_mirror(session: &Session) -> Result<Server, Failure> {
    let arguments = ServeArgs::default().with(session.manifest()?.serve());
    let serving = Arc::new(Serving::new(session.context()?.clone(), arguments.serving_options(session)?));
    serving.reload().await?;
    Ok(Server::new(serving, arguments.server_options(session, (None, None)).await?))
}

/// How long a command is waited for that has locked the cache.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a time, or until a hangup comes.
async fn wait(time: Duration, hangups: Option<&mut Signal>) {
    let hangup = async {
        match hangups {
            Some(hangups) => drop(hangups.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = hangup => {}
    }
}

/// Syncs the catalog of the manifest and fetches what `[mirror]` asks for; returns what somebody should look at.
async fn sync_once(session: &Session, context: &Context) -> Result<Vec<String>, Failure> {
    let upstream = session.upstream(None).await?;
    let options = SyncOptions { only: Vec::new(), concurrency: 16, full: false, confirm: false };
    let outcome = sync(context, &upstream, &options).await?;
    let alerts = outcome.alerts.iter().map(|alert| format!("alert: {alert}"));
    let skipped = (!outcome.skipped.is_empty())
        .then(|| format!("the sync left out {}", ui::count(outcome.skipped.len() as u64, "item", "items")));
    let mut lines: Vec<String> = alerts.chain(skipped).collect();
    if !session.manifest()?.mirror().plugins.is_empty() {
        let fetched = fetch(context, session.sources()?, &mirror_options(session)?).await?;
        lines.extend(fetched.failed.iter().map(|failure| format!("failed: {}: {}", failure.plugin, failure.reason)));
    }
    Ok(lines)
}

/// Fetches tokens: from files if any are named, else as the manifest says. Each is called by where it is.
async fn tokens(files: &[PathBuf], of_manifest: &[SecretReference]) -> Result<Vec<Token>, Failure> {
    let files: Vec<_> = files.iter().cloned().map(SecretReference::File).collect();
    let references = if files.is_empty() { of_manifest } else { &files };
    let mut tokens = Vec::new();
    for reference in references {
        let secret = reference.resolve(&super::setup::environment).await?;
        tokens.push(Token::new(reference.to_string(), &secret));
    }
    Ok(tokens)
}

/// Says what is served, and what is not.
fn notes(serving: &Serving) -> Vec<String> {
    let generation = serving.generation();
    if generation.synced_at.is_none() {
        return vec!["there is no catalog yet: run `plugport sync`, then `plugport fetch`".to_owned()];
    }
    let counts = generation.counts();
    let mut notes = vec![format!(
        "{}, {}, {}",
        ui::count(counts.plugins as u64, "plugin", "plugins"),
        ui::count(counts.versions as u64, "version", "versions"),
        ui::count(counts.packages as u64, "package", "packages"),
    )];
    let mut not_listed = |count: usize, why: &str| {
        if count > 0 {
            notes.push(format!("{} not listed: {why}", ui::count(count as u64, "version is", "versions are")));
        }
    };
    not_listed(counts.unsigned, "the signature policy refuses them (`trust.signatures`, `trust.unsigned`)");
    not_listed(counts.alerted, "an alert stops them (`plugport alerts` lists them)");
    not_listed(counts.too_new, "they are younger than `trust.min-release-age`");
    notes
}
