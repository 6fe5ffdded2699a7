//! What a Grafana asks of a plugin catalog, by its version, and which of its settings point it at a mirror. Pure.
//!
//! *Invariant:* a request is listed for a version only if that version makes it, as far as its source was read; where a
//! boundary is not known to the patch, it is that of the minor version.
//! *Not for:* asking: see `ops::doctor`.
//!
//! Source: protocol page 1.2 (base addresses), 2.2 and 13.4 (requests by version), 13.1 C1 and C2, 13.3.

mod judge;
mod requests;
mod settings;

pub(crate) use self::{
    judge::{MirrorAnswer, Offer, check, dependencies, offer, plugins, screenshot},
    requests::{CatalogRequest, Example, Redirection, Usable, requests},
    settings::{Egress, IniSetting, egress, ini_settings, other_variables, warnings},
};

use crate::model::GrafanaVersion;

/// Returns the major and the minor number.
fn minor(grafana: &GrafanaVersion) -> (u64, u64) {
    (grafana.semver().major, grafana.semver().minor)
}
