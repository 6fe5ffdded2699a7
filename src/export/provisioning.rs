//! Tools that install plugins themselves: Terraform, Ansible, Nix.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{ExportError, ExportSet, ExportedPlugin, Host, setting::InstallSetting};
use crate::{lockfile::PackageDigest, model::Platform};

/// Returns resources for stacks of Grafana Cloud, and for other servers the variables as a local value, because no
/// provider has a resource for their plugins.
pub(super) fn terraform_module(set: &ExportSet) -> Result<String, ExportError> {
    let amazon: Vec<_> = set.workspaces.iter().filter(|one| one.host == Host::Amazon).collect();
    if !amazon.is_empty() {
        return Err(ExportError::Amazon(amazon.into_iter().map(|one| one.name.clone()).collect()));
    }
    let stack = |host: &Host| match host {
        Host::Cloud(stack) => Some(stack.clone()),
        Host::Amazon | Host::Own => None,
    };
    let stacks: BTreeSet<_> = set.workspaces.iter().filter_map(|one| stack(&one.host)).collect();
    let mut text = String::new();
    if !stacks.is_empty() {
        cloud_resources(&mut text, set, &stacks);
    }
    if set.workspaces.iter().any(|one| one.host == Host::Own) {
        own_variables(&mut text, set);
    }
    Ok(text)
}

fn cloud_resources(text: &mut String, set: &ExportSet, stacks: &BTreeSet<String>) {
    let stacks: Vec<_> = stacks.iter().map(|stack| format!("\"{stack}\"")).collect();
    let widest = set.plugins.iter().map(|plugin| plugin.id.as_str().len()).max().unwrap_or_default();
    let _ = write!(text, "locals {{\n  plugport_stacks = [{}]\n\n  plugport_plugins = {{\n", stacks.join(", "));
    for ExportedPlugin { id, version, .. } in &set.plugins {
        let gap = " ".repeat(widest - id.as_str().len());
        let _ = writeln!(text, "    \"{id}\"{gap} = \"{version}\"");
    }
    text.push_str(
        r#"  }
}

resource "grafana_cloud_plugin_installation" "plugport" {
  for_each = {
    for pair in setproduct(local.plugport_stacks, keys(local.plugport_plugins)) : join("/", pair) => pair
  }

  stack_slug = each.value[0]
  slug       = each.value[1]
  version    = local.plugport_plugins[each.value[1]]
}
"#,
    );
}

fn own_variables(text: &mut String, set: &ExportSet) {
    let variables = InstallSetting::for_grafana(&set.grafana).variables(&set.plugins);
    let widest = variables.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let gap = if text.is_empty() { "" } else { "\n" };
    text.push_str(gap);
    text.push_str(
        "# No provider has a resource for the plugins of a server of your own. This value is the environment of its
# container; it does nothing until something uses it, like `values = [yamlencode({ env = local.plugport_environment })]`
# of a `helm_release`.
locals {
  plugport_environment = {
",
    );
    for (name, value) in variables {
        let _ = writeln!(text, "    {name}{} = \"{value}\"", " ".repeat(widest - name.len()));
    }
    text.push_str("  }\n}\n");
}

/// Returns a play that installs the plugins with `grafana-cli`, one after the other.
pub(super) fn ansible_play(set: &ExportSet) -> String {
    let mut text = r#"# Needs the collection community.grafana. Variables: grafana_hosts, and grafana_plugin_repository for a mirror, like
# https://mirror/api/plugins
---
- name: Install the plugins of Grafana
  hosts: "{{ grafana_hosts | default('grafana') }}"
  become: true
  tasks:
    - name: Install each plugin in its locked version
      community.grafana.grafana_plugin:
        name: "{{ item.id }}"
        version: "{{ item.version }}"
        grafana_repo: "{{ grafana_plugin_repository | default(omit) }}"
        state: present
      loop:
"#
    .to_owned();
    for ExportedPlugin { id, version, .. } in &set.plugins {
        let _ = write!(text, "        - id: {id}\n          version: \"{version}\"\n");
    }
    text.push_str(
        "      notify: Restart Grafana
  handlers:
    - name: Restart Grafana
      ansible.builtin.service:
        name: grafana-server
        state: restarted
",
    );
    text
}

/// The platforms that the builder of nixpkgs knows, with their names there.
const NIX_SYSTEMS: [(&str, &str); 4] = [
    ("linux-amd64", "x86_64-linux"),
    ("linux-arm64", "aarch64-linux"),
    ("darwin-amd64", "x86_64-darwin"),
    ("darwin-arm64", "aarch64-darwin"),
];

/// Returns the plugins that Nix cannot build: the lock has no SHA-256 of a package that Nix could use.
pub(crate) fn unusable_in_nix(set: &ExportSet) -> Vec<&ExportedPlugin> {
    set.plugins.iter().filter(|plugin| nix_hash(plugin).is_none()).collect()
}

/// Returns a module of `NixOS` with the builder `grafanaPlugin` of nixpkgs.
pub(super) fn nix_module(set: &ExportSet) -> String {
    let mut text = "{ pkgs, ... }:\n{\n  services.grafana.declarativePlugins = [\n".to_owned();
    for plugin in &set.plugins {
        let ExportedPlugin { id, version, .. } = plugin;
        let Some(hash) = nix_hash(plugin) else {
            let _ =
                writeln!(text, "    # {id} {version} is missing: Nix needs a SHA-256, and the lock has none of it.");
            continue;
        };
        let _ = write!(
            text,
            "    (pkgs.grafanaPlugins.grafanaPlugin {{\n      pname = \"{id}\";\n      version = \"{version}\";\n      \
             zipHash = {hash};\n    }})\n"
        );
    }
    text.push_str("  ];\n}\n");
    text
}

/// Returns the hash of a package that runs everywhere, or those of the packages by system.
fn nix_hash(plugin: &ExportedPlugin) -> Option<String> {
    let hash = |digest: &PackageDigest| match digest {
        PackageDigest::Sha256(sha256) => Some(format!("\"sha256-{}\"", BASE64.encode(sha256.as_bytes()))),
        PackageDigest::Md5(_) => None,
    };
    if let Some(digest) = plugin.packages.get(&Platform::any()) {
        return hash(digest);
    }
    let mut set = String::new();
    for (platform, digest) in &plugin.packages {
        let system = NIX_SYSTEMS.iter().find(|(name, _)| *name == platform.as_str());
        if let (Some((_, system)), Some(hash)) = (system, hash(digest)) {
            let _ = writeln!(set, "        {system} = {hash};");
        }
    }
    (!set.is_empty()).then(|| format!("{{\n{set}      }}"))
}
