//! When to try again: how long to wait, and for whom.

use std::time::{Duration, SystemTime};

use super::{NetError, NetSettings};

/// Pauses drawn evenly from zero to a bound that doubles each time ("full jitter"), so that many clients spread out.
#[derive(Clone, Debug)]
pub(super) struct FullJitter {
    bound: Duration,
    left: u32,
}

impl FullJitter {
    pub(super) fn new(settings: &NetSettings) -> Self {
        Self { bound: settings.backoff, left: settings.tries.saturating_sub(1) }
    }
}

impl Iterator for FullJitter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.bound.mul_f64(fastrand::f64());
        self.bound = self.bound.saturating_mul(2).min(Duration::from_mins(1));
        Some(pause)
    }
}

/// Decides whether a reading is repeated: after passing failures, and if asked for only once after the server said nothing
/// until the time was over. A server that hangs would cost the time of every try.
#[derive(Debug)]
pub(super) struct Patience {
    /// How often the server may still be silent.
    silences: u32,
}

impl Patience {
    pub(super) fn new(is_impatient: bool) -> Self {
        Self { silences: if is_impatient { 1 } else { u32::MAX } }
    }

    /// Returns whether there is another try after a failure.
    pub(super) fn allows(&mut self, error: &NetError) -> bool {
        if error.is_silence() {
            let Some(left) = self.silences.checked_sub(1) else { return false };
            self.silences = left;
        }
        error.is_transient()
    }
}

/// Returns the pause before the next try: what the server asked for up to the limit, else the drawn one.
pub(super) fn pause(error: &NetError, drawn: Option<Duration>, limit: Duration) -> Option<Duration> {
    drawn.map(|drawn| error.retry_after().map_or(drawn, |asked| asked.min(limit)))
}

/// Reads a `Retry-After` header (RFC 9110, 10.2.3): seconds or a date. Rubbish and the past are nothing.
pub(super) fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time too; the limit cuts it.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    SystemTime::from(date.timestamp()).duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let settings = NetSettings { tries: 4, backoff: Duration::from_millis(500), ..NetSettings::default() };
        for _ in 0..100 {
            let pauses: Vec<_> = FullJitter::new(&settings).collect();
            assert_eq!(pauses.len(), 3);
            assert!(pauses[0] <= Duration::from_millis(500) && pauses[2] <= Duration::from_secs(2));
        }
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        assert_eq!(parse_retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:17 GMT", now), None);
        assert!(parse_retry_after("99999999999999999999", now) > Some(Duration::from_mins(1)));
        for rubbish in ["", "-5", "soon", "1.5"] {
            assert_eq!(parse_retry_after(rubbish, now), None, "{rubbish}");
        }
    }
}
