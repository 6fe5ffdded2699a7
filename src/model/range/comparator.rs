//! One bound of a range (node-semver's `classes/comparator.js`).
//!
//! *Invariant:* the version of a comparator is one that npm reads.
//! *Not for:* partial versions, which `expansion` turns into comparators.

use std::cmp::Ordering;

use semver::Version;

use crate::model::version::parse_trimmed;

/// How a version must compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    /// Returns whether a version that compares so to the bound is accepted.
    pub(super) const fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }

    /// Splits an operator off the front; none means equality (the token `GTLT`).
    pub(super) fn split(text: &str) -> (Self, &str) {
        let operators = [
            (">=", Self::GreaterOrEqual),
            ("<=", Self::LessOrEqual),
            (">", Self::Greater),
            ("<", Self::Less),
            ("=", Self::Equal),
        ];
        let found = operators.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
        found.unwrap_or((Self::Equal, text))
    }
}

/// An operator and a full version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Comparator {
    pub(super) operator: Comparison,
    pub(super) version: Version,
}

impl Comparator {
    /// Parses a bound without spaces; `None` where npm throws.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (operator, version) = Comparison::split(text);
        Some(Self { operator, version: parse_trimmed(version)? })
    }
}
