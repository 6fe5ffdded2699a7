//! The state of the mirror: what is served, how old it is, what is wrong.

use askama::Template;

use super::{
    Catalog, Frame, PageResult, Section, Site,
    format::{Moment, count, line, number, size},
    list::Badge,
};
use crate::model::{PluginId, Timestamp};

/// What is known of a mirror beside its generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct MirrorState {
    /// What is wrong, in sentences; empty if nothing is.
    pub faults: Vec<String>,
    /// The last syncs, newest first.
    pub syncs: Vec<SyncState>,
    /// The open alerts, oldest first.
    pub alerts: Vec<OpenAlert>,
    /// The channels beside `edge`.
    pub channels: Vec<ChannelState>,
    /// The bytes of all packages of the store.
    pub stored_bytes: u64,
    /// How many packages are damaged.
    pub damaged: usize,
    /// How many packages the check in the background has read in its round, of how many.
    pub checked: (usize, usize),
    /// When its last round ended.
    pub checked_at: Option<Timestamp>,
    /// The free space of the store in bytes, if known.
    pub free: Option<u64>,
}

/// A sync that was committed.
#[derive(Clone, Debug)]
pub(crate) struct SyncState {
    /// Where the catalog came from.
    pub source: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub elapsed: i64,
    /// What it changed, in words.
    pub summary: String,
}

/// An open alert.
#[derive(Clone, Debug)]
pub(crate) struct OpenAlert {
    /// The plugin.
    pub plugin: PluginId,
    /// What it says.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// The command that accepts it.
    pub acceptance: String,
}

/// A channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelState {
    /// Its name.
    pub name: String,
    /// The id of its generation.
    pub generation: String,
    /// How many plugins and versions it lists.
    pub plugins: usize,
    /// How many versions it lists.
    pub versions: usize,
}

/// The state of the mirror as a page.
#[derive(Debug, Template)]
#[template(path = "status.html", config = "src/web/askama.toml")]
pub(crate) struct StatusPage {
    frame: Frame,
    state: MirrorState,
    figures: Vec<(&'static str, String)>,
    not_served: Vec<(&'static str, String)>,
    generation: String,
    alerts: Vec<AlertRow>,
    syncs: Vec<SyncRow>,
    channels: Vec<ChannelRow>,
    checked_at: Option<Moment>,
}

#[derive(Debug)]
struct AlertRow {
    plugin: String,
    address: String,
    text: String,
    since: Moment,
    acceptance: String,
}

#[derive(Debug)]
struct SyncRow {
    at: Moment,
    source: String,
    elapsed: String,
    summary: String,
}

#[derive(Debug)]
struct ChannelRow {
    name: String,
    address: String,
    api: String,
    generation: String,
    plugins: String,
    versions: String,
    is_shown: bool,
}

impl StatusPage {
    /// Makes the page of a state.
    pub(crate) fn new(site: Site, catalog: &Catalog, state: MirrorState) -> Self {
        let counts = catalog.generation().counts();
        let mut figures = vec![
            ("Plugins", count(counts.plugins)),
            ("Versions", count(counts.versions)),
            ("Packages", count(counts.packages)),
            ("In the store", size(state.stored_bytes)),
        ];
        figures.extend(state.free.map(|free| ("Free space", size(free))));
        let not_served = [
            ("refused by the signature policy", counts.unsigned),
            ("held back by an alert", counts.alerted),
            ("younger than the policy allows", counts.too_new),
        ];
        let not_served = not_served.into_iter().filter(|(_, count)| *count > 0);
        let alert = |alert: &OpenAlert| AlertRow {
            plugin: alert.plugin.to_string(),
            address: site.plugin(&alert.plugin, None),
            text: line(&alert.text, 400),
            since: Moment::Date(alert.since),
            acceptance: alert.acceptance.clone(),
        };
        let sync = |sync: &SyncState| SyncRow {
            at: Moment::Minute(sync.started_at),
            source: line(&sync.source, 120),
            elapsed: format!("{} ms", number(sync.elapsed.unsigned_abs())),
            summary: line(&sync.summary, 160),
        };
        let channel = |channel: &ChannelState| {
            let named = (channel.name != "edge").then_some(channel.name.as_str());
            let own = site.of_channel(named);
            ChannelRow {
                address: own.page("/", &[]),
                api: own.api(),
                generation: channel.generation.chars().take(12).collect(),
                plugins: count(channel.plugins),
                versions: count(channel.versions),
                is_shown: site.channel.as_deref() == named,
                name: channel.name.clone(),
            }
        };
        Self {
            figures,
            not_served: not_served.map(|(why, counted)| (why, count(counted))).collect(),
            generation: catalog.generation().id().to_owned(),
            alerts: state.alerts.iter().map(alert).collect(),
            syncs: state.syncs.iter().map(sync).collect(),
            channels: state.channels.iter().map(channel).collect(),
            checked_at: state.checked_at.map(Moment::Minute),
            state,
            frame: Frame::new(site, catalog, Section::Status, "Status", "/status"),
        }
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }

    fn health(&self) -> Badge {
        if self.frame.synced_at.is_none() {
            Badge::new("No catalog yet", "bad")
        } else if self.state.faults.is_empty() {
            Badge::new("Ready", "good")
        } else {
            Badge::new("Degraded", "warn")
        }
    }
}
