//! Which versions a mirror lists, which it only answers when they are named, and which it refuses.
//!
//! *Invariant:* a listed version satisfies every rule, and each platform that it names has a package that can be
//! downloaded. What was listed stays listed when an alert comes later: its bytes are the pinned ones.
//! *Not for:* compatibility with the Grafana that asks, which each request decides.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::facts::{HeldBack, Mode, PluginFacts, Policy, ReleaseFacts, SignatureState};
use crate::{
    model::{
        Digests, GrafanaVersion, Package, Platform, Plugin, PluginId, PluginStatus, PluginVersion, Sha256Digest,
        Timestamp, VersionRange,
    },
    signature::Enforcement,
};

/// A plugin as a generation has it.
#[derive(Clone, Debug)]
pub(crate) struct ServedPlugin {
    /// The parsed fields.
    pub plugin: Plugin,
    /// Its number in catalogs.
    pub number: u64,
    /// The JSON object of the list.
    pub list_raw: Arc<str>,
    /// The JSON document of the detail page, if it was fetched.
    pub detail_raw: Option<Arc<str>>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// What is answered, newest first; what is listed of it says [`ServedRelease::is_listed`].
    pub releases: Vec<ServedRelease>,
    /// What is refused, newest first.
    pub refused: Vec<RefusedRelease>,
    /// Whether its source no longer lists it.
    pub is_withdrawn: bool,
}

/// A release as a generation has it.
#[derive(Clone, Debug)]
pub(crate) struct ServedRelease {
    /// The version as it was published.
    pub version: PluginVersion,
    /// Its status in catalogs.
    pub status: String,
    /// Whether it is in the list of versions.
    pub is_listed: bool,
    /// When it was published, or else first seen.
    pub created_at: Timestamp,
    /// Since when it can be listed: it was seen, and one of its packages is stored.
    pub since: Timestamp,
    /// The range of Grafana versions it works with, as published.
    pub grafana_dependency: Option<String>,
    /// The same, parsed.
    pub requirement: Requirement,
    /// Whether it is made with Angular.
    pub is_angular: bool,
    /// The JSON object that the upstream sent.
    pub raw: Arc<str>,
    /// Its packages; `None` if nobody names any.
    pub packages: Option<BTreeMap<Platform, ServedPackage>>,
    /// The plugin.json of one of its packages.
    pub plugin_json: Option<Arc<str>>,
}

/// A release that is refused, and what pages say of it.
#[derive(Clone, Debug)]
pub(crate) struct RefusedRelease {
    /// The version as it was published.
    pub version: PluginVersion,
    /// Why it is refused.
    pub why: Refused,
    /// Its status in catalogs.
    pub status: String,
    /// When it was published, or else first seen.
    pub created_at: Timestamp,
    /// The range of Grafana versions it works with, as published.
    pub grafana_dependency: Option<String>,
    /// Its packages according to the catalog, with the digests that were first seen.
    pub packages: BTreeMap<Platform, Package>,
    /// The platforms of which the package is in the store all the same.
    pub stored: Vec<Platform>,
}

/// A package as a generation has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServedPackage {
    /// The digests that are promised.
    pub digests: Digests,
    /// Its length in bytes, if known.
    pub size: Option<u64>,
    /// The name of its bytes in the store, if they are there.
    pub stored: Option<Sha256Digest>,
    /// What its signature was found to say here, in words; `None` if it was not evaluated.
    pub signer: Option<Arc<str>>,
    /// When it came into the store.
    pub added_at: Option<Timestamp>,
}

/// What a release requires of Grafana.
#[derive(Clone, Debug)]
pub(crate) enum Requirement {
    /// Nothing.
    Nothing,
    /// A version in this range.
    Range(VersionRange),
    /// A text that is no range, which no version satisfies.
    Invalid,
}

/// The Grafana that asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asking {
    /// It does not say which version it is.
    Anyone,
    /// It is this version.
    Version(GrafanaVersion),
    /// What it says is no version, which satisfies no range.
    Invalid,
}

