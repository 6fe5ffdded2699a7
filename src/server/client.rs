//! What kind of client asks, as far as it says so.

use super::reply::Asked;
use crate::{mirror::Asking, model::Platform};

/// Returns the kind of client: `server`, `cli`, `preinstall`, `browser`, `poller`, `plugport`, `app` or `other`.
pub(super) fn kind(asked: Asked<'_>) -> &'static str {
    let agent = asked.header("user-agent").unwrap_or_default();
    match asked.header("grafana-origin") {
        Some("cli") => return "cli",
        Some("preinstall") => return "preinstall",
        Some("api") => return "server",
        _ => {}
    }
    if asked.header("x-grafana-referer").is_some() || agent.starts_with("Mozilla/") {
        return "browser";
    }
    if agent.starts_with("plugport/") {
        return "plugport";
    }
    if agent.starts_with("grafana-plugins-app") {
        return "app";
    }
    if agent.starts_with("grafana ") || asked.header("grafana-os").is_some() {
        // Before grafana-origin, around Grafana 11, a server and its command line sent the same headers.
        return "server";
    }
    if agent.starts_with("Go-http-client/") { "poller" } else { "other" }
}

/// Returns which Grafana asks.
pub(super) fn asking(asked: Asked<'_>) -> Asking {
    Asking::parse(asked.header("grafana-version"))
}

/// Returns the platform that the headers name.
pub(super) fn platform(asked: Asked<'_>) -> Option<Platform> {
    platform_of(asked.header("grafana-os"), asked.header("grafana-arch"))
}

/// Returns the platform of an operating system and an architecture, in Go's words.
pub(super) fn platform_of(os: Option<&str>, arch: Option<&str>) -> Option<Platform> {
    format!("{}-{}", os?.trim(), arch?.trim()).to_ascii_lowercase().parse().ok()
}

/// Returns whether a person asks with a browser of their own: one that takes pages, and not through a Grafana.
pub(super) fn wants_page(asked: Asked<'_>) -> bool {
    let is_through_grafana = ["grafana-version", "grafana-origin", "x-grafana-referer"];
    let accepts = asked.header("accept").unwrap_or_default();
    let mut types = accepts.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    types.any(|media_type| media_type.eq_ignore_ascii_case("text/html"))
        && !is_through_grafana.into_iter().any(|name| asked.header(name).is_some())
}

/// Returns whether a browser asks, for a page or for what a page needs, and not through a Grafana.
pub(super) fn is_browser(asked: Asked<'_>) -> bool {
    kind(asked) == "browser" && asked.header("x-grafana-referer").is_none()
}
