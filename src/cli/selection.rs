//! Which workspaces or folder a command is about: `--on` and `--dir`, shared by the commands that have them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Session};
use crate::{
    fleet::{Target, Workspace},
    model::{Platform, Selector},
};

/// Where.
#[derive(Args, Debug)]
pub(super) struct TargetSelection {
    /// These workspaces of the manifest: `all`, a name, or labels like `tier=prod,region=eu`
    #[arg(long, value_name = "WORKSPACE|SELECTOR", conflicts_with = "dir")]
    on: Option<Selector>,
    /// This plugins folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl TargetSelection {
    /// Returns whether nothing was named.
    pub(super) fn is_empty(&self) -> bool {
        self.on.is_none() && self.dir.is_none()
    }

    /// Returns the targets that were named; it is an error to name none.
    pub(super) async fn named(&self, session: &Session) -> Result<Vec<Target>, Failure> {
        if self.is_empty() {
            let hint = "`--on NAME` means a workspace of plugport.toml, `--on all` every one, `--dir FOLDER` a folder";
            return Err(Failure::usage("it is not said where: `--on` or `--dir` is missing", hint));
        }
        self.or_all(session).await
    }

    /// Returns the targets that were named, or every workspace of the manifest.
    pub(super) async fn or_all(&self, session: &Session) -> Result<Vec<Target>, Failure> {
        if let Some(path) = &self.dir {
            return Ok(vec![folder(path)]);
        }
        let selector = self.on.clone().unwrap_or(Selector::All);
        let workspaces = select(session, &selector)?;
        let mut targets = Vec::new();
        for workspace in workspaces {
            targets.push(session.services()?.connect(workspace).await);
        }
        Ok(targets)
    }
}

/// Returns the workspaces of the manifest that a selector means.
pub(super) fn select<'a>(session: &'a Session, selector: &Selector) -> Result<Vec<&'a Workspace>, Failure> {
    Ok(session.manifest()?.select(selector)?)
}

fn folder(path: &Path) -> Target {
    Target::folder(path.display().to_string(), Platform::host(), path.to_path_buf(), None)
}
