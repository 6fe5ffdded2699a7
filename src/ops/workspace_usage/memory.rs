//! The scans of dashboards that were read before: one file for each organisation, `usage/DIGEST.json` in the cache.
//!
//! *Invariant:* a scan is recalled only for the state that the server marks the dashboard with now, and only when this
//! version of the scanner made it. The file is whole or not there; without it, everything is read again.
//! *Not for:* which dashboards there are, or where they lie: that is asked anew each time.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    disk,
    fleet::grafana::ListedDashboard,
    model::{DashboardInfo, Timestamp},
    ops::{Context, blocking},
    usage::{SCAN_VERSION, Scan, ScannedDashboard},
};

/// How old the time of a file may be that is used now: a day.
const TOUCHED: Duration = Duration::from_hours(24);

/// What is known of the dashboards of an organisation from earlier readings.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    known: HashMap<String, Remembered>,
    /// The marks of the dashboards that are there now, by uid.
    markers: HashMap<String, String>,
    is_new: bool,
}

/// What is kept of a dashboard.
#[derive(Debug, Deserialize)]
struct Remembered {
    marker: String,
    info: DashboardInfo,
    scan: Scan,
}

/// The file.
#[derive(Deserialize)]
struct MemoryDocument {
    scan_version: u32,
    dashboards: HashMap<String, Remembered>,
}

/// The file, as it is written.
#[derive(Serialize)]
struct SavedMemory<'a> {
    scan_version: u32,
    dashboards: BTreeMap<&'a str, WrittenDashboard<'a>>,
}

#[derive(Serialize)]
struct WrittenDashboard<'a> {
    marker: &'a str,
    info: &'a DashboardInfo,
    scan: &'a Scan,
}

/// Returns the folder of the files in a cache.
fn folder(context: &Context) -> PathBuf {
    context.home.root().join("usage")
}

/// A file of the folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MemoryFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last used, to the day.
    pub used: Timestamp,
}

impl MemoryFile {
    /// Returns whether it can be read as what this program writes; one that cannot is of no harm, and of no use.
    pub(crate) fn is_readable(&self) -> bool {
        fs::read(&self.path).is_ok_and(|bytes| serde_json::from_slice::<MemoryDocument>(&bytes).is_ok())
    }
}

/// Returns the files that the scans of dashboards are kept in, one for each organisation that was read, by name.
pub(crate) fn memory_files(context: &Context) -> std::io::Result<Vec<MemoryFile>> {
    let entries = match fs::read_dir(folder(context)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let used = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let used = Timestamp::from_milliseconds(i64::try_from(used.as_millis()).unwrap_or(i64::MAX));
            files.push(MemoryFile { path: entry.path(), size: metadata.len(), used });
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

impl Memory {
    /// Reads what is known of an organisation of the server at an address.
    pub(super) async fn load(context: &Context, address: &str, organisation: i64) -> Self {
        let name = hex::encode(Sha256::digest(format!("{organisation} {address}")));
        let (path, now) = (folder(context).join(format!("{name}.json")), context.now());
        blocking(move || {
            touch(&path, now);
            Self::read(path)
        })
        .await
    }

    fn read(path: PathBuf) -> Self {
        let document: Option<MemoryDocument> =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known =
            document.filter(|document| document.scan_version == SCAN_VERSION).map(|document| document.dashboards);
        Self { path, known: known.unwrap_or_default(), markers: HashMap::new(), is_new: false }
    }

    /// Returns a dashboard that has not changed since it was read. Where it lies is what the list says today.
    pub(super) fn recall(&mut self, listed: &ListedDashboard) -> Option<ScannedDashboard> {
        let marker = listed.marker.as_ref()?;
        let Remembered { marker, info, scan } =
            self.known.remove(&listed.info.uid).filter(|known| known.marker == *marker)?;
        let DashboardInfo { version, created_by, updated_by, .. } = info;
        self.markers.insert(listed.info.uid.clone(), marker);
        let info = DashboardInfo { version, created_by, updated_by, ..listed.info.clone() };
        Some(ScannedDashboard { info, scan })
    }

    /// Keeps a dashboard that was read now; one whose state the server does not mark is read again next time.
    pub(super) fn keep(&mut self, uid: &str, marker: Option<String>) {
        if let Some(marker) = marker {
            self.markers.insert(uid.to_owned(), marker);
            self.is_new = true;
        }
    }

    /// Writes what is known now, where that is something else than before; `dashboards` are all that are there.
    ///
    /// What cannot be written is read again next time, which is no failure of this one.
    pub(super) async fn save(self, dashboards: &[ScannedDashboard]) {
        if !self.is_new && self.known.is_empty() {
            return;
        }
        let document = match self.document(dashboards) {
            Ok(document) => document,
            Err(error) => return tracing::debug!(%error, "the scans of dashboards are not kept"),
        };
        if let Err(error) = blocking(move || write(&self.path, &document)).await {
            tracing::debug!(%error, "the scans of dashboards are not kept");
        }
    }

    fn document<'d>(&'d self, dashboards: &'d [ScannedDashboard]) -> serde_json::Result<Vec<u8>> {
        let one = |dashboard: &'d ScannedDashboard| {
            let ScannedDashboard { info, scan } = dashboard;
            Some((info.uid.as_str(), WrittenDashboard { marker: self.markers.get(&info.uid)?, info, scan }))
        };
        let dashboards = dashboards.iter().filter_map(one);
        serde_json::to_vec(&SavedMemory { scan_version: SCAN_VERSION, dashboards: dashboards.collect() })
    }
}

