//! `plugport verify`.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::{
    model::PluginId,
    ops::{
        trust::Signed,
        verify::{ProvenanceOutcome, VerifyOutcome, verify_file, verify_folder, verify_store},
    },
    signature::Status,
};

/// How many signatures are listed one by one.
const FEW: usize = 3;

/// Check the store, a zip, or installed plugins again
///
/// Exits with 4 if a package is refused, and with 3 if an installed folder differs from its package or, if the store
/// has no such package, from what was signed. What `trust.signatures` refuses fails too. `--all` also checks the
/// provenance log.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Check the packages of these plugins in the store
    #[arg(value_name = "ID", required_unless_present_any = ["all", "file", "dir"])]
    plugins: Vec<PluginId>,
    /// Check every package in the store
    #[arg(long, conflicts_with = "plugins")]
    all: bool,
    /// Check this zip
    #[arg(long, value_name = "ZIP", conflicts_with_all = ["plugins", "all"])]
    file: Option<PathBuf>,
    /// Check a plugin's folder, or a plugins folder with many, against the store and its signatures
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["plugins", "all", "file"])]
    dir: Option<PathBuf>,
}

impl VerifyArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?;
        let outcome = match (&self.file, &self.dir) {
            (Some(file), _) => verify_file(context, file).await?,
            (None, Some(folder)) => verify_folder(context, folder).await?,
            (None, None) => verify_store(context, &self.plugins).await?,
        };
        let mut notes = session.key_notes()?;
        notes.extend(outcome.remarks.iter().map(|remark| format!("note: {remark}")));
        notes.extend(outcome.failures.iter().map(|failure| format!("failed: {}: {}", failure.object, failure.reason)));
        notes.extend(hints(&outcome));
        notes.extend(signatures(&outcome.signatures));
        let weak = outcome.weak.iter();
        notes.extend(weak.map(|object| format!("weak: {object}: it has only an MD5, which a forger can match")));
        Ok(Report {
            document: to_document(&outcome),
            text: text(&outcome).into(),
            kind: outcome.kind,
            problems: notes,
            notes: Vec::new(),
        })
    }
}

/// Returns what to do about the failures, each advice once.
fn hints(outcome: &VerifyOutcome) -> Vec<String> {
    let mut hints: Vec<_> = outcome.failures.iter().filter_map(|failure| failure.hint.as_deref()).collect();
    let mut seen = BTreeSet::new();
    hints.retain(|hint| seen.insert(*hint));
    hints.into_iter().map(|hint| format!("hint: {hint}")).collect()
}

/// Returns what the signatures say: of a few one by one, of many only what is not valid, and the count.
fn signatures(signed: &[Signed]) -> Vec<String> {
    if signed.len() <= FEW {
        return signed.iter().map(signature).collect();
    }
    let valid = signed.iter().filter(|one| one.status == Status::Valid.as_str()).count();
    let mut lines: Vec<_> = signed.iter().filter(|one| one.status != Status::Valid.as_str()).map(signature).collect();
    lines.push(format!("signature: {valid} of {} are valid", signed.len()));
    lines
}

fn signature(signed: &Signed) -> String {
    format!("signature: {}: {signed}", signed.object)
}

fn text(outcome: &VerifyOutcome) -> String {
    let VerifyOutcome { checked, ok, failures, .. } = outcome;
    let mut text = format!("{checked} checked, {ok} as they should be, {} not", failures.len());
    if let Some(ProvenanceOutcome { entries, head: Some(head), .. }) = &outcome.provenance {
        let entries = ui::count(*entries, "entry", "entries");
        let _ = write!(text, "\nprovenance: {entries}, head {head}");
    }
    ui::clean(&text)
}
