//! A catalog as it is served: one immutable value, swapped whole.
//!
//! *Invariant:* every answer is made from one generation, so that a list and what it leads to fit together. Its id is made
//! of its content: two mirrors with the same content have the same.
//! *Not for:* HTTP.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    answers::{AnswerKey, AnswerKind, Answers},
    coding::Coded,
    documents::{self, Links},
    listing::{Asking, Refused, ServedPlugin, ServedRelease, next_due},
    texts::{KeptTexts, ReleaseTexts},
};
use crate::model::{Platform, PluginStatus, Sha256Digest, Timestamp};

/// A catalog as it is served.
#[derive(Debug)]
pub(crate) struct Generation {
    id: String,
    links: Links,
    plugins: Vec<ServedPlugin>,
    by_id: HashMap<String, usize>,
    by_number: HashMap<u64, usize>,
    /// The plugins that are listed, each with its object in the list.
    listed: Vec<(usize, Bytes)>,
    list: Coded,
    list_with_deprecated: Coded,
    answers: Answers,
    texts: KeptTexts,
    /// When the catalog was last synced.
    pub synced_at: Option<Timestamp>,
    counts: Counts,
    /// When the next version is old enough.
    pub due: Option<Timestamp>,
}

/// How much is in a generation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Plugins in the list, deprecated ones too.
    pub plugins: usize,
    /// Versions that are listed.
    pub versions: usize,
    /// Packages that can be downloaded.
    pub packages: usize,
    /// Versions that the signature policy refuses.
    pub unsigned: usize,
    /// Versions that an alert holds back.
    pub alerted: usize,
    /// Versions that are too new.
    pub too_new: usize,
}

impl Generation {
    /// Makes a generation of these plugins.
    pub(crate) fn new(mut plugins: Vec<ServedPlugin>, links: Links, synced_at: Option<Timestamp>) -> Self {
        plugins.sort_by(|left, right| left.plugin.id.cmp(&right.plugin.id));
        let mut hash = Sha256::new();
        let mut listed = Vec::new();
        for (at, plugin) in plugins.iter().enumerate() {
            add_content(&mut hash, plugin);
            if plugin.is_listed() {
                listed.push((at, Bytes::from(documents::list_item(plugin, &links).to_string())));
            }
        }
        let by_id = plugins.iter().enumerate().map(|(at, plugin)| (plugin.plugin.id.to_string(), at)).collect();
        let by_number = plugins.iter().enumerate().map(|(at, plugin)| (plugin.number, at)).collect();
        let is_deprecated = |at: usize| plugins[at].plugin.status == PluginStatus::Deprecated;
        let items = |with_deprecated: bool| listed.iter().filter(move |(at, _)| with_deprecated || !is_deprecated(*at));
        let list = Coded::new(envelope(items(false).map(|(_, item)| item)));
        let list_with_deprecated = Coded::new(envelope(items(true).map(|(_, item)| item)));
        let id = hex::encode(&hash.finalize()[..16]);
        let due = next_due(plugins.iter());
        let (answers, texts, counts) = (Answers::default(), KeptTexts::default(), count(&plugins));
        Self {
            id,
            links,
            plugins,
            by_id,
            by_number,
            listed,
            list,
            list_with_deprecated,
            answers,
            texts,
            synced_at,
            counts,
            due,
        }
    }

    /// Returns the id: 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns a plugin by its id or its number, with its position.
    pub(crate) fn plugin(&self, name: &str) -> Option<(usize, &ServedPlugin)> {
        let at = self.by_id.get(name).copied();
        let at = at.or_else(|| self.by_number.get(&name.parse::<u64>().ok()?).copied())?;
        self.plugins.get(at).map(|plugin| (at, plugin))
    }

    /// Returns all plugins, in the order of their ids.
    pub(crate) fn plugins(&self) -> &[ServedPlugin] {
        &self.plugins
    }

    /// Returns where the API is.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Returns what a page shows of a release, or of the plugin at this position if it has none.
    pub(crate) fn texts(&self, at: usize, release: Option<&ServedRelease>) -> Arc<ReleaseTexts> {
        let plugin = &self.plugins[at];
        let key = (at, release.and_then(|release| position(plugin, release)).unwrap_or(usize::MAX));
        self.texts.get(key, || ReleaseTexts::new(plugin, release, &self.links))
    }

    /// Returns how much there is.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the list of plugins.
    pub(crate) fn list(&self, with_deprecated: bool) -> &Coded {
        if with_deprecated { &self.list_with_deprecated } else { &self.list }
    }

