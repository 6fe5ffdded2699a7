//! A plan: the changes from the present state to the wanted one, complete in every detail, as it is saved and shown.
//!
//! *Invariant:* a [`Plan`] that was read has the id of its content, so it is unchanged since it was made; every workspace
//! with an action is described and is in exactly one wave.
//! *Not for:* making a plan, or carrying one out.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{budget::FailureBudget, policy::Rollout};
use crate::{
    diagnostic::{Kind, diagnose},
    model::{
        Change, GrafanaVersion, Platform, PluginId, PluginVersion, Presence, Sha256Digest, Timestamp, WorkspaceName,
    },
};

/// Everything that a rollout does. Its JSON is what `plan --json` prints and `plan --out` saves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// A digest of everything else except the time.
    pub plan_id: PlanId,
    /// When it was made.
    pub made_at: Timestamp,
    /// The lock and the catalog it was made from.
    pub base: Base,
    /// In the order in which they are made on each workspace, with the plugins that stay.
    #[serde(rename = "actions")]
    pub changes: Vec<PlannedChange>,
    /// The plugins that cannot be changed, and why.
    pub blocked: Vec<Blocked>,
    /// How many actions of each kind.
    pub summary: PlanSummary,
    /// Dashboards and data sources, changed after the plugins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Content>,
    /// Installed plugins that neither the manifest nor the lock mentions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged: Vec<Unmanaged>,
    /// Warnings to read before it is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Each workspace when the plan was made.
    pub workspaces: BTreeMap<WorkspaceName, PlannedWorkspace>,
    /// The waves in order: every workspace with something to do, once.
    pub waves: Vec<WavePlan>,
    /// The rules of the rollout.
    pub policy: Rollout,
}

/// The id of a plan: 16 hexadecimal digits.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct PlanId(String);

impl PlanId {
    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// What a plan was made from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The digest of the text of the lock; `None` if versions were chosen for this plan alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lock: Option<Sha256Digest>,
    /// The number of the catalog's last sync, counted in this cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync: Option<i64>,
}

/// A workspace when the plan was made: the plan is refused if this has changed since.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWorkspace {
    /// Its address or folder.
    pub place: String,
    /// The version of Grafana; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grafana: Option<GrafanaVersion>,
    /// The platform of its packages.
    pub platform: Platform,
    /// Workspaces of one account share a rate limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<String>,
    /// The installed plugins; `None` for a version that cannot be read.
    pub plugins: BTreeMap<PluginId, Option<PluginVersion>>,
}

/// What is done to one plugin on one workspace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin.
    pub plugin: PluginId,
    /// What is done.
    #[serde(rename = "action")]
    pub kind: Change,
    /// The version before; `None` if the plugin must be absent, or its version cannot be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<PluginVersion>,
    /// The version after; `None` if the plugin is removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<PluginVersion>,
    /// Why.
    pub reason: String,
    /// Whether the installed version comes neither from the lock nor from a rollout.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub drift: bool,
    /// The package that is verified before; `None` if none is needed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<PlannedPackage>,
    /// The plugins with which a server installs another version of it: they are changed before it, also in a rollback.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub brought_by: Vec<PluginId>,
}

impl PlannedChange {
    /// Returns what the plan expects before the change.
    pub fn former(&self) -> Presence {
        match (&self.from, self.kind) {
            (Some(version), _) => Presence::Version(version.clone()),
            (None, Change::Install | Change::Repin) => Presence::Absent,
            (None, _) => Presence::Unknown,
        }
    }

    /// Returns whether the plugin stays as it is.
    pub fn is_nothing(&self) -> bool {
        self.kind == Change::None
    }
}

/// A package as a plan pins it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPackage {
    /// The platform that it is for.
    pub platform: Platform,
    /// Its digest, as the lock has it: `sha256:...` or `md5:...`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
}

/// A plugin that cannot be changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Blocked {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin.
    pub plugin: PluginId,
    /// Why.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// An installed plugin that neither the manifest nor the lock mentions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unmanaged {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin.
    pub plugin: PluginId,
    /// The version; `None` if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<PluginVersion>,
}

/// A warning about a workspace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin that it is about; `None` for the workspace as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plugin: Option<PluginId>,
    /// The warning as a sentence.
    pub text: String,
}

