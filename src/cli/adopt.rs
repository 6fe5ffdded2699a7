//! `plugport adopt`.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Report, Session, Text, selection::connect, setup::to_document, ui};
use crate::{
    model::{Selector, WorkspaceName},
    ops::{
        adopt::{AdoptOptions, AdoptOutcome, AdoptedWorkspace, Spread, adopt, read_workspaces},
        manifest_draft::Draft,
    },
};

/// Write the manifest and the lock from what is installed
///
/// The lock gets the exact versions. The manifest gets an entry for every plugin that is not only a dependency: with
/// `^` and the lowest installed version if that is semver, otherwise with the installed version or no range; for all
/// workspaces, for those with one or two labels, or for one by its name. Comments, and entries that agree with what
/// is installed, are kept. The lock is written first, then the manifest. Workspaces are only read.
#[derive(Args, Debug)]
pub(super) struct AdoptArgs {
    /// Read these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable)
    #[arg(long, value_name = "WORKSPACE|SELECTOR", conflicts_with = "dir", required_unless_present = "dir")]
    on: Vec<Selector>,
    /// Read this plugins folder. If it is not a workspace of the manifest, it is added, named after the folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Write to this manifest, and the lock beside it [default: the manifest that is read]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also take over the data sources that the manifest does not have and that no file provisions. Their secrets are
    /// references to environment variables, to be set before they are sent
    #[arg(long)]
    datasources: bool,
    #[command(flatten)]
    writing: WritingArgs,
}

/// What is written.
#[derive(Args, Debug)]
struct WritingArgs {
    /// Replace entries of the manifest that differ from what is installed
    #[arg(long)]
    force: bool,
    /// Write even if a workspace cannot be read, or only in part
    #[arg(long)]
    partial: bool,
    /// Print both files and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl AdoptArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let services = session.services()?;
        services.context.index().check_has_catalog().await?;
        let mut draft = Draft::open(&session.manifest_path)?;
        let selector = match &self.dir {
            Some(folder) => Selector::name(draft.with_folder(folder)?),
            None => Selector::any(&self.on).unwrap_or_else(Selector::all),
        };
        let targets = connect(session, draft.manifest().select(&selector)?).await?;
        let subjects = read_workspaces(targets, self.datasources).await;
        let options = AdoptOptions {
            out: self.out.clone(),
            force: self.writing.force,
            partial: self.writing.partial,
            dry_run: self.writing.dry_run,
        };
        let outcome = services.context.index().read(move |index| adopt(index, &draft, &subjects, &options)).await?;
        Ok(Report {
            document: to_document(&outcome),
            text: text(&outcome),
            problems: self.problems(&outcome),
            notes: notes(&outcome),
            kind: outcome.kind(),
        })
    }

    fn problems(&self, outcome: &AdoptOutcome) -> Vec<String> {
        let mut problems: Vec<_> = outcome.workspaces.iter().flat_map(unread).collect();
        if outcome.is_partial() && !self.writing.partial {
            problems.push("failed: nothing is written, because not every workspace was read whole".to_owned());
            problems.push("hint: `--partial` writes what was read, `--on` names other workspaces".to_owned());
        }
        problems.extend(outcome.left_out.iter().map(|reason| format!("note: {reason}")));
        let label = if self.writing.force { "replaced" } else { "failed" };
        problems.extend(outcome.differences.iter().map(|difference| format!("{label}: {difference}")));
        if !self.writing.force && !outcome.differences.is_empty() {
            problems.push("hint: nothing is written; `--force` replaces these entries of the manifest".to_owned());
        }
        problems
    }
}

fn unread(workspace: &AdoptedWorkspace) -> Vec<String> {
    let name = &workspace.name;
    let mut lines: Vec<_> = workspace.remarks.iter().map(|remark| format!("note: {name}: {remark}")).collect();
    lines.extend(workspace.gap.iter().map(|gap| format!("incomplete: {name}: {gap}")));
    lines.extend(workspace.unread.iter().flat_map(|unread| unread.lines(name.as_str())));
    lines
}

fn notes(outcome: &AdoptOutcome) -> Vec<String> {
    let mut notes: Vec<_> = outcome.lock_differences.iter().map(|difference| format!("lock: {difference}")).collect();
    let nothing_new = outcome.allowed && !outcome.written && outcome.contents.is_none();
    for source in &outcome.data_sources {
        let secrets = source.secrets.iter();
        notes.extend(secrets.map(|(name, variable)| {
            format!("set {variable} to the secret `{name}` of data source `{}` before it is sent", source.uid)
        }));
    }
    notes.extend(nothing_new.then(|| "both files say so already: nothing is written".to_owned()));
    notes
}

fn text(outcome: &AdoptOutcome) -> Text {
    let mut parts = Vec::new();
    if !outcome.groups.is_empty() {
        let version = |version: &Option<_>| version.as_ref().map_or("any".to_owned(), ToString::to_string);
        let row = |group: &crate::ops::manifest_draft::EntryGroup| {
            vec![group.plugin.to_string(), version(&group.version), group.on.to_string()]
        };
        parts.push(ui::table(&["plugin", "version", "on"], outcome.groups.iter().map(row)));
    }
    if !outcome.outliers.is_empty() {
        let row = |one: &crate::ops::adopt::Outlier| {
            [&one.workspace as &dyn ToString, &one.plugin, &one.version, &one.majority]
                .map(ToString::to_string)
                .to_vec()
        };
        let header = ["workspace", "plugin", "differs with", "most have"];
        parts.push(ui::table(&header, outcome.outliers.iter().map(row)));
    }
    if !outcome.data_sources.is_empty() {
        let row = |one: &crate::ops::adopt::AdoptedDataSource| {
            let secrets = one.secrets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            vec![one.uid.to_string(), one.name.clone(), one.plugin.to_string(), one.on.to_string(), secrets]
        };
        parts
            .push(ui::table(&["data source", "name", "plugin", "on", "secrets"], outcome.data_sources.iter().map(row)));
    }
    let odd = oddities(outcome);
    if !odd.is_empty() {
        parts.push(odd.into());
    }
    if let Some(contents) = &outcome.contents {
        let (manifest, lock) = (outcome.manifest.display(), outcome.lock.display());
        parts.push(Text::verbatim(ui::clean(&format!("# {lock}\n{}", contents.lock))));
        parts.push(Text::verbatim(ui::clean(&format!("# {manifest}\n{}", contents.manifest))));
    }
    if outcome.written {
        let files = format!("written: {} and {}\n", outcome.lock.display(), outcome.manifest.display());
        parts.push(ui::clean(&files).into());
    }
    Text::join(parts)
}

/// Returns what is worth a look, a line each.
fn oddities(outcome: &AdoptOutcome) -> String {
    let on = |spread: &Spread| {
        let names: Vec<_> = spread.workspaces.iter().map(WorkspaceName::as_str).collect();
        names.join(", ")
    };
    let mut lines: Vec<_> = outcome.rare.iter().map(|one| format!("{} is only on {}", one.plugin, on(one))).collect();
    lines.extend(outcome.unknown.iter().map(|one| format!("{} on {} is not in the catalog", one.plugin, on(one))));
    lines.extend(
        outcome
            .undigested
            .iter()
            .map(|one| format!("{} {} is locked without a digest: the catalog has none", one.plugin, one.version)),
    );
    lines.extend(outcome.doubts.iter().map(|one| format!("{} on {}: {}", one.plugin, one.workspace, one.says)));
    lines.iter().fold(String::new(), |text, line| text + &ui::clean(line) + "\n")
}
