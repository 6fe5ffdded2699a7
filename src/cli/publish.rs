//! `plugport publish`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Failure, Report, Session, Text, setup::to_document, ui};
use crate::{
    model::{Platform, PluginId, PluginSpec, VersionRequest},
    ops::publish::{PublishOutcome, platform_of, publish, submit, withdraw},
};

/// Add private packages to the local catalog
///
/// A package is checked as one that is fetched. What is published never changes: other bytes for the same plugin, version
/// and platform are refused. Several zips of one call appear at once.
#[derive(Args, Debug)]
pub(super) struct PublishArgs {
    /// The packages
    #[arg(value_name = "ZIP", required_unless_present = "withdraw", conflicts_with = "withdraw")]
    files: Vec<PathBuf>,
    /// What the zips are for [default: what the end of their names says, like `-linux-amd64.zip`, else `any`]
    #[arg(long, value_name = "P", conflicts_with = "withdraw")]
    platform: Option<Platform>,
    /// Replace this plugin of a synced catalog, with all its versions; may be given several times
    #[arg(long, value_name = "ID", conflicts_with = "withdraw")]
    shadow: Vec<PluginId>,
    /// Mark a private version as withdrawn; it is no longer listed
    #[arg(long, value_name = "ID@VERSION", requires = "reason")]
    withdraw: Option<PluginSpec>,
    /// Why it is withdrawn
    #[arg(long, value_name = "TEXT", requires = "withdraw")]
    reason: Option<String>,
}

impl PublishArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?;
        if let Some(spec) = &self.withdraw {
            return self.withdraw(session, spec).await;
        }
        let mut submissions = Vec::new();
        for file in &self.files {
            let platform = self.platform.clone().unwrap_or_else(|| platform_of(file));
            submissions.push(submit(context, file, platform).await?);
        }
        let shadow = self.shadow.iter().cloned().collect();
        let outcome = publish(context, submissions, &shadow).await?;
        let problems = outcome.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        Ok(Report { text: text(&outcome), document: to_document(&outcome), problems, ..Report::default() })
    }

    async fn withdraw(&self, session: &Session, spec: &PluginSpec) -> Result<Report, Failure> {
        let VersionRequest::Text { version, .. } = &spec.version else {
            return Err(Failure::usage("no version is named", "`--withdraw ID@1.2.3` names one exactly"));
        };
        withdraw(session.context()?, &spec.id, version, self.reason.as_deref().unwrap_or_default()).await?;
        let document = json!({ "published": [], "withdrawn": [{ "plugin": spec.id, "version": version }] });
        Ok(Report { text: format!("{}@{version} is withdrawn\n", spec.id).into(), document, ..Report::default() })
    }
}

fn text(outcome: &PublishOutcome) -> Text {
    let state = if outcome.is_new { "published" } else { "present" };
    let rows = outcome.published.iter().map(|published| {
        vec![
            published.plugin.to_string(),
            published.version.to_string(),
            published.platform.to_string(),
            format!("sha256:{}", ui::digest(&published.sha256.to_string())),
            state.to_owned(),
        ]
    });
    ui::table(&["plugin", "version", "platform", "digest", "state"], rows)
}
