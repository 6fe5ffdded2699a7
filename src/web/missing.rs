//! Packages that somebody asked for and that are not here.

use askama::Template;

use super::{
    Catalog, Frame, PageResult, Section, Site,
    format::{Moment, line, number},
    list::{Badge, name},
};
use crate::model::{Platform, PluginId, PluginVersion, Timestamp};

/// A package that somebody asked for.
#[derive(Clone, Debug)]
pub(crate) struct MissingPackage {
    /// The plugin, which is one of the catalog.
    pub plugin: PluginId,
    /// The version; `None` if the newest was asked for, or one that the catalog does not have.
    pub version: Option<PluginVersion>,
    /// The platform, if it was named.
    pub platform: Option<Platform>,
    /// How often.
    pub count: u64,
    /// When last.
    pub last_at: Timestamp,
    /// By what kinds of clients, and which Grafana.
    pub clients: Vec<String>,
    /// The addresses that asked; empty where everybody may read the page.
    pub peers: Vec<String>,
}

/// The packages that are missing, as a page.
#[derive(Debug, Template)]
#[template(path = "missing.html", config = "src/web/askama.toml")]
pub(crate) struct MissingPage {
    frame: Frame,
    rows: Vec<Row>,
    has_peers: bool,
    /// How often somebody asked for plugins that no catalog here has.
    unknown: u64,
}

#[derive(Debug)]
struct Row {
    name: String,
    address: String,
    version: String,
    platform: String,
    count: String,
    last: Moment,
    clients: String,
    peers: String,
    state: Badge,
    why: String,
    command: Option<String>,
}

impl MissingPage {
    /// Makes the page of these packages; `unknown` counts downloads of plugins that the catalog does not have.
    pub(crate) fn new(site: Site, catalog: &Catalog, missing: &[MissingPackage], unknown: u64) -> Self {
        let rows = missing.iter().filter_map(|missing| Row::new(&site, catalog, missing)).collect();
        let has_peers = missing.iter().any(|missing| !missing.peers.is_empty());
        Self {
            rows,
            has_peers,
            unknown,
            frame: Frame::new(site, catalog, Section::Missing, "Missing packages", "/missing"),
        }
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }
}

impl Row {
    /// `None` if the plugin is no longer in this catalog.
    fn new(site: &Site, catalog: &Catalog, missing: &MissingPackage) -> Option<Self> {
        let (_, plugin) = catalog.generation().plugin(missing.plugin.as_str())?;
        let id = &plugin.plugin.id;
        let named = missing.version.as_ref().map(PluginVersion::as_str);
        let release = named.map_or_else(|| plugin.newest(), |version| plugin.release(version));
        let package = release.and_then(|release| release.package(missing.platform.as_ref()));
        let is_here = package.is_some_and(|(_, package)| package.stored.is_some());
        let refusal = named.and_then(|version| plugin.refusal(version));
        let refusal = refusal.filter(|refusal| **refusal != crate::mirror::Refused::NotStored);
        let at = missing.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
        let platform = missing.platform.as_ref().map_or_else(String::new, |platform| format!(" --platform {platform}"));
        let state = match (is_here, refusal) {
            (true, _) => Badge::new("Stored now", "good"),
            (false, Some(_)) => Badge::new("Not served", "warn"),
            (false, None) => Badge::new("Missing", "bad"),
        };
        Some(Self {
            name: name(plugin),
            address: site.plugin(
                id,
                named.filter(|version| plugin.release(version).is_some() || plugin.refusal(version).is_some()),
            ),
            version: named.map_or_else(|| "newest".to_owned(), |version| line(version, 60)),
            platform: missing.platform.as_ref().map_or_else(|| "not named".to_owned(), ToString::to_string),
            count: number(missing.count),
            last: Moment::Minute(missing.last_at),
            clients: missing.clients.join(", "),
            peers: missing.peers.join(", "),
            why: refusal.map(|refusal| line(&format!("It {refusal}."), 300)).unwrap_or_default(),
            command: (!is_here && refusal.is_none()).then(|| format!("plugport fetch {id}{at}{platform}")),
            state,
        })
    }
}
