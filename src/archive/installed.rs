//! The plugin.json of a plugin that is installed in a folder.
//!
//! *Invariant:* no link is followed below the folder, and no more is read than a plugin.json may have.
//! *Not for:* whether the other files are those that were published.

use std::io::{self, Read};

use cap_std::fs::Dir;

use super::{
    ArchiveLimits, PLUGIN_FOLDERS, PluginJson, PluginJsonError,
    folder::{open_file, open_folder},
    parse_plugin_json,
};
use crate::{
    diagnostic::{Kind, diagnose},
    json::Limits,
};

/// An installed plugin's plugin.json could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// There is none: the folder is no installed plugin.
    #[error("the folder has neither `plugin.json` nor `dist/plugin.json`")]
    NoPluginJson,
    /// It is a link or a special file.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// It is refused.
    #[error("`{path}` is not a valid plugin.json")]
    PluginJson {
        /// The path below the plugin's folder.
        path: String,
        /// Why.
        #[source]
        source: PluginJsonError,
    },
    /// The disk failed.
    #[error("`{path}` could not be read")]
    Io {
        /// The path below the plugin's folder.
        path: String,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
}

diagnose!(InstalledError {
    NoPluginJson => Kind::Failed;
    NotAFile | PluginJson => Kind::Integrity;
    Io => Kind::Storage;
});

/// Parses the plugin.json of an installed plugin's folder: `plugin.json`, else `dist/plugin.json`.
pub(crate) fn read_installed(folder: &Dir) -> Result<PluginJson, InstalledError> {
    for part in PLUGIN_FOLDERS {
        let path = if part.is_empty() { "plugin.json".to_owned() } else { format!("{part}/plugin.json") };
        let failed = |source| InstalledError::Io { path: path.clone(), source };
        let parent = match open_folder(folder, if part.is_empty() { "." } else { part }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        let file = match open_file(&parent, "plugin.json") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?.ok_or_else(|| InstalledError::NotAFile(path.clone()))?,
        };
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the parser sees that it is too long.
        file.take(Limits::ITEM.bytes as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        return parse_plugin_json(&bytes).map_err(|source| InstalledError::PluginJson { path, source });
    }
    Err(InstalledError::NoPluginJson)
}

/// The MANIFEST.txt of an installed plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct InstalledManifest {
    /// The folder that it is in, below the plugin's own: empty or `dist`.
    pub folder: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Returns the MANIFEST.txt beside the plugin.json that counts, up to 4 MiB of it; `None` if there is no such file.
pub(crate) fn read_installed_manifest(folder: &Dir) -> io::Result<Option<InstalledManifest>> {
    let missing = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    for part in PLUGIN_FOLDERS {
        let parent = match open_folder(folder, if part.is_empty() { "." } else { part }) {
            Err(error) if missing(&error) => continue,
            parent => parent?,
        };
        match open_file(&parent, "plugin.json") {
            Err(error) if missing(&error) => continue,
            file => drop(file?),
        }
        let file = match open_file(&parent, "MANIFEST.txt") {
            Err(error) if missing(&error) => return Ok(None),
            file => file?,
        };
        let Some(file) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(ArchiveLimits::default().manifest_bytes).read_to_end(&mut bytes)?;
        return Ok(Some(InstalledManifest { folder: part, bytes }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use cap_std::ambient_authority;

    use super::*;
    use crate::archive::tests::zips::PLUGIN_JSON;

    fn folder() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("it is there");
        (place, dir)
    }

    fn put(place: &tempfile::TempDir, name: &str, bytes: &[u8]) {
        let mut file = File::create(place.path().join(name)).expect("made");
        file.write_all(bytes).expect("written");
    }

    #[test]
    fn plugin_json_is_found_in_the_folder_or_in_dist() {
        let (place, dir) = folder();
        assert!(matches!(read_installed(&dir), Err(InstalledError::NoPluginJson)));
        std::fs::create_dir(place.path().join("dist")).expect("made");
        assert!(matches!(read_installed(&dir), Err(InstalledError::NoPluginJson)));
        put(&place, "dist/plugin.json", PLUGIN_JSON.as_bytes());
        assert_eq!(read_installed(&dir).expect("found").version.as_str(), "1.2.3");
        put(&place, "plugin.json", PLUGIN_JSON.replace("1.2.3", "2.0.0").as_bytes());
        assert_eq!(read_installed(&dir).expect("found").version.as_str(), "2.0.0");
    }

    #[test]
    fn the_manifest_is_the_one_beside_the_plugin_json_that_counts() {
        let (place, dir) = folder();
        std::fs::create_dir(place.path().join("dist")).expect("made");
        put(&place, "dist/plugin.json", PLUGIN_JSON.as_bytes());
        put(&place, "MANIFEST.txt", b"of nothing");
        assert_eq!(read_installed_manifest(&dir).expect("read"), None);
        put(&place, "dist/MANIFEST.txt", b"of dist");
        let of_dist = InstalledManifest { folder: "dist", bytes: b"of dist".to_vec() };
        assert_eq!(read_installed_manifest(&dir).expect("read"), Some(of_dist));
        put(&place, "plugin.json", PLUGIN_JSON.as_bytes());
        let found = read_installed_manifest(&dir).expect("read").expect("there");
        assert_eq!((found.folder, &found.bytes[..]), ("", &b"of nothing"[..]));
    }

    #[test]
    fn a_link_is_not_followed() {
        let (place, dir) = folder();
        put(&place, "other", PLUGIN_JSON.as_bytes());
        std::os::unix::fs::symlink("other", place.path().join("plugin.json")).expect("linked");
        assert!(matches!(read_installed(&dir), Err(InstalledError::NotAFile(_))));
    }

    #[test]
    fn one_that_is_too_long_or_broken_is_refused() {
        let (place, dir) = folder();
        for bytes in [vec![b' '; (1 << 20) + 1], b"{".to_vec()] {
            put(&place, "plugin.json", &bytes);
            assert!(matches!(read_installed(&dir), Err(InstalledError::PluginJson { .. })));
        }
    }
}
