//! The page of a plugin, or of one of its versions.

use std::sync::Arc;

use askama::Template;

use super::{
    Catalog, Frame, PageResult, Section, Site,
    catalog::type_name,
    format::{Moment, line, number, size},
    install::{Snippet, snippets},
    list::{Badge, logo, name},
    tile,
};
use crate::{
    mirror::{
        Asking, NamedLink, RefusedRelease, ReleaseTexts, Requirement, ServedPackage, ServedPlugin, ServedRelease,
        path_part,
    },
    model::{Digests, Package, Platform, PluginId, PluginVersion, Timestamp},
};

/// How many versions are listed; those before are in the API.
const VERSIONS: usize = 100;

/// How many plugins are named that need this one.
const DEPENDENTS: usize = 40;

/// The page of a plugin, or of one of its versions.
#[derive(Debug, Template)]
#[template(path = "plugin.html", config = "src/web/askama.toml")]
pub(crate) struct PluginPage {
    frame: Frame,
    id: String,
    name: String,
    kind: String,
    publisher: String,
    of_publisher: String,
    description: String,
    logo: Option<String>,
    letter: char,
    colour: u8,
    badges: Vec<Badge>,
    version: Option<String>,
    published: Option<Moment>,
    downloads: Option<String>,
    /// The range of Grafana versions; empty if none is declared.
    range: String,
    works: Option<bool>,
    /// Another version that may be wanted, with its address and what it is.
    other: Option<(String, String, String)>,
    notices: Vec<Notice>,
    snippets: Vec<Snippet>,
    fetch: Option<String>,
    packages: Vec<PackageRow>,
    signatures: Vec<SignatureRow>,
    needs: Vec<Need>,
    needed_by: Vec<(String, String)>,
    more_dependents: usize,
    versions: Vec<VersionRow>,
    more_versions: usize,
    texts: Arc<ReleaseTexts>,
}

/// Something to be read before a version is taken.
#[derive(Debug)]
struct Notice {
    tone: &'static str,
    title: String,
    text: String,
}

#[derive(Debug)]
struct PackageRow {
    platform: String,
    size: String,
    stored: Option<Moment>,
    is_stored: bool,
    sha256: Option<String>,
    md5: Option<String>,
    download: Option<String>,
}

/// What the signature of packages was found to say here.
#[derive(Debug, Eq, PartialEq)]
struct SignatureRow {
    platforms: String,
    verdict: &'static str,
    tone: &'static str,
    detail: String,
    key: Option<String>,
}

#[derive(Debug)]
struct Need {
    id: String,
    name: String,
    address: Option<String>,
    range: String,
    note: &'static str,
}

#[derive(Debug)]
struct VersionRow {
    version: String,
    address: String,
    is_shown: bool,
    published: Moment,
    range: String,
    works: Option<bool>,
    state: Badge,
    why: String,
    platforms: String,
}

/// The version that a page is about.
#[derive(Clone, Copy, Debug)]
enum Shown<'a> {
    Served(&'a ServedRelease),
    Refused(&'a RefusedRelease),
    /// The plugin has none.
    Nothing,
}

impl<'a> Shown<'a> {
    /// Finds a version by its name; without one the newest that works, or else the newest of all.
    fn find(plugin: &'a ServedPlugin, named: Option<&str>, asking: &Asking) -> Option<Self> {
        let Some(named) = named else {
            let served = plugin.newest_for(asking, None).or_else(|| plugin.newest());
            let newest = served.map(Self::Served).or_else(|| plugin.refused.first().map(Self::Refused));
            return Some(newest.unwrap_or(Self::Nothing));
        };
        let served = plugin.release(named).map(Self::Served);
        served.or_else(|| plugin.refused.iter().find(|refused| refused.version.as_str() == named).map(Self::Refused))
    }

    fn release(self) -> Option<&'a ServedRelease> {
        if let Self::Served(release) = self { Some(release) } else { None }
    }

    fn version(self) -> Option<&'a PluginVersion> {
        match self {
            Self::Served(release) => Some(&release.version),
            Self::Refused(refused) => Some(&refused.version),
            Self::Nothing => None,
        }
    }

    fn range(self, plugin: &'a ServedPlugin) -> Option<&'a str> {
        match self {
            Self::Served(release) => release.grafana_dependency.as_deref(),
            Self::Refused(refused) => refused.grafana_dependency.as_deref(),
            Self::Nothing => plugin.plugin.grafana_dependency.as_deref(),
        }
    }

    fn created_at(self) -> Option<Timestamp> {
        match self {
            Self::Served(release) => Some(release.created_at),
            Self::Refused(refused) => Some(refused.created_at),
            Self::Nothing => None,
        }
    }
}

