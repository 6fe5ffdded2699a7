//! Adopts workspaces as they are: the installed plugins become the manifest and the lock.
//!
//! *Invariant:* no workspace is changed; entries of the manifest are replaced, and incompletely read workspaces are written,
//! only on request.
//! *Not for:* choosing versions: the lock gets the installed ones.

mod data_sources;
mod error;
mod files;
mod grouping;
mod locking;
mod merge;
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;

pub(crate) use data_sources::AdoptedDataSource;
pub(crate) use error::AdoptError;
pub(crate) use merge::ManifestDifference;
pub(crate) use reading::{Outlier, Spread, SuspectPlugin, WorkspaceToAdopt, read_workspaces};

use crate::{
    diagnostic::Kind,
    fleet::manifest::Ensure,
    index::Index,
    lockfile::{Lock, LockDifference, LockReason, LockedWorkspace},
    model::{PluginId, PluginVersion, WorkspaceName},
    ops::{
        locking::{CatalogReader, Undigested, lock_path, read_lock},
        manifest_draft::{Draft, EntryGroup},
        target::Unread,
        text_file::read_text,
    },
};
use locking::lock_workspace;
use merge::Claims;

/// How to adopt.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdoptOptions {
    /// The manifest to write; `None` for the one that was read.
    pub out: Option<PathBuf>,
    /// Whether entries that contradict the installed plugins are replaced.
    pub force: bool,
    /// Whether the files are written although a workspace was read incompletely or not at all.
    pub partial: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// A workspace with its installed plugins.
#[derive(Debug, Serialize)]
pub(crate) struct AdoptedWorkspace {
    /// The name.
    pub name: WorkspaceName,
    /// The plugins.
    pub plugins: Vec<AdoptedPlugin>,
    /// Why it could not be read.
    #[serde(flatten)]
    pub unread: Option<Unread>,
    /// Why some plugins are missing from what was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
    /// The warnings from reading it.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

/// An installed plugin.
#[derive(Debug, Serialize)]
pub(crate) struct AdoptedPlugin {
    /// The plugin.
    pub id: PluginId,
    /// The version; `None` if it cannot be read: then it is not locked.
    pub version: Option<PluginVersion>,
    /// Why it is there.
    pub reason: String,
}

/// The two new files as text.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    /// The manifest.
    pub manifest: String,
    /// The lock.
    pub lock: String,
}

/// The result of an adoption.
#[derive(Debug, Serialize)]
pub(crate) struct AdoptOutcome {
    /// The manifest.
    pub manifest: PathBuf,
    /// The lock.
    pub lock: PathBuf,
    /// The workspaces.
    pub workspaces: Vec<AdoptedWorkspace>,
    /// The entries of the manifest that select them.
    pub groups: Vec<EntryGroup>,
    /// Workspaces with another version of a plugin than most.
    pub outliers: Vec<Outlier>,
    /// Plugins that fewer than half of the workspaces have.
    pub rare: Vec<Spread>,
    /// Plugins that the catalog does not have.
    pub unknown: Vec<Spread>,
    /// Versions that are locked without a digest, because the catalog has none.
    pub undigested: Vec<Undigested>,
    /// Plugins that a workspace does not trust or does not load.
    pub doubts: Vec<SuspectPlugin>,
    /// Entries of the manifest that contradict the installed plugins.
    pub differences: Vec<ManifestDifference>,
    /// The data sources that are taken over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_sources: Vec<AdoptedDataSource>,
    /// Data sources that cannot be taken over, and why.
    #[serde(skip)]
    pub left_out: Vec<String>,
    /// The differences from the previous lock.
    #[serde(skip)]
    pub lock_differences: Vec<LockDifference>,
    /// The new files; only in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// Whether nothing prevents the files from being written.
    #[serde(skip)]
    pub allowed: bool,
    /// Whether a file was written; `false` if both are up to date.
    pub written: bool,
}

impl AdoptOutcome {
    /// Returns whether a workspace was read incompletely or not at all.
    pub(crate) fn is_partial(&self) -> bool {
        self.workspaces.iter().any(|workspace| workspace.unread.is_some() || workspace.gap.is_some())
    }

