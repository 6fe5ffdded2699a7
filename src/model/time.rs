//! Points in time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in time with millisecond steps, printed as `2025-03-04T10:00:00.000Z`.
///
/// There is no `now()`: the clock is handed in, so that decisions can be tested.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the point `milliseconds` after 1970-01-01T00:00:00Z.
    pub const fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_milliseconds(self) -> i64 {
        self.0
    }

    /// Returns the point `pause` later; the last there is if that is beyond it.
    #[must_use]
    pub fn saturating_add(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the time to the minute, for people: `2025-03-04 05:06 UTC`.
    pub fn to_minute(self) -> String {
        let text = self.to_string();
        format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default())
    }

    /// Returns the date alone, `2025-03-04`.
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    /// Parses an RFC 3339 time, or a date, which stands for its first moment in UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(time.as_millisecond()));
        }
        let midnight = text.parse::<jiff::civil::Date>()?.to_zoned(jiff::tz::TimeZone::UTC)?;
        Ok(Self(midnight.timestamp().as_millisecond()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => formatter.pad(&format!("{time:.3}")),
            Err(_) => formatter.pad(&format!("{} ms", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_the_catalog_prints_them() {
        let text = "2025-03-04T10:00:00.000Z";
        assert_eq!(text.parse::<Timestamp>().expect("a time").to_string(), text);
        assert_eq!("2025-03-04".parse::<Timestamp>().expect("a date").date(), "2025-03-04");
    }

    #[test]
    fn times_out_of_range_do_not_panic() {
        assert_eq!(Timestamp::from_milliseconds(i64::MAX).to_string(), format!("{} ms", i64::MAX));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
