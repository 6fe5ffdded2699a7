//! Which workspaces AWS has, and which of them the manifest names.
//!
//! *Invariant:* a region or a workspace that cannot be asked hides no other, and nothing is changed at AWS.
//! *Not for:* reaching a workspace: the list is AWS's.

mod entries;
mod offers;

use std::{collections::BTreeSet, path::Path};

use futures_util::{StreamExt, future::join_all, stream};
use serde::Serialize;

pub(crate) use offers::{OfferedVersions, offers};

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::{
        Manifest, Workspace,
        aws::{AwsError, AwsWorkspace, Description, ListedWorkspace, ManagedGrafana, Region},
        manifest::{Endpoint, Login},
    },
    model::WorkspaceName,
    net::Client,
    ops::manifest_draft::{Draft, DraftError},
};

/// How many workspaces of a region are described at a time.
const AT_ONCE: usize = 4;
/// States in which there is nothing to name yet, or any more.
const NOT_THERE: [&str; 4] = ["CREATING", "CREATION_FAILED", "DELETING", "FAILED"];

/// What AWS has.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Discovery {
    /// The regions that were asked.
    pub regions: Vec<AskedRegion>,
    /// Their workspaces.
    pub workspaces: Vec<DiscoveredWorkspace>,
    /// Whether entries were put into the manifest.
    pub written: bool,
}

/// A region that was asked.
#[derive(Debug, Serialize)]
pub(crate) struct AskedRegion {
    /// Its name; nothing where none is configured.
    pub region: Option<String>,
    /// Why its workspaces are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What kind of failure that is.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

/// A workspace that AWS has.
#[derive(Debug, Serialize)]
pub(crate) struct DiscoveredWorkspace {
    /// Its id.
    pub id: String,
    /// The name that people gave it.
    pub name: Option<String>,
    /// Its region.
    pub region: String,
    /// Its account, if it is known.
    pub account: Option<String>,
    /// The version of Grafana.
    pub grafana: String,
    /// What AWS says of it.
    pub status: String,
    /// Its address.
    pub url: String,
    /// Whether plugins may be installed by its API; nothing where that could not be asked.
    pub plugin_management: Option<bool>,
    /// Its name in the manifest.
    pub manifest: Option<WorkspaceName>,
    /// Whether that entry was made now.
    pub added: bool,
    /// Why something of it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip)]
    pub hint: Option<String>,
    #[serde(skip)]
    workspace: AwsWorkspace,
    #[serde(skip)]
    managed: ManagedGrafana,
}

impl DiscoveredWorkspace {
    fn new(managed: &ManagedGrafana, listed: ListedWorkspace, described: Result<Description, AwsError>) -> Self {
        let (error, hint) = error_and_hint(described.as_ref().err());
        let description = described.ok();
        Self {
            id: listed.workspace.id().to_owned(),
            name: listed.name,
            region: listed.workspace.region().to_string(),
            grafana: listed.grafana,
            status: listed.status,
            url: format!("https://{}", listed.endpoint),
            plugin_management: description.as_ref().map(|description| description.plugin_management),
            account: description.and_then(|description| description.account),
            manifest: None,
            added: false,
            error,
            hint,
            workspace: listed.workspace,
            managed: managed.clone(),
        }
    }

    /// Returns whether it is there to be named.
    fn is_there(&self) -> bool {
        !NOT_THERE.contains(&self.status.as_str())
    }
}

fn error_and_hint(error: Option<&AwsError>) -> (Option<String>, Option<String>) {
    (error.map(|error| Chain(error).to_string()), error.and_then(Diagnose::hint))
}

impl Discovery {
    /// Returns what kind of failure it is, where it is one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let failed = self.regions.iter().find_map(|region| region.kind);
        let one_answered = self.regions.iter().any(|region| region.kind.is_none());
        let incomplete = self.workspaces.iter().any(|found| found.error.is_some());
        match (failed, one_answered) {
            (Some(kind), false) => Some(kind),
            (Some(_), true) => Some(Kind::Partly),
            (None, _) => incomplete.then_some(Kind::Partly),
        }
    }

