//! The scans of dashboards that were read before: one file for each organisation, `usage/DIGEST.json` in the cache.
//!
//! *Invariant:* a scan is recalled only for the state that the server marks the dashboard with now, and only when this
//! version of the scanner made it. The file is whole or not there; without it, everything is read again.
//! *Not for:* which dashboards there are, or where they lie: that is asked anew each time.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    disk,
    fleet::grafana::Listed,
    model::DashboardInfo,
    ops::{Context, blocking},
    usage::{SCAN_VERSION, Scan, ScannedDashboard},
};

/// What is known of the dashboards of an organisation from earlier readings.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    known: HashMap<String, Remembered>,
    seen: HashMap<String, Remembered>,
    is_new: bool,
}

/// What is kept of a dashboard.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Remembered {
    marker: String,
    info: DashboardInfo,
    scan: Scan,
}

/// The file.
#[derive(Deserialize, Serialize)]
struct Document {
    scan_version: u32,
    dashboards: HashMap<String, Remembered>,
}

impl Remembered {
    /// Returns what to keep of a dashboard; nothing where the server does not mark its state.
    pub(super) fn of(info: &DashboardInfo, marker: Option<String>, scan: &Scan) -> Option<Self> {
        Some(Self { marker: marker?, info: info.clone(), scan: scan.clone() })
    }
}

impl Memory {
    /// Reads what is known of an organisation of the server at an address.
    pub(super) async fn load(context: &Context, address: &str, organisation: i64) -> Self {
        let name = hex::encode(Sha256::digest(format!("{organisation} {address}")));
        let path = context.home.root().join("usage").join(format!("{name}.json"));
        blocking(move || Self::read(path)).await
    }

    fn read(path: PathBuf) -> Self {
        let document: Option<Document> =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known =
            document.filter(|document| document.scan_version == SCAN_VERSION).map(|document| document.dashboards);
        Self { path, known: known.unwrap_or_default(), seen: HashMap::new(), is_new: false }
    }

    /// Returns a dashboard that has not changed since it was read. Where it lies is what the list says today.
    pub(super) fn recall(&mut self, listed: &Listed) -> Option<ScannedDashboard> {
        let marker = listed.marker.as_ref()?;
        let remembered = self.known.remove(&listed.info.uid).filter(|known| known.marker == *marker)?;
        let DashboardInfo { version, created_by, updated_by, .. } = remembered.info.clone();
        let info = DashboardInfo { version, created_by, updated_by, ..listed.info.clone() };
        let scan = remembered.scan.clone();
        self.seen.insert(listed.info.uid.clone(), remembered);
        Some(ScannedDashboard { info, scan })
    }

    /// Keeps a dashboard that was read now.
    pub(super) fn keep(&mut self, remembered: Option<Remembered>) {
        if let Some(remembered) = remembered {
            self.seen.insert(remembered.info.uid.clone(), remembered);
            self.is_new = true;
        }
    }

    /// Writes what is known now, where that is something else than before.
    ///
    /// What cannot be written is read again next time, which is no failure of this one.
    pub(super) async fn save(self) {
        if !self.is_new && self.known.is_empty() {
            return;
        }
        let written = blocking(move || write(&self.path, self.seen)).await;
        if let Err(error) = written {
            tracing::debug!(%error, "the scans of dashboards are not kept");
        }
    }
}

fn write(path: &Path, dashboards: HashMap<String, Remembered>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    disk::create_dirs(folder)?;
    let document = serde_json::to_vec(&Document { scan_version: SCAN_VERSION, dashboards })?;
    disk::write_atomic(path, &document, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(marker: Option<&str>, folder: &str) -> Listed {
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
        Listed { info, marker: marker.map(str::to_owned) }
    }

    fn kept(path: &Path, marker: &str) {
        let info = DashboardInfo { created_by: Some("ann".to_owned()), ..listed(None, "old").info };
        let remembered = Remembered::of(&info, Some(marker.to_owned()), &Scan::default()).expect("it is marked");
        write(path, HashMap::from([("d".to_owned(), remembered)])).expect("written");
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
