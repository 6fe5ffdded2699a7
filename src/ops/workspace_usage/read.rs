//! Reads a workspace, organisation by organisation.

use std::collections::{BTreeMap, BTreeSet};

use super::{OrganisationUsage, UsageError, WorkspaceUsage, dashboards::read_dashboards, memory::Memory};
use crate::{
    diagnostic::Chain,
    fleet::{
        Grafana, WorkspaceError,
        grafana::{Reach, Rights},
    },
    model::{OrganisationInfo, PluginId},
    ops::{Context, target::Target},
    usage::{Graph, OrganisationContent},
};

/// The gap of a workspace that may have organisations which the caller cannot list.
const OTHER_ORGANISATIONS: &str = "other organisations: the credential cannot list them, and they may use plugins too; a \
    server admin can, or `single-organisation = true` in the manifest says that there are none";

/// What is read besides dashboards and what they consist of.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// The plugins that apps ship.
    nested: bool,
    /// Alert rules, and what the caller may read.
    alert_rules: bool,
}

/// Returns what plugins are needed for on one target.
pub(crate) async fn read_one(context: &Context, target: &Target) -> Result<WorkspaceUsage, UsageError> {
    read_extent(context, target, Extent { nested: true, alert_rules: true }).await
}

/// Returns which dashboards of a target need these plugins; nothing else is whole in what is returned.
pub(crate) async fn read_dashboards_of(
    context: &Context,
    target: &Target,
    plugins: &BTreeSet<PluginId>,
) -> Result<WorkspaceUsage, UsageError> {
    // Only apps ship plugins, and their ids end so.
    let nested = plugins.iter().any(|id| id.as_str().ends_with("-app"));
    read_extent(context, target, Extent { nested, alert_rules: false }).await
}

async fn read_extent(context: &Context, target: &Target, extent: Extent) -> Result<WorkspaceUsage, UsageError> {
    let grafana = target.as_server()?;
    let found = grafana.organisations().await?;
    // Without the list of them, what is named like a part of an app is taken for one.
    let nested = if extent.nested { grafana.nested().await } else { Ok(Vec::new()) };
    let nested: BTreeMap<PluginId, PluginId> = match nested {
        Ok(nested) => nested.into_iter().filter_map(|one| Some((one.id, one.app?))).collect(),
        Err(_) => BTreeMap::new(),
    };
    let mut organisations = Vec::new();
    for info in found.readable {
        let mut organisation = read_organisation((context, grafana), info, extent).await;
        for (nested, app) in &nested {
            organisation.graph.attribute(nested, app);
        }
        organisations.push(organisation);
    }
    organisations.extend(found.closed.into_iter().map(|info| {
        let gap = "the credential does not belong to this organisation".to_owned();
        OrganisationUsage::new(info, vec![gap], Graph::default())
    }));
    let gaps = found.may_have_others.then(|| OTHER_ORGANISATIONS.to_owned()).into_iter().collect();
    Ok(WorkspaceUsage { name: target.name.clone(), organisations, gaps, nested })
}

/// Reads one organisation; what fails is a gap, and so is what the caller may not see.
async fn read_organisation(
    (context, grafana): (&Context, &Grafana),
    info: OrganisationInfo,
    extent: Extent,
) -> OrganisationUsage {
    let mut gaps = Vec::new();
    let entered = match grafana.enter(&info).await {
        Ok(entered) => entered,
        Err(error) => {
            gaps.push(failure_text("the organisation", &error));
            return OrganisationUsage::new(info, gaps, Graph::default());
        }
    };
    let memory = Memory::load(context, grafana.site().base(), info.id);
    let held = Box::pin(read_content(&entered.grafana, memory, extent, &mut gaps)).await;
    if let Some(left) = entered.left
        && let Err(error) = grafana.switch(left).await
    {
        gaps.push(failure_text("the login is still in this organisation", &error));
    }
    OrganisationUsage::new(info, gaps, Graph::from_content(&held))
}

async fn read_content(
    grafana: &Grafana,
    memory: impl Future<Output = Memory>,
    extent: Extent,
    gaps: &mut Vec<String>,
) -> OrganisationContent {
    let (mut memory, rights, folders, sources, panels, rules, listed) = tokio::join!(
        memory,
        async { if extent.alert_rules { grafana.rights().await.map(Some) } else { Ok(None) } },
        grafana.folders(),
        grafana.data_sources(),
        grafana.library_panels(),
        async { if extent.alert_rules { grafana.alert_rules().await } else { Ok(Vec::new()) } },
        grafana.dashboards(),
    );
    match rights {
        Ok(rights) => gaps.extend(rights.iter().flat_map(reach)),
        Err(error) => gaps.push(failure_text("what the credential may see", &error)),
    }
    let mut content = OrganisationContent {
        folders: or_gap(folders, "folders", gaps),
        library_panels: or_gap(panels, "library panels", gaps),
        alert_rules: or_gap(rules, "alert rules", gaps),
        ..OrganisationContent::default()
    };
    match sources {
        Ok(found) => {
            gaps.extend(found.refused.map(|reason| format!("data sources: {reason}")));
            content.datasources = found.sources;
        }
        Err(error) => gaps.push(failure_text("data sources", &error)),
    }
    let listed = or_gap(listed, "dashboards", gaps);
    content.dashboards = read_dashboards(grafana, listed, &mut memory, gaps).await;
    memory.save(&content.dashboards).await;
    content
}

/// Says what the caller sees only in part. A server that does not tell is one before version 9.
fn reach(rights: &Rights) -> Vec<String> {
    let reaches = [
        ("dashboards", &rights.dashboards),
        ("data sources", &rights.data_sources),
        ("library panels", &rights.library_panels),
        ("alert rules", &rights.alert_rules),
    ];
    let gap = |(what, reach): (&str, &Reach)| match reach {
        Reach::All => None,
        Reach::Part(reason) => Some(format!("{what}: the credential sees a part: {reason}")),
        Reach::Unknown => Some(format!("{what}: the server does not tell whether the credential sees all")),
    };
    reaches.into_iter().filter_map(gap).collect()
}

fn or_gap<T>(read: Result<Vec<T>, WorkspaceError>, what: &str, gaps: &mut Vec<String>) -> Vec<T> {
    read.unwrap_or_else(|error| {
        gaps.push(failure_text(what, &error));
        Vec::new()
    })
}

fn failure_text(what: &str, error: &WorkspaceError) -> String {
    format!("{what}: {}", Chain(error))
}