/// Workspaces that are changed before the gate of the next wave.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WavePlan {
    /// The wave as the manifest writes it; `the rest` for workspaces that no wave contains.
    pub name: String,
    /// How many of them may fail; `None` if the budget of the rollout counts them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_failures: Option<FailureBudget>,
    /// Whether it begins only once it is approved.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub approve: bool,
    /// The workspaces in the order in which they are started.
    pub workspaces: Vec<WorkspaceName>,
}

/// How many actions of each kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PlanSummary {
    /// To be installed.
    pub install: usize,
    /// To be upgraded.
    pub upgrade: usize,
    /// To be downgraded.
    pub downgrade: usize,
    /// To be put in place again.
    pub reinstall: usize,
    /// To be removed.
    pub uninstall: usize,
    /// To stay.
    pub unchanged: usize,
    /// That cannot be done.
    pub blocked: usize,
}

/// A change of dashboards or data sources.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin that it belongs to.
    pub plugin: PluginId,
    /// What it is.
    pub item: ContentItem,
}

/// What is changed. Secrets are only named; their values are read through the references of the manifest when they are
/// sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum ContentItem {
    /// The dashboards that the plugin bundles are imported into a folder.
    Dashboards {
        /// The unique id of the folder.
        folder_uid: String,
        /// Its title.
        folder_title: String,
    },
    /// A data source is created or updated.
    DataSource {
        /// Its unique id.
        uid: String,
        /// Its name.
        name: String,
        /// The rest of its settings, without secrets: the body of the Data Source API.
        settings: Value,
        /// The names of its secrets, `secureJsonData`.
        secrets: Vec<String>,
        /// Whether secrets that the workspace has already are not sent again. Plans of before 0.2 send all.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        keep_secrets: bool,
    },
    /// A data source is removed.
    NoDataSource {
        /// Its unique id.
        uid: String,
        /// Whether it may be removed although it has secrets, which no rollback can restore.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        lose_secrets: bool,
        /// Whether it is removed once the workspace has passed its gate. In plans of before 0.2 the gate comes last.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        after_gate: bool,
    },
}

impl ContentItem {
    /// Returns whether it is changed after the gate of its workspace.
    pub fn is_after_gate(&self) -> bool {
        matches!(self, Self::NoDataSource { after_gate: true, .. })
    }
}

