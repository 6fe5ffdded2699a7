//! The requests of each version of Grafana.

use serde::Serialize;

use super::minor;
use crate::model::GrafanaVersion;

/// When a Grafana makes a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestMoment {
    /// When it starts.
    Start,
    /// While somebody looks at plugins or imports a dashboard.
    Browse,
    /// When a plugin is installed.
    Install,
    /// Again and again.
    Poll,
}

impl RequestMoment {
    /// Returns it as a word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Browse => "browse",
            Self::Install => "install",
            Self::Poll => "poll",
        }
    }
}

/// What a client can use as an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usable {
    /// A JSON object with this list, which has something in it.
    List(&'static str),
    /// A JSON object with this list, which may be empty.
    MaybeEmptyList(&'static str),
    /// A JSON object with this field.
    Object(&'static str),
    /// A JSON array.
    Array,
    /// A zip.
    Package,
    /// An image.
    Image,
    /// Anything but a failure of the server: clients take "not found" as "there is none".
    Anything,
    /// "Not found", or a JSON object with this list: an object without it breaks the page.
    AbsentOrList(&'static str),
}

/// How a request reaches a mirror.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Redirection {
    /// By this setting.
    Setting(&'static str),
    /// Not at all; this helps.
    None(&'static str),
}

/// A request to the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CatalogRequest {
    /// When it is made.
    pub moment: RequestMoment,
    /// Who makes it: `server`, `cli`, `browser` or `app`.
    pub client: &'static str,
    /// The path and query below the address of the mirror.
    pub path: String,
    /// Whether the path names the example.
    pub names_plugin: bool,
    /// What the client can use.
    pub expected: Usable,
    /// How it reaches a mirror.
    pub redirection: Redirection,
}

/// A plugin of the mirror that requests are tried with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Example {
    /// The plugin.
    pub plugin: String,
    /// A version of it.
    pub version: String,
    /// The path of a screenshot, if plugin.json names one.
    pub screenshot: Option<String>,
}

const API_URL: &str = "GF_GRAFANA_COM_API_URL";
const BASE_URL: &str = "GF_GRAFANA_COM_URL";
const CLI: Redirection = Redirection::Setting("GF_PLUGIN_REPO");

/// Returns the requests that a Grafana of this version makes, in the order in which they happen.
pub(crate) fn requests(grafana: &GrafanaVersion, example: &Example) -> Vec<CatalogRequest> {
    let rows = Rows {
        version: minor(grafana),
        plugin: format!("/plugins/{}", example.plugin),
        id: example.plugin.clone(),
        made: Vec::new(),
    };
    rows.start().browse(example).install(example).poll(example).made
}

struct Rows {
    version: (u64, u64),
    /// The path of the example, and its id.
    plugin: String,
    id: String,
    made: Vec<CatalogRequest>,
}

impl Rows {
    fn add(
        mut self,
        moment: RequestMoment,
        client: &'static str,
        path: impl AsRef<str>,
        rest: (Usable, Redirection),
    ) -> Self {
        let (path, (expected, redirection)) = (format!("/api{}", path.as_ref()), rest);
        let names_plugin = path.contains(&self.id);
        self.made.push(CatalogRequest { moment, client, path, names_plugin, expected, redirection });
        self
    }

    /// Adds what the rows return if the version is in a range; the end is not part of it.
    fn when(self, since: (u64, u64), until: (u64, u64), add: impl FnOnce(Self) -> Self) -> Self {
        if (since..until).contains(&self.version) { add(self) } else { self }
    }

    /// Returns what redirects the browser's requests, which go through `/api/gnet` of the server.
    fn browser(&self) -> Redirection {
        Redirection::Setting(if self.version >= (9, 4) { API_URL } else { "GF_GRAFANA_NET_URL" })
    }

    /// Returns what redirects the installation by a server.
    fn installer(&self) -> Redirection {
        match self.version {
            version if version >= (11, 1) => Redirection::Setting(API_URL),
            version if version >= (10, 0) => Redirection::Setting(BASE_URL),
            _ => Redirection::None("install with `grafana cli --repo URL/api/plugins`, or into the folder by plugport"),
        }
    }

    fn start(self) -> Self {
        let (keys, installer) = (self.browser(), self.installer());
        self.when((10, 0), END, |rows| {
            rows.add(RequestMoment::Start, "server", "/plugins/ci/keys", (Usable::List("items"), keys))
        })
        .when((11, 3), END, |rows| {
            let path = format!("{}/versions", rows.plugin);
            rows.add(RequestMoment::Start, "server", path, (Usable::List("items"), installer))
        })
    }

    fn browse(self, example: &Example) -> Self {
        let (via, plugin) = (self.browser(), self.plugin.clone());
        let version = format!("{plugin}/versions/{}", example.version);
        let logos = if self.version >= (11, 1) {
            via
        } else {
            Redirection::None("logos are fetched from grafana.com: without it they are grey")
        };
        let rows = self
            .add(RequestMoment::Browse, "browser", "/plugins?includeDeprecated=true", (Usable::List("items"), via))
            .add(RequestMoment::Browse, "browser", &plugin, (Usable::Object("slug"), via))
            .add(RequestMoment::Browse, "browser", format!("{plugin}/versions"), (Usable::List("items"), via))
            .when((10, 3), END, |rows| {
                rows.add(RequestMoment::Browse, "browser", &version, (Usable::Object("version"), via))
            })
            .add(RequestMoment::Browse, "browser", format!("{version}/logos/small"), (Usable::Image, logos));
        let rows = match &example.screenshot {
            Some(path) => rows.when((12, 0), END, |rows| {
                rows.add(RequestMoment::Browse, "browser", format!("{version}/images/{path}"), (Usable::Image, via))
            }),
            None => rows,
        };
        rows.when((12, 4), END, |rows| {
            let expected = Usable::AbsentOrList("insights");
            rows.add(RequestMoment::Browse, "browser", format!("{version}/insights"), (expected, via))
        })
        .when((13, 0), END, |rows| {
            rows.add(RequestMoment::Browse, "browser", format!("{plugin}/entitlement"), (Usable::Anything, via))
        })
        .add(RequestMoment::Browse, "browser", "/dashboards/1860", (Usable::Anything, via))
        .when((12, 0), END, |rows| {
            let path = "/dashboards?orderBy=downloads&direction=desc&page=1&pageSize=6&includeLogo=1";
            rows.add(RequestMoment::Browse, "browser", path, (Usable::MaybeEmptyList("items"), via))
        })
        .when((12, 4), END, |rows| {
            let setting = Redirection::Setting("GRAFANA_COM_API_URL");
            rows.add(RequestMoment::Browse, "app", &version, (Usable::Object("version"), setting))
        })
    }

    fn install(self, example: &Example) -> Self {
        let (via, plugin, id) = (self.installer(), self.plugin.clone(), &example.plugin);
        let version = format!("{plugin}/versions/{}", example.version);
        let repo = format!("/plugins/repo/{id}");
        self.when((8, 0), (10, 3), |rows| {
            rows.add(RequestMoment::Install, "server", &repo, (Usable::List("versions"), via))
        })
        .when((10, 3), END, |rows| {
            rows.add(RequestMoment::Install, "server", format!("{plugin}/versions"), (Usable::List("items"), via))
        })
        .when((13, 0), END, |rows| {
            rows.add(RequestMoment::Install, "server", &version, (Usable::Object("version"), via))
        })
        .when((8, 0), END, |rows| {
            rows.add(RequestMoment::Install, "server", format!("{version}/download"), (Usable::Package, via))
        })
        .add(RequestMoment::Install, "cli", "/plugins/repo", (Usable::List("plugins"), CLI))
        .add(RequestMoment::Install, "cli", &repo, (Usable::List("versions"), CLI))
        // The command line joins texts: with a slash at the end of the address there are two.
        .add(
            RequestMoment::Install,
            "cli",
            format!("/plugins//{id}/versions/{}/download", example.version),
            (Usable::Package, CLI),
        )
    }

    fn poll(self, example: &Example) -> Self {
        let via = self.browser();
        let check = if self.version >= (11, 1) {
            via
        } else {
            Redirection::None("set GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false")
        };
        self.when((9, 0), END, |rows| {
            let path = format!("/plugins/versioncheck?slugIn={}", example.plugin);
            rows.add(RequestMoment::Poll, "server", path, (Usable::Array, check))
        })
        .when((10, 1), (13, 0), |rows| {
            rows.add(RequestMoment::Poll, "server", "/plugins/angular_patterns", (Usable::Array, via))
        })
    }
}

/// No version is as high.
const END: (u64, u64) = (u64::MAX, u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(version: &str) -> Vec<CatalogRequest> {
        let example = Example {
            plugin: "acme-clock-panel".to_owned(),
            version: "1.0.0".to_owned(),
            screenshot: Some("img/shot.png".to_owned()),
        };
        requests(&version.parse().expect("a version"), &example)
    }

    fn has(version: &str, path: &str) -> bool {
        rows(version).iter().any(|row| row.path == format!("/api{path}"))
    }

    #[test]
    fn requests_come_and_go_with_the_version() {
        let asks = |path: &str| {
            ["9.4.0", "10.4.0", "11.4.0", "11.6.0", "12.1.0", "12.4.0", "13.1.0"].map(|one| has(one, path))
        };
        assert_eq!(asks("/plugins/ci/keys"), [false, true, true, true, true, true, true]);
        assert_eq!(asks("/plugins/angular_patterns"), [false, true, true, true, true, true, false]);
        assert_eq!(
            asks("/plugins/acme-clock-panel/versions/1.0.0/insights"),
            [false, false, false, false, false, true, true]
        );
        assert_eq!(asks("/plugins/acme-clock-panel/entitlement"), [false, false, false, false, false, false, true]);
        assert_eq!(
            asks("/plugins/acme-clock-panel/versions/1.0.0/images/img/shot.png"),
            [false, false, false, false, true, true, true]
        );
        assert!(asks("/plugins?includeDeprecated=true").iter().all(|asked| *asked));
    }

    #[test]
    fn what_a_server_installs_with_moves_by_another_setting_with_each_age() {
        let download = |version: &str| {
            let rows = rows(version);
            let row = rows.iter().find(|row| row.client == "server" && row.path.ends_with("/download"));
            row.map(|row| row.redirection)
        };
        assert_eq!(download("7.5.17"), None);
        assert!(matches!(download("9.5.0"), Some(Redirection::None(_))));
        assert_eq!(download("10.4.0"), Some(Redirection::Setting(BASE_URL)));
        assert_eq!(download("11.0.0"), Some(Redirection::Setting(BASE_URL)));
        assert_eq!(download("11.1.0"), Some(Redirection::Setting(API_URL)));
    }
}
