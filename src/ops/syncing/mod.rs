//! Brings the index up to date with an upstream.
//!
//! *Invariant:* one transaction. Readers see the whole old catalog or the whole new one; when the sync fails, the index is
//! what it was. A plugin that cannot be read is reported and left as it was; it stops no other.
//! *Not for:* taking the lock of the cache, which the caller holds, or packages, which `fetch` brings.

mod carried;
mod compare;
mod extra;
mod known;
mod outcome;
mod promises;
mod select;
mod write;

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

pub(crate) use carried::{CarriedCatalog, CarriedPlugin, bring_in};
pub(crate) use extra::{CarriedExtra, RefusedPackage};
pub(crate) use outcome::SyncOutcome;

use self::{
    select::{DetailRequest, SyncSelection, select},
    write::{ListEtag, WriterMessage, write},
};
use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::{Index, IndexError, IndexWriter},
    model::PluginId,
    net::NetError,
    ops::{Context, alerts::Alert, private},
    progress::Unit,
    upstream::{Details, List, PluginList, SkippedItem, Upstream, UpstreamError},
};

/// After this many faults in a row that are not those of one plugin, the upstream counts as gone.
const GIVE_UP_AFTER: usize = 5;

/// What to sync, and how.
#[derive(Clone, Debug)]
pub(crate) struct SyncOptions {
    /// Only these plugins, and what they depend on; empty for all.
    pub only: Vec<PluginId>,
    /// How many requests run at once: at least 2.
    pub concurrency: usize,
    /// Ask for every plugin, also where nothing seems to have changed.
    pub full: bool,
    /// Accept an upstream that suddenly lists far fewer plugins.
    pub confirm: bool,
}

