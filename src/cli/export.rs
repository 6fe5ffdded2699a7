//! `plugport export`.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, Report, Session, Text, selection::select, setup::to_document, ui};
use crate::{
    export::ExportTool,
    model::{GrafanaVersion, Selector},
    ops::export::{ExportOptions, ExportOutcome, export},
};

/// Print the lock as a file of another tool
///
/// Every plugin is pinned to its locked version. Plugins that the target version of Grafana brings itself are left out. One
/// file is for one set of plugins: if the selected workspaces have different versions of a plugin, it is refused. Nothing
/// is requested from a workspace.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// The tool that reads the file
    #[arg(value_enum, value_name = "TOOL")]
    tool: ToolName,
    /// Export what is locked for these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod`
    /// (repeatable) [default: all]
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
    /// The version of Grafana that reads the file [default: the one in the lock]
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaVersion>,
    /// Print nothing but what is different in this file, and exit with 3 if something is
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// With `docker`: copy the packages from the store to the folder `plugins` in this one, where the Dockerfile belongs
    #[arg(long, value_name = "DIR")]
    from_store: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ToolName {
    /// Grafana itself: variables of its environment, and the same for grafana.ini
    Preinstall,
    /// The Helm chart of Grafana: values
    Helm,
    /// The Grafana operator for Kubernetes: a part of the resource `Grafana`
    Operator,
    /// Terraform: resources for Grafana Cloud, else a local value
    Terraform,
    /// Ansible: a play
    Ansible,
    /// A Dockerfile
    Docker,
    /// NixOS: a module
    Nix,
}

impl ToolName {
    fn name(self) -> &'static str {
        match self {
            Self::Preinstall => "preinstall",
            Self::Helm => "helm",
            Self::Operator => "operator",
            Self::Terraform => "terraform",
            Self::Ansible => "ansible",
            Self::Docker => "docker",
            Self::Nix => "nix",
        }
    }

    fn tool(self) -> ExportTool {
        match self {
            Self::Preinstall => ExportTool::Preinstall,
            Self::Helm => ExportTool::Helm,
            Self::Operator => ExportTool::Operator,
            Self::Terraform => ExportTool::Terraform,
            Self::Ansible => ExportTool::Ansible,
            Self::Docker => ExportTool::Docker,
            Self::Nix => ExportTool::Nix,
        }
    }
}

impl ExportArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        if self.from_store.is_some() && self.tool != ToolName::Docker {
            let message = format!("`{}` has no place for packages", self.tool.name());
            return Err(Failure::usage(message, "`--from-store` is for `plugport export docker`"));
        }
        let workspaces = select(session, &self.on)?;
        let options = ExportOptions {
            tool: self.tool.tool(),
            grafana: self.grafana.clone(),
            store_copies: self.from_store.clone(),
            check: self.check.clone(),
            command: self.command(),
        };
        let outcome = export(session.context()?, &session.manifest_path, &workspaces, &options).await?;
        let mut report = self.report(&outcome);
        report.document["tool"] = self.tool.name().into();
        Ok(report)
    }

    /// Returns the command that writes the same again.
    fn command(&self) -> String {
        let mut command = format!("plugport export {}", self.tool.name());
        for on in &self.on {
            let _ = write!(command, " --on {}", quoted(&on.to_string()));
        }
        if let Some(grafana) = &self.grafana {
            let _ = write!(command, " --grafana {}", quoted(grafana.as_str().trim()));
        }
        if let Some(folder) = &self.from_store {
            let _ = write!(command, " --from-store {}", quoted(&folder.display().to_string()));
        }
        command
    }

    fn report(&self, outcome: &ExportOutcome) -> Report {
        let mut problems: Vec<_> = outcome.remarks.iter().map(|remark| format!("note: {remark}")).collect();
        for one in &outcome.unusable {
            let reason = "the lock has no SHA-256 of a package that the tool accepts";
            problems.push(format!("failed: {} {}: {reason}", one.plugin, one.version));
        }
        let mut notes: Vec<_> = outcome.written.iter().map(|path| format!("written: {}", path.display())).collect();
        let text = match (&outcome.differences, &self.check) {
            (Some(differences), Some(file)) => {
                if differences.is_empty() {
                    notes.push(format!("`{}` is up to date", file.display()));
                }
                let line = |difference| ui::clean(&format!("{}: {difference}", file.display())) + "\n";
                differences.iter().map(line).collect::<String>().into()
            }
            _ => Text::verbatim(outcome.text.clone()),
        };
        Report { document: to_document(outcome), text, notes, problems, kind: outcome.kind() }
    }
}

/// Returns a word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "=,._-+/".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
