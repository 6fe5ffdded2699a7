//! Plugins and versions in the words of grafana.com's API (protocol page 2.3, 3.1 and 3.3).
//!
//! *Invariant:* a field of the upstream is kept unless it would be wrong here: what depends on what is stored, what clients
//! crash on in another type, links, and texts that Grafana puts into its pages. Required fields are always there.
//! *Not for:* deciding what is listed.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    html::{Images, TextFormat, safe_html},
    listing::{Asking, ServedPackage, ServedPlugin, ServedRelease, version_number},
};
use crate::{
    json::field,
    model::{Platform, PluginType, Timestamp},
};

/// Where the API is, for the links in answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Links {
    /// What is put before `/api`: the public address without a slash at its end, and the channel.
    pub prefix: String,
}

impl Links {
    /// Returns the prefix without the server: what is put before paths in links within the same site.
    pub(crate) fn path(&self) -> &str {
        let Some((_, rest)) = self.prefix.split_once("://") else { return &self.prefix };
        rest.find('/').map_or("", |start| &rest[start..])
    }

    /// Returns the scheme and the server, `https://mirror.example`; empty if nobody named them.
    pub(crate) fn origin(&self) -> &str {
        &self.prefix[..self.prefix.len() - self.path().len()]
    }
}

pub(super) type Object = Map<String, Value>;

/// Fields that the published schema requires as texts and numbers.
const TEXTS: [&str; 14] = [
    "url",
    "orgName",
    "orgSlug",
    "orgUrl",
    "typeName",
    "typeCode",
    "versionSignatureType",
    "versionSignedByOrg",
    "versionSignedByOrgName",
    "versionDistributionType",
    "signatureType",
    "downloadSlug",
    "description",
    "statusContext",
];
const NUMBERS: [&str; 6] = ["userId", "orgId", "featured", "popularity", "typeId", "downloads"];
const FLAGS: [&str; 3] = ["verified", "internal", "angularDetected"];

/// What an entry of the upstream may have that is no field of a plugin or a version here.
const DROPPED: [&str; 9] =
    ["readme", "changelog", "versions", "arch", "download", "links", FORMAT, "origin", "shadows"];

/// The key that says how readme and changelog are written, if it is Markdown.
pub(crate) const FORMAT: &str = "textFormat";

/// Returns a plugin as the list has it.
pub(super) fn list_item(plugin: &ServedPlugin, links: &Links) -> Value {
    Value::Object(plugin_object(plugin, &plugin.list_raw, plugin.newest(), links))
}

/// Returns the details of a plugin, with `release` as its version.
pub(super) fn detail(plugin: &ServedPlugin, release: Option<&ServedRelease>, links: &Links) -> Value {
    let raw = plugin.detail_raw.as_ref().unwrap_or(&plugin.list_raw);
    let mut object = plugin_object(plugin, raw, release, links);
    let source = parse(raw);
    add_texts(&mut object, &source, plugin, release);
    Value::Object(object)
}

/// Returns a version as the list of versions has it.
pub(super) fn version(plugin: &ServedPlugin, release: &ServedRelease, asking: &Asking, links: &Links) -> Object {
    let id = &plugin.plugin.id;
    let mut object = parse(&release.raw);
    let source_number = object.get("id").and_then(Value::as_u64);
    object.retain(|key, _| !DROPPED.contains(&key.as_str()) && key != "json");
    let updated_at = time(object.get("updatedAt"));
    let distribution = text(&object, "versionDistributionType");
    let fields = json!({
        "id": source_number.unwrap_or_else(|| version_number(id, &release.version)),
        "pluginId": plugin.number,
        "pluginSlug": id,
        "version": release.version,
        "url": text(&object, "url"),
        "commit": text(&object, "commit"),
        "description": text(&object, "description"),
        "createdAt": release.created_at.to_string(),
        "updatedAt": updated_at.map(|time| time.to_string()),
        "downloads": number(&object, "downloads"),
        "verified": flag(&object, "verified"),
        "status": release.status,
        "statusContext": text(&object, "statusContext"),
        "downloadSlug": id,
        "angularDetected": release.is_angular,
        "versionDistributionType": distribution,
        "isCompatible": release.requirement.allows(asking),
        "grafanaDependency": release.grafana_dependency,
        "packages": packages(plugin, release, links),
        "links": version_links(plugin, release),
    });
    merge(&mut object, fields);
    object
}