/// Says by the time of the file that it is used, once a day; `gc` removes what nobody uses.
fn touch(path: &Path, now: Timestamp) {
    let touched = || {
        let file = fs::File::options().append(true).open(path)?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_milliseconds()).unwrap_or(0));
        let is_old = file.metadata()?.modified()?.checked_add(TOUCHED).is_none_or(|limit| limit < now);
        if is_old { file.set_modified(now) } else { Ok(()) }
    };
    // There may be no file yet, or none that may be written.
    if let Err(error) = touched() {
        tracing::trace!(%error, "the scans of dashboards are not marked as used");
    }
}

fn write(path: &Path, document: &[u8]) -> std::io::Result<()> {
    disk::create_dirs(path.parent().unwrap_or(path))?;
    disk::write_atomic(path, document, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(marker: Option<&str>, folder: &str) -> ListedDashboard {
        let info = DashboardInfo {
            uid: "d".to_owned(),
            title: "D".to_owned(),
            folder_uid: Some(folder.to_owned()),
            folder_title: None,
            url: None,
            version: None,
            created_by: None,
            updated_by: None,
        };
        ListedDashboard { info, marker: marker.map(str::to_owned), group: None }
    }

    fn kept(path: &Path, marker: &str) {
        let info = DashboardInfo { created_by: Some("ann".to_owned()), ..listed(None, "old").info };
        let mut memory = Memory::read(path.to_owned());
        memory.keep("d", Some(marker.to_owned()));
        let document = memory.document(&[ScannedDashboard { info, scan: Scan::default() }]).expect("a document");
        write(path, &document).expect("written");
    }

    #[test]
    fn only_the_same_state_is_recalled_and_it_lies_where_it_lies_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usage/one.json");
        kept(&path, "1");
        let found = Memory::read(path.clone()).recall(&listed(Some("1"), "new")).expect("known");
        assert_eq!((found.info.folder_uid.as_deref(), found.info.created_by.as_deref()), (Some("new"), Some("ann")));
        assert!(Memory::read(path.clone()).recall(&listed(Some("2"), "new")).is_none());
        assert!(Memory::read(path).recall(&listed(None, "new")).is_none());
    }

    #[test]
    fn what_another_scanner_found_and_what_is_damaged_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usage/one.json");
        kept(&path, "1");
        let text = std::fs::read_to_string(&path).expect("read");
        let other = text.replace(&format!("\"scan_version\":{SCAN_VERSION}"), "\"scan_version\":0");
        for text in [other.as_str(), &text[..text.len() / 2], ""] {
            disk::write_atomic(&path, text.as_bytes(), 0o600).expect("written");
            assert!(Memory::read(path.clone()).recall(&listed(Some("1"), "new")).is_none(), "{text}");
        }
    }
}
