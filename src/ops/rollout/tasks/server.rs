//! Steps on a Grafana server, forth and back.
//!
//! *Invariant:* a change is sent only over what the rollout expects there, and only when its package was checked here; what a
//! task says of the workspace was read from it.
//! *Not for:* deciding whether a step is made.

use tokio::time::{Instant, sleep};

use super::{
    Known, Worker,
    fault::{Causes, fault},
    former::Occupant,
};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        grafana::{Expected, Settled},
        settle::{Outcome, PluginState, Wanted},
    },
    model::{PluginId, PluginVersion},
    rollout::{Action, Cause, Fault, TaskResult, Verb},
};

/// So many readings in a row must agree before a step in doubt is called done or not done.
const AGREEING: u32 = 2;

/// What a reading of a step in doubt is compared with.
struct Sides {
    /// What is there where it took effect.
    after: Occupant,
    /// What is there where it did not.
    before: Occupant,
}

/// What repeated readings come to.
enum Found {
    After,
    Before,
    /// Nothing is there, though something was before and something should be afterwards.
    Lost,
    /// The plugin that should be there afterwards, refused when it was to be loaded.
    Broken(Fault),
    Other(Occupant),
    Unreadable(Fault),
}

impl Worker {
    /// Carries out an action.
    pub(super) async fn forward_on(&self, server: &Grafana, action: &Action, known: &Known) -> TaskResult {
        if let Some(to) = &action.to
            && let Err(refusal) = self.checked(server, &action.plugin, to).await
        {
            return TaskResult::Failed(refusal);
        }
        let from = former(action);
        let expected = match action.action {
            Verb::Hold => Expected::Any,
            _ if known.in_doubt => match self.loosened(server, action, &from).await {
                Ok(expected) => expected,
                Err(error) => return TaskResult::Failed(error.fault()),
            },
            _ => from.expected(),
        };
        let Some(wanted) = Occupant::of(action.to.as_ref()).wanted() else { return TaskResult::Unchanged };
        match server.change_expecting(&action.plugin, wanted, &expected).await {
            Err(error) => TaskResult::Failed(error.fault()),
            Ok(settled) => {
                // What an earlier call of ours may have left is not what was there before.
                let before = if known.in_doubt { from } else { Occupant::shown(&settled.before) };
                match judged(settled, &before, &Occupant::of(action.to.as_ref())) {
                    TaskResult::Unchanged if known.in_doubt => done(&before, None),
                    result => result,
                }
            }
        }
    }

    /// Returns what may be found after an earlier call of ours whose effect is not known: also nothing, since Grafana removes
    /// the old version first (protocol page 5.1).
    async fn loosened(&self, server: &Grafana, action: &Action, from: &Occupant) -> Result<Expected, WorkspaceError> {
        let state = server.state(&action.plugin).await?;
        let is_lost = state == PluginState::Absent && action.to.is_some();
        Ok(if is_lost { Expected::Absent } else { from.expected() })
    }

    /// Puts back what was there before.
    pub(super) async fn back_on(&self, server: &Grafana, action: &Action, known: &Known) -> TaskResult {
        let way = match known.way_back(action) {
            Ok(way) => way,
            Err(fault) => return TaskResult::Failed(fault),
        };
        let Some(wanted) = way.target.wanted() else { return TaskResult::Failed(no_way_back()) };
        if let Wanted::Version(version) = &wanted
            && let Err(refusal) = self.checked(server, &action.plugin, version).await
        {
            return TaskResult::Failed(refusal);
        }
        let expected = match (way.is_any, &way.left) {
            (true, _) => Expected::Any,
            (false, None) => way.planned.expected(),
            (false, Some(left)) => match server.state(&action.plugin).await {
                Ok(state) if Occupant::shown(&state).is_same(left) => left.expected(),
                Ok(_) => way.planned.expected(),
                Err(error) => return TaskResult::Failed(error.fault()),
            },
        };
        match server.change_expecting(&action.plugin, wanted, &expected).await {
            Err(error) => TaskResult::Failed(error.fault()),
            Ok(settled) => {
                let found = Occupant::shown(&settled.before);
                judged(settled, &found, &way.target)
            }
        }
    }

    /// Finds out whether a step took effect that was under way when the rollout was left.
    pub(super) async fn settle_on(&self, server: &Grafana, action: &Action) -> TaskResult {
        let sides = Sides { after: Occupant::of(action.to.as_ref()), before: former(action) };
        match read_until_clear(server, &action.plugin, &sides).await {
            Found::After if action.action == Verb::Hold => TaskResult::Unchanged,
            Found::After => done(&sides.before, None),
            Found::Before => TaskResult::NotDone,
            // What a server brings along is in any version.
            Found::Other(_) if action.action == Verb::Hold => TaskResult::NotDone,
            found => unclear(found, &sides),
        }
    }

