//! What a catalog promised of a plugin's bytes, and what it promises now. Pure.
//!
//! *Invariant:* a pin that is contradicted, that is no longer promised, or that is promised again after it was not, is an
//! alert, reported when it is raised and not again while it is unchanged.

use serde::Deserialize;
use serde_json::Value;

use super::known::{KnownPlugin, change_of_release};
use crate::{
    index::{CatalogChange, ChangeKind, StoredPlugin, StoredRelease},
    model::{Algorithm, Digests, Platform, Plugin, Release},
};

/// Compares what was pinned of a release with what is offered now, platform by platform.
pub(super) fn compare(
    before: &KnownPlugin,
    plugin: &Plugin,
    known: &StoredRelease,
    now: &Release,
) -> Vec<CatalogChange> {
    let mut changes = Vec::new();
    for (platform, pinned) in &known.pins {
        let offered = now.packages.get(platform).map(|package| package.digests);
        let open = before.open_alert(ChangeKind::DigestChanged, Some(&now.version), Some(platform));
        let said = open.and_then(|open| open.after.as_deref());
        let told = before.same_source && known.release.raw != now.raw;
        // Where other packages are listed, one that is not is a platform that was given up.
        let is_given_up = offered.is_none() && !now.packages.is_empty();
        let promised = told.then(|| promised(&known.release.raw, platform)).filter(|_| !is_given_up);
        let (kind, after) = match offered {
            Some(offered) if pinned.digests.contradicts(&offered) => {
                (ChangeKind::DigestChanged, contradiction(&pinned.digests, &offered))
            }
            offered if lacks(&pinned.digests, &offered.unwrap_or_default()) => {
                let is_dropped = promised.is_some_and(|promised| promised.is_dropped_in(&offered.unwrap_or_default()));
                // An alert that is open must not go on saying what is no longer offered.
                if !is_dropped && said.is_none() {
                    continue;
                }
                (ChangeKind::DigestWithdrawn, offered.unwrap_or_default().describe())
            }
            // It is what was first seen; that matters only where it was not, in between.
            _ if said.is_none() || said == Some(pinned.digests.describe().as_str()) => continue,
            _ => (ChangeKind::DigestReturned, pinned.digests.describe()),
        };
        if said == Some(after.as_str()) {
            continue;
        }
        let earlier = said.filter(|_| kind == ChangeKind::DigestReturned).map(str::to_owned);
        changes.push(CatalogChange {
            platform: Some(platform.clone()),
            before: Some(earlier.unwrap_or_else(|| before_of(&pinned.digests, &after))),
            after: Some(after),
            alert: true,
            ..change_of_release(plugin, now, kind)
        });
    }
    changes
}

/// Returns the text of an offer that contradicts a pin: all of its digests, where the strongest alone does not show it.
fn contradiction(pinned: &Digests, offered: &Digests) -> String {
    match (offered.sha256, offered.md5) {
        (Some(sha256), Some(md5)) if pinned.sha256.is_none_or(|pinned| pinned == sha256) => {
            format!("sha256:{sha256} md5:{md5}")
        }
        _ => offered.describe(),
    }
}

/// Returns the text of a pin, in the form of the offer that it is compared with.
fn before_of(pinned: &Digests, offered: &str) -> String {
    match (pinned.sha256, pinned.md5) {
        (Some(sha256), Some(md5)) if offered.contains("md5:") => format!("sha256:{sha256} md5:{md5}"),
        _ => pinned.describe(),
    }
}

/// Returns whether an offer proves less than a pin.
fn lacks(pinned: &Digests, offered: &Digests) -> bool {
    match (pinned.strongest(), offered.strongest()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(pinned), Some(offered)) => pinned.resists_forgery() && !offered.resists_forgery(),
    }
}

/// Which digests a catalog has for a package.
#[derive(Clone, Copy, Debug, Default)]
struct ClaimedDigests {
    sha256: bool,
    md5: bool,
}

impl ClaimedDigests {
    fn is_dropped_in(self, offered: &Digests) -> bool {
        (self.sha256 && offered.strongest() != Some(Algorithm::Sha256)) || (self.md5 && offered.strongest().is_none())
    }
}

/// Returns what a release promised when it was last read, from the JSON that it was read from.
fn promised(raw: &str, platform: &Platform) -> ClaimedDigests {
    let Ok(value) = serde_json::from_str::<Value>(raw) else { return ClaimedDigests::default() };
    let packages = ["packages", "arch", "download"].iter().find_map(|key| value.get(key));
    let package = packages.and_then(|packages| packages.get(platform.as_str()));
    let told = |key| {
        let digest = package.and_then(|package| package.get(key)).and_then(Value::as_str);
        digest.is_some_and(|digest| !digest.is_empty())
    };
    ClaimedDigests { sha256: told("sha256"), md5: told("md5") }
}

/// The number that a catalog gives a plugin, which its name keeps as long as it is the same plugin (protocol page 3.1).
#[derive(Deserialize)]
struct Numbered {
    id: Option<Value>,
}

/// Returns the number of before and the number of now, where both are numbers and differ.
pub(super) fn renumbered(stored: &StoredPlugin, now: &str) -> Option<(u64, u64)> {
    let number = |raw: &str| serde_json::from_str::<Numbered>(raw).ok()?.id?.as_u64();
    let was = number(stored.detail_raw.as_deref().unwrap_or(&stored.list_raw))?;
    number(now).filter(|is| *is != was).map(|is| (was, is))
}
