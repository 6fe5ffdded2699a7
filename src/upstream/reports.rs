//! What was left out of a catalog, as far as anyone reads it.
//!
//! *Invariant:* at most [`Reports::MOST`] reports are kept, whatever a catalog holds; that there were more is not lost.

use super::SkippedItem;

/// The first reports, and how many more there were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    kept: Vec<SkippedItem>,
    more: usize,
}

impl Reports {
    /// How many reports are kept.
    pub(crate) const MOST: usize = 1_000;

    /// Adds a report.
    pub(crate) fn push(&mut self, report: SkippedItem) {
        if self.kept.len() < Self::MOST {
            self.kept.push(report);
        } else {
            self.more += 1;
        }
    }

    /// Returns whether no report is missing. Where one is, what is not named may still be there.
    pub(crate) fn is_whole(&self) -> bool {
        self.more == 0
    }

    /// Adds what another has, also how many more there were.
    pub(crate) fn append(&mut self, other: Self) {
        self.more += other.more;
        self.extend(other.kept);
    }

    /// Keeps the first of equal reports: several files may say the same.
    pub(crate) fn say_once(&mut self) {
        let mut seen = std::collections::HashSet::new();
        self.kept.retain(|report| seen.insert(report.clone()));
    }

    /// Returns the reports that were kept, and one on those that were not.
    pub(crate) fn into_list(self) -> Vec<SkippedItem> {
        let Self { mut kept, more } = self;
        if more > 0 {
            let reason = format!("and {more} more, which are not listed one by one");
            kept.push(SkippedItem { reason, ..SkippedItem::default() });
        }
        kept
    }
}

impl Extend<SkippedItem> for Reports {
    fn extend<I: IntoIterator<Item = SkippedItem>>(&mut self, reports: I) {
        for report in reports {
            self.push(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_anyone_reads_is_one_line() {
        let mut reports = Reports::default();
        reports.extend((0..Reports::MOST).map(|number| SkippedItem::plugin(&format!("p{number}"), "bad")));
        assert!(reports.is_whole());
        assert_eq!(reports.clone().into_list().len(), Reports::MOST);
        let mut twice = reports.clone();
        twice.append(reports);
        assert!(!twice.is_whole());
        let list = twice.into_list();
        assert_eq!(list.len(), Reports::MOST + 1);
        assert_eq!(list[Reports::MOST].reason, "and 1000 more, which are not listed one by one");
    }
}
