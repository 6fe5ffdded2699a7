//! A first manifest.
//!
//! *Invariant:* what is written was read by the manifest's own parser before, and no file is replaced.
//! *Not for:* reaching the workspace, or what its token may do; the next steps find that out.

mod preinstall;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use toml_edit::Value;
use url::Url;

pub(crate) use preinstall::{ListedPlugin, parse as parse_list};

use crate::{
    diagnostic::{Kind, diagnose},
    disk,
    fleet::{
        Environment,
        aws::AwsWorkspace,
        manifest::{Endpoint, Ensure, Login},
    },
    model::{Selector, WorkspaceName},
    ops::manifest_draft::{Draft, DraftError, Edit, EntryGroup},
};

const HEADER: &str = "# plugport: the workspaces, the wanted plugins and the policy. `plugport help manifest` has every key.\n\n\
    [catalog]\nsource = \"https://grafana.com/api\"\n";

/// What follows where no workspace is named.
const EXAMPLE: &str = "\n# [[workspace]]\n# name = \"prod-eu\"\n# kind = \"grafana\" # or amg, directory\n\
    # url = \"https://grafana.example.com\"\n# token = { env = \"PROD_EU_TOKEN\" }\n# labels = { tier = \"prod\" }\n";

/// The first workspace, if it is a server.
#[derive(Clone, Debug)]
pub(crate) struct FirstServer {
    /// Its address.
    pub url: String,
    /// The environment variable that has its token.
    pub token_variable: String,
    /// Its name; `None` to derive it from the address.
    pub name: Option<WorkspaceName>,
}

/// What the first manifest has.
#[derive(Clone, Debug, Default)]
pub(crate) struct InitOptions {
    /// A server.
    pub server: Option<FirstServer>,
    /// A plugins folder.
    pub folder: Option<PathBuf>,
    /// Whether workspaces are added to the draft by the caller.
    pub more_follows: bool,
    /// The wanted plugins.
    pub plugins: Vec<ListedPlugin>,
}

/// There is no first manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// There is a file already.
    #[error("`{}` exists and is not replaced", path.display().to_string().escape_debug())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The manifest would be refused.
    #[error("nothing was written")]
    Draft(#[from] DraftError),
    /// The file cannot be written.
    #[error("`{}` cannot be written", path.display().to_string().escape_debug())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

diagnose!(InitError {
    forward Draft;
    Exists => Kind::Usage, "edit it, or name another file with `--config FILE`; `plugport validate` checks it";
    Write => Kind::Storage;
});

/// Returns the first manifest, which is not written yet.
pub(crate) fn first_draft(path: &Path, options: &InitOptions) -> Result<Draft, InitError> {
    if path.symlink_metadata().is_ok() {
        return Err(InitError::Exists { path: path.to_owned() });
    }
    let mut text = HEADER.to_owned();
    if let Some(server) = &options.server {
        text.push_str(&server_entry(server));
    } else if options.folder.is_none() && !options.more_follows && options.plugins.is_empty() {
        text.push_str(EXAMPLE);
    }
    let mut draft = Draft::from_text(path, text)?;
    if let Some(folder) = &options.folder {
        draft.with_folder(folder)?;
    }
    let entry = |plugin: &ListedPlugin| EntryGroup {
        plugin: plugin.id.clone(),
        version: plugin.version.clone(),
        on: Selector::all(),
        ensure: Ensure::Present,
    };
    let added = options.plugins.iter().map(entry).collect();
    Ok(draft.with(vec![Edit { removed: Vec::new(), added }])?)
}

/// Writes a first manifest; an error if somebody else wrote one in the meantime.
pub(crate) fn create(draft: &Draft) -> Result<(), InitError> {
    let path = draft.path();
    disk::create_atomic(path, draft.text().as_bytes(), 0o644).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists { path: path.to_owned() },
        _ => InitError::Write { path: path.to_owned(), source },
    })
}

fn server_entry(server: &FirstServer) -> String {
    // A query may hold a secret, and no workspace has one.
    let bare = server.url.split(['?', '#']).next().unwrap_or_default();
    let url = Url::parse(bare).ok();
    let amazon = url.as_ref().and_then(AwsWorkspace::from_address);
    let kind = if amazon.is_some() { "amg" } else { "grafana" };
    let derived = || amazon.as_ref().map(|workspace| workspace.id().to_owned()).or_else(|| host_name(url.as_ref()?));
    let name = match &server.name {
        Some(name) => name.to_string(),
        None => derived().unwrap_or_else(|| "grafana".to_owned()),
    };
    let quoted = |text: &str| Value::from(text).to_string();
    let mut entry = String::from("\n[[workspace]]\n");
    for (key, text) in [("name", name.as_str()), ("kind", kind), ("url", bare)] {
        let _ = writeln!(entry, "{key} = {}", quoted(text));
    }
    let _ = writeln!(entry, "token = {{ env = {} }} # a service account token", quoted(&server.token_variable));
    entry
}

/// Returns the first part of a host's name that can be the name of a workspace; `None` for addresses and `localhost`.
fn host_name(url: &Url) -> Option<String> {
    let first = url.domain()?.split('.').next()?;
    let fits = first != "localhost" && first != "all" && first.parse::<WorkspaceName>().is_ok();
    fits.then(|| first.to_owned())
}

/// Returns what to do next, in order.
pub(crate) fn next_steps(draft: &Draft, environment: Environment<'_>) -> Vec<String> {
    let manifest = draft.manifest();
    let path = draft.path().display();
    let mut steps = Vec::new();
    let secrets = manifest.workspaces().iter().filter_map(|workspace| match workspace.endpoint() {
        Endpoint::Server { login: Login::Token(secret), .. } => secret.variable(),
        _ => None,
    });
    let unset = secrets.filter(|name| environment(name).is_none_or(|value| value.is_empty()));
    steps.extend(unset.map(|name| format!("set `{name}` to a token that may install plugins")));
    if manifest.workspaces().is_empty() {
        steps.push(format!("add a `[[workspace]]` to `{path}`; `plugport validate` checks it"));
    } else {
        steps.push("`plugport workspace ping` asks the workspaces whether plugins may be installed".to_owned());
    }
    steps.push("`plugport sync` brings the catalog".to_owned());
    if manifest.plugins().is_empty() {
        steps.push(
            "`plugport adopt --on all` adds what is installed to the manifest, or `plugport add ID` one plugin"
                .to_owned(),
        );
    } else {
        steps.push("`plugport lock` chooses the versions, and `plugport plan` shows what would be changed".to_owned());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(url: &str) -> Result<String, InitError> {
        let server = FirstServer { url: url.to_owned(), token_variable: "TOKEN".to_owned(), name: None };
        let options = InitOptions { server: Some(server), ..InitOptions::default() };
        first_draft(Path::new("/nowhere/plugport.toml"), &options).map(|draft| {
            let workspace = &draft.manifest().workspaces()[0];
            format!("{} {}", workspace.name(), workspace.kind().as_str())
        })
    }

    #[test]
    fn the_name_and_the_kind_come_from_the_address() {
        let of = |url: &str| draft(url).expect(url);
        assert_eq!(of("https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com"), "g-0123456789 amg");
        assert_eq!(of("https://metrics.example.com/grafana/"), "metrics grafana");
        assert_eq!(of("http://127.0.0.1:3000"), "grafana grafana");
        assert_eq!(of("http://localhost:3000"), "grafana grafana");
        for refused in ["https://ann:secret@example.com", "no address", "http://metrics.example.com"] {
            assert!(matches!(draft(refused), Err(InitError::Draft(_))), "{refused}");
        }
    }
}
