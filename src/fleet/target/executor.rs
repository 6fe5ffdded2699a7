//! What can be done with a workspace, whatever its kind.
//!
//! *Invariant:* a change counts only when it was read back.
//! *Not for:* choosing the implementation: see [`super::Target`].

use std::fmt;

use futures_util::future::BoxFuture;

use super::{ChangeReport, ChangeRequest, Snapshot, TargetError};
use crate::{
    diagnostic::Obstacle,
    model::{PluginId, Presence},
};

/// What can be done with a workspace. Folders and servers implement it.
pub(crate) trait Executor: fmt::Debug + Send + Sync {
    /// Reads everything that is installed. A folder that does not exist yet is empty if it `may_be_missing`.
    fn read(&self, may_be_missing: bool) -> BoxFuture<'_, Result<Snapshot, TargetError>>;

    /// Reads everything that is installed, and not the version of Grafana.
    fn read_plugins(&self) -> BoxFuture<'_, Result<Snapshot, TargetError>> {
        self.read(true)
    }

    /// Reads what is in the place of one plugin, whether [`Executor::read`] lists it or not: a token with few rights sees an
    /// incomplete list (protocol page 5.3).
    fn presence<'a>(&'a self, plugin: &'a PluginId) -> BoxFuture<'a, Result<Presence, TargetError>>;

    /// Changes one plugin from what is expected to what is wanted, and reads back its outcome. What is neither expected
    /// nor wanted is left alone.
    fn change<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport>;

    /// Reads the outcome of a change that was under way when its process ended; changes nothing. [`Outcome::Unchanged`](crate::fleet::Outcome::Unchanged) means
    /// that it had no effect: what was there before still is.
    fn confirm<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport>;

    /// Checks whether plugins may be changed here. Returns a note if that cannot be determined.
    fn check_access(&self) -> BoxFuture<'_, Result<Option<String>, Obstacle>>;

    /// Repairs what killed runs left, as far as that is possible now.
    fn recover(&self) -> BoxFuture<'_, ()>;
}
