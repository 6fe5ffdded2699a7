//! What a page shows of a release beside numbers: readme, changelog, screenshots, links, what it needs.
//!
//! *Invariant:* HTML in here is safe in a page of our own, and links lead to `http`, `https`, or an image of this mirror.
//! *Not for:* answers of the API, which have the same texts in another form.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use url::Url;

use super::{
    documents::{self, Links, Object},
    html::safe_html,
    listing::{ServedPlugin, ServedRelease},
    page_html::in_page,
};
use crate::{json::field, model::Dependency};

/// How many bytes of texts are kept: 16 MiB.
const KEPT: usize = 16 << 20;

/// How many links and screenshots of a plugin.json are shown.
const SHOWN: usize = 24;

/// What a page shows of a release.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ReleaseTexts {
    /// The readme as HTML; empty if there is none.
    pub readme: String,
    /// The changelog as HTML; empty if there is none.
    pub changelog: String,
    /// Why it has its status, as text; empty if nobody said.
    pub reason: String,
    /// The addresses of screenshots, each with its name.
    pub screenshots: Vec<NamedLink>,
    /// Links to other sites.
    pub links: Vec<NamedLink>,
    /// The plugins that must be installed with it.
    pub dependencies: Vec<Dependency>,
}

/// An address and what it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedLink {
    /// The name for people.
    pub name: String,
    /// The address.
    pub address: String,
}

/// Texts that were made before; all are forgotten when they are too many.
#[derive(Debug, Default)]
pub(super) struct KeptTexts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    size: usize,
    /// By the positions of the plugin and of the release.
    texts: HashMap<(usize, usize), Arc<ReleaseTexts>>,
}

impl KeptTexts {
    /// Returns the texts of before, or those that `make` makes now.
    pub(super) fn get(&self, key: (usize, usize), make: impl FnOnce() -> ReleaseTexts) -> Arc<ReleaseTexts> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().texts.get(&key) {
            return Arc::clone(known);
        }
        let new = Arc::new(make());
        let mut kept = lock();
        if kept.size + new.size() > KEPT {
            *kept = Kept::default();
        }
        kept.size += new.size();
        kept.texts.insert(key, Arc::clone(&new));
        new
    }
}

impl ReleaseTexts {
    fn size(&self) -> usize {
        self.readme.len() + self.changelog.len() + self.reason.len() + 1_024
    }

    /// Returns the texts of a release; without one those of the plugin.
    pub(super) fn new(plugin: &ServedPlugin, release: Option<&ServedRelease>, links: &Links) -> Self {
        let listed = documents::parse(plugin.detail_raw.as_ref().unwrap_or(&plugin.list_raw));
        let own = release.map(|release| documents::parse(&release.raw)).unwrap_or_default();
        let source = if own.contains_key("readme") { &own } else { &listed };
        let format = documents::format(source);
        let images = release.map(|release| documents::images(plugin, release, source, links.path()));
        let images = images.unwrap_or_default();
        let html = |key: &str| {
            let text = source.get(key).and_then(Value::as_str).unwrap_or_default();
            if text.trim().is_empty() { String::new() } else { in_page(&safe_html(text, format, &images)) }
        };
        let plugin_json = release.map(|release| documents::plugin_json(plugin, release, source)).unwrap_or_default();
        let screenshots = screenshots(&plugin_json).into_iter().filter(|named| images.paths.contains(&named.address));
        let address =
            |named: NamedLink| NamedLink { address: format!("{}{}", images.prefix, encoded(&named.address)), ..named };
        let dependencies = match release.map(|release| &release.plugin_json) {
            Some(Some(_)) => Dependency::read_all(&plugin_json).0,
            _ => plugin.plugin.dependencies.clone(),
        };
        Self {
            readme: html("readme"),
            changelog: html("changelog"),
            reason: reason(&own, plugin),
            screenshots: screenshots.map(address).take(SHOWN).collect(),
            links: links_of(&listed, &plugin_json),
            dependencies,
        }
    }
}

/// Returns why a version, or else its plugin, has the status it has.
fn reason(own: &Object, plugin: &ServedPlugin) -> String {
    let said = own.get("statusContext").and_then(Value::as_str).map(str::trim).filter(|said| !said.is_empty());
    said.unwrap_or_else(|| plugin.plugin.status_context.trim()).to_owned()
}

fn screenshots(plugin_json: &Value) -> Vec<NamedLink> {
    let list = field(plugin_json, "info").and_then(|info| field(info, "screenshots")).and_then(Value::as_array);
    let named = |item: &Value| {
        let path = documents::plain_path(field(item, "path")?.as_str()?);
        let name = field(item, "name").and_then(Value::as_str).unwrap_or_default();
        Some(NamedLink { name: name.to_owned(), address: path })
    };
    list.into_iter().flatten().filter_map(named).collect()
}

/// Returns the links of a plugin to other sites, each address once.
fn links_of(listed: &Object, plugin_json: &Value) -> Vec<NamedLink> {
    let named = |name: &str, address: Option<&str>| {
        let address = Url::parse(address?.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        Some(NamedLink { name: name.to_owned(), address: address.to_string() })
    };
    let text = |key: &str| listed.get(key).and_then(Value::as_str);
    let mut found: Vec<NamedLink> =
        [named("Source", text("url")), named("Publisher", text("orgUrl"))].into_iter().flatten().collect();
    let own = field(plugin_json, "info").and_then(|info| field(info, "links")).and_then(Value::as_array);
    for link in own.into_iter().flatten() {
        let name = field(link, "name").and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty());
        let link = named(name.unwrap_or("Link"), field(link, "url").and_then(Value::as_str));
        found.extend(link.filter(|link| found.iter().all(|known| known.address != link.address)));
    }
    found.truncate(SHOWN);
    found
}

/// Returns a path within a package as a part of an address.
fn encoded(path: &str) -> String {
    path.split('/').map(documents::path_part).collect::<Vec<_>>().join("/")
}