/// Why a version is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// The manifest denies it; why, as the end of a sentence about it.
    Denied(String),
    /// Its packages are not in the store.
    NotStored,
    /// The signature policy refuses it.
    Signature(&'static str),
    /// It is younger than the policy allows, until this time.
    TooNew(Timestamp),
    /// An alert holds it back.
    Alert(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(formatter, "is {why}"),
            Self::NotStored => formatter.write_str("is not stored in this mirror"),
            Self::Signature(state) => write!(formatter, "is not served: {state}, and the policy requires a signature"),
            Self::TooNew(until) => write!(formatter, "is too new for the policy: it is listed from {until}"),
            Self::Alert(text) => write!(formatter, "is not served until an alert is accepted: {text}"),
        }
    }
}

impl Requirement {
    /// Reads the range that a release declares, if it declares one.
    pub(crate) fn new(text: Option<&str>) -> Self {
        match text.map(str::parse) {
            None => Self::Nothing,
            Some(Ok(range)) => Self::Range(range),
            Some(Err(_)) => Self::Invalid,
        }
    }

    /// Returns whether the Grafana that asks satisfies it, as grafana.com answers (protocol page 2.6).
    pub(crate) fn allows(&self, asking: &Asking) -> bool {
        match (self, asking) {
            (_, Asking::Anyone) | (Self::Nothing, _) => true,
            (Self::Range(range), Asking::Version(version)) => range.allows_grafana(version),
            _ => false,
        }
    }
}

impl Asking {
    /// Reads the text of a header or a parameter. A space stands for the `+` that form decoding took away.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            None | Some("") => Self::Anyone,
            Some(text) => text.replace(' ', "+").parse().map_or(Self::Invalid, Self::Version),
        }
    }
}

impl ServedPlugin {
    /// Returns the releases that are listed, newest first.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &ServedRelease> {
        self.releases.iter().filter(|release| release.is_listed)
    }

    /// Returns the newest listed release, stable ones first; else the newest that is answered.
    pub(crate) fn newest(&self) -> Option<&ServedRelease> {
        let stable = self.listed().find(|release| !release.version.is_prerelease());
        stable.or_else(|| self.listed().next()).or_else(|| self.releases.first())
    }

    /// Returns the newest listed release that the asking Grafana can use on this platform, stable ones first.
    pub(crate) fn newest_for(&self, asking: &Asking, platform: Option<&Platform>) -> Option<&ServedRelease> {
        let fits = |release: &&ServedRelease| release.requirement.allows(asking) && release.has_platform(platform);
        let stable = self.listed().filter(fits).find(|release| !release.version.is_prerelease());
        stable.or_else(|| self.listed().find(fits))
    }

    /// Returns a release by the text of its version, which clients write with and without a leading `v`.
    pub(crate) fn release(&self, text: &str) -> Option<&ServedRelease> {
        let exact = self.releases.iter().find(|release| release.version.as_str() == text);
        exact.or_else(|| {
            let wanted: PluginVersion = text.parse().ok()?;
            self.releases.iter().find(|release| release.version.same_release(&wanted))
        })
    }

    /// Returns it with those of its versions alone that a channel has.
    pub(crate) fn limited_to(&self, has: impl Fn(&PluginVersion) -> bool) -> Self {
        let mut limited = self.clone();
        limited.releases.retain(|release| has(&release.version));
        limited.refused.retain(|refused| has(&refused.version));
        limited
    }

    /// Returns whether the list of plugins has it.
    pub(crate) fn is_listed(&self) -> bool {
        !self.is_withdrawn
            && matches!(self.plugin.status, PluginStatus::Active | PluginStatus::Deprecated | PluginStatus::Enterprise)
            && self.listed().next().is_some()
    }

    /// Returns why a version is refused, if it is one that is known.
    pub(crate) fn refusal(&self, text: &str) -> Option<&Refused> {
        self.refused.iter().find(|refused| refused.version.as_str() == text).map(|refused| &refused.why)
    }
}

impl ServedRelease {
    /// Returns whether a server of this platform can install it; anyone can install what names no packages.
    pub(crate) fn has_platform(&self, platform: Option<&Platform>) -> bool {
        match (&self.packages, platform) {
            (None, _) | (_, None) => true,
            (Some(packages), Some(platform)) => platform.choose(packages.keys()).is_some(),
        }
    }