/// Returns one version with all that is known of it.
pub(super) fn single_version(plugin: &ServedPlugin, release: &ServedRelease, asking: &Asking, links: &Links) -> Value {
    let mut object = version(plugin, release, asking, links);
    let signature = &plugin.plugin.signature;
    merge(
        &mut object,
        json!({
            "signatureType": signature.signature_type,
            "signedByOrg": signature.org,
            "signedByOrgName": signature.org_name,
        }),
    );
    let mut source = parse(&release.raw);
    if !source.contains_key("readme") {
        source = parse(plugin.detail_raw.as_ref().unwrap_or(&plugin.list_raw));
    }
    object.insert("json".to_owned(), plugin_json(plugin, release, &source));
    add_texts(&mut object, &source, plugin, Some(release));
    Value::Object(object)
}

/// Returns a plugin as the older clients read it (protocol page 2.3.3), with these versions.
pub(super) fn repo_entry(plugin: &ServedPlugin, releases: &[&ServedRelease]) -> Value {
    let versions = releases.iter().map(|release| {
        let source = parse(&release.raw);
        let url = text(&source, "url");
        let mut version = json!({
            "version": release.version,
            "commit": text(&source, "commit"),
            "url": url,
            "repoURL": url,
        });
        if let Some(packages) = &release.packages {
            let digests = |package: &ServedPackage| {
                let (md5, sha256) = (package.digests.md5, package.digests.sha256);
                let mut digests = Object::new();
                digests.extend(md5.map(|md5| ("md5".to_owned(), md5.to_string().into())));
                digests.extend(sha256.map(|sha256| ("sha256".to_owned(), sha256.to_string().into())));
                Value::Object(digests)
            };
            let arch = packages.iter().map(|(platform, package)| (platform.to_string(), digests(package)));
            version["arch"] = Value::Object(arch.collect());
        }
        version
    });
    let category = text(&parse(&plugin.list_raw), "category");
    json!({ "id": plugin.plugin.id, "category": category, "versions": versions.collect::<Vec<_>>() })
}

fn plugin_object(plugin: &ServedPlugin, raw: &str, release: Option<&ServedRelease>, links: &Links) -> Object {
    let (known, id) = (&plugin.plugin, &plugin.plugin.id);
    let source = parse(raw);
    // A folder of plugin.json files has no catalog entries.
    let is_entry = source.get("slug").is_some_and(Value::is_string);
    let mut object = if is_entry { source.clone() } else { Object::new() };
    object.retain(|key, _| !DROPPED.contains(&key.as_str()));
    let created_at = known.created_at.unwrap_or(plugin.first_seen);
    let (type_id, type_name) = kind(&known.plugin_type);
    let fields = json!({
        "id": plugin.number,
        "slug": id,
        "name": known.name,
        "status": known.status.as_str(),
        "statusContext": known.status_context,
        "typeCode": known.plugin_type.as_str(),
        "description": known.description,
        "orgSlug": known.org,
        "orgName": known.org_name,
        "downloads": known.downloads,
        "createdAt": created_at.to_string(),
        "updatedAt": known.updated_at.unwrap_or(created_at).to_string(),
        "internal": known.internal,
        "downloadSlug": id,
        "version": release.map_or("", |release| release.version.as_str()),
        "versionStatus": release.map_or("active", |release| release.status.as_str()),
        "angularDetected": release.map_or(known.angular, |release| release.is_angular),
        "packages": release.map_or_else(|| json!({}), |release| match packages(plugin, release, links) {
            Value::Null => json!({}),
            packages => packages,
        }),
    });
    merge(&mut object, fields);
    require(&mut object, "typeId", Value::is_number, || type_id.into());
    require(&mut object, "typeName", |value| value.as_str().is_some_and(|text| !text.is_empty()), || type_name.into());
    if let Some(release) = release {
        let own = plugin_json(plugin, release, &source);
        if is_entry && !source.contains_key("json") && release.plugin_json.is_none() {
            object.shift_remove("json");
        } else {
            object.insert("json".to_owned(), own);
        }
        object.insert("grafanaDependency".to_owned(), release.grafana_dependency.clone().unwrap_or_default().into());
    }
    require_types(&mut object);
    object.insert("links".to_owned(), plugin_links(plugin, release));
    object
}

