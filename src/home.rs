//! The cache folder: where all files of this program are, and the lock for changing it.
//!
//! ```text
//! cache/
//! ├── bundles/            what bundles listed that were created here, and the state of an import, see `ops::bundle`
//! ├── index.sqlite        the catalog, and what is in the store
//! ├── index.seal          what it hashed to when its last writer was done, see `index`
//! ├── index.snapshot-N-H  a copy of it after sync N, to restore from
//! ├── keys.json           the keys that the upstream published, if they are trusted
//! ├── lock                held while something is changed
//! ├── rollouts.sqlite     the journal of rollouts, see `journal`
//! ├── rollouts.lock       held while a rollout is carried out
//! ├── rollouts/ID/        what was saved before a rollout changed it, a folder for each workspace
//! └── store/              packages, see `store`
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Kind, diagnose},
    disk,
    model::Timestamp,
};

/// Held by the process that carries out a rollout.
const ROLLOUTS_LOCK: &str = "rollouts.lock";

/// The longest file of kept keys that is read, in bytes: a longer one was not written here.
const MAX_KEYS_BYTES: u64 = 4 << 20;

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// Who holds a lock, as they wrote it down.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LockHolder {
    /// The process.
    pub pid: u32,
    /// The machine.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
    /// The command.
    pub command: String,
}

/// Whether locks can be relied on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Locking {
    /// A second handle is kept out.
    Works,
    /// A second handle is kept out, but this is a network file system.
    Network(&'static str),
    /// A second handle is let in.
    Broken,
}

/// Held while the cache is changed; gone with the process, however it ends.
#[derive(Debug)]
pub struct WriteLock {
    _file: File,
}

/// The cache folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be made or examined.
    #[error("the cache `{}` cannot be used", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Every user of the machine may write there.
    #[error("the cache `{}` may be written by every user of this machine", .0.display())]
    Exposed(PathBuf),
    /// Its file system has no locks that keep a second process out.
    #[error("the cache `{}` is on a file system without working locks", .0.display())]
    NoLocks(PathBuf),
    /// Another process changes it.
    #[error("the cache `{}` is being changed by {}", path.display(), describe(holder.as_ref()))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who, as far as they wrote it down.
        holder: Option<LockHolder>,
    },
}

fn describe(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |holder| {
            format!("`plugport {}`, process {} on {} since {}", holder.command, holder.pid, holder.host, holder.since)
        },
    )
}

diagnose!(HomeError {
    Locked => Kind::Locked, "wait until it is done, or use another folder with `--cache`";
    Unusable { path, source } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => Kind::Storage,
        format!("`{}` is on a read-only file system: name another folder with `--cache`", path.display());
    Unusable => Kind::Storage, "name a folder that you may write to with `--cache DIR` or PLUGPORT_CACHE";
    Exposed(path) => Kind::Storage, format!("run `chmod o-w {}`", path.display());
    NoLocks => Kind::Storage, "name a folder on another file system with `--cache`";
});

impl Home {
    /// Returns the cache at `root`, which need not be there yet. A link in its place is followed now, and not again.
    pub fn new(root: PathBuf) -> Self {
        Self { root: root.canonicalize().unwrap_or(root) }
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of the index.
    pub fn index_path(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }

    /// Returns the path of the store.
    pub fn store_path(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Returns the path of the journal of rollouts.
    pub fn journal_path(&self) -> PathBuf {
        self.root.join("rollouts.sqlite")
    }

    /// Returns where the files of rollouts lie.
    pub fn rollouts_path(&self) -> PathBuf {
        self.root.join("rollouts")
    }

    /// Tries whether locks keep a second handle out, with a file of its own that is gone afterwards.
    pub fn locking(&self) -> io::Result<Locking> {
        let kind = rustix::fs::statfs(&self.root)?.f_type;
        let network = NETWORKS.iter().find(|(number, _)| i128::from(kind) & 0xFFFF_FFFF == i128::from(*number));
        let probe = tempfile::Builder::new().prefix(disk::TEMPORARY).tempfile_in(&self.root)?;
        let second = probe.reopen()?;
        let works = match probe.as_file().try_lock() {
            Ok(()) => matches!(second.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        Ok(match network {
            _ if !works => Locking::Broken,
            Some((_, name)) => Locking::Network(name),
            None => Locking::Works,
        })
    }

    /// Returns the temporary files of interrupted runs, beside the index and in the store; not those of living processes.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        let (store, partial) = (self.store_path(), self.store_path().join("partial"));
        [&self.root, &store, &partial].into_iter().flat_map(|folder| disk::abandoned_files(folder)).collect()
    }

    /// Removes the temporary files of interrupted runs. What cannot be removed stays.
    pub fn sweep_temporary_files(&self) {
        for path in self.temporary_files() {
            drop(fs::remove_file(path));
        }
    }

    /// Returns the keys that were kept, where there are any; not from where anybody could have put them.
    pub fn read_keys(&self) -> Result<Option<Vec<u8>>, HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.keys_path(), source };
        let file = match disk::open_regular(&self.keys_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(unusable)?,
        };
        self.check_exposure()?;
        if file.metadata().map_err(unusable)?.mode() & 0o002 != 0 {
            return Err(HomeError::Exposed(self.keys_path()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_KEYS_BYTES).read_to_end(&mut bytes).map_err(unusable)?;
        Ok(Some(bytes))
    }

    /// Keeps keys in place of those that were kept before.
    pub fn write_keys(&self, bytes: &[u8]) -> Result<(), HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.keys_path(), source };
        disk::create_dirs(&self.root).map_err(unusable)?;
        self.check_exposure()?;
        disk::write_atomic(&self.keys_path(), bytes, 0o644).map_err(unusable)
    }

    /// Returns the folder with lists of what bundles held that were created here.
    pub fn created_bundles_path(&self) -> PathBuf {
        self.root.join("bundles")
    }

    fn keys_path(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    fn check_exposure(&self) -> Result<(), HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.root.clone(), source };
        let exposed = self.root.metadata().map_err(unusable)?.mode() & 0o002 != 0;
        if exposed { Err(HomeError::Exposed(self.root.clone())) } else { Ok(()) }
    }

