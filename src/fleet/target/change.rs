//! One change of one plugin: the request, what it needs from outside, and the report.
//!
//! *Invariant:* a change that finds neither what it expects nor what it wants changes nothing (fault W22).
//! *Not for:* making changes; folders and servers do that.

use std::{error::Error, fmt, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    diagnostic::{Chain, Diagnose, Diagnosis, Kind, diagnose},
    fleet::{
        WorkspaceError,
        access::AccessError,
        directory::{DirectoryError, FolderLock, Keep},
        settle::{Failure, OpenCall, Outcome, ServerPluginState},
    },
    model::{FileDigests, NoInstallRoute, PluginId, Presence},
    verifier::Verified,
};

/// What is done to one plugin.
#[derive(Clone, Debug)]
pub struct ChangeRequest {
    /// The plugin.
    pub plugin: PluginId,
    /// What is there unless somebody else changes it.
    pub before: Presence,
    /// What else may be there.
    pub expected: Expected,
    /// What must be there afterwards.
    pub wanted: Presence,
    /// Whether the files of a folder are replaced even if the version is the wanted one.
    pub replaces_same: bool,
    /// Whether an earlier attempt of the same change may still have an effect. Servers remove the old version first
    /// (protocol page 5.1), so then nothing may be there; and what it did counts as done by this attempt.
    pub is_retry: bool,
    /// Whether the files of a server are compared with the version that it shows. A server before 11.2 unpacks the
    /// dependencies of a plugin over installed ones without loading them.
    pub compares_files: bool,
    /// A call of ours that may still be at work, for [`Executor::confirm`](super::Executor::confirm).
    pub open_call: OpenCall,
    /// The source of the package.
    pub source: Arc<dyn PackageSource>,
}

/// What may be there before a change, besides [`ChangeRequest::before`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// Nothing else.
    Before,
    /// Or this.
    BeforeOr(Presence),
    /// Or this, or an older version than either: a server may have installed it with a dependent.
    BeforeOrOlder(Presence),
    /// Anything.
    Anything,
}

impl ChangeRequest {
    /// Returns the request for a change that is made whatever is there.
    pub fn unconditional(plugin: &PluginId, wanted: Presence, source: Arc<dyn PackageSource>) -> Self {
        Self {
            plugin: plugin.clone(),
            before: Presence::Unknown,
            expected: Expected::Anything,
            wanted,
            replaces_same: true,
            is_retry: false,
            compares_files: false,
            open_call: OpenCall::default(),
            source,
        }
    }

    /// Returns whether the change may be made over what `is_it` recognises.
    pub(in crate::fleet) fn accepts(&self, is_it: impl Fn(&Presence) -> bool) -> bool {
        let other = match &self.expected {
            Expected::Anything => return true,
            Expected::Before => false,
            Expected::BeforeOr(other) | Expected::BeforeOrOlder(other) => is_it(other),
        };
        other || is_it(&self.before)
    }

    /// Returns whether a server may be changed that shows this state.
    pub(in crate::fleet) fn accepts_state(&self, state: &ServerPluginState) -> bool {
        let was_removed_first = self.is_retry && *state == ServerPluginState::Absent;
        was_removed_first
            || state.satisfies(&self.wanted)
            || self.accepts(|expected| state.may_be(expected))
            || self.may_be_brought(state)
    }

    /// Returns whether a server may have installed this together with a dependent.
    pub(in crate::fleet) fn may_be_brought(&self, state: &ServerPluginState) -> bool {
        let (Expected::BeforeOrOlder(other), found) = (&self.expected, state.presence()) else { return false };
        let expected = [&self.before, other].map(Presence::version);
        found.version().is_some_and(|found| expected.into_iter().flatten().any(|one| found.cmp_precedence(one).is_lt()))
    }

    /// Returns the error for something that is neither expected nor wanted.
    pub(in crate::fleet) fn drifted(&self, found: Presence) -> ChangeError {
        ChangeError::Drifted { expected: self.before.clone(), found }
    }
}

/// What a change needs from outside of `fleet`: the package, and whether it is trusted.
pub trait PackageSource: fmt::Debug + Send + Sync {
    /// Returns why the server at `root_url` must not be asked to install the package, if it must not.
    fn permit<'a>(&'a self, root_url: &'a str) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Opens the verified package. Blocks.
    fn open(&self) -> Result<Verified, Refusal>;

