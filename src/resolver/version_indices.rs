//! Sets of the versions of one plugin.
//!
//! *Invariant:* a set holds places in the list of a plugin's versions, oldest first, as half-open intervals; an interval
//! that reaches an end of the list is unbounded there. So two sets of the same places are equal, even if versions are not
//! semver or have equal precedence.
//! *Not for:* ranges as people write them.

use std::{fmt, ops::Bound};

use pubgrub::{Ranges, VersionSet};

/// A set of places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct VersionIndices(Ranges<u32>);

impl VersionIndices {
    /// Returns the places of a list whose flag is set; for an empty list the set of all places.
    pub(super) fn from_flags(flags: impl Iterator<Item = bool>) -> Self {
        let mut intervals: Vec<(Bound<u32>, Bound<u32>)> = Vec::new();
        let (mut start, mut length) = (None, 0);
        for (index, holds) in (0..).zip(flags) {
            length = index + 1;
            if holds {
                start = start.or(Some(index));
            } else if let Some(start) = start.take() {
                intervals.push((from(start), Bound::Excluded(index)));
            }
        }
        if let Some(start) = start.or((length == 0).then_some(0)) {
            intervals.push((from(start), Bound::Unbounded));
        }
        Self(intervals.into_iter().collect())
    }

    /// Returns the places below `length`, last first.
    pub(super) fn last_first(&self, length: usize) -> impl Iterator<Item = usize> {
        let intervals: Vec<_> = self.0.iter().map(|(start, end)| interval(*start, *end, length)).collect();
        intervals.into_iter().rev().flat_map(|(start, end)| (start..end).rev())
    }

    /// Returns how many places below `length` there are.
    pub(super) fn count(&self, length: usize) -> usize {
        self.0
            .iter()
            .map(|(start, end)| interval(*start, *end, length))
            .map(|(start, end)| end.saturating_sub(start))
            .sum()
    }

    /// Returns whether a place is in the set.
    pub(super) fn has(&self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|index| self.0.contains(&index))
    }
}

/// Returns a place as the solver counts; no list has 2^32 versions.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn from(start: u32) -> Bound<u32> {
    if start == 0 { Bound::Unbounded } else { Bound::Included(start) }
}

fn interval(start: Bound<u32>, end: Bound<u32>, length: usize) -> (usize, usize) {
    let start = match start {
        Bound::Included(start) => start as usize,
        Bound::Excluded(start) => start as usize + 1,
        Bound::Unbounded => 0,
    };
    let end = match end {
        Bound::Included(end) => end as usize + 1,
        Bound::Excluded(end) => end as usize,
        Bound::Unbounded => length,
    };
    (start.min(length), end.min(length))
}

impl fmt::Display for VersionIndices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl VersionSet for VersionIndices {
    type V = u32;

    fn empty() -> Self {
        Self(Ranges::empty())
    }

    fn full() -> Self {
        Self(Ranges::full())
    }

    fn singleton(index: u32) -> Self {
        Self([(from(index), Bound::Excluded(index.saturating_add(1)))].into_iter().collect())
    }

    fn complement(&self) -> Self {
        Self(self.0.complement())
    }

    fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0))
    }

    fn contains(&self, index: &u32) -> bool {
        self.0.contains(index)
    }

    fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    fn subset_of(&self, other: &Self) -> bool {
        self.0.subset_of(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> VersionIndices {
        VersionIndices::from_flags(text.chars().map(|sign| sign == 'x'))
    }

    #[test]
    fn places_are_found_again() {
        for (text, places) in [
            ("", vec![]),
            ("x", vec![0]),
            (".x", vec![1]),
            ("x.", vec![0]),
            ("xx.x.xx", vec![6, 5, 3, 1, 0]),
            ("..", vec![]),
        ] {
            assert_eq!(set(text).last_first(text.len()).collect::<Vec<_>>(), places, "{text:?}");
            assert_eq!(set(text).count(text.len()), places.len(), "{text:?}");
        }
    }

    #[test]
    fn sets_of_the_same_places_are_equal() {
        assert_eq!((set(""), set("xxx")), (VersionIndices::full(), VersionIndices::full()));
        assert_eq!((set("x.."), set(".x.")), (VersionIndices::singleton(0), VersionIndices::singleton(1)));
        assert_eq!(VersionIndices::singleton(0).union(&VersionIndices::singleton(1)), set("xx."));
        assert_eq!(set("xx.").intersection(&set(".xx")), VersionIndices::singleton(1));
        assert_eq!(set("x.").complement(), set(".x"));
        assert_eq!(set(".."), VersionIndices::empty());
    }
}
