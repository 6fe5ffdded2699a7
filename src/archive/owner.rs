//! Who owns the files that are unpacked.
//!
//! *Invariant:* only root gives files away; for everybody else nothing is tried, and nothing fails.
//! *Not for:* modes, which do not depend on the owner.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{Gid, Stat, Uid, fchown, fstat},
    io::Errno,
    process::geteuid,
};

/// The user and the group that new files are given to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Returns the owner of an open file or folder.
    pub(crate) fn of(handle: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(&fstat(handle)?))
    }

    /// Gives an open file or folder to this owner, if we are root. A file system that keeps owners to itself, like one that
    /// is mounted with a fixed owner, is left as it is.
    pub(crate) fn take(self, handle: impl AsFd) -> io::Result<()> {
        if !geteuid().is_root() || Self::of(&handle)? == self {
            return Ok(());
        }
        match fchown(handle, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))) {
            Ok(()) | Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<&Stat> for Owner {
    fn from(stat: &Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid }
    }
}
