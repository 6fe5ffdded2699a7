//! From the installed plugins of each workspace to the fewest entries of a manifest that describe them.
//!
//! *Invariant:* the entries of one plugin never select a workspace twice, nor one that does not have the plugin.
//! *Not for:* entries that a manifest has already.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    fleet::{Workspace, manifest::Ensure},
    model::{PluginId, PluginVersion, Selector, VersionRange, WorkspaceName},
    ops::manifest_draft::EntryGroup,
};

/// Returns the entries for a plugin that is installed in these versions.
pub(super) fn groups(
    plugin: &PluginId,
    members: &BTreeMap<WorkspaceName, PluginVersion>,
    fleet: &[Workspace],
) -> Vec<EntryGroup> {
    let of = |(version, names): (Option<VersionRange>, BTreeSet<WorkspaceName>)| {
        entries(plugin, version.as_ref(), Ensure::Present, &names, fleet)
    };
    ranges(members).into_iter().flat_map(of).collect()
}

/// Returns the entries with one range for a plugin on these workspaces.
pub(super) fn entries(
    plugin: &PluginId,
    version: Option<&VersionRange>,
    ensure: Ensure,
    names: &BTreeSet<WorkspaceName>,
    fleet: &[Workspace],
) -> Vec<EntryGroup> {
    let group = |on| EntryGroup { plugin: plugin.clone(), version: version.cloned(), on, ensure };
    selectors(names, fleet).into_iter().map(group).collect()
}

/// Returns the ranges that hold the versions, lowest first: one for all that its lowest version is compatible with.
fn ranges(members: &BTreeMap<WorkspaceName, PluginVersion>) -> Vec<(Option<VersionRange>, BTreeSet<WorkspaceName>)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by_key(|(name, version)| (*version, *name));
    let mut ranges: Vec<(Option<VersionRange>, BTreeSet<WorkspaceName>)> = Vec::new();
    for (name, version) in sorted {
        let own = range_of(version);
        let fits = |(range, _): &&mut (Option<VersionRange>, _)| match (range, &own) {
            (Some(range), _) => range.allows(version),
            (None, own) => own.is_none(),
        };
        match ranges.iter_mut().find(fits) {
            Some((_, names)) => drop(names.insert(name.clone())),
            None => ranges.push((own, BTreeSet::from([name.clone()]))),
        }
    }
    ranges
}

/// Returns the range for a version: `^` and the version if it is semver, otherwise its text if that is a range which allows
/// it; `None` if no range does.
pub(super) fn range_of(version: &PluginVersion) -> Option<VersionRange> {
    let text = version.as_str();
    let caret = semver::Version::parse(text).is_ok().then(|| format!("^{text}"));
    let texts = caret.into_iter().chain([text.to_owned()]);
    texts.filter_map(|text| text.parse::<VersionRange>().ok()).find(|range| range.allows(version))
}

/// Returns selectors that match exactly these workspaces of the fleet: all, one label, two labels, or one name each.
pub(super) fn selectors(names: &BTreeSet<WorkspaceName>, fleet: &[Workspace]) -> Vec<Selector> {
    if !names.is_empty() && fleet.iter().all(|workspace| names.contains(workspace.name())) {
        return vec![Selector::all()];
    }
    let by_labels = candidates(names, fleet).into_iter().find(|selector| {
        fleet.iter().all(|workspace| workspace.is_selected_by(selector) == names.contains(workspace.name()))
    });
    match by_labels {
        Some(selector) => vec![selector],
        None => names.iter().cloned().map(Selector::name).collect(),
    }
}

