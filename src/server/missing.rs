//! Which packages were asked for and are not here, by whom.
//!
//! *Invariant:* bounded, whatever is asked: only plugins, versions and platforms of the catalog are told apart, only so many
//! of them are kept, and only so many clients of each.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use crate::{
    mirror::{Asking, ServedPlugin},
    model::{Platform, PluginId, PluginVersion, Timestamp},
    web::MissingPackage,
};

/// How many packages are kept; the one that was asked for longest ago gives way.
const PACKAGES: usize = 500;

/// How many clients and addresses are kept of each.
const CLIENTS: usize = 6;

type Key = (PluginId, Option<PluginVersion>, Option<Platform>);

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct MissingLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    packages: Vec<(Key, Asked)>,
    /// How often for plugins that the catalog does not have.
    unknown: u64,
}

#[derive(Debug)]
struct Asked {
    count: u64,
    last_at: Timestamp,
    clients: BTreeSet<String>,
    peers: BTreeSet<IpAddr>,
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) client: &'static str,
    pub(super) grafana: &'a Asking,
    pub(super) peer: IpAddr,
}

impl MissingLog {
    /// Counts a download of a plugin that the catalog does not have.
    pub(super) fn count_unknown(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unknown += 1;
    }

    /// Counts a download of a package that is not here.
    pub(super) fn count(
        &self,
        plugin: &ServedPlugin,
        (version, platform): (&str, Option<Platform>),
        asker: Asker<'_>,
        now: Timestamp,
    ) {
        let known = plugin.release(version).map(|release| &release.version);
        let refused = || plugin.refused.iter().map(|refused| &refused.version).find(|known| known.as_str() == version);
        let version = known.or_else(refused).cloned();
        let key = (plugin.plugin.id.clone(), version, platform);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.entry(key, now);
        entry.count += 1;
        entry.last_at = now;
        if entry.clients.len() < CLIENTS {
            entry.clients.insert(client(asker));
        }
        if entry.peers.len() < CLIENTS {
            entry.peers.insert(asker.peer);
        }
    }

    /// Returns what was asked for, most often first, and how often for unknown plugins. Addresses are left out unless
    /// `with_peers`.
    pub(super) fn packages(&self, with_peers: bool) -> (Vec<MissingPackage>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let package = |((plugin, version, platform), asked): &(Key, Asked)| MissingPackage {
            plugin: plugin.clone(),
            version: version.clone(),
            platform: platform.clone(),
            count: asked.count,
            last_at: asked.last_at,
            clients: asked.clients.iter().cloned().collect(),
            peers: asked.peers.iter().filter(|_| with_peers).map(ToString::to_string).collect(),
        };
        let mut packages: Vec<_> = kept.packages.iter().map(package).collect();
        packages.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.plugin.cmp(&right.plugin)));
        (packages, kept.unknown)
    }
}

impl Kept {
    fn entry(&mut self, key: Key, now: Timestamp) -> &mut Asked {
        let known = self.packages.iter().position(|(known, _)| *known == key);
        let at = known.unwrap_or_else(|| {
            let oldest = self.packages.iter().enumerate().min_by_key(|(_, (_, asked))| asked.last_at);
            if let Some((oldest, _)) = oldest.filter(|_| self.packages.len() >= PACKAGES) {
                self.packages.swap_remove(oldest);
            }
            let (clients, peers) = Default::default();
            self.packages.push((key, Asked { count: 0, last_at: now, clients, peers }));
            self.packages.len() - 1
        });
        &mut self.packages[at].1
    }
}

fn client(asker: Asker<'_>) -> String {
    match asker.grafana {
        Asking::Version(version) => {
            let number = version.semver();
            format!("{} of Grafana {}.{}", asker.client, number.major, number.minor)
        }
        Asking::Anyone | Asking::Invalid => asker.client.to_owned(),
    }
}
