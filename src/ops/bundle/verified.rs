//! What is known of packages that passed the checks of an import, until an index lists them.
//!
//! *Invariant:* a line is written after its package is in the store. What a run that was killed left of a line is cut off.
//! So an import that is repeated checks nothing twice, and needs the memory of one package.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    disk,
    model::{Md5Digest, Sha256Digest},
};

/// A package that passed the checks.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct VerifiedPackage {
    pub(super) sha256: Sha256Digest,
    pub(super) md5: Md5Digest,
    pub(super) size: u64,
    pub(super) plugin_json: String,
    pub(super) signer: Option<String>,
    /// What the signature policy has against it.
    pub(super) warning: Option<String>,
}

/// The packages that passed.
pub(super) struct VerifiedPackages {
    path: PathBuf,
    file: File,
    /// Where the line of a package is, and how long it is.
    lines: HashMap<Sha256Digest, (u64, usize)>,
    end: u64,
}

impl VerifiedPackages {
    /// Opens the file, and reads what an earlier run left.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        disk::create_dirs(folder)?;
        let path = folder.join("verified.jsonl");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let (mut lines, mut end) = (HashMap::new(), 0);
        let mut reader = BufReader::new(file.try_clone()?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let Ok(package) = serde_json::from_slice::<VerifiedPackage>(&line) else { break };
            if line.last() != Some(&b'\n') {
                break;
            }
            lines.insert(package.sha256, (end, line.len()));
            end += line.len() as u64;
            line.clear();
        }
        file.set_len(end)?;
        Ok(Self { path, file, lines, end })
    }

    pub(super) fn has(&self, digest: Sha256Digest) -> bool {
        self.lines.contains_key(&digest)
    }

    /// Adds a package that is in the store.
    pub(super) fn add(&mut self, package: &VerifiedPackage) -> io::Result<()> {
        let mut line = serde_json::to_vec(package)?;
        line.push(b'\n');
        self.file.write_all_at(&line, self.end)?;
        self.lines.insert(package.sha256, (self.end, line.len()));
        self.end += line.len() as u64;
        Ok(())
    }

    /// Returns a package; `None` if it did not pass.
    pub(super) fn read(&self, digest: Sha256Digest) -> io::Result<Option<VerifiedPackage>> {
        let Some((at, length)) = self.lines.get(&digest).copied() else { return Ok(None) };
        let mut line = vec![0; length];
        self.file.read_exact_at(&mut line, at)?;
        serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
    }

    /// Forgets all of them, for the index lists them now.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.file.flush()?;
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(digit: u8) -> VerifiedPackage {
        VerifiedPackage {
            sha256: Sha256Digest::from_bytes([digit; 32]),
            md5: Md5Digest::from_bytes([digit; 16]),
            size: 7,
            plugin_json: "{\"id\": \"a\"}\n".to_owned(),
            signer: None,
            warning: Some("unsigned".to_owned()),
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_forgotten_and_the_others_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut packages = VerifiedPackages::open(folder.path()).expect("opened");
        packages.add(&package(1)).expect("written");
        packages.add(&package(2)).expect("written");
        let length = packages.end;
        drop(packages);
        let path = folder.path().join("verified.jsonl");
        File::options().write(true).open(&path).and_then(|file| file.set_len(length - 1)).expect("cut");
        let mut packages = VerifiedPackages::open(folder.path()).expect("opened");
        assert!(packages.has(package(1).sha256) && !packages.has(package(2).sha256));
        packages.add(&package(3)).expect("written");
        let packages = VerifiedPackages::open(folder.path()).expect("opened");
        let read = packages.read(package(3).sha256).expect("read").expect("there");
        assert_eq!((read.plugin_json, read.warning), (package(3).plugin_json, package(3).warning));
        packages.remove().expect("removed");
        assert!(!path.exists());
    }
}
