//! `plugport usage`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, selection::TargetSelection, ui};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    model::PluginId,
    ops::{
        target::Target,
        unknown_plugins::check_known,
        usage::read_usage,
        workspace_usage::{OrganisationUsage, UsageError, WorkspaceUsage},
    },
    usage::PluginUses,
};

/// How many plugins a row names before it counts the others.
const NAMED: usize = 6;

/// How many references that cannot be resolved are shown.
const SHOWN: usize = 5;

/// Show which dashboards, data sources, alert rules and library panels need a plugin
///
/// Reads every organisation that the token can see. If the token cannot read everything, the result is marked
/// incomplete. Dashboards that have not changed since the last time are not read again.
#[derive(Args, Debug)]
pub(super) struct UsageArgs {
    /// Only these plugins; those of Grafana itself are allowed too
    #[arg(value_name = "ID")]
    plugins: Vec<PluginId>,
    #[command(flatten)]
    selection: TargetSelection,
}

type TargetUsage = (Target, Result<WorkspaceUsage, UsageError>);

impl UsageArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let read = read_usage(session.context()?, self.selection.or_all(session).await?).await;
        self.check_known(session, &read).await?;
        let wanted = read.iter().filter(|_| session.wants_document);
        let documents: Vec<_> = wanted.map(|one| self.document(one)).collect();
        let usages: Vec<_> = read.iter().filter_map(|(_, usage)| usage.as_ref().ok()).collect();
        Ok(Report {
            document: json!({ "workspaces": documents }),
            text: Text::join([
                self.folders_table(&usages),
                self.plugins_table(&usages),
                self.dashboards_table(&usages),
            ]),
            notes: self.notes(&usages),
            problems: problems(&read),
            kind: kind(&read),
        })
    }

    /// Refuses an id that nothing needs and nobody knows. What could not be read may know it.
    async fn check_known(&self, session: &Session, read: &[TargetUsage]) -> Result<(), Failure> {
        let graphs = || read.iter().filter_map(|(_, usage)| usage.as_ref().ok()).flat_map(|usage| &usage.organisations);
        let is_whole = read.iter().all(|(_, usage)| usage.as_ref().is_ok_and(WorkspaceUsage::is_complete));
        let is_needed = |id: &&PluginId| graphs().any(|one| one.graph.uses_of(id).is_some());
        let unneeded: Vec<_> = self.plugins.iter().filter(|id| !is_needed(id)).cloned().collect();
        if !is_whole || unneeded.is_empty() {
            return Ok(());
        }
        let targets: Vec<_> = read.iter().map(|(target, _)| target.clone()).collect();
        Ok(check_known(session.context()?, &targets, unneeded).await?)
    }

    fn document(&self, (target, usage): &TargetUsage) -> Value {
        match usage {
            Ok(usage) => {
                let organisations: Vec<_> = usage.organisations.iter().map(|one| self.organisation(one)).collect();
                json!({
                    "name": target.name, "complete": usage.is_complete(), "gaps": usage.gaps,
                    "organisations": organisations,
                })
            }
            Err(error) => json!({
                "name": target.name, "complete": false, "organisations": [], "error": Chain(error).to_string(),
            }),
        }
    }

    fn organisation(&self, one: &OrganisationUsage) -> Value {
        let plugins: Vec<_> = self.chosen(one).into_iter().map(|(id, uses)| plugin_document(id, uses)).collect();
        json!({
            "id": one.info.id,
            "name": one.info.name,
            "complete": one.is_complete(),
            "gaps": one.gaps,
            "plugins": plugins,
            "unresolved": one.graph.unresolved,
        })
    }

    /// Returns the plugins that were asked for, needed or not, or all that are needed.
    fn chosen<'a>(&'a self, one: &'a OrganisationUsage) -> Vec<(&'a PluginId, Option<&'a PluginUses>)> {
        if self.plugins.is_empty() {
            return one.graph.plugins.iter().map(|(id, uses)| (id, Some(uses))).collect();
        }
        self.plugins.iter().map(|id| (id, one.graph.uses_of(id))).collect()
    }

    fn folders_table(&self, usages: &[&WorkspaceUsage]) -> Text {
        let mut rows = Vec::new();
        for (name, one) in organisations(usages) {
            let mut folders: BTreeMap<_, OwnedFolder<'_>> = BTreeMap::new();
            for (id, uses) in self.chosen(one).into_iter().filter_map(|(id, uses)| Some((id, uses?))) {
                for dashboard in &uses.dashboards {
                    let folder = folders.entry((&dashboard.folder, &dashboard.owner)).or_default();
                    folder.plugins.insert(id);
                    folder.dashboards.insert(&dashboard.uid);
                    let panels = dashboard.uses.iter().filter_map(|one| one.panel.as_ref());
                    folder.panels.extend(panels.map(|panel| (dashboard.uid.as_str(), panel.id, panel.title.as_str())));
                }
            }
            rows.extend(folders.into_iter().map(|((folder, owner), found)| {
                let owner = owner.clone().unwrap_or_else(|| "-".to_owned());
                let (dashboards, panels) = (found.dashboards.len().to_string(), found.panels.len().to_string());
                vec![name.clone(), folder.clone(), owner, dashboards, panels, names(&found.plugins)]
            }));
            let cell = |text: &str| text.to_owned();
            rows.extend(one.gaps.iter().map(|gap| {
                vec![name.clone(), cell("?"), cell("?"), cell("?"), cell("?"), format!("incomplete: {gap}")]
            }));
        }
        table(&["workspace", "folder", "owner", "dashboards", "panels", "plugins"], rows)
    }

    fn plugins_table(&self, usages: &[&WorkspaceUsage]) -> Text {
        let mut rows = Vec::new();
        for (name, one) in organisations(usages) {
            for (id, uses) in self.chosen(one) {
                let none = PluginUses::default();
                let uses = uses.unwrap_or(&none);
                let lists = [uses.datasources.len(), uses.alert_rules.len(), uses.library_panels.len()];
                let counts = [uses.dashboards.len(), uses.panels()].into_iter().chain(lists);
                // Where something could not be read, what was read is the least that there is.
                let more = if one.is_complete() { "" } else { "+" };
                let counts = counts.map(|count| format!("{count}{more}"));
                rows.push([name.clone(), id.to_string()].into_iter().chain(counts).collect());
            }
        }
        let header = ["workspace", "plugin", "dashboards", "panels", "data sources", "alert rules", "library panels"];
        table(&header, rows)
    }

    /// Names the dashboards, where somebody asks for some plugins.
    fn dashboards_table(&self, usages: &[&WorkspaceUsage]) -> Text {
        let mut rows = Vec::new();
        for (name, one) in organisations(usages).into_iter().filter(|_| !self.plugins.is_empty()) {
            for (id, uses) in self.chosen(one).into_iter().filter_map(|(id, uses)| Some((id, uses?))) {
                rows.extend(uses.dashboards.iter().map(|dashboard| {
                    let cells = [id.as_str(), &dashboard.folder, &dashboard.title, &dashboard.uid];
                    let cells = cells.into_iter().map(|cell| ui::shorten(cell, 60));
                    [name.clone()].into_iter().chain(cells).chain([dashboard.panels().to_string()]).collect()
                }));
            }
        }
        table(&["workspace", "plugin", "folder", "dashboard", "uid", "panels"], rows)
    }

    fn notes(&self, usages: &[&WorkspaceUsage]) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, one) in organisations(usages).into_iter().filter(|(_, one)| one.is_complete()) {
            let unused = self.chosen(one).into_iter().filter(|(_, uses)| uses.is_none());
            notes.extend(unused.map(|(id, _)| format!("nothing in {name} needs {id}")));
        }
        notes
    }
}

