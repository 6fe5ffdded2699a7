//! `plugport validate`.

use clap::Args;
use serde_json::json;

use super::{Failure, Report, Session, setup::environment, ui};
use crate::{fleet::Manifest, ops::validate::missing};

/// Check the manifest, without a request
///
/// Exits with 2 and the line if the manifest is invalid. Variables, files and folders that it refers to and that are not
/// here are only reported: they may be on another machine.
#[derive(Args, Debug)]
pub(super) struct ValidateArgs {}

impl ValidateArgs {
    pub(super) fn run(session: &Session) -> Result<Report, Failure> {
        let path = &session.manifest_path;
        let shown = path.display().to_string();
        if !path.exists() {
            let message = format!("there is no manifest `{}`", shown.escape_debug());
            return Err(Failure::usage(message, "`plugport init` writes one, `--config FILE` names another"));
        }
        let manifest = Manifest::load(path)?;
        let missing = missing(&manifest, &environment);
        let count = |number: usize, one, many| ui::count(number as u64, one, many);
        let parts = [
            count(manifest.workspaces().len(), "workspace", "workspaces"),
            count(manifest.plugins().len(), "plugin entry", "plugin entries"),
            count(manifest.data_sources().len(), "data source", "data sources"),
        ];
        Ok(Report {
            document: json!({
                "manifest": shown,
                "valid": true,
                "workspaces": manifest.workspaces().len(),
                "plugins": manifest.plugins().len(),
                "data_sources": manifest.data_sources().len(),
                "missing": missing,
            }),
            text: ui::clean(&format!("`{shown}` is valid: {}\n", parts.join(", "))).into(),
            problems: missing.into_iter().map(|what| format!("note: {what}")).collect(),
            ..Report::default()
        })
    }
}
