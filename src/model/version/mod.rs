//! Versions of plugins and of Grafana.
//!
//! *Invariant:* every version keeps the text it was published with, and comparing two never fails, panics or wraps.
//! *Not for:* ranges, which are in `model::range`.

mod grafana;
mod lenient;
mod npm;
mod plugin;

pub use grafana::GrafanaVersion;
pub(crate) use grafana::NoInstallRoute;
pub(super) use lenient::Lenient;
pub(super) use npm::{is_space, parse_trimmed};
pub use plugin::PluginVersion;

use crate::diagnostic::{Kind, diagnose};

/// The longest text that an error repeats, in characters.
const MAX_QUOTED: usize = 128;

/// A text is not a version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a version: {reason}", text.escape_debug())]
pub struct ParseVersionError {
    text: String,
    reason: &'static str,
}

impl ParseVersionError {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.chars().take(MAX_QUOTED).collect(), reason }
    }
}

diagnose!(ParseVersionError => Kind::Usage);
