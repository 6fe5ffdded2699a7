//! The pages for people: what each is made of is collected here, and `web` makes the page.
//!
//! *Invariant:* a page is answered like JSON, with an `ETag` and compressed, and with a policy that lets nothing run or load
//! that is not of this program. Nothing here reaches the network.
//! *Not for:* what pages look like.

use std::sync::Arc;

use hyper::{Response, header};

use super::{
    Server,
    handlers::Answer,
    refusal::{HttpRefusal, Kind},
    reply::{self, Asked, Body},
    route::{Page, Query},
};
use crate::{
    diagnostic::Chain,
    index::{Index, IndexError, Matched, RecordedChange, SyncRecord},
    mirror::{Coded, plain_etag},
    ops::{
        alerts::{StandingAlert, standing},
        serving::PluginFile,
    },
    web::{
        self, Catalog, Change, ChangesPage, ChannelState, ErrorPage, Found, Frame, GrafanaSwitch, ListPage, ListQuery,
        MirrorState, MissingPage, OpenAlert, PageResult, PluginPage, Section, Site, StatusPage, SyncState,
    },
};

/// How many changes a page has, and a feed.
const CHANGES: u32 = 200;
const FEED: u32 = 100;

/// How many syncs are shown.
const SYNCS: u32 = 20;

impl Server {
    /// Answers with a page.
    pub(super) async fn page(&self, asked: Asked<'_>, channel: Option<&str>, page: &Page, query: &Query) -> Answer {
        let catalog = self.page_catalog(channel)?;
        let site = self.site(asked, &catalog, channel, query);
        match page {
            Page::List => {
                let wanted = ListQuery::parse(|name| query.get(name));
                let found = self.find(&wanted.words).await?;
                html(asked, ListPage::new(site, &catalog, &wanted, found.as_ref()).html())
            }
            Page::Plugin(name, version) => {
                let (at, plugin) = super::handlers::found(catalog.generation(), name)?;
                let page = PluginPage::new(site, &catalog, at, version.as_deref()).ok_or_else(|| {
                    let shown: String = version.iter().flat_map(|version| version.chars()).take(80).collect();
                    HttpRefusal::not_found(format!("Plugin {} has no version {shown} in this mirror", plugin.plugin.id))
                })?;
                html(asked, page.html())
            }
            Page::Logo(name, version) => self.page_logo(asked, &catalog, (name, version)).await,
            Page::Changes => {
                let before = query.get("before").and_then(|before| before.parse().ok());
                let mut changes = self.changes(&catalog, channel, before, CHANGES + 1).await?;
                let has_older = changes.len() > CHANGES as usize;
                changes.truncate(CHANGES as usize);
                html(asked, ChangesPage::new(site, &catalog, &changes, has_older).html())
            }
            Page::Feed => {
                let changes = self.changes(&catalog, channel, None, FEED).await?;
                let feed = rendered(web::atom(&site, &catalog, &changes))?;
                Ok(reply::feed(asked, &Coded::new(feed)))
            }
            Page::Status => {
                let state = self.mirror_state().await?;
                html(asked, StatusPage::new(site, &catalog, state).html())
            }
            Page::Missing => {
                let (missing, unknown) = self.missing.packages(self.guards.guarded == super::Guarded::Everything);
                html(asked, MissingPage::new(site, &catalog, &missing, unknown).html())
            }
        }
    }

    /// Answers with a file that pages use.
    pub(super) fn asset(asked: Asked<'_>, name: &str) -> Answer {
        let asset = web::asset(name).ok_or_else(|| HttpRefusal::not_found("there is no such file"))?;
        Ok(reply::asset(asked, asset.media_type, &asset.coded))
    }

    /// Returns a refusal as a page.
    pub(super) fn refusal_page(
        &self,
        asked: Asked<'_>,
        channel: Option<&str>,
        refusal: &HttpRefusal,
    ) -> Option<Response<Body>> {
        let named = channel.filter(|name| self.serving.catalog(Some(name)).is_some());
        let catalog = self.serving.catalog(named)?;
        let site = self.site(asked, &catalog, named, &Query::default());
        let frame = Frame::new(site, &catalog, Section::Other, refusal.status().canonical_reason()?, "/");
        let page = ErrorPage::new(frame, refusal.status().as_u16(), &refusal.message).html().ok()?;
        Some(reply::refusal_page(asked.method, refusal, page))
    }

    fn page_catalog(&self, channel: Option<&str>) -> Result<Arc<Catalog>, HttpRefusal> {
        self.serving.catalog(channel).ok_or_else(|| {
            let shown: String = channel.unwrap_or_default().chars().take(40).collect();
            HttpRefusal::not_found(format!("This mirror has no channel {shown}"))
        })
    }

    fn site(&self, asked: Asked<'_>, catalog: &Catalog, channel: Option<&str>, query: &Query) -> Site {
        let host = asked.header(header::HOST).filter(|host| web::is_origin(host)).unwrap_or("MIRROR");
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        // `edge` is what is served without a channel.
        let channel = channel.filter(|name| *name != crate::ops::serving::EDGE);
        let grafana = GrafanaSwitch::parse(query.get("grafana"));
        Site::new(catalog.generation().links(), channel, format!("{scheme}://{host}")).switched_to(grafana)
    }

    /// Searches for words; without any there is nothing to search.
    async fn find(&self, words: &str) -> Result<Option<Found>, HttpRefusal> {
        if words.is_empty() {
            return Ok(None);
        }
        let words = words.to_owned();
        let found = self.read(move |index| index.search_ids(&words)).await?;
        let (matched, ids) = found.unwrap_or((Matched::AllWords, Vec::new()));
        let has_all_words = matches!(matched, Matched::AllWords | Matched::Everything);
        Ok(Some(Found { ids, has_all_words }))
    }