/// A sync changed nothing, because it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    /// The cache cannot be used.
    #[error("the sync did not start")]
    Home(#[from] HomeError),
    /// The upstream cannot be used.
    #[error("the sync from `{location}` changed nothing")]
    Upstream {
        /// The upstream.
        location: String,
        /// Why.
        source: UpstreamError,
    },
    /// The index cannot be used.
    #[error("the sync changed nothing")]
    Index(#[from] IndexError),
    /// The upstream no longer lists many plugins that it listed before.
    #[error("`{location}` no longer lists {gone} of {known} plugins: nothing was changed")]
    MassRemoval {
        /// The upstream.
        location: String,
        /// How many plugins are missing.
        gone: usize,
        /// How many there were.
        known: usize,
    },
}

diagnose!(SyncError {
    forward Home, Index, Upstream { source };
    MassRemoval => Kind::Failed, "look at the upstream; if it is right, run the sync again with `--confirm`";
});

/// Updates the index under a lock that the caller holds; returns what changed and what was left out.
pub(crate) async fn sync_with(
    context: &Context,
    upstream: &Upstream,
    writer: &IndexWriter,
    options: &SyncOptions,
) -> Result<SyncOutcome, SyncError> {
    let location = upstream.location();
    let failed = |source| SyncError::Upstream { location: location.clone(), source };
    let known_as = location.clone();
    let source = writer.run(move |index| index.source(&known_as)).await?;
    let source_etag = source.as_ref().and_then(|source| source.list_etag.clone());
    // A partial sync needs the list itself.
    let asked = source_etag.as_deref().filter(|_| options.only.is_empty() && !options.full);
    let list = match upstream.list(asked).await.map_err(failed)? {
        PluginList::Unchanged => {
            let mut outcome = SyncOutcome::unchanged(&writer.run(|index| index.counts()).await?);
            outcome.add_open(writer.run(|index| index.all_open_alerts()).await?);
            return Ok(outcome);
        }
        PluginList::Listed(list) => list,
    };
    let (list, taken) = without_private(writer, list).await?;
    let known = match source {
        Some(source) => writer.run(move |index| index.known_plugins(source.id)).await?,
        None => HashMap::new(),
    };
    // A folder is read already, and what changed in it may not show in what describes the plugin.
    let full = options.full || matches!(upstream, Upstream::Folder(_) | Upstream::Bundle(_));
    let selection = select(list, &known, &SyncOptions { full, ..options.clone() });
    refuse_mass_removal(&location, &selection, known.values().filter(|known| !known.withdrawn).count(), options)?;
    // A partial sync must not make a whole one assume that nothing is new.
    let now = if options.only.is_empty() { selection.etag.clone() } else { source_etag.clone() };
    let mut outcome = run(context, upstream, writer, selection, ListEtag { before: source_etag, now }).await?;
    outcome.alerts.extend(taken.into_iter().map(|id| taken_id(id, &location)));
    outcome.add_open(writer.run(|index| index.all_open_alerts()).await?);
    Ok(outcome)
}

/// Takes plugins that were published here out of the list: they stay private. Returns those that do not stand for the
/// plugin of a catalog on purpose.
async fn without_private(writer: &IndexWriter, mut list: List) -> Result<(List, Vec<PluginId>), IndexError> {
    let private = private_plugins(writer).await?;
    let mut taken = Vec::new();
    list.entries.retain(|entry| match private.get(&entry.plugin.id) {
        None => true,
        Some(is_on_purpose) => {
            if !is_on_purpose {
                taken.push(entry.plugin.id.clone());
            }
            false
        }
    });
    Ok((list, taken))
}

/// Returns the plugins that were published here, each with whether it stands for the plugin of a catalog on purpose.
async fn private_plugins(writer: &IndexWriter) -> Result<HashMap<PluginId, bool>, IndexError> {
    let read = |index: &mut Index| {
        let Some(source) = index.source(private::SOURCE)? else { return Ok(HashMap::new()) };
        let mut shadowing = HashMap::new();
        for id in index.known_plugins(source.id)?.into_keys() {
            let raw = index.plugin(&id)?.map(|stored| stored.list_raw).unwrap_or_default();
            shadowing.insert(id, private::shadows(&raw));
        }
        Ok(shadowing)
    };
    writer.run(read).await
}

/// Returns the alert that a catalog lists an id that is private.
fn taken_id(plugin: PluginId, location: &str) -> Alert {
    let (before, after) = (Some("private".to_owned()), Some(format!("listed by {location}")));
    Alert { kind: "private-id-listed", plugin, version: None, platform: None, before, after }
}

/// A catalog that loses more than one plugin in twenty at once is more likely broken than smaller.
fn refuse_mass_removal(
    location: &str,
    selection: &SyncSelection,
    known: usize,
    options: &SyncOptions,
) -> Result<(), SyncError> {
    let gone = selection.gone.len();
    let mass = gone > 0 && (selection.listed == 0 || (gone > 2 && gone * 20 > known));
    if mass && !options.confirm {
        return Err(SyncError::MassRemoval { location: location.to_owned(), gone, known });
    }
    Ok(())
}

async fn run(
    context: &Context,
    upstream: &Upstream,
    writer: &IndexWriter,
    selection: SyncSelection,
    etag: ListEtag,
) -> Result<SyncOutcome, SyncError> {
    let location = upstream.location();
    let mut outcome = SyncOutcome::from_selection(&selection);
    if selection.is_empty() && etag.before == etag.now {
        outcome.totals(&writer.run(|index| index.counts()).await?);
        return Ok(outcome);
    }
    let (sender, receiver) = mpsc::channel(32);
    let (target, now, clock) = (location.clone(), context.now(), context.clock);
    let writing = writer.run(move |index| write(index, &target, now, clock, receiver));
    let sending = send_all((context, upstream), selection, etag, (sender, &mut outcome));
    let (sent, written) = futures_util::future::join(sending, writing).await;
    sent.map_err(|source| SyncError::Upstream { location, source })?;
    outcome.take(written?);
    Ok(outcome)
}

/// Asks for what was selected and hands it to the writer, which it then lets commit, or abort if the upstream is gone.
async fn send_all(
    (context, upstream): (&Context, &Upstream),
    selection: SyncSelection,
    mut etag: ListEtag,
    (sender, outcome): (mpsc::Sender<WriterMessage>, &mut SyncOutcome),
) -> Result<(), UpstreamError> {
    let SyncSelection { tasks, touched, gone, listed_plugins, .. } = selection;
    context.reporter.begin("syncing plugins", Some(tasks.len() as u64), Unit::Items);
    let fetching = Fetching {
        context,
        upstream,
        listed: listed_plugins,
        sender: &sender,
        outcome,
        seen: HashSet::new(),
        came: 0,
        lost: 0,
    };
    let fetched = fetching.run(tasks).await;
    context.reporter.end();
    if let Err(source) = fetched {
        drop(sender.send(WriterMessage::Abort).await);
        return Err(source);
    }
    if outcome.incomplete {
        etag.now = None;
    }
    for work in touched
        .into_iter()
        .map(|task| WriterMessage::Touch(Box::new(task)))
        .chain(gone.into_iter().map(WriterMessage::Withdraw))
    {
        // A closed channel means that the writer failed, and its own error says why.
        drop(sender.send(work).await);
    }
    drop(sender.send(WriterMessage::Commit { etag, synced_at: None }).await);
    Ok(())
}

/// Asks for the details of plugins, a few at a time, and hands them to the writer.
struct Fetching<'a> {
    context: &'a Context,
    upstream: &'a Upstream,
    /// Where what a plugin depends on is found, where only some plugins were asked for.
    listed: select::ListedPlugins,
    sender: &'a mpsc::Sender<WriterMessage>,
    outcome: &'a mut SyncOutcome,
    seen: HashSet<PluginId>,
    /// How many plugins were received.
    came: usize,
    /// How many faults in a row were not those of one plugin.
    lost: usize,
}

