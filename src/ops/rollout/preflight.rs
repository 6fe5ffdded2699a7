//! What is made sure of before the first workspace is changed.
//!
//! *Invariant:* nothing is changed; every obstacle is named, not only the first.

use futures_util::{StreamExt, stream};

use super::{Member, Members};
use crate::{
    diagnostic::Chain,
    fleet::{Grafana, directory::PluginsFolder, grafana::MayInstall},
    model::WorkspaceName,
    ops::{blocking, target::Place},
    rollout::Plan,
};

/// What was found out about the workspaces.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// What stands in the way.
    pub(super) obstacles: Vec<String>,
    /// What to do about it.
    pub(super) hints: Vec<String>,
    /// What is worth knowing.
    pub(super) remarks: Vec<String>,
}

/// Asks every workspace that is to be changed whether we may.
pub(super) async fn ask(plan: &Plan, crew: &Members, concurrency: usize) -> Readiness {
    let concerned = plan.waves.iter().flat_map(|wave| &wave.workspaces);
    let members: Vec<_> = concerned.filter_map(|name| Some((name, crew.get(name)?))).collect();
    let answers: Vec<Readiness> =
        stream::iter(members).map(|(name, member)| ask_one(name, member)).buffered(concurrency.max(1)).collect().await;
    let mut whole = Readiness::default();
    for answer in answers {
        whole.obstacles.extend(answer.obstacles);
        whole.hints.extend(answer.hints);
        whole.remarks.extend(answer.remarks);
    }
    whole.hints.sort_unstable();
    whole.hints.dedup();
    whole
}

async fn ask_one(name: &WorkspaceName, member: &Member) -> Readiness {
    match &member.target.place {
        Place::Server(server) => {
            let settings = server.site().client().settings();
            let limit = settings.change_timeout.max(settings.header_timeout);
            match tokio::time::timeout(limit, ask_server(name, server)).await {
                Ok(readiness) => readiness,
                Err(_) => Readiness::obstacle(name, &format!("it gave no answer within {} s", limit.as_secs()), None),
            }
        }
        Place::Closed(error) => {
            let hint = crate::diagnostic::Diagnose::hint(error.as_ref());
            Readiness::obstacle(name, &Chain(error.as_ref()).to_string(), hint)
        }
        Place::Folder { path, .. } => {
            let path = path.clone();
            match blocking(move || PluginsFolder::create(&path).and_then(|folder| folder.lock().map(drop))).await {
                Ok(()) => Readiness::default(),
                Err(error) => {
                    let hint = crate::diagnostic::Diagnose::hint(&error);
                    Readiness::obstacle(name, &Chain(&error).to_string(), hint)
                }
            }
        }
    }
}

async fn ask_server(name: &WorkspaceName, server: &Grafana) -> Readiness {
    let identity = match server.identity().await {
        Ok(identity) => identity,
        Err(error) => {
            let hint = crate::diagnostic::Diagnose::hint(&error);
            return Readiness::obstacle(name, &Chain(&error).to_string(), hint);
        }
    };
    match identity.may_install {
        MayInstall::No(_) => {
            let hint = "the token needs the right `plugins:install`, and plugin management must be on: on AMG it is in the \
                        console, elsewhere `plugin_admin_enabled`";
            return Readiness::obstacle(name, &identity.may_install.to_string(), Some(hint.to_owned()));
        }
        MayInstall::Unknown => {
            return Readiness { remarks: vec![format!("{name}: {}", identity.may_install)], ..Readiness::default() };
        }
        MayInstall::Yes => {}
    }
    match server.plugin_management().await {
        Some(false) => {
            let hint = "set `plugin_admin_enabled` under `[plugins]` in the settings of that Grafana".to_owned();
            Readiness::obstacle(name, "its settings say that plugin management is off", Some(hint))
        }
        _ => Readiness::default(),
    }
}

impl Readiness {
    fn obstacle(name: &WorkspaceName, why: &str, hint: Option<String>) -> Self {
        Self { obstacles: vec![format!("{name}: {why}")], hints: hint.into_iter().collect(), remarks: Vec::new() }
    }
}
