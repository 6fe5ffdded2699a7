//! Bundles: what one side of an air gap writes, and what the other side reads.
//!
//! *Invariant:* a bundle appears whole or not at all. Nothing of one is trusted before its signature is verified, and every
//! package passes the same checks as one that is fetched.
//! *Not for:* the format, which `bundle` has.

mod create;
mod error;
mod gather;
mod import;
mod inspect;
mod keys;
mod lists;
mod outcome;
mod receive;
mod selection;
mod stored;
mod verified;
mod writing;

pub(crate) use self::{
    create::{CreateOptions, CreateOutcome, Signer, create},
    import::{ImportOptions, import},
    inspect::{InspectOutcome, inspect},
    keys::{keygen, read_keys},
    lists::{have, want},
    outcome::ImportOutcome,
    selection::{LeftOut, Selection},
};

use std::{io::Read, path::PathBuf};

use crate::{
    bundle::{HeadError, Layout, OpenBundle},
    diagnostic::Kind,
};

/// Where a bundle is.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A file, a layout in a folder, or a folder of files.
    Path(PathBuf),
    /// The standard input of the program.
    Input,
}

/// Opens a bundle. Blocks.
fn open(origin: &Origin) -> Result<OpenBundle, HeadError> {
    OpenBundle::new(match origin {
        Origin::Path(path) => Layout::open(path)?,
        Origin::Input => {
            let input: Box<dyn Read + Send> = Box::new(std::io::stdin());
            vec![Layout::from_pipe("standard input", input)]
        }
    })
}

/// Returns the kind of a failure of some packages, if others came.
fn partly(failed: bool) -> Option<Kind> {
    failed.then_some(Kind::Partly)
}
