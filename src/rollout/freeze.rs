//! Freeze periods: times in which no wave of a rollout begins.
//!
//! *Invariant:* pure: the time is given, and the rules of time zones are built in. A text that was read is a period that begins
//! and ends.
//! *Not for:* rollbacks, which are never frozen.

use std::{fmt, str::FromStr};

use jiff::{
    ToSpan as _,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// How many periods in a row are followed to their end.
const MOST_IN_A_ROW: usize = 64;

/// The periods of a policy, with the time zone of those that name none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Freeze {
    /// The periods.
    pub periods: Vec<FreezePeriod>,
    /// The time zone of the periods that name none.
    pub time_zone: TimeZoneName,
}

impl Freeze {
    /// Returns until when no wave begins, periods that follow each other included; `None` if one may begin now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut until = None;
        for _ in 0..MOST_IN_A_ROW {
            let at = until.unwrap_or(now);
            let ends = self.periods.iter().filter_map(|period| period.end_at(at, &self.time_zone));
            match ends.max().filter(|end| *end > at) {
                Some(end) => until = Some(end),
                None => break,
            }
        }
        until
    }
}

/// A time in which no wave begins: once, each week or each day.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FreezePeriod {
    /// As the manifest spells it.
    text: String,
    span: PeriodSpan,
    time_zone: Option<TimeZoneName>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PeriodSpan {
    Once { start: DateTime, end: DateTime },
    Weekly { start: (Weekday, Time), end: (Weekday, Time) },
    Daily { start: Time, end: Time },
}

impl FreezePeriod {
    /// Returns the end of the period that this time is in.
    fn end_at(&self, at: Timestamp, otherwise: &TimeZoneName) -> Option<Timestamp> {
        let zone = self.time_zone.as_ref().unwrap_or(otherwise).zone()?;
        let instant = jiff::Timestamp::from_millisecond(at.as_milliseconds()).ok()?;
        let today = instant.to_zoned(zone.clone()).date();
        self.around(today).into_iter().flatten().find_map(|(start, end)| {
            let (start, end) = (in_zone(start, &zone)?, in_zone(end, &zone)?);
            (start <= at && at < end).then_some(end)
        })
    }

    /// Returns the times of the period that a day may be in.
    fn around(&self, today: Date) -> [Option<(DateTime, DateTime)>; 2] {
        let days_later = |date: Date, days: i64| date.checked_add(days.days()).ok();
        match self.span {
            PeriodSpan::Once { start, end } => [Some((start, end)), None],
            PeriodSpan::Weekly { start, end } => [0, -7].map(|shift| {
                let monday = days_later(today, shift - i64::from(today.weekday().to_monday_zero_offset()))?;
                let offset = |day: Weekday| i64::from(day.to_monday_zero_offset());
                let next = if offset_of(end) > offset_of(start) { 0 } else { 7 };
                let begin = days_later(monday, offset(start.0))?.to_datetime(start.1);
                Some((begin, days_later(monday, offset(end.0) + next)?.to_datetime(end.1)))
            }),
            PeriodSpan::Daily { start, end } => [0, -1].map(|shift| {
                let day = days_later(today, shift)?;
                let next = i64::from(end <= start);
                Some((day.to_datetime(start), days_later(day, next)?.to_datetime(end)))
            }),
        }
    }
}

fn offset_of((day, time): (Weekday, Time)) -> (i8, Time) {
    (day.to_monday_zero_offset(), time)
}

/// Returns a time of the clock as an instant; one that a change of the clocks leaves out is that of the clock before it.
fn in_zone(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let instant = time.to_zoned(zone.clone()).ok()?.timestamp();
    Some(Timestamp::from_milliseconds(instant.as_millisecond()))
}

impl fmt::Display for FreezePeriod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<FreezePeriod> for String {
    fn from(period: FreezePeriod) -> Self {
        period.text
    }
}

impl TryFrom<String> for FreezePeriod {
    type Error = ParseFreezeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for FreezePeriod {
    type Err = ParseFreezeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || ParseFreezeError::Shape(text.chars().take(80).collect());
        let (start, rest) = text.split_once("..").ok_or_else(shape)?;
        let (end, zone) = split_zone(rest);
        let (start, end) = start.parse::<Moment>().and_then(|start| Ok((start, end.parse()?))).map_err(|()| shape())?;
        let span = PeriodSpan::between(start, end).ok_or_else(shape)?;
        let is_empty = match span {
            PeriodSpan::Once { start, end } => end <= start,
            PeriodSpan::Weekly { start, end } => start == end,
            PeriodSpan::Daily { start, end } => start == end,
        };
        if is_empty {
            return Err(ParseFreezeError::Empty(text.chars().take(80).collect()));
        }
        let time_zone = zone.map(str::parse).transpose()?;
        Ok(Self { text: text.to_owned(), span, time_zone })
    }
}