impl Fetching<'_> {
    /// Asks for every task, and then for what those depend on. An upstream that is gone is an error.
    async fn run(mut self, tasks: Vec<DetailRequest>) -> Result<(), UpstreamError> {
        // Each plugin takes two requests at a time.
        let at_once = self.outcome.concurrency.div_ceil(2).max(1);
        self.seen.extend(tasks.iter().map(|task| task.entry.plugin.id.clone()));
        let (mut wave, upstream) = (tasks, self.upstream);
        while !wave.is_empty() && !self.sender.is_closed() {
            let mut next = Vec::new();
            let mut last = None;
            let mut answers = stream::iter(wave)
                .map(|task| async move { (upstream.details(&task.entry).await, task) })
                .buffer_unordered(at_once);
            while let Some((answer, task)) = answers.next().await {
                self.context.reporter.advance(1);
                match answer {
                    Ok(details) => next.extend(self.take(task, details).await),
                    Err(error) => last = self.miss(&task, error)?,
                }
                // The writer failed, and its own error says why.
                if self.sender.is_closed() {
                    return Ok(());
                }
            }
            if let Some(error) = last.filter(|_| self.came == 0) {
                return Err(error);
            }
            self.context.reporter.grow(next.len() as u64);
            wave = next;
        }
        Ok(())
    }

    async fn take(&mut self, task: DetailRequest, details: Details) -> Vec<DetailRequest> {
        (self.came, self.lost) = (self.came + 1, 0);
        let next = self.listed.dependencies(&details, &mut self.seen, &mut self.outcome.skipped);
        let (task, details) = (Box::new(task), Box::new(details));
        let message = WriterMessage::Plugin { task, details, extra: Box::default(), is_withdrawn: false };
        drop(self.sender.send(message).await);
        next
    }

    /// Reports a plugin that could not be fetched; returns the error where the network is to blame for it.
    fn miss(&mut self, task: &DetailRequest, error: UpstreamError) -> Result<Option<UpstreamError>, UpstreamError> {
        self.outcome.skip(task, &error);
        let fault = FaultSource::from_error(&error);
        // What fails is asked for again and again, and so comes last and together, behind all that was answered.
        let counts = fault == FaultSource::Connection || (fault == FaultSource::Server && self.came == 0);
        self.lost = if counts { self.lost + 1 } else { 0 };
        if self.lost >= GIVE_UP_AFTER {
            return Err(error);
        }
        Ok(Some(error).filter(|_| fault != FaultSource::Item))
    }
}

/// The cause of a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FaultSource {
    /// With the way to the upstream.
    Connection,
    /// With the upstream, or with one plugin of it: an upstream that answered for others is not gone.
    Server,
    /// With one answer, or with all of them: that shows at the end.
    Answer,
    /// With one plugin.
    Item,
}

impl FaultSource {
    fn from_error(error: &UpstreamError) -> Self {
        let UpstreamError::Net(error) = error else { return Self::Item };
        match error {
            NetError::Unreachable { .. } | NetError::NoAnswer { .. } => Self::Connection,
            NetError::Status { status: 404 | 410, .. } => Self::Item,
            NetError::Status { status: 429 | 500.., .. } | NetError::Broken { .. } | NetError::TooSlow { .. } => {
                Self::Server
            }
            _ => Self::Answer,
        }
    }
}

impl List {
    fn into_parts(self) -> (Vec<crate::model::PluginEntry>, Vec<SkippedItem>, Option<String>, bool) {
        (self.entries, self.skipped, self.etag, self.complete)
    }
}

impl Details {
    /// Returns whether versions that were there before are now missing altogether, which no publisher does.
    fn lost_all_versions(&self, known: usize) -> bool {
        self.releases.is_empty() && known > 0
    }
}
