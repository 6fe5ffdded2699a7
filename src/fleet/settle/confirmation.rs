//! The outcome of a change that this process did not see the end of: pure, without clock or socket.
//!
//! *Invariant:* a finding is what readings in a row agreed on. While the call may still be at work on the server, only its
//! effect settles the change.
//! *Not for:* changes whose answers this process receives: see [`super::PendingChange`].

use std::time::Duration;

use super::{Bounds, ServerPluginState};

/// So many readings in a row must agree before a change is called made or not made.
const AGREEING: u32 = 2;

/// What a reading shows, compared with a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Match {
    /// What the change puts there.
    Wanted,
    /// What was there before the change.
    Before,
    /// Neither.
    Other,
}

/// A call to the server that may still have its effect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OpenCall {
    /// How much longer it may be at work.
    pub remaining: Duration,
    /// Whether its effect is what was there before the change that is confirmed: the call was sent earlier, and the change
    /// takes it back.
    pub is_earlier: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConfirmationStep {
    /// Read after the pause.
    Read,
    /// The last reading stands.
    Finish(Match),
    /// The server could not be read for too long.
    GiveUp,
}

/// The readings that confirm a change.
#[derive(Debug)]
pub struct Confirmation {
    settle_timeout: Duration,
    open: OpenCall,
    spent: Duration,
    last: Option<ServerPluginState>,
    agreeing: u32,
}

impl Confirmation {
    /// Begins the readings.
    pub fn new(bounds: &Bounds, open: OpenCall) -> Self {
        Self { settle_timeout: bounds.settle_timeout, open, spent: Duration::ZERO, last: None, agreeing: 0 }
    }

    /// Takes in a reading and what it shows, `None` if the server could not be read; `spent` is the time since the begin.
    pub fn next(&mut self, reading: Option<(ServerPluginState, Match)>, spent: Duration) -> ConfirmationStep {
        self.spent = spent;
        let Some((state, shown)) = reading else {
            (self.last, self.agreeing) = (None, 0);
            let longest = self.settle_timeout.max(self.open.remaining);
            return if self.spent >= longest { ConfirmationStep::GiveUp } else { ConfirmationStep::Read };
        };
        self.agreeing = if self.last.as_ref() == Some(&state) { self.agreeing + 1 } else { 1 };
        self.last = Some(state);
        if self.is_settled(shown) { ConfirmationStep::Finish(shown) } else { ConfirmationStep::Read }
    }

    fn is_settled(&self, shown: Match) -> bool {
        let is_closed = self.spent >= self.open.remaining;
        match shown {
            Match::Wanted => is_closed || !self.open.is_earlier,
            Match::Before => self.agreeing >= AGREEING && (is_closed || self.open.is_earlier),
            // A server removes the old version first: what is neither gets its time.
            Match::Other => self.agreeing >= AGREEING && is_closed && self.spent >= self.settle_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_secs(2);

    /// Reads every two seconds what the server shows from then on; returns the finding and when it was made.
    fn confirm(open: OpenCall, shown: &[(u64, Match)]) -> (ConfirmationStep, u64) {
        let bounds = Bounds { tries: 1, retry_after: PAUSE, settle_timeout: SETTLE, settle_pause: PAUSE };
        let mut confirmation = Confirmation::new(&bounds, open);
        for second in (0..1000).step_by(2) {
            let now = shown.iter().rev().find(|(from, _)| *from <= second).map(|(_, shown)| *shown);
            let version = match now {
                Some(Match::Wanted) => "2.0.0",
                Some(Match::Before) => "1.0.0",
                _ => "9.0.0",
            };
            let state = ServerPluginState::Loaded { version: version.parse().ok() };
            let step = confirmation.next(now.map(|shown| (state, shown)), Duration::from_secs(second));
            if step != ConfirmationStep::Read {
                return (step, second);
            }
        }
        panic!("no end");
    }

    fn open(seconds: u64, is_earlier: bool) -> OpenCall {
        OpenCall { remaining: Duration::from_secs(seconds), is_earlier }
    }

    #[test]
    fn the_effect_of_a_call_settles_it_at_once_and_its_absence_only_after_its_limit() {
        let finish = ConfirmationStep::Finish;
        assert_eq!(confirm(open(60, false), &[(0, Match::Wanted)]), (finish(Match::Wanted), 0));
        assert_eq!(confirm(open(60, false), &[(0, Match::Before), (30, Match::Wanted)]), (finish(Match::Wanted), 30));
        assert_eq!(confirm(open(60, false), &[(0, Match::Before)]), (finish(Match::Before), 60));
        assert_eq!(confirm(open(0, false), &[(0, Match::Before)]), (finish(Match::Before), 2));
        assert_eq!(confirm(open(0, false), &[(0, Match::Other)]), (finish(Match::Other), 10));
        assert_eq!(confirm(open(60, false), &[(0, Match::Other)]), (finish(Match::Other), 60));
    }

    #[test]
    fn a_rollback_counts_once_the_earlier_call_can_no_longer_undo_it() {
        let finish = ConfirmationStep::Finish;
        assert_eq!(confirm(open(0, true), &[(0, Match::Wanted)]), (finish(Match::Wanted), 0));
        assert_eq!(confirm(open(20, true), &[(0, Match::Wanted)]), (finish(Match::Wanted), 20));
        assert_eq!(confirm(open(20, true), &[(0, Match::Wanted), (8, Match::Before)]), (finish(Match::Before), 10));
    }

    #[test]
    fn what_cannot_be_read_until_the_limit_is_given_up() {
        assert_eq!(confirm(open(60, false), &[]), (ConfirmationStep::GiveUp, 60));
        assert_eq!(confirm(open(0, false), &[]), (ConfirmationStep::GiveUp, 10));
    }
}
