//! `plugport.lock`: the exact version and digests chosen for each workspace, and why.
//!
//! *Invariant:* a [`Lock`] has one entry for each workspace and plugin, in the order of their names, and only digests of the
//! catalog; equal locks have the same bytes, and a lock that was written is read back unchanged.
//! *Not for:* choosing versions, or files: text in, text out.

mod difference;
mod document;
mod error;
mod schema;

use std::{collections::BTreeMap, fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

pub(crate) use difference::{LockChange, LockDifference};
pub(crate) use error::{LockError, ParseReasonError};
pub(crate) use schema::lock_schema;

use crate::model::{
    Digests, GrafanaVersion, Md5Digest, Platform, PluginId, PluginVersion, Sha256Digest, Timestamp, WorkspaceName,
};

/// The format that this program writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The chosen versions of every workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lock {
    /// The state of the catalog they were chosen from; `None` without a sync.
    pub catalog: Option<CatalogState>,
    /// The workspaces by name.
    pub workspaces: BTreeMap<WorkspaceName, LockedWorkspace>,
}

/// One state of a catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CatalogState {
    /// The address or the folder it was copied from.
    pub source: String,
    /// The number of the sync that copied it.
    pub sync: i64,
    /// When that sync ended.
    pub synced_at: Timestamp,
}

/// The chosen versions of one workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockedWorkspace {
    /// The version of Grafana they were chosen for; `None` if it is not known.
    pub grafana: Option<GrafanaVersion>,
    /// The platform.
    pub platform: Platform,
    /// The plugins by id.
    pub plugins: BTreeMap<PluginId, LockedPlugin>,
}

/// The chosen version of a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockedPlugin {
    /// The version as it is published.
    pub version: PluginVersion,
    /// Why it is there.
    pub reason: LockReason,
    /// Its signature, according to the catalog; `None` if it is unsigned.
    pub signer: Option<LockedSigner>,
    /// The digests of its packages; empty if the catalog has none.
    pub packages: BTreeMap<Platform, PackageDigest>,
}

/// Who signed a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockedSigner {
    /// `grafana`, `commercial`, `community`, `private` or another word of the catalog.
    pub signature: String,
    /// The slug of the organisation; empty if the catalog does not name it.
    pub organisation: String,
}

/// The best digest that the catalog has of a package.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PackageDigest {
    /// Proves that the package is the one in the catalog.
    Sha256(Sha256Digest),
    /// Detects damage, not forgery.
    Md5(Md5Digest),
}

impl PackageDigest {
    /// Returns the best digest of a package; `None` if the catalog has none.
    pub(crate) fn best(digests: &Digests) -> Option<Self> {
        digests.sha256.map(Self::Sha256).or_else(|| digests.md5.map(Self::Md5))
    }

    /// Returns the digest to verify a package with.
    pub(crate) fn digests(self) -> Digests {
        match self {
            Self::Sha256(sha256) => Digests { sha256: Some(sha256), md5: None },
            Self::Md5(md5) => Digests { sha256: None, md5: Some(md5) },
        }
    }
}

impl fmt::Display for PackageDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.digests().describe())
    }
}

/// Why a plugin is in the lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LockReason {
    /// The manifest requests it.
    AskedFor,
    /// It was installed when the workspace was adopted.
    Adopted,
    /// These plugins depend on it: at least one, in the order of their names.
    NeededBy(Vec<PluginId>),
}

/// The start of a reason that names dependents.
const NEEDED_BY: &str = "needed by ";

impl fmt::Display for LockReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AskedFor => formatter.write_str("asked for"),
            Self::Adopted => formatter.write_str("adopted"),
            Self::NeededBy(plugins) => {
                let ids: Vec<_> = plugins.iter().map(PluginId::as_str).collect();
                write!(formatter, "{NEEDED_BY}{}", ids.join(", "))
            }
        }
    }
}

impl FromStr for LockReason {
    type Err = ParseReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseReasonError::new(text);
        match text {
            "asked for" => Ok(Self::AskedFor),
            "adopted" => Ok(Self::Adopted),
            _ => {
                let ids = text.strip_prefix(NEEDED_BY).ok_or_else(refuse)?.split(", ").map(str::parse);
                let ids: Vec<PluginId> = ids.collect::<Result<_, _>>().map_err(|_| refuse())?;
                let is_sorted = ids.windows(2).all(|pair| pair[0] < pair[1]);
                if is_sorted { Ok(Self::NeededBy(ids)) } else { Err(refuse()) }
            }
        }
    }
}

impl Lock {
    /// Returns the entry of the workspace with this name.
    pub(crate) fn workspace(&self, name: &WorkspaceName) -> Option<&LockedWorkspace> {
        self.workspaces.get(name)
    }

    /// Returns the digest of the text, by which plans and exports identify a lock.
    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest::from_bytes(Sha256::digest(self.to_text()).into())
    }

    /// Returns the text of the file: sorted, one field a line, `\n` at the end of each.
    pub(crate) fn to_text(&self) -> String {
        document::write(self)
    }

    /// Reads the text of a file. Unknown keys and newer formats are refused.
    pub(crate) fn parse(text: &str) -> Result<Self, LockError> {
        document::parse(text)
    }

    /// Returns the differences from `other`, workspace by workspace; empty if both are equal.
    pub(crate) fn differences(&self, other: &Self) -> Vec<LockDifference> {
        difference::between(self, other)
    }
}

#[cfg(test)]
mod tests;