/// Splits the name of a time zone off the end of a period.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    let trimmed = text.trim();
    match trimmed.rsplit_once(char::is_whitespace) {
        Some((end, last)) if last.parse::<Moment>().is_err() => (end, Some(last)),
        _ => (text, None),
    }
}

/// The beginning or the end of a period.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Date(Date, Option<Time>),
    Day(Weekday, Option<Time>),
    Time(Time),
}

impl FromStr for Moment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (first, time) = match words.as_slice() {
            [only] => match only.split_once('T') {
                Some((date, time)) if !date.is_empty() => (date, Some(time)),
                _ => (*only, None),
            },
            [first, time] => (*first, Some(*time)),
            _ => return Err(()),
        };
        let time = time.map(parse_time).transpose()?;
        if let Ok(date) = first.parse::<Date>() {
            return Ok(Self::Date(date, time));
        }
        match (parse_day(first), time) {
            (Some(day), time) => Ok(Self::Day(day, time)),
            (None, None) => parse_time(first).map(Self::Time),
            (None, Some(_)) => Err(()),
        }
    }
}

impl PeriodSpan {
    /// Returns the span between two moments of a kind. A day without a time is a whole day.
    fn between(start: Moment, end: Moment) -> Option<Self> {
        let midnight = Time::midnight();
        match (start, end) {
            (Moment::Date(from, at), Moment::Date(to, until)) => {
                let start = from.to_datetime(at.unwrap_or(midnight));
                let end = match until {
                    Some(time) => to.to_datetime(time),
                    None => to.tomorrow().ok()?.to_datetime(midnight),
                };
                Some(Self::Once { start, end })
            }
            (Moment::Day(from, at), Moment::Day(to, until)) => {
                let end = until.map_or_else(|| (to.next(), midnight), |time| (to, time));
                Some(Self::Weekly { start: (from, at.unwrap_or(midnight)), end })
            }
            (Moment::Time(start), Moment::Time(end)) => Some(Self::Daily { start, end }),
            _ => None,
        }
    }
}

fn parse_time(text: &str) -> Result<Time, ()> {
    let is_clock = text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    text.parse().ok().filter(|_| is_clock).ok_or(())
}

fn parse_day(text: &str) -> Option<Weekday> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let text = text.to_ascii_lowercase();
    DAYS.iter().find(|(name, _)| text == **name || text == name[..3]).map(|(_, day)| *day)
}

/// A text is not a freeze period.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseFreezeError {
    /// It is not two moments of a kind.
    #[error(
        "`{}` is not a freeze period: expected one like `2026-12-20..2027-01-03`, `fri 16:00..mon 06:00` or \
         `18:00..07:00`, and maybe a time zone after it",
        .0.escape_debug()
    )]
    Shape(String),
    /// It ends where it begins, or before.
    #[error("`{}` is not a freeze period: it ends before it begins", .0.escape_debug())]
    Empty(String),
    /// Its time zone does not exist.
    #[error(transparent)]
    Zone(#[from] ParseTimeZoneError),
}

/// The name of a time zone in the IANA database, like `Europe/Berlin`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName(String);

impl TimeZoneName {
    fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(&self.0).ok()
    }

    /// Returns whether this is UTC, the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> Self {
        name.0
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = ParseTimeZoneError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for TimeZoneName {
    type Err = ParseTimeZoneError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match TimeZone::get(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(ParseTimeZoneError(text.chars().take(40).collect())),
        }
    }
}

