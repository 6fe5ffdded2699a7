//! What a selector selects of the workspaces of a manifest, and which part of it selects nothing.
//!
//! *Invariant:* every name, every glob and every label rule of an accepted selector selects a workspace by itself, and so
//! does each group: a slip is never silently nobody.
//! *Not for:* the grammar of selectors (`model`).

use std::collections::{BTreeMap, BTreeSet};

use super::{SelectError, Workspace};
use crate::{
    model::{LabelRule, NamePattern, Selector, SelectorGroup, WorkspaceName},
    spelling::nearest,
};

/// How many values of a label a hint lists.
const MAX_LISTED: usize = 8;

/// Returns the selected workspaces, at least one, in the order of the file.
pub(super) fn select<'a>(workspaces: &'a [Workspace], selector: &Selector) -> Result<Vec<&'a Workspace>, SelectError> {
    if workspaces.is_empty() && selector.only_name().is_none() {
        return Err(SelectError::NoWorkspaces);
    }
    selector.groups().iter().try_for_each(|group| check_group(workspaces, group))?;
    Ok(workspaces.iter().filter(|workspace| workspace.is_selected_by(selector)).collect())
}

/// Returns the workspace of this name.
pub(super) fn find<'a>(workspaces: &'a [Workspace], name: &WorkspaceName) -> Result<&'a Workspace, SelectError> {
    let found = workspaces.iter().find(|workspace| workspace.name() == name);
    found.ok_or_else(|| SelectError::UnknownWorkspace {
        name: name.clone(),
        nearest: nearest_names(workspaces, name.as_str()),
    })
}

