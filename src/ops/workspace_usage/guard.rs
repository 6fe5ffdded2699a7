//! Keeps what is in use from being uninstalled.
//!
//! *Invariant:* a plugin passes when everything could be read and nothing needs it; not when something could not be read.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use super::{UsageError, WorkspaceUsage, read_one};
use crate::{
    diagnostic::{Chain, Kind, diagnose},
    model::PluginId,
    ops::{
        Context,
        target::{InstalledPlugin, Target},
    },
    usage::PluginUses,
};

/// How many uses are named.
const NAMED: usize = 5;

/// Watches over one target, which is read when it is first asked for.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    context: &'a Context,
    target: &'a Target,
    read: OnceCell<Result<WorkspaceUsage, UsageError>>,
}

/// A plugin must not go.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum StillUsed {
    /// Something needs it.
    #[error("{plugin} is needed by {counts}: {}", .named.join(", "))]
    Needed {
        /// The plugin.
        plugin: PluginId,
        /// How many dashboards, data sources and so on, in words.
        counts: String,
        /// Up to five of them.
        named: Vec<String>,
    },
    /// Nothing was found that needs it, and not everything could be read.
    #[error("it is not known whether something needs {plugin}: {reason}")]
    Unread {
        /// The plugin.
        plugin: PluginId,
        /// What could not be read.
        reason: String,
    },
}

diagnose!(StillUsed {
    Needed { plugin } => Kind::Failed,
        format!("`plugport usage {plugin}` lists what needs it; `--force` removes it all the same");
    Unread => Kind::Failed,
        "a token that can read all folders, dashboards and data sources is needed; `--force` removes it all the same";
});

impl<'a> Guard<'a> {
    /// Watches over a target.
    pub(crate) fn new(context: &'a Context, target: &'a Target) -> Self {
        Self { context, target, read: OnceCell::new() }
    }

    /// Returns why a plugin must stay. Of a folder it is not known who uses it, so everything may go from there.
    ///
    /// `installed` are the plugins of the target: what has an id like a part of an app is one, unless it is installed by
    /// itself.
    pub(crate) async fn check(
        &self,
        plugin: &PluginId,
        installed: &BTreeMap<PluginId, InstalledPlugin>,
    ) -> Result<(), StillUsed> {
        if self.target.as_folder().is_some() {
            return Ok(());
        }
        let unread = |reason: String| StillUsed::Unread { plugin: plugin.clone(), reason };
        let read = self.read.get_or_init(|| read_one(self.context, self.target)).await;
        let usage = read.as_ref().map_err(|error| unread(Chain(error).to_string()))?;
        // What a known part is used by is counted for its app already.
        let is_known = |id: &PluginId| installed.contains_key(id) || usage.nested.contains_key(id);
        let is_part = |id: &PluginId| !is_known(id) && is_part_of(id, plugin);
        refuse_used(plugin, usage, is_part)?;
        let gap = usage.organisations.iter().find_map(|one| Some((one, one.gaps.first()?)));
        match gap {
            Some((one, gap)) => Err(unread(format!("of `{}`, {gap}", one.info.name.escape_debug()))),
            None if usage.organisations.is_empty() => Err(unread("no organisation could be read".to_owned())),
            // Organisations that no token lists are noted: a token has one, and most servers have no other.
            None => Ok(()),
        }
    }

    /// Returns what a check could not see and was passed all the same; empty if nothing was checked.
    pub(crate) fn notes(&self) -> &[String] {
        match self.read.get() {
            Some(Ok(usage)) => &usage.gaps,
            Some(Err(_)) | None => &[],
        }
    }
}

/// Returns whether an id is one that a part of an app has: `acme-sea-panel` in `acme-sea-app`.
fn is_part_of(id: &PluginId, app: &PluginId) -> bool {
    let stem = app.as_str().strip_suffix("-app");
    stem.and_then(|stem| id.as_str().strip_prefix(stem)).is_some_and(|rest| rest.starts_with('-') && rest != "-app")
}

fn refuse_used(
    plugin: &PluginId,
    usage: &WorkspaceUsage,
    is_part: impl Fn(&PluginId) -> bool,
) -> Result<(), StillUsed> {
    let (mut counts, mut named) = ([0; 4], Vec::new());
    for one in &usage.organisations {
        let parts = one.graph.plugins.iter().filter(|(id, _)| is_part(id)).map(|(_, uses)| uses);
        for uses in one.graph.uses_of(plugin).into_iter().chain(parts) {
            add(uses, &mut counts, &mut named);
        }
    }
    if counts == [0; 4] {
        return Ok(());
    }
    named.truncate(NAMED);
    let nouns = [
        ("data source", "data sources"),
        ("dashboard", "dashboards"),
        ("library panel", "library panels"),
        ("alert rule", "alert rules"),
    ];
    let words = counts.iter().zip(nouns).filter(|(count, _)| **count > 0);
    let words = words.map(|(count, (one, many))| format!("{count} {}", if *count == 1 { one } else { many }));
    let counts = words.collect::<Vec<_>>().join(", ");
    Err(StillUsed::Needed { plugin: plugin.clone(), counts, named })
}

fn add(uses: &PluginUses, counts: &mut [usize; 4], named: &mut Vec<String>) {
    let lists = [uses.datasources.len(), uses.dashboards.len(), uses.library_panels.len(), uses.alert_rules.len()];
    for (count, more) in counts.iter_mut().zip(lists) {
        *count += more;
    }
    let quoted = |noun: &str, name: &str| format!("{noun} `{}`", name.escape_debug());
    let room = NAMED.saturating_sub(named.len());
    let sources = uses.datasources.iter().map(|source| quoted("data source", &source.name));
    let dashboards = uses
        .dashboards
        .iter()
        .map(|dashboard| format!("{} in {}", quoted("dashboard", &dashboard.title), dashboard.folder.escape_debug()));
    let panels = uses.library_panels.iter().map(|panel| quoted("library panel", &panel.name));
    let rules = uses.alert_rules.iter().map(|rule| quoted("alert rule", &rule.title));
    named.extend(sources.chain(dashboards).chain(panels).chain(rules).take(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_app_has_its_stem() {
        let is = |id: &str, app: &str| is_part_of(&id.parse().expect("an id"), &app.parse().expect("an id"));
        assert!(is("alexanderzobnin-zabbix-datasource", "alexanderzobnin-zabbix-app"));
        assert!(!is("alexanderzobnin-zabbix-app", "alexanderzobnin-zabbix-app"));
        assert!(!is("alexanderzobnin-zabbixer-panel", "alexanderzobnin-zabbix-app"));
        assert!(!is("acme-sea-panel", "acme-sea"));
    }
}