impl PluginPage {
    /// Makes the page of the plugin at a position; `None` if it has no such version.
    pub(crate) fn new(site: Site, catalog: &Catalog, at: usize, version: Option<&str>) -> Option<Self> {
        let plugin = catalog.plugin(at);
        let (known, id) = (&plugin.plugin, &plugin.plugin.id);
        let asking = site.grafana.asking();
        let shown = Shown::find(plugin, version, &asking)?;
        let texts = catalog.generation().texts(at, shown.release());
        let works = site.grafana.version().map(|_| Requirement::new(shown.range(plugin)).allows(&asking));
        let path = match version {
            Some(version) => format!("/plugins/{id}/{}", path_part(version)),
            None => format!("/plugins/{id}"),
        };
        let title = match (version, shown.version()) {
            (Some(_), Some(version)) => format!("{} {}", name(plugin), line(version.as_str(), 40)),
            _ => name(plugin),
        };
        let packages = packages(&site, id, shown);
        let signatures = signatures(shown);
        let is_unsigned = signatures.iter().any(|row| row.verdict == "Unsigned");
        let is_stored = packages.iter().any(|package| package.is_stored);
        let versions = versions(&site, plugin, shown, &asking);
        let publisher = if known.org.is_empty() { &known.org_name } else { &known.org };
        let dependents: Vec<_> = catalog.dependents(id).collect();
        let named = |plugin: &&ServedPlugin| (name(plugin), site.plugin(&plugin.plugin.id, None));
        Some(Self {
            id: id.to_string(),
            name: name(plugin),
            kind: type_name(&known.plugin_type),
            publisher: line(if known.org_name.is_empty() { &known.org } else { &known.org_name }, 80),
            of_publisher: site.page("/", &[("publisher", publisher)]),
            description: line(&known.description, 1_000),
            logo: shown.release().and_then(|release| logo(&site, plugin, release)),
            letter: tile::letter(&known.name),
            colour: tile::colour(id),
            badges: Badge::of_plugin(plugin),
            version: shown.version().map(|version| line(version.as_str(), 60)),
            published: shown.created_at().map(Moment::Date),
            downloads: (known.downloads > 0).then(|| number(known.downloads)),
            range: line(shown.range(plugin).unwrap_or_default(), 80),
            works,
            other: other(&site, plugin, shown, works),
            notices: notices(&site, plugin, shown, works, &texts),
            snippets: match shown.version() {
                Some(version) if is_stored => snippets(&site, id, version, is_unsigned),
                _ => Vec::new(),
            },
            fetch: shown.version().filter(|_| !is_stored).map(|version| format!("plugport fetch {id}@{version}")),
            packages,
            signatures,
            needs: texts.dependencies.iter().map(|needed| Need::new(&site, catalog, needed)).collect(),
            more_dependents: dependents.len().saturating_sub(DEPENDENTS),
            needed_by: dependents.iter().take(DEPENDENTS).map(named).collect(),
            more_versions: versions.len().saturating_sub(VERSIONS),
            versions: versions.into_iter().take(VERSIONS).collect(),
            texts,
            frame: Frame::new(site, catalog, Section::Plugins, title, &path),
        })
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }
}

/// Returns the newest version if another one is shown, or the newest that works if the one that is shown does not.
fn other(
    site: &Site,
    plugin: &ServedPlugin,
    shown: Shown<'_>,
    works: Option<bool>,
) -> Option<(String, String, String)> {
    let asking = site.grafana.asking();
    let (release, what) = match works {
        Some(_) => (plugin.newest_for(&asking, None)?, format!("works with Grafana {}", line(site.grafana.text(), 64))),
        None => (plugin.newest()?, "is served".to_owned()),
    };
    let version = release.version.as_str();
    let is_other = shown.version().is_none_or(|shown| shown.as_str() != version);
    is_other.then(|| (line(version, 60), site.plugin(&plugin.plugin.id, Some(version)), what))
}

