//! `plugport status`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Report, Session, Text, alerts,
    listing::{TargetListing, problems, read_all},
    selection::select,
    setup::to_document,
    ui,
};
use crate::{
    blocking::run_blocking,
    diagnostic::Kind,
    fleet::{Workspace, manifest::WorkspaceKind},
    home::Home,
    index::IndexError,
    lockfile::Lock,
    model::Selector,
    ops::{
        alerts::{StandingAlert, standing},
        locking::{lock_path, read_lock},
        rollout::{self, RolloutError},
        sources::location,
        status::{CatalogAge, Drift, drift},
    },
};

/// How many plugins that drifted are listed.
const LISTED: usize = 20;

/// Show where things stand: the age of the catalog, open alerts, unfinished rollouts, drift
///
/// Drift is what is installed otherwise than the lock has it, or although the manifest wants it absent; for it the
/// workspaces are read. Exits with 8 if one cannot be read. With `--offline` only folders are read.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// Read these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable)
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
}

/// What was found.
struct Status {
    catalog: CatalogAge,
    alerts: Vec<StandingAlert>,
    rollouts: Vec<Unfinished>,
    /// The workspaces, or why they are not compared with the lock.
    fleet: Result<FleetStatus, &'static str>,
}

/// A rollout that is not over.
struct Unfinished {
    id: String,
    state: &'static str,
    reason: Option<String>,
}

/// The workspaces, compared with the lock.
struct FleetStatus {
    read: Vec<TargetListing>,
    drift: Vec<Drift>,
    /// How many servers were not read because no connection may be opened.
    left_out: usize,
}

impl StatusArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let lock = read_lock(&lock_path(&session.manifest_path))?;
        let (catalog, alerts) = read_index(session, lock.clone()).await?;
        let home = session.home()?.clone();
        let rollouts = run_blocking(move || unfinished(&home)).await?;
        let fleet = self.read_fleet(session, lock).await?;
        Ok(Status { catalog, alerts, rollouts, fleet }.report())
    }

    /// Compares the workspaces with the lock; the error says why there is nothing to compare.
    async fn read_fleet(
        &self,
        session: &Session,
        lock: Option<Lock>,
    ) -> Result<Result<FleetStatus, &'static str>, Failure> {
        let manifest = session.manifest()?;
        if self.on.is_empty() && manifest.workspaces().is_empty() {
            return Ok(Err("the manifest has no workspaces"));
        }
        let selected = select(session, &self.on)?;
        let Some(lock) = lock else { return Ok(Err("not known: there is no lock")) };
        let is_read = |workspace: &&Workspace| !session.is_offline() || workspace.kind() == WorkspaceKind::Directory;
        let (workspaces, left_out): (Vec<_>, Vec<_>) = selected.into_iter().partition(is_read);
        let targets = session.services()?.connect_all(workspaces.clone()).await;
        let (read, mut found) = (read_all(session, targets).await?, Vec::new());
        for (workspace, one) in workspaces.into_iter().zip(&read) {
            if let Ok(state) = &one.state {
                let locked = lock.workspace(workspace.name());
                found.extend(drift(workspace, manifest.plugins(), locked, (state, one.gap.is_none())));
            }
        }
        Ok(Ok(FleetStatus { read, drift: found, left_out: left_out.len() }))
    }
}

/// Reads the catalog's age and the open alerts; without an index there are none.
async fn read_index(session: &Session, lock: Option<Lock>) -> Result<(CatalogAge, Vec<StandingAlert>), Failure> {
    let manifest = session.manifest()?;
    let source = location(manifest, &manifest.catalog().source)?;
    let (configured, now) = (source.clone(), session.context()?.now());
    let read = session.index()?.read(move |index| {
        Ok::<_, IndexError>((CatalogAge::read(index, configured, now)?, standing(index, lock.as_ref())?))
    });
    match read.await {
        Err(IndexError::Missing { .. }) => Ok((CatalogAge::never_synced(source), Vec::new())),
        read => Ok(read?),
    }
}

fn unfinished(home: &Home) -> Result<Vec<Unfinished>, RolloutError> {
    let (all, _) = rollout::list(home)?;
    let open = all.into_iter().filter(|listed| listed.ending.is_none());
    open.map(|listed| {
        let history = rollout::find(home, Some(listed.id.as_str()))?;
        let paused = history.engine.paused().map(str::to_owned);
        let (state, reason) = match (&history.holder, paused) {
            (Some(holder), _) => ("running", Some(holder.to_string())),
            (None, Some(reason)) => ("paused", Some(reason)),
            (None, None) => ("interrupted", None),
        };
        Ok(Unfinished { id: listed.id.to_string(), state, reason })
    })
    .collect()
}

