//! What happens to a system call, and which calls it can happen to.

use std::fmt;

/// Calls that change files, as `strace` names them.
pub(crate) const CHANGING: &str = "openat,open,creat,write,pwrite64,pwritev,writev,rename,renameat,renameat2,link,linkat,\
    symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,\
    chmod,fchmod,fchmodat,copy_file_range,sendfile,utimensat,setxattr,fsetxattr,mknodat,chown,fchown,fchownat";

/// Calls that a full disk makes fail.
const NEEDING_ROOM: &str = "openat open creat write pwrite64 pwritev writev rename renameat renameat2 link linkat symlink \
    symlinkat mkdir mkdirat ftruncate fallocate fsync fdatasync copy_file_range sendfile";

/// What happens at a point.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fault {
    /// The process is killed before the call.
    Kill,
    /// The call fails once.
    Once(Reason),
    /// This call and all later ones of its kind fail.
    Onwards(Reason),
}

/// Why a call fails.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Reason {
    Io,
    NoSpace,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::Kill,
        Self::Once(Reason::Io),
        Self::Onwards(Reason::Io),
        Self::Once(Reason::NoSpace),
        Self::Onwards(Reason::NoSpace),
    ];

    /// Returns whether it can happen to calls of this kind.
    pub(crate) fn fits(self, kind: &str) -> bool {
        let needs_room = || NEEDING_ROOM.split_whitespace().any(|known| known == kind);
        match self {
            Self::Kill | Self::Once(Reason::Io) => true,
            Self::Once(Reason::NoSpace) => needs_room(),
            // The program's threads wake each other by writing, and it prints by writing: neither goes to a disk.
            Self::Onwards(Reason::Io) => kind != "write",
            Self::Onwards(Reason::NoSpace) => kind != "write" && needs_room(),
        }
    }

    /// Returns whether it is tried at the point of this number where not all are: a kill at every one, and each reason at
    /// every one either once or onwards.
    pub(crate) fn is_sampled_at(self, place: usize, kind: &str) -> bool {
        match self {
            Self::Kill => true,
            Self::Once(reason) => place.is_multiple_of(2) || !Self::Onwards(reason).fits(kind),
            Self::Onwards(_) => !place.is_multiple_of(2),
        }
    }

    /// Returns what `strace` is told to do at the call of this number.
    pub(crate) fn injection(self, kind: &str, number: usize) -> String {
        match self {
            Self::Kill => format!("inject={kind}:signal=KILL:when={number}"),
            Self::Once(reason) => format!("inject={kind}:error={}:when={number}", reason.name()),
            Self::Onwards(reason) => format!("inject={kind}:error={}:when={number}+", reason.name()),
        }
    }
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => formatter.write_str("SIGKILL"),
            Self::Once(reason) => write!(formatter, "{}", reason.name()),
            Self::Onwards(reason) => write!(formatter, "{}+", reason.name()),
        }
    }
}
