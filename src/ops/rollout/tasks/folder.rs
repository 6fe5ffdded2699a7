//! Steps on a plugins folder, forth and back.
//!
//! *Invariant:* what is there is compared under the lock of the folder, and under that same lock it is changed.
//! *Not for:* unpacking and exchanging folders: the same code as for `install` and `uninstall` does that.

use std::path::{Path, PathBuf};

use super::{
    Known, Worker,
    fault::{Causes, fault},
    former::Occupant,
    server::{former, no_way_back},
};
use crate::{
    fleet::directory::{DirectoryError, FolderLock, PluginsFolder},
    model::PluginId,
    ops::{
        Context, blocking,
        install::{self, StepError},
        remove,
    },
    rollout::{Action, Cause, Fault, TaskResult, Verb},
    upstream::PackageName,
};

/// What is wanted of a plugin in a folder.
struct Wish {
    /// What must be there; nothing where that does not matter.
    expected: Option<Occupant>,
    wanted: Occupant,
    /// Whether it is put in place again where it is there already.
    again: bool,
}

/// A change of one plugin in a folder.
struct Change {
    context: Context,
    path: PathBuf,
    plugin: PluginId,
    package: Option<PackageName>,
    wish: Wish,
}

impl Worker {
    /// Carries out an action.
    pub(super) async fn forward_in(&self, path: &Path, action: &Action) -> TaskResult {
        let wish = Wish {
            expected: (action.action != Verb::Hold).then(|| former(action)),
            wanted: Occupant::of(action.to.as_ref()),
            again: action.action == Verb::Reinstall,
        };
        self.change_in(path, &action.plugin, wish).await
    }

    /// Puts back what was there before.
    pub(super) async fn back_in(&self, path: &Path, action: &Action, known: &Known) -> TaskResult {
        match known.way_back(action) {
            Err(fault) => TaskResult::Failed(fault),
            Ok(way) if way.target == Occupant::Something => TaskResult::Failed(no_way_back()),
            Ok(way) => {
                let expected = (!way.is_any).then_some(way.left.unwrap_or(way.planned));
                self.change_in(path, &action.plugin, Wish { expected, wanted: way.target, again: false }).await
            }
        }
    }

    async fn change_in(&self, path: &Path, plugin: &PluginId, wish: Wish) -> TaskResult {
        let package = match &wish.wanted {
            Occupant::Version(version) => self.package(plugin, version),
            _ => None,
        };
        let (context, path, plugin) = (self.context.clone(), path.to_path_buf(), plugin.clone());
        let change = Change { context, path, plugin, package, wish };
        blocking(move || change.make().unwrap_or_else(TaskResult::Failed)).await
    }

    /// Finds out whether a step took effect: a folder is wholly old or wholly new.
    pub(super) async fn settle_in(&self, path: &Path, action: &Action) -> TaskResult {
        let (after, before) = (Occupant::of(action.to.as_ref()), former(action));
        // A reinstallation leads to what is there already, so it is made again.
        let is_again = action.action == Verb::Reinstall;
        match found(path, &action.plugin).await {
            Err(fault) => TaskResult::Unknown(fault),
            Ok(found) if found.is_same(&after) && !is_again => {
                TaskResult::Done { before: before.written(), note: None }
            }
            Ok(found) if found.is_same(&before) || action.action == Verb::Hold => TaskResult::NotDone,
            Ok(found) => TaskResult::Failed(drifted(&before, &found)),
        }
    }

    /// Finds out whether taking a step back took effect.
    pub(super) async fn settle_back_in(&self, path: &Path, action: &Action, known: &Known) -> TaskResult {
        let way = match known.way_back(action) {
            Ok(way) => way,
            Err(fault) => return TaskResult::Failed(fault),
        };
        let before = way.left.unwrap_or(way.planned);
        match found(path, &action.plugin).await {
            Err(fault) => TaskResult::Unknown(fault),
            Ok(found) if found.is_same(&way.target) => TaskResult::Done { before: before.written(), note: None },
            Ok(found) if found.is_same(&before) || way.is_any => TaskResult::NotDone,
            Ok(found) => TaskResult::Failed(drifted(&before, &found)),
        }
    }
}

impl Change {
    fn make(self) -> Result<TaskResult, Fault> {
        let folder = PluginsFolder::create(&self.path).map_err(|error| error.fault())?;
        let held = folder.lock().map_err(|error| error.fault())?;
        let before = occupant(&folder, &self.plugin);
        let Wish { expected, wanted, again } = &self.wish;
        if before.is_same(wanted) && !again {
            return Ok(TaskResult::Unchanged);
        }
        if let Some(expected) = expected.as_ref().filter(|expected| !expected.is_same(&before)) {
            return Err(drifted(expected, &before));
        }
        let note = match wanted {
            Occupant::Nothing => self.remove(&held)?,
            _ => self.put(&held).map_err(|error| error.fault())?,
        };
        Ok(TaskResult::Done { before: before.written(), note })
    }

    fn put(&self, held: &FolderLock<'_>) -> Result<Option<String>, StepError> {
        let placed = install::place_in(&self.context, held, &self.path, &self.plugin, self.package.as_ref())?;
        let warning = placed.warning.map(|warning| crate::diagnostic::Chain(&warning).to_string());
        let told: Vec<String> = warning.into_iter().chain(placed.note).collect();
        Ok((!told.is_empty()).then(|| told.join("; ")))
    }

    fn remove(&self, held: &FolderLock<'_>) -> Result<Option<String>, Fault> {
        let removed =
            remove::remove_in(&self.context, held, &self.path, &self.plugin).map_err(|error| error.fault())?;
        Ok(removed.1)
    }
}

fn drifted(expected: &Occupant, found: &Occupant) -> Fault {
    let (expected, found) = (expected.text(), found.text());
    let message = format!("somebody else changed the plugin meanwhile: {expected} was expected, and {found} is there");
    fault(Cause::Drift, message, Some("nothing was changed; find out who changes plugins there, then plan again"))
}

async fn found(path: &Path, plugin: &PluginId) -> Result<Occupant, Fault> {
    let (path, plugin) = (path.to_path_buf(), plugin.clone());
    blocking(move || match PluginsFolder::open(&path) {
        Err(DirectoryError::Missing(_)) => Ok(Occupant::Nothing),
        Err(error) => Err(error.fault()),
        // The lock puts right what a killed run left.
        Ok(folder) => folder.lock().map(|_| occupant(&folder, &plugin)).map_err(|error| error.fault()),
    })
    .await
}

fn occupant(folder: &PluginsFolder, plugin: &PluginId) -> Occupant {
    match folder.plugin(plugin) {
        Ok(None) => Occupant::Nothing,
        Ok(Some(Ok(found))) if found.id == *plugin => Occupant::Version(found.version),
        Ok(Some(_)) | Err(_) => Occupant::Something,
    }
}