    /// Returns the list of these plugins; the names are read as ids.
    pub(crate) fn list_of<'a>(&self, names: impl Iterator<Item = &'a str>, with_deprecated: bool) -> Coded {
        let mut wanted: Vec<usize> = names.filter_map(|name| self.by_id.get(name).copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let is_wanted = |at: usize| {
            let is_shown = with_deprecated || self.plugins[at].plugin.status != PluginStatus::Deprecated;
            is_shown && wanted.binary_search(&at).is_ok()
        };
        Coded::new(envelope(self.listed.iter().filter(|(at, _)| is_wanted(*at)).map(|(_, item)| item)))
    }

    /// Returns the details of a plugin, of one version if that is named.
    pub(crate) fn detail(&self, at: usize, release: Option<&ServedRelease>) -> Coded {
        let plugin = &self.plugins[at];
        let position = release.and_then(|release| position(plugin, release));
        let class = position.map_or_else(Box::default, |position| position.to_be_bytes().into());
        let key = AnswerKey { kind: AnswerKind::Detail, plugin: Some(at), class };
        let release = release.or_else(|| plugin.newest());
        self.answers.get(key, || Coded::from_json(&documents::detail(plugin, release, &self.links)))
    }

    /// Returns the list of a plugin's versions for a Grafana; `None` if none is listed.
    pub(crate) fn versions(&self, at: usize, asking: &Asking) -> Option<Coded> {
        let plugin = &self.plugins[at];
        let listed: Vec<_> = plugin.listed().collect();
        if listed.is_empty() {
            return None;
        }
        let class = bits(listed.iter().map(|release| release.requirement.allows(asking)));
        let key = AnswerKey { kind: AnswerKind::Versions, plugin: Some(at), class };
        Some(self.answers.get(key, || {
            let items = listed.iter().map(|release| documents::version(plugin, release, asking, &self.links));
            let own = format!("/plugins/{}/versions", plugin.plugin.id);
            let links = json!([{ "rel": "self", "href": own }]);
            let items: Vec<_> = items.map(Value::Object).collect();
            Coded::from_json(&json!({ "items": items, "orderBy": "id", "direction": "desc", "links": links }))
        }))
    }

    /// Returns one version of a plugin.
    pub(crate) fn version(&self, at: usize, release: &ServedRelease, asking: &Asking) -> Coded {
        let plugin = &self.plugins[at];
        let kind = AnswerKind::Version(position(plugin, release).unwrap_or(usize::MAX));
        let key = AnswerKey { kind, plugin: Some(at), class: bits([release.requirement.allows(asking)].into_iter()) };
        self.answers.get(key, || Coded::from_json(&documents::single_version(plugin, release, asking, &self.links)))
    }

    /// Returns a plugin as older clients read it; `None` if it has no version for them, on which they would crash
    /// (protocol page 13.1, C7).
    pub(crate) fn repo(&self, at: usize, asking: &Asking, platform: Option<&Platform>) -> Option<Coded> {
        let plugin = &self.plugins[at];
        let (releases, class) = usable(plugin, asking, platform)?;
        let key = AnswerKey { kind: AnswerKind::Repo, plugin: Some(at), class };
        Some(self.answers.get(key, || Coded::from_json(&documents::repo_entry(plugin, &releases))))
    }

    /// Returns all plugins that have a version for an older client.
    pub(crate) fn repo_list(&self, asking: &Asking, platform: Option<&Platform>) -> Coded {
        let of_plugin = |(at, _): &(usize, Bytes)| {
            let plugin = self.plugins.get(*at)?;
            let is_active = plugin.plugin.status != PluginStatus::Deprecated;
            usable(plugin, asking, platform)
                .filter(|_| is_active)
                .map(|(releases, class)| (*at, plugin, releases, class))
        };
        let entries: Vec<_> = self.listed.iter().filter_map(of_plugin).collect();
        let class =
            entries.iter().flat_map(|(at, _, _, class)| at.to_be_bytes().into_iter().chain(class.iter().copied()));
        let key = AnswerKey {
            kind: AnswerKind::Repo,
            plugin: None,
            class: Sha256::digest(class.collect::<Vec<_>>())[..].into(),
        };
        self.answers.get(key, || {
            let plugins = entries.iter().map(|(_, plugin, releases, _)| documents::repo_entry(plugin, releases));
            Coded::from_json(&json!({ "plugins": plugins.collect::<Vec<_>>(), "version": self.id }))
        })
    }

    /// Returns the newest version of each of these plugins that a Grafana can use, as the poller reads it.
    pub(crate) fn newest_versions<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        asking: &Asking,
        platform: Option<&Platform>,
    ) -> Value {
        let newest = |name: &str| {
            let (_, plugin) = self.by_id.get(name).and_then(|_| self.plugin(name))?;
            let release = plugin.newest_for(asking, platform).filter(|_| plugin.is_listed())?;
            Some(json!({ "slug": plugin.plugin.id, "version": release.version }))
        };
        let mut seen = HashSet::new();
        Value::Array(names.filter(|name| seen.insert(*name)).filter_map(newest).collect())
    }

    /// Returns the packages that can be downloaded, each digest once.
    pub(crate) fn stored(&self) -> Vec<Sha256Digest> {
        let releases = self.plugins.iter().flat_map(|plugin| &plugin.releases);
        let packages = releases.filter_map(|release| release.packages.as_ref()).flat_map(BTreeMap::values);
        let mut digests: Vec<_> = packages.filter_map(|package| package.stored).collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }
}

