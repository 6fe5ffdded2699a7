//! Accepts by name what raised an alert.
//!
//! *Invariant:* what is accepted is what was offered last, in one transaction with the log entry that says so. Nobody
//! accepts what they did not name.
//! *Not for:* packages: the store keeps what it has until `fetch` brings what is promised now.

use serde::Serialize;

use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::{Index, IndexError, OpenAlert},
    model::{PluginId, PluginVersion, Timestamp},
    ops::{
        Context,
        alerts::Alert,
        candidates::{LookupError, find_plugin},
    },
};

/// What was accepted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct AcceptOutcome {
    /// The alerts, oldest first.
    pub accepted: Vec<Alert>,
    /// Whether the store has a package of the version that is not the promised one any more.
    #[serde(skip)]
    pub is_store_behind: bool,
}

/// Nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The cache cannot be used.
    #[error("nothing was accepted")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("nothing was accepted")]
    Index(#[from] IndexError),
    /// There is no such plugin.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no such version, and no alert on it.
    #[error("the catalog has no version {version} of {plugin}")]
    NoVersion {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// What is open on the plugin.
        open: Vec<Alert>,
    },
    /// No alert is open on it.
    #[error("there is nothing to accept for {plugin}@{version}")]
    Nothing {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// What is open: on the plugin, or else on others.
        open: Vec<Alert>,
    },
}

/// How many open alerts are listed when the named one is not found.
const NEAREST: usize = 5;

diagnose!(AcceptError {
    forward Home, Index, Lookup;
    NoVersion { open } | Nothing { open } => Kind::Failed, open_alerts(open);
});

fn open_alerts(open: &[Alert]) -> String {
    if open.is_empty() {
        return "no alert is open".to_owned();
    }
    let named: Vec<_> = open.iter().take(NEAREST).map(ToString::to_string).collect();
    let more = open.len().saturating_sub(NEAREST);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("these alerts are open: {}{rest}", named.join("; "))
}

/// Accepts all open alerts on a version, and those on its plugin as a whole; takes the lock of the cache.
pub(crate) async fn accept(
    context: &Context,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<AcceptOutcome, AcceptError> {
    let _lock = context.lock().await?;
    let (plugin, version, now) = (plugin.clone(), version.clone(), context.now());
    context.index().write(move |index| accept_in(index, (&plugin, &version), now)).await
}

fn accept_in(
    index: &mut Index,
    (plugin, version): (&PluginId, &PluginVersion),
    now: Timestamp,
) -> Result<AcceptOutcome, AcceptError> {
    find_plugin(index, plugin)?;
    let alerts = named(index, plugin, version)?;
    let mut writer = index.begin_accepting(plugin, now)?;
    for alert in &alerts {
        writer.accept(alert)?;
    }
    writer.commit(&serde_json::json!({ "accepted": alerts.len() }))?;
    let accepted = alerts.into_iter().map(|alert| Alert::from(alert.change)).collect();
    Ok(AcceptOutcome { accepted, is_store_behind: is_store_behind(index, plugin, version)? })
}

/// Returns the alerts that a version names.
fn named(index: &Index, plugin: &PluginId, version: &PluginVersion) -> Result<Vec<OpenAlert>, AcceptError> {
    let alerts = index.open_alerts(plugin)?;
    let is_of = |alert: &&OpenAlert| alert.change.version.as_ref().is_some_and(|of| of.same_release(version));
    let is_known = alerts.iter().any(|alert| is_of(&alert))
        || index.releases(plugin)?.iter().any(|stored| stored.release.version.same_release(version));
    let (found, rest): (Vec<_>, Vec<_>) =
        alerts.iter().partition(|alert| is_known && (alert.change.version.is_none() || is_of(alert)));
    if !found.is_empty() {
        return Ok(found.into_iter().cloned().collect());
    }
    let open = if rest.is_empty() { elsewhere(index)? } else { described(rest) };
    let (plugin, version) = (plugin.clone(), version.clone());
    Err(if is_known {
        AcceptError::Nothing { plugin, version, open }
    } else {
        AcceptError::NoVersion { plugin, version, open }
    })
}

fn elsewhere(index: &Index) -> Result<Vec<Alert>, IndexError> {
    let all = index.all_open_alerts()?;
    let mut open: Vec<_> = all.values().flatten().collect();
    open.sort_by(|left, right| (left.sync, &left.change.plugin).cmp(&(right.sync, &right.change.plugin)));
    Ok(described(open))
}

fn described(alerts: Vec<&OpenAlert>) -> Vec<Alert> {
    alerts.into_iter().map(|alert| Alert::from(alert.change.clone())).collect()
}

fn is_store_behind(index: &Index, plugin: &PluginId, version: &PluginVersion) -> Result<bool, IndexError> {
    let releases = index.releases(plugin)?;
    let mut of_version = releases.iter().filter(|stored| stored.release.version.same_release(version));
    Ok(of_version.any(|known| {
        let promised = |platform| known.pins.get(platform).and_then(|pin| pin.digests.sha256);
        known.stored.iter().any(|(platform, sha256)| promised(platform).is_some_and(|promised| promised != *sha256))
    }))
}
