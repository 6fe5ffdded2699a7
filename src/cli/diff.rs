//! `plugport diff`.

use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, ui};
use crate::{
    index::{RecordedChange, Since},
    model::Timestamp,
};

/// Show what changed in the catalog
///
/// Shows new, withdrawn and deprecated plugins and versions, and changed signers, owners and digests.
#[derive(Args, Debug)]
pub(super) struct DiffArgs {
    /// Show changes after this date, time, or sync number [default: the last sync that changed something]
    #[arg(long, value_name = "TIME|SYNC")]
    since: Option<Start>,
}

/// From when on.
#[derive(Clone, Copy, Debug)]
struct Start(Since);

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(sync) = text.parse::<i64>() {
            return Ok(Self(Since::Sync(sync)));
        }
        let time: Result<Timestamp, _> = text.parse();
        time.map(|time| Self(Since::Time(time))).map_err(|_| {
            "expected a date like `2025-03-04`, a time like `2025-03-04T10:00:00Z`, or the number of a sync".to_owned()
        })
    }
}

impl DiffArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let since = self.since.map_or(Since::LastSync, |start| start.0);
        let read = session.index()?.read(move |index| {
            index.check_has_catalog()?;
            Ok::<_, Failure>((index.changes(since)?, index.syncs()?))
        });
        let (mut changes, syncs) = read.await?;
        // The order in which the upstream answered means nothing.
        changes.sort_by(|left, right| (left.sync, &left.change.plugin).cmp(&(right.sync, &right.change.plugin)));
        let documents: Vec<_> = changes.iter().map(document).collect();
        let since = match since {
            Since::Sync(sync) => json!(sync),
            Since::Time(time) => json!(time),
            Since::LastSync => json!(syncs.first().map(|sync| sync.id)),
        };
        let mut notes = Vec::new();
        if changes.is_empty() {
            notes.push("nothing changed".to_owned());
        }
        let last = syncs.first().map_or(0, |sync| sync.id);
        if let Some(Start(Since::Sync(sync))) = self.since
            && sync > last
        {
            notes.push(format!("there was no sync {sync} yet; the last one was {last}"));
        }
        Ok(Report {
            document: json!({ "since": since, "changes": documents }),
            text: text(&changes),
            notes,
            ..Report::default()
        })
    }
}

fn document(recorded: &RecordedChange) -> Value {
    let change = &recorded.change;
    json!({
        "sync": recorded.sync,
        "at": recorded.at,
        "kind": change.kind,
        "plugin": change.plugin,
        "version": change.version,
        "platform": change.platform,
        "before": change.before,
        "after": change.after,
        "alert": change.alert,
    })
}

fn text(changes: &[RecordedChange]) -> Text {
    if changes.is_empty() {
        return Text::default();
    }
    let row = |recorded: &RecordedChange| {
        let change = &recorded.change;
        let version = change.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
        let platform = change.platform.as_ref().map_or_else(String::new, |platform| format!(" ({platform})"));
        let values = match (&change.before, &change.after) {
            (Some(before), Some(after)) => format!("{before} → {after}"),
            (Some(value), None) | (None, Some(value)) => value.clone(),
            (None, None) => String::new(),
        };
        vec![
            recorded.at.date(),
            format!("{}{}", change.kind, if change.alert { " (alert)" } else { "" }),
            format!("{}{version}{platform}", change.plugin),
            values,
        ]
    };
    ui::table(&["seen", "change", "plugin", "what"], changes.iter().map(row))
}
