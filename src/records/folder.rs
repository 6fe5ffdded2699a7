//! Records as files below a folder, `NAME.json` each, readable by their owner alone.
//!
//! *Invariant:* a file appears with all its bytes and never replaces another, on whatever file system the folder is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Creation, RecordError, RecordFuture, RecordName, Records};
use crate::{blocking::run_blocking, disk};

/// The longest record that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// The ending of the names of files.
const ENDING: &str = ".json";

/// Records in a folder of this machine.
#[derive(Clone, Debug)]
pub struct FolderRecords {
    root: PathBuf,
}

impl FolderRecords {
    /// Makes records below `root`, which need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn folder(&self, name: &RecordName) -> PathBuf {
        name.parts().fold(self.root.clone(), |folder, part| folder.join(part))
    }

    fn file(&self, name: &RecordName) -> PathBuf {
        let mut file = self.folder(name).into_os_string();
        file.push(ENDING);
        file.into()
    }
}

impl Records for FolderRecords {
    fn create(&self, name: RecordName, document: Vec<u8>) -> RecordFuture<'_, Creation> {
        let path = self.file(&name);
        let failed = move |source| RecordError { name: name.to_string(), doing: "created", source };
        Box::pin(async move { run_blocking(move || create(&path, &document)).await.map_err(failed) })
    }

    fn read(&self, name: RecordName) -> RecordFuture<'_, Option<Vec<u8>>> {
        let path = self.file(&name);
        let failed = move |source| RecordError { name: name.to_string(), doing: "read", source };
        Box::pin(async move { run_blocking(move || read(&path)).await.map_err(failed) })
    }

    fn list(&self, name: RecordName) -> RecordFuture<'_, Vec<RecordName>> {
        let (folder, below) = (self.folder(&name), name.clone());
        let failed = move |source| RecordError { name: name.to_string(), doing: "listed", source };
        Box::pin(async move {
            let listed = run_blocking(move || {
                let mut names = Vec::new();
                list(&folder, &below, &mut names).map(|()| names)
            });
            let mut names = listed.await.map_err(failed)?;
            names.sort();
            Ok(names)
        })
    }
}

fn create(path: &Path, document: &[u8]) -> io::Result<Creation> {
    disk::create_dirs(disk::folder_of(path))?;
    match disk::create_atomic(path, document, 0o600) {
        Ok(()) => Ok(Creation::Created),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Creation::Exists),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk::read_regular(path, MAX_BYTES) {
        Ok(document) => Ok(Some(document)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names of other programs' files, and of those that are not complete, are no records.
fn list(folder: &Path, name: &RecordName, names: &mut Vec<RecordName>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(found) = entry.file_name().into_string() else { continue };
        if found.starts_with('.') {
            continue;
        }
        let kind = entry.file_type()?;
        match found.strip_suffix(ENDING) {
            _ if kind.is_dir() => list(&entry.path(), &name.join(&found), names)?,
            Some(found) if kind.is_file() => names.push(name.join(found)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn of_many_who_create_a_record_one_does_and_all_read_its_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let records: Arc<dyn Records> = Arc::new(FolderRecords::new(folder.path().join("r")));
        let name = RecordName::new(["a", "b"]);
        let creating = (0..16).map(|who: u8| {
            let (records, name) = (Arc::clone(&records), name.clone());
            async move { (who, records.create(name, vec![who]).await.expect("asked")) }
        });
        let outcomes = futures_util::future::join_all(creating).await;
        let winners: Vec<_> = outcomes.iter().filter(|(_, creation)| *creation == Creation::Created).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(records.read(name).await.expect("read"), Some(vec![winners[0].0]));
        let mode = fs::metadata(folder.path().join("r/a/b.json")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_list_has_what_is_below_a_name_and_nothing_of_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = FolderRecords::new(folder.path().to_path_buf());
        assert!(records.list(RecordName::new(["a"])).await.expect("listed").is_empty());
        assert_eq!(records.read(RecordName::new(["a", "1"])).await.expect("read"), None);
        for name in [["a", "2"], ["a", "1"], ["b", "1"]] {
            records.create(RecordName::new(name), b"{}".to_vec()).await.expect("created");
        }
        disk::write_atomic(&folder.path().join("a/.plugport-x.json"), b"", 0o600).expect("written");
        disk::write_atomic(&folder.path().join("a/notes.txt"), b"", 0o600).expect("written");
        let names = records.list(RecordName::new(["a"])).await.expect("listed");
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/1", "a/2"]);
    }
}
