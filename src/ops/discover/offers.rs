//! The versions of Grafana that AWS offers for workspaces.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::aws_workspace;
use crate::{
    diagnostic::Chain,
    fleet::{
        Workspace,
        aws::{AwsError, AwsWorkspace, ManagedGrafana, Region},
    },
    model::GrafanaVersion,
    net::Client,
};

/// How long all of it may take: it is only a note, which is not worth a long wait.
const LIMIT: Duration = Duration::from_secs(15);

/// What AWS offers for a workspace.
#[derive(Debug, Serialize)]
pub(crate) struct OfferedVersions {
    /// The name of the workspace.
    pub workspace: String,
    /// The versions that it can be upgraded to, like `10.4`.
    pub offered: Vec<String>,
    /// Whether the version that is asked for is among them.
    pub available: bool,
    /// The version that is asked for.
    #[serde(skip)]
    wanted: GrafanaVersion,
}

impl OfferedVersions {
    /// Returns a sentence where the version is not among what is offered.
    pub(crate) fn remark(&self) -> Option<String> {
        let others = match self.offered.as_slice() {
            [] => "no upgrade at all".to_owned(),
            [one] => format!("only {one}"),
            [others @ .., last] => format!("{} and {last}", others.join(", ")),
        };
        let wanted = &self.wanted.as_str();
        (!self.available).then(|| format!("AWS does not offer Grafana {wanted} for this workspace, but {others}"))
    }
}

/// Asks AWS which versions it offers for those of these workspaces that are its own and do not run `wanted` yet.
///
/// Without credentials, without a network or without an answer in time nothing is known, and nothing is said; what else goes
/// wrong is a remark.
pub(crate) async fn offers(
    client: &Client,
    workspaces: Vec<(&Workspace, Option<&GrafanaVersion>)>,
    wanted: &GrafanaVersion,
) -> (Vec<OfferedVersions>, Vec<String>) {
    let mut regions: BTreeMap<Region, Vec<(String, AwsWorkspace)>> = BTreeMap::new();
    for (workspace, running) in workspaces {
        let Some(aws) = aws_workspace(workspace) else { continue };
        if !running.is_some_and(|running| running.cmp_precedence(wanted).is_eq()) {
            let named = (workspace.name().to_string(), aws);
            regions.entry(named.1.region().clone()).or_default().push(named);
        }
    }
    if regions.is_empty() || client.is_offline() {
        return (Vec::new(), Vec::new());
    }
    let (mut found, mut remarks) = (Vec::new(), Vec::new());
    let asked = async {
        for (region, workspaces) in &regions {
            match ask(client, region, workspaces, wanted).await {
                Ok(offers) => found.extend(offers),
                Err(AwsError::NoCredentials | AwsError::LeftOut) => {}
                Err(error) => remarks.push(format!("what AWS offers in {region} is not known: {}", Chain(&error))),
            }
        }
    };
    if tokio::time::timeout(LIMIT, asked).await.is_err() {
        tracing::debug!("AWS did not answer in time");
    }
    (found, remarks)
}

async fn ask(
    client: &Client,
    region: &Region,
    workspaces: &[(String, AwsWorkspace)],
    wanted: &GrafanaVersion,
) -> Result<Vec<OfferedVersions>, AwsError> {
    let managed = ManagedGrafana::open(client, Some(region)).await?;
    let mut offers = Vec::new();
    for (name, workspace) in workspaces {
        let offered = managed.list_versions(workspace).await?;
        let available = offered.iter().any(|offer| is_meant(offer, wanted));
        offers.push(OfferedVersions { workspace: name.clone(), offered, available, wanted: wanted.clone() });
    }
    Ok(offers)
}

/// AWS names versions by as many parts as it tells apart: `10.4` is every `10.4.x`.
fn is_meant(offer: &str, wanted: &GrafanaVersion) -> bool {
    let version = wanted.semver();
    let parts = [version.major, version.minor, version.patch].map(|part| part.to_string());
    let offer: Vec<_> = offer.trim().split('.').collect();
    offer.len() <= parts.len() && offer.iter().zip(&parts).all(|(offered, part)| offered == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_with_fewer_parts_means_every_version_that_begins_so() {
        let wanted: GrafanaVersion = "10.4.3".parse().expect("a version");
        for (offer, meant) in
            [("10.4", true), ("10", true), ("10.4.3", true), ("10.4.2", false), ("1", false), ("", false)]
        {
            assert_eq!(is_meant(offer, &wanted), meant, "{offer}");
        }
    }

    #[test]
    fn only_what_is_not_offered_is_worth_a_remark() {
        let offer = |available, offered: &[&str]| OfferedVersions {
            workspace: "prod".to_owned(),
            offered: offered.iter().map(|text| (*text).to_owned()).collect(),
            available,
            wanted: "12.4.0".parse().expect("a version"),
        };
        assert_eq!(offer(true, &["12.4"]).remark(), None);
        let said = offer(false, &["10.4", "11.2", "12.1"]).remark().expect("a remark");
        assert_eq!(said, "AWS does not offer Grafana 12.4.0 for this workspace, but 10.4, 11.2 and 12.1");
        assert!(offer(false, &[]).remark().expect("a remark").ends_with("but no upgrade at all"));
    }
}
