//! Where pages are: every link within the site is made here.

use std::fmt::Write as _;

use crate::{
    mirror::{Asking, Links, path_part},
    model::{GrafanaVersion, PluginId},
};

/// The longest version of Grafana that is repeated on pages, in characters.
const LONGEST_VERSION: usize = 64;

/// Where pages and the API are for the one who asks, and the version of Grafana that all links keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// The scheme and the server, `https://mirror.example`.
    pub origin: String,
    /// What is put before every path: the path of the public address, without a channel.
    root: String,
    /// The name of the channel; `None` for all that is listed.
    pub channel: Option<String>,
    /// The version of Grafana that works are shown for.
    pub grafana: GrafanaSwitch,
    /// Whether the pages of the fleet are there.
    pub has_fleet: bool,
}

/// The version of Grafana that somebody asks about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum GrafanaSwitch {
    /// None is named.
    #[default]
    Off,
    /// This one, with the text as it was named.
    On(String, GrafanaVersion),
    /// A text that is no version.
    Invalid(String),
}

impl GrafanaSwitch {
    /// Reads a parameter. `12.4`, which is Amazon's form, stands for `12.4.0`.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Self::Off };
        let text: String = text.chars().take(LONGEST_VERSION).collect();
        // A space stands for the plus that the form took away.
        let written = text.replace(' ', "+");
        let whole =
            if written.bytes().filter(|byte| *byte == b'.').count() == 1 { format!("{written}.0") } else { written };
        match whole.parse() {
            Ok(version) => Self::On(text, version),
            Err(_) => Self::Invalid(text),
        }
    }

    /// Returns the version.
    pub(crate) fn version(&self) -> Option<&GrafanaVersion> {
        if let Self::On(_, version) = self { Some(version) } else { None }
    }

    /// Returns the text that links keep; empty if there is none.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Off => "",
            Self::On(text, _) | Self::Invalid(text) => text,
        }
    }

    /// Returns whether a text was given that is no version.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }

    /// Returns who asks; what is no version asks for nothing.
    pub(super) fn asking(&self) -> Asking {
        self.version().map_or(Asking::Anyone, |version| Asking::Version(version.clone()))
    }
}

impl Site {
    /// Returns the site of a generation with these links. `origin` is used if the public address is not known.
    pub(crate) fn new(links: &Links, channel: Option<&str>, origin: String) -> Self {
        let public = links.origin();
        let path = links.path();
        let root = channel.and_then(|name| path.strip_suffix(&format!("/c/{name}"))).unwrap_or(path);
        Self {
            origin: if public.is_empty() { origin } else { public.to_owned() },
            root: root.to_owned(),
            channel: channel.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Returns the site with another version of Grafana.
    pub(crate) fn switched_to(self, grafana: GrafanaSwitch) -> Self {
        Self { grafana, ..self }
    }

    /// Returns the path of something that all channels share.
    pub(super) fn shared(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// Returns the path of something that a channel has of its own, without the version of Grafana.
    pub(super) fn own(&self, path: &str) -> String {
        let channel = self.channel.as_ref().map_or_else(String::new, |name| format!("/c/{}", path_part(name)));
        format!("{}{channel}{path}", self.root)
    }

    /// Returns a link to a page, with parameters and the version of Grafana.
    pub(super) fn page(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        with_query(self.own(path), parameters.iter().copied().chain([("grafana", self.grafana.text())]))
    }

    /// Returns the site of another channel; `None` stands for all that is listed.
    pub(super) fn of_channel(&self, channel: Option<&str>) -> Self {
        Self { channel: channel.map(str::to_owned), ..self.clone() }
    }

    /// Returns a link to the page of a plugin, or of one of its versions.
    pub(super) fn plugin(&self, id: &PluginId, version: Option<&str>) -> String {
        let version = version.map_or_else(String::new, |version| format!("/{}", path_part(version)));
        self.page(&format!("/plugins/{id}{version}"), &[])
    }

    /// Returns the address of the API, as settings of Grafana have it.
    pub(super) fn api(&self) -> String {
        format!("{}{}", self.origin, self.own("/api"))
    }
}

/// Returns a path with those parameters that have a value.
fn with_query<'a>(mut path: String, parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut before = '?';
    for (key, value) in parameters.filter(|(_, value)| !value.is_empty()) {
        path.push(before);
        path.push_str(key);
        path.push('=');
        push_encoded(&mut path, value);
        before = '&';
    }
    path
}

pub(super) fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// Returns whether a text can be the name of a server with its port, as a client says it.
pub(crate) fn is_origin(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    (1..=255).contains(&host.len()) && host.bytes().all(is_plain)
}
