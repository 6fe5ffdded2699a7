//! Small JSON documents that are created once: create if absent, read, list.
//!
//! *Invariant:* of all who create a record of one name, exactly one does; what it wrote is durable when
//! [`Records::create`] returns, is never changed, and is what everybody reads from then on.
//! *Not for:* packages, see [`crate::store`]; for what is replaced or removed.

mod folder;

use std::{fmt, io};

use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

pub use self::folder::FolderRecords;
use crate::diagnostic::{Kind, diagnose};

/// The answer of [`Records`]; they are asked by several tasks at once, and chosen at run time.
pub(crate) type RecordFuture<'a, T> = BoxFuture<'a, Result<T, RecordError>>;

/// Where records are. An implementation needs no more than "create if absent" and reading what was written.
pub trait Records: fmt::Debug + Send + Sync {
    /// Creates a record unless there is one of this name.
    fn create(&self, name: RecordName, document: Vec<u8>) -> RecordFuture<'_, Creation>;

    /// Returns the document of a record; `None` if there is none.
    fn read(&self, name: RecordName) -> RecordFuture<'_, Option<Vec<u8>>>;

    /// Returns the names of all records below `name`, in order.
    fn list(&self, name: RecordName) -> RecordFuture<'_, Vec<RecordName>>;
}

/// The outcome of [`Records::create`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Creation {
    /// The record is the caller's.
    Created,
    /// There is one already, perhaps of an earlier attempt of the caller.
    Exists,
}

/// The name of a record: parts that are valid names of files everywhere.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RecordName(Vec<String>);

/// The longest part that is taken as it is, in bytes.
const MAX_PART: usize = 100;

impl RecordName {
    /// Makes a name of parts. A part that is no plain name is written in hexadecimal, a long one as its SHA-256: a name from
    /// outside leads to no other place.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().map(part).collect())
    }

    /// Returns a name below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([part(name)]).collect())
    }

    /// Returns the parts as they are stored.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("/"))
    }
}

fn part(text: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.');
    match text.len() {
        1..=MAX_PART if text.chars().all(plain) && !text.starts_with('.') => text.to_owned(),
        0..=MAX_PART => format!("hex.{}", hex::encode(text)),
        _ => format!("sha256.{}", hex::encode(Sha256::digest(text))),
    }
}

/// A record cannot be created, read or listed.
#[derive(Debug, thiserror::Error)]
#[error("the record `{name}` cannot be {doing}")]
pub struct RecordError {
    name: String,
    doing: &'static str,
    source: io::Error,
}

diagnose!(RecordError => Kind::Storage);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_outside_leads_to_no_other_place() {
        assert_eq!(RecordName::new(["1", "aB_1-x.2"]).to_string(), "1/aB_1-x.2");
        for text in ["../x", "", "a/b", ".", "..", ".a", "a\0", "é", &"x".repeat(300)] {
            let name = RecordName::new([text]).to_string();
            assert!(name.starts_with("hex.") || name.starts_with("sha256."), "{name}");
            assert!(!name.contains('/') && name.len() < 250, "{name}");
        }
        assert_ne!(RecordName::new([&*"x".repeat(300)]), RecordName::new([&*"x".repeat(301)]));
    }
}
