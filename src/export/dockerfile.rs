//! A Dockerfile with the plugins in the image: nothing is downloaded when the server starts.

use std::fmt::Write as _;

use super::{ExportError, ExportSet, ExportedPlugin, PackageSource, grafana_text, package_file};
use crate::{lockfile::PackageDigest, model::Platform};

/// Returns a Dockerfile. A stage for each platform holds its packages; the next compares them with the lock and unpacks them,
/// because Grafana's own installer would choose the dependencies anew.
pub(super) fn dockerfile(set: &ExportSet, source: PackageSource) -> Result<String, ExportError> {
    // A tag has no `+`: the image of 13.0.1+security-01 is 13.0.1-security-01.
    let tag = grafana_text(&set.grafana).replace('+', "-");
    let mut text = format!(
        "# The stages before the last are no images that run, and addresses are in a variable:\n\
         # hadolint global ignore=DL3002,DL3006,DL3020\n\
         ARG GRAFANA_IMAGE=grafana/grafana:{tag}\n# Unpacks the plugins; it needs sh, unzip and sha256sum.\n\
         ARG TOOLS_IMAGE=grafana/grafana:{tag}\n"
    );
    if source == PackageSource::Repository {
        text.push_str("# A mirror is used with --build-arg PLUGIN_REPOSITORY=https://mirror/api/plugins\n");
        text.push_str("ARG PLUGIN_REPOSITORY=https://grafana.com/api/plugins\n");
    }
    text.push_str("\nFROM ${TOOLS_IMAGE} AS tools\nUSER 0\nWORKDIR /zips\n");
    for platform in &set.platforms {
        packages_stage(&mut text, set, platform, source)?;
    }
    text.push_str(
        r#"
FROM packages-${TARGETARCH} AS plugins
WORKDIR /plugins
RUN for zip in /zips/*.zip; do unzip -q "$zip" || exit 1; done

FROM ${GRAFANA_IMAGE}
COPY --from=plugins --chown=472:0 /plugins /var/lib/grafana-plugins
ENV GF_PATHS_PLUGINS=/var/lib/grafana-plugins
"#,
    );
    Ok(text)
}

fn packages_stage(
    text: &mut String,
    set: &ExportSet,
    platform: &Platform,
    source: PackageSource,
) -> Result<(), ExportError> {
    let Some(("linux", architecture)) = platform.os_arch() else {
        return Err(ExportError::NoImage(platform.clone()));
    };
    let _ = write!(text, "\nFROM tools AS packages-{architecture}\n");
    if source == PackageSource::Repository {
        text.push_str("ARG PLUGIN_REPOSITORY\n");
    }
    let (mut sha256, mut md5) = (Vec::new(), Vec::new());
    for plugin in &set.plugins {
        let ExportedPlugin { id, version, packages, .. } = plugin;
        let key = platform.choose(packages.keys());
        let Some((key, digest)) = key.and_then(|key| Some((key, packages.get(key)?))) else {
            return Err(ExportError::NoPackage {
                plugin: id.clone(),
                version: version.clone(),
                platform: platform.clone(),
            });
        };
        let _ = writeln!(text, "# {id} {version} ({key}) {digest}");
        let _ = match source {
            PackageSource::Files => writeln!(text, "COPY plugins/{} {id}.zip", package_file(plugin, key)),
            PackageSource::Repository => {
                let query = key.os_arch().map(|(os, arch)| format!("?os={os}&arch={arch}")).unwrap_or_default();
                writeln!(text, "ADD ${{PLUGIN_REPOSITORY}}/{id}/versions/{version}/download{query} {id}.zip")
            }
        };
        match digest {
            PackageDigest::Sha256(digest) => sha256.push(format!("{digest}  {id}.zip")),
            PackageDigest::Md5(digest) => md5.push(format!("{digest}  {id}.zip")),
        }
    }
    check(text, "sha256sum", &sha256);
    check(text, "md5sum", &md5);
    Ok(())
}

/// Adds a command that ends the build unless every file has its digest.
fn check(text: &mut String, program: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str("RUN printf '%s\\n' \\\n");
    for line in lines {
        let _ = writeln!(text, "    '{line}' \\");
    }
    let _ = writeln!(text, "    > {program}s && {program} -c {program}s");
}