    /// Makes the folder where it is missing, and takes the lock for `command`; does not wait.
    pub fn lock(&self, command: &str, now: Timestamp) -> Result<WriteLock, HomeError> {
        let held = self.hold("lock", command, now)?;
        self.sweep_temporary_files();
        Ok(held)
    }

    /// Creates the folder if it is missing, and takes the lock for carrying out a rollout; does not wait.
    pub fn lock_rollouts(&self, command: &str, now: Timestamp) -> Result<WriteLock, HomeError> {
        self.hold(ROLLOUTS_LOCK, command, now)
    }

    /// Returns whether some process on this machine carries a rollout out, as far as locks tell.
    pub fn is_rollout_under_way(&self) -> bool {
        let Ok(file) = File::open(self.root.join(ROLLOUTS_LOCK)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    fn hold(&self, name: &str, command: &str, now: Timestamp) -> Result<WriteLock, HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.root.clone(), source };
        disk::create_dirs(&self.root).map_err(unusable)?;
        self.check_exposure()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(self.root.join(name)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::Locked { path: self.root.clone(), holder: read_holder(&mut file) });
            }
            Err(TryLockError::Error(source)) if is_without_locks(&source) => {
                return Err(HomeError::NoLocks(self.root.clone()));
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let second = File::open(self.root.join(name)).map_err(unusable)?;
        if second.try_lock().is_ok() {
            return Err(HomeError::NoLocks(self.root.clone()));
        }
        // Only for the message that others see: the lock holds without it.
        drop(write_holder(&mut file, command, now));
        Ok(WriteLock { _file: file })
    }
}

/// Returns whether locking failed because there are no locks (flock(2), fcntl(2)).
fn is_without_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::NOLCK | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP))
}

/// Network file systems by their numbers (statfs(2)), on which locks and shared memory do not reach other machines.
const NETWORKS: &[(u64, &str)] =
    &[(0x6969, "NFS"), (0x517B, "SMB"), (0xFE53_4D42, "SMB2"), (0xFF53_4D42, "CIFS"), (0x0102_1997, "9P")];

fn read_holder(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, command: &str, now: Timestamp) -> io::Result<()> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = LockHolder { pid: std::process::id(), host, since: now, command: command.to_owned() };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(&holder)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::diagnostic::Diagnose as _;

    const NOW: Timestamp = Timestamp::from_milliseconds(1_741_082_400_000);

    #[test]
    fn the_second_process_hears_who_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path().join("new/cache"));
        let held = home.lock("sync", NOW).expect("free");
        let error = home.lock("fetch", NOW).expect_err("taken");
        assert!(error.to_string().contains("`plugport sync`, process"), "{error}");
        assert_eq!(error.kind(), Kind::Locked);
        drop(held);
        home.lock("fetch", NOW).expect("free again");
    }

    #[test]
    fn a_cache_that_everyone_may_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
        let error = Home::new(folder.path().to_path_buf()).lock("sync", NOW).expect_err("exposed");
        assert!(matches!(error, HomeError::Exposed(_)));
    }

    #[test]
    fn keys_are_not_read_from_where_anybody_may_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path().join("cache"));
        assert_eq!(home.read_keys().expect("none yet"), None);
        home.write_keys(b"{}").expect("kept");
        assert_eq!(home.read_keys().expect("kept").as_deref(), Some(&b"{}"[..]));
        for path in [home.root().to_path_buf(), home.root().join("keys.json")] {
            let before = fs::metadata(&path).expect("there").permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("set");
            assert!(matches!(home.read_keys(), Err(HomeError::Exposed(_))), "{path:?}");
            fs::set_permissions(&path, before).expect("set");
        }
    }
}