    async fn changes(
        &self,
        catalog: &Catalog,
        channel: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Change>, HttpRefusal> {
        let plugins = catalog.generation().plugins().iter().map(|plugin| plugin.plugin.id.clone());
        let plugins: Option<Vec<_>> = channel.map(|_| plugins.collect());
        let read = self.read(move |index| index.last_changes(before, plugins.as_deref(), limit)).await?;
        Ok(read.unwrap_or_default().into_iter().map(change).collect())
    }

    async fn mirror_state(&self) -> Result<MirrorState, HttpRefusal> {
        let read = |index: &Index| Ok((index.last_syncs(SYNCS)?, standing(index, None)?));
        let (syncs, alerts) = self.read(read).await?.unwrap_or_default();
        let store = self.serving.context().store();
        let mut faults: Vec<String> = self.serving.fault().into_iter().collect();
        let free = match store.free_space().await {
            Ok(free) => free,
            Err(error) => {
                faults.push(Chain(&error).to_string());
                None
            }
        };
        let damaged = self.serving.damaged_count();
        if damaged > 0 {
            faults.push(format!("Damaged packages: {damaged}. `plugport doctor` names them."));
        }
        let scrubbed = self.serving.scrubbed();
        Ok(MirrorState {
            faults,
            syncs: syncs.into_iter().map(sync).collect(),
            alerts: alerts.into_iter().map(open_alert).collect(),
            channels: self.serving.catalogs().into_iter().map(channel_state).collect(),
            stored_bytes: self.serving.stored_bytes(),
            damaged,
            checked: (scrubbed.checked, scrubbed.total),
            checked_at: scrubbed.ended_at,
            free,
        })
    }

    /// Reads the index; `None` if there is none yet.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<Option<T>, HttpRefusal> {
        match self.serving.context().index().read(work).await {
            Ok(read) => Ok(Some(read)),
            Err(IndexError::Missing { .. }) => Ok(None),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the catalog cannot be read");
                Err(HttpRefusal::new(Kind::Unavailable, "the catalog of this mirror cannot be read now"))
            }
        }
    }

    /// Answers with the logo of a version; one that has none gets a tile with its first letter.
    async fn page_logo(&self, asked: Asked<'_>, catalog: &Arc<Catalog>, (name, version): (&str, &str)) -> Answer {
        let generation = catalog.generation();
        if let Ok(reply) = self.logo(asked, generation, (name, version), super::route::LogoSize::Small).await {
            return Ok(reply);
        }
        let (_, plugin) = super::handlers::found(generation, name)?;
        let bytes = web::tile(&plugin.plugin.id, &plugin.plugin.name).into_bytes();
        let etag = plain_etag(&bytes);
        Ok(reply::image(asked, &PluginFile { bytes: bytes.into(), media_type: "image/svg+xml", etag }))
    }
}

fn html(asked: Asked<'_>, page: PageResult) -> Answer {
    Ok(reply::page(asked, &Coded::new(rendered(page)?)))
}

fn rendered(page: PageResult) -> Result<String, HttpRefusal> {
    page.map_err(|error| {
        tracing::warn!(%error, "a page could not be made");
        HttpRefusal::new(Kind::Internal, "the page could not be made")
    })
}

fn change((number, recorded): (i64, RecordedChange)) -> Change {
    let RecordedChange { at, change, .. } = recorded;
    Change {
        number,
        at,
        kind: change.kind.as_str(),
        plugin: change.plugin,
        version: change.version,
        platform: change.platform,
        before: change.before,
        after: change.after,
        is_alert: change.alert,
    }
}

fn sync(record: SyncRecord) -> SyncState {
    let SyncRecord { source, started_at, finished_at, summary, .. } = record;
    SyncState {
        source,
        started_at,
        elapsed: finished_at.as_milliseconds().saturating_sub(started_at.as_milliseconds()),
        summary: in_words(&summary),
    }
}

/// Returns what a sync counted: `plugins: 3 added, 1 updated; versions: 5 added`.
fn in_words(summary: &serde_json::Value) -> String {
    let Some(parts) = summary.as_object() else { return String::new() };
    let counted = |value: &serde_json::Value| -> Vec<String> {
        let words = ["added", "updated", "removed", "returned"];
        let count = |word: &&str| value.get(*word).and_then(serde_json::Value::as_u64).filter(|count| *count > 0);
        words.iter().filter_map(|word| Some(format!("{} {word}", count(word)?))).collect()
    };
    let part = |(name, value): (&String, &serde_json::Value)| match value.as_u64() {
        Some(count) => Some(format!("{count} {name}")),
        None => {
            Some(counted(value)).filter(|words| !words.is_empty()).map(|words| format!("{name}: {}", words.join(", ")))
        }
    };
    parts.iter().filter_map(part).collect::<Vec<_>>().join("; ")
}

fn open_alert(alert: StandingAlert) -> OpenAlert {
    OpenAlert {
        acceptance: alert.acceptance(),
        text: alert.alert.change(),
        since: alert.since,
        plugin: alert.alert.plugin,
    }
}

fn channel_state((name, catalog): (String, Arc<Catalog>)) -> ChannelState {
    let generation = catalog.generation();
    let counts = generation.counts();
    ChannelState { name, generation: generation.id().to_owned(), plugins: counts.plugins, versions: counts.versions }
}
