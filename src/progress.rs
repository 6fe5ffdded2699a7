//! Announces progress to whatever draws it.
//!
//! *Not for:* drawing, which `cli` does, or results, which operations return.

use std::fmt::Debug;

/// What a piece of work is counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Things: plugins, files, workspaces.
    Items,
    /// Bytes that come in.
    Bytes,
}

/// Hears of progress. Every method does nothing unless an implementation says otherwise.
pub trait Reporter: Debug + Send + Sync {
    /// A piece of work begins; there are `total` units of it, where that is known.
    fn begin(&self, _what: &str, _total: Option<u64>, _unit: Unit) {}

    /// There is more to do than was known.
    fn grow(&self, _units: u64) {}

    /// Some of the work is done.
    fn advance(&self, _units: u64) {}

    /// The piece of work is over.
    fn end(&self) {}

    /// A note that is printed while the work continues.
    fn remark(&self, _text: &str) {}
}

/// Hears everything and says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Reporter for Silent {}
