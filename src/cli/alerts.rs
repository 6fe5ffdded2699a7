//! `plugport alerts`.

use clap::Args;
use serde_json::json;

use super::{Failure, Report, Session, Text, setup::to_document, ui};
use crate::{
    diagnostic::Kind,
    model::WorkspaceName,
    ops::{
        alerts::{StandingAlert, standing},
        locking::{lock_path, read_lock},
    },
};

/// List the open alerts, with what each stops
///
/// An alert is open from the sync that raised it until `plugport accept` accepts it. Reads the index and the lock; sends no
/// request.
#[derive(Args, Debug)]
pub(super) struct AlertsArgs {
    /// Exit with 3 if an alert is open
    #[arg(long)]
    exit_code: bool,
}

impl AlertsArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let lock = read_lock(&lock_path(&session.manifest_path))?;
        let index = session.index()?;
        index.check_has_catalog().await?;
        let alerts = index.read(move |index| standing(index, lock.as_ref())).await?;
        let (text, notes) = if alerts.is_empty() {
            (Text::default(), vec!["no alert is open".to_owned()])
        } else {
            (table(&alerts), Vec::new())
        };
        let kind = (self.exit_code && !alerts.is_empty()).then_some(Kind::Findings);
        let problems = hint(&alerts).into_iter().collect();
        Ok(Report { document: json!({ "alerts": to_document(&alerts) }), text, notes, problems, kind })
    }
}

/// Returns open alerts as a table.
pub(super) fn table(alerts: &[StandingAlert]) -> Text {
    let row = |one: &StandingAlert| {
        let version = one.alert.version.as_ref().map_or("any", |version| version.as_str());
        let platform = one.alert.platform.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let locked: Vec<_> = one.locked_on.iter().map(WorkspaceName::as_str).collect();
        vec![
            one.since.date(),
            one.alert.plugin.to_string(),
            version.to_owned(),
            platform,
            one.alert.change(),
            one.stops.clone(),
            if locked.is_empty() { "-".to_owned() } else { locked.join(", ") },
        ]
    };
    ui::table(&["since", "plugin", "version", "platform", "what", "stops", "locked on"], alerts.iter().map(row))
}

/// Returns what to do about the first of them.
pub(super) fn hint(alerts: &[StandingAlert]) -> Option<String> {
    let first = alerts.first()?;
    let command = first.acceptance();
    Some(format!("hint: ask the publisher what changed, then accept it by name: `{command}`"))
}
