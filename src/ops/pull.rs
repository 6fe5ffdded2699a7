//! Packages that are fetched because somebody asks a mirror for them.
//!
//! *Invariant:* one request to the upstream for all who ask for one package, and none for one that the catalog does not
//! list. Nobody gets a byte before the package was verified and stored. A failure is remembered for a minute.
//! *Not for:* deciding whether a package that came is listed, which `mirror` does.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    model::{Platform, PluginId, PluginVersion},
    net::NetError,
    ops::{
        Context,
        fetching::{
            FetchError, FetchFailure, FetchOptions, FetchOutcome, FetchRequest, FetchStartError, LockedPackages,
            fetch_locked,
        },
        serving::Serving,
        sources::Sources,
    },
    resolver::Surroundings,
    upstream::UpstreamError,
};

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long a failure is remembered.
const REMEMBERED: Duration = Duration::from_mins(1);
/// How many packages may wait to be fetched, and how many are fetched at once.
const WAITING: usize = 1_000;
const BATCH: usize = 32;
const CONCURRENCY: usize = 8;
/// The package that is asked for.
pub(crate) type PulledPackage = (PluginId, PluginVersion, Platform);

/// Why a package could not be pulled.
#[derive(Clone, Debug)]
pub(crate) struct PullError {
    /// The fault, for the status of the answer.
    pub fault: PullFault,
    /// The fault, in a sentence.
    pub message: String,
}

/// The fault, for the status of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PullFault {
    /// The upstream has no such package, or the catalog refuses it.
    Missing,
    /// The upstream gave no usable answer, or other bytes.
    Upstream,
    /// The upstream, or this program, took too long.
    TooSlow,
    /// It cannot be kept now, or too many are asked for.
    Busy,
}

type Pulled = Option<Result<(), PullError>>;

/// What is asked for, and what failed a short time ago.
#[derive(Debug, Default)]
pub(crate) struct Puller {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<PulledPackage>,
    waiting: HashMap<PulledPackage, watch::Sender<Pulled>>,
    failed: HashMap<PulledPackage, (Instant, PullError)>,
}

impl Puller {
    /// Waits until a package of the catalog is in the store.
    pub(crate) async fn pull(&self, package: PulledPackage) -> Result<(), PullError> {
        let mut answer = self.ask(package)?;
        let slow = || PullError {
            fault: PullFault::TooSlow,
            message: "the package is still being fetched: ask again in a while".to_owned(),
        };
        let pulled = tokio::time::timeout(PATIENCE, answer.wait_for(Option::is_some)).await.map_err(|_| slow())?;
        pulled.ok().and_then(|pulled| pulled.clone()).unwrap_or_else(|| Err(slow()))
    }

    fn ask(&self, package: PulledPackage) -> Result<watch::Receiver<Pulled>, PullError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = state.waiting.get(&package) {
            return Ok(under_way.subscribe());
        }
        state.failed.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        if let Some((_, error)) = state.failed.get(&package) {
            return Err(error.clone());
        }
        if state.waiting.len() >= WAITING {
            let message = "too many packages are being fetched: ask again in a while".to_owned();
            return Err(PullError { fault: PullFault::Busy, message });
        }
        let sender = watch::Sender::new(None);
        let answer = sender.subscribe();
        state.waiting.insert(package.clone(), sender);
        state.queue.push(package);
        self.wake.notify_one();
        Ok(answer)
    }

    /// Fetches what is asked for, and serves it; never ends.
    pub(crate) async fn run(&self, serving: &Serving, sources: &Sources) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let failed = fetch(serving.context(), sources, &batch).await;
            if let Err(error) = serving.reload().await {
                tracing::warn!(error = %Chain(&error), "the catalog could not be read");
            }
            self.settle(batch, failed);
        }
    }

    fn next_batch(&self) -> Vec<PulledPackage> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.queue.len().min(BATCH);
        state.queue.drain(..count).collect()
    }

    fn settle(&self, batch: Vec<PulledPackage>, mut failed: HashMap<PulledPackage, PullError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for package in batch {
            let error = failed.remove(&package);
            if let Some(waiting) = state.waiting.remove(&package) {
                waiting.send_replace(Some(error.clone().map_or(Ok(()), Err)));
            }
            if let Some(error) = error {
                state.failed.insert(package, (Instant::now(), error));
            }
        }
    }
}

/// Fetches packages; returns those that could not be.
async fn fetch(context: &Context, sources: &Sources, batch: &[PulledPackage]) -> HashMap<PulledPackage, PullError> {
    let packages = batch.iter().map(|(plugin, version, platform)| LockedPackages {
        plugin: plugin.clone(),
        version: version.clone(),
        platforms: vec![platform.clone()],
        digests: std::collections::BTreeMap::new(),
    });
    let options = FetchOptions {
        subject: FetchRequest::Locked(packages.collect()),
        surroundings: Surroundings { grafana: None, platforms: Vec::new(), published_before: None },
        dependencies: false,
        concurrency: CONCURRENCY,
    };
    match fetch_under_lock(context, sources, &options).await {
        Ok(outcome) => outcome.failed.iter().filter_map(|failure| explain(failure, batch)).collect(),
        Err(error) => {
            let error = PullError { fault: PullFault::Busy, message: Chain(&error).to_string() };
            batch.iter().map(|package| (package.clone(), error.clone())).collect()
        }
    }
}

/// Fetches under the lock of the cache.
async fn fetch_under_lock(
    context: &Context,
    sources: &Sources,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let _lock = context.lock().await?;
    context.index().prove().await?;
    fetch_locked(context, sources, options).await
}

/// Returns which of the packages failed, and why.
fn explain(failure: &FetchFailure, batch: &[PulledPackage]) -> Option<(PulledPackage, PullError)> {
    let is_it = |(plugin, version, platform): &&PulledPackage| {
        *plugin == failure.plugin
            && failure.version.as_ref().is_none_or(|known| known == version)
            && failure.platform.as_ref().is_none_or(|known| known == platform)
    };
    let package = batch.iter().find(is_it)?.clone();
    Some((package, PullError { fault: fault(&failure.error), message: failure.reason.clone() }))
}

fn fault(error: &FetchError) -> PullFault {
    match error {
        FetchError::Upstream(UpstreamError::Net(NetError::Status { status: 404 | 410, .. })) => PullFault::Missing,
        FetchError::Upstream(UpstreamError::Net(NetError::NoAnswer { .. } | NetError::TooSlow { .. })) => {
            PullFault::TooSlow
        }
        FetchError::Upstream(_) | FetchError::Verify(_) => PullFault::Upstream,
        other => match other.kind() {
            Kind::Storage | Kind::Locked => PullFault::Busy,
            Kind::Network => PullFault::Upstream,
            _ => PullFault::Missing,
        },
    }
}
