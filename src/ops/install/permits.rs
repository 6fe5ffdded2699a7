//! What servers may be asked to install, found out once for each package.
//!
//! *Invariant:* a permit follows from the very bytes in the store, read and judged in this run; one that depends on the
//! address of the server is found out for each server anew.
//! *Not for:* folders, which get the bytes themselves and so judge them every time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::apply::{StepError, check_for_server};
use crate::{diagnostic::Chain, fleet::Grafana, model::PluginId, ops::Context, upstream::PackageName};

/// Permits of one run.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Permits {
    context: Context,
    /// Whether packages are looked at, or the catalog's word counts.
    preflight: bool,
    /// Packages that every server may be asked for, with what is to be told of them.
    known: Arc<Mutex<BTreeMap<PackageName, Option<String>>>>,
}

impl Permits {
    pub(in crate::ops) fn new(context: &Context, preflight: bool) -> Self {
        Self { context: context.clone(), preflight, known: Arc::default() }
    }

    /// Returns what is to be told of a package that a server may be asked to install, or why it may not.
    pub(in crate::ops) async fn ask(
        &self,
        server: &Grafana,
        plugin: &PluginId,
        package: Option<PackageName>,
    ) -> Result<Option<String>, StepError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = package.as_ref().and_then(|package| known().get(package).cloned()) {
            return Ok(told);
        }
        let checked = check_for_server(&self.context, server, plugin, package.clone(), self.preflight).await?;
        let told = checked.warning.map(|warning| Chain(&warning).to_string());
        if let Some(package) = package.filter(|_| checked.is_for_all) {
            known().insert(package, told.clone());
        }
        Ok(told)
    }
}
