//! Copies what no sync brings back into one file, and takes it over from there: pins, accepted alerts, provenance, channels,
//! private plugins with their packages, and the journal of rollouts with what it saved.
//!
//! *Invariant:* restoring changes nothing that is known already, and nothing at all where the two contradict each other.
//! Packages are stored before the index lists them; the index changes in one transaction, then the journal in another. A
//! restore that was killed is run again, and takes over what is left.
//! *Not for:* packages of catalogs, which are fetched again, or `plugport.toml` and the lock, which are the user's files.

mod container;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use self::container::{BackupWriter, ListedFile, OpenedBackup};
use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::{AbsorbError, Absorbed, Blob, Index, IndexError},
    journal::{Journal, JournalError},
    model::Sha256Digest,
    ops::{
        Context, blocking,
        private::{SOURCE, is_private},
        stored_packages::read_verified,
    },
    records::{RecordError, RecordName},
    store::StoreError,
    verifier::{Received, VerifyError, verify_archive},
};

/// The names of files in a backup; packages and records have a name below theirs.
const INDEX: &str = "index.sqlite";
const JOURNAL: &str = "rollouts.sqlite";
const RECORDS: &str = "rollouts/";
const PACKAGES: &str = "packages/";

/// Nothing was backed up or restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The backup cannot be written.
    #[error("the backup `{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The backup cannot be read.
    #[error("the backup `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{}` is not a backup", .0.display())]
    NoBackup(PathBuf),
    /// A newer program wrote it.
    #[error("the backup `{}` has the version {}, and this program reads version 1", path.display(), version.escape_debug())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Its bytes are not those that were written.
    #[error("the backup `{}` is damaged: its bytes do not have the digests that it names", .0.display())]
    Damaged(PathBuf),
    /// The cache contradicts it.
    #[error("nothing was restored, since the backup contradicts the cache: {}", .0.join("; "))]
    Conflicts(Vec<String>),
    /// The cache cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What rollouts saved cannot be used.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A private package is not what was published.
    #[error("a private package is refused")]
    Package(#[from] VerifyError),
}

diagnose!(BackupError {
    forward Home, Index, Journal, Records, Store, Package;
    Write => Kind::Storage;
    Read { source } if source.kind() == io::ErrorKind::NotFound => Kind::Usage;
    Read => Kind::Storage;
    NoBackup => Kind::Usage, "`plugport backup FILE` writes one";
    Newer => Kind::Usage, "use the plugport that wrote it, or a newer one";
    Damaged => Kind::Integrity, "use another copy of the backup";
    Conflicts => Kind::Integrity,
        "find out which of the two is right; into an empty cache (`--cache DIR`) everything is restored";
});

impl From<AbsorbError> for BackupError {
    fn from(error: AbsorbError) -> Self {
        match error {
            AbsorbError::Index(error) => Self::Index(error),
            AbsorbError::Conflicts(conflicts) => Self::Conflicts(conflicts),
        }
    }
}

/// What a backup has.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct BackupOutcome {
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The packages of private plugins.
    pub packages: usize,
    /// The rollouts in the journal.
    pub rollouts: usize,
}

/// What was restored; what was known already does not count.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RestoreOutcome {
    /// Plugins that the catalog did not have.
    pub plugins: usize,
    /// Pins of packages that had none.
    pub pins: usize,
    /// Alerts, and their acceptance.
    pub alerts: usize,
    /// Entries of the provenance log.
    pub provenance: usize,
    /// Channels.
    pub channels: usize,
    /// Packages of private plugins.
    pub packages: usize,
    /// Rollouts in the journal.
    pub rollouts: usize,
}

/// Writes a backup of the cache to `path`, in place of what is there.
pub(crate) async fn backup(context: &Context, path: &Path) -> Result<BackupOutcome, BackupError> {
    let _lock = context.lock().await?;
    let mut writer = BackupWriter::default();
    let read = |index: &Index| Ok::<_, IndexError>((index.image()?, private_packages(index)?));
    let (image, private) = context.index().proven(read).await?;
    writer.add(INDEX.to_owned(), image);
    let this = context.clone();
    let (rollouts, image) = blocking(move || {
        let Some(journal) = Journal::open_existing(&this.home.journal_path())? else { return Ok((0, None)) };
        Ok::<_, BackupError>((journal.list()?.len(), Some(journal.image()?)))
    })
    .await?;
    if let Some(image) = image {
        writer.add(JOURNAL.to_owned(), image);
    }
    for name in context.records().list(RecordName::new([])).await? {
        if let Some(document) = context.records().read(name.clone()).await? {
            writer.add(format!("{RECORDS}{name}"), document);
        }
    }
    let (this, path) = (context.clone(), path.to_owned());
    blocking(move || {
        let packages = private.len();
        for blob in private {
            let mut package = read_verified(&this, &blob)?;
            let name = format!("{PACKAGES}{}", blob.sha256);
            let failed = |source| BackupError::Write { path: path.clone(), source };
            let file = package.file().0.try_clone().map_err(failed)?;
            writer.add_file(ListedFile { name, size: blob.size, sha256: blob.sha256 }, file).map_err(failed)?;
        }
        Ok(BackupOutcome { bytes: writer.write(&path)?, packages, rollouts })
    })
    .await
}