    /// Puts the workspaces that the manifest at `path` does not name into it.
    pub(crate) async fn write(&mut self, path: &Path) -> Result<(), DraftError> {
        let draft = Draft::open(path)?;
        if let Some(draft) = self.added_to(&draft).await? {
            draft.save()?;
            self.written = true;
        }
        Ok(())
    }

    /// Returns the draft with the workspaces that it does not name; `None` if it names all of them.
    pub(crate) async fn added_to(&mut self, draft: &Draft) -> Result<Option<Draft>, DraftError> {
        let (mut names, mut tables) = (names(draft.manifest()), Vec::new());
        for found in self.workspaces.iter_mut().filter(|found| found.manifest.is_none() && found.is_there()) {
            // Without the right to list them, only a comment is missing.
            let accounts = found.managed.list_accounts(&found.workspace).await.unwrap_or_default();
            let name = entries::name(found, &names);
            tables.push(entries::table(found, &name, &accounts));
            names.insert(name.clone());
            (found.manifest, found.added) = (Some(name), true);
        }
        if tables.is_empty() { Ok(None) } else { draft.with_workspaces(tables).map(Some) }
    }
}

fn names(manifest: &Manifest) -> BTreeSet<WorkspaceName> {
    manifest.workspaces().iter().map(|workspace| workspace.name().clone()).collect()
}

/// Asks AWS for the workspaces of these regions, of that of the environment where none is named.
pub(crate) async fn discover(client: &Client, manifest: &Manifest, regions: &[Region]) -> Discovery {
    let mut wanted: Vec<Option<&Region>> = Vec::new();
    for region in regions {
        if !wanted.contains(&Some(region)) {
            wanted.push(Some(region));
        }
    }
    if wanted.is_empty() {
        wanted.push(None);
    }
    let mut discovery = Discovery::default();
    for (region, answer) in join_all(wanted.into_iter().map(|region| ask(client, region))).await {
        let (error, hint) = error_and_hint(answer.as_ref().err());
        let kind = answer.as_ref().err().map(Diagnose::kind);
        discovery.regions.push(AskedRegion { region, error, hint, kind });
        discovery.workspaces.extend(answer.into_iter().flatten());
    }
    for found in &mut discovery.workspaces {
        let named = manifest.workspaces().iter().find(|workspace| is_it(workspace, found));
        found.manifest = named.map(|workspace| workspace.name().clone());
    }
    discovery
}

/// Asks one region; returns its name as well.
async fn ask(client: &Client, region: Option<&Region>) -> (Option<String>, Result<Vec<DiscoveredWorkspace>, AwsError>) {
    let managed = match ManagedGrafana::open(client, region).await {
        Ok(managed) => managed,
        Err(error) => return (region.map(ToString::to_string), Err(error)),
    };
    let found = async {
        let listed = managed.list_workspaces().await?;
        let described = stream::iter(listed).map(async |listed| {
            let described = managed.describe(&listed.workspace).await;
            DiscoveredWorkspace::new(&managed, listed, described)
        });
        Ok(described.buffered(AT_ONCE).collect().await)
    };
    (Some(managed.region().to_string()), found.await)
}

/// Returns whether a workspace of the manifest is one of AWS: by its address, or by what its token says.
fn is_it(workspace: &Workspace, found: &DiscoveredWorkspace) -> bool {
    aws_workspace(workspace).as_ref() == Some(&found.workspace)
        || workspace.endpoint_text() == found.url.trim_end_matches('/')
}

fn aws_workspace(workspace: &Workspace) -> Option<AwsWorkspace> {
    match workspace.endpoint() {
        Endpoint::Server { login: Login::Account(account), .. } => account.workspace().cloned(),
        Endpoint::Server { url, .. } => AwsWorkspace::from_address(url),
        Endpoint::Directory { .. } => None,
    }
}
