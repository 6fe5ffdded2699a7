//! `plugport show`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, ui, versions::ShownVersions};
use crate::{
    index::{Index, StoredPlugin, StoredRelease},
    model::{DenyList, PluginId, PluginSpec, PluginStatus, VersionRequest},
    ops::{
        Context,
        alerts::Alert,
        candidates::{candidates, find_plugin},
        trust::Signed,
        verify::stored_signatures,
    },
    resolver::{Surroundings, choose},
};

/// Show a plugin, or one of its versions
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The plugin, with or without a version
    #[arg(value_name = "ID[@VERSION]")]
    plugin: PluginSpec,
}

impl ShowArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let (context, plugin) = (session.context()?.clone(), self.plugin.clone());
        let notes = session.key_notes()?;
        let show = move |index: &Index| Self { plugin }.report(&context, index, notes);
        session.context()?.index().read(show).await
    }

    fn report(&self, context: &Context, index: &Index, notes: Vec<String>) -> Result<Report, Failure> {
        let stored = find_plugin(index, &self.plugin.id)?;
        let releases = index.releases(&self.plugin.id)?;
        let alerts: Vec<_> =
            index.open_alerts(&self.plugin.id)?.into_iter().map(|alert| Alert::from(alert.change)).collect();
        let alerted = alerts.iter().map(|alert| format!("alert: {alert}; `plugport accept` takes it"));
        let shown = ShownVersions { plugin: &self.plugin.id, denied: index.denied(), grafana: None };
        let problems = alerted.chain(shown.denials(&releases)).chain(notes).collect();
        if self.plugin.version == VersionRequest::Any {
            // The newest of which there is a package here.
            let in_store = releases.iter().find(|release| !release.stored.is_empty());
            let signatures = StoredSignatures::read(context, index, &self.plugin.id, in_store)?;
            let mut document = document(&stored, &releases);
            document["alerts"] = json!(alerts);
            return Ok(signatures.report(document, text(&stored, &releases, &shown), problems));
        }
        // What was withdrawn is still known.
        let mut known = candidates(&stored, &releases, &DenyList::default());
        for (candidate, stored) in known.iter_mut().zip(&releases) {
            candidate.withdrawn = stored.release.status == PluginStatus::Deleted;
        }
        let chosen = choose(&self.plugin.id, &known, &self.plugin.version, &Surroundings::default())?;
        let release: Vec<_> =
            releases.iter().filter(|stored| stored.release.version == chosen.version).cloned().collect();
        let mut fields = document(&stored, &releases);
        fields["alerts"] = json!(alerts);
        fields["release"] = release.first().map_or(Value::Null, |release| shown.document(release));
        let heading = format!("{}\n", heading(&stored)).into();
        let text = Text::join([heading, shown.text(&release), digests(&release).into()]);
        Ok(StoredSignatures::read(context, index, &self.plugin.id, release.first())?.report(fields, text, problems))
    }
}

/// What the packages of one version say that are in the store.
struct StoredSignatures {
    signed: Vec<Signed>,
    problems: Vec<String>,
}

impl StoredSignatures {
    fn read(
        context: &Context,
        index: &Index,
        plugin: &PluginId,
        release: Option<&StoredRelease>,
    ) -> Result<Self, Failure> {
        let mut blobs = index.blobs_of(plugin)?;
        blobs.retain(|blob| release.is_some_and(|stored| stored.release.version == blob.version));
        let (signed, remarks) = stored_signatures(context, &blobs);
        let remarks = remarks.into_iter().map(|remark| format!("note: {remark}"));
        Ok(Self { signed, problems: remarks.collect() })
    }

    fn report(self, mut document: Value, text: Text, mut problems: Vec<String>) -> Report {
        problems.extend(self.problems);
        document["signatures"] = super::setup::to_document(&self.signed);
        let lines: String = self.signed.iter().map(line).collect();
        Report { document, text: Text::join([text, lines.into()]), problems, ..Report::default() }
    }
}

