//! Which packages are fetched, as the index has them.
//!
//! *Invariant:* a package is selected only if nothing stops its version: no open alert, no withdrawal, a digest to prove it.
//! *Not for:* the network or the store.

use std::collections::{BTreeSet, HashSet};

use super::{FetchFailure, FetchOptions, FetchRequest, MirrorSet, wanted::PackageToFetch};
use crate::{
    index::{Index, IndexError, StoredRelease},
    model::{Platform, PluginId, PluginSpec, PluginVersion, fits_glob},
    ops::candidates::{self, LookupError},
    resolver::{self, Candidate, Surroundings},
    upgrade::preinstalled,
    verifier::VerifyError,
};

/// The packages that were selected, and why others could not be.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) wanted: Vec<PackageToFetch>,
    pub(super) failed: Vec<FetchFailure>,
    /// The versions that would be wanted if no alert were open.
    pub(super) stopped: BTreeSet<(PluginId, PluginVersion)>,
}

impl Selection {
    /// Adds what was asked for.
    pub(super) fn add_request(&mut self, index: &Index, options: &FetchOptions) -> Result<(), IndexError> {
        match &options.subject {
            FetchRequest::Plugins(specs) => {
                for spec in specs {
                    self.add_spec(index, spec, options);
                }
            }
            FetchRequest::All { latest } => {
                for id in index.plugin_ids()? {
                    self.add_newest(index, (&id, *latest), options)?;
                }
            }
            FetchRequest::Mirror(set) => self.add_mirror(index, set, options)?,
            FetchRequest::Locked(packages) => {
                return packages.iter().try_for_each(|locked| self.add_locked(index, locked));
            }
        }
        let mut seen = HashSet::new();
        self.wanted.retain(|wanted| seen.insert(wanted.name.clone()));
        Ok(())
    }

    fn add_mirror(&mut self, index: &Index, set: &MirrorSet, options: &FetchOptions) -> Result<(), IndexError> {
        let is_kept = |id: &PluginId| set.plugins.iter().any(|one| fits_glob(one.as_bytes(), id.as_str().as_bytes()));
        for id in index.plugin_ids()?.iter().filter(|id| is_kept(id)) {
            let failed = self.failed.len();
            self.add_newest(index, (id, set.latest), options)?;
            for grafana in &set.grafana {
                let surroundings = Surroundings { grafana: Some(grafana.clone()), ..options.surroundings.clone() };
                self.add_newest(index, (id, 1), &FetchOptions { surroundings, ..options.clone() })?;
            }
            // What stops a plugin stops it for every Grafana, and is reported once.
            self.failed.truncate(failed + 1);
        }
        for grafana in &set.grafana {
            let surroundings = Surroundings { grafana: Some(grafana.clone()), ..options.surroundings.clone() };
            let options = FetchOptions { surroundings, ..options.clone() };
            for id in preinstalled(grafana).iter().filter(|id| !is_kept(id)) {
                self.add_newest(index, (id, 1), &options)?;
            }
        }
        set.locked.iter().try_for_each(|locked| self.add_locked(index, locked))
    }

    /// Adds the packages of the version that fits.
    pub(super) fn add_spec(&mut self, index: &Index, spec: &PluginSpec, options: &FetchOptions) {
        let chosen = match candidates::choose_for_use(index, spec, &options.surroundings) {
            Ok(chosen) => chosen,
            Err(error) => return self.add_apart(index, spec, options, error),
        };
        let wanted = PackageToFetch::from_release(&chosen.plugin, &chosen.release, &options.surroundings.platforms);
        if wanted.is_empty() {
            let (plugin, version) = (spec.id.clone(), chosen.release.version);
            let error = VerifyError::Unproven { plugin, version };
            self.failed.push(FetchFailure::for_plugin(&spec.id, error.into()));
        }
        self.wanted.extend(wanted);
    }

    /// Adds what there is for each platform, where no version has packages for all of them; the others fail.
    fn add_apart(&mut self, index: &Index, spec: &PluginSpec, options: &FetchOptions, error: LookupError) {
        let surroundings =
            |platform: &Platform| Surroundings { platforms: vec![platform.clone()], ..options.surroundings.clone() };
        let platforms = &options.surroundings.platforms;
        let apart: Vec<_> = platforms
            .iter()
            .map(|platform| (platform, candidates::choose_for_use(index, spec, &surroundings(platform))))
            .collect();
        if platforms.len() < 2 || apart.iter().all(|(_, chosen)| chosen.is_err()) {
            return self.failed.push(FetchFailure::for_plugin(&spec.id, error.into()));
        }
        for (platform, chosen) in apart {
            match chosen {
                Ok(chosen) => {
                    let wanted =
                        PackageToFetch::from_release(&chosen.plugin, &chosen.release, std::slice::from_ref(platform));
                    self.wanted.extend(wanted);
                }
                Err(error) => self.failed.push(FetchFailure::for_plugin(&spec.id, error.into())),
            }
        }
    }

    /// Adds the packages of the newest versions, for those of the platforms that have one.
    fn add_newest(
        &mut self,
        index: &Index,
        (id, latest): (&PluginId, usize),
        options: &FetchOptions,
    ) -> Result<(), IndexError> {
        let Some(plugin) = index.plugin(id)?.filter(|plugin| plugin.withdrawn_at.is_none()) else {
            return Ok(());
        };
        let releases = index.releases(id)?;
        // A version that has a package for one of the platforms is worth having for that one.
        let anywhere = Surroundings { platforms: Vec::new(), ..options.surroundings.clone() };
        let candidates = candidates::candidates(&plugin, &releases, index.denied());
        let stored = |candidate: &Candidate| releases.iter().find(|stored| stored.release.version == candidate.version);
        let newest = resolver::newest(&candidates, &anywhere, latest).into_iter().filter_map(stored);
        for StoredRelease { release, .. } in newest {
            match candidates::stopped(index, id, &release.version)? {
                Some(error) => {
                    self.stopped.insert((id.clone(), release.version.clone()));
                    self.failed.push(FetchFailure::for_plugin(id, error.into()));
                }
                None => {
                    self.wanted.extend(PackageToFetch::from_release(&plugin, release, &options.surroundings.platforms));
                }
            }
        }
        Ok(())
    }
}