/// Adds what is required and missing, or of another type than clients read.
fn require_types(object: &mut Object) {
    for key in TEXTS {
        require(object, key, Value::is_string, || "".into());
    }
    for key in NUMBERS {
        require(object, key, Value::is_number, || 0.into());
    }
    for key in FLAGS {
        require(object, key, Value::is_boolean, || false.into());
    }
    if object.get("keywords").is_some_and(|keywords| !keywords.is_array()) {
        object.shift_remove("keywords");
    }
}

fn require(object: &mut Object, key: &str, is_right: impl Fn(&Value) -> bool, default: impl FnOnce() -> Value) {
    if !object.get(key).is_some_and(is_right) {
        object.insert(key.to_owned(), default());
    }
}

fn kind(plugin_type: &PluginType) -> (u64, &'static str) {
    match plugin_type {
        PluginType::App => (1, "Application"),
        PluginType::Datasource => (2, "Data Source"),
        PluginType::Panel => (3, "Panel"),
        PluginType::Renderer => (4, "Renderer"),
        PluginType::Other(_) => (0, "Other"),
    }
}

/// Returns the packages of a release by platform; nothing if nobody names any, since an empty object means that it cannot
/// be installed anywhere (protocol page 2.3.1).
fn packages(plugin: &ServedPlugin, release: &ServedRelease, links: &Links) -> Value {
    let Some(packages) = &release.packages else { return Value::Null };
    let (id, version) = (&plugin.plugin.id, &release.version);
    let entry = |(platform, package): (&Platform, &ServedPackage)| {
        let query = platform.os_arch().map_or_else(String::new, |(os, arch)| format!("?os={os}&arch={arch}"));
        let mut entry = Object::new();
        entry.insert("packageName".to_owned(), platform.as_str().into());
        let (md5, sha256) = (package.digests.md5, package.digests.sha256);
        entry.extend(md5.map(|md5| ("md5".to_owned(), md5.to_string().into())));
        entry.extend(sha256.map(|sha256| ("sha256".to_owned(), sha256.to_string().into())));
        entry.extend(package.size.map(|size| ("size".to_owned(), size.into())));
        let version = path_part(version.as_str());
        let link = format!("{}/api/plugins/{id}/versions/{version}/download{query}", links.prefix);
        entry.insert("downloadUrl".to_owned(), link.into());
        (platform.to_string(), Value::Object(entry))
    };
    Value::Object(packages.iter().map(entry).collect())
}

/// Returns the links of a plugin, below the API as grafana.com writes them.
fn plugin_links(plugin: &ServedPlugin, release: Option<&ServedRelease>) -> Value {
    let own = format!("/plugins/{}", plugin.plugin.id);
    let link = |rel: &str, rest: &str| json!({ "rel": rel, "href": format!("{own}{rest}") });
    let mut links = vec![link("self", ""), link("versions", "/versions")];
    if let Some(release) = release {
        let version = path_part(release.version.as_str());
        links.push(link("latest", &format!("/versions/{version}")));
        if is_downloadable(release) {
            links.push(link("download", &format!("/versions/{version}/download")));
        }
    }
    Value::Array(links)
}

fn version_links(plugin: &ServedPlugin, release: &ServedRelease) -> Value {
    let own = format!("/plugins/{}", plugin.plugin.id);
    let version = format!("{own}/versions/{}", path_part(release.version.as_str()));
    let mut links = vec![json!({ "rel": "self", "href": version }), json!({ "rel": "plugin", "href": own })];
    if is_downloadable(release) {
        links.push(json!({ "rel": "download", "href": format!("{version}/download") }));
    }
    Value::Array(links)
}

