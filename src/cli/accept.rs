//! `plugport accept`.

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::{
    model::{PluginSpec, PluginVersion, VersionRequest},
    ops::accept::{AcceptOutcome, accept},
};

/// Accept a change that raised an alert
///
/// Accepts the open alerts of this version (such as a changed digest) and of its plugin (such as another owner or
/// signer). From then on, what the catalog offered last is trusted. Until then, nothing that an alert concerns is
/// fetched or installed.
#[derive(Args, Debug)]
pub(super) struct AcceptArgs {
    /// The plugin and the version
    #[arg(value_name = "ID@VERSION")]
    plugin: PluginSpec,
}

impl AcceptArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let VersionRequest::Text { version, .. } = &self.plugin.version else {
            return Err(self.no_version(session).await);
        };
        let outcome = accept(session.context()?, &self.plugin.id, version).await?;
        let fetch = format!(
            "the store still has the package of before: `plugport fetch {}@{version}` brings what was accepted",
            self.plugin.id
        );
        let notes = outcome.is_store_behind.then_some(fetch).into_iter().collect();
        Ok(Report { document: to_document(&outcome), text: text(&outcome).into(), notes, ..Report::default() })
    }

    /// Returns the failure of somebody who names no version, with those that alerts are open on.
    async fn no_version(&self, session: &Session) -> Failure {
        let (id, plugin) = (&self.plugin.id, self.plugin.id.clone());
        let alerts = match session.index() {
            Ok(index) => index.read(move |index| index.open_alerts(&plugin)).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let mut versions: Vec<&PluginVersion> =
            alerts.iter().filter_map(|alert| alert.change.version.as_ref()).collect();
        versions.sort();
        versions.dedup();
        let versions: Vec<_> = versions.into_iter().map(ToString::to_string).collect();
        let hint = match versions.as_slice() {
            _ if alerts.is_empty() => format!("no alert is open on {id}; `plugport show {id}` shows what is known"),
            [] => format!(
                "the alert is on the whole plugin: name the version that you want, `plugport accept {id}@VERSION`"
            ),
            versions => format!("alerts are open on {}: `plugport accept {id}@{}`", versions.join(", "), versions[0]),
        };
        Failure::usage(
            format!("`{}` names no version, and alerts are accepted one version at a time", self.plugin),
            hint,
        )
    }
}

fn text(outcome: &AcceptOutcome) -> String {
    let lines = outcome.accepted.iter().map(|alert| {
        let what = alert.kind.replace('-', " ");
        let version = alert.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
        let platform = alert.platform.as_ref().map_or_else(String::new, |platform| format!(" ({platform})"));
        let change = match (&alert.before, &alert.after) {
            (Some(before), Some(after)) => format!(": {before} → {after}"),
            _ => String::new(),
        };
        ui::clean(&format!("accepted: {}{version}{platform}: {what}{change}", alert.plugin))
    });
    lines.collect::<Vec<_>>().join("\n")
}