    /// Finds out whether taking a step back took effect.
    pub(super) async fn settle_back_on(&self, server: &Grafana, action: &Action, known: &Known) -> TaskResult {
        let way = match known.way_back(action) {
            Ok(way) => way,
            Err(fault) => return TaskResult::Failed(fault),
        };
        let sides = Sides { before: way.left.unwrap_or(way.planned), after: way.target };
        match read_until_clear(server, &action.plugin, &sides).await {
            Found::After => done(&sides.before, None),
            Found::Before => TaskResult::NotDone,
            Found::Other(_) if way.is_any => TaskResult::NotDone,
            found => unclear(found, &sides),
        }
    }

    /// Checks the package of a version that the server is to install by itself (`trust.preflight`).
    async fn checked(&self, server: &Grafana, plugin: &PluginId, version: &PluginVersion) -> Result<(), Fault> {
        let package = self.package(plugin, version);
        self.shelf.permits.ask(server, plugin, package).await.map(drop).map_err(|error| error.fault())
    }
}

/// Returns the fault of a plugin whose former version nobody knows.
pub(super) fn no_way_back() -> Fault {
    let message = "the version that was there before could not be made out, so it cannot be put back";
    fault(Cause::Other, message, None)
}

/// Returns what the plan expects before an action.
pub(super) fn former(action: &Action) -> Occupant {
    match (&action.from, action.action) {
        (Some(version), _) => Occupant::Version(version.clone()),
        (None, Verb::Install | Verb::Hold) => Occupant::Nothing,
        (None, _) => Occupant::Something,
    }
}

fn done(before: &Occupant, note: Option<String>) -> TaskResult {
    TaskResult::Done { before: before.written(), note }
}

/// Turns what became of a change into what the journal says.
fn judged(settled: Settled, before: &Occupant, wanted: &Occupant) -> TaskResult {
    let after = settled.after.as_ref().map(Occupant::shown);
    let trouble = settled.trouble.map(|trouble| crate::diagnostic::Chain(&trouble).to_string());
    let told = |mut fault: Fault| {
        if let Some(trouble) = &trouble {
            fault.message = format!("{} ({trouble})", fault.message);
        }
        fault
    };
    match settled.outcome {
        Outcome::Done => done(before, None),
        Outcome::Unchanged => TaskResult::Unchanged,
        Outcome::Unknown(doubt) => TaskResult::Unknown(told(doubt.fault())),
        Outcome::Failed(failure) => match after {
            // A third version is not ours to take back.
            Some(after @ Occupant::Version(_)) if !after.is_same(before) && !after.is_same(wanted) => {
                TaskResult::Failed(Fault { cause: Cause::Drift, ..told(failure.fault()) })
            }
            Some(after) if !after.is_same(before) => {
                TaskResult::Damaged { before: before.written(), left: after.written(), fault: told(failure.fault()) }
            }
            _ => TaskResult::Failed(told(failure.fault())),
        },
    }
}

fn unclear(found: Found, sides: &Sides) -> TaskResult {
    match found {
        Found::Lost => {
            let message = format!("{}, which was there before, is gone", sides.before.text());
            let (before, left) = (sides.before.written(), Occupant::Nothing.written());
            TaskResult::Damaged { before, left, fault: fault(Cause::Other, message, None) }
        }
        Found::Broken(fault) => {
            TaskResult::Damaged { before: sides.before.written(), left: sides.after.written(), fault }
        }
        Found::Unreadable(fault) => TaskResult::Unknown(fault),
        Found::Other(found) => {
            let message = format!("somebody else changed the plugin meanwhile: {} is there", found.text());
            let hint = "nothing was sent; find out who changes plugins there, then plan again";
            TaskResult::Failed(fault(Cause::Drift, message, Some(hint)))
        }
        Found::After | Found::Before => TaskResult::NotDone,
    }
}

/// Reads until readings agree on one of the sides. What is neither is given time: a call of ours may still be at work.
async fn read_until_clear(server: &Grafana, plugin: &PluginId, sides: &Sides) -> Found {
    let settings = server.site().client().settings();
    let begun = Instant::now();
    let (mut last, mut agreeing) = (None::<PluginState>, 0);
    loop {
        let reading = server.state(plugin).await;
        let is_late = begun.elapsed() >= settings.settle_timeout;
        let state = match reading {
            Ok(state) => state,
            Err(error) if is_late || error.status() == Some(401) => return Found::Unreadable(error.fault()),
            Err(_) => {
                agreeing = 0;
                sleep(settings.settle_pause).await;
                continue;
            }
        };
        agreeing = if last.as_ref() == Some(&state) { agreeing + 1 } else { 1 };
        let shown = Occupant::shown(&state);
        if matches!(state, PluginState::Absent | PluginState::Loaded { .. }) && shown.is_same(&sides.after) {
            return Found::After;
        }
        let is_before = shown.is_same(&sides.before);
        if agreeing >= AGREEING && (is_before || is_late) {
            return match state {
                _ if is_before => Found::Before,
                PluginState::Absent => Found::Lost,
                PluginState::Broken { code, .. } => {
                    Found::Broken(crate::fleet::settle::Failure::Broken { code }.fault())
                }
                PluginState::Loaded { .. } => Found::Other(shown),
            };
        }
        last = Some(state);
        sleep(settings.settle_pause).await;
    }
}
