//! The lock as files of other tools: settings of Grafana, Helm, the Grafana operator, Terraform, Ansible, Docker, Nix. Pure.
//!
//! *Invariant:* the same lock, workspaces, Grafana version and tool give the same bytes; every plugin has its version, none
//! has an address, and none is listed that the target version of Grafana brings itself.
//! *Not for:* reading or writing files, or packages: values in, text out.

mod compare;
mod dockerfile;
mod provisioning;
mod select;
mod setting;
mod settings;

use std::{collections::BTreeMap, fmt::Write as _};

pub(crate) use compare::{LineDifference, differences};
pub(crate) use provisioning::unusable_in_nix;
pub(crate) use select::{ExportError, select};

use crate::{
    lockfile::PackageDigest,
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, Sha256Digest, WorkspaceName},
};

/// How many workspaces the comment at the start names.
const NAMED: usize = 8;

/// What reads the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExportTool {
    /// The environment of a Grafana server.
    Preinstall,
    /// The values of the Helm chart.
    Helm,
    /// A resource of the Grafana operator for Kubernetes.
    Operator,
    /// A module of Terraform or `OpenTofu`.
    Terraform,
    /// A play of Ansible.
    Ansible,
    /// A Dockerfile.
    Docker,
    /// A module of `NixOS`.
    Nix,
}

/// Who runs a workspace, as far as a tool can reach its settings.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Host {
    /// Amazon Managed Grafana: neither settings nor files can be reached.
    Amazon,
    /// A stack of Grafana Cloud, by its slug: Grafana Cloud installs plugins, but its settings cannot be reached.
    Cloud(String),
    /// Anything else: settings and files belong to the user who exports.
    Own,
}

/// A workspace whose locked plugins are exported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ExportedWorkspace {
    /// Its name.
    pub name: WorkspaceName,
    /// Who runs it.
    pub host: Host,
}

/// A plugin of an export.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ExportedPlugin {
    /// Its id.
    pub id: PluginId,
    /// The locked version.
    pub version: PluginVersion,
    /// The digests of its packages; empty if the catalog has none.
    pub packages: BTreeMap<Platform, PackageDigest>,
    /// The workspaces that have it in the lock.
    pub workspaces: Vec<WorkspaceName>,
}

/// What is exported: the locked plugins of some workspaces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ExportSet {
    /// The digest of the lock.
    pub lock: Sha256Digest,
    /// The workspaces, in the order of the manifest.
    pub workspaces: Vec<ExportedWorkspace>,
    /// The version of Grafana that installs the plugins.
    pub grafana: GrafanaVersion,
    /// The platforms of the workspaces.
    pub platforms: Vec<Platform>,
    /// The plugins: each after those that it needs, as far as the lock knows them, else by id.
    pub plugins: Vec<ExportedPlugin>,
    /// Plugins that this version of Grafana brings itself.
    pub core: Vec<ExportedPlugin>,
}

/// Where a Dockerfile takes its packages from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PackageSource {
    /// Downloaded from a repository while the image is built.
    Repository,
    /// Files in the folder `plugins` beside the Dockerfile.
    Files,
}

/// Returns the text for a tool. `command` is repeated in the comment at its start.
pub(crate) fn render(
    set: &ExportSet,
    tool: ExportTool,
    source: PackageSource,
    command: &str,
) -> Result<String, ExportError> {
    let body = match tool {
        ExportTool::Preinstall => settings::environment(set),
        ExportTool::Helm => settings::chart_values(set),
        ExportTool::Operator => settings::operator_resource(set),
        ExportTool::Terraform => provisioning::terraform_module(set)?,
        ExportTool::Ansible => provisioning::ansible_play(set),
        ExportTool::Docker => dockerfile::dockerfile(set, source)?,
        ExportTool::Nix => provisioning::nix_module(set),
    };
    Ok(header(set, command) + &body)
}

/// Returns the file name of a package beside a Dockerfile.
pub(crate) fn package_file(plugin: &ExportedPlugin, platform: &Platform) -> String {
    format!("{}-{}.{platform}.zip", plugin.id, plugin.version)
}

/// Returns the notes about workspaces that cannot be reached by this tool.
pub(crate) fn unreachable_workspaces(set: &ExportSet, tool: ExportTool) -> Vec<String> {
    let note = |workspace: &ExportedWorkspace| {
        let ExportedWorkspace { name, host } = workspace;
        match host {
            Host::Amazon => Some(format!(
                "{name} is on Amazon Managed Grafana, whose settings and files nobody can change: `plugport apply` \
                 installs its plugins"
            )),
            Host::Cloud(_) if tool != ExportTool::Terraform => Some(format!(
                "{name} is on Grafana Cloud, whose settings and files nobody can change: `plugport export terraform` or \
                 `plugport apply` installs its plugins"
            )),
            Host::Cloud(_) | Host::Own => None,
        }
    };
    set.workspaces.iter().filter_map(note).collect()
}

/// Every format has comments that begin with `#`.
fn header(set: &ExportSet, command: &str) -> String {
    let command: String = command.chars().filter(|one| !one.is_control()).collect();
    let first: Vec<_> = set.workspaces.iter().take(NAMED).map(|workspace| workspace.name.as_str()).collect();
    let mut names = first.join(", ");
    if set.workspaces.len() > NAMED {
        let _ = write!(names, " and {} more", set.workspaces.len() - NAMED);
    }
    let grafana = grafana_text(&set.grafana);
    let mut text = format!(
        "# Written by `{command}`; do not edit it.\n# The plugins of {names} for Grafana {grafana}.\n\
         # The lock: sha256:{}\n",
        set.lock
    );
    for ExportedPlugin { id, version, .. } in &set.core {
        let _ = writeln!(text, "# Left out: {id} {version}, which is part of Grafana {grafana}.");
    }
    text
}

/// Returns a version of Grafana without the spaces and the `v` that it may be written with.
fn grafana_text(grafana: &GrafanaVersion) -> String {
    grafana.semver().to_string()
}

#[cfg(test)]
mod tests;
