//! What came of a change that was under way when its process ended.
//!
//! *Invariant:* nothing is sent; what is reported is what several readings in a row agreed on.
//! *Not for:* changes of this process: see [`crate::fleet::settle`].

use tokio::time::{Instant, sleep};

use super::{ChangeError, ChangeReport, ChangeRequest, Expected};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        settle::{Failure, Outcome, ServerPluginState},
    },
    model::Presence,
};

/// So many readings in a row must agree before a change is called made or not made.
const AGREEING: u32 = 2;

/// The result of repeated readings.
enum Finding {
    /// The change was made.
    Wanted,
    /// The change was not made.
    Before,
    /// Neither; the state of the last readings.
    Other(ServerPluginState),
}

pub(super) async fn confirm(server: &Grafana, request: &ChangeRequest) -> ChangeReport {
    let (outcome, left) = match read_until_clear(server, request).await {
        Err(error) => (Outcome::Unknown(error.into()), None),
        Ok(Finding::Wanted) => (Outcome::Changed, None),
        Ok(Finding::Before) => (Outcome::Unchanged, None),
        Ok(Finding::Other(ServerPluginState::Absent)) => {
            (Outcome::Failed(ChangeError::Lost(request.before.clone())), Some(Presence::Absent))
        }
        Ok(Finding::Other(ServerPluginState::Broken { code, .. })) => {
            (Outcome::Failed(Failure::Broken { code }.into()), Some(request.wanted.clone()))
        }
        // What a server brought along is changed once more.
        Ok(Finding::Other(state)) if request.may_be_brought(&state) => (Outcome::Unchanged, None),
        // What a server upgrades together with another plugin may be in any version.
        Ok(Finding::Other(_)) if request.expected == Expected::Anything => (Outcome::Unchanged, None),
        Ok(Finding::Other(state)) => (Outcome::Failed(request.drifted(state.presence())), None),
    };
    ChangeReport { left, ..ChangeReport::new(request, outcome) }
}

/// Reads until readings agree. Anything else than what was there before or is wanted gets its time: a call of ours may still
/// be at work.
async fn read_until_clear(server: &Grafana, request: &ChangeRequest) -> Result<Finding, WorkspaceError> {
    let settings = server.site().client().settings();
    let begun = Instant::now();
    let (mut last, mut agreeing) = (None::<ServerPluginState>, 0);
    loop {
        let reading = server.state(&request.plugin).await;
        let is_late = begun.elapsed() >= settings.settle_timeout;
        match reading {
            Ok(state) => {
                agreeing = if last.as_ref() == Some(&state) { agreeing + 1 } else { 1 };
                if is_wanted(&state, request) {
                    // What is shown as wanted and has other files is changed once more.
                    let is_other = has_other_files(server, request).await;
                    return Ok(if is_other { Finding::Before } else { Finding::Wanted });
                }
                let is_before = state.presence().is_same(&request.before);
                if agreeing >= AGREEING && is_before {
                    return Ok(Finding::Before);
                }
                if agreeing >= AGREEING && is_late {
                    return Ok(Finding::Other(state));
                }
                last = Some(state);
            }
            Err(error) if is_late || error.status() == Some(401) => return Err(error),
            Err(_) => agreeing = 0,
        }
        sleep(settings.settle_pause).await;
    }
}

async fn has_other_files(server: &Grafana, request: &ChangeRequest) -> bool {
    match request.wanted.version().filter(|_| request.compares_files) {
        Some(version) => server.other_files(&request.plugin, version).await.is_some(),
        None => false,
    }
}

/// A plugin that was not loaded is not what is wanted; one that runs in an unknown version is if that was wanted.
fn is_wanted(state: &ServerPluginState, request: &ChangeRequest) -> bool {
    !matches!(state, ServerPluginState::Broken { .. }) && state.presence().is_same(&request.wanted)
}