/// There is no time zone of this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a time zone: expected a name of the IANA database like `Europe/Berlin`, or `UTC`", .0.escape_debug())]
pub struct ParseTimeZoneError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// Returns until when it is frozen at a time, to the minute; `-` if it is not.
    fn until(periods: &[&str], zone: &str, now: &str) -> String {
        let periods = periods.iter().map(|text| text.parse().expect("a period")).collect();
        let freeze = Freeze { periods, time_zone: zone.parse().expect("a zone") };
        freeze.until(time(now)).map_or_else(|| "-".to_owned(), |end| end.to_string()[..16].to_owned())
    }

    #[test]
    fn days_are_frozen_to_their_end_and_moments_to_the_minute() {
        let dates = ["2026-12-20..2027-01-03"];
        assert_eq!(until(&dates, "UTC", "2026-12-19T23:59:59.999Z"), "-");
        assert_eq!(until(&dates, "UTC", "2026-12-20T00:00:00Z"), "2027-01-04T00:00");
        assert_eq!(until(&dates, "UTC", "2027-01-03T23:59:00Z"), "2027-01-04T00:00");
        assert_eq!(until(&dates, "UTC", "2027-01-04T00:00:00Z"), "-");
        let moments = ["2026-12-20 16:00..2026-12-21T08:30"];
        assert_eq!(until(&moments, "UTC", "2026-12-20T15:59:00Z"), "-");
        assert_eq!(until(&moments, "UTC", "2026-12-20T16:00:00Z"), "2026-12-21T08:30");
    }

    #[test]
    fn a_week_and_a_day_come_again_also_over_their_end() {
        let weekend = ["fri 16:00..mon 06:00"];
        // 2026-11-27 is a Friday.
        for (now, end) in [
            ("2026-11-27T15:59:00Z", "-"),
            ("2026-11-27T16:00:00Z", "2026-11-30T06:00"),
            ("2026-11-29T12:00:00Z", "2026-11-30T06:00"),
            ("2026-11-30T05:59:00Z", "2026-11-30T06:00"),
            ("2026-11-30T06:00:00Z", "-"),
        ] {
            assert_eq!(until(&weekend, "UTC", now), end, "{now}");
        }
        assert_eq!(until(&["sat..sun"], "UTC", "2026-11-29T23:00:00Z"), "2026-11-30T00:00");
        assert_eq!(until(&["Wednesday..Wednesday"], "UTC", "2026-12-02T01:00:00Z"), "2026-12-03T00:00");
        assert_eq!(until(&["18:00..07:00"], "UTC", "2026-12-02T06:00:00Z"), "2026-12-02T07:00");
        assert_eq!(until(&["18:00..07:00"], "UTC", "2026-12-02T18:00:00Z"), "2026-12-03T07:00");
        assert_eq!(until(&["18:00..07:00"], "UTC", "2026-12-02T12:00:00Z"), "-");
    }

    #[test]
    fn a_time_zone_is_that_of_the_period_or_else_of_the_policy() {
        let text = "fri 16:00..mon 06:00";
        assert_eq!(until(&[text], "Europe/Berlin", "2026-11-27T15:00:00Z"), "2026-11-30T05:00");
        let own = format!("{text} America/New_York");
        assert_eq!(until(&[&own], "Europe/Berlin", "2026-11-27T20:59:00Z"), "-");
        assert_eq!(until(&[&own], "Europe/Berlin", "2026-11-27T21:00:00Z"), "2026-11-30T11:00");
        // The clocks go back on 2026-10-25 at 03:00: the weekend has an hour more.
        assert_eq!(until(&[text], "Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-26T05:00");
        assert_eq!(until(&["2026-12-24..2026-12-26 Asia/Tokyo"], "UTC", "2026-12-23T15:00:00Z"), "2026-12-26T15:00");
    }

    #[test]
    fn periods_that_follow_each_other_are_one() {
        let periods = ["2026-12-20..2026-12-27", "sat..sun", "mon 00:00..mon 09:00"];
        assert_eq!(until(&periods, "UTC", "2026-12-20T01:00:00Z"), "2026-12-28T09:00");
        // What never ends is followed no further than so far.
        assert!(until(&["mon..thu", "fri..sun"], "UTC", "2026-12-20T01:00:00Z") != "-");
    }

    #[test]
    fn what_is_no_period_is_refused_and_what_is_one_keeps_its_text() {
        for text in [
            "",
            "..",
            "2026-12-20",
            "2026-12-20..",
            "2026-12-20..fri",
            "fri 16:00..2026-12-20",
            "fri..18:00",
            "2026-12-20..2026-12-19",
            "2026-13-01..2026-13-02",
            "18:00..18:00",
            "fri 16:00..fri 16:00",
            "fri 25:00..mon",
            "fri 16..mon 06",
            "fri 16:00..mon 06:00 Mars/Olympus",
            "fri 16:00..mon 06:00 UTC UTC",
            "fry..mon",
        ] {
            assert!(text.parse::<FreezePeriod>().is_err(), "{text}");
        }
        for text in ["2026-12-20..2027-01-03", "fri 16:00 .. mon 06:00 Europe/Berlin", "18:00..07:00 UTC", "fri..fri"] {
            assert_eq!(text.parse::<FreezePeriod>().expect("a period").to_string(), text);
        }
        assert!("Mars/Olympus".parse::<TimeZoneName>().is_err());
        assert!(serde_json::from_str::<FreezePeriod>("\"sat..sun\"").is_ok());
    }
}
