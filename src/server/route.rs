//! From the path and the query of a request to what is asked for.
//!
//! *Invariant:* pure. No part of a path is ever looked up on a disk: what comes out are names, which a generation has or
//! has not. Doubled slashes count once, and nobody is redirected (protocol page 1.3).
//! *Not for:* methods, headers, or whether what is asked for exists.

use std::borrow::Cow;

/// What is asked for, by the tables 2.2 and 13.2 of the protocol page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// The list of plugins.
    List,
    /// The details of a plugin, by id or number.
    Detail(String),
    /// Its list of versions.
    Versions(String),
    /// One of its versions; `latest` is the newest that the caller can use.
    Version(String, String),
    /// A package of a version.
    Download(String, String),
    /// A logo.
    Logo {
        /// The plugin.
        plugin: String,
        /// The version.
        version: String,
        /// `small` or `large`.
        size: LogoSize,
    },
    /// An image that plugin.json names.
    Image {
        /// The plugin.
        plugin: String,
        /// The version.
        version: String,
        /// The path in the package.
        path: String,
    },
    /// A rating, which only grafana.com has.
    Insights(String),
    /// Whether the caller may install a plugin.
    Entitlement(String),
    /// All plugins, as older clients read them.
    RepoList,
    /// A plugin, as older clients read it.
    Repo(String),
    /// The newest version of some plugins.
    VersionCheck,
    /// The keys that sign plugins.
    Keys,
    /// Patterns that Angular plugins are recognised by.
    AngularPatterns,
    /// The list of dashboards, of which there are none.
    Dashboards,
    /// Something else of grafana.com's API that no mirror has.
    Elsewhere,
    /// Whether the process lives.
    Health,
    /// Whether the mirror can be used.
    Ready,
    /// Numbers for Prometheus.
    Metrics,
    /// A private package to be published.
    Publish {
        /// The plugin.
        plugin: String,
        /// The version.
        version: String,
        /// The platform.
        platform: String,
    },
    /// A page for people.
    Page(Page),
    /// A file that pages use.
    Asset(String),
    /// Nothing that is known.
    Unknown,
    /// A path that is no path.
    Malformed,
}

/// The pages for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// The list of plugins.
    List,
    /// A plugin, or one of its versions.
    Plugin(String, Option<String>),
    /// The logo of a version, which each has on pages.
    Logo(String, String),
    /// What changed.
    Changes,
    /// The same as a feed.
    Feed,
    /// The state of the mirror.
    Status,
    /// What was asked for and is not here.
    Missing,
}

impl Page {
    const fn name(&self) -> &'static str {
        match self {
            Self::List => "page-list",
            Self::Plugin(_, None) => "page-plugin",
            Self::Plugin(_, Some(_)) => "page-version",
            Self::Logo(..) => "page-logo",
            Self::Changes => "page-changes",
            Self::Feed => "page-feed",
            Self::Status => "page-status",
            Self::Missing => "page-missing",
        }
    }
}

/// Which of the two logos.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LogoSize {
    /// `info.logos.small`.
    Small,
    /// `info.logos.large`.
    Large,
}

impl Route {
    /// Returns the name in metrics and the access log.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Detail(_) => "detail",
            Self::Versions(_) => "versions",
            Self::Version(..) => "version",
            Self::Download(..) => "download",
            Self::Logo { .. } => "logo",
            Self::Image { .. } => "image",
            Self::Insights(_) => "insights",
            Self::Entitlement(_) => "entitlement",
            Self::RepoList => "repo-list",
            Self::Repo(_) => "repo",
            Self::VersionCheck => "versioncheck",
            Self::Keys => "keys",
            Self::AngularPatterns => "angular-patterns",
            Self::Dashboards => "dashboards",
            Self::Elsewhere => "elsewhere",
            Self::Health => "healthz",
            Self::Ready => "readyz",
            Self::Metrics => "metrics",
            Self::Publish { .. } => "publish",
            Self::Page(page) => page.name(),
            Self::Asset(_) => "asset",
            Self::Unknown | Self::Malformed => "unknown",
        }
    }
}

