//! The settings that point a Grafana at a mirror, and those that stop what no mirror can answer.

use serde::Serialize;

use super::minor;
use crate::model::GrafanaVersion;

/// A key of grafana.ini.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct IniSetting {
    /// The section.
    pub section: &'static str,
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: String,
}

impl IniSetting {
    /// Returns the variable of the environment that sets the same.
    pub(crate) fn variable(&self) -> String {
        format!("GF_{}_{}", self.section, self.key).to_ascii_uppercase()
    }
}

/// Something that a Grafana asks of other hosts, which no setting leads to a mirror.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Egress {
    /// What is asked, and of whom.
    pub request: &'static str,
    /// The section and the key of grafana.ini that stops it, and the value.
    pub setting: IniSetting,
}

/// Returns what a Grafana of this version asks of other hosts.
pub(crate) fn egress(grafana: &GrafanaVersion) -> Vec<Egress> {
    let version = minor(grafana);
    let off = |section, key, value: &str| IniSetting { section, key, value: value.to_owned() };
    let own_updates = if version >= (10, 0) {
        "updates of Grafana itself: grafana.com/api/grafana/versions/stable, once a day"
    } else {
        "updates of Grafana itself: raw.githubusercontent.com, once a day"
    };
    let mut found = vec![
        Egress { request: own_updates, setting: off("analytics", "check_for_updates", "false") },
        Egress {
            request: "usage statistics: stats.grafana.org, once a day",
            setting: off("analytics", "reporting_enabled", "false"),
        },
        Egress {
            request: "pictures of users: secure.gravatar.com, for each user that is shown",
            setting: off("security", "disable_gravatar", "true"),
        },
        Egress {
            request: "snapshots for everybody: snapshots.raintank.io, when somebody publishes one",
            setting: off("snapshots", "external_enabled", "false"),
        },
    ];
    if version >= (8, 0) {
        found.push(Egress {
            request: "news: grafana.com/blog, by the browser",
            setting: off("news", "news_feed_enabled", "false"),
        });
    }
    if ((9, 0)..(11, 1)).contains(&version) {
        found.push(Egress {
            request: "updates of plugins: grafana.com/api/plugins/versioncheck, every ten minutes",
            setting: off("analytics", "check_for_plugin_updates", "false"),
        });
    }
    found
}

/// Returns the keys that point a Grafana of this version at the mirror at `url`, which has no slash at its end.
pub(crate) fn ini_settings(grafana: &GrafanaVersion, url: &str) -> Vec<IniSetting> {
    let version = minor(grafana);
    let key = |section, key, value: String| IniSetting { section, key, value };
    let mut keys = Vec::new();
    if version < (9, 4) {
        keys.push(key("grafana_net", "url", url.to_owned()));
    }
    if ((10, 0)..(11, 1)).contains(&version) {
        keys.push(key("grafana_com", "url", url.to_owned()));
    }
    if version >= (9, 4) {
        keys.push(key("grafana_com", "api_url", format!("{url}/api")));
    }
    if version >= (8, 0) {
        keys.push(key("plugins", "plugin_catalog_url", format!("{url}/grafana/plugins/")));
    }
    keys.extend(egress(grafana).into_iter().map(|egress| egress.setting));
    keys
}

/// Returns variables that have no key in grafana.ini, with their values.
pub(crate) fn other_variables(grafana: &GrafanaVersion, url: &str) -> Vec<(&'static str, String)> {
    let mut variables = vec![("GF_PLUGIN_REPO", format!("{url}/api/plugins"))];
    if minor(grafana) >= (12, 4) {
        variables.push(("GRAFANA_COM_API_URL", format!("{url}/api/plugins")));
    }
    variables
}

/// The first version that a warning is for, the first that it is no longer for, and its text.
type Warning = ((u64, u64), (u64, u64), &'static str);

/// Returns what an operator of this version must know.
pub(crate) fn warnings(grafana: &GrafanaVersion) -> Vec<&'static str> {
    let version = minor(grafana);
    let rows: [Warning; 7] = [
        (
            (0, 0),
            (10, 0),
            "installations by this server cannot be redirected: use `grafana cli --repo`, or plugport itself",
        ),
        ((10, 0), (11, 1), "`[grafana_com] url` also moves the login with grafana.com: leave it if you use that login"),
        (
            (10, 0),
            (u64::MAX, 0),
            "keys are asked for at the start and then every ten days: start the mirror before Grafana",
        ),
        (
            (11, 3),
            (11, 5),
            "preinstalled plugins are downgraded if the mirror is behind: pin them with `id@version`, or keep the mirror ahead",
        ),
        (
            (11, 3),
            (u64::MAX, 0),
            "preinstalled plugins that are not pinned move to the newest version of the mirror at every start",
        ),
        ((12, 0), (13, 0), "a core data source in the list of preinstalled plugins ends the start of Grafana"),
        (
            (13, 0),
            (u64::MAX, 0),
            "many core data sources are catalog plugins: without them on the mirror, bundled copies are used",
        ),
    ];
    rows.into_iter().filter(|(since, until, _)| (*since..*until).contains(&version)).map(|(_, _, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(version: &str) -> Vec<String> {
        let keys = ini_settings(&version.parse().expect("a version"), "https://m");
        keys.iter().filter(|key| key.value.contains("https://m")).map(IniSetting::variable).collect()
    }

    #[test]
    fn each_age_is_pointed_at_the_mirror_by_its_own_keys() {
        let catalog = "GF_PLUGINS_PLUGIN_CATALOG_URL";
        assert_eq!(names("9.3.0"), ["GF_GRAFANA_NET_URL", catalog]);
        assert_eq!(names("9.5.0"), ["GF_GRAFANA_COM_API_URL", catalog]);
        assert_eq!(names("10.4.0"), ["GF_GRAFANA_COM_URL", "GF_GRAFANA_COM_API_URL", catalog]);
        assert_eq!(names("13.1.0"), ["GF_GRAFANA_COM_API_URL", catalog]);
    }

    #[test]
    fn warnings_fit_the_version() {
        let count = |version: &str| warnings(&version.parse().expect("a version")).len();
        assert_eq!(["9.4.0", "10.4.0", "11.4.0", "11.6.0", "12.1.0", "13.1.0"].map(count), [1, 2, 3, 2, 3, 3]);
    }
}