/// Says what is wrong with a version, the worst first.
fn notices(
    site: &Site,
    plugin: &ServedPlugin,
    shown: Shown<'_>,
    works: Option<bool>,
    texts: &ReleaseTexts,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |tone, title: String, text: String| notices.push(Notice { tone, title, text });
    let reason = |nobody: &str| if texts.reason.is_empty() { nobody.to_owned() } else { line(&texts.reason, 2_000) };
    let of_plugin = super::catalog::status(plugin);
    let status = shown.release().map_or(of_plugin, |release| release.status.as_str());
    if of_plugin == "withdrawn" {
        add(
            "bad",
            "This plugin was withdrawn".to_owned(),
            reason("Its catalog no longer lists it, and gives no reason."),
        );
    } else if status == "deleted" {
        add(
            "bad",
            "This version was withdrawn".to_owned(),
            reason("Its catalog no longer lists it, and gives no reason."),
        );
    } else if status == "deprecated" || of_plugin == "deprecated" {
        add("warn", "The publisher advises against it".to_owned(), reason("It is deprecated; no reason is given."));
    }
    if let Shown::Refused(refused) = shown {
        let version = line(refused.version.as_str(), 60);
        add("warn", format!("Version {version} is not served"), format!("It {}.", line(&refused.why.to_string(), 400)));
    }
    if works == Some(false) {
        let range = line(shown.range(plugin).unwrap_or_default(), 80);
        let title = format!("It does not work with Grafana {}", line(site.grafana.text(), 64));
        add("warn", title, format!("This version needs Grafana {range}."));
    }
    notices
}

fn packages(site: &Site, id: &PluginId, shown: Shown<'_>) -> Vec<PackageRow> {
    match shown {
        Shown::Served(release) => {
            let row = |(platform, package)| PackageRow::served(site, id, release, platform, package);
            release.packages.iter().flatten().map(row).collect()
        }
        Shown::Refused(refused) => {
            let row = |(platform, package)| PackageRow::refused(refused, platform, package);
            refused.packages.iter().map(row).collect()
        }
        Shown::Nothing => Vec::new(),
    }
}

impl PackageRow {
    fn new(platform: &Platform, digests: Digests, bytes: Option<u64>) -> Self {
        Self {
            platform: platform.to_string(),
            size: bytes.map_or_else(|| "not known".to_owned(), size),
            stored: None,
            is_stored: false,
            sha256: digests.sha256.map(|digest| digest.to_string()),
            md5: digests.md5.map(|digest| digest.to_string()),
            download: None,
        }
    }

    fn served(
        site: &Site,
        id: &PluginId,
        release: &ServedRelease,
        platform: &Platform,
        package: &ServedPackage,
    ) -> Self {
        let query = platform.os_arch().map_or_else(String::new, |(os, arch)| format!("?os={os}&arch={arch}"));
        let version = path_part(release.version.as_str());
        let path = format!("/api/plugins/{id}/versions/{version}/download{query}");
        Self {
            stored: package.added_at.map(Moment::Date),
            is_stored: package.stored.is_some(),
            download: package.stored.map(|_| site.own(&path)),
            ..Self::new(platform, package.digests, package.size)
        }
    }

    fn refused(refused: &RefusedRelease, platform: &Platform, package: &Package) -> Self {
        Self { is_stored: refused.stored.contains(platform), ..Self::new(platform, package.digests, package.size) }
    }
}

/// Returns what the signatures of the stored packages say, packages with the same together.
fn signatures(shown: Shown<'_>) -> Vec<SignatureRow> {
    let mut rows: Vec<SignatureRow> = Vec::new();
    let packages = shown.release().and_then(|release| release.packages.as_ref());
    for (platform, package) in packages.into_iter().flatten().filter(|(_, package)| package.stored.is_some()) {
        let row = SignatureRow::new(package.signer.as_deref());
        match rows.iter_mut().find(|known| known.says_the_same(&row)) {
            Some(known) => known.platforms = format!("{}, {platform}", known.platforms),
            None => rows.push(SignatureRow { platforms: platform.to_string(), ..row }),
        }
    }
    rows
}

impl SignatureRow {
    /// Reads what was recorded of a package: `valid: community by acme, key 7e4d0c6a708866e7`.
    fn new(signer: Option<&str>) -> Self {
        let row = |verdict, tone| Self { platforms: String::new(), verdict, tone, detail: String::new(), key: None };
        let Some(signer) = signer else {
            let detail = "This mirror does not evaluate signatures (`trust.signatures`).".to_owned();
            return Self { detail, ..row("Not checked", "plain") };
        };
        let (words, key) = match signer.rsplit_once(", key ") {
            Some((words, key)) => (words, Some(line(key, 64))),
            None => (signer, None),
        };
        let (status, who) = words.split_once(": ").unwrap_or((words, ""));
        let (verdict, tone) = match status {
            "valid" => ("Valid", "good"),
            "unsigned" => ("Unsigned", "warn"),
            "modified" => ("Modified", "bad"),
            _ => ("Invalid", "bad"),
        };
        let detail = match who.split_once(" by ") {
            Some((kind, org)) => format!("{}, signed by {}", line(kind, 40), line(org, 160)),
            None => line(who, 200),
        };
        Self { detail, key, ..row(verdict, tone) }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.verdict, &self.detail, &self.key) == (other.verdict, &other.detail, &other.key)
    }
}

