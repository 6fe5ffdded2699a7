//! How many workspaces may fail: a number, or a share of those that it is about.
//!
//! *Invariant:* a share is rounded down, so that it never allows more than it says.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many workspaces may fail before the rollout stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureBudget {
    /// This number.
    Count(usize),
    /// This percentage, 0 to 100.
    Share(u8),
}

/// A text is not a share of workspaces that may fail.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a number of workspaces that may fail: expected a number, or `0%` to `100%`", .0.escape_debug())]
struct ParseBudgetError(String);

impl FailureBudget {
    /// Returns how many of `all` may fail.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Share(percent) => all * usize::from(percent) / 100,
        }
    }
}

impl Default for FailureBudget {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl fmt::Display for FailureBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(formatter),
            Self::Share(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl Serialize for FailureBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::Share(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for FailureBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BudgetVisitor)
    }
}

struct BudgetVisitor;

impl de::Visitor<'_> for BudgetVisitor {
    type Value = FailureBudget;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number of workspaces, or a share like `10%`")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<FailureBudget, E> {
        Ok(FailureBudget::Count(usize::try_from(count).unwrap_or(usize::MAX)))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<FailureBudget, E> {
        u64::try_from(count)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))
            .and_then(|count| self.visit_u64(count))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FailureBudget, E> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|percent| *percent <= 100);
        percent.map(FailureBudget::Share).ok_or_else(|| E::custom(ParseBudgetError(text.chars().take(40).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<FailureBudget, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_share_is_rounded_down_and_a_number_stands_for_itself() {
        for (json, all, most) in
            [("0", 9, 0), ("3", 2, 3), ("\"0%\"", 9, 0), ("\"10%\"", 9, 0), ("\"10%\"", 25, 2), ("\"100%\"", 7, 7)]
        {
            assert_eq!(read(json).expect("a budget").of(all), most, "{json} of {all}");
        }
    }

    #[test]
    fn what_is_read_is_written_the_same_and_nonsense_is_refused() {
        for json in ["0", "12", "\"5%\""] {
            assert_eq!(serde_json::to_string(&read(json).expect("a budget")).expect("JSON"), json);
        }
        for json in ["-1", "\"101%\"", "\"5\"", "\"%\"", "1.5", "true", "null"] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
