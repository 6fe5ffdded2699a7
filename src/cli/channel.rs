//! `plugport channel`.

use std::{fmt::Write as _, time::Duration};

use clap::{Args, Subcommand};

use super::{Failure, Report, Session, Text, setup::to_document, ui};
use crate::{
    mirror::{Links, Mode},
    model::PluginId,
    ops::{
        channel::{ChannelOutcome, Promotion, diff, list, promote, rollback},
        serving::{Serving, ServingOptions},
    },
};

/// Decide what groups of servers see: named sets of versions, served at /c/NAME/api
///
/// `edge` is what is listed now. Other channels change only when something is promoted into them. A Grafana chooses one
/// by its address: `GF_GRAFANA_COM_API_URL=http://ADDRESS/c/NAME/api`.
#[derive(Args, Debug)]
pub(super) struct ChannelArgs {
    #[command(subcommand)]
    command: ChannelCommand,
}

#[derive(Debug, Subcommand)]
enum ChannelCommand {
    /// List the channels
    List,
    /// Give a channel the versions of another; creates it if it is missing
    Promote {
        /// The channel that has them: `edge`, or another
        from: String,
        /// The channel that gets them
        to: String,
        /// Only this plugin; may be given several times
        #[arg(long, value_name = "ID")]
        only: Vec<PluginId>,
        /// Only versions that the first channel has had for so long
        #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
        after: Option<Duration>,
    },
    /// Show which versions the second channel has, and the first has not, and the other way round
    Diff {
        /// The first
        first: String,
        /// The second
        second: String,
    },
    /// Make a channel what it was before its last change
    Rollback {
        /// The channel
        name: String,
    },
}

impl ChannelArgs {
    /// Returns whether no channel is changed.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.command, ChannelCommand::List | ChannelCommand::Diff { .. })
    }

    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let age = session.manifest()?.trust().min_release_age.as_millis();
        let minimum_age = i64::try_from(age).unwrap_or(i64::MAX);
        let options = ServingOptions { mode: Mode::Mirror, links: Links::default(), minimum_age };
        let serving = Serving::new(session.context()?.clone(), options);
        let mut notes = Vec::new();
        let outcome = match &self.command {
            ChannelCommand::List => list(&serving).await?,
            ChannelCommand::Promote { from, to, only, after } => {
                let after = after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
                let promotion = Promotion { from: from.clone(), to: to.clone(), only: only.clone(), after };
                promote(&serving, &promotion).await?
            }
            ChannelCommand::Diff { first, second } => diff(&serving, first, second).await?,
            ChannelCommand::Rollback { name } => {
                notes.push(
                    "servers 11.3 and 11.4 downgrade to the version that is now the newest, at their next start"
                        .to_owned(),
                );
                rollback(&serving, name).await?
            }
        };
        Ok(Report { text: text(&outcome), document: to_document(&outcome), notes, ..Report::default() })
    }
}

fn text(outcome: &ChannelOutcome) -> Text {
    if let Some(changes) = &outcome.changes {
        let mut lines = String::new();
        for change in changes {
            let _ = writeln!(lines, "{:<7} {}@{}", change.change, change.plugin, change.version);
        }
        let _ = writeln!(lines, "{}", ui::count(changes.len() as u64, "difference", "differences"));
        return lines.into();
    }
    let rows = outcome.channels.iter().map(|channel| {
        vec![
            channel.name.clone(),
            channel.generation.chars().take(12).collect(),
            channel.plugins.to_string(),
            channel.versions.to_string(),
            channel.promoted_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        ]
    });
    ui::table(&["channel", "generation", "plugins", "versions", "promoted"], rows)
}
