//! What the answer of a server to a change means, and what to do next: pure, without clock or socket.
//!
//! *Invariant:* [`Outcome::Changed`] and [`Outcome::Unchanged`] follow only from a reading of the server that shows what
//! was wanted; a change is sent again only when the server clearly does not have it, which is harmless, since the same
//! version is requested. Every run ends: tries, readings and pauses are bounded.
//! *Not for:* talking to a server; [`super::Grafana`] does that and passes in the answers.

mod confirmation;
mod outcome;

use std::time::Duration;

pub use confirmation::{Confirmation, ConfirmationStep, Match, OpenCall};
pub use outcome::{Failure, Outcome, ServerPluginState};

use crate::{model::Presence, net::NetSettings};

/// The outcome of the last step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The server answered the change.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The message of the answer.
        message: Option<String>,
        /// `Retry-After` of the answer.
        retry_after: Option<Duration>,
    },
    /// The change was sent, and there was no answer.
    NoAnswer,
    /// No connection could be made: the change was not sent.
    NotSent,
    /// The plugin was read back.
    ReadBack(ServerPluginState),
    /// The plugin could not be read back.
    ReadBackFailed,
    /// The credential was refused when the plugin was to be read back (401).
    ReadBackDenied,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextStep {
    /// Send the change after this pause.
    Send(Duration),
    /// Read the plugin's state after this pause.
    ReadBack(Duration),
    /// Stop: this is the outcome.
    Finish(Outcome),
}

/// How long and how often a change is tried.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How often the change is sent at most, at least once.
    pub tries: u32,
    /// The longest pause that a workspace may ask for.
    pub retry_after: Duration,
    /// How long is read back after one sending.
    pub settle_timeout: Duration,
    /// The pause between two readings.
    pub settle_pause: Duration,
}

impl From<&NetSettings> for Bounds {
    fn from(settings: &NetSettings) -> Self {
        Self {
            tries: settings.tries.max(1),
            retry_after: settings.retry_after,
            settle_timeout: settings.settle_timeout,
            settle_pause: settings.settle_pause,
        }
    }
}

/// So many readings in a row must agree before something is called failed or sent again.
const AGREEING: u32 = 2;
/// Hard bound on the readings after one sending, for pauses of zero.
const MAX_READINGS: u32 = 1000;

/// One change until its outcome is known.
#[derive(Debug)]
pub struct PendingChange {
    wanted: Presence,
    before: ServerPluginState,
    bounds: Bounds,
    attempts: u32,
    /// Whether an earlier request may have had an effect.
    in_doubt: bool,
    /// Whether a request was answered by nobody, by a proxy, or with a success that does not show.
    is_open: bool,
    reading: Reading,
    seen: Option<ServerPluginState>,
}

/// The readings after one sending.
#[derive(Debug)]
struct Reading {
    answer: Answer,
    count: u32,
    spent: Duration,
    pause: Duration,
    /// Readings in a row that showed something else than what is wanted.
    misses: u32,
    /// Readings in a row that showed a plugin that was refused.
    refusals: u32,
    seen: Option<ServerPluginState>,
}

/// The class of an answer; a reading decides whether it is true.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    /// The change was made.
    Accepted { status: u16 },
    /// The change was not made, and will not be.
    Refused { status: u16, message: Option<String> },
    /// The change cannot be made now: the plugin is there already, or another change is under way.
    Busy { message: Option<String> },
    /// Grafana itself failed.
    Broke { message: Option<String> },
    /// Anything else: the answer may be from a proxy, or there was none.
    Unclear { status: Option<u16>, message: Option<String> },
}

impl Reading {
    fn new(answer: Answer) -> Self {
        let (count, misses, refusals) = (0, 0, 0);
        Self { answer, count, spent: Duration::ZERO, pause: Duration::ZERO, misses, refusals, seen: None }
    }

    fn next(&mut self, pause: Duration) -> NextStep {
        self.pause = pause;
        NextStep::ReadBack(pause)
    }

    fn record(&mut self, state: Option<ServerPluginState>, took: Duration) {
        self.count += 1;
        self.spent = self.spent.saturating_add(took.max(self.pause));
        self.misses = if state.is_some() { self.misses + 1 } else { 0 };
        self.refusals = if matches!(state, Some(ServerPluginState::Broken { .. })) { self.refusals + 1 } else { 0 };
        self.seen = state;
    }