    /// Returns the package for a platform: its own or `any`. Without a platform `any`, then `linux-amd64`, then the only
    /// one.
    pub(crate) fn package(&self, platform: Option<&Platform>) -> Option<(&Platform, &ServedPackage)> {
        let packages = self.packages.as_ref()?;
        let key = match platform {
            Some(platform) => platform.choose(packages.keys()),
            None => [Platform::any(), Platform::linux_amd64()]
                .iter()
                .find_map(|wanted| packages.keys().find(|key| *key == wanted))
                .or_else(|| packages.keys().next().filter(|_| packages.len() == 1)),
        }?;
        packages.get_key_value(key)
    }
}

/// Decides what is served of a plugin.
pub(crate) fn serve(facts: PluginFacts, policy: &Policy) -> ServedPlugin {
    let PluginFacts { plugin, number, list_raw, detail_raw, first_seen, is_withdrawn, releases, alerts } = facts;
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    let is_signed = !plugin.signature.signature_type.is_empty();
    for release in releases {
        match stand(&plugin.id, &release, is_signed, (policy, &alerts)) {
            Ok(packages) => served.push(served_release(release, packages, is_withdrawn)),
            Err(why) => refused.push(refused_release(release, why, is_withdrawn)),
        }
    }
    let number = catalog_number(&list_raw).unwrap_or_else(|| invented_number(number));
    ServedPlugin { plugin, number, list_raw, detail_raw, first_seen, releases: served, refused, is_withdrawn }
}

/// Returns the earliest time at which a version that is too new now is listed.
pub(crate) fn next_due<'a>(plugins: impl Iterator<Item = &'a ServedPlugin>) -> Option<Timestamp> {
    let due = |refused: &RefusedRelease| match refused.why {
        Refused::TooNew(until) => Some(until),
        _ => None,
    };
    plugins.flat_map(|plugin| plugin.refused.iter().filter_map(due)).min()
}

type Packages = Option<BTreeMap<Platform, ServedPackage>>;

/// Returns the packages of a release that is served, or why it is not.
fn stand(
    id: &PluginId,
    facts: &ReleaseFacts,
    is_signed: bool,
    (policy, alerts): (&Policy, &[HeldBack]),
) -> Result<Packages, Refused> {
    let version = &facts.release.version;
    if let Some(denial) = policy.denied.find(id, version) {
        return Err(Refused::Denied(denial.why()));
    }
    let held = alerts.iter().find(|held| {
        held.version.as_ref().is_none_or(|concerned| concerned == version) && facts.first_seen >= held.since
    });
    if let Some(held) = held {
        return Err(Refused::Alert(held.text.clone()));
    }
    let (packages, refusal) = packages(id, facts, is_signed, policy);
    if packages.as_ref().is_some_and(BTreeMap::is_empty) {
        return Err(refusal.unwrap_or(Refused::NotStored));
    }
    let published = facts.release.created_at.unwrap_or(facts.first_seen).as_milliseconds();
    let due = published.saturating_add(policy.minimum_age);
    if policy.minimum_age > 0 && due > policy.now.as_milliseconds() {
        return Err(Refused::TooNew(Timestamp::from_milliseconds(due)));
    }
    Ok(packages)
}

/// Returns the packages that may be served, and the policy's verdict on one that may not.
fn packages(id: &PluginId, facts: &ReleaseFacts, is_signed: bool, policy: &Policy) -> (Packages, Option<Refused>) {
    let (mut packages, mut refusal) = (BTreeMap::new(), None);
    for (platform, stored) in &facts.stored {
        let found = Digests { sha256: Some(stored.sha256), md5: stored.digests.md5 };
        if facts.pins.get(platform).is_some_and(|pin| pin.digests.contradicts(&found)) {
            continue;
        }
        if let Some(why) = refuse_signature(id, stored.signature, policy) {
            refusal = Some(why);
            continue;
        }
        let package = ServedPackage {
            digests: found,
            size: Some(stored.size),
            stored: Some(stored.sha256),
            signer: stored.signer.clone(),
            added_at: Some(stored.added_at),
        };
        packages.insert(platform.clone(), package);
    }
    if policy.mode == Mode::Mirror || refusal.is_some() {
        return (Some(packages), refusal);
    }
    let claimed = if is_signed { SignatureState::Valid } else { SignatureState::Unsigned };
    if packages.is_empty()
        && let Some(why) = refuse_signature(id, claimed, policy)
    {
        return (Some(packages), Some(why));
    }
    for (platform, package) in &facts.release.packages {
        let digests = facts.pins.get(platform).map_or(package.digests, |pin| pin.digests.or(package.digests));
        let promised = ServedPackage { digests, size: package.size, stored: None, signer: None, added_at: None };
        packages.entry(platform.clone()).or_insert(promised);
    }
    ((!packages.is_empty()).then_some(packages), None)
}