/// Returns what a path asks for, and of which channel. `wants_page` says whether a person asks: below `/plugins` both the
/// links of the API and the pages of plugins are.
pub(crate) fn route(path: &str, wants_page: bool) -> (Option<String>, Route) {
    let parts: Option<Vec<String>> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let Some(parts) = parts else { return (None, Route::Malformed) };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["healthz"] => (None, Route::Health),
        ["readyz"] => (None, Route::Ready),
        ["metrics"] => (None, Route::Metrics),
        ["-", name] => (None, Route::Asset((*name).to_owned())),
        ["api", "publish", plugin, version, platform] => {
            let [plugin, version, platform] = [plugin, version, platform].map(|part| (*part).to_owned());
            (None, Route::Publish { plugin, version, platform })
        }
        ["c", channel, rest @ ..] => (Some((*channel).to_owned()), of_channel(rest, wants_page)),
        rest => (None, of_channel(rest, wants_page)),
    }
}

/// Returns whether a path is below the API, where nothing is answered with a page.
pub(crate) fn is_api(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match parts.next() {
        Some("c") => parts.nth(1) == Some("api"),
        first => first == Some("api"),
    }
}

/// Returns what the part of a path behind the channel asks for.
fn of_channel(parts: &[&str], wants_page: bool) -> Route {
    match parts {
        ["api", rest @ ..] => api(rest),
        [] => Route::Page(Page::List),
        ["changes"] => Route::Page(Page::Changes),
        ["changes.atom"] => Route::Page(Page::Feed),
        ["status"] => Route::Page(Page::Status),
        ["missing"] => Route::Page(Page::Missing),
        // For `plugin_catalog_url` of Grafana.
        ["grafana", "plugins", rest @ ..] => page_of_plugin(rest),
        // The links in answers begin here; some read them from the root of the server.
        ["plugins", rest @ ..] => match api(parts) {
            Route::List | Route::Detail(_) if wants_page => page_of_plugin(rest),
            Route::Unknown => page_of_plugin(rest),
            route => route,
        },
        _ => Route::Unknown,
    }
}

fn page_of_plugin(parts: &[&str]) -> Route {
    let owned = |text: &str| text.to_owned();
    match parts {
        [] => Route::Page(Page::List),
        [plugin] => Route::Page(Page::Plugin(owned(plugin), None)),
        [plugin, version] => Route::Page(Page::Plugin(owned(plugin), Some(owned(version)))),
        [plugin, version, "logo"] => Route::Page(Page::Logo(owned(plugin), owned(version))),
        _ => Route::Unknown,
    }
}

/// Returns what the part of a path behind `/api` asks for; Amazon documents it below `/api/gnet` too.
fn api(parts: &[&str]) -> Route {
    match parts {
        ["gnet", rest @ ..] => api(rest),
        ["plugins", rest @ ..] => plugins(rest),
        ["dashboards"] => Route::Dashboards,
        [_, ..] => Route::Elsewhere,
        [] => Route::Unknown,
    }
}

/// The fixed words stand before ids (protocol page 2.2, "route-order trap").
fn plugins(parts: &[&str]) -> Route {
    let owned = |text: &str| text.to_owned();
    match parts {
        [] => Route::List,
        ["repo"] => Route::RepoList,
        ["repo", plugin] => Route::Repo(owned(plugin)),
        ["versioncheck"] => Route::VersionCheck,
        ["ci", "keys"] => Route::Keys,
        ["ci", ..] => Route::Elsewhere,
        ["angular_patterns"] => Route::AngularPatterns,
        [plugin] => Route::Detail(owned(plugin)),
        [plugin, "versions"] => Route::Versions(owned(plugin)),
        [plugin, "entitlement"] => Route::Entitlement(owned(plugin)),
        // One state of Grafana 10.0 asks for `version` in the singular.
        [plugin, "versions" | "version", version] => Route::Version(owned(plugin), owned(version)),
        [plugin, "versions" | "version", version, "download"] => Route::Download(owned(plugin), owned(version)),
        [plugin, "versions", _, "insights"] => Route::Insights(owned(plugin)),
        [plugin, "versions", version, "logos", size @ ("small" | "large")] => {
            let size = if *size == "small" { LogoSize::Small } else { LogoSize::Large };
            Route::Logo { plugin: owned(plugin), version: owned(version), size }
        }
        [plugin, "versions", version, "images", path @ ..] if !path.is_empty() => {
            Route::Image { plugin: owned(plugin), version: owned(version), path: path.join("/") }
        }
        _ => Route::Unknown,
    }
}