impl Need {
    fn new(site: &Site, catalog: &Catalog, needed: &crate::model::Dependency) -> Self {
        let found = catalog.generation().plugin(needed.id.as_str()).map(|(_, plugin)| plugin);
        let note = match found {
            None => "not in this catalog",
            Some(plugin) if plugin.plugin.internal => "part of Grafana",
            Some(plugin) if super::catalog::is_stored(plugin) => "",
            Some(_) => "not stored here",
        };
        Self {
            id: needed.id.to_string(),
            name: found.map_or_else(|| needed.id.to_string(), name),
            address: found.map(|plugin| site.plugin(&plugin.plugin.id, None)),
            range: needed.range.as_ref().map(|range| line(&range.to_string(), 80)).unwrap_or_default(),
            note,
        }
    }
}

/// Returns all versions, served or refused, newest first.
fn versions(site: &Site, plugin: &ServedPlugin, shown: Shown<'_>, asking: &Asking) -> Vec<VersionRow> {
    let works = |range: Option<&str>| site.grafana.version().map(|_| Requirement::new(range).allows(asking));
    let row = |version: &PluginVersion, published: Timestamp, range: Option<&str>| VersionRow {
        version: line(version.as_str(), 60),
        address: site.plugin(&plugin.plugin.id, Some(version.as_str())),
        is_shown: shown.version() == Some(version),
        published: Moment::Date(published),
        range: line(range.unwrap_or_default(), 80),
        works: works(range),
        state: Badge::new("Served", "good"),
        why: String::new(),
        platforms: String::new(),
    };
    let served = plugin.releases.iter().map(|release| {
        let stored = release.packages.iter().flatten().filter(|(_, package)| package.stored.is_some());
        let platforms: Vec<_> = stored.map(|(platform, _)| platform.as_str()).collect();
        let state = match release.status.as_str() {
            "active" if platforms.is_empty() => Badge::new("Not stored", "plain"),
            "active" => Badge::new("Served", "good"),
            "deleted" => Badge::new("Withdrawn", "bad"),
            "deprecated" => Badge::new("Deprecated", "warn"),
            other => Badge::new(line(other, 30), "plain"),
        };
        let base = row(&release.version, release.created_at, release.grafana_dependency.as_deref());
        (&release.version, VersionRow { state, platforms: platforms.join(", "), ..base })
    });
    let refused = plugin.refused.iter().map(|refused| {
        let is_missing = refused.why == crate::mirror::Refused::NotStored;
        let state = if is_missing { Badge::new("Not stored", "plain") } else { Badge::new("Not served", "warn") };
        let why = if is_missing { String::new() } else { line(&format!("It {}.", refused.why), 300) };
        let base = row(&refused.version, refused.created_at, refused.grafana_dependency.as_deref());
        (&refused.version, VersionRow { state, why, ..base })
    });
    let mut rows: Vec<_> = served.chain(refused).collect();
    rows.sort_by(|(left, _), (right, _)| right.cmp_precedence(left));
    rows.into_iter().map(|(_, row)| row).collect()
}

impl PluginPage {
    fn has_screenshots(&self) -> bool {
        !self.texts.screenshots.is_empty()
    }

    fn links(&self) -> &[NamedLink] {
        &self.texts.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_verdict_is_read() {
        let row = SignatureRow::new(Some("valid: community by acme, key 7e4d0c6a708866e7"));
        assert_eq!(
            (row.verdict, row.detail.as_str(), row.key.as_deref()),
            ("Valid", "community, signed by acme", Some("7e4d0c6a708866e7"))
        );
        assert_eq!(SignatureRow::new(Some("unsigned")).verdict, "Unsigned");
        assert_eq!(SignatureRow::new(Some("modified: grafana by x, key 1")).verdict, "Modified");
        assert_eq!(SignatureRow::new(Some("anything")).verdict, "Invalid");
        assert_eq!(SignatureRow::new(None).verdict, "Not checked");
    }
}