/// Returns the packages of private plugins, each digest once.
fn private_packages(index: &Index) -> Result<Vec<Blob>, IndexError> {
    let mut packages: Vec<Blob> = Vec::new();
    for (id, _) in index.plugin_numbers()? {
        if index.plugin(&id)?.is_none_or(|plugin| plugin.source != SOURCE) {
            continue;
        }
        let releases = index.releases(&id)?;
        let own = |blob: &Blob| {
            releases.iter().any(|one| one.release.version == blob.version && is_private(&one.release.raw))
        };
        packages.extend(index.blobs_of(&id)?.into_iter().filter(own));
    }
    packages.sort_by_key(|blob| blob.sha256);
    packages.dedup_by_key(|blob| blob.sha256);
    Ok(packages)
}

/// Takes over what the backup at `path` has and the cache has not.
pub(crate) async fn restore(context: &Context, path: &Path) -> Result<RestoreOutcome, BackupError> {
    let _lock = context.lock().await?;
    let (this, from) = (context.clone(), path.to_owned());
    let backup = blocking(move || OpenedBackup::read(&from, this.home.root())).await?;
    let index = backup.find(INDEX).ok_or_else(|| BackupError::Damaged(path.to_owned()))?;
    // What contradicts the cache is found before anything is changed.
    let stored = restore_packages(context, &backup).await?;
    let writer = context.index().create_writer().await?;
    let now = context.now();
    let absorb = move |index_here: &mut Index| index_here.absorb(&index, (&stored, SOURCE), now);
    let absorbed = writer.run(absorb).await;
    writer.close().await;
    let Absorbed { plugins, pins, alerts, provenance, channels, packages } = absorbed?;
    let rollouts = restore_rollouts(context, &backup).await?;
    Ok(RestoreOutcome { plugins, pins, alerts, provenance, channels, packages, rollouts })
}

/// Stores the packages of a backup; nothing lists them yet.
async fn restore_packages(context: &Context, backup: &OpenedBackup) -> Result<Vec<Sha256Digest>, BackupError> {
    let mut stored = Vec::new();
    for (number, listed) in backup.files.iter().enumerate() {
        if !listed.name.starts_with(PACKAGES) {
            continue;
        }
        let (this, from) = (context.clone(), backup.path(number));
        let verified = blocking(move || {
            let failed = |source| BackupError::Read { path: from.clone(), source };
            let mut copy = this.folder_store().downloads().temporary_file()?;
            io::copy(&mut File::open(&from).map_err(failed)?, &mut copy).map_err(failed)?;
            let (file, kept) = copy.keep().map_err(|error| failed(error.error))?;
            let received = Received::read(file, kept).map_err(failed)?;
            Ok::<_, BackupError>(verify_archive(received, None, None, &this.limits)?)
        })
        .await?;
        context.store().insert(verified).await?;
        stored.push(listed.sha256);
    }
    Ok(stored)
}

/// Takes over what rollouts saved, then the rollouts that the journal does not have; returns how many those are.
async fn restore_rollouts(context: &Context, backup: &OpenedBackup) -> Result<usize, BackupError> {
    let (this, now) = (context.clone(), context.now());
    let _lock = blocking(move || this.home.lock_rollouts(&this.command, now)).await?;
    for (number, listed) in backup.files.iter().enumerate() {
        let Some(name) = listed.name.strip_prefix(RECORDS) else { continue };
        let path = backup.path(number);
        let document = blocking(move || std::fs::read(&path).map_err(|source| BackupError::Read { path, source }));
        // One that is there is the same, or of a rollout that is there too.
        context.records().create(RecordName::new(name.split('/')), document.await?).await?;
    }
    let Some(from) = backup.find(JOURNAL) else { return Ok(0) };
    let this = context.clone();
    blocking(move || Ok(Journal::open(&this.home.journal_path())?.absorb(&from)?)).await
}
