//! The outcome of a change that was under way when its process ended.
//!
//! *Invariant:* nothing is sent; what is reported is what several readings in a row agreed on.
//! *Not for:* when readings are enough: see [`crate::fleet::settle`].

use tokio::time::{Instant, sleep};

use super::{ChangeError, ChangeReport, ChangeRequest, Expected};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        grafana::Files,
        settle::{Bounds, Confirmation, ConfirmationStep, Failure, Match, Outcome, ServerPluginState},
    },
    model::Presence,
};

pub(super) async fn confirm(server: &Grafana, request: &ChangeRequest) -> ChangeReport {
    let (outcome, left) = match read_until_clear(server, request).await {
        Err(error) => (Outcome::Unknown(error.into()), None),
        Ok((Match::Wanted, _)) => (Outcome::Changed, None),
        Ok((Match::Before, _)) => (Outcome::Unchanged, None),
        Ok((Match::Other, ServerPluginState::Absent)) => {
            (Outcome::Failed(ChangeError::Lost(request.before.clone())), Some(Presence::Absent))
        }
        Ok((Match::Other, ServerPluginState::Broken { code, .. })) => {
            (Outcome::Failed(Failure::Broken { code }.into()), Some(request.wanted.clone()))
        }
        // What a server brought along is changed once more.
        Ok((Match::Other, state)) if request.may_be_brought(&state) => (Outcome::Unchanged, None),
        // What a server upgrades together with another plugin may be in any version.
        Ok((Match::Other, _)) if request.expected == Expected::Anything => (Outcome::Unchanged, None),
        Ok((Match::Other, state)) => (Outcome::Failed(request.drifted(state.presence())), None),
    };
    ChangeReport { left, ..ChangeReport::new(request, outcome) }
}

async fn read_until_clear(
    server: &Grafana,
    request: &ChangeRequest,
) -> Result<(Match, ServerPluginState), WorkspaceError> {
    let settings = server.site().client().settings();
    let begun = Instant::now();
    let mut confirmation = Confirmation::new(&Bounds::from(settings), request.open_call);
    loop {
        let reading = server.state(&request.plugin).await;
        let seen = match &reading {
            Ok(state) => Some((state.clone(), compare(server, state, request).await)),
            Err(_) => None,
        };
        let step = confirmation.next(seen.clone(), begun.elapsed());
        match (step, reading, seen) {
            (_, Err(error), _) if step == ConfirmationStep::GiveUp || error.status() == Some(401) => return Err(error),
            (ConfirmationStep::Finish(_), _, Some((state, shown))) => return Ok((shown, state)),
            _ => sleep(settings.settle_pause).await,
        }
    }
}

/// Compares a state with a change. What is shown as wanted and has other files is changed once more.
async fn compare(server: &Grafana, state: &ServerPluginState, request: &ChangeRequest) -> Match {
    let is_before = state.presence().is_same(&request.before);
    match is_wanted(state, request) {
        true if has_other_files(server, request).await => Match::Before,
        true => Match::Wanted,
        false if is_before => Match::Before,
        false => Match::Other,
    }
}

async fn has_other_files(server: &Grafana, request: &ChangeRequest) -> bool {
    let Some(version) = request.wanted.version().filter(|_| request.compares_files) else { return false };
    match server.files(&request.plugin, version).await {
        Files::Other(_) => true,
        // The change that is checked once more was settled with its files.
        Files::Hidden | Files::Gone => !request.open_call.is_earlier,
        Files::AsShown | Files::Unread => false,
    }
}

/// A plugin that was not loaded is not what is wanted; one that runs in an unknown version is if that was wanted.
fn is_wanted(state: &ServerPluginState, request: &ChangeRequest) -> bool {
    !matches!(state, ServerPluginState::Broken { .. }) && state.presence().is_same(&request.wanted)
}
