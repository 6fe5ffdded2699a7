//! The newest of several bundles.

use super::{Head, HeadError, Layout, read_head};
use crate::diagnostic::Chain;

/// A bundle that is open: the newest of those at one place, and every file that may hold packages of it.
pub(crate) struct OpenBundle {
    /// What it is.
    pub head: Head,
    /// Its files.
    pub layouts: Vec<Layout>,
    /// Files that are no bundles, or damaged, a sentence each.
    pub skipped: Vec<String>,
}

impl OpenBundle {
    /// Reads the heads of files. Of several files those are skipped that cannot be read; the only one is an error.
    pub(crate) fn new(layouts: Vec<Layout>) -> Result<Self, HeadError> {
        let (mut newest, mut readable, mut failed) = (None::<Head>, Vec::new(), Vec::new());
        for mut layout in layouts {
            match read_head(&mut layout) {
                Ok(head) => {
                    let time = head.catalog.generation().time;
                    if newest.as_ref().is_none_or(|known| time > known.catalog.generation().time) {
                        newest = Some(head);
                    }
                    readable.push(layout);
                }
                Err(error) => failed.push((layout.name().to_owned(), error)),
            }
        }
        let Some(head) = newest else {
            let first = failed.into_iter().next();
            return Err(first.map_or_else(|| HeadError::NoCatalog("the folder".to_owned()), |(_, error)| error));
        };
        let describe = |(name, error): (String, HeadError)| format!("{name}: {}", Chain(&error));
        Ok(Self { head, layouts: readable, skipped: failed.into_iter().map(describe).collect() })
    }
}
