//! The JSON documents of the catalog API (protocol sections 2.3 and 3).
//!
//! *Invariant:* every field that the protocol page marks as required is there, with its type.
//! *Not for:* routes or headers; see `upstream`.

use serde_json::{Map, Value, json};

use super::catalog::{FakeCatalog, Listed, Release};

/// Returns the list of the catalog page (section 3.2).
pub(super) fn list(catalog: &FakeCatalog, with_deprecated: bool, slugs: Option<&str>) -> Value {
    let wanted = |listed: &&Listed| {
        let newest = &listed.releases[0].plugin;
        let asked_for = slugs.is_none_or(|slugs| slugs.split(',').any(|slug| slug == newest.id));
        asked_for && (with_deprecated || newest.status != "deprecated")
    };
    let items: Vec<Value> = catalog.plugins.values().filter(wanted).map(plugin).collect();
    json!({
        "items": items,
        "orderBy": "weight",
        "direction": "asc",
        "links": [{ "rel": "self", "href": "/plugins" }],
    })
}

/// Returns one plugin as the list has it (section 3.1).
fn plugin(listed: &Listed) -> Value {
    let (newest, oldest) = (&listed.releases[0], &listed.releases[listed.releases.len() - 1]);
    let plugin = &newest.plugin;
    let (type_id, type_name) = kind(plugin.kind());
    let href = format!("/plugins/{}", plugin.id);
    let mut item = described(listed);
    let rest = json!({
        "typeId": type_id,
        "typeName": type_name,
        "typeCode": plugin.kind(),
        "url": repository(newest),
        "createdAt": oldest.plugin.created_at,
        "updatedAt": plugin.created_at,
        "packages": packages(newest),
        "links": [
            { "rel": "self", "href": href },
            { "rel": "versions", "href": format!("{href}/versions") },
            { "rel": "latest", "href": format!("{href}/versions/{}", plugin.version) },
            { "rel": "download", "href": format!("{href}/versions/{}/download", plugin.version) },
        ],
        "angularDetected": plugin.angular,
    });
    merge(&mut item, rest);
    item
}

fn described(listed: &Listed) -> Value {
    let plugin = &listed.releases[0].plugin;
    let (signed_by, signed_by_name) = signer(&listed.releases[0]);
    let by_status = if plugin.status == "deprecated" { "No longer kept up." } else { "" };
    json!({
        "status": plugin.status,
        "id": listed.number,
        "slug": plugin.id,
        "name": plugin.name,
        "description": plugin.description,
        "version": plugin.version,
        "versionStatus": "active",
        "versionSignatureType": plugin.signature,
        "versionSignedByOrg": signed_by,
        "versionSignedByOrgName": signed_by_name,
        "versionDistributionType": "",
        "userId": 0,
        "orgId": 77,
        "orgName": plugin.org.1,
        "orgSlug": plugin.org.0,
        "orgUrl": format!("https://{}.example", plugin.org.0),
        "statusContext": plugin.status_context.as_deref().unwrap_or(by_status),
        "downloads": plugin.downloads,
        "verified": false,
        "featured": 0,
        "internal": false,
        "downloadSlug": plugin.id,
        "popularity": 0.01,
        "signatureType": plugin.signature,
        "grafanaDependency": plugin.grafana_dependency,
        "keywords": plugin.keywords,
    })
}

/// Returns one plugin as its own page has it: the list's item with plugin.json and the readme.
pub(super) fn detail(listed: &Listed) -> Value {
    let newest = &listed.releases[0];
    let mut item = plugin(listed);
    merge(&mut item, page(newest));
    item
}

/// Returns the versions of a plugin, newest first (section 2.3.1); none when it is unknown.
pub(super) fn versions(listed: Option<&Listed>, grafana: Option<&str>) -> Value {
    let items: Vec<Value> = listed
        .into_iter()
        .flat_map(|listed| listed.releases.iter().map(|release| version(listed, release, grafana)))
        .collect();
    json!({ "items": items })
}

/// Returns one version; `isCompatible` only when the caller's Grafana is known (section 3.3).
fn version(listed: &Listed, release: &Release, grafana: Option<&str>) -> Value {
    let plugin = &release.plugin;
    let href = format!("/plugins/{}/versions/{}", plugin.id, plugin.version);
    let mut item = json!({
        "id": release.number,
        "pluginId": listed.number,
        "pluginSlug": plugin.id,
        "version": plugin.version,
        "url": repository(release),
        "commit": "",
        "description": plugin.description,
        "createdAt": plugin.created_at,
        "updatedAt": null,
        "downloads": plugin.downloads,
        "verified": false,
        "status": "active",
        "statusContext": "",
        "downloadSlug": plugin.id,
        "packages": packages(release),
        "links": [
            { "rel": "self", "href": href },
            { "rel": "images", "href": format!("{href}/images") },
            { "rel": "thumbnails", "href": format!("{href}/thumbnails") },
            { "rel": "plugin", "href": format!("/plugins/{}", plugin.id) },
            { "rel": "download", "href": format!("{href}/download") },
        ],
        "grafanaDependency": plugin.grafana_dependency,
        "angularDetected": plugin.angular,
    });
    if let Some(grafana) = grafana {
        item["isCompatible"] = json!(release.is_compatible(grafana));
    }
    item
}