    /// Returns the kind of failure: an incomplete result is one whether it was written or not; a refusal is a failure.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let failed = self.workspaces.iter().filter_map(|workspace| Some(workspace.unread.as_ref()?.kind));
        if failed.clone().count() == self.workspaces.len() {
            return failed.into_iter().next();
        }
        if self.is_partial() { Some(Kind::Partly) } else { (!self.allowed).then_some(Kind::Failed) }
    }
}

/// Adopts workspaces that were read.
pub(crate) fn adopt(
    index: &Index,
    draft: &Draft,
    workspaces_read: &[WorkspaceToAdopt],
    options: &AdoptOptions,
) -> Result<AdoptOutcome, AdoptError> {
    let manifest = options.out.clone().unwrap_or_else(|| draft.path().to_owned());
    let lock = lock_path(&manifest);
    if lock == manifest {
        return Err(AdoptError::OneFile { path: manifest });
    }
    let former = read_lock(&lock)?;
    let found = find(index, draft, workspaces_read, former.as_ref().unwrap_or(&Lock::default()))?;
    let (edits, differences) = merge::edits(draft.manifest(), &found.claims);
    let sources = data_sources::adopt(draft.manifest(), workspaces_read);
    let tables = sources.added.iter().map(AdoptedDataSource::table).collect();
    let new = draft.with(edits)?.with_data_sources(tables)?;
    let new = Draft::from_text(&manifest, new.text().to_owned())?;
    check(draft, &new, &found.claims)?;
    let mut outcome = found.outcome(&new, workspaces_read);
    let is_complete = options.partial || !outcome.is_partial();
    outcome.allowed = (options.force || differences.is_empty()) && is_complete && !found.claims.read.is_empty();
    outcome.lock_differences = former.map(|former| former.differences(&found.lock)).unwrap_or_default();
    outcome.differences = differences;
    (outcome.data_sources, outcome.left_out) = (sources.added, sources.left_out);
    let lock_text = found.lock.to_text();
    if outcome.allowed && options.dry_run {
        outcome.contents = Some(Contents { manifest: new.text().to_owned(), lock: lock_text });
    } else if outcome.allowed {
        let is_another = options.out.as_ref().is_some_and(|out| !is_same(out, draft.path()));
        if is_another && !options.force && read_text(&manifest)?.is_some_and(|there| there != new.text()) {
            return Err(AdoptError::Exists { path: manifest });
        }
        outcome.written = files::write((&manifest, new.text()), (&lock, &lock_text))?;
    }
    Ok(outcome)
}

