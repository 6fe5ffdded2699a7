//! An archive that was refused, or that could not be read.
//!
//! *Invariant:* a refusal names its rule, and the entry wherever one broke it.
//! *Not for:* faults while writing, which are the unpacker's.

use std::io;

use super::{Rule, hint::hint};
use crate::diagnostic::{Kind, diagnose};

/// An archive was refused, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It breaks a rule.
    #[error("the archive was refused{}", at(entry.as_deref()))]
    Refused {
        /// The name of the entry that broke it, as far as it could be read; `None` when it was the archive as a whole.
        entry: Option<String>,
        /// The rule that was broken.
        #[source]
        rule: Rule,
    },
    /// The open file could not be read.
    #[error("the archive could not be read")]
    Io(#[from] io::Error),
}

fn at(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |name| format!(" at `{}`", name.escape_debug()))
}

diagnose!(ArchiveError {
    Refused { entry, rule } => Kind::Integrity, hint(rule, entry.as_deref());
    Io => Kind::Storage;
});

impl From<Rule> for ArchiveError {
    fn from(rule: Rule) -> Self {
        Self::Refused { entry: None, rule }
    }
}

impl ArchiveError {
    /// Returns this error with `name` as the entry that it is about, unless it has one.
    pub(super) fn with_entry(self, name: &str) -> Self {
        match self {
            Self::Refused { entry: None, rule } => Self::Refused { entry: Some(name.to_owned()), rule },
            other => other,
        }
    }
}
