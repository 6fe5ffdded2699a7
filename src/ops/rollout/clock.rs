//! The time within one run of a rollout.
//!
//! *Invariant:* it advances with real time, whatever the clock of the machine is set to in the meantime: a soak ends after
//! its pause, and a gate has its whole limit. The clock of the machine counts only when a run begins, and never before the
//! last entry of the journal.
//! *Not for:* limits of single requests.

use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// The time since a run began.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunClock {
    start: Timestamp,
    begun: Instant,
}

impl RunClock {
    /// Starts at the time of the machine, or at that of the last entry if the machine is behind it.
    pub(super) fn start(wall: Timestamp, last: Timestamp) -> Self {
        Self { start: wall.max(last), begun: Instant::now() }
    }

    /// Returns the time of the run.
    pub(super) fn now(self) -> Timestamp {
        self.after(self.begun.elapsed())
    }

    fn after(self, passed: Duration) -> Timestamp {
        self.start.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Timestamp = Timestamp::from_milliseconds(1_000);
    const LATER: Timestamp = Timestamp::from_milliseconds(900_000);

    #[test]
    fn a_clock_that_was_ahead_in_an_earlier_run_does_not_stop_the_time() {
        let clock = RunClock::start(SOON, LATER);
        assert_eq!(clock.after(Duration::ZERO), LATER);
        assert_eq!(clock.after(Duration::from_secs(5)).as_milliseconds(), 905_000);
    }

    #[test]
    fn a_run_begins_at_the_time_of_the_machine() {
        assert_eq!(RunClock::start(LATER, SOON).after(Duration::from_millis(20)).as_milliseconds(), 900_020);
    }
}
