//! An HTTP server that plays grafana.com's plugin catalog or a Grafana workspace, rightly or with scripted faults.
//!
//! *Invariant:* one thread and one port of 127.0.0.1 a server; dropping it ends every connection and joins the thread.
//! *Not for:* TLS, HTTP/2, or routes that the protocol page does not name.

mod base64;
pub mod catalog;
mod coding;
mod documents;
pub mod face;
pub mod fault;
pub mod fleet;
mod gateway;
mod groups;
mod health;
pub mod http;
mod identity;
mod install;
mod plugins;
mod provisioning;
mod range;
pub mod server;
mod trouble;
mod upstream;
mod usage;
mod wire;
mod workspace;

use std::ops::Deref;

use catalog::{FakeCatalog, SharedCatalog};
use face::Face;
use fleet::WorkspaceSetup;
use server::{Role, Server};

/// Where fake servers start.
#[derive(Debug)]
pub struct FakeGrafana;

impl FakeGrafana {
    /// Returns an upstream that is about to publish this catalog.
    pub fn upstream(catalog: impl Into<SharedCatalog>) -> UpstreamSetup {
        UpstreamSetup(catalog.into())
    }

    /// Returns a workspace that is about to start; it installs from this catalog.
    pub fn workspace(name: &str, grafana: &str, catalog: impl Into<SharedCatalog>) -> WorkspaceSetup {
        WorkspaceSetup::new(name, grafana, catalog.into())
    }

    /// Returns a workspace that is about to start and behaves like a real Grafana.
    pub fn workspace_as(name: &str, face: Face, catalog: impl Into<SharedCatalog>) -> WorkspaceSetup {
        Self::workspace(name, face.version(), catalog).face(face)
    }
}

/// An upstream before it starts.
#[derive(Debug)]
#[must_use = "it answers nothing until it starts"]
pub struct UpstreamSetup(SharedCatalog);

impl UpstreamSetup {
    /// Starts to listen, at any free port.
    pub fn start(self) -> FakeUpstream {
        self.start_at(server::ANYWHERE)
    }

    /// Starts to listen at this address, once nobody else does; for files that name it.
    pub fn start_at(self, address: &str) -> FakeUpstream {
        FakeUpstream { server: Server::start(Role::Upstream(self.0.clone()), address), catalog: self.0 }
    }
}

/// A running catalog API.
#[derive(Debug)]
pub struct FakeUpstream {
    server: Server,
    catalog: SharedCatalog,
}

impl FakeUpstream {
    /// Returns the root of the API, `http://127.0.0.1:PORT/api`.
    pub fn url(&self) -> String {
        format!("{}/api", self.server.origin())
    }

    /// Changes the catalog while the server runs.
    pub fn catalog(&self, change: impl FnOnce(&mut FakeCatalog)) {
        change(&mut self.catalog.lock());
    }

    /// Returns the catalog, for a workspace that installs from the same one.
    pub fn shared(&self) -> SharedCatalog {
        self.catalog.clone()
    }
}

impl Deref for FakeUpstream {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