fn count(plugins: &[ServedPlugin]) -> Counts {
    let mut counts = Counts::default();
    for plugin in plugins {
        if plugin.is_listed() {
            counts.plugins += 1;
            counts.versions += plugin.listed().count();
        }
        let packages = plugin.releases.iter().filter_map(|release| release.packages.as_ref());
        counts.packages += packages.flat_map(BTreeMap::values).filter(|package| package.stored.is_some()).count();
        for refused in &plugin.refused {
            match refused.why {
                Refused::NotStored | Refused::Denied(_) => {}
                Refused::Signature(_) => counts.unsigned += 1,
                Refused::TooNew(_) => counts.too_new += 1,
                Refused::Alert(_) => counts.alerted += 1,
            }
        }
    }
    counts
}

/// What a Grafana that asks is given of a plugin, newest first, and which releases that are.
fn usable<'a>(
    plugin: &'a ServedPlugin,
    asking: &Asking,
    platform: Option<&Platform>,
) -> Option<(Vec<&'a ServedRelease>, Box<[u8]>)> {
    // grafana.com leaves core plugins out here.
    if plugin.plugin.internal || !plugin.is_listed() {
        return None;
    }
    let fits = |release: &ServedRelease| release.requirement.allows(asking) && release.has_platform(platform);
    let class = bits(plugin.listed().map(&fits));
    let releases: Vec<_> = plugin.listed().filter(|release| fits(release)).collect();
    (!releases.is_empty()).then_some((releases, class))
}

fn position(plugin: &ServedPlugin, release: &ServedRelease) -> Option<usize> {
    plugin.releases.iter().position(|known| known.version == release.version)
}

/// Packs answers of yes and no, eight to a byte.
fn bits(answers: impl Iterator<Item = bool>) -> Box<[u8]> {
    let mut packed = Vec::new();
    for (at, yes) in answers.enumerate() {
        if at % 8 == 0 {
            packed.push(0);
        }
        if let (true, Some(last)) = (yes, packed.last_mut()) {
            *last |= 1 << (at % 8);
        }
    }
    packed.into()
}

fn envelope<'a>(items: impl Iterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut text = b"{\"items\":[".to_vec();
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item);
    }
    let links = r#"],"orderBy":"weight","direction":"asc","links":[{"rel":"self","href":"/plugins"}]}"#;
    text.extend_from_slice(links.as_bytes());
    text
}

/// Adds all that answers about a plugin are made of.
fn add_content(hash: &mut Sha256, plugin: &ServedPlugin) {
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(plugin.plugin.id.as_str().as_bytes());
    add(&plugin.number.to_be_bytes());
    add(plugin.list_raw.as_bytes());
    add(plugin.detail_raw.as_deref().unwrap_or_default().as_bytes());
    add(plugin.plugin.status.as_str().as_bytes());
    add(&[u8::from(plugin.is_withdrawn)]);
    for release in &plugin.releases {
        add(release.version.as_str().as_bytes());
        add(release.status.as_bytes());
        add(&[u8::from(release.is_listed)]);
        add(release.raw.as_bytes());
        for (platform, package) in release.packages.iter().flatten() {
            add(platform.as_str().as_bytes());
            add(package.digests.describe().as_bytes());
            add(&[u8::from(package.stored.is_some())]);
        }
    }
    for refused in &plugin.refused {
        add(refused.version.as_str().as_bytes());
        add(refused.why.to_string().as_bytes());
    }
}