fn refuse_signature(id: &PluginId, state: SignatureState, policy: &Policy) -> Option<Refused> {
    let is_allowed = match state {
        SignatureState::Valid => true,
        SignatureState::Unsigned => policy.unsigned.contains(id),
        SignatureState::Invalid => false,
    };
    if is_allowed || policy.enforcement != Enforcement::Require {
        return None;
    }
    let is_unsigned = state == SignatureState::Unsigned;
    Some(Refused::Signature(if is_unsigned { "it is unsigned" } else { "its signature is not valid" }))
}

fn served_release(facts: ReleaseFacts, packages: Packages, plugin_is_withdrawn: bool) -> ServedRelease {
    let is_withdrawn = facts.is_withdrawn || plugin_is_withdrawn;
    let release = facts.release;
    let is_active = release.status == PluginStatus::Active && !is_withdrawn;
    let status = status(&release.status, is_withdrawn);
    // What is refused may be a forgery: nothing of it is shown.
    let is_served = |platform: &Platform| {
        packages.as_ref().and_then(|packages| packages.get(platform)).is_some_and(|package| package.stored.is_some())
    };
    let stored: Vec<_> = facts.stored.into_iter().filter(|(platform, _)| is_served(platform)).collect();
    let oldest = stored.iter().map(|(_, stored)| stored.added_at).min();
    ServedRelease {
        status,
        is_listed: is_active,
        created_at: release.created_at.unwrap_or(facts.first_seen),
        since: oldest.unwrap_or(facts.first_seen).max(facts.first_seen),
        requirement: Requirement::new(release.grafana_dependency.as_deref()),
        grafana_dependency: release.grafana_dependency,
        is_angular: release.angular,
        raw: release.raw.into(),
        packages,
        plugin_json: stored.into_iter().next().map(|(_, stored)| stored.plugin_json),
        version: release.version,
    }
}

fn refused_release(facts: ReleaseFacts, why: Refused, plugin_is_withdrawn: bool) -> RefusedRelease {
    let release = facts.release;
    let pinned = |(platform, package): (Platform, Package)| {
        let digests = facts.pins.get(&platform).map_or(package.digests, |pin| pin.digests.or(package.digests));
        (platform, Package { digests, ..package })
    };
    RefusedRelease {
        status: status(&release.status, facts.is_withdrawn || plugin_is_withdrawn),
        created_at: release.created_at.unwrap_or(facts.first_seen),
        grafana_dependency: release.grafana_dependency,
        packages: release.packages.into_iter().map(pinned).collect(),
        stored: facts.stored.into_keys().collect(),
        version: release.version,
        why,
    }
}

/// Returns the status in catalogs: what its source no longer lists is deleted.
fn status(known: &PluginStatus, is_withdrawn: bool) -> String {
    let is_deleted = is_withdrawn && *known == PluginStatus::Active;
    (if is_deleted { &PluginStatus::Deleted } else { known }).as_str().to_owned()
}

/// Returns the number that the catalog gives a plugin.
fn catalog_number(list_raw: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        id: Option<serde_json::Value>,
    }
    let numbered: Numbered = serde_json::from_str(list_raw).ok()?;
    numbered.id?.as_u64().filter(|number| *number > 0)
}

/// The first number of plugins that no catalog numbers, and how many there may be: Grafana's own client reads numbers as
/// 32-bit floats, which are exact below 2^24 (protocol page 13.3.8).
const FIRST_INVENTED: u64 = 9_000_000;
const INVENTED: u64 = (1 << 24) - FIRST_INVENTED;

/// Returns the number of a plugin that its catalog does not number: the same for the same row.
fn invented_number(row: i64) -> u64 {
    FIRST_INVENTED + row.unsigned_abs() % INVENTED
}

/// Returns the number of a version that its catalog does not number: the same for the same plugin and version.
pub(super) fn version_number(plugin: &PluginId, version: &PluginVersion) -> u64 {
    let text = format!("{plugin}@{version}");
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    FIRST_INVENTED + hash % INVENTED
}
