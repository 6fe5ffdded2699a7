//! What changed in the catalog, as a page and as a feed.

use askama::Template;

use super::{
    Catalog, Frame, PageResult, Section, Site,
    format::{Moment, line},
};
use crate::model::{Platform, PluginId, PluginVersion, Timestamp};

/// A change that a sync saw.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Its number; later changes have greater ones.
    pub number: i64,
    /// When the sync began.
    pub at: Timestamp,
    /// What kind it is, `version-added`.
    pub kind: &'static str,
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where one changed.
    pub version: Option<PluginVersion>,
    /// The platform, where one package changed.
    pub platform: Option<Platform>,
    /// What was.
    pub before: Option<String>,
    /// What is offered now.
    pub after: Option<String>,
    /// Whether it stops something until somebody accepts it.
    pub is_alert: bool,
}

impl Change {
    /// Returns the kind in words, `Version added`.
    fn words(&self) -> String {
        super::catalog::capital(&self.kind.replace('-', " "))
    }

    /// Returns what it is about: `acme-panel 1.0.0 (linux-amd64)`.
    fn subject(&self) -> String {
        let version =
            self.version.as_ref().map_or_else(String::new, |version| format!(" {}", line(version.as_str(), 60)));
        let platform = self.platform.as_ref().map_or_else(String::new, |platform| format!(" ({platform})"));
        format!("{}{version}{platform}", self.plugin)
    }

    fn detail(&self) -> String {
        let text = |text: &Option<String>| text.as_ref().map(|text| line(text, 160));
        match (text(&self.before), text(&self.after)) {
            (Some(before), Some(after)) => format!("{before} → {after}"),
            (Some(before), None) => format!("was {before}"),
            (None, Some(after)) => after,
            (None, None) => String::new(),
        }
    }
}

/// What changed, newest first.
#[derive(Debug, Template)]
#[template(path = "changes.html", config = "src/web/askama.toml")]
pub(crate) struct ChangesPage {
    frame: Frame,
    days: Vec<Day>,
    older: Option<String>,
}

/// The changes of one sync.
#[derive(Debug)]
struct Day {
    at: Moment,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    words: String,
    subject: String,
    address: Option<String>,
    detail: String,
    is_alert: bool,
}

impl ChangesPage {
    /// Makes the page of these changes, newest first; `has_older` says whether there are more before them.
    pub(crate) fn new(site: Site, catalog: &Catalog, changes: &[Change], has_older: bool) -> Self {
        let mut days: Vec<Day> = Vec::new();
        for change in changes {
            let at = Moment::Minute(change.at);
            let row = Row {
                words: change.words(),
                subject: change.subject(),
                address: address(&site, catalog, change),
                detail: change.detail(),
                is_alert: change.is_alert,
            };
            match days.last_mut().filter(|day| day.at == at) {
                Some(day) => day.rows.push(row),
                None => days.push(Day { at, rows: vec![row] }),
            }
        }
        let older = changes.last().filter(|_| has_older);
        let older = older.map(|last| site.page("/changes", &[("before", &last.number.to_string())]));
        Self { days, older, frame: Frame::new(site, catalog, Section::Changes, "Changes", "/changes") }
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }
}

/// Returns where a change leads: to the version, if it has a page, else to the plugin.
fn address(site: &Site, catalog: &Catalog, change: &Change) -> Option<String> {
    let (_, plugin) = catalog.generation().plugin(change.plugin.as_str())?;
    let version = change.version.as_ref().map(PluginVersion::as_str);
    let is_known = |version: &&str| plugin.release(version).is_some() || plugin.refusal(version).is_some();
    Some(site.plugin(&plugin.plugin.id, version.filter(is_known)))
}

#[derive(Debug, Template)]
#[template(path = "changes.xml", config = "src/web/askama.toml")]
struct Feed {
    own: String,
    page: String,
    id: String,
    updated: String,
    entries: Vec<FeedEntry>,
}

#[derive(Debug)]
struct FeedEntry {
    id: String,
    title: String,
    address: String,
    updated: String,
    detail: String,
}

/// Returns changes, newest first, as an Atom feed.
pub(crate) fn atom(site: &Site, catalog: &Catalog, changes: &[Change]) -> PageResult {
    let absolute = |path: String| format!("{}{path}", site.origin);
    let own = absolute(site.own("/changes.atom"));
    let entry = |change: &Change| FeedEntry {
        id: format!("{own}#{}", change.number),
        title: format!("{}: {}", change.words(), change.subject()),
        address: absolute(address(site, catalog, change).unwrap_or_else(|| site.page("/changes", &[]))),
        updated: change.at.to_string(),
        detail: change.detail(),
    };
    let updated = changes.first().map(|change| change.at).or(catalog.generation().synced_at);
    let feed = Feed {
        page: absolute(site.page("/changes", &[])),
        id: own.clone(),
        updated: updated.unwrap_or(Timestamp::from_milliseconds(0)).to_string(),
        entries: changes.iter().map(entry).collect(),
        own,
    };
    feed.render()
}