    fn is_over(&self, bounds: &Bounds) -> bool {
        let in_time = self.spent < bounds.settle_timeout && self.count < MAX_READINGS;
        self.count >= AGREEING && !in_time
    }
}

impl PendingChange {
    /// Begins a change; `before` is what the server shows now.
    pub fn begin(wanted: Presence, before: ServerPluginState, bounds: Bounds) -> (Self, NextStep) {
        let seen = Some(before.clone());
        let first = if before.satisfies(&wanted) {
            NextStep::Finish(Outcome::Unchanged)
        } else {
            NextStep::Send(Duration::ZERO)
        };
        let reading = Reading::new(Answer::Unclear { status: None, message: None });
        (Self { wanted, before, bounds, attempts: 0, in_doubt: false, is_open: false, reading, seen }, first)
    }

    /// Returns what to do after `event`; `took` is how long the last step lasted, its pause included.
    pub fn next(&mut self, event: Event, took: Duration) -> NextStep {
        match event {
            Event::Answered { status: 429, message, retry_after } => self.wait(retry_after, message),
            Event::Answered { status, message, .. } => self.after_answer(status, message),
            Event::NoAnswer => self.read(Answer::Unclear { status: None, message: None }),
            Event::NotSent => self.not_sent(),
            Event::ReadBack(state) => self.after_reading(Some(state), took),
            Event::ReadBackFailed => self.after_reading(None, took),
            Event::ReadBackDenied => self.after_denied_reading(took),
        }
    }

    /// Returns what the last reading showed: also after a failure, for Grafana removes the old version first.
    pub fn seen(&self) -> Option<&ServerPluginState> {
        self.seen.as_ref()
    }

    /// Returns whether a request may still take effect if the change failed.
    pub fn may_be_late(&self) -> bool {
        self.is_open
    }

