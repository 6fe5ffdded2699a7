//! Where everything of a run lies: catalogs, the states that points start from, and a folder for each point.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

/// The folder of a run, in memory where the machine has such a file system: nothing here is about power cuts.
#[derive(Debug)]
pub(crate) struct Ground {
    root: TempDir,
    places: Arc<AtomicUsize>,
}

/// A folder in which the program runs once or twice: `cache/`, `plugins/` and a manifest.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    is_kept: bool,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { root: root.or_else(|_| tempfile::tempdir()).expect("a temporary folder"), places: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns a new place like `template`, or an empty one.
    pub(crate) fn place(&self, template: Option<&Path>) -> Place {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let path = self.path().join(format!("place-{number}"));
        match template {
            Some(template) => copy(template, &path),
            None => fs::create_dir(&path).expect("the ground can be written to"),
        }
        Place { path, is_kept: false }
    }
}

impl Place {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.path.join(path), text);
    }

    /// Lets the folder stay until the run ends.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            // The whole ground goes at the end, whatever is left of a place now.
            let _gone = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a file, and the folders above it.
pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("it is below the ground")).expect("the ground can be written to");
    fs::write(path, text).expect("the ground can be written to");
}

/// Copies a folder with the modes of its files.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the ground can be written to");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
            let mode = fs::metadata(&path).expect("it is there").permissions();
            fs::set_permissions(&target, mode).expect("it is ours");
        } else {
            fs::copy(&path, &target).expect("the ground can be written to");
        }
    }
}
