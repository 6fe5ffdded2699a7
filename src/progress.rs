//! Announces progress to whatever draws it.
//!
//! *Not for:* drawing, which `cli` does, or results, which operations return.

use std::{fmt::Debug, future::Future};

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

    /// Something with a name is waited for, a workspace for example.
    fn wait(&self, _name: &str) {}

    /// It is no longer waited for.
    fn arrived(&self, _name: &str) {}

    /// Returns the names of what is waited for, for somebody who gives up.
    fn awaited(&self) -> Vec<String> {
        Vec::new()
    }

    /// A note that is printed while the work continues.
    fn remark(&self, _text: &str) {}
}

/// Hears everything and says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Reporter for Silent {}

/// A piece of work on things with names, announced from its beginning until it is dropped.
#[derive(Debug)]
pub(crate) struct Announced<'a>(&'a dyn Reporter);

impl<'a> Announced<'a> {
    /// Announces work on so many things.
    pub(crate) fn begin(reporter: &'a dyn Reporter, what: &str, count: usize) -> Self {
        reporter.begin(what, Some(count as u64), Unit::Items);
        Self(reporter)
    }

    /// Does the part that is about one of them, which is waited for as long.
    pub(crate) async fn track<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        self.0.wait(name);
        let done = work.await;
        self.0.arrived(name);
        self.0.advance(1);
        done
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