fn is_same(left: &Path, right: &Path) -> bool {
    left == right || matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

/// Checks that the edited text describes the same fleet and the installed plugins.
fn check(old: &Draft, new: &Draft, claims: &Claims) -> Result<(), AdoptError> {
    let (before, after) = (old.manifest(), new.manifest());
    let same = before.workspaces() == after.workspaces()
        && before.catalog() == after.catalog()
        && before.trust() == after.trust()
        && before.rollout() == after.rollout();
    let (edits, differences) = merge::edits(after, claims);
    if same && differences.is_empty() && edits.iter().all(|edit| edit.added.is_empty()) {
        return Ok(());
    }
    Err(AdoptError::Meaning { path: new.path().to_owned() })
}

/// What was read, and the changes that follow from it.
struct Adoption {
    claims: Claims,
    lock: Lock,
    reasons: BTreeMap<WorkspaceName, BTreeMap<PluginId, LockReason>>,
    unknown: BTreeSet<PluginId>,
    undigested: Vec<Undigested>,
}

fn find(
    index: &Index,
    draft: &Draft,
    workspaces_read: &[WorkspaceToAdopt],
    former: &Lock,
) -> Result<Adoption, AdoptError> {
    let _snapshot = index.snapshot()?;
    let mut catalog = CatalogReader::new(index);
    let (mut claims, mut reasons, mut unknown) = (Claims::default(), BTreeMap::new(), BTreeSet::new());
    let mut workspaces: BTreeMap<WorkspaceName, LockedWorkspace> = former.workspaces.clone();
    for workspace in workspaces_read {
        let Ok(state) = &workspace.state else { continue };
        let own = reading::reasons(state, &asked(draft, &workspace.name));
        workspaces.insert(workspace.name.clone(), lock_workspace(&mut catalog, workspace, state, &own, former)?);
        claims.read.insert(workspace.name.clone());
        for plugin in state.plugins.values() {
            if !catalog.has(&plugin.id)? {
                unknown.insert(plugin.id.clone());
            }
            let (id, name) = (plugin.id.clone(), workspace.name.clone());
            match (&plugin.version, own.get(&plugin.id)) {
                (None, _) => drop(claims.unclear.insert((id, name))),
                (_, Some(LockReason::NeededBy(_))) => {}
                (Some(version), _) => drop(claims.members.entry(id).or_default().insert(name, version.clone())),
            }
        }
        reasons.insert(workspace.name.clone(), own);
    }
    let lock = Lock { catalog: catalog.snapshot()?, workspaces };
    Ok(Adoption { claims, lock, reasons, unknown, undigested: catalog.undigested.into_iter().collect() })
}

/// Returns the plugins that the manifest requests on a workspace.
fn asked(draft: &Draft, name: &WorkspaceName) -> BTreeSet<PluginId> {
    let Ok(workspace) = draft.manifest().workspace(name) else { return BTreeSet::new() };
    let wishes = draft.manifest().plugins().iter();
    let present = wishes.filter(|wish| wish.ensure == Ensure::Present && workspace.is_selected_by(&wish.on));
    present.map(|wish| wish.id.clone()).collect()
}

impl Adoption {
    fn outcome(&self, new: &Draft, workspaces_read: &[WorkspaceToAdopt]) -> AdoptOutcome {
        let spread = reading::spread(workspaces_read);
        let of = |(id, versions): (&PluginId, &BTreeMap<WorkspaceName, _>)| Spread {
            plugin: id.clone(),
            workspaces: versions.keys().cloned().collect(),
        };
        let is_rare = |versions: &BTreeMap<_, _>| 2 * versions.len() < self.claims.read.len();
        AdoptOutcome {
            manifest: new.path().to_owned(),
            lock: lock_path(new.path()),
            workspaces: workspaces_read.iter().map(|workspace| self.workspace(workspace)).collect(),
            groups: self.groups(new),
            outliers: spread.iter().flat_map(|(id, versions)| reading::outliers(id, versions)).collect(),
            rare: spread.iter().filter(|(_, versions)| is_rare(versions)).map(of).collect(),
            unknown: spread.iter().filter(|(id, _)| self.unknown.contains(*id)).map(of).collect(),
            undigested: self.undigested.clone(),
            doubts: workspaces_read.iter().flat_map(reading::doubts).collect(),
            differences: Vec::new(),
            data_sources: Vec::new(),
            left_out: Vec::new(),
            lock_differences: Vec::new(),
            contents: None,
            allowed: false,
            written: false,
        }
    }

    fn groups(&self, new: &Draft) -> Vec<EntryGroup> {
        let read = new.manifest().workspaces().iter().filter(|workspace| self.claims.read.contains(workspace.name()));
        let read: Vec<_> = read.collect();
        let about = new.manifest().plugins().iter().filter(|wish| {
            self.claims.members.contains_key(&wish.id)
                && read.iter().any(|workspace| workspace.is_selected_by(&wish.on))
        });
        let present = about.filter(|wish| wish.ensure == Ensure::Present);
        let group = |wish: &crate::fleet::manifest::Wish| EntryGroup {
            plugin: wish.id.clone(),
            version: wish.version.clone(),
            on: wish.on.clone(),
            ensure: wish.ensure,
        };
        present.map(group).collect()
    }

    fn workspace(&self, workspace: &WorkspaceToAdopt) -> AdoptedWorkspace {
        let reasons = self.reasons.get(&workspace.name);
        let plugin = |plugin: &crate::ops::target::InstalledPlugin| AdoptedPlugin {
            id: plugin.id.clone(),
            version: plugin.version.clone(),
            reason: reasons.and_then(|reasons| reasons.get(&plugin.id)).unwrap_or(&LockReason::Adopted).to_string(),
        };
        let mut remarks = workspace.state.as_ref().map(|state| state.remarks.clone()).unwrap_or_default();
        remarks.extend(workspace.remark.clone());
        let unclear = workspace.plugins().filter(|plugin| plugin.version.is_none());
        remarks.extend(unclear.map(|plugin| format!("{} has no version that can be read and is left out", plugin.id)));
        AdoptedWorkspace {
            name: workspace.name.clone(),
            plugins: workspace.plugins().map(plugin).collect(),
            unread: workspace.state.as_ref().err().map(Unread::from),
            gap: workspace.gap.clone(),
            remarks,
        }
    }
}
