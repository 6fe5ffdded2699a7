//! Channels: what a group of servers sees, as a named set of versions that moves only when it is promoted.
//!
//! *Invariant:* a promotion and a rollback are one transaction each; what a channel was stays on record.
//! *Not for:* serving channels, which `serving` and the server do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::{ChannelContent, Index, IndexError, StoredChannel},
    mirror::Generation,
    model::{PluginId, Timestamp},
    ops::{
        Context,
        serving::{EDGE, Serving, ServingError},
    },
};

/// A channel in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ListedChannel {
    /// The name.
    pub name: String,
    /// The id of the generation that it is served as.
    pub generation: String,
    /// When the catalog was synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<Timestamp>,
    /// When it was promoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted_at: Option<Timestamp>,
    /// How many plugins it lists.
    pub plugins: usize,
    /// How many versions it lists.
    pub versions: usize,
}

/// A version that one channel has and the other has not.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct ChannelChange {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: String,
    /// `added` or `removed`.
    pub change: &'static str,
}

/// What a channel command did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ChannelOutcome {
    /// The channels, as they are now.
    pub channels: Vec<ListedChannel>,
    /// What changed, or differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<ChannelChange>>,
}

/// What to promote.
#[derive(Clone, Debug)]
pub(crate) struct Promotion {
    /// The channel that has it.
    pub from: String,
    /// The channel that gets it.
    pub to: String,
    /// Only these plugins; empty for all.
    pub only: Vec<PluginId>,
    /// Only versions that the first channel has had for so long, in milliseconds.
    pub after: i64,
}

/// A channel was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The cache cannot be used.
    #[error("no channel was changed")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("no channel was changed")]
    Index(#[from] IndexError),
    /// What the channels have cannot be read.
    #[error("the channels cannot be read")]
    Serving(#[from] ServingError),
    /// There is no such channel.
    #[error("there is no channel `{}`", .0.escape_debug())]
    Unknown(String),
    /// A channel cannot be called that.
    #[error("a channel cannot be called `{}`", .0.escape_debug())]
    Name(String),
    /// It was never anything else.
    #[error("the channel `{0}` was never anything else")]
    NoHistory(String),
}

diagnose!(ChannelError {
    forward Home, Index, Serving;
    Unknown => Kind::Usage, "`plugport channel list` lists them; `plugport channel promote edge NAME` makes one";
    Name => Kind::Usage, "a name has small letters, digits and dashes, and is not `edge`, which is what a sync brings";
    NoHistory => Kind::Failed;
});

/// Returns every channel.
pub(crate) async fn list(serving: &Serving) -> Result<ChannelOutcome, ChannelError> {
    let stored = stored(serving.context()).await?;
    serving.reload().await?;
    let mut names = vec![(EDGE.to_owned(), None)];
    names.extend(stored.iter().map(|channel| (channel.name.clone(), Some(channel.at))));
    let describe = |(name, promoted_at): (String, Option<Timestamp>)| {
        let generation = serving.channel(&name)?;
        let counts = generation.counts();
        let (plugins, versions) = (counts.plugins, counts.versions);
        let (generation, synced_at) = (generation.id().to_owned(), generation.synced_at);
        Some(ListedChannel { name, generation, synced_at, promoted_at, plugins, versions })
    };
    Ok(ChannelOutcome { channels: names.into_iter().filter_map(describe).collect(), changes: None })
}

/// Gives a channel what another one has.
pub(crate) async fn promote(serving: &Serving, promotion: &Promotion) -> Result<ChannelOutcome, ChannelError> {
    if promotion.to == EDGE || !is_name(&promotion.to) {
        return Err(ChannelError::Name(promotion.to.clone()));
    }
    let context = serving.context();
    let _lock = context.lock().await?;
    let now = context.now();
    let from = content(serving, &promotion.from).await?;
    let to = match content(serving, &promotion.to).await {
        Err(ChannelError::Unknown(_)) => ChannelContent::new(),
        to => to?,
    };
    let next = promoted(&from, &to, promotion, now);
    let changes = differences(&to, &next);
    put(context, StoredChannel { name: promotion.to.clone(), at: now, origin: promotion.from.clone(), content: next })
        .await?;
    Ok(ChannelOutcome { changes: Some(changes), ..list(serving).await? })
}

/// Returns how the second channel differs from the first.
pub(crate) async fn diff(serving: &Serving, first: &str, second: &str) -> Result<ChannelOutcome, ChannelError> {
    let (before, after) = (content(serving, first).await?, content(serving, second).await?);
    Ok(ChannelOutcome { changes: Some(differences(&before, &after)), ..list(serving).await? })
}

/// Makes a channel what it was before its last change.
pub(crate) async fn rollback(serving: &Serving, name: &str) -> Result<ChannelOutcome, ChannelError> {
    let context = serving.context();
    let _lock = context.lock().await?;
    let now = stored(context).await?.into_iter().find(|channel| channel.name == name);
    let now = now.ok_or_else(|| ChannelError::Unknown(name.to_owned()))?;
    let (served, before) =
        context.index().read(move |index| index.channel_before(&now).map(|before| (now.content, before))).await?;
    let before = before.ok_or_else(|| ChannelError::NoHistory(name.to_owned()))?;
    let changes = differences(&served, &before.content);
    let restored = before.content;
    let origin = "rollback".to_owned();
    put(context, StoredChannel { name: name.to_owned(), at: context.now(), origin, content: restored }).await?;
    Ok(ChannelOutcome { changes: Some(changes), ..list(serving).await? })
}

async fn put(context: &Context, channel: StoredChannel) -> Result<(), ChannelError> {
    Ok(context.index().write(move |index| index.put_channel(&channel)).await?)
}

async fn stored(context: &Context) -> Result<Vec<StoredChannel>, IndexError> {
    match context.index().read(Index::channels).await {
        Err(IndexError::Missing { .. }) => Ok(Vec::new()),
        channels => channels,
    }
}

/// Returns what a channel has; `edge` has what is listed now.
async fn content(serving: &Serving, name: &str) -> Result<ChannelContent, ChannelError> {
    if name == EDGE {
        serving.reload().await?;
        return Ok(listed(&serving.generation()));
    }
    let found = stored(serving.context()).await?.into_iter().find(|channel| channel.name == name);
    found.map(|channel| channel.content).ok_or_else(|| ChannelError::Unknown(name.to_owned()))
}

fn listed(generation: &Generation) -> ChannelContent {
    let plugins = generation.plugins().iter().filter(|plugin| plugin.is_listed());
    let versions = |plugin: &crate::mirror::ServedPlugin| {
        plugin.listed().map(|release| (release.version.to_string(), release.since)).collect::<BTreeMap<_, _>>()
    };
    plugins.map(|plugin| (plugin.plugin.id.clone(), versions(plugin))).collect()
}

/// Returns what a channel has after a promotion. A version that it has already stays as old as it is there; one that is too
/// young in the first channel is not taken, and not taken away either.
fn promoted(from: &ChannelContent, to: &ChannelContent, promotion: &Promotion, now: Timestamp) -> ChannelContent {
    let is_wanted = |plugin: &PluginId| promotion.only.is_empty() || promotion.only.contains(plugin);
    let limit = now.as_milliseconds().saturating_sub(promotion.after);
    let mut next: ChannelContent =
        to.iter().filter(|(plugin, _)| !is_wanted(plugin)).map(|(id, known)| (id.clone(), known.clone())).collect();
    for (plugin, versions) in from.iter().filter(|(plugin, _)| is_wanted(plugin)) {
        let known = to.get(plugin);
        let mut taken = BTreeMap::new();
        for (version, since) in versions {
            let already = known.and_then(|known| known.get(version)).copied();
            if let Some(already) = already {
                taken.insert(version.clone(), already);
            } else if since.as_milliseconds() <= limit {
                taken.insert(version.clone(), now);
            }
        }
        if !taken.is_empty() {
            next.insert(plugin.clone(), taken);
        }
    }
    next
}

fn differences(before: &ChannelContent, after: &ChannelContent) -> Vec<ChannelChange> {
    let names = |content: &ChannelContent| -> BTreeSet<(PluginId, String)> {
        let of_plugin = |(plugin, versions): (&PluginId, &BTreeMap<String, Timestamp>)| {
            versions.keys().map(|version| (plugin.clone(), version.clone())).collect::<Vec<_>>()
        };
        content.iter().flat_map(of_plugin).collect()
    };
    let (before, after) = (names(before), names(after));
    let change = |change: &'static str| {
        move |(plugin, version): &(PluginId, String)| ChannelChange {
            plugin: plugin.clone(),
            version: version.clone(),
            change,
        }
    };
    let mut changes: Vec<_> = after.difference(&before).map(change("added")).collect();
    changes.extend(before.difference(&after).map(change("removed")));
    changes.sort();
    changes
}