/// Returns whether a download that names no platform finds a package here.
fn is_downloadable(release: &ServedRelease) -> bool {
    release.package(None).is_some_and(|(_, package)| package.stored.is_some())
}

/// Returns a version, or another text, as a part of a path.
pub(crate) fn path_part(version: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
    version
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Returns the plugin.json of a release: that of its package, else that of the catalog.
pub(super) fn plugin_json(plugin: &ServedPlugin, release: &ServedRelease, source: &Object) -> Value {
    if let Some(own) = &release.plugin_json
        && let Ok(value @ Value::Object(_)) = serde_json::from_str(own)
    {
        return value;
    }
    if let Some(value @ Value::Object(_)) = parse(&release.raw).remove("json") {
        return value;
    }
    match source.get("json") {
        Some(value) if value.is_object() => value.clone(),
        _ if source.contains_key("slug") => json!({
            "id": plugin.plugin.id, "type": plugin.plugin.plugin_type.as_str(), "name": plugin.plugin.name,
            "info": { "version": release.version, "links": [], "screenshots": [] },
            "dependencies": { "grafanaDependency": release.grafana_dependency, "plugins": [] },
        }),
        _ => Value::Object(source.clone()),
    }
}

/// Adds the readme and the changelog as safe HTML.
fn add_texts(object: &mut Object, source: &Object, plugin: &ServedPlugin, release: Option<&ServedRelease>) {
    let images = release.map_or_else(Images::default, |release| images(plugin, release, source, ""));
    let format = format(source);
    for key in ["readme", "changelog"] {
        if let Some(text) = source.get(key).and_then(Value::as_str) {
            object.insert(key.to_owned(), safe_html(text, format, &images).into());
        } else if key == "readme" {
            object.insert(key.to_owned(), "".into());
        }
    }
}

/// Returns how the readme and the changelog of an entry are written.
pub(super) fn format(source: &Object) -> TextFormat {
    let is_markdown = source.get(FORMAT).is_some_and(|format| format == "markdown");
    if is_markdown { TextFormat::Markdown } else { TextFormat::Guessed }
}

/// Returns the images that the texts of a release may show; `base` is put before their addresses.
pub(super) fn images(plugin: &ServedPlugin, release: &ServedRelease, source: &Object, base: &str) -> Images {
    let version = path_part(release.version.as_str());
    let prefix = format!("{base}/api/gnet/plugins/{}/versions/{version}/images/", plugin.plugin.id);
    // Without its package there is no image to be had here.
    if release.plugin_json.is_none() {
        return Images::default();
    }
    Images { prefix, paths: image_paths(&plugin_json(plugin, release, source)) }
}

/// Returns the images that a plugin.json names: its logos and its screenshots.
pub(crate) fn image_paths(plugin_json: &Value) -> BTreeSet<String> {
    let info = field(plugin_json, "info");
    let logos = info.and_then(|info| field(info, "logos"));
    let logos = ["small", "large"].into_iter().filter_map(|size| logos.and_then(|logos| field(logos, size)));
    let screenshots = info.and_then(|info| field(info, "screenshots")).and_then(Value::as_array);
    let screenshots = screenshots.into_iter().flatten().filter_map(|screenshot| field(screenshot, "path"));
    logos.chain(screenshots).filter_map(Value::as_str).map(plain_path).collect()
}

/// Returns the path of an image in a plugin.json without what authors put before it.
pub(crate) fn plain_path(path: &str) -> String {
    path.trim_start_matches("./").trim_start_matches('/').to_owned()
}

fn merge(object: &mut Object, fields: Value) {
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
}

pub(super) fn parse(raw: &str) -> Object {
    serde_json::from_str(raw).unwrap_or_default()
}

fn text(object: &Object, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(object: &Object, key: &str) -> Value {
    object.get(key).filter(|value| value.is_number()).cloned().unwrap_or_else(|| 0.into())
}

fn flag(object: &Object, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}
