//! Tools that set the environment of a Grafana server: a file of variables, the Helm chart, the Grafana operator.

use std::fmt::Write as _;

use semver::Version;

use super::{ExportSet, setting::InstallSetting};

/// Returns lines like `NAME=VALUE`, as `docker --env-file`, Compose and systemd read them: without quotes.
pub(super) fn environment(set: &ExportSet) -> String {
    let setting = InstallSetting::for_grafana(&set.grafana);
    let mut text = String::new();
    let keys = setting.ini_keys(&set.plugins);
    if keys.is_empty() {
        text.push_str("# Only the start script of Grafana's container image reads this variable. Elsewhere, run:\n");
        for plugin in &set.plugins {
            let _ = writeln!(text, "#   grafana-cli plugins install {} {}", plugin.id, plugin.version);
        }
    } else {
        text.push_str("# The same in grafana.ini:\n#   [plugins]\n");
        for (key, value) in keys {
            let _ = writeln!(text, "#   {key} = {value}");
        }
    }
    for (name, value) in setting.variables(&set.plugins) {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// Returns values of the chart `grafana` of <https://github.com/grafana-community/helm-charts>. Its own list `plugins` becomes
/// `GF_INSTALL_PLUGINS`, which an image without a shell does not read, so newer servers get the variable that they read
/// themselves.
pub(super) fn chart_values(set: &ExportSet) -> String {
    let setting = InstallSetting::for_grafana(&set.grafana);
    let mut text =
        "# Values of the chart `grafana` of https://github.com/grafana-community/helm-charts\n---\n".to_owned();
    if setting == InstallSetting::StartScript {
        text.push_str("plugins:\n");
        for plugin in &set.plugins {
            let _ = writeln!(text, "  - {} {}", plugin.id, plugin.version);
        }
    } else {
        text.push_str("env:\n");
        for (name, value) in setting.variables(&set.plugins) {
            let _ = writeln!(text, "  {name}: \"{value}\"");
        }
    }
    text
}

/// Returns a `Grafana` of the operator with nothing but the variables, and the same plugins as a list in comments: a list
/// belongs to a data source or a dashboard, which is not exported.
pub(super) fn operator_resource(set: &ExportSet) -> String {
    let mut text = "\
# Merge this into your resource `Grafana`. It changes nothing if that is `external`.
---
apiVersion: grafana.integreatly.org/v1beta1
kind: Grafana
metadata:
  name: grafana
spec:
  deployment:
    spec:
      template:
        spec:
          containers:
            - name: grafana
              env:
"
    .to_owned();
    for (name, value) in InstallSetting::for_grafana(&set.grafana).variables(&set.plugins) {
        let _ = write!(text, "                - name: {name}\n                  value: \"{value}\"\n");
    }
    text.push_str("# Or, instead, below `spec` of a GrafanaDatasource or a GrafanaDashboard:\n#   plugins:\n");
    for plugin in &set.plugins {
        let (id, version) = (&plugin.id, &plugin.version);
        if Version::parse(version.as_str()).is_ok() {
            let _ = write!(text, "#     - name: {id}\n#       version: \"{version}\"\n");
        } else {
            let _ = writeln!(text, "#     # {id} {version}: the operator refuses a version without three numbers");
        }
    }
    text
}