/// Returns whether a text can be the name of a channel: it is a part of an address.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(entries: &[(&str, &str, i64)]) -> ChannelContent {
        let mut content = ChannelContent::new();
        for (plugin, version, since) in entries {
            let plugin = content.entry(plugin.parse().expect("an id")).or_default();
            plugin.insert((*version).to_owned(), Timestamp::from_milliseconds(*since));
        }
        content
    }

    fn promotion(only: &[&str], after: i64) -> Promotion {
        let only = only.iter().map(|id| id.parse().expect("an id")).collect();
        Promotion { from: "edge".to_owned(), to: "prod".to_owned(), only, after }
    }

    #[test]
    fn a_promotion_takes_what_is_old_enough_and_leaves_what_it_is_not_about() {
        let from = content(&[("a-panel", "1.0.0", 10), ("a-panel", "2.0.0", 90), ("b-app", "1.0.0", 10)]);
        let to = content(&[("a-panel", "1.0.0", 20), ("b-app", "0.9.0", 20), ("c-app", "1.0.0", 20)]);
        let now = Timestamp::from_milliseconds(100);
        let all = promoted(&from, &to, &promotion(&[], 0), now);
        assert_eq!(all, content(&[("a-panel", "1.0.0", 20), ("a-panel", "2.0.0", 100), ("b-app", "1.0.0", 100)]));
        let old = promoted(&from, &to, &promotion(&[], 50), now);
        assert_eq!(old, content(&[("a-panel", "1.0.0", 20), ("b-app", "1.0.0", 100)]));
        let only = promoted(&from, &to, &promotion(&["b-app"], 0), now);
        assert_eq!(only, content(&[("a-panel", "1.0.0", 20), ("b-app", "1.0.0", 100), ("c-app", "1.0.0", 20)]));
    }

    #[test]
    fn names_are_parts_of_addresses() {
        for name in ["prod", "team-1", "0"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-x", "Prod", "a/b", "..", &"x".repeat(33)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
