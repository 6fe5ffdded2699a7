//! Ends the process right after a certain entry was written, so that a test can try every such moment.
//!
//! *Not for:* anything else than tests; nothing in the program sets it but a variable of the environment that only they know.

use std::time::Duration;

use crate::rollout::JournalEntry;

/// After which entry of this process, and how much later, it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StopAfter {
    left: usize,
    later: Duration,
}

impl StopAfter {
    /// Reads `COUNT`, or `COUNT+MILLISECONDS`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (count, later) = text.split_once('+').unwrap_or((text, "0"));
        Some(Self { left: count.parse().ok()?, later: Duration::from_millis(later.parse().ok()?) })
    }

    /// Returns the entries that are still written.
    pub(super) fn up_to<'a>(&self, entries: &'a [JournalEntry]) -> &'a [JournalEntry] {
        if self.later.is_zero() { &entries[..entries.len().min(self.left)] } else { entries }
    }

    /// Counts what was written; where that was the last, the process ends, now or somewhat later.
    pub(super) fn written(&mut self, entries: usize) {
        let was_over = self.left == 0;
        self.left = self.left.saturating_sub(entries);
        if self.left > 0 || was_over {
            return;
        }
        if self.later.is_zero() {
            end();
        }
        let later = self.later;
        drop(std::thread::spawn(move || {
            std::thread::sleep(later);
            end();
        }));
    }
}

/// Ends the process without a chance to tidy up.
fn end() {
    let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    debug_assert!(killed.is_ok(), "a process may end itself");
    // The signal is on its way; nothing is written meanwhile.
    std::thread::sleep(Duration::from_secs(5));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_is_read_as_it_is_written() {
        assert_eq!(StopAfter::parse("3"), Some(StopAfter { left: 3, later: Duration::ZERO }));
        assert_eq!(StopAfter::parse("3+20"), Some(StopAfter { left: 3, later: Duration::from_millis(20) }));
        assert_eq!(StopAfter::parse("soon"), None);
    }
}