    /// Returns how often it was tried to send the change.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    fn wait(&mut self, retry_after: Option<Duration>, message: Option<String>) -> NextStep {
        self.attempts += 1;
        if self.attempts < self.bounds.tries {
            let pause = retry_after.unwrap_or(self.bounds.settle_pause).min(self.bounds.retry_after);
            return NextStep::Send(pause);
        }
        self.refuse(429, message)
    }

    fn not_sent(&mut self) -> NextStep {
        self.attempts += 1;
        match (self.attempts < self.bounds.tries, self.in_doubt) {
            (true, _) => NextStep::Send(self.bounds.settle_pause),
            (false, true) => self.start_reading(Answer::Unclear { status: None, message: None }),
            (false, false) => NextStep::Finish(Outcome::Failed(Failure::NotReached)),
        }
    }

    fn after_answer(&mut self, status: u16, message: Option<String>) -> NextStep {
        match status {
            200..=299 => self.read(Answer::Accepted { status }),
            404 if self.wanted == Presence::Absent => self.read(Answer::Refused { status, message }),
            409 if is_final(message.as_deref()) => self.read(Answer::Refused { status, message }),
            409 => self.read(Answer::Busy { message }),
            500 => self.read(Answer::Broke { message }),
            408 => self.read(Answer::Unclear { status: Some(status), message }),
            // A change follows no redirect: Grafana itself was not asked.
            300..=399 => self.finish_refused(status, message),
            400..=499 if proves_nothing_began(message.as_deref()) => self.finish_refused(status, message),
            400..=499 => {
                self.attempts += 1;
                self.refuse(status, message)
            }
            _ => self.read(Answer::Unclear { status: Some(status), message }),
        }
    }

    /// A refusal that may be the catalog's: a server passes it on after it removed the old version (real Grafana 9.4).
    fn refuse(&mut self, status: u16, message: Option<String>) -> NextStep {
        self.start_reading(Answer::Refused { status, message })
    }

    /// A refusal before anything was begun: final at once, unless an earlier request may have had an effect.
    fn finish_refused(&mut self, status: u16, message: Option<String>) -> NextStep {
        self.attempts += 1;
        if self.in_doubt {
            return self.refuse(status, message);
        }
        NextStep::Finish(Outcome::Failed(Failure::Refused { status, message }))
    }

    /// A credential that is refused for the change and for the reading after it was refused before anything was begun.
    fn after_denied_reading(&mut self, took: Duration) -> NextStep {
        match &self.reading.answer {
            Answer::Refused { status: 401, message } if !self.in_doubt => {
                NextStep::Finish(Outcome::Failed(Failure::Refused { status: 401, message: message.clone() }))
            }
            _ => self.after_reading(None, took),
        }
    }

    fn read(&mut self, answer: Answer) -> NextStep {
        self.attempts += 1;
        self.start_reading(answer)
    }

    fn start_reading(&mut self, answer: Answer) -> NextStep {
        // A clear answer is checked at once; after an unclear one the change may still have its effect.
        let pause = match answer {
            Answer::Unclear { .. } => self.bounds.settle_pause,
            _ => Duration::ZERO,
        };
        let conflict = matches!(answer, Answer::Busy { .. } | Answer::Refused { .. });
        self.in_doubt |= !conflict;
        self.is_open |= matches!(answer, Answer::Accepted { .. } | Answer::Unclear { .. });
        self.reading = Reading::new(answer);
        self.reading.next(pause)
    }

    fn after_reading(&mut self, state: Option<ServerPluginState>, took: Duration) -> NextStep {
        self.seen.clone_from(&state);
        if state.as_ref().is_some_and(|state| state.satisfies(&self.wanted)) {
            return NextStep::Finish(self.success());
        }
        self.reading.record(state, took);
        if let Some(failure) = self.settled_failure() {
            // What was not broken before shows the effect of the change.
            self.is_open &= !matches!(failure, Failure::Broken { .. }) || self.was_broken();
            return NextStep::Finish(Outcome::Failed(failure));
        }
        let over = self.reading.is_over(&self.bounds);
        if !over && !self.is_over_early() {
            return self.reading.next(self.bounds.settle_pause);
        }
        if self.reading.misses < AGREEING {
            return NextStep::Finish(Outcome::Unknown(Failure::Unreadable));
        }
        if self.may_send_again() {
            if let Some(seen) = self.overtaken() {
                return NextStep::Finish(Outcome::Failed(Failure::Overtaken { seen }));
            }
            if self.attempts < self.bounds.tries {
                return NextStep::Send(Duration::ZERO);
            }
        }
        NextStep::Finish(Outcome::Failed(self.failure()))
    }

    /// The server shows what is wanted. If its only answer was a refusal, somebody else made the change.
    fn success(&self) -> Outcome {
        let denied = matches!(self.reading.answer, Answer::Busy { .. } | Answer::Refused { .. });
        if denied && !self.in_doubt && self.wanted != Presence::Absent { Outcome::Unchanged } else { Outcome::Changed }
    }

    fn was_broken(&self) -> bool {
        matches!(self.before, ServerPluginState::Broken { .. })
    }

    /// A failure that no further reading will change.
    fn settled_failure(&self) -> Option<Failure> {
        let reading = &self.reading;
        if let Answer::Refused { status, message } = &reading.answer
            && reading.misses >= AGREEING
        {
            return Some(match &reading.seen {
                Some(ServerPluginState::Broken { code, .. }) if *status == 404 => {
                    Failure::Broken { code: code.clone() }
                }
                _ => Failure::Refused { status: *status, message: message.clone() },
            });
        }
        // A plugin that was broken before may still be loading.
        let is_new = !self.was_broken() && self.wanted != Presence::Absent;
        match &reading.seen {
            Some(ServerPluginState::Broken { code, .. }) if is_new && reading.refusals >= AGREEING => {
                Some(Failure::Broken { code: code.clone() })
            }
            _ => None,
        }
    }

    /// Grafana itself reported a failure, or answered what readings contradict: there is no late effect to wait for before the next
    /// try, nor after the last one. A 500 without a message may be a proxy's.
    fn is_over_early(&self) -> bool {
        let is_last = self.attempts >= self.bounds.tries;
        let is_clear = match &self.reading.answer {
            Answer::Broke { message } => message.is_some() || !is_last,
            Answer::Busy { message } => message.as_deref().is_some_and(says_installed),
            _ => false,
        };
        is_clear && self.reading.misses >= AGREEING
    }

    /// Returns what the server shows if it is neither the previous version nor the wanted one: nothing is sent over it.
    fn overtaken(&self) -> Option<ServerPluginState> {
        let seen = self.reading.seen.as_ref()?;
        let found = seen.presence();
        let is_known = found.is_same(&self.wanted) || found.is_same(&self.before.presence());
        (found.version().is_some() && !is_known).then(|| seen.clone())
    }

    fn may_send_again(&self) -> bool {
        !matches!(self.reading.answer, Answer::Accepted { .. } | Answer::Refused { .. })
    }

    fn failure(&self) -> Failure {
        let seen = self.reading.seen.clone().unwrap_or(ServerPluginState::Absent);
        match (&self.reading.answer, &seen) {
            (_, ServerPluginState::Broken { code, .. }) => Failure::Broken { code: code.clone() },
            (Answer::Accepted { status }, _) => Failure::NoEffect { status: *status, seen },
            (Answer::Refused { status, message }, _) => Failure::Refused { status: *status, message: message.clone() },
            (Answer::Busy { message }, _) => Failure::Refused { status: 409, message: message.clone() },
            (Answer::Broke { message }, _) => Failure::NotDone { status: Some(500), message: message.clone() },
            (Answer::Unclear { status, message }, _) => Failure::NotDone { status: *status, message: message.clone() },
        }
    }
}

