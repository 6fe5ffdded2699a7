//! The files of a plugin that is installed in a folder, as a signature lists them (protocol page 6.4).
//!
//! *Invariant:* no link is followed below the folder, and everything in it is either hashed or listed as foreign.
//! *Not for:* what the files should be.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;

use super::{
    ArchiveLimits, CompareError, PLUGIN_FOLDERS,
    compare::{DEEPEST, digest},
    folder::{open_file, open_folder},
};
use crate::model::{FileDigests, RelPath};

/// The manifest of a signed plugin.
const MANIFEST: &str = "MANIFEST.txt";

/// The content of the folder that holds a plugin.json.
#[derive(Debug, Default)]
pub(crate) struct InstalledFiles {
    /// The regular files by their path below that folder; the manifest itself is among them.
    pub files: FileDigests,
    /// What is no regular file, or has a name that no file of a package may have.
    pub foreign: Vec<PathBuf>,
    /// The first 4 MiB and one byte of the manifest, if there is one.
    pub manifest: Option<Vec<u8>>,
    /// The folder of plugin.json itself.
    pub folder: Option<Dir>,
}

/// Returns the files of the plugin that is installed in `folder`, below the folder that holds its plugin.json; nothing
/// where there is no plugin.json.
pub(crate) fn installed_files(folder: &Dir) -> Result<InstalledFiles, CompareError> {
    let mut found = InstalledFiles::default();
    for part in PLUGIN_FOLDERS {
        let failed = |source| CompareError { path: PathBuf::from(part), source };
        let root = match open_folder(folder, if part.is_empty() { "." } else { part }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            root => root.map_err(failed)?,
        };
        match open_file(&root, "plugin.json") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => drop(file.map_err(failed)?),
        }
        found.walk(&root, Path::new(""), 1)?;
        found.manifest = read_manifest(&root).map_err(failed)?;
        found.folder = Some(root);
        break;
    }
    Ok(found)
}

fn read_manifest(root: &Dir) -> io::Result<Option<Vec<u8>>> {
    let file = match open_file(root, MANIFEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let Some(file) = file else { return Ok(None) };
    let mut bytes = Vec::new();
    // One byte more than allowed, so that its reader sees that it is too long.
    file.take(ArchiveLimits::default().manifest_bytes + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl InstalledFiles {
    fn walk(&mut self, folder: &Dir, path: &Path, depth: usize) -> Result<(), CompareError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| CompareError { path, source }
        };
        for entry in folder.entries().map_err(failed(path))? {
            let entry = entry.map_err(failed(path))?;
            let (name, path) = (entry.file_name(), path.join(entry.file_name()));
            let kind = entry.file_type().map_err(failed(&path))?;
            match name.to_str() {
                Some(name) if kind.is_dir() && depth < DEEPEST => {
                    let inner = open_folder(folder, name).map_err(failed(&path))?;
                    self.walk(&inner, &path, depth + 1)?;
                }
                Some(name) if kind.is_file() => self.hash(folder, name, &path).map_err(failed(&path))?,
                _ => self.foreign.push(path),
            }
        }
        Ok(())
    }

    fn hash(&mut self, folder: &Dir, name: &str, path: &Path) -> io::Result<()> {
        let plain = path.to_str().and_then(|text| text.parse::<RelPath>().ok());
        match (plain, open_file(folder, name)?) {
            (Some(plain), Some(file)) => drop(self.files.insert(plain, digest(&file)?)),
            _ => self.foreign.push(path.to_path_buf()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use cap_std::ambient_authority;

    use super::*;

    fn read(place: &tempfile::TempDir) -> InstalledFiles {
        installed_files(&Dir::open_ambient_dir(place.path(), ambient_authority()).expect("there")).expect("read")
    }

    fn write(place: &tempfile::TempDir, path: &str) {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().expect("inside")).expect("made");
        io::Write::write_all(&mut fs::File::create(path).expect("made"), b"content").expect("written");
    }

    fn names(found: &InstalledFiles) -> Vec<&str> {
        found.files.keys().map(RelPath::as_str).collect()
    }

    #[test]
    fn files_count_from_the_folder_of_plugin_json() {
        let place = tempfile::tempdir().expect("a folder");
        assert!(read(&place).folder.is_none() && read(&place).files.is_empty());
        for path in ["dist/plugin.json", "dist/img/a.svg", "dist/MANIFEST.txt", "README.md"] {
            write(&place, path);
        }
        let found = read(&place);
        assert_eq!(names(&found), ["MANIFEST.txt", "img/a.svg", "plugin.json"]);
        assert_eq!(found.manifest.as_deref(), Some(&b"content"[..]));
        write(&place, "plugin.json");
        assert_eq!(names(&read(&place)).len(), 5);
    }

    #[test]
    fn links_are_named_and_not_followed() {
        let place = tempfile::tempdir().expect("a folder");
        write(&place, "plugin.json");
        symlink("/etc/hostname", place.path().join("MANIFEST.txt")).expect("linked");
        symlink("plugin.json", place.path().join("same")).expect("linked");
        let mut found = read(&place);
        found.foreign.sort();
        assert_eq!((names(&found), &found.manifest), (vec!["plugin.json"], &None));
        assert_eq!(found.foreign, [PathBuf::from("MANIFEST.txt"), PathBuf::from("same")]);
    }
}
