//! A Grafana server as a workspace: read, changed by its API, and read back.
//!
//! *Invariant:* a change is sent only when its package was permitted and the server shows what is expected; what a report
//! says was read from the server.
//! *Not for:* what an answer means: see [`crate::fleet::settle`].

use futures_util::future::BoxFuture;

use super::{
    ChangeError, ChangeReport, ChangeRequest, Executor, InstalledPlugin, SignatureState, Snapshot, TargetError, confirm,
};
use crate::{
    diagnostic::{Chain, Obstacle},
    fleet::{
        grafana::{Grafana, InstallObstacle, MayInstall, Settled, WorkspaceError},
        settle::{Failure, Outcome},
    },
    model::{PluginId, Presence},
};

impl Executor for Grafana {
    fn read(&self, _may_be_missing: bool) -> BoxFuture<'_, Result<Snapshot, TargetError>> {
        Box::pin(async move {
            // Every request is repeated by itself; the sum of all must not delay the other workspaces.
            let limit = self.read_limit();
            tokio::time::timeout(limit, self.read_all()).await.map_err(|_| TargetError::Slow(limit))?
        })
    }

    fn read_plugins(&self) -> BoxFuture<'_, Result<Snapshot, TargetError>> {
        Box::pin(async move {
            let limit = self.read_limit();
            let read = self.read_inventory(Snapshot::default());
            tokio::time::timeout(limit, read).await.map_err(|_| TargetError::Slow(limit))?
        })
    }

    fn presence<'a>(&'a self, plugin: &'a PluginId) -> BoxFuture<'a, Result<Presence, TargetError>> {
        Box::pin(async move { Ok(self.state(plugin).await?.presence()) })
    }

    fn change<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport> {
        Box::pin(async move {
            match self.change_as_requested(request).await {
                Ok((settled, notes)) => ChangeReport { notes, ..report(request, settled) },
                Err(error) => ChangeReport::new(request, Outcome::Failed(error)),
            }
        })
    }

    fn confirm<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport> {
        Box::pin(confirm::confirm(self, request))
    }

    fn check_access(&self) -> BoxFuture<'_, Result<Option<String>, Obstacle>> {
        Box::pin(async move {
            let limit = self.read_limit();
            let slow = |_| Obstacle { message: format!("no answer within {} s", limit.as_secs()), hint: None };
            tokio::time::timeout(limit, self.access()).await.map_err(slow)?
        })
    }

    /// A server repairs itself.
    fn recover(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Grafana {
    /// Returns the longest that all requests of one reading may take.
    fn read_limit(&self) -> std::time::Duration {
        let settings = self.site().client().settings();
        settings.change_timeout.max(settings.header_timeout)
    }

    async fn read_all(&self) -> Result<Snapshot, TargetError> {
        let (grafana, remark) = match self.grafana_version().await {
            Ok(version) => (Some(version), None),
            // A server that answers and only hides its version can still be asked for its plugins.
            Err(error)
                if matches!(error, WorkspaceError::Shape { .. })
                    || (error.status() != Some(401) && error.is_not_offered()) =>
            {
                (None, Some(format!("the version of Grafana is unknown: {}", Chain(&error))))
            }
            Err(error) => return Err(error.into()),
        };
        self.read_inventory(Snapshot { grafana, remarks: remark.into_iter().collect(), ..Snapshot::default() }).await
    }

    /// Adds the plugins to what was read.
    async fn read_inventory(&self, mut snapshot: Snapshot) -> Result<Snapshot, TargetError> {
        let inventory = self.installed().await?;
        for skipped in inventory.skipped {
            let name = skipped.id.unwrap_or_else(|| "a plugin without an id".to_owned());
            snapshot.remarks.push(format!("`{}`: {}", name.escape_debug(), skipped.reason));
        }
        for plugin in inventory.plugins {
            let signature = SignatureState {
                status: plugin.signature,
                signature_type: plugin.signature_type,
                org: plugin.signature_org,
            };
            let installed = InstalledPlugin {
                id: plugin.id.clone(),
                version: plugin.version,
                name: plugin.name,
                plugin_type: plugin.plugin_type,
                signature: Some(signature).filter(|signature| !signature.status.is_empty()),
                dependencies: plugin.dependencies,
                grafana_dependency: plugin.grafana_dependency,
                angular: plugin.angular,
                fault: plugin.error,
            };
            snapshot.plugins.insert(plugin.id, installed);
        }
        Ok(snapshot)
    }

    /// Sends a change if its package is permitted and the server shows what is expected; an error means that nothing was
    /// sent.
    async fn change_as_requested(&self, request: &ChangeRequest) -> Result<(Settled, Vec<String>), ChangeError> {
        if let Some(version) = self.version.get() {
            version.check_install_route()?;
        }
        if request.wanted != Presence::Absent {
            request.source.permit(&self.root_url().await).await?;
        }
        let _only_one = self.changing.lock().await;
        let before = self.state_before(&request.plugin, &request.wanted).await?;
        if !request.accepts_state(&before) {
            return Err(request.drifted(before.presence()));
        }
        let nested =
            if before.presence() == Presence::Absent { Vec::new() } else { self.nested_in(&request.plugin).await };
        let settled = self.settle(&request.plugin, &request.wanted, before).await;
        let settled = match request.wanted.version().filter(|_| request.compares_files) {
            Some(version) => self.reinstall_if_files_differ(&request.plugin, version, settled).await,
            None if request.wanted == Presence::Absent => {
                let settled = self.refuse_left_files(&request.plugin, settled).await;
                Settled { outcome: of_removal(settled.outcome), ..settled }
            }
            None => settled,
        };
        let is_changed = matches!(settled.outcome, Outcome::Changed) && !nested.is_empty();
        let notes = if is_changed { self.left_running(&nested).await } else { Vec::new() };
        Ok((settled, notes))
    }

    async fn access(&self) -> Result<Option<String>, Obstacle> {
        let identity = self.identity().await.map_err(|error| Obstacle::from(&error))?;
        let obstacle = |message: String, hint: &str| Err(Obstacle { message, hint: Some(hint.to_owned()) });
        match identity.may_install {
            MayInstall::No(InstallObstacle::NoInstallRoute) => {
                let hint = "name the plugins folder of that server as a workspace of kind `directory`";
                return obstacle(identity.may_install.to_string(), hint);
            }
            MayInstall::No(_) => {
                let hint = "the token needs the permission `plugins:install`, and plugin management must be on: enable it in \
                            the console of AMG, elsewhere with `plugin_admin_enabled`";
                return obstacle(identity.may_install.to_string(), hint);
            }
            MayInstall::Unknown => return Ok(Some(identity.may_install.to_string())),
            MayInstall::Yes => {}
        }
        // The settings of its web pages say so too, and were not against it.
        let management = if self.tells_plugin_management().await { None } else { self.plugin_management().await };
        match management {
            Some(false) => {
                let hint = "set `plugin_admin_enabled` under `[plugins]` in the settings of that Grafana";
                obstacle("plugin management is off in its settings".to_owned(), hint)
            }
            _ => Ok(None),
        }
    }
}

/// Returns the outcome of a removal: Grafana answers 404 for what it did not load, and leaves it there.
fn of_removal(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(Failure::Broken { code }) => Outcome::Failed(Failure::NotLoaded { code }),
        outcome => outcome,
    }
}

/// Returns the report of a change that was sent, or that was not needed.
fn report(request: &ChangeRequest, settled: Settled) -> ChangeReport {
    // What an earlier attempt of ours left is not what was there before.
    let before = if request.is_retry { request.before.clone() } else { settled.before.presence() };
    let after = settled.after.map(|after| after.presence());
    let changed_to = after.filter(|after| !after.is_same(&before));
    let is_theirs = |after: &Presence| after.version().is_some() && !after.is_same(&request.wanted);
    let overtaken = changed_to.as_ref().is_some_and(is_theirs);
    let outcome = match settled.outcome {
        Outcome::Unchanged if request.is_retry => Outcome::Changed,
        Outcome::Failed(failure) if overtaken => Outcome::Failed(ChangeError::Overtaken(failure)),
        outcome => outcome.map_error(ChangeError::from),
    };
    let is_failure = matches!(outcome, Outcome::Failed(_));
    ChangeReport {
        outcome,
        before,
        left: changed_to.filter(|_| is_failure && !overtaken),
        may_be_late: settled.may_be_late,
        last_error: settled.last_error.map(|error| Chain(&error).to_string()),
        notes: Vec::new(),
        kept: None,
    }
}
