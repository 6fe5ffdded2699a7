//! Sets of the versions of one plugin.
//!
//! *Invariant:* a set holds places in the list of a plugin's versions, oldest first, as half-open stretches; one that ends
//! at an end of the list is open there. So two sets of the same places are equal, whatever the versions look like: texts
//! that are no semver, and versions of one rank, have places like all others.
//! *Not for:* ranges as people write them.

use std::{fmt, ops::Bound};

use pubgrub::{Ranges, VersionSet};

/// A set of places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Places(Ranges<u32>);

impl Places {
    /// Returns the places of a list for which `holds`; of an empty list, all that there might be.
    pub(super) fn of(holds: impl Iterator<Item = bool>) -> Self {
        let mut stretches: Vec<(Bound<u32>, Bound<u32>)> = Vec::new();
        let (mut start, mut length) = (None, 0);
        for (place, holds) in (0..).zip(holds) {
            length = place + 1;
            if holds {
                start = start.or(Some(place));
            } else if let Some(start) = start.take() {
                stretches.push((from(start), Bound::Excluded(place)));
            }
        }
        if let Some(start) = start.or((length == 0).then_some(0)) {
            stretches.push((from(start), Bound::Unbounded));
        }
        Self(stretches.into_iter().collect())
    }

    /// Returns the places below `length`, last first.
    pub(super) fn last_first(&self, length: usize) -> impl Iterator<Item = usize> {
        let stretches: Vec<_> = self.0.iter().map(|(start, end)| stretch(*start, *end, length)).collect();
        stretches.into_iter().rev().flat_map(|(start, end)| (start..end).rev())
    }

    /// Returns how many places below `length` there are.
    pub(super) fn count(&self, length: usize) -> usize {
        self.0
            .iter()
            .map(|(start, end)| stretch(*start, *end, length))
            .map(|(start, end)| end.saturating_sub(start))
            .sum()
    }

    /// Returns whether a place is in the set.
    pub(super) fn has(&self, place: usize) -> bool {
        u32::try_from(place).is_ok_and(|place| self.0.contains(&place))
    }
}

/// Returns a place as the solver counts; no list has 2^32 versions.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn from(start: u32) -> Bound<u32> {
    if start == 0 { Bound::Unbounded } else { Bound::Included(start) }
}

fn stretch(start: Bound<u32>, end: Bound<u32>, length: usize) -> (usize, usize) {
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

impl fmt::Display for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl VersionSet for Places {
    type V = u32;

    fn empty() -> Self {
        Self(Ranges::empty())
    }

    fn full() -> Self {
        Self(Ranges::full())
    }

    fn singleton(place: u32) -> Self {
        Self([(from(place), Bound::Excluded(place.saturating_add(1)))].into_iter().collect())
    }

    fn complement(&self) -> Self {
        Self(self.0.complement())
    }

    fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0))
    }

    fn contains(&self, place: &u32) -> bool {
        self.0.contains(place)
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

    fn of(text: &str) -> Places {
        Places::of(text.chars().map(|sign| sign == 'x'))
    }

    #[test]
    fn stretches_are_read_and_written() {
        for (text, places) in [
            ("", vec![]),
            ("x", vec![0]),
            (".x", vec![1]),
            ("x.", vec![0]),
            ("xx.x.xx", vec![6, 5, 3, 1, 0]),
            ("..", vec![]),
        ] {
            assert_eq!(of(text).last_first(text.len()).collect::<Vec<_>>(), places, "{text:?}");
            assert_eq!(of(text).count(text.len()), places.len(), "{text:?}");
        }
    }

    #[test]
    fn sets_of_the_same_places_are_equal() {
        assert_eq!((of(""), of("xxx")), (Places::full(), Places::full()));
        assert_eq!((of("x.."), of(".x.")), (Places::singleton(0), Places::singleton(1)));
        assert_eq!(Places::singleton(0).union(&Places::singleton(1)), of("xx."));
        assert_eq!(of("xx.").intersection(&of(".xx")), Places::singleton(1));
        assert_eq!(of("x.").complement(), of(".x"));
        assert_eq!(of(".."), Places::empty());
    }
}
