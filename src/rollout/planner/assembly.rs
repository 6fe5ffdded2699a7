//! From decisions about workspaces to the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::WorkspaceDecision;
use crate::{
    model::{Timestamp, WorkspaceName},
    rollout::{Base, Content, Plan, PlanId, PlanSummary, PlannedWorkspace, Rollout, waves::waves},
};

/// A workspace with the decision about it.
#[derive(Clone, Debug)]
pub(crate) struct DecidedWorkspace {
    /// The name.
    pub name: WorkspaceName,
    /// The labels, by which waves select.
    pub labels: BTreeMap<String, String>,
    /// Its present state; `None` if it was not read.
    pub planned: Option<PlannedWorkspace>,
    /// What is decided about it.
    pub decision: WorkspaceDecision,
}

/// Returns the plan for workspaces in the order of the manifest.
pub(crate) fn assemble(
    base: Base,
    made_at: Timestamp,
    policy: Rollout,
    decided: Vec<DecidedWorkspace>,
    content: Vec<Content>,
) -> Plan {
    let with_content: BTreeSet<_> = content.iter().map(|content| content.workspace.clone()).collect();
    let has_work = |decided: &&DecidedWorkspace| {
        decided.decision.changes.iter().any(|action| !action.is_nothing()) || with_content.contains(&decided.name)
    };
    let members: Vec<_> = decided.iter().filter(has_work).map(|decided| (&decided.name, &decided.labels)).collect();
    let waves = waves(&members, &policy.waves);
    let mut plan = Plan {
        plan_id: PlanId::default(),
        made_at,
        base,
        changes: Vec::new(),
        blocked: Vec::new(),
        summary: PlanSummary::default(),
        content,
        unmanaged: Vec::new(),
        warnings: Vec::new(),
        workspaces: BTreeMap::new(),
        waves,
        policy,
    };
    for DecidedWorkspace { name, planned: ground, decision, .. } in decided {
        plan.changes.extend(decision.changes);
        plan.blocked.extend(decision.blocked);
        plan.unmanaged.extend(decision.unmanaged);
        plan.warnings.extend(decision.warnings);
        plan.workspaces.extend(ground.map(|ground| (name, ground)));
    }
    plan.sealed()
}