fn line(signed: &Signed) -> String {
    let key = signed.key.as_ref().map_or_else(String::new, |key| format!(", key {key}"));
    ui::clean(&format!("{}: {signed}{key}", signed.object)) + "\n"
}

/// Returns the digests of a version's packages, one a line.
fn digests(releases: &[StoredRelease]) -> String {
    let packages = releases.iter().flat_map(|stored| &stored.release.packages);
    let lines = packages.map(|(platform, package)| format!("{platform:14} {}\n", package.digests.describe()));
    lines.collect()
}

fn document(stored: &StoredPlugin, releases: &[StoredRelease]) -> Value {
    let plugin = &stored.plugin;
    json!({
        "plugin": {
            "id": plugin.id,
            "name": plugin.name,
            "type": plugin.plugin_type,
            "description": plugin.description,
            "status": if stored.withdrawn_at.is_some() { "withdrawn" } else { plugin.status.as_str() },
            "status_context": plugin.status_context,
            "version": plugin.version,
            "org": plugin.org_name,
            "org_slug": plugin.org,
            "signature": plugin.signature,
            "downloads": plugin.downloads,
            "created_at": plugin.created_at,
            "updated_at": plugin.updated_at,
            "angular": plugin.angular,
            "internal": plugin.internal,
            "grafana_dependency": plugin.grafana_dependency,
            "keywords": plugin.keywords,
            "dependencies": plugin.dependencies,
        },
        "source": stored.source,
        "first_seen": stored.first_seen,
        "withdrawn_at": stored.withdrawn_at,
        "versions": releases.len(),
    })
}

fn heading(stored: &StoredPlugin) -> String {
    let plugin = &stored.plugin;
    ui::clean(&format!("{} ({}), {}", plugin.name, plugin.id, plugin.plugin_type.as_str()))
}

fn text(stored: &StoredPlugin, releases: &[StoredRelease], shown: &ShownVersions<'_>) -> Text {
    let plugin = &stored.plugin;
    let mut text = format!("{}\n", heading(stored));
    if !plugin.description.is_empty() {
        let _ = writeln!(text, "{}", ui::shorten(&plugin.description, 200));
    }
    text.push('\n');
    let mut line = |title: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{title:12} {}", ui::shorten(&value, 300));
        }
    };
    let withdrawn = stored.withdrawn_at.map(|at| format!("withdrawn, first missed {}", at.date()));
    let status = match plugin.status_context.as_str() {
        "" => plugin.status.as_str().to_owned(),
        context => format!("{}: {context}", plugin.status.as_str()),
    };
    line("newest", plugin.version.as_ref().map(ToString::to_string).unwrap_or_default());
    line("status", withdrawn.unwrap_or(status));
    line("publisher", format!("{} ({})", plugin.org_name, plugin.org));
    line(
        "signature",
        match plugin.signature.signature_type.as_str() {
            "" => "none, according to the catalog".to_owned(),
            kind if plugin.signature.org_name.is_empty() => format!("{kind}, according to the catalog"),
            kind => format!("{kind}, by {} (according to the catalog)", plugin.signature.org_name),
        },
    );
    line("grafana", plugin.grafana_dependency.clone().unwrap_or_default());
    line("needs", plugin.dependencies.iter().map(|needed| needed.id.to_string()).collect::<Vec<_>>().join(", "));
    line("downloads", plugin.downloads.to_string());
    line("updated", plugin.updated_at.map(crate::model::Timestamp::date).unwrap_or_default());
    line("keywords", plugin.keywords.join(", "));
    line("angular", if plugin.angular { "yes: Grafana 12 and newer refuse it".to_owned() } else { String::new() });
    line("source", stored.source.clone());
    let mut text = Text::join([text.into(), shown.text(&releases[..releases.len().min(5)])]);
    if releases.len() > 5 {
        let _ = writeln!(text, "and {} older: `plugport versions {}`", releases.len() - 5, plugin.id);
    }
    text
}
