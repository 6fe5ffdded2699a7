//! What the index has of private plugins: written in one transaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Published;
use crate::{
    archive::PluginJson,
    index::{
        Blob, CatalogChange, ChangeKind, Index, IndexError, PluginRecord, StoredPlugin, StoredRelease, SyncWriter,
    },
    json::field,
    mirror::TEXT_FORMAT,
    model::{Digests, Package, Plugin, PluginId, PluginStatus, PluginVersion, Release, Signature, Timestamp},
    ops::{
        fetching::proven_signer,
        private::{ORIGIN, SHADOWS, SOURCE, is_private, shadows},
    },
    signature::Verdict,
};

/// A package that was checked.
#[derive(Debug)]
pub(super) struct PublishedPackage {
    pub(super) blob: Blob,
    pub(super) plugin_json: PluginJson,
    pub(super) verdict: Verdict,
    pub(super) texts: Texts,
}

/// What a package says to people, as it was written.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) readme: Option<String>,
    pub(super) changelog: Option<String>,
}

impl PublishedPackage {
    pub(super) fn published(&self) -> Published {
        let Blob { plugin, version, platform, sha256, .. } = &self.blob;
        Published { plugin: plugin.clone(), version: version.clone(), platform: platform.clone(), sha256: *sha256 }
    }

    fn signature(&self) -> Signature {
        self.verdict.manifest.as_ref().map_or_else(Signature::default, |manifest| Signature {
            signature_type: manifest.signature_type.as_str().to_owned(),
            org: manifest.signed_by_org.clone(),
            org_name: manifest.signed_by_org_name.clone(),
        })
    }

    fn signer(&self) -> String {
        proven_signer(&self.verdict)
    }
}

/// Writes packages, whose files are in the store.
pub(super) fn write(index: &mut Index, packages: &[PublishedPackage], now: Timestamp) -> Result<(), IndexError> {
    let before = index.beside()?;
    let mut writer = index.begin_sync(SOURCE, now)?;
    let mut by_plugin: BTreeMap<&PluginId, Vec<&PublishedPackage>> = BTreeMap::new();
    for package in packages {
        by_plugin.entry(&package.blob.plugin).or_default().push(package);
    }
    for (id, packages) in by_plugin {
        write_plugin(&mut writer, (before.plugin(id)?, before.releases(id)?), &packages, now)?;
    }
    writer.commit(&json!({ "published": packages.len() })).map(drop)
}

fn write_plugin(
    writer: &mut SyncWriter<'_>,
    (stored, releases): (Option<StoredPlugin>, Vec<StoredRelease>),
    packages: &[&PublishedPackage],
    now: Timestamp,
) -> Result<(), IndexError> {
    let Some(newest) = packages.iter().max_by(|left, right| left.blob.version.cmp(&right.blob.version)) else {
        return Ok(());
    };
    let id = &newest.blob.plugin;
    let is_shadow = stored.as_ref().is_some_and(|stored| stored.source != SOURCE || shadows(&stored.list_raw));
    let own = stored.as_ref().filter(|stored| stored.source == SOURCE);
    let is_newest = own.is_none_or(|own| own.plugin.version.as_ref().is_none_or(|known| *known <= newest.blob.version));
    match own {
        Some(own) if !is_newest => writer.put_plugin(&again(own))?,
        _ => writer.put_plugin(&plugin_record(newest, own, is_shadow, now))?,
    }
    // What the catalog had is no longer answered: versions of two publishers under one name are a confusion of dependencies.
    for release in releases.iter().filter(|known| !is_private(&known.release.raw)) {
        writer.withdraw_release(id, &release.release.version)?;
    }
    let mut by_version: BTreeMap<&str, Vec<&PublishedPackage>> = BTreeMap::new();
    for package in packages {
        by_version.entry(package.blob.version.as_str()).or_default().push(package);
    }
    for packages in by_version.values() {
        let known = releases.iter().find(|known| known.release.version == packages[0].blob.version);
        let release = release(packages, known.filter(|known| is_private(&known.release.raw)), now);
        if known.is_none() {
            writer.record(&change(id, Some(&release.version), ChangeKind::VersionAdded))?;
        }
        writer.put_release(id, &release)?;
    }
    for package in packages {
        writer.put_blob(&package.blob, Some(&package.signer()))?;
    }
    Ok(())
}

fn release(packages: &[&PublishedPackage], known: Option<&StoredRelease>, now: Timestamp) -> Release {
    let first = packages[0];
    let package = |package: &&PublishedPackage| {
        let Blob { platform, sha256, md5, size, .. } = &package.blob;
        let digests = Digests { sha256: Some(*sha256), md5: *md5 };
        (platform.clone(), Package { digests, size: Some(*size) })
    };
    let mut all = known.map_or_else(BTreeMap::new, |known| known.release.packages.clone());
    all.extend(packages.iter().map(package));
    let created_at = known.and_then(|known| known.release.created_at).unwrap_or(now);
    let raw = json!({
        "version": first.blob.version, "status": "active", "createdAt": created_at.to_string(), ORIGIN: SOURCE,
        TEXT_FORMAT: "markdown", "readme": first.texts.readme, "changelog": first.texts.changelog,
    });
    Release {
        version: first.blob.version.clone(),
        created_at: Some(created_at),
        status: PluginStatus::Active,
        grafana_dependency: first.plugin_json.grafana_dependency.clone(),
        angular: false,
        packages: all,
        raw: raw.to_string(),
    }
}

