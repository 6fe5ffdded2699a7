//! Lists of plugins as Grafana's own settings, its image and its Helm chart write them.
//!
//! *Invariant:* no address of a list is kept or repeated: it may contain a password.
//! *Not for:* other keys of those files: a line that is no plugin is refused.

use crate::{
    diagnostic::{Kind, diagnose},
    model::{PluginId, VersionRange},
};

/// The settings that hold such a list; a longer name comes before one that it begins with.
const KEYS: [&str; 6] = [
    "GF_INSTALL_PLUGINS",
    "GF_PLUGINS_PREINSTALL_SYNC",
    "GF_PLUGINS_PREINSTALL",
    "preinstall_sync",
    "preinstall",
    "plugins",
];

/// A plugin of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ListedPlugin {
    /// The plugin.
    pub id: PluginId,
    /// The version; `None` for the newest.
    pub version: Option<VersionRange>,
    /// Whether it comes from an address of its own instead of the catalog.
    pub has_address: bool,
}

/// A list of plugins cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ParseListError {
    /// It has no plugin.
    #[error("the list names no plugin")]
    Empty,
    /// An item is no plugin.
    #[error("`{}` is not a plugin of such a list", .0.escape_debug())]
    Item(String),
    /// An item with an address has no id.
    #[error("an item of the list has an address and no plugin id")]
    Address,
    /// A plugin is there twice, with two versions.
    #[error("the list has `{0}` with two versions")]
    TwoVersions(PluginId),
}

diagnose!(ParseListError => Kind::Usage,
    "the forms are `id`, `id version`, `id@version`, `id@version@url` and `url;id`, between commas or a line each");

/// Reads a list: the value of `GF_INSTALL_PLUGINS` or `preinstall`, or `plugins` of the Helm chart, with its key or without.
pub(crate) fn parse(text: &str) -> Result<Vec<ListedPlugin>, ParseListError> {
    let mut found: Vec<ListedPlugin> = Vec::new();
    for item in text.lines().flat_map(|line| value(line).split(',')).map(bare).filter(|item| !item.is_empty()) {
        let plugin = parse_item(item)?;
        match found.iter().find(|known| known.id == plugin.id) {
            None => found.push(plugin),
            Some(known) if known.version == plugin.version => {}
            Some(_) => return Err(ParseListError::TwoVersions(plugin.id)),
        }
    }
    if found.is_empty() { Err(ParseListError::Empty) } else { Ok(found) }
}

/// Returns a line without its comment and without the key that the list belongs to.
fn value(line: &str) -> &str {
    let line = line.split(" #").next().unwrap_or(line).trim();
    if line.starts_with('#') {
        return "";
    }
    let bare = line.trim_start_matches("- ").trim_start_matches("export ").trim_start_matches(['"', '\'']);
    let after = |key: &&str| bare.strip_prefix(*key)?.trim_start().strip_prefix(['=', ':']);
    KEYS.iter().find_map(after).unwrap_or(line)
}

/// Returns an item without the signs of a list and of quotation.
fn bare(item: &str) -> &str {
    let item = item.trim().trim_matches(['[', ']']).trim();
    item.strip_prefix("- ").unwrap_or(item).trim().trim_matches(['"', '\'']).trim()
}

fn parse_item(item: &str) -> Result<ListedPlugin, ParseListError> {
    if let Some((_, rest)) = item.rsplit_once(';') {
        return plugin(rest.split_whitespace(), true);
    }
    if item.contains('@') && !item.contains(char::is_whitespace) {
        let mut parts = item.splitn(3, '@');
        let (id, version) = (parts.next(), parts.next().filter(|version| !version.is_empty()));
        return plugin(id.into_iter().chain(version), parts.next().is_some());
    }
    plugin(item.split_whitespace(), false)
}

/// Makes a plugin of an id and maybe a version.
fn plugin<'a>(mut words: impl Iterator<Item = &'a str>, has_address: bool) -> Result<ListedPlugin, ParseListError> {
    let (id, version, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    let refuse = |text: &str| {
        if text.contains("://") || text.is_empty() {
            ParseListError::Address
        } else {
            ParseListError::Item(text.chars().take(80).collect())
        }
    };
    let parsed = id.parse::<PluginId>().map_err(|_| refuse(id))?;
    let version = match version {
        None | Some("latest" | "*") => None,
        Some(text) => Some(text.parse::<VersionRange>().map_err(|_| refuse(text))?),
    };
    match more {
        Some(more) => Err(refuse(more)),
        None => Ok(ListedPlugin { id: parsed, version, has_address }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a list has, as `id version address`.
    fn read(text: &str) -> Vec<String> {
        let show = |plugin: ListedPlugin| {
            let version = plugin.version.map_or("-".to_owned(), |version| version.to_string());
            format!("{} {version}{}", plugin.id, if plugin.has_address { " address" } else { "" })
        };
        parse(text).expect(text).into_iter().map(show).collect()
    }

    #[test]
    fn every_form_is_read() {
        let two = ["grafana-clock-panel -", "acme-sea-app 1.3.5"];
        for text in [
            "grafana-clock-panel,acme-sea-app 1.3.5",
            "grafana-clock-panel, acme-sea-app@1.3.5",
            "GF_INSTALL_PLUGINS=grafana-clock-panel,acme-sea-app 1.3.5",
            "export GF_PLUGINS_PREINSTALL=\"grafana-clock-panel,acme-sea-app@1.3.5\"",
            "- GF_PLUGINS_PREINSTALL_SYNC=grafana-clock-panel@,acme-sea-app@1.3.5",
            "preinstall = grafana-clock-panel, acme-sea-app@1.3.5",
            "plugins:\n  # from the catalog\n  - grafana-clock-panel # the newest\n  - \"acme-sea-app 1.3.5\"\n",
            "plugins: [\"grafana-clock-panel\", 'acme-sea-app 1.3.5']",
            "grafana-clock-panel latest\n\nacme-sea-app 1.3.5\ngrafana-clock-panel\n",
        ] {
            assert_eq!(read(text), two, "{text}");
        }
    }

    #[test]
    fn plugins_from_an_address_are_marked() {
        let address = "https://user:pass@host/x.zip";
        assert_eq!(read(&format!("{address};acme-sea-app")), ["acme-sea-app - address"]);
        assert_eq!(read(&format!("acme-sea-app@1.0.0@{address}")), ["acme-sea-app 1.0.0 address"]);
        assert_eq!(read(&format!("acme-sea-app@@{address}")), ["acme-sea-app - address"]);
    }

    #[test]
    fn what_is_no_list_is_refused_and_no_address_is_repeated() {
        let address = "https://user:pass@host/x.zip";
        let refused = |text: &str| parse(text).expect_err(text).to_string();
        assert!(refused(" ,\n# nothing\n").contains("no plugin"));
        assert!(refused("grafana:\n  replicas: 1").contains("`grafana:`"));
        assert!(refused("acme-sea-app one").contains("`one`"));
        assert!(refused("acme-sea-app 1.0.0,acme-sea-app 2.0.0").contains("two versions"));
        for text in [address.to_owned(), format!("{address};"), format!("acme-sea-app 1.0.0 {address}")] {
            assert!(!refused(&text).contains("pass"), "{text}");
        }
    }
}
