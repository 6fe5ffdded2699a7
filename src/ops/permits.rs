//! The packages of the store as changes need them: opened, verified and evaluated by the policy.
//!
//! *Invariant:* what a folder gets is verified as it is read, and its signature is evaluated over the files that were written.
//! What a server may be asked to install follows from the very bytes in the store, read in this run; a permit that depends on
//! the address of the server is found out for each server anew.
//! *Not for:* bringing packages into the store, or changing workspaces.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;

use crate::{
    archive::ArchiveError,
    diagnostic::{Chain, Kind, diagnose},
    fleet::{
        directory::FolderLock,
        target::{PackageSource, Refusal, UnmanagedFiles},
    },
    index::{Index, IndexError},
    model::{FileDigests, PluginId},
    ops::{
        Context, blocking,
        candidates::{self, LookupError},
        stored_packages::read_verified,
        unmanaged_files,
    },
    signature::{Enforcement, PolicyError},
    store::StoreError,
    upstream::PackageName,
    verifier::{Verified, VerifyError},
};

/// A package must not be installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// The package is not in the store.
    #[error("the package of {0} is not in the store")]
    NoPackage(PackageName),
    /// The catalog names no package for the platform.
    #[error("the catalog names no package of {plugin} that could be checked here first")]
    Unchecked {
        /// The plugin.
        plugin: PluginId,
    },
    /// Alerts stop it until they are accepted.
    #[error(transparent)]
    Stopped(#[from] LookupError),
    /// The package was refused.
    #[error("the package in the store is refused")]
    Verify(#[from] VerifyError),
    /// The package's files cannot be read.
    #[error("the package in the store cannot be read")]
    Archive(#[from] ArchiveError),
    /// Its signature does not satisfy the policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

diagnose!(PackageError {
    forward Stopped, Policy, Store, Index;
    NoPackage(name) => Kind::Failed,
        format!("run `plugport fetch {}@{} --platform {}`", name.plugin, name.version, name.platform);
    Unchecked => Kind::Integrity,
        "sync from a source that publishes packages, like `https://grafana.com/api`; or set `preflight = false` under \
         `[trust]` to let workspaces install unchecked packages";
    Verify(error) => error.kind(), "run `plugport verify --all` to find other damaged packages";
    Archive(error) => error.kind(), "run `plugport verify --all` to find other damaged packages";
});

/// Which packages servers may be asked to install, found out once for each package of a run.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Permits {
    context: Context,
    /// Whether packages are verified, or the catalog alone decides.
    preflight: bool,
    /// Packages that every server may be asked for, with their warnings.
    known: Arc<Mutex<BTreeMap<PackageName, Option<String>>>>,
}

/// That a server may be asked to install a package.
struct Permit {
    /// The warning about its signature.
    warning: Option<PolicyError>,
    /// Whether it holds for the address of any server.
    is_for_all: bool,
}

impl Permits {
    pub(in crate::ops) fn new(context: &Context, preflight: bool) -> Self {
        Self { context: context.clone(), preflight, known: Arc::default() }
    }

    /// Returns the warning about a package that the server at `root_url` may be asked to install, or why it must not.
    pub(in crate::ops) async fn check(
        &self,
        root_url: &str,
        plugin: &PluginId,
        package: Option<&PackageName>,
    ) -> Result<Option<String>, PackageError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = package.cloned() {
            // An alert may be newer than what is known.
            self.context.index().read(move |index| refuse_stopped(index, &name)).await?;
        }
        if let Some(warning) = package.and_then(|package| known().get(package).cloned()) {
            return Ok(warning);
        }
        let (source, root_url) = (self.package(plugin, package.cloned()), root_url.to_owned());
        let permit = blocking(move || source.evaluate_for(Some(&root_url))).await?;
        let warning = permit.warning.map(|warning| Chain(&warning).to_string());
        if let Some(package) = package.filter(|_| permit.is_for_all) {
            known().insert(package.clone(), warning.clone());
        }
        Ok(warning)
    }

    /// Returns the warning about a package that is in the store, or why it must not be installed; `Ok(None)` for one that is
    /// not there yet, of which nothing is known. Folders have no root URL.
    pub(in crate::ops) async fn preview(
        &self,
        root_url: Option<&str>,
        plugin: &PluginId,
        package: Option<&PackageName>,
    ) -> Result<Option<String>, PackageError> {
        let (source, root_url) = (self.package(plugin, package.cloned()), root_url.map(str::to_owned));
        match blocking(move || source.evaluate_for(root_url.as_deref())).await {
            Ok(Permit { warning, .. }) => Ok(warning.map(|warning| Chain(&warning).to_string())),
            Err(PackageError::NoPackage(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the warning about a package that a folder may get, or why it must not.
    pub(in crate::ops) async fn check_for_folder(
        &self,
        plugin: &PluginId,
        package: Option<&PackageName>,
    ) -> Result<Option<String>, PackageError> {
        let source = self.package(plugin, package.cloned());
        let permit = blocking(move || source.evaluate_for(None)).await?;
        Ok(permit.warning.map(|warning| Chain(&warning).to_string()))
    }

    /// Returns the source of the package for one change.
    pub(in crate::ops) fn package(&self, plugin: &PluginId, package: Option<PackageName>) -> StoredPackage {
        StoredPackage { permits: self.clone(), plugin: plugin.clone(), package, force: false }
    }
}

/// The package of one change.
#[derive(Clone, Debug)]
pub(in crate::ops) struct StoredPackage {
    permits: Permits,
    plugin: PluginId,
    /// `None` if nothing is installed, or the catalog names no package.
    package: Option<PackageName>,
    /// Whether a folder is replaced or removed that somebody works in.
    force: bool,
}

impl StoredPackage {
    /// Returns the source for a change that is made although somebody works in the plugin's folder.
    pub(in crate::ops) fn forced(self, force: bool) -> Self {
        Self { force, ..self }
    }

    fn context(&self) -> &Context {
        &self.permits.context
    }

    /// Opens the package, and verifies the very bytes that are then used.
    fn verified(&self) -> Result<Verified, PackageError> {
        let context = self.context();
        let Some(name) = &self.package else { return Err(PackageError::Unchecked { plugin: self.plugin.clone() }) };
        let blob = context.index().read_blocking(|index| {
            refuse_stopped(index, name)?;
            Ok::<_, PackageError>(index.blob(&name.plugin, &name.version, &name.platform)?)
        })?;
        let blob = blob.ok_or_else(|| PackageError::NoPackage(name.clone()))?;
        Ok(read_verified(context, &blob)?)
    }

    /// Evaluates the package for the server at `root_url`, or for a folder, whose packages are always checked here.
    fn evaluate_for(&self, root_url: Option<&str>) -> Result<Permit, PackageError> {
        if !self.permits.preflight && root_url.is_some() {
            return Ok(Permit { warning: self.evaluate_by_catalog()?, is_for_all: true });
        }
        let mut verified = self.verified()?;
        let trust = &self.context().trust;
        // If signatures do not matter, the package need not be read once more for them.
        if trust.enforcement == Enforcement::Off {
            return Ok(Permit { warning: None, is_for_all: true });
        }
        let verdict = trust.evaluate(&mut verified, root_url)?;
        let is_for_some = verdict.manifest.as_ref().is_some_and(|manifest| !manifest.root_urls.is_empty());
        Ok(Permit { warning: trust.decide(&verdict, &self.plugin)?, is_for_all: !is_for_some })
    }

    /// Evaluates the signature as the catalog describes it, if the package itself is not verified here.
    fn evaluate_by_catalog(&self) -> Result<Option<PolicyError>, PackageError> {
        let trust = &self.context().trust;
        let stored = self.context().index().read_blocking(|index| index.plugin(&self.plugin))?;
        let signature = stored.map(|stored| stored.plugin.signature.signature_type).unwrap_or_default();
        let unsigned = signature.is_empty() && !trust.unsigned.contains(&self.plugin);
        match trust.enforcement {
            Enforcement::Require if unsigned => Err(PolicyError::Unsigned(self.plugin.clone()).into()),
            Enforcement::Warn if unsigned => Ok(Some(PolicyError::Unsigned(self.plugin.clone()))),
            _ => Ok(None),
        }
    }
}

/// Refuses a version that an open alert stops.
fn refuse_stopped(index: &Index, name: &PackageName) -> Result<(), PackageError> {
    match candidates::stopped(index, &name.plugin, &name.version)? {
        Some(stopped) => Err(stopped.into()),
        None => Ok(()),
    }
}

impl PackageSource for StoredPackage {
    fn permit<'a>(&'a self, root_url: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let checked = self.permits.check(root_url, &self.plugin, self.package.as_ref()).await;
            checked.map(drop).map_err(Refusal::new)
        })
    }

    fn open(&self) -> Result<Verified, Refusal> {
        self.verified().map_err(Refusal::new)
    }

    fn evaluate(&self, package: &Verified, files: &FileDigests) -> Result<Option<String>, Refusal> {
        let trust = &self.context().trust;
        if trust.enforcement == Enforcement::Off {
            return Ok(None);
        }
        let verdict = trust.evaluate_unpacked(package.archive(), files, None);
        let warning = trust.decide(&verdict, &self.plugin).map_err(Refusal::new)?;
        Ok(warning.map(|warning| Chain(&warning).to_string()))
    }

    fn unmanaged_files(&self, folder: &FolderLock<'_>) -> Result<UnmanagedFiles, Refusal> {
        unmanaged_files::find(self.context(), folder, &self.plugin, self.force).map_err(Refusal::new)
    }
}
