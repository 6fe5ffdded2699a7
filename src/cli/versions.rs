//! `plugport versions`.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, ui};
use crate::{
    index::{Index, StoredRelease},
    model::{DenyList, GrafanaVersion, Platform, PluginId},
    ops::{alerts::Alert, candidates::find_plugin},
    resolver::works_with,
};

/// List the versions of a plugin
#[derive(Args, Debug)]
pub(super) struct VersionsArgs {
    /// The plugin
    #[arg(value_name = "ID")]
    plugin: PluginId,
    /// Show which versions work with this version of Grafana
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaVersion>,
    /// Only versions with a package for this platform
    #[arg(long, value_name = "P")]
    platform: Option<Platform>,
}

impl VersionsArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let plugin = self.plugin.clone();
        let read = move |index: &Index| {
            let (releases, open) = (index.releases(&plugin)?, index.open_alerts(&plugin)?);
            Ok::<_, Failure>((find_plugin(index, &plugin)?, releases, open, index.denied().clone()))
        };
        let (stored, mut releases, open, denied) = session.index()?.read(read).await?;
        let alerts: Vec<_> = open.into_iter().map(|alert| Alert::from(alert.change)).collect();
        // With a plugin its versions are gone, though the catalog does not list each.
        for release in &mut releases {
            release.withdrawn_at = release.withdrawn_at.or(stored.withdrawn_at);
        }
        if let Some(platform) = &self.platform {
            releases.retain(|stored| platform.choose(stored.release.packages.keys()).is_some());
        }
        let shown = ShownVersions { plugin: &self.plugin, denied: &denied, grafana: self.grafana.as_ref() };
        let documents: Vec<_> = releases.iter().map(|stored| shown.document(stored)).collect();
        let mut notes = Vec::new();
        if let Err(error) = session.manifest() {
            notes.push(format!("note: versions that the manifest denies are not marked: {}", error.message));
        }
        if releases.is_empty() {
            notes.push(format!("the catalog lists no such versions of {}", self.plugin));
        }
        let mut document = json!({ "plugin": self.plugin, "versions": documents });
        if !alerts.is_empty() {
            document["alerts"] = json!(alerts);
        }
        Ok(Report {
            text: shown.text(&releases),
            document,
            problems: alerts
                .iter()
                .map(|alert| format!("alert: {alert}; `plugport accept` takes it"))
                .chain(shown.denials(&releases))
                .collect(),
            notes,
            ..Report::default()
        })
    }
}

/// What is shown beside the versions of a plugin.
pub(super) struct ShownVersions<'a> {
    pub(super) plugin: &'a PluginId,
    pub(super) denied: &'a DenyList,
    /// The Grafana that they are to work with.
    pub(super) grafana: Option<&'a GrafanaVersion>,
}

impl ShownVersions<'_> {
    fn why_denied(&self, stored: &StoredRelease) -> Option<String> {
        Some(self.denied.find(self.plugin, &stored.release.version)?.why())
    }

    /// Returns lines for stderr, one for each entry of the manifest that denies some of the versions.
    pub(super) fn denials(&self, releases: &[StoredRelease]) -> Vec<String> {
        let mut denied: Vec<(String, Vec<&str>)> = Vec::new();
        for stored in releases {
            let Some(why) = self.why_denied(stored) else { continue };
            match denied.iter_mut().find(|(known, _)| *known == why) {
                Some((_, versions)) => versions.push(stored.release.version.as_str()),
                None => denied.push((why, vec![stored.release.version.as_str()])),
            }
        }
        let line = |(why, versions): (String, Vec<&str>)| {
            let is = if versions.len() == 1 { "is" } else { "are" };
            format!("denied: {} {} {is} {why}", self.plugin, versions.join(", "))
        };
        denied.into_iter().map(line).collect()
    }

    /// Returns a version in the shape of the JSON of `versions` and `show`.
    pub(super) fn document(&self, stored: &StoredRelease) -> Value {
        let release = &stored.release;
        let packages: Vec<_> = release
            .packages
            .iter()
            .map(|(platform, package)| {
                let mut fields = json!({
                    "platform": platform,
                    "sha256": package.digests.sha256,
                    "md5": package.digests.md5,
                    "stored": stored.stored.contains_key(platform),
                });
                if let Some(size) = package.size {
                    fields["size"] = size.into();
                }
                fields
            })
            .collect();
        let mut fields = json!({
            "version": release.version,
            "status": status(stored),
            "created_at": release.created_at,
            "grafana_dependency": release.grafana_dependency,
            "angular": release.angular,
            "packages": packages,
        });
        if let Some(grafana) = self.grafana {
            fields["compatible"] = works_with(release.grafana_dependency.as_deref(), grafana).into();
        }
        if let Some(why) = self.why_denied(stored) {
            fields["denied"] = why.into();
        }
        fields
    }

    /// Returns the versions as a table.
    pub(super) fn text(&self, releases: &[StoredRelease]) -> Text {
        if releases.is_empty() {
            return Text::default();
        }
        let works = self.grafana.map(|grafana| format!("on {grafana}"));
        let mut header = vec!["version", "published", "status", "grafana"];
        header.extend(works.as_deref());
        header.push("packages (* in the store)");
        ui::table(&header, releases.iter().map(|stored| self.row(stored)))
    }

    fn row(&self, stored: &StoredRelease) -> Vec<String> {
        let release = &stored.release;
        let platforms: Vec<_> = release
            .packages
            .keys()
            .map(|platform| format!("{platform}{}", if stored.stored.contains_key(platform) { "*" } else { "" }))
            .collect();
        let is_denied = self.denied.find(self.plugin, &release.version).is_some();
        let mut row = vec![
            release.version.to_string(),
            release.created_at.map_or_else(|| "-".to_owned(), crate::model::Timestamp::date),
            if is_denied { "denied" } else { status(stored) }.to_owned(),
            release.grafana_dependency.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        if let Some(grafana) = self.grafana {
            let works = works_with(release.grafana_dependency.as_deref(), grafana);
            row.push(if works { "yes" } else { "no" }.to_owned());
        }
        row.push(if platforms.is_empty() { "-".to_owned() } else { platforms.join(" ") });
        row
    }
}

fn status(stored: &StoredRelease) -> &str {
    if stored.withdrawn_at.is_some() { "withdrawn" } else { stored.release.status.as_str() }
}
