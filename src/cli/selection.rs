//! Which workspaces or folder a command is about: `--on` and `--dir`, shared by the commands that have them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Session};
use crate::{
    fleet::{Target, Workspace},
    model::{Platform, Selector, WorkspaceName},
};

/// Where.
#[derive(Args, Debug)]
pub(super) struct TargetSelection {
    /// These workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable)
    #[arg(long, value_name = "WORKSPACE|SELECTOR", conflicts_with = "dir")]
    on: Vec<Selector>,
    /// This plugins folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl TargetSelection {
    /// Returns whether nothing was named.
    pub(super) fn is_empty(&self) -> bool {
        self.on.is_empty() && self.dir.is_none()
    }

    /// Returns the targets that were named; it is an error to name none.
    pub(super) async fn named(&self, session: &Session) -> Result<Vec<Target>, Failure> {
        if self.is_empty() {
            let hint = "`--on NAME` means a workspace of plugport.toml, `--on all` every one, `--dir FOLDER` a folder";
            return Err(Failure::usage("no workspace is named: `--on` or `--dir` is missing", hint));
        }
        self.or_all(session).await
    }

    /// Returns the targets that were named, or every workspace of the manifest.
    pub(super) async fn or_all(&self, session: &Session) -> Result<Vec<Target>, Failure> {
        if let Some(path) = &self.dir {
            return Ok(vec![folder(path)]);
        }
        let workspaces = select(session, &self.on)?;
        Ok(session.services()?.connect_all(workspaces).await)
    }
}

/// Returns the workspaces of the manifest that any of the selectors selects; without selectors, all.
pub(super) fn select<'a>(session: &'a Session, selectors: &[Selector]) -> Result<Vec<&'a Workspace>, Failure> {
    Ok(session.manifest()?.select(&Selector::any(selectors).unwrap_or_else(Selector::all))?)
}

/// Connects to workspaces, side by side; returned with their names, in their order.
pub(super) async fn connect(
    session: &Session,
    workspaces: Vec<&Workspace>,
) -> Result<Vec<(WorkspaceName, Target)>, Failure> {
    let names: Vec<_> = workspaces.iter().map(|workspace| workspace.name().clone()).collect();
    let targets = session.services()?.connect_all(workspaces).await;
    Ok(names.into_iter().zip(targets).collect())
}

fn folder(path: &Path) -> Target {
    Target::folder(path.display().to_string(), Platform::host(), path.to_path_buf(), None)
}