/// Decodes one part of a path; `None` for a part that could mean another path.
fn decoded(part: &str) -> Option<String> {
    let bytes = percent_decoded(part.as_bytes(), false)?;
    let text = String::from_utf8(bytes.into_owned()).ok()?;
    let is_odd = |character: char| character.is_control() || matches!(character, '/' | '\\');
    (text != "." && text != ".." && !text.chars().any(is_odd)).then_some(text)
}

/// Decodes `%XX`, and `+` as a space in a form; `None` if a `%` is followed by something else.
fn percent_decoded(text: &[u8], is_form: bool) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| *byte == b'%' || (is_form && *byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let (mut decoded, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'%' => {
                let mut pair = [0];
                hex::decode_to_slice(text.get(at + 1..at + 3)?, &mut pair).ok()?;
                decoded.push(pair[0]);
                at += 3;
                continue;
            }
            b'+' if is_form => decoded.push(b' '),
            other => decoded.push(*other),
        }
        at += 1;
    }
    Some(Cow::Owned(decoded))
}

/// The parameters of a query, those that cannot be decoded left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text behind the `?`.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let decoded = |text: &str| String::from_utf8(percent_decoded(text.as_bytes(), true)?.into_owned()).ok();
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(key)?, decoded(value)?))
        };
        Self(text.unwrap_or_default().split('&').filter(|part| !part.is_empty()).filter_map(pair).collect())
    }

    /// Returns the first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the words of a parameter that is a list with commas, or is there several times; `None` if it is not there.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.iter().filter(|(key, _)| key == name).collect();
        let words = || values.iter().flat_map(|(_, value)| value.split(',')).map(str::trim);
        (!values.is_empty()).then(|| words().filter(|word| !word.is_empty()).collect())
    }

    /// Returns whether a parameter is switched on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "true" | "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> Route {
        let (channel, route) = route(path, false);
        assert_eq!(channel, None, "{path}");
        route
    }

    #[test]
    fn every_request_of_the_tables_has_its_route() {
        let (id, version) = (|| "acme-tides-datasource".to_owned(), || "2.1.0".to_owned());
        for base in ["/api/plugins", "/api/gnet/plugins", "//api//plugins", "/api/plugins/"] {
            let at = |rest: &str| plain(&format!("{base}{rest}"));
            assert_eq!(at(""), Route::List);
            assert_eq!(at("/repo"), Route::RepoList);
            assert_eq!(at("/repo/acme-tides-datasource"), Route::Repo(id()));
            assert_eq!(at("/versioncheck"), Route::VersionCheck);
            assert_eq!(at("/ci/keys"), Route::Keys);
            assert_eq!(at("/angular_patterns"), Route::AngularPatterns);
            assert_eq!(at("/acme-tides-datasource"), Route::Detail(id()));
            assert_eq!(at("/acme-tides-datasource/versions"), Route::Versions(id()));
            assert_eq!(at("/acme-tides-datasource/versions/2.1.0"), Route::Version(id(), version()));
            assert_eq!(at("//acme-tides-datasource/versions/2.1.0/download"), Route::Download(id(), version()));
            assert_eq!(at("/acme-tides-datasource/version/2.1.0/download"), Route::Download(id(), version()));
            assert_eq!(at("/acme-tides-datasource/versions/2.1.0/insights"), Route::Insights(id()));
            assert_eq!(at("/acme-tides-datasource/entitlement"), Route::Entitlement(id()));
            let logo = Route::Logo { plugin: id(), version: version(), size: LogoSize::Large };
            assert_eq!(at("/acme-tides-datasource/versions/2.1.0/logos/large"), logo);
            let image = Route::Image { plugin: id(), version: version(), path: "img/a b.png".to_owned() };
            assert_eq!(at("/acme-tides-datasource/versions/2.1.0/images/img/a%20b.png"), image);
        }
        assert_eq!(plain("/api/dashboards"), Route::Dashboards);
        for path in ["/c/prod/api/plugins", "/c/prod/api/gnet/plugins", "/c//prod/plugins/"] {
            assert_eq!(route(path, false), (Some("prod".to_owned()), Route::List), "{path}");
        }
        for elsewhere in ["/api/dashboards/1860", "/api/grafana/versions/stable", "/api/plugins/ci/sign"] {
            assert_eq!(plain(elsewhere), Route::Elsewhere);
        }
        assert_eq!(
            plain("/api/plugins/x/versions/1.0.0+security-01"),
            Route::Version("x".to_owned(), "1.0.0+security-01".to_owned())
        );
    }

    #[test]
    fn people_get_pages_where_clients_get_the_api() {
        let page = |path: &str, wants_page| match route(path, wants_page) {
            (_, Route::Page(page)) => Some(page),
            _ => None,
        };
        let plugin = |version: Option<&str>| Some(Page::Plugin("a-panel".to_owned(), version.map(str::to_owned)));
        for channel in ["", "/c/prod"] {
            let page = |path: &str, wants_page| page(&format!("{channel}{path}"), wants_page);
            assert_eq!(page("/plugins/a-panel", true), plugin(None));
            assert_eq!(page("/plugins/a-panel", false), None, "a link of the API");
            assert_eq!(page("/grafana/plugins/a-panel/", false), plugin(None));
            assert_eq!(page("/plugins/a-panel/1.0.0+b", false), plugin(Some("1.0.0+b")));
            assert_eq!((page("/", false), page("/plugins", true)), (Some(Page::List), Some(Page::List)));
            assert_eq!((page("/status", false), page("/changes.atom", false)), (Some(Page::Status), Some(Page::Feed)));
            for api in
                ["/plugins/a-panel/versions", "/plugins/repo", "/plugins/ci/keys", "/api/plugins/a-panel", "/api"]
            {
                assert_eq!(page(api, true), None, "{api}");
            }
        }
        assert!(is_api("/api/plugins") && is_api("/c/prod/api") && !is_api("/plugins/api") && !is_api("/c/api"));
    }

    #[test]
    fn a_path_that_could_mean_another_is_none() {
        for path in [
            "/api/plugins/../../etc/passwd",
            "/api/plugins/%2e%2e/x",
            "/api/plugins/x%2fversions",
            "/api/plugins/x%5c..%5cy",
            "/api/plugins/x%00",
            "/api/plugins/%c0%ae",
            "/api/plugins/%zz",
            "/api/plugins/x/versions/1/images/../../MANIFEST.txt",
        ] {
            assert_eq!(plain(path), Route::Malformed, "{path}");
        }
        assert_eq!(plain("/api/plugins/%252e%252e"), Route::Detail("%2e%2e".to_owned()), "decoded once");
    }

    #[test]
    fn queries_are_read_as_real_clients_write_them() {
        let query =
            Query::parse(Some("slugIn=a,b%2Cc&slugIn=d&grafanaVersion=13.0.1+security-01&includeDeprecated=true&x"));
        assert_eq!(query.list("slugIn"), Some(vec!["a", "b", "c", "d"]));
        assert_eq!(query.get("grafanaVersion"), Some("13.0.1 security-01"));
        assert!(query.is_on("includeDeprecated") && !query.is_on("x"));
        assert_eq!(Query::parse(Some("slugIn=")).list("slugIn"), Some(vec![]));
        assert_eq!(Query::parse(Some("a=%zz&b=1")).get("b"), Some("1"));
        assert_eq!(Query::parse(None).list("slugIn"), None);
    }
}
