//! `plugport workspace discover`.

use clap::Args;

use crate::{
    cli::{Failure, Report, Session, Text, setup::to_document, ui},
    fleet::aws::Region,
    ops::discover::{DiscoveredWorkspace, Discovery, discover},
};

/// Ask AWS for Amazon Managed Grafana workspaces, and add them to the manifest with `--write`
///
/// Credentials are found as AWS's own tools find them: environment, profile, web identity, container, instance. They need
/// `grafana:ListWorkspaces`, `grafana:DescribeWorkspace` and `grafana:DescribeWorkspaceConfiguration`, and with `--write`
/// `grafana:ListWorkspaceServiceAccounts`. Nothing is changed at AWS.
#[derive(Args, Debug)]
pub(super) struct DiscoverArgs {
    /// Ask this region; may be repeated [default: that of the environment or the profile]
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<Region>,
    /// Add the workspaces that the manifest does not have
    #[arg(long)]
    write: bool,
}

impl DiscoverArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let mut discovery = discover(&session.context()?.client, session.manifest()?, &self.regions).await;
        if self.write {
            discovery.write(&session.manifest_path).await?;
        }
        Ok(Report {
            document: to_document(&discovery),
            text: text(&discovery),
            notes: self.notes(session, &discovery),
            problems: problems(&discovery),
            kind: discovery.kind(),
        })
    }

    fn notes(&self, session: &Session, discovery: &Discovery) -> Vec<String> {
        let added = discovery.workspaces.iter().filter(|found| found.added).count() as u64;
        let missing = discovery.workspaces.iter().any(|found| found.manifest.is_none());
        let path = session.manifest_path.display();
        if discovery.written {
            let count = ui::count(added, "workspace is", "workspaces are");
            vec![format!("{count} added to `{path}`: look at the tokens and labels there")]
        } else if missing && !self.write {
            vec!["`--write` names those in the manifest that it does not have".to_owned()]
        } else {
            Vec::new()
        }
    }
}

fn text(discovery: &Discovery) -> Text {
    if discovery.workspaces.is_empty() {
        let asked = discovery.regions.iter().filter(|region| region.error.is_none());
        let names: Vec<_> = asked.filter_map(|region| region.region.as_deref()).collect();
        return if names.is_empty() {
            Text::default()
        } else {
            format!("no workspaces in {}\n", names.join(", ")).into()
        };
    }
    let header =
        ["name", "id", "region", "account", "grafana", "status", "plugin management", "in the manifest", "url"];
    ui::table(&header, discovery.workspaces.iter().map(row))
}

fn row(found: &DiscoveredWorkspace) -> Vec<String> {
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let management = found.plugin_management.map(|on| if on { "on" } else { "off" });
    let manifest = match (&found.manifest, found.added) {
        (Some(name), true) => format!("{name} (new)"),
        (Some(name), false) => name.to_string(),
        (None, _) => "no".to_owned(),
    };
    vec![
        text(found.name.as_deref()),
        found.id.clone(),
        found.region.clone(),
        text(found.account.as_deref()),
        found.grafana.clone(),
        found.status.clone(),
        text(management),
        manifest,
        found.url.clone(),
    ]
}

fn problems(discovery: &Discovery) -> Vec<String> {
    let mut problems = Vec::new();
    for region in &discovery.regions {
        if let Some(error) = &region.error {
            let name = region.region.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
            problems.push(format!("failed: {name}{error}"));
            problems.extend(region.hint.iter().map(|hint| format!("hint: {hint}")));
        }
    }
    for found in &discovery.workspaces {
        if let Some(error) = &found.error {
            problems.push(format!("incomplete: {}: {error}", found.id));
            problems.extend(found.hint.iter().map(|hint| format!("hint: {hint}")));
        }
    }
    let off = discovery.workspaces.iter().filter(|found| found.plugin_management == Some(false));
    problems.extend(off.map(|found| {
        let name = found.name.as_deref().unwrap_or(&found.id);
        format!("note: plugin management is off on {name}: nothing can be installed there until it is turned on")
    }));
    problems
}