/// What lies in a folder and has one owner.
#[derive(Default)]
struct OwnedFolder<'a> {
    plugins: BTreeSet<&'a PluginId>,
    dashboards: HashSet<&'a str>,
    panels: HashSet<(&'a str, Option<i64>, &'a str)>,
}

/// Returns the organisations with what they are called: that of a workspace which has one is called like it.
fn organisations<'a>(usages: &[&'a WorkspaceUsage]) -> Vec<(String, &'a OrganisationUsage)> {
    let mut found = Vec::new();
    for usage in usages {
        for one in &usage.organisations {
            let alone = usage.organisations.len() == 1;
            let name = if alone { usage.name.clone() } else { format!("{}/{}", usage.name, one.info.name) };
            found.push((name, one));
        }
    }
    found
}

fn names(plugins: &BTreeSet<&PluginId>) -> String {
    let named: Vec<_> = plugins.iter().take(NAMED).map(|id| id.as_str()).collect();
    let others = plugins.len() - named.len();
    let more = if others > 0 { format!(" and {others} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn table(header: &[&str], rows: Vec<Vec<String>>) -> Text {
    if rows.is_empty() { Text::default() } else { ui::table(header, rows) }
}

fn plugin_document(id: &PluginId, uses: Option<&PluginUses>) -> Value {
    let mut document = super::setup::to_document(uses.unwrap_or(&PluginUses::default()));
    let mut whole = serde_json::Map::from_iter([("id".to_owned(), json!(id))]);
    if let Some(fields) = document.as_object_mut() {
        whole.append(fields);
    }
    Value::Object(whole)
}

fn problems(read: &[TargetUsage]) -> Vec<String> {
    let mut problems = Vec::new();
    for (target, usage) in read {
        match usage {
            Ok(usage) => {
                for (name, one) in organisations(&[usage]) {
                    problems.extend(one.gaps.iter().map(|gap| format!("note: {name} is incomplete: {gap}")));
                    problems.extend(unresolved(&name, one));
                }
                problems.extend(usage.gaps.iter().map(|gap| format!("note: {} is incomplete: {gap}", target.name)));
            }
            Err(UsageError::Folder) => problems.push(format!("note: {}: {}", target.name, UsageError::Folder)),
            Err(error) => {
                problems.push(format!("failed: {}: {}", target.name, Chain(error)));
                problems.extend(error.hint().map(|hint| format!("hint: {hint}")));
            }
        }
    }
    problems
}

fn unresolved(name: &str, one: &OrganisationUsage) -> Vec<String> {
    let all = &one.graph.unresolved;
    let mut lines: Vec<_> = all
        .iter()
        .take(SHOWN)
        .map(|one| {
            let within = one.place.as_ref().map_or_else(String::new, |name| format!(", {}", ui::shorten(name, 40)));
            let (title, reference) = (ui::shorten(&one.title, 40), ui::shorten(&one.reference, 60));
            format!("note: {name}: `{reference}` in {title}{within}: {}", one.reason)
        })
        .collect();
    if all.len() > SHOWN {
        lines
            .push(format!("note: {name}: and {} more that cannot be resolved; `--json` lists them", all.len() - SHOWN));
    }
    lines
}

/// A folder has no usage, which is no failure; a gap makes the whole a part.
fn kind(read: &[TargetUsage]) -> Option<Kind> {
    let is_failure = |error: &&UsageError| !matches!(error, UsageError::Folder);
    let incomplete = read.iter().any(|(_, usage)| usage.as_ref().is_ok_and(|usage| !usage.is_complete()));
    match read.iter().filter_map(|(_, usage)| usage.as_ref().err()).find(is_failure) {
        Some(error) if read.iter().all(|(_, usage)| usage.is_err()) => Some(error.kind()),
        Some(_) => Some(Kind::Partly),
        None => incomplete.then_some(Kind::Partly),
    }
}
