//! `plugport workspace`.

mod discover;

use clap::{Args, Subcommand};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, listing::ASKING, selection::select, ui};
use crate::{
    diagnostic::Kind,
    fleet::{
        Workspace,
        grafana::{Identity, MayInstall},
    },
    model::{GrafanaVersion, Selector},
    progress::Announced,
};

/// List, ping or discover workspaces
#[derive(Args, Debug)]
pub(super) struct WorkspaceArgs {
    #[command(subcommand)]
    command: WorkspaceCommand,
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// List the workspaces of the manifest, without a request
    List,
    /// Ask workspaces for their version, the user of the token, and whether it may install plugins
    Ping {
        /// Which: `all`, names, globs, or labels like `tier=prod` [default: all]
        #[arg(value_name = "WORKSPACE|SELECTOR")]
        workspaces: Vec<Selector>,
        /// The same as an option (repeatable)
        #[arg(long, value_name = "WORKSPACE|SELECTOR")]
        on: Vec<Selector>,
    },
    /// Ask AWS for Amazon Managed Grafana workspaces, and add them to the manifest with `--write`
    Discover(discover::DiscoverArgs),
}

impl WorkspaceArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        match &self.command {
            WorkspaceCommand::List => list(session),
            WorkspaceCommand::Ping { workspaces, on } => ping(session, &[workspaces.as_slice(), on].concat()).await,
            WorkspaceCommand::Discover(arguments) => arguments.run(session).await,
        }
    }
}

fn list(session: &Session) -> Result<Report, Failure> {
    let workspaces = session.manifest()?.workspaces();
    let labels = |workspace: &Workspace| {
        workspace.labels().iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    let row = |workspace: &Workspace| {
        vec![
            workspace.name().to_string(),
            workspace.kind().as_str().to_owned(),
            workspace.endpoint_text(),
            labels(workspace),
            workspace.platform().to_string(),
        ]
    };
    let documents: Vec<_> = workspaces
        .iter()
        .map(|workspace| {
            json!({
                "name": workspace.name(),
                "kind": workspace.kind().as_str(),
                "place": workspace.endpoint_text(),
                "labels": workspace.labels(),
                "platform": workspace.platform(),
            })
        })
        .collect();
    let mut notes = Vec::new();
    if workspaces.is_empty() {
        notes.push("the manifest names no workspaces: add `[[workspace]]` to plugport.toml".to_owned());
    }
    let text = if workspaces.is_empty() {
        Text::default()
    } else {
        ui::table(&["name", "kind", "where", "labels", "platform"], workspaces.iter().map(row))
    };
    Ok(Report { document: json!({ "workspaces": documents }), text, notes, ..Report::default() })
}

/// What a workspace answered.
struct Pong {
    name: String,
    answer: Result<PingResult, Failure>,
}

enum PingResult {
    Folder { path: String, plugins: usize },
    Server { grafana: GrafanaVersion, identity: Identity },
}

async fn ping(session: &Session, selectors: &[Selector]) -> Result<Report, Failure> {
    let workspaces = select(session, selectors)?;
    let asking = &Announced::begin(session.context()?.reporter.as_ref(), ASKING, workspaces.len());
    let pongs: Vec<Pong> = stream::iter(workspaces)
        .map(|workspace| async move {
            let name = workspace.name().to_string();
            let answer = asking.track(&name, Box::pin(ask(session, workspace))).await;
            Pong { name, answer }
        })
        .buffered(16)
        .collect()
        .await;
    let header = ["workspace", "grafana", "who", "organisation", "role", "may install"];
    let answered = pongs.iter().filter_map(|pong| Some((pong, pong.answer.as_ref().ok()?)));
    let rows: Vec<_> = answered.map(|(pong, answer)| row(&pong.name, answer)).collect();
    let mut notes = Vec::new();
    for pong in &pongs {
        if let Err(failure) = &pong.answer {
            notes.push(format!("failed: {}: {}", pong.name, failure.message));
            notes.extend(failure.hint.iter().map(|hint| format!("hint: {hint}")));
        }
    }
    let first = pongs.iter().find_map(|pong| pong.answer.as_ref().err());
    let kind = first.map(|failure| if rows.is_empty() { failure.kind } else { Kind::Partly });
    let text = if rows.is_empty() { Text::default() } else { ui::table(&header, rows) };
    let documents: Vec<_> = pongs.iter().map(document).collect();
    Ok(Report { document: json!({ "workspaces": documents }), text, problems: notes, notes: Vec::new(), kind })
}

async fn ask(session: &Session, workspace: &Workspace) -> Result<PingResult, Failure> {
    let target = session.services()?.connect(workspace).await;
    if let Some(path) = target.as_folder() {
        let plugins = target.read(false).await?.plugins.len();
        return Ok(PingResult::Folder { path: path.display().to_string(), plugins });
    }
    let server = target.as_server()?;
    let identity = server.identity().await?;
    Ok(PingResult::Server { grafana: server.grafana_version().await?, identity })
}

fn row(name: &str, answer: &PingResult) -> Vec<String> {
    match answer {
        PingResult::Folder { path, plugins } => {
            vec![
                name.to_owned(),
                "-".to_owned(),
                format!("folder {path}"),
                format!("{plugins} plugins"),
                "-".to_owned(),
                "yes".to_owned(),
            ]
        }
        PingResult::Server { grafana, identity } => {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let account = || (identity.is_service_account == Some(true)).then(|| "service account".to_owned());
            let who = identity.login.clone().or_else(|| identity.name.clone()).or_else(account);
            let may = match identity.may_install {
                MayInstall::Yes => "yes".to_owned(),
                MayInstall::Unknown => "unknown".to_owned(),
                no @ MayInstall::No(_) => format!("no: {no}"),
            };
            vec![
                name.to_owned(),
                grafana.to_string(),
                text(&who),
                text(&identity.organisation),
                text(&identity.role),
                may,
            ]
        }
    }
}

fn document(pong: &Pong) -> Value {
    match &pong.answer {
        Err(failure) => {
            json!({ "name": pong.name, "reachable": false, "error": failure.message, "hint": failure.hint })
        }
        Ok(PingResult::Folder { path, plugins }) => {
            json!({ "name": pong.name, "reachable": true, "path": path, "plugins": plugins })
        }
        Ok(PingResult::Server { grafana, identity }) => json!({
            "name": pong.name,
            "reachable": true,
            "grafana": grafana,
            "login": identity.login,
            "user": identity.name,
            "organisation": identity.organisation,
            "role": identity.role,
            "server_admin": identity.is_server_admin,
            "service_account": identity.is_service_account,
            "may_install": match identity.may_install {
                MayInstall::Yes => Value::Bool(true),
                MayInstall::No(_) => Value::Bool(false),
                MayInstall::Unknown => Value::Null,
            },
            "may_install_reason": identity.may_install.to_string(),
        }),
    }
}