impl Status {
    fn report(self) -> Report {
        let read = self.fleet.as_ref().map_or(&[][..], |fleet| &fleet.read);
        let (unread, read) = (read.iter().any(|one| one.state.is_err() || one.gap.is_some()), problems(read));
        let problems = self.hints().into_iter().chain(read).collect();
        let kind = unread.then_some(Kind::Partly);
        Report { document: self.document(), text: self.text(), problems, kind, ..Report::default() }
    }

    fn document(&self) -> Value {
        let rollout = |one: &Unfinished| match &one.reason {
            Some(reason) => json!({ "rollout": one.id, "state": one.state, "reason": reason }),
            None => json!({ "rollout": one.id, "state": one.state }),
        };
        let drift = self.fleet.as_ref().map_or(&[][..], |fleet| &fleet.drift);
        json!({
            "catalog": to_document(&self.catalog),
            "alerts": to_document(&self.alerts),
            "rollouts": self.rollouts.iter().map(rollout).collect::<Vec<_>>(),
            "drift": to_document(&drift),
        })
    }

    fn text(&self) -> Text {
        let mut lines = Text::default();
        let CatalogAge { source, synced_at, age_s, plugins } = &self.catalog;
        let synced = match (synced_at, age_s) {
            (Some(at), Some(age)) => {
                format!("{}, synced {} ({} ago)", ui::count(*plugins, "plugin", "plugins"), at.date(), ui::age(*age))
            }
            _ => "never synced".to_owned(),
        };
        let _ = writeln!(lines, "catalog   {}: {synced}", ui::clean(source));
        let open = |count: usize, what: &str| if count == 0 { "none".to_owned() } else { format!("{count} {what}") };
        let _ = writeln!(lines, "alerts    {}", open(self.alerts.len(), "open"));
        let _ = writeln!(lines, "rollouts  {}", open(self.rollouts.len(), "unfinished"));
        let _ = writeln!(lines, "drift     {}", self.drift_line());
        let mut parts = vec![lines];
        if !self.alerts.is_empty() {
            parts.push(alerts::table(&self.alerts));
        }
        if !self.rollouts.is_empty() {
            let row = |one: &Unfinished| {
                vec![one.id.clone(), one.state.to_owned(), one.reason.clone().unwrap_or_else(|| "-".to_owned())]
            };
            parts.push(ui::table(&["rollout", "state", "reason"], self.rollouts.iter().map(row)));
        }
        parts.extend(self.fleet.as_ref().ok().filter(|fleet| !fleet.drift.is_empty()).map(FleetStatus::table));
        Text::join(parts)
    }

    fn drift_line(&self) -> String {
        let fleet = match &self.fleet {
            Ok(fleet) => fleet,
            Err(reason) => return (*reason).to_owned(),
        };
        let mut names: Vec<_> = fleet.drift.iter().map(|one| &one.workspace).collect();
        names.dedup();
        let read = fleet.read.iter().filter(|one| one.state.is_ok()).count();
        let workspaces = ui::count(read as u64, "workspace", "workspaces");
        let left_out = match fleet.left_out {
            0 => String::new(),
            count => format!("; {} not read: offline", ui::count(count as u64, "server", "servers")),
        };
        match names.len() {
            0 => format!("none on {workspaces}{left_out}"),
            drifted => {
                let plugins = ui::count(fleet.drift.len() as u64, "plugin", "plugins");
                format!("{plugins} on {drifted} of {workspaces}{left_out}")
            }
        }
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if self.catalog.synced_at.is_none() {
            hints.push("hint: no sync has succeeded yet: `plugport sync` brings the catalog".to_owned());
        }
        hints.extend(alerts::hint(&self.alerts));
        if let Some(one) = self.rollouts.iter().find(|one| one.state != "running") {
            let id = &one.id;
            hints.push(format!("hint: `plugport rollout show {id}` shows what happened and how to continue"));
        }
        let has_drift = self.fleet.as_ref().is_ok_and(|fleet| !fleet.drift.is_empty());
        hints.extend(has_drift.then(|| "hint: `plugport plan` shows what would be changed".to_owned()));
        hints
    }
}

impl FleetStatus {
    fn table(&self) -> Text {
        let version = |version: &Option<_>| version.as_ref().map_or("absent".to_owned(), ToString::to_string);
        let row = |one: &Drift| {
            vec![one.workspace.to_string(), one.plugin.to_string(), version(&one.expected), version(&one.actual)]
        };
        let header = ["workspace", "plugin", "expected", "installed"];
        let mut text = ui::table(&header, self.drift.iter().take(LISTED).map(row));
        if let Some(more) = self.drift.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = writeln!(text, "and {more} more: `plugport status --json` has all of them");
        }
        text
    }
}