/// Returns whether a 409 stays, however long one waits (protocol page 5.1 and 5.2).
fn is_final(message: Option<&str>) -> bool {
    let message = message.unwrap_or_default().to_lowercase();
    ["pinned", "pre-installed", "not supported", "unsupported", "user-data"].iter().any(|word| message.contains(word))
}

/// Returns whether a refusal is in Grafana's own words for what it checks before it begins, or those of a gateway before it:
/// anything else may be the catalog's answer to the download.
fn proves_nothing_began(message: Option<&str>) -> bool {
    const OWN_WORDS: [&str; 5] =
        ["permissions needed", "core plugin", "bad request data", "bad request: not allowed", "invalid api key"];
    let message = message.unwrap_or_default().to_lowercase();
    OWN_WORDS.iter().any(|words| message.contains(words))
}

/// Returns whether a 409 says that the version is there, rather than that another change is under way.
fn says_installed(message: &str) -> bool {
    message.to_lowercase().contains("already installed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAUSE: Duration = Duration::from_secs(2);
    const BOUNDS: Bounds = Bounds {
        tries: 3,
        retry_after: Duration::from_mins(1),
        settle_timeout: Duration::from_secs(10),
        settle_pause: PAUSE,
    };

    fn loaded(version: &str) -> ServerPluginState {
        ServerPluginState::Loaded { version: Some(version.parse().expect("a version")) }
    }

    fn broken(code: &str) -> ServerPluginState {
        ServerPluginState::Broken { code: code.to_owned(), version: None }
    }

    fn install() -> Presence {
        Presence::Version("1.2.0".parse().expect("a version"))
    }

    fn answered(status: u16) -> Event {
        Event::Answered { status, message: None, retry_after: None }
    }

    fn said(status: u16, message: &str) -> Event {
        Event::Answered { status, message: Some(message.to_owned()), retry_after: None }
    }

    /// A workspace that follows a script: answers to changes, and readings, of which the last one stays.
    struct Script {
        answers: Vec<Event>,
        readings: Vec<Option<ServerPluginState>>,
    }

    struct SettledRun {
        outcome: Outcome,
        sendings: usize,
        readings: usize,
        pauses: Vec<Duration>,
    }

    fn play(wanted: Presence, before: ServerPluginState, script: Script) -> SettledRun {
        let (mut settling, mut step) = PendingChange::begin(wanted, before, BOUNDS);
        let mut answers = script.answers.into_iter();
        let mut shown = script.readings.into_iter().peekable();
        let (mut sendings, mut readings, mut pauses) = (0, 0, Vec::new());
        loop {
            let event = match step {
                NextStep::Finish(outcome) => return SettledRun { outcome, sendings, readings, pauses },
                NextStep::Send(pause) => {
                    sendings += 1;
                    pauses.push(pause);
                    answers.next().expect("the script has an answer")
                }
                NextStep::ReadBack(pause) => {
                    readings += 1;
                    pauses.push(pause);
                    let now = shown.next().expect("the script has a reading");
                    if shown.peek().is_none() {
                        shown = vec![now.clone(), now.clone()].into_iter().peekable();
                    }
                    now.map_or(Event::ReadBackFailed, Event::ReadBack)
                }
            };
            step = settling.next(event, Duration::ZERO);
        }
    }

    fn installing(answers: Vec<Event>, readings: Vec<Option<ServerPluginState>>) -> SettledRun {
        play(install(), loaded("1.0.0"), Script { answers, readings })
    }

    fn removing(answers: Vec<Event>, readings: Vec<Option<ServerPluginState>>) -> SettledRun {
        play(Presence::Absent, loaded("1.0.0"), Script { answers, readings })
    }

    fn is_refused(outcome: &Outcome, wanted: u16) -> bool {
        matches!(outcome, Outcome::Failed(Failure::Refused { status, .. }) if *status == wanted)
    }

    #[test]
    fn what_is_there_already_is_not_asked_for() {
        for before in [loaded("1.2.0"), loaded("v1.2.0")] {
            let end = play(install(), before, Script { answers: vec![], readings: vec![] });
            assert_eq!((end.outcome, end.sendings), (Outcome::Unchanged, 0));
        }
        let end = play(Presence::Absent, ServerPluginState::Absent, Script { answers: vec![], readings: vec![] });
        assert_eq!((end.outcome, end.sendings), (Outcome::Unchanged, 0));
    }

    #[test]
    fn a_yes_counts_once_it_shows() {
        let end = installing(vec![answered(200)], vec![Some(loaded("1.0.0")), None, Some(loaded("1.2.0"))]);
        assert_eq!((end.outcome, end.sendings, end.readings), (Outcome::Changed, 1, 3));
    }

    #[test]
    fn w1_w2_w3_w6_a_plain_no_is_final_and_not_repeated() {
        for status in [400, 401, 403, 404, 412, 422] {
            let end = installing(vec![answered(status)], vec![Some(loaded("1.0.0"))]);
            assert!(is_refused(&end.outcome, status), "{status}: {:?}", end.outcome);
            assert_eq!((end.sendings, end.readings), (1, 2));
        }
        for status in [400, 401, 403, 412, 422] {
            let end = removing(vec![answered(status)], vec![Some(loaded("1.0.0"))]);
            assert!(is_refused(&end.outcome, status));
        }
    }

    #[test]
    fn a_refusal_before_anything_was_begun_is_final_without_a_reading() {
        for (status, message) in [
            (403, "You'll need additional permissions to perform this action. Permissions needed: plugins:install"),
            (403, "Cannot install or change a Core plugin"),
            (400, "bad request data"),
            (400, "Bad Request: Not allowed."),
            (302, "it redirects"),
        ] {
            let end = installing(vec![said(status, message)], vec![]);
            assert!(is_refused(&end.outcome, status) && end.readings == 0, "{message}: {:?}", end.outcome);
        }
    }

    /// Real Grafana 9.4 removes the old version, then downloads, and passes the catalog's refusal on.
    #[test]
    fn a_refusal_of_the_catalog_that_was_passed_on_is_read_back() {
        for (status, message) in [(404, "Plugin not found"), (403, "Access Denied"), (429, "slow down")] {
            let gone = || vec![Some(ServerPluginState::Absent)];
            let answers = vec![said(status, message); 3];
            let (mut change, mut step) = PendingChange::begin(install(), loaded("1.0.0"), BOUNDS);
            let (mut answers, mut readings) = (answers.into_iter(), gone().into_iter().cycle());
            let outcome = loop {
                let event = match step {
                    NextStep::Finish(outcome) => break outcome,
                    NextStep::Send(_) => answers.next().expect("an answer"),
                    NextStep::ReadBack(_) => Event::ReadBack(readings.next().flatten().expect("a reading")),
                };
                step = change.next(event, Duration::ZERO);
            };
            assert!(is_refused(&outcome, status), "{outcome:?}");
            assert_eq!(change.seen(), Some(&ServerPluginState::Absent), "what is gone is known");
        }
    }

    #[test]
    fn a_refused_credential_is_final_once_it_cannot_read_either() {
        let (mut change, _) = PendingChange::begin(install(), loaded("1.0.0"), BOUNDS);
        assert_eq!(change.next(answered(401), Duration::ZERO), NextStep::ReadBack(Duration::ZERO));
        let NextStep::Finish(outcome) = change.next(Event::ReadBackDenied, Duration::ZERO) else { panic!("no end") };
        assert!(is_refused(&outcome, 401));
        // After a sending in doubt it says nothing.
        let (mut change, _) = PendingChange::begin(install(), loaded("1.0.0"), BOUNDS);
        change.next(Event::NoAnswer, Duration::ZERO);
        assert!(matches!(change.next(Event::ReadBackDenied, Duration::ZERO), NextStep::ReadBack(_)));
    }

    #[test]
    fn a_clear_failure_is_told_within_seconds() {
        for answer in [said(500, "Failed to install plugin"), said(409, "Plugin already installed")] {
            let end = installing(vec![answer; 3], vec![Some(ServerPluginState::Absent)]);
            assert!(matches!(end.outcome, Outcome::Failed(_)), "{:?}", end.outcome);
            assert_eq!((end.sendings, end.pauses.iter().sum::<Duration>()), (3, 3 * PAUSE));
        }
    }

    #[test]
    fn w3_not_installed_is_success_for_an_uninstall_once_it_shows() {
        assert_eq!(removing(vec![answered(404)], vec![Some(ServerPluginState::Absent)]).outcome, Outcome::Changed);
        assert!(is_refused(&removing(vec![answered(404)], vec![Some(loaded("1.0.0"))]).outcome, 404));
        assert_eq!(removing(vec![answered(404)], vec![None]).outcome, Outcome::Unknown(Failure::Unreadable));
    }

    #[test]
    fn a_plugin_that_was_refused_cannot_be_removed_and_that_is_said() {
        let script = Script { answers: vec![answered(404)], readings: vec![Some(broken("signatureInvalid"))] };
        let end = play(Presence::Absent, broken("signatureInvalid"), script);
        assert_eq!(end.outcome, Outcome::Failed(Failure::Broken { code: "signatureInvalid".into() }));
    }

    #[test]
    fn w4_already_installed_is_read_back() {
        let message = "Plugin already installed";
        let end = installing(vec![said(409, message)], vec![Some(loaded("1.2.0"))]);
        assert_eq!((end.outcome, end.sendings), (Outcome::Unchanged, 1));
        let end = installing(vec![said(409, message), answered(200)], {
            let mut readings = vec![Some(loaded("1.0.0")); 6];
            readings.push(Some(loaded("1.2.0")));
            readings
        });
        assert_eq!((end.outcome, end.sendings), (Outcome::Changed, 2));
    }

    #[test]
    fn a_conflict_that_stands_is_a_failure_after_a_reading() {
        for message in ["Cannot update a pinned pre-installed plugin", "Plugin version not supported"] {
            let end = installing(vec![said(409, message)], vec![Some(loaded("1.0.0"))]);
            assert!(is_refused(&end.outcome, 409), "{:?}", end.outcome);
            assert_eq!(end.sendings, 1);
        }
    }

    #[test]
    fn w5_an_operation_in_progress_is_waited_for_within_bounds() {
        let busy = || said(409, "installation in progress");
        let end = installing(vec![busy()], vec![Some(ServerPluginState::Absent), Some(loaded("1.2.0"))]);
        assert_eq!((end.outcome, end.sendings), (Outcome::Unchanged, 1));
        let end = installing(vec![busy(), busy(), busy()], vec![Some(loaded("1.0.0"))]);
        assert!(is_refused(&end.outcome, 409));
    }

    #[test]
    fn w7_a_workspace_is_left_alone_as_long_as_it_asks_up_to_the_limit() {
        let throttled = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            Event::Answered { status: 429, message: None, retry_after }
        };
        let end = installing(vec![throttled(7), throttled(7000), answered(200)], vec![Some(loaded("1.2.0"))]);
        assert_eq!(end.outcome, Outcome::Changed);
        assert_eq!(end.pauses[..3], [Duration::ZERO, Duration::from_secs(7), Duration::from_mins(1)]);
        let end = installing(vec![throttled(1), throttled(1), throttled(1)], vec![Some(loaded("1.0.0"))]);
        assert!(is_refused(&end.outcome, 429));
    }

    #[test]
    fn w8_w12_what_had_no_effect_is_sent_again_within_the_limit() {
        for first in [answered(500), answered(502), answered(503), Event::NoAnswer] {
            let mut readings = vec![Some(loaded("1.0.0")); 2];
            if first != answered(500) {
                readings = vec![Some(loaded("1.0.0")); 5];
            }
            readings.push(Some(loaded("1.2.0")));
            let end = installing(vec![first.clone(), answered(200)], readings);
            assert_eq!((end.outcome, end.sendings), (Outcome::Changed, 2), "{first:?}");
        }
        let end = installing(vec![answered(500), answered(500), said(500, "no space")], vec![Some(loaded("1.0.0"))]);
        let message = Some("no space".to_owned());
        assert_eq!(end.outcome, Outcome::Failed(Failure::NotDone { status: Some(500), message }));
    }

    #[test]
    fn w9_w10_w11_an_effect_without_an_answer_is_found_and_not_repeated() {
        for lost in [answered(502), answered(504), Event::NoAnswer] {
            let end = installing(vec![lost.clone()], vec![Some(loaded("1.2.0"))]);
            assert_eq!((end.outcome, end.sendings), (Outcome::Changed, 1), "{lost:?}");
            let late = vec![Some(loaded("1.0.0")), Some(ServerPluginState::Absent), Some(loaded("1.2.0"))];
            let end = installing(vec![lost.clone()], late);
            assert_eq!((end.outcome, end.sendings), (Outcome::Changed, 1), "{lost:?}");
            assert_eq!(removing(vec![lost], vec![Some(ServerPluginState::Absent)]).outcome, Outcome::Changed);
        }
    }

    #[test]
    fn a_late_effect_wins_over_a_refusal_of_the_second_sending() {
        let mut readings = vec![Some(loaded("1.0.0")); 5];
        readings.push(Some(loaded("1.2.0")));
        for second in [answered(403), answered(409), answered(400)] {
            let end = installing(vec![Event::NoAnswer, second.clone()], readings.clone());
            assert_eq!((end.outcome, end.sendings), (Outcome::Changed, 2), "{second:?}");
        }
    }

    /// Found by a simulated fleet: a second sending went over what somebody else had put there.
    #[test]
    fn w22_nothing_is_sent_again_over_a_version_that_somebody_else_put_there() {
        for answer in [answered(502), answered(500), Event::NoAnswer, answered(409)] {
            let end = installing(vec![answer.clone(), answered(200)], vec![Some(loaded("9.0.0"))]);
            let is_overtaken = matches!(end.outcome, Outcome::Failed(Failure::Overtaken { .. }));
            assert!(is_overtaken, "{answer:?}: {:?}", end.outcome);
            assert_eq!(end.sendings, 1, "{answer:?}");
        }
        let gone = installing(
            vec![Event::NoAnswer, answered(200)],
            vec![Some(ServerPluginState::Absent), Some(loaded("1.2.0"))],
        );
        assert!(gone.sendings <= 2, "{}", gone.sendings);
    }

    #[test]
    fn w13_what_cannot_be_read_is_unknown_and_not_sent_again() {
        for first in [answered(200), answered(500), answered(502), Event::NoAnswer, answered(409)] {
            let end = installing(vec![first.clone()], vec![None]);
            assert_eq!((end.outcome, end.sendings), (Outcome::Unknown(Failure::Unreadable), 1), "{first:?}");
        }
    }

    #[test]
    fn one_clear_reading_at_the_end_is_not_enough_to_send_again() {
        let end = installing(vec![Event::NoAnswer], vec![None, None, None, None, Some(ServerPluginState::Absent)]);
        assert_eq!((end.outcome, end.sendings), (Outcome::Unknown(Failure::Unreadable), 1));
    }

    #[test]
    fn w15_a_plugin_in_error_is_a_failure_that_names_the_code() {
        let end = installing(vec![answered(200)], vec![Some(broken("failedBackendStart"))]);
        assert_eq!(end.outcome, Outcome::Failed(Failure::Broken { code: "failedBackendStart".into() }));
        assert_eq!((end.sendings, end.readings), (1, 2));
    }

    #[test]
    fn an_install_over_a_broken_plugin_gets_its_time() {
        let readings = vec![Some(broken("signatureInvalid")); 3];
        let mut whole = readings.clone();
        whole.push(Some(loaded("1.2.0")));
        let before = || broken("signatureInvalid");
        let end = play(install(), before(), Script { answers: vec![answered(200)], readings: whole });
        assert_eq!(end.outcome, Outcome::Changed);
        let end = play(install(), before(), Script { answers: vec![answered(200)], readings });
        assert_eq!(end.outcome, Outcome::Failed(Failure::Broken { code: "signatureInvalid".into() }));
    }

    #[test]
    fn w27_a_yes_without_effect_is_a_failure() {
        let end = installing(vec![answered(200)], vec![Some(loaded("1.0.0"))]);
        let seen = loaded("1.0.0");
        assert_eq!((end.outcome, end.sendings), (Outcome::Failed(Failure::NoEffect { status: 200, seen }), 1));
    }

    #[test]
    fn what_never_left_is_no_doubt() {
        let end = installing(vec![Event::NotSent, Event::NotSent, Event::NotSent], vec![]);
        assert_eq!(end.outcome, Outcome::Failed(Failure::NotReached));
        let readings = vec![Some(loaded("1.0.0")), Some(loaded("1.0.0")), None];
        let end = installing(vec![answered(500), Event::NotSent, Event::NotSent], readings);
        assert_eq!(end.outcome, Outcome::Unknown(Failure::Unreadable));
    }

    fn any_state() -> impl Strategy<Value = ServerPluginState> {
        prop_oneof![
            Just(ServerPluginState::Absent),
            Just(loaded("1.0.0")),
            Just(loaded("1.2.0")),
            Just(ServerPluginState::Loaded { version: None }),
            Just(broken("signatureInvalid")),
        ]
    }

    fn any_answer() -> impl Strategy<Value = Event> {
        let status = prop_oneof![Just(200_u16), Just(409), Just(429), Just(500), Just(502), 100_u16..600];
        let message = prop_oneof![Just(None), Just(Some("Cannot update a pinned pre-installed plugin".to_owned()))];
        let retry_after = proptest::option::of(0_u64..10_000).prop_map(|seconds| seconds.map(Duration::from_secs));
        let answered = (status, message, retry_after).prop_map(|(status, message, retry_after)| Event::Answered {
            status,
            message,
            retry_after,
        });
        prop_oneof![6 => answered, 1 => Just(Event::NoAnswer), 1 => Just(Event::NotSent)]
    }

    proptest! {
        #[test]
        fn every_run_ends_and_success_is_what_was_read(
            wanted in prop_oneof![Just(install()), Just(Presence::Absent)],
            before in any_state(),
            answers in proptest::collection::vec(any_answer(), 8),
            readings in proptest::collection::vec(proptest::option::weighted(0.8, any_state()), 64),
            pause in prop_oneof![Just(Duration::ZERO), Just(PAUSE)],
        ) {
            let bounds = Bounds { settle_pause: pause, ..BOUNDS };
            let (mut settling, mut step) = PendingChange::begin(wanted.clone(), before.clone(), bounds);
            let (mut answers, mut readings) = (answers.into_iter().cycle(), readings.into_iter().cycle());
            let mut last = Some(before);
            let mut sendings = 0;
            for _ in 0..4 * MAX_READINGS {
                let event = match &step {
                    NextStep::Finish(_) => break,
                    NextStep::Send(pause) => {
                        prop_assert!(*pause <= BOUNDS.retry_after);
                        sendings += 1;
                        last = None;
                        answers.next().expect("a cycle")
                    }
                    NextStep::ReadBack(_) => {
                        last = readings.next().expect("a cycle");
                        last.clone().map_or(Event::ReadBackFailed, Event::ReadBack)
                    }
                };
                step = settling.next(event, Duration::ZERO);
            }
            let NextStep::Finish(outcome) = step else { panic!("no end") };
            prop_assert!(sendings <= BOUNDS.tries);
            let shown = last.as_ref().is_some_and(|state| state.satisfies(&wanted));
            prop_assert_eq!(shown, matches!(outcome, Outcome::Changed | Outcome::Unchanged));
        }
    }
}
