//! The names of rollouts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Kind, diagnose},
    model::Timestamp,
};

/// The name of a rollout: when it began, in UTC, and four digits of chance, like `20261123-041500-1a2b`. They sort by time.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RolloutId(String);

/// How many characters of each part a name has.
const PARTS: [usize; 3] = [8, 6, 4];

impl RolloutId {
    /// Returns the name of a rollout that begins now.
    pub fn new(now: Timestamp, chance: u16) -> Self {
        let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = digits.split_at(digits.len().min(8));
        Self(format!("{date:0>8}-{time:0>6}-{chance:04x}"))
    }

    /// Returns the name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RolloutId {
    type Err = ParseRolloutIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseRolloutIdError(text.chars().take(40).collect());
        let parts: Vec<&str> = text.split('-').collect();
        let fits = |(part, length): (&&str, usize)| part.len() == length && part.bytes().all(is_digit);
        let valid = parts.len() == PARTS.len() && parts.iter().zip(PARTS).all(fits);
        if valid { Ok(Self(text.to_owned())) } else { Err(refused()) }
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

impl TryFrom<String> for RolloutId {
    type Error = ParseRolloutIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RolloutId> for String {
    fn from(id: RolloutId) -> Self {
        id.0
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text is not the name of a rollout.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not the name of a rollout: expected one like `20261123-041500-1a2b`", .0.escape_debug())]
pub struct ParseRolloutIdError(String);

diagnose!(ParseRolloutIdError => Kind::Usage, "`plugport rollout list` lists them");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_the_rollout_began() {
        let now: Timestamp = "2026-11-23T04:15:00.250Z".parse().expect("a time");
        let id = RolloutId::new(now, 0x1a2b);
        assert_eq!(id.as_str(), "20261123-041500-1a2b");
        assert_eq!(id.as_str().parse::<RolloutId>().expect("a name"), id);
        assert!(RolloutId::new(Timestamp::from_milliseconds(0), 0).as_str().parse::<RolloutId>().is_ok());
    }

    #[test]
    fn what_could_lead_out_of_a_folder_is_no_name() {
        for text in ["", "../../etc", "20261123-041500-1A2B", "20261123-041500-1a2b/..", "2026-1-1"] {
            assert!(text.parse::<RolloutId>().is_err(), "{text}");
        }
    }
}
