//! A path of a server's API as somebody typed it.
//!
//! *Invariant:* it is sent byte for byte as it was typed, and it leads to no other server and out of no sub-path: it has no
//! scheme, no host, no `..` in any spelling, and no character that would be written otherwise on the way.
//! *Not for:* paths that the program makes itself, whose parts are encoded one by one.

use std::str::FromStr;

use url::Url;

use crate::diagnostic::{Kind, diagnose};

/// A path below a site with its query, without a slash at its beginning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestPath(String);

/// A text is no path that can be requested.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseRequestPathError {
    /// It names a server.
    #[error("`{}` names a server, not a path", .0.escape_debug())]
    Address(String),
    /// It has a part like `..`.
    #[error("`{}` leaves the address of the workspace: it has a part `.` or `..`", .0.escape_debug())]
    Leaves(String),
    /// It has a fragment, which is never sent.
    #[error("`{}` has a `#`, which starts a fragment and is not sent", .0.escape_debug())]
    Fragment(String),
    /// It has characters that a request cannot have.
    #[error("`{}` has characters that must be percent-encoded", text.escape_debug())]
    Encoding {
        /// The text.
        text: String,
        /// The same, encoded; `None` if it has no encoding.
        encoded: Option<String>,
    },
}

diagnose!(ParseRequestPathError {
    Address | Leaves => Kind::Usage, "write the path below the address of the workspace, like `/api/org`";
    Fragment => Kind::Usage, "write `%23` for a `#` in a path or a query";
    Encoding { encoded } => Kind::Usage, encoded.as_ref().map(|encoded| format!("write `/{encoded}`"));
});

impl FromStr for RequestPath {
    type Err = ParseRequestPathError;

    fn from_str(text: &str) -> Result<Self, ParseRequestPathError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        if path.starts_with(['/', '\\']) || has_scheme(path) {
            return Err(ParseRequestPathError::Address(text.to_owned()));
        }
        if path.contains('#') {
            return Err(ParseRequestPathError::Fragment(text.to_owned()));
        }
        if leaves(path.split('?').next().unwrap_or_default()) {
            return Err(ParseRequestPathError::Leaves(text.to_owned()));
        }
        let encoded = encode(path);
        if encoded.as_deref() != Some(path) {
            return Err(ParseRequestPathError::Encoding { text: text.to_owned(), encoded });
        }
        Ok(Self(path.to_owned()))
    }
}

impl RequestPath {
    /// Returns the path, without the query and without a slash at its beginning.
    pub fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// Returns the address of this path below another.
    pub(super) fn below(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), self.path()));
        url.set_query(self.0.split_once('?').map(|(_, query)| query));
        url
    }
}

impl std::fmt::Display for RequestPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

/// Returns whether a text begins like an address of another kind: `https:`, `file:`.
fn has_scheme(path: &str) -> bool {
    let first = path.split(['/', '?']).next().unwrap_or_default();
    first.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|other| other.is_ascii_alphanumeric() || "+-.".contains(other))
    })
}

/// Returns whether a part of a path is `.` or `..`, also in a spelling that only the server decodes.
fn leaves(path: &str) -> bool {
    let mut decoded = path.to_ascii_lowercase();
    // Twice: a proxy may decode once more.
    for _ in 0..2 {
        decoded = decoded.replace("%25", "%").replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    }
    decoded.split(['/', '\\']).any(|part| part == "." || part == "..")
}

/// Returns the path as a request spells it.
fn encode(path: &str) -> Option<String> {
    const HOST: &str = "https://host/";
    let url = Url::parse(&format!("{HOST}{path}")).ok()?;
    url.as_str().strip_prefix(HOST).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_byte_for_byte_below_its_site() {
        let base: Url = "https://host.example/grafana".parse().expect("an address");
        for text in [
            "/api/org",
            "/api/search?query=a%20b&tag=x&tag=y",
            "/api/orgs/name/Main%20Org%2E",
            "/api/datasources/proxy/1/api/v1/query?query=up{job=%22a%22}[5m]",
            "/api/datasources/uid/a:b/resources/x//y",
            "/apis/folder.grafana.app/v1beta1/namespaces/default/folders",
            "/file/dashboard..json",
            "/",
            "/api/search?",
        ] {
            let path: RequestPath = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(path.below(&base).as_str(), format!("https://host.example/grafana{text}"));
            assert_eq!(path.to_string(), text);
        }
        let relative: RequestPath = "api/org".parse().expect("a path");
        assert_eq!(relative.below(&base).as_str(), "https://host.example/grafana/api/org");
    }

    #[test]
    fn a_path_that_leaves_its_site_is_refused() {
        for text in [
            "https://evil.example/api",
            "//evil.example/api",
            "/\\evil.example",
            "\\evil",
            "file:///etc",
            "javascript:x",
            "/../api",
            "/api/..",
            "/api/%2e%2e/x",
            "/api/%2E./x",
            "/api/..%2fx",
            "/api/x%5c..%5cy",
            "/api/%252e%252e/x",
            "/api/./x",
            "/api/a\\..\\b",
            "/api/x#y",
        ] {
            assert!(text.parse::<RequestPath>().is_err(), "{text}");
        }
        let spaced = "/api/search?query=a b\n".parse::<RequestPath>().expect_err("not encoded");
        assert!(matches!(spaced, ParseRequestPathError::Encoding { .. }));
        let spaced = "/api/search?query=a b&x='".parse::<RequestPath>().expect_err("not encoded");
        assert_eq!(
            crate::diagnostic::Diagnose::hint(&spaced).as_deref(),
            Some("write `/api/search?query=a%20b&x=%27`")
        );
    }
}
