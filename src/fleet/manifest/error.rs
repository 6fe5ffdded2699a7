//! What can be wrong with a manifest.

use std::{io, path::PathBuf};

use super::{kind::WorkspaceKind, uid::Uid};
use crate::{
    diagnostic::{Kind, diagnose, printable},
    fleet::reference::ParseReferenceError,
    model::WorkspaceName,
    net::SiteError,
    spelling::nearest,
};

/// A manifest was refused. No error repeats a line of the file: it may contain a secret by mistake.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("the manifest `{}` cannot be read", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or a value is of the wrong kind.
    #[error("invalid `{}`, line {line}: {}", shown(path), printable(message))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The message of the TOML reader.
        message: String,
    },
    /// A key that has no meaning there.
    #[error("invalid `{}`, line {line}: unknown key `{}`", shown(path), key.escape_debug())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The keys that have a meaning there.
        known: Vec<String>,
    },
    /// What should say where a secret is does not.
    #[error("invalid `{}`, line {line}: expected a reference to a secret", shown(path))]
    Secret {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Why not.
        source: ParseReferenceError,
    },
    /// It can be read, and breaks a rule.
    #[error("invalid `{}`, line {line}", shown(path))]
    Rule {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Which rule it breaks.
        source: RuleError,
    },
}

/// A rule that a manifest breaks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuleError {
    /// Two workspaces have one name.
    #[error("duplicate workspace name `{0}`")]
    TwiceNamed(WorkspaceName),
    /// Two workspaces have the same address or folder.
    #[error("the workspaces `{first}` and `{second}` have the same address or folder `{place}`", place = place.escape_debug())]
    SamePlace {
        /// The earlier one.
        first: WorkspaceName,
        /// The later one.
        second: WorkspaceName,
        /// The address or the folder.
        place: String,
    },
    /// A workspace has the name of all of them.
    #[error("`all` is not a valid workspace name: it selects every workspace")]
    NamedAll,
    /// A field is missing.
    #[error("the workspace `{workspace}` of kind `{}` requires `{field}`", kind.as_str())]
    Missing {
        /// The workspace.
        workspace: WorkspaceName,
        /// Its kind.
        kind: WorkspaceKind,
        /// What it lacks.
        field: &'static str,
    },
    /// A field is there that has no meaning for the kind.
    #[error("the workspace `{workspace}` of kind `{}` does not allow `{field}`", kind.as_str())]
    Unfit {
        /// The workspace.
        workspace: WorkspaceName,
        /// Its kind.
        kind: WorkspaceKind,
        /// What it has too much.
        field: &'static str,
    },
    /// A workspace has a token and a user.
    #[error("the workspace `{0}` has both a `token` and a `user`")]
    TwoLogins(WorkspaceName),
    /// A workspace has a service account of AWS, and the workspace of AWS is not given.
    #[error("the address of the workspace `{0}` does not belong to Amazon Managed Grafana")]
    NotOfAws(WorkspaceName),
    /// An address cannot be that of a catalog or a workspace.
    #[error("invalid address")]
    Address(#[source] SiteError),
    /// A data source has no name.
    #[error("the data source `{0}` has no `name`")]
    Unnamed(Uid),
    /// Two entries are about one data source, or two data sources have one name.
    #[error("duplicate data source `{}` on the workspace `{workspace}`", name.escape_debug())]
    SameDataSource {
        /// The unique id or the name.
        name: String,
        /// A workspace that both entries mean.
        workspace: WorkspaceName,
    },
    /// One folder is to have two titles.
    #[error("the folder `{uid}` on the workspace `{workspace}` has two titles")]
    TwoTitles {
        /// The unique id.
        uid: Uid,
        /// A workspace that both entries mean.
        workspace: WorkspaceName,
    },
    /// A folder of plugins is to have a data source or dashboards.
    #[error("the workspace `{0}` is a folder of plugins, which has neither data sources nor dashboards")]
    NoServer(WorkspaceName),
    /// A selector selects nothing.
    #[error("{place}")]
    Selector {
        /// Its state, like `` `on` of the plugin `x` ``.
        place: String,
        /// What it does not select.
        source: SelectError,
    },
}

