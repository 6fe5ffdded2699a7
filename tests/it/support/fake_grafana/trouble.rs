//! What goes wrong with the plugins of a workspace by a test's word, and what a test sees of its disk.
//!
//! *Invariant:* only what the face of the workspace can do goes wrong.
//! *Not for:* faults of single requests (`fault`) and what a backend says of itself (`health`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::face::{Face, StoredV2};
use super::fleet::{FakeWorkspace, save};
use super::{identity, install};

/// What goes wrong until a test takes it back.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Downloads that the catalog refuses to this workspace: id, version, status and text.
    refused_downloads: Vec<(String, String, u16, String)>,
    /// The plugins folder cannot be written to.
    pub(super) read_only: bool,
    /// An uninstall leaves the files.
    pub(super) leaves_files: bool,
    /// Plugins whose backend does not start.
    unstarted: BTreeSet<String>,
}

impl Trouble {
    /// Returns status and text with which the catalog refuses a download.
    pub(super) fn refused_download(&self, id: &str, version: &str) -> Option<(u16, &str)> {
        let found = self.refused_downloads.iter().find(|(refused, of, ..)| refused == id && of == version);
        found.map(|(.., status, text)| (*status, text.as_str()))
    }

    /// Returns whether the backend of a plugin does not start.
    pub(super) fn does_not_start(&self, id: &str) -> bool {
        self.unstarted.contains(id)
    }
}

impl FakeWorkspace {
    /// Returns what is in the plugins folder, with versions.
    pub fn on_disk(&self) -> BTreeMap<String, String> {
        self.workspace.state().disk.clone()
    }

    /// Lets the catalog refuse a download to this workspace; what fetches by itself is not refused.
    pub fn refuse_download(&self, id: &str, version: &str, status: u16, text: &str) {
        let refused = (id.to_owned(), version.to_owned(), status, text.to_owned());
        self.workspace.state().trouble.refused_downloads.push(refused);
    }

    /// Makes the plugins folder read-only, or not.
    pub fn read_only_folder(&self, read_only: bool) {
        self.workspace.state().trouble.read_only = read_only;
    }

    /// Lets every uninstall answer 200 and leave the files.
    pub fn uninstall_leaves_files(&self) {
        let mut state = self.workspace.state();
        assert!(state.behaviour.may_leave_files.value, "this version removes them");
        state.trouble.leaves_files = true;
    }

    /// Lets the backend of a plugin not start.
    pub fn backend_does_not_start(&self, id: &str) {
        let mut state = self.workspace.state();
        state.trouble.unstarted.insert(id.to_owned());
        if !state.behaviour.lists_unstarted.value {
            state.installed.remove(id);
        }
    }

    /// Lets one version of a plugin say that it is ill.
    pub fn ill_version(&self, id: &str, version: &str, message: &str) {
        let ill = ((id.to_owned(), version.to_owned()), message.to_owned());
        self.workspace.state().illness.versions.push(ill);
    }

    /// Takes the health check from the backend of a plugin.
    pub fn unchecked_plugin(&self, id: &str) {
        self.workspace.state().illness.without_check.push(id.to_owned());
    }

    /// Lets the health check of a plugin fail by itself.
    pub fn failing_check(&self, id: &str) {
        self.workspace.state().illness.failing_check.push(id.to_owned());
    }

    /// Deletes the folder of a plugin behind the server's back.
    pub fn deletes_folder(&self, id: &str) {
        self.workspace.state().disk.remove(id);
    }

    /// Restarts it: what is on disk is loaded.
    pub fn restarts(&self) {
        let mut state = self.workspace.state();
        install::restart(&mut state, &self.workspace.catalog.lock());
    }

    /// Restarts it as another Grafana.
    pub fn upgrade_to(&self, face: Face) {
        self.workspace.state().take_face(face);
        self.restarts();
    }

    /// Returns whether a user is locked out.
    pub fn locked_out(&self, user: &str) -> bool {
        identity::locked_out(&self.workspace.state(), user)
    }

    /// Saves a dashboard in a version that only newer schemas show, with what is left of it in the classic form.
    pub fn dashboard_v2(&self, (uid, title): (&str, &str), folder: &str, stored: Value, classic: Value) {
        let mut state = self.workspace.state();
        assert_ne!(state.behaviour.stored_v2.value, StoredV2::Never, "this version stores none");
        save(&mut state, (uid, title), folder, classic);
        let saved = state.dashboards.iter_mut().find(|dashboard| dashboard["dashboard"]["uid"] == uid);
        saved.expect("it was saved")["v2"] = stored;
    }
}
