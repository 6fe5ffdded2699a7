//! The packages of installed versions whose own files are not known, fetched so that a plugin's folder can be compared with
//! them before it is replaced or removed.
//!
//! *Invariant:* what cannot be fetched fails nothing: of a folder that cannot be compared nothing is deleted.
//! *Not for:* packages that are installed.

use super::{
    Context, blocking,
    fetching::{FetchOptions, FetchRequest, fetch_locked},
    sources::Sources,
    target::Target,
    unmanaged_files::unknown_version,
};
use crate::{
    diagnostic::Chain,
    fleet::directory::PluginsFolder,
    model::{PluginId, PluginSpec, VersionRequest},
    resolver::Surroundings,
};

/// How many packages are fetched side by side.
const CONCURRENCY: usize = 4;

/// Returns the installed versions of these plugins whose files a folder cannot be compared with; none for a server.
pub(in crate::ops) async fn unknown(context: &Context, target: &Target, plugins: Vec<PluginId>) -> Vec<PluginSpec> {
    let Some(path) = target.as_folder().map(std::path::Path::to_path_buf) else { return Vec::new() };
    let context = context.clone();
    blocking(move || {
        let Ok(folder) = PluginsFolder::open(&path) else { return Vec::new() };
        let exact = |id: PluginId| {
            let version = unknown_version(&context, &folder, &id)?;
            Some(PluginSpec { id, version: VersionRequest::Text { version, range: None } })
        };
        plugins.into_iter().filter_map(exact).collect()
    })
    .await
}

/// Fetches these versions for the platform of a folder. The caller holds the lock of the cache.
pub(in crate::ops) async fn fetch(context: &Context, sources: &Sources, target: &Target, unknown: Vec<PluginSpec>) {
    if unknown.is_empty() {
        return;
    }
    let options = FetchOptions {
        subject: FetchRequest::Plugins(unknown),
        surroundings: Surroundings { platforms: vec![target.platform.clone()], ..Surroundings::default() },
        dependencies: false,
        concurrency: CONCURRENCY,
    };
    match fetch_locked(context, sources, &options).await {
        Ok(outcome) => {
            for failure in outcome.failed {
                tracing::info!(plugin = %failure.plugin, reason = %failure.reason, "its folder is compared with nothing");
            }
        }
        Err(error) => tracing::info!(error = %Chain(&error), "folders are compared with nothing"),
    }
}
