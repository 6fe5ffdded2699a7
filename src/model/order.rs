//! The order of things that depend on each other.

use std::collections::BTreeSet;

/// Returns the items so that each comes after those that it depends on, otherwise in the order in which they were given.
/// Items that are given twice are returned once; in a circle, the one that was given first comes first.
///
/// `depends_on` may name items that were not given, and the item itself: both count for nothing.
pub(crate) fn topological_order<T: Clone + Ord>(
    items: impl IntoIterator<Item = T>,
    depends_on: impl Fn(&T) -> Vec<T>,
) -> Vec<T> {
    let mut open = BTreeSet::new();
    let given = items.into_iter().filter(|item| open.insert(item.clone()));
    let mut waiting: Vec<_> = given.map(|item| (depends_on(&item), item)).collect();
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_ready = |(needs, item): &(Vec<T>, T)| !needs.iter().any(|need| need != item && open.contains(need));
        let (_, item) = waiting.remove(waiting.iter().position(is_ready).unwrap_or(0));
        open.remove(&item);
        sorted.push(item);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(items: &[&'static str], edges: &[(&'static str, &'static str)]) -> String {
        let depends_on =
            |item: &&'static str| edges.iter().filter(|(from, _)| from == item).map(|(_, to)| *to).collect::<Vec<_>>();
        topological_order(items.iter().copied(), depends_on).join(" ")
    }

    #[test]
    fn each_item_comes_after_what_it_depends_on() {
        assert_eq!(order(&["a", "b", "c"], &[("a", "b"), ("b", "c")]), "c b a");
        assert_eq!(order(&["b", "c", "a", "b"], &[("b", "x"), ("c", "c")]), "b c a");
    }

    #[test]
    fn a_circle_ends_with_its_first_item_first() {
        assert_eq!(order(&["a", "b", "c"], &[("a", "b"), ("b", "a"), ("c", "a")]), "a b c");
    }
}
