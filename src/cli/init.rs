//! `plugport init`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{Failure, Report, Session, Text, setup::environment, ui};
use crate::{
    diagnostic::Kind,
    fleet::aws::Region,
    model::WorkspaceName,
    ops::{
        discover::discover,
        init::{FirstServer, InitOptions, create, first_draft, next_steps, parse_list},
        manifest_draft::Draft,
    },
};

/// Write a first `plugport.toml`, and show the next steps
///
/// The manifest is checked before it is written, and an existing file is never replaced. Only `--aws` sends requests.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Begin with the Grafana at this address
    #[arg(long, value_name = "URL", requires = "token_env", conflicts_with_all = ["dir", "aws"])]
    url: Option<String>,
    /// The environment variable that has the token of that Grafana
    #[arg(long, value_name = "NAME", requires = "url")]
    token_env: Option<String>,
    /// The name of that workspace [default: from its address]
    #[arg(long, value_name = "NAME", requires = "url")]
    name: Option<WorkspaceName>,
    /// Begin with this plugins folder
    #[arg(long, value_name = "DIR", conflicts_with = "aws")]
    dir: Option<PathBuf>,
    /// Begin with the Amazon Managed Grafana workspaces that AWS lists
    #[arg(long)]
    aws: bool,
    /// Ask AWS for the workspaces of this region; may be repeated [default: that of the environment or the profile]
    #[arg(long = "region", value_name = "REGION", requires = "aws")]
    regions: Vec<Region>,
    /// Want the plugins of this list: the value of `GF_INSTALL_PLUGINS` or `preinstall`, or `plugins` of the Helm chart
    #[arg(long, value_name = "TEXT")]
    from_preinstall: Option<String>,
}

impl InitArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let plugins = self.from_preinstall.as_deref().map(parse_list).transpose()?.unwrap_or_default();
        let server = self.url.clone().zip(self.token_env.clone());
        let server = server.map(|(url, token_variable)| FirstServer { url, token_variable, name: self.name.clone() });
        let from_elsewhere: Vec<_> = plugins.iter().filter(|one| one.has_address).map(|one| one.id.clone()).collect();
        let options = InitOptions { server, folder: self.dir.clone(), more_follows: self.aws, plugins };
        let mut draft = first_draft(&session.first_manifest_path(), &options)?;
        if self.aws {
            draft = self.with_aws(session, &draft).await?;
        }
        create(&draft)?;
        let own =
            |id| format!("note: {id} was installed from an address: `plugport publish ZIP` adds it to the catalog");
        Ok(Report { problems: from_elsewhere.into_iter().map(own).collect(), ..report(&draft) })
    }

    async fn with_aws(&self, session: &Session, draft: &Draft) -> Result<Draft, Failure> {
        let client = &session.context()?.client;
        let mut discovery = discover(client, draft.manifest(), &self.regions).await;
        if let Some(found) = discovery.added_to(draft).await? {
            return Ok(found);
        }
        let failed = discovery.regions.iter().find(|region| region.error.is_some());
        let message = match failed.and_then(|region| region.error.as_ref()) {
            Some(error) => format!("nothing was written: {error}"),
            None => "nothing was written: AWS lists no workspace".to_owned(),
        };
        let hint = failed.and_then(|region| region.hint.clone());
        let hint = hint.unwrap_or_else(|| "`--region REGION` asks for those of another region".to_owned());
        Err(Failure { kind: discovery.kind().unwrap_or(Kind::Failed), message, hint: Some(hint) })
    }
}

fn report(draft: &Draft) -> Report {
    let manifest = draft.manifest();
    let path = draft.path().display().to_string();
    let steps = next_steps(draft, &environment);
    let count = |number: usize, one, many| ui::count(number as u64, one, many);
    let workspaces = count(manifest.workspaces().len(), "workspace", "workspaces");
    let plugins = count(manifest.plugins().len(), "plugin", "plugins");
    let mut text = format!("written: {path} ({workspaces}, {plugins})\n\nNext:\n");
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", number + 1);
    }
    let names: Vec<_> = manifest.workspaces().iter().map(|workspace| workspace.name().clone()).collect();
    let plugin = |wish: &crate::fleet::manifest::Wish| json!({ "id": wish.id, "version": wish.version });
    let plugins: Vec<_> = manifest.plugins().iter().map(plugin).collect();
    Report {
        document: json!({ "manifest": path, "workspaces": names, "plugins": plugins, "next": steps }),
        text: Text::from(ui::clean(&text)),
        ..Report::default()
    }
}
