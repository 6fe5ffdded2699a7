//! `plugport add` and `plugport remove`.

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::{
    model::{PluginId, PluginSpec, Selector},
    ops::entries::{EntryOutcome, add, open, remove},
};

/// Add a plugin to the manifest, or change its versions there
///
/// An entry about the same workspaces is changed in its place. Comments and the other entries stay as they are. A plugin or
/// a version that the catalog lacks is refused. No workspace is changed: `plugport lock` and `plugport apply` do that.
#[derive(Args, Debug)]
pub(super) struct AddArgs {
    /// The plugin, with or without the wanted versions, like `ID@^1.2`
    #[arg(value_name = "ID[@RANGE]")]
    plugin: PluginSpec,
    /// The workspaces: `all`, names, globs, or labels like `tier=prod` (repeatable) [default: all]
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
}

/// Remove the entries of a plugin from the manifest
///
/// Comments stay, except those directly above an entry. The plugin stays installed: `plugport uninstall` removes it, and so
/// does an entry with `ensure = "absent"`.
#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The plugin
    #[arg(value_name = "ID")]
    plugin: PluginId,
}

impl AddArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let draft = open(session.manifest_path.clone())?;
        let on = Selector::any(&self.on).unwrap_or_else(Selector::all);
        let outcome = add(session.context()?, draft, self.plugin.clone(), on).await?;
        let version = outcome.version.as_ref().map_or_else(|| "any version".to_owned(), ToString::to_string);
        let on = outcome.on.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        let what = format!("{} ({version}) on {on}", outcome.plugin);
        let sentence = match outcome.changed {
            0 => format!("`{}` has {what} already\n", outcome.manifest.display()),
            _ => format!("added to `{}`: {what}\n", outcome.manifest.display()),
        };
        let hint = "hint: `plugport lock` chooses the version, and `plugport plan` shows what would be changed";
        Ok(report(&outcome, &sentence, Some(hint).filter(|_| !session.ui.quiet)))
    }
}

impl RemoveArgs {
    pub(super) fn run(&self, session: &Session) -> Result<Report, Failure> {
        let outcome = remove(&open(session.manifest_path.clone())?, &self.plugin)?;
        let entries = ui::count(outcome.changed as u64, "entry", "entries");
        let sentence = format!("removed from `{}`: {} ({entries})\n", outcome.manifest.display(), outcome.plugin);
        let hint = format!("hint: it stays installed: `plugport uninstall {} --on all` removes it", outcome.plugin);
        Ok(report(&outcome, &sentence, Some(hint.as_str()).filter(|_| !session.ui.quiet)))
    }
}

fn report(outcome: &EntryOutcome, sentence: &str, hint: Option<&str>) -> Report {
    let notes = outcome.notes.iter().map(|note| format!("note: {note}"));
    let hint = hint.filter(|_| outcome.changed > 0).map(str::to_owned);
    Report {
        document: to_document(outcome),
        text: ui::clean(sentence).into(),
        problems: notes.chain(hint).collect(),
        ..Report::default()
    }
}