    /// Evaluates the signature of a package over the digests of the files as they were unpacked; returns a warning if it is
    /// accepted all the same. Blocks.
    fn evaluate(&self, package: &Verified, files: &FileDigests) -> Result<Option<String>, Refusal>;

    /// Finds the files in the plugin's folder that the plugin did not bring. Blocks.
    fn unmanaged_files(&self, folder: &FolderLock<'_>) -> Result<UnmanagedFiles, Refusal>;
}

/// Files in a plugin's folder that the plugin did not bring.
#[derive(Debug, Default)]
pub struct UnmanagedFiles {
    /// What is kept; `None` if there are none.
    pub keep: Option<Keep>,
    /// What is reported once the change was made.
    pub note: Option<String>,
}

impl UnmanagedFiles {
    /// Returns the note, with the folder that the files were moved to.
    pub fn describe(&self, kept: Option<&PathBuf>) -> Option<String> {
        let note = self.note.as_ref()?;
        Some(kept.map_or_else(|| note.clone(), |kept| format!("{note}: kept in `{}`", kept.display())))
    }
}

/// Why a [`PackageSource`] refuses a change.
#[derive(Debug)]
pub struct Refusal(Box<dyn Diagnose + Send + Sync>);

impl Refusal {
    /// Wraps the error of a package source.
    pub fn new(error: impl Diagnose + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Diagnose for Refusal {
    fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis()
    }
}

/// Why a change failed, or why its outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The package is missing or refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The folder failed.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// The server could not be read; nothing was sent.
    #[error(transparent)]
    Server(#[from] WorkspaceError),
    /// The workspace cannot be asked at all.
    #[error(transparent)]
    Access(#[from] Arc<AccessError>),
    /// The change was sent and failed, or its outcome is unknown.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The change failed, and the server shows a third version: somebody else changed the plugin.
    #[error(transparent)]
    Overtaken(Failure),
    /// Somebody else changed the plugin; nothing was changed.
    #[error("somebody else changed the plugin in the meantime: expected {expected}, found {found}")]
    Drifted {
        /// What was expected.
        expected: Presence,
        /// What is there.
        found: Presence,
    },
    /// The server cannot change plugins over HTTP; nothing was sent.
    #[error(transparent)]
    NoInstallRoute(#[from] NoInstallRoute),
    /// The version to restore is unknown.
    #[error("the version that was there before is unknown, so it cannot be restored")]
    UnknownVersion,
    /// A server removed the old version and did not install the new one.
    #[error("{0}, which was there before, is gone")]
    Lost(Presence),
}

diagnose!(ChangeError {
    forward Refused, Folder, Server, Access, Failed, Overtaken, NoInstallRoute;
    Drifted => Kind::Failed, "nothing was changed; find out who changes plugins there, then plan again";
    UnknownVersion | Lost => Kind::Failed;
});

/// The outcome of a change.
#[derive(Debug)]
pub struct ChangeReport {
    /// Its outcome.
    pub outcome: Outcome<ChangeError>,
    /// What was there before.
    pub before: Presence,
    /// What a failed change left, if that is neither what was there before nor another's change.
    pub left: Option<Presence>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The folder that unmanaged files were moved to.
    pub kept: Option<PathBuf>,
    /// Whether a request may still take effect if the change failed.
    pub may_be_late: bool,
    /// The last error of a request, if the change failed or is unknown for another reason.
    pub last_error: Option<String>,
}

impl ChangeReport {
    /// Returns the report of a change before which things were as requested.
    pub fn new(request: &ChangeRequest, outcome: Outcome<ChangeError>) -> Self {
        let before = request.before.clone();
        Self { outcome, before, left: None, notes: Vec::new(), kept: None, may_be_late: false, last_error: None }
    }

    /// Returns the causes of the error of this report in one line.
    pub fn describe(&self, error: &ChangeError) -> String {
        let text = Chain(error).to_string();
        self.last_error.as_ref().map_or_else(|| text.clone(), |last| format!("{text} ({last})"))
    }
}