/// Returns the labels that all of these workspaces have, one at a time, then two.
fn candidates(names: &BTreeSet<WorkspaceName>, fleet: &[Workspace]) -> Vec<Selector> {
    let mut members = fleet.iter().filter(|workspace| names.contains(workspace.name()));
    let mut common: Vec<_> = members.next().map(|first| first.labels().iter().collect()).unwrap_or_default();
    for workspace in members {
        common.retain(|(key, value)| workspace.labels().get(*key) == Some(*value));
    }
    let pair = |labels: &[(&String, &String)]| {
        Selector::labels(labels.iter().map(|(key, value)| ((*key).clone(), (*value).clone())))
    };
    let ones = common.iter().map(|label| pair(&[*label]));
    let twos = common
        .iter()
        .enumerate()
        .flat_map(|(at, first)| common.iter().skip(at + 1).map(move |second| pair(&[*first, *second])));
    // A label may have characters that a selector cannot have.
    let is_writable = |selector: &Selector| selector.to_string().parse().as_ref() == Ok(selector);
    ones.chain(twos).filter(is_writable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Manifest;

    fn fleet() -> Manifest {
        let mut text = String::new();
        for (name, labels) in [
            ("prod-eu", "tier = \"prod\", region = \"eu\""),
            ("prod-us", "tier = \"prod\", region = \"us\""),
            ("dev-eu", "tier = \"dev\", region = \"eu\", odd = \"a,b\""),
            ("dev-us", "tier = \"dev\", region = \"us\", odd = \"a,b\""),
        ] {
            let entry = format!(
                "[[workspace]]\nname = \"{name}\"\nkind = \"directory\"\npath = \"{name}\"\nlabels = {{ {labels} }}\n"
            );
            text.push_str(&entry);
        }
        Manifest::parse(&text, std::path::Path::new("plugport.toml")).expect("a manifest")
    }

    #[track_caller]
    fn said(members: &[(&str, &str)]) -> Vec<String> {
        let name = |text: &str| text.parse::<WorkspaceName>().expect("a name");
        let members =
            members.iter().map(|(workspace, version)| (name(workspace), version.parse().expect("a version"))).collect();
        let plugin = "acme-clock-panel".parse().expect("an id");
        let range = |group: &EntryGroup| group.version.as_ref().map_or("any".to_owned(), ToString::to_string);
        groups(&plugin, &members, fleet().workspaces())
            .iter()
            .map(|one| format!("{} on {}", range(one), one.on))
            .collect()
    }

    #[test]
    fn the_shortest_selector_that_means_exactly_these_is_taken() {
        let everywhere = [("prod-eu", "1.0.0"), ("prod-us", "1.0.0"), ("dev-eu", "1.0.0"), ("dev-us", "1.0.0")];
        assert_eq!(said(&everywhere), ["^1.0.0 on all"]);
        assert_eq!(said(&everywhere[..2]), ["^1.0.0 on tier=prod"]);
        assert_eq!(said(&everywhere[..1]), ["^1.0.0 on region=eu,tier=prod"]);
        assert_eq!(said(&everywhere[..3]), ["^1.0.0 on dev-eu", "^1.0.0 on prod-eu", "^1.0.0 on prod-us"]);
        assert_eq!(said(&everywhere[2..]), ["^1.0.0 on tier=dev"]);
        assert_eq!(said(&[]), Vec::<String>::new());
    }

    #[test]
    fn compatible_versions_share_the_range_of_the_lowest() {
        let members = [("prod-eu", "2.4.0"), ("prod-us", "2.1.0"), ("dev-eu", "3.0.0"), ("dev-us", "3.0.0")];
        assert_eq!(said(&members), ["^2.1.0 on tier=prod", "^3.0.0 on tier=dev"]);
        let members = [("prod-eu", "0.2.1"), ("prod-us", "0.3.0")];
        assert_eq!(said(&members), ["^0.2.1 on region=eu,tier=prod", "^0.3.0 on region=us,tier=prod"]);
    }

    #[test]
    fn versions_that_are_not_semver_are_said_as_far_as_a_range_can() {
        let range = |text: &str| range_of(&text.parse().expect("a version")).map(|range| range.to_string());
        for (version, wanted) in
            [("1.2.3-beta1", Some("^1.2.3-beta1")), ("9", Some("9")), ("v1.0.0", Some("v1.0.0")), ("latest", None)]
        {
            assert_eq!(range(version).as_deref(), wanted, "{version}");
        }
        let odd = [("prod-eu", "latest"), ("prod-us", "newest"), ("dev-eu", "1.0.0")];
        assert_eq!(said(&odd), ["any on tier=prod", "^1.0.0 on region=eu,tier=dev"]);
    }
}
