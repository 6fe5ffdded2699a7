//! `plugport why` and `why-not`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{
    Failure, Report, Session,
    grafana::GrafanaRequest,
    listing::{TargetListing, kind, problems, read_all_with_nested},
    selection::TargetSelection,
    setup::to_document,
    ui,
};
use crate::{
    fleet::{Manifest, manifest::Wish},
    index::Index,
    model::{GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion, VersionRequest},
    ops::{
        candidates::signature_rule,
        target::{Snapshot, Target},
        why::{Policy, WorkspaceReasons, WorkspaceView, find, why, why_not},
    },
    resolver::Explanation,
};

/// Where, and for which Grafana.
#[derive(Args, Debug)]
struct Scope {
    #[command(flatten)]
    selection: TargetSelection,
    /// As if the workspaces had this version of Grafana; `12.4` is the patch that one of them has, else 12.4.0
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaRequest>,
}

/// Explain why a plugin is installed, and why in this version
///
/// Without `--on` and `--dir`: for every workspace of the manifest, or from the catalog alone if the manifest has
/// none.
#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// The plugin
    #[arg(value_name = "ID")]
    plugin: PluginId,
    #[command(flatten)]
    scope: Scope,
}

/// Explain why a version of a plugin is not chosen
///
/// Without `--on` and `--dir`: for every workspace of the manifest, or from the catalog alone if the manifest has
/// none.
#[derive(Args, Debug)]
pub(super) struct WhyNotArgs {
    /// The plugin and its version
    #[arg(value_name = "ID@VERSION")]
    plugin: PluginSpec,
    #[command(flatten)]
    scope: Scope,
}

impl WhyArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let index = session.context()?.index();
        index.check_has_catalog().await?;
        let (views, read) = self.scope.views(session).await?;
        let (policy, plugin) = (policy(session)?, self.plugin.clone());
        let answer = move |index: &Index| {
            find(index, &views, &plugin)?;
            let answers = views.iter().map(|view| why(index, view, &plugin, &policy));
            Ok::<_, Failure>(answers.collect::<Result<Vec<_>, _>>()?)
        };
        Ok(report(&self.plugin, None, &index.read(answer).await?, &read))
    }
}

impl WhyNotArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let VersionRequest::Text { version, .. } = &self.plugin.version else {
            let hint = format!("write `{}@1.2.3`; `plugport versions {}` lists them", self.plugin.id, self.plugin.id);
            return Err(Failure::usage(format!("`{}` names no version", self.plugin), hint));
        };
        let index = session.context()?.index();
        index.check_has_catalog().await?;
        let (views, read) = self.scope.views(session).await?;
        let (policy, plugin, wanted) = (policy(session)?, self.plugin.id.clone(), version.clone());
        let answer = move |index: &Index| {
            find(index, &views, &plugin)?;
            let answers = views.iter().map(|view| why_not(index, view, (&plugin, &wanted), &policy));
            Ok::<_, Failure>(answers.collect::<Result<Vec<_>, _>>()?)
        };
        Ok(report(&self.plugin.id, Some(version), &index.read(answer).await?, &read))
    }
}

impl Scope {
    /// Returns the workspaces that could be read, and all that were tried.
    async fn views(&self, session: &Session) -> Result<(Vec<WorkspaceView>, Vec<TargetListing>), Failure> {
        let manifest = session.manifest()?;
        if self.selection.is_empty() && manifest.workspaces().is_empty() {
            return Ok((vec![self.nowhere()], Vec::new()));
        }
        let read = read_all_with_nested(session, self.selection.or_all(session).await?).await?;
        let grafana = GrafanaRequest::choose(self.grafana.as_ref(), &read);
        let view = |one: &TargetListing| {
            let (target, state) = one.there()?;
            let view = view(manifest, target, state, grafana.as_ref());
            Some(WorkspaceView { nested: one.nested.clone(), ..view })
        };
        Ok((read.iter().filter_map(view).collect(), read))
    }

    /// Returns what is used if there is no workspace: a machine like this one with the Grafana that was named.
    fn nowhere(&self) -> WorkspaceView {
        let grafana = self.grafana.as_ref().map(GrafanaRequest::version);
        let name = grafana.as_ref().map_or_else(|| "catalog".to_owned(), |grafana| format!("Grafana {grafana}"));
        let platform = grafana.as_ref().map(|_| Platform::host());
        WorkspaceView { name, grafana, platform, ..WorkspaceView::default() }
    }
}

fn view(manifest: &Manifest, target: &Target, state: &Snapshot, grafana: Option<&GrafanaVersion>) -> WorkspaceView {
    WorkspaceView {
        name: target.name.clone(),
        grafana: grafana.cloned().or_else(|| state.grafana.clone()),
        platform: Some(target.platform.clone()),
        is_server: target.as_server().is_ok(),
        plugins: state.plugins.clone(),
        nested: Vec::new(),
        wishes: wishes(manifest, &target.name),
    }
}

/// Returns what the manifest says of a workspace.
pub(super) fn wishes(manifest: &Manifest, name: &str) -> Vec<Wish> {
    let Some(workspace) = manifest.workspaces().iter().find(|workspace| workspace.name().as_str() == name) else {
        return Vec::new();
    };
    manifest.plugins().iter().filter(|wish| workspace.is_selected_by(&wish.on)).cloned().collect()
}

fn policy(session: &Session) -> Result<Policy, Failure> {
    let signatures = signature_rule(&session.context()?.trust);
    Ok(Policy { published_before: session.published_before()?, signatures })
}

fn report(
    plugin: &PluginId,
    version: Option<&PluginVersion>,
    answers: &[WorkspaceReasons],
    read: &[TargetListing],
) -> Report {
    let mut document = json!({ "plugin": plugin });
    if let Some(version) = version {
        document["version"] = to_document(version);
    }
    document["workspaces"] = answers.iter().map(to_document).collect();
    let text: Vec<_> = answers.iter().map(|answer| text(plugin, answer)).collect();
    Report { document, text: text.join("\n").into(), problems: problems(read), kind: kind(read), ..Report::default() }
}

fn text(plugin: &PluginId, answer: &WorkspaceReasons) -> String {
    let mut heading = answer.name.clone();
    if let Some(grafana) = answer.grafana.as_ref().filter(|grafana| !answer.name.ends_with(grafana.as_str())) {
        let _ = write!(heading, " (Grafana {grafana})");
    }
    let installed = answer.installed.as_ref().map(|version| format!("{plugin} {version} is installed"));
    let chosen = answer.chosen.as_ref().map(|version| format!("{version} would be chosen now"));
    let facts: Vec<_> = installed.into_iter().chain(chosen).collect();
    if !facts.is_empty() {
        let _ = write!(heading, ": {}", facts.join(", "));
    }
    let mut text = format!("{}\n", ui::clean(&heading));
    for reason in &answer.reasons {
        let lines = reason.explanation.as_ref().map_or_else(|| vec![reason.text.clone()], Explanation::lines);
        for (view, line) in lines.iter().enumerate() {
            let _ = writeln!(text, "{}{}", if view == 0 { "  - " } else { "      " }, ui::clean(line));
        }
    }
    text
}