/// One step on a workspace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// A plugin is changed.
    Plugin(&'a PlannedChange),
    /// Dashboards or data sources are changed.
    Content(&'a Content),
}

/// A text is not a plan that may be applied.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not the JSON of a plan.
    #[error("it is not a plan")]
    Shape(#[source] serde_json::Error),
    /// It was changed after it was made.
    #[error("its content does not have the id {0}: it was changed after it was made")]
    Changed(PlanId),
    /// An action or a wave names a workspace that the plan does not describe, or one twice.
    #[error("it describes the workspace {0} not at all or twice")]
    Workspace(WorkspaceName),
}

diagnose!(PlanError => Kind::Usage, "make a plan with `plugport plan --out FILE`, and apply it without editing it");

impl Plan {
    /// Returns the plan with its counts and its id.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.summary = self.count();
        self.plan_id = self.digest();
        self
    }

    /// Reads a saved plan. The keys that every JSON document of the command line has are ignored.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut value: Value = serde_json::from_str(text).map_err(PlanError::Shape)?;
        if let Some(object) = value.as_object_mut() {
            object.remove("format_version");
            object.remove("command");
        }
        let plan: Self = serde_json::from_value(value).map_err(PlanError::Shape)?;
        if plan.digest() != plan.plan_id || plan.count() != plan.summary {
            return Err(PlanError::Changed(plan.plan_id));
        }
        plan.check()?;
        Ok(plan)
    }

    /// Returns the steps on a workspace: first actions that change something, then content. Tasks of the journal refer to
    /// steps by their place here.
    pub fn steps<'a>(&'a self, workspace: &'a WorkspaceName) -> impl Iterator<Item = Step<'a>> {
        let actions = self.changes.iter().filter(|action| !action.is_nothing() && action.workspace == *workspace);
        let content = self.content.iter().filter(|content| content.workspace == *workspace);
        actions.map(Step::Plugin).chain(content.map(Step::Content))
    }

    /// Returns whether it changes anything.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.changes.iter().all(PlannedChange::is_nothing)
    }

    fn count(&self) -> PlanSummary {
        let count = |verb| self.changes.iter().filter(|action| action.kind == verb).count();
        PlanSummary {
            install: count(Change::Install),
            upgrade: count(Change::Upgrade),
            downgrade: count(Change::Downgrade),
            reinstall: count(Change::Reinstall),
            uninstall: count(Change::Uninstall),
            unchanged: count(Change::None),
            blocked: self.blocked.len(),
        }
    }

    fn digest(&self) -> PlanId {
        let bare = Self { plan_id: PlanId::default(), made_at: Timestamp::from_milliseconds(0), ..self.clone() };
        let text = serde_json::to_string(&bare).unwrap_or_default();
        PlanId(hex::encode(&Sha256::digest(text)[..8]))
    }

    fn check(&self) -> Result<(), PlanError> {
        let mut in_waves: BTreeMap<&WorkspaceName, usize> = BTreeMap::new();
        for name in self.waves.iter().flat_map(|wave| &wave.workspaces) {
            *in_waves.entry(name).or_default() += 1;
        }
        let acted_on = self.changes.iter().filter(|action| !action.is_nothing()).map(|action| &action.workspace);
        let named =
            acted_on.chain(self.content.iter().map(|content| &content.workspace)).chain(in_waves.keys().copied());
        let is_odd = |name: &&WorkspaceName| !self.workspaces.contains_key(*name) || in_waves.get(*name) != Some(&1);
        named.into_iter().find(is_odd).map_or(Ok(()), |name| Err(PlanError::Workspace(name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let name: WorkspaceName = "prod".parse().expect("a name");
        let action = PlannedChange {
            workspace: name.clone(),
            plugin: "acme-clock-panel".parse().expect("an id"),
            kind: Change::Upgrade,
            from: Some("1.0.0".parse().expect("a version")),
            to: Some("1.1.0".parse().expect("a version")),
            reason: "locked".to_owned(),
            drift: false,
            brought_by: Vec::new(),
            package: None,
        };
        let ground = PlannedWorkspace {
            place: "https://grafana.example".to_owned(),
            grafana: None,
            platform: "linux-amd64".parse().expect("a platform"),
            account: None,
            plugins: BTreeMap::new(),
        };
        Plan {
            plan_id: PlanId::default(),
            made_at: Timestamp::from_milliseconds(1),
            base: Base::default(),
            changes: vec![action],
            blocked: Vec::new(),
            summary: PlanSummary::default(),
            content: Vec::new(),
            unmanaged: Vec::new(),
            warnings: Vec::new(),
            workspaces: BTreeMap::from([(name.clone(), ground)]),
            waves: vec![WavePlan {
                name: "100%".to_owned(),
                max_failures: None,
                approve: false,
                workspaces: vec![name],
            }],
            policy: Rollout::default(),
        }
        .sealed()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let text = serde_json::to_string(&plan()).expect("text");
        assert_eq!(Plan::parse(&text).expect("a plan"), plan());
    }

    #[test]
    fn a_plan_that_was_changed_is_refused() {
        let text = serde_json::to_string(&plan()).expect("text");
        assert!(matches!(Plan::parse(&text.replace("1.1.0", "1.2.0")), Err(PlanError::Changed(_))));
        assert!(matches!(Plan::parse("{}"), Err(PlanError::Shape(_))));
    }

    #[test]
    fn two_plans_of_the_same_things_have_one_id() {
        let later = Plan { made_at: Timestamp::from_milliseconds(2), ..plan() }.sealed();
        assert_eq!(later.plan_id, plan().plan_id);
    }

    #[test]
    fn a_workspace_in_no_wave_or_in_two_is_refused() {
        for waves in [Vec::new(), vec![plan().waves[0].clone(), plan().waves[0].clone()]] {
            let text = serde_json::to_string(&Plan { waves, ..plan() }.sealed()).expect("text");
            assert!(matches!(Plan::parse(&text), Err(PlanError::Workspace(_))));
        }
    }
}