fn nearest_names(workspaces: &[Workspace], wanted: &str) -> Vec<WorkspaceName> {
    let near = nearest(wanted, workspaces.iter().map(|workspace| workspace.name().as_str()));
    near.into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn check_group(workspaces: &[Workspace], group: &SelectorGroup) -> Result<(), SelectError> {
    for pattern in group.names() {
        match pattern {
            NamePattern::Exactly(name) => drop(find(workspaces, name)?),
            NamePattern::Glob(glob) if !workspaces.iter().any(|workspace| pattern.fits(workspace.name())) => {
                let nearest = nearest_names(workspaces, glob);
                return Err(SelectError::NoNameFits { glob: glob.clone(), nearest });
            }
            NamePattern::Glob(_) | NamePattern::All => {}
        }
    }
    let is_alone = |rule: &&LabelRule| !workspaces.iter().any(|workspace| rule.fits(workspace.labels()));
    if let Some(rule) = group.labels().iter().find(is_alone) {
        let (nearest, known) = nearest_labels(workspaces, rule);
        return Err(SelectError::NoMatch { selector: rule.to_string(), nearest, known });
    }
    if workspaces.iter().any(|workspace| group.selects(workspace.name(), workspace.labels())) {
        return Ok(());
    }
    let selector = group.to_string();
    Err(if group.names().is_empty() {
        SelectError::NoMatch { selector, nearest: Vec::new(), known: Vec::new() }
    } else {
        SelectError::NothingLeft { selector }
    })
}

/// Returns the labels that may have been intended, and otherwise those that there are with this key.
fn nearest_labels(workspaces: &[Workspace], rule: &LabelRule) -> (Vec<String>, Vec<String>) {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in workspaces.iter().flat_map(Workspace::labels) {
        labels.entry(key).or_default().insert(value);
    }
    let near_values = |values: &BTreeSet<&str>| -> Vec<String> {
        let near = rule.wanted().iter().flat_map(|wanted| nearest(wanted, values.iter().copied()));
        near.map(str::to_owned).collect()
    };
    let labelled = |key: &str, value: &str| format!("{key}={value}");
    if let Some(values) = labels.get(rule.key()) {
        let near = near_values(values).iter().map(|value| labelled(rule.key(), value)).collect();
        return (near, values.iter().take(MAX_LISTED).map(|value| labelled(rule.key(), value)).collect());
    }
    let mut near = Vec::new();
    for key in nearest(rule.key(), labels.keys().copied()) {
        near.extend(near_values(&labels[key]).iter().map(|value| labelled(key, value)));
    }
    (near, labels.keys().take(MAX_LISTED).map(|key| (*key).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        diagnostic::{Chain, Diagnose as _},
        fleet::manifest::{Manifest, ManifestError},
    };

    const FLEET: [(&str, &str); 3] =
        [("prod-eu", "tier = \"prod\", region = \"eu\""), ("prod-us", "tier = \"prod\""), ("stage", "tier = \"team\"")];

    fn manifest(rest: &str) -> Result<Manifest, ManifestError> {
        let entry = |(name, labels): &(&str, &str)| {
            format!(
                "[[workspace]]\nname = \"{name}\"\nkind = \"directory\"\npath = \"{name}\"\nlabels = {{ {labels} }}\n"
            )
        };
        let text: String = FLEET.iter().map(entry).chain([rest.to_owned()]).collect();
        Manifest::parse(&text, Path::new("plugport.toml"))
    }

    /// The names that a selector selects, or the error and its hint.
    fn selected(text: &str) -> String {
        match manifest("").expect("sound").select(&text.parse().expect("a selector")) {
            Ok(all) => all.iter().map(|one| one.name().as_str()).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{error} | {}", error.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn names_globs_and_labels_select() {
        for (text, wanted) in [
            ("prod-*,stage", "prod-eu prod-us stage"),
            ("prod-*,!region", "prod-us"),
            ("tier in (prod,team),tier!=prod", "stage"),
            ("stage,prod-eu", "prod-eu stage"),
        ] {
            assert_eq!(selected(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_part_that_selects_nothing_is_an_error_with_the_nearest() {
        for (text, wanted) in [
            ("prod-eu,prod-ue", "there is no workspace `prod-ue` | did you mean `prod-eu`"),
            ("stagee-*,prod-*", "no workspace has a name like `stagee-*` | did you mean `stage`?"),
            ("tier=taem", "no workspace has the labels `tier=taem` | did you mean `tier=team`?"),
            ("tire=team", "no workspace has the labels `tire=team` | did you mean `tier=team`?"),
            ("tier=gold", "no workspace has the labels `tier=gold` | known here: `tier=prod`, `tier=team`"),
            ("owner=me", "no workspace has the labels `owner=me` | known here: `region`, `tier`"),
            ("!tier", "no workspace has the labels `!tier` | known here: `tier=prod`, `tier=team`"),
            (
                "tier=team,region=eu",
                "no workspace has the labels `tier=team,region=eu` | `plugport workspace list` shows",
            ),
            ("prod-*,tier=team", "no workspace is selected by `prod-*,tier=team` | `plugport workspace list` shows"),
        ] {
            assert!(selected(text).starts_with(wanted), "{text}: {}", selected(text));
        }
    }

    #[test]
    fn a_slip_in_a_label_of_an_entry_or_a_wave_is_refused_with_its_place() {
        for (text, wanted) in [
            (
                "[[plugin]]\nid = \"acme-a-panel\"\non = \"tier=taem\"",
                "line 16: `on` of the plugin `acme-a-panel`: no workspace has",
            ),
            ("[[plugin]]\nid = \"acme-a-panel\"\non = [\"prod-*\", \"tier=taem\"]", "the labels `tier=taem`"),
            ("[rollout]\nwaves = [\"tier=taem\"]", "line 16: `waves`: no workspace has the labels `tier=taem`"),
            ("[rollout]\nwaves = [[\"stage\", \"tier=taem\"], \"10%\"]", "the labels `tier=taem`"),
            ("[rollout]\nwaves = [{ on = [\"tier=taem\"], max-failures = 1 }]", "the labels `tier=taem`"),
            (
                "[[datasource]]\nplugin = \"a-b-datasource\"\nuid = \"u\"\nensure = \"absent\"\non = \"tier=taem\"",
                "data source `u`: no",
            ),
        ] {
            let error = manifest(text).expect_err("refused");
            assert!(Chain(&error).to_string().contains(wanted), "{wanted}: {}", Chain(&error));
            assert_eq!(error.hint().as_deref(), Some("did you mean `tier=team`?"), "{text}");
        }
    }

    #[test]
    fn waves_have_the_grammar_of_selectors() {
        let waves = "[rollout]\nwaves = [[\"stage\", \"region=eu\"], \"prod-*\", { on = [\"all\"], max-failures = \"10%\" }, \"50%\"]";
        let rollout = manifest(waves).expect("sound").rollout().clone();
        let names: Vec<_> = rollout.waves.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["stage or region=eu", "prod-*", "all", "50%"]);
        let json = serde_json::to_value(&rollout).expect("JSON");
        assert_eq!(json["waves"][0], serde_json::json!(["stage", "region=eu"]));
        assert_eq!(serde_json::from_value::<crate::rollout::Rollout>(json).expect("as written"), rollout);
    }
}