/// Returns one version as its own page has it (section 2.3.2).
pub(super) fn version_detail(listed: &Listed, release: &Release, grafana: Option<&str>) -> Value {
    let (signed_by, signed_by_name) = signer(release);
    let mut item = version(listed, release, grafana);
    merge(&mut item, page(release));
    merge(
        &mut item,
        json!({
            "signatureType": release.plugin.signature,
            "signedByOrg": signed_by,
            "signedByOrgName": signed_by_name,
        }),
    );
    item
}

/// Returns one plugin in the first generation's shape (section 2.3.3); `id` is the slug there.
pub(super) fn repo_plugin(listed: &Listed, grafana: Option<&str>) -> Value {
    let fits = |release: &&Release| grafana.is_none_or(|grafana| release.is_compatible(grafana));
    let versions: Vec<Value> = listed.releases.iter().filter(fits).map(repo_version).collect();
    json!({ "id": listed.releases[0].plugin.id, "category": "", "versions": versions })
}

fn repo_version(release: &Release) -> Value {
    let mut arch = packages(release);
    for package in arch.as_object_mut().into_iter().flat_map(Map::values_mut) {
        *package = json!({ "md5": package["md5"], "sha256": package["sha256"] });
    }
    let url = repository(release);
    json!({ "version": release.plugin.version, "commit": "", "url": url, "repoURL": url, "arch": arch })
}

/// Returns the whole catalog in the first generation's shape (section 2.3.4).
pub(super) fn repo(catalog: &FakeCatalog, grafana: Option<&str>) -> Value {
    let plugins: Vec<Value> = catalog.plugins.values().map(|listed| repo_plugin(listed, grafana)).collect();
    json!({ "plugins": plugins, "version": "1" })
}

/// Returns the newest compatible version of each plugin asked for, as a bare array (section 2.3.6).
pub(super) fn version_check(catalog: &FakeCatalog, slugs: &str, grafana: &str) -> Value {
    let newest = slugs.split(',').filter_map(|slug| catalog.newest_compatible(slug, grafana));
    newest.map(|release| json!({ "slug": release.plugin.id, "version": release.plugin.version })).collect()
}

fn packages(release: &Release) -> Value {
    let plugin = &release.plugin;
    let mut packages = Map::new();
    for (platform, package) in &release.packages {
        let made = package.made(plugin, platform);
        let query = platform.split_once('-').map(|(os, arch)| format!("?os={os}&arch={arch}")).unwrap_or_default();
        let entry = json!({
            "md5": made.md5,
            "sha256": release.claimed_sha256.as_ref().unwrap_or(&made.sha256),
            "packageName": platform,
            "downloadUrl": format!("/api/plugins/{}/versions/{}/download{query}", plugin.id, plugin.version),
        });
        packages.insert(platform.clone(), entry);
    }
    Value::Object(packages)
}

fn page(release: &Release) -> Value {
    json!({
        "json": release.plugin.plugin_json(),
        "readme": release.plugin.readme.clone().unwrap_or_else(|| format!("<h1>{}</h1>", release.plugin.name)),
        "changelog": release.plugin.changelog.clone().unwrap_or_else(|| format!("<h2>{}</h2>", release.plugin.version)),
    })
}

fn signer(release: &Release) -> (&str, &str) {
    match release.plugin.signature.as_str() {
        "" => ("", ""),
        "grafana" => ("grafana", "Grafana Labs"),
        _ => (&release.plugin.org.0, &release.plugin.org.1),
    }
}

fn repository(release: &Release) -> String {
    format!("https://git.example/{}/{}", release.plugin.org.0, release.plugin.id)
}

fn kind(code: &str) -> (u8, &'static str) {
    match code {
        "app" => (1, "Application"),
        "datasource" => (2, "Data Source"),
        "renderer" => (4, "Renderer"),
        _ => (3, "Panel"),
    }
}

fn merge(item: &mut Value, more: Value) {
    if let (Value::Object(item), Value::Object(more)) = (item, more) {
        item.extend(more);
    }
}