/// A selector, or a part of it, selects nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// There is no workspace of that name.
    #[error("there is no workspace `{name}`")]
    UnknownWorkspace {
        /// The name.
        name: WorkspaceName,
        /// The names that are nearest to it.
        nearest: Vec<WorkspaceName>,
    },
    /// No name fits a glob.
    #[error("no workspace has a name like `{glob}`")]
    NoNameFits {
        /// The glob.
        glob: String,
        /// The names that are nearest to it.
        nearest: Vec<WorkspaceName>,
    },
    /// No workspace has these labels.
    #[error("no workspace has the labels `{}`", selector.escape_debug())]
    NoMatch {
        /// The labels.
        selector: String,
        /// The labels that may have been intended.
        nearest: Vec<String>,
        /// The labels that there are.
        known: Vec<String>,
    },
    /// Names and labels each select workspaces, but no workspace is selected by both.
    #[error("no workspace is selected by `{}`", selector.escape_debug())]
    NothingLeft {
        /// The names and labels.
        selector: String,
    },
    /// The manifest names no workspaces at all.
    #[error("the manifest has no workspaces")]
    NoWorkspaces,
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

diagnose!(ManifestError {
    forward Rule { source };
    UnknownKey { key, known } => Kind::Usage, known_keys(key, known);
    Secret { source: ParseReferenceError::Account(_) } => Kind::Usage,
        "write `{ aws-service-account = \"ID\" }`; `plugport workspace discover --write` does it for you";
    Secret => Kind::Usage, "write `{ env = \"NAME\" }`, `{ file = \"PATH\" }` or `{ command = \"PROGRAM ARGUMENTS\" }`";
    Read | Syntax => Kind::Usage;
});

/// Returns the nearest of the known keys, or all of them.
fn known_keys(key: &str, known: &[String]) -> Option<String> {
    match nearest(key, known.iter().map(String::as_str)).first() {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known here: `{}`", known.join("`, `"))),
    }
}

diagnose!(RuleError {
    forward Address, Selector { source };
    Missing { field: "token", kind: WorkspaceKind::Grafana } => Kind::Usage,
        "add `token = { env = \"NAME\" }`, or `user` and `password`";
    Missing { field: "token" | "password" } => Kind::Usage, "secrets are given by reference: `{ env = \"NAME\" }`";
    NotOfAws => Kind::Usage,
        "say which it is: `token = { aws-service-account = \"ID\", workspace = \"g-...\", region = \"...\" }`";
    SamePlace => Kind::Usage, "keep one of them: a change must not reach one workspace twice";
    _ => Kind::Usage;
});

diagnose!(SelectError {
    UnknownWorkspace { nearest } | NoNameFits { nearest } if nearest.is_empty() => Kind::Usage,
        "`plugport workspace list` shows their names";
    UnknownWorkspace { nearest } | NoNameFits { nearest } => Kind::Usage, did_you_mean(nearest);
    NoMatch { nearest } if !nearest.is_empty() => Kind::Usage, did_you_mean(nearest);
    NoMatch { known } if !known.is_empty() => Kind::Usage, format!("known here: {}", quoted(known).join(", "));
    NoMatch | NothingLeft => Kind::Usage, "`plugport workspace list` shows the names and labels";
    NoWorkspaces => Kind::Usage,
        "add a `[[workspace]]` to plugport.toml, name another manifest with `--config`, or a folder with `--dir`";
});

fn did_you_mean(names: &[impl ToString]) -> String {
    format!("did you mean {}?", quoted(names).join(" or "))
}

fn quoted(names: &[impl ToString]) -> Vec<String> {
    names.iter().map(|name| format!("`{}`", name.to_string().escape_debug())).collect()
}