fn plugin_record(
    package: &PublishedPackage,
    known: Option<&StoredPlugin>,
    is_shadow: bool,
    now: Timestamp,
) -> PluginRecord {
    let (plugin_json, signature) = (&package.plugin_json, package.signature());
    let document: Value = serde_json::from_str(&plugin_json.raw).unwrap_or_default();
    let info = field(&document, "info").cloned().unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let author = field(&info, "author").and_then(|author| field(author, "name"));
    let org = plugin_json.id.as_str().split('-').next().unwrap_or_default().to_owned();
    let keywords = field(&info, "keywords").and_then(Value::as_array).into_iter().flatten();
    let keywords: Vec<String> = keywords.filter_map(Value::as_str).map(str::to_owned).take(100).collect();
    let created_at = known.and_then(|known| known.plugin.created_at).unwrap_or(now);
    let plugin = Plugin {
        id: plugin_json.id.clone(),
        name: plugin_json.name.clone(),
        plugin_type: plugin_json.plugin_type.clone(),
        description: text(field(&info, "description")),
        status: PluginStatus::Active,
        status_context: String::new(),
        version: Some(package.blob.version.clone()),
        org_name: Some(text(author)).filter(|name| !name.is_empty()).unwrap_or_else(|| org.clone()),
        org,
        signature,
        downloads: 0,
        created_at: Some(created_at),
        updated_at: Some(now),
        angular: false,
        internal: false,
        grafana_dependency: plugin_json.grafana_dependency.clone(),
        keywords,
        dependencies: plugin_json.dependencies.clone(),
        packages: BTreeMap::new(),
    };
    let links = field(&info, "links").and_then(Value::as_array);
    let url = text(links.and_then(|links| links.first()).and_then(|link| field(link, "url")));
    let entry = |with_texts: bool| {
        let mut entry = json!({
            "slug": plugin.id, "name": plugin.name, "typeCode": plugin.plugin_type.as_str(), "status": "active",
            "description": plugin.description, "version": plugin.version, "url": url, "keywords": plugin.keywords,
            "orgSlug": plugin.org, "orgName": plugin.org_name,
            "signatureType": plugin.signature.signature_type, "versionSignatureType": plugin.signature.signature_type,
            "versionSignedByOrg": plugin.signature.org, "versionSignedByOrgName": plugin.signature.org_name,
            ORIGIN: SOURCE, SHADOWS: is_shadow,
        });
        if with_texts {
            entry[TEXT_FORMAT] = "markdown".into();
            entry["json"] = document.clone();
            entry["readme"] = package.texts.readme.clone().into();
            entry["changelog"] = package.texts.changelog.clone().into();
        }
        entry.to_string()
    };
    PluginRecord {
        fingerprint: SOURCE.to_owned(),
        list_digest: SOURCE.to_owned(),
        list_raw: entry(false),
        detail_raw: Some(entry(true)),
        plugin,
    }
}

/// Returns the record of a plugin as it is.
fn again(stored: &StoredPlugin) -> PluginRecord {
    PluginRecord {
        plugin: stored.plugin.clone(),
        fingerprint: SOURCE.to_owned(),
        list_digest: SOURCE.to_owned(),
        list_raw: stored.list_raw.clone(),
        detail_raw: stored.detail_raw.clone(),
    }
}

/// Writes a version as withdrawn, and another as the newest of its plugin.
pub(super) fn withdraw(
    index: &mut Index,
    stored: &StoredPlugin,
    releases: &[StoredRelease],
    withdrawn: &Release,
    now: Timestamp,
) -> Result<(), IndexError> {
    let id = &stored.plugin.id;
    let mut writer = index.begin_sync(SOURCE, now)?;
    let is_left = |known: &&StoredRelease| {
        known.release.version != withdrawn.version
            && known.release.status == PluginStatus::Active
            && is_private(&known.release.raw)
    };
    let newest = releases.iter().find(is_left).map(|known| known.release.version.clone());
    let record = again(stored);
    writer.put_plugin(&PluginRecord { plugin: Plugin { version: newest, ..record.plugin.clone() }, ..record })?;
    writer.put_release(id, withdrawn)?;
    writer.record(&change(id, Some(&withdrawn.version), ChangeKind::VersionWithdrawn))?;
    writer.commit(&json!({ "withdrawn": 1 })).map(drop)
}

/// Returns the JSON object of a release with the reason why it was withdrawn.
pub(super) fn with_reason(raw: &str, reason: &str) -> String {
    let mut object: Value = serde_json::from_str(raw).unwrap_or_else(|_| json!({}));
    object["status"] = PluginStatus::Deleted.as_str().into();
    object["statusContext"] = reason.into();
    object.to_string()
}

fn change(plugin: &PluginId, version: Option<&PluginVersion>, kind: ChangeKind) -> CatalogChange {
    CatalogChange {
        kind,
        plugin: plugin.clone(),
        version: version.cloned(),
        platform: None,
        before: None,
        after: None,
        alert: false,
    }
}
