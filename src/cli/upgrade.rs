//! `plugport upgrade`.

use std::{collections::BTreeMap, num::NonZeroUsize};

use clap::Args;

use super::{
    Failure, Report, Session, install,
    listing::{TargetListing, kind, problems, read_all},
    selection::TargetSelection,
};
use crate::{
    fleet::{Manifest, manifest::Ensure},
    index::{Index, IndexError},
    model::{PluginId, PluginSpec, Timestamp, VersionRequest},
    ops::{
        Context,
        changes::Changes,
        install::{InstallOptions, install as install_on},
        outdated::compare,
        target::Target,
    },
};

/// Upgrade installed plugins to the newest version that works there
///
/// Only plugins that are installed are changed, on each workspace by itself, with what they depend on. A range of the
/// manifest is respected. What changes more than one workspace is shown and asked for on a terminal.
#[derive(Args, Debug)]
pub(super) struct UpgradeArgs {
    /// The plugins to upgrade
    #[arg(value_name = "ID", conflicts_with = "all")]
    plugins: Vec<PluginId>,
    /// Upgrade every installed plugin
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    selection: TargetSelection,
    /// Report what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than one workspace is changed
    #[arg(long)]
    yes: bool,
    /// How many workspaces are changed at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,
}

/// The workspaces that get the same.
type Groups = BTreeMap<Vec<String>, (Vec<PluginSpec>, Vec<Target>)>;

impl UpgradeArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        if self.plugins.is_empty() && !self.all {
            return Err(Failure::usage("no plugin is named", "name the plugins to upgrade, or use `--all`"));
        }
        session.index()?.check_has_catalog().await?;
        let read = read_all(session, self.selection.named(session).await?).await?;
        self.check_installed(&read)?;
        let (manifest, before) = (session.manifest()?.clone(), session.published_before()?);
        let (ids, unread, failed) = (self.plugins.clone(), problems(&read), kind(&read));
        let groups = session.index()?.read(move |index| groups(index, &read, (&manifest, &ids), before)).await?;
        let (context, remarks) = session.with_fresh_keys().await?;
        let count = groups.values().map(|(_, targets)| targets.len()).sum::<usize>();
        if install::must_ask(session, count, self.dry_run || self.yes) {
            let planned = self.install(session, &context, &groups, true).await?;
            install::confirm_changes(session, &planned, "Upgrade these on").await?;
        }
        let changes = self.install(session, &context, &groups, self.dry_run).await?;
        let mut report = install::report(&changes, self.dry_run);
        if changes.results.is_empty() && failed.is_none() {
            report.notes.push("nothing to upgrade: every plugin has the newest version that works there".to_owned());
        }
        report.problems.splice(..0, remarks.into_iter().chain(unread));
        report.problems.extend(install::declarative_hint(session, count));
        report.kind = report.kind.or(failed);
        Ok(report)
    }

    /// Refuses a plugin that no workspace has, unless one could not be read whole.
    fn check_installed(&self, read: &[TargetListing]) -> Result<(), Failure> {
        let is_there = |one: &TargetListing, id: &PluginId| match &one.state {
            Ok(state) => one.gap.is_some() || state.plugins.contains_key(id),
            Err(_) => true,
        };
        match self.plugins.iter().find(|id| !read.iter().any(|one| is_there(one, id))) {
            None => Ok(()),
            Some(id) => Err(Failure::usage(
                format!("`{id}` is installed on none of these workspaces"),
                format!("`plugport install {id}` installs it, `plugport list` shows what is installed"),
            )),
        }
    }

    async fn install(
        &self,
        session: &Session,
        context: &Context,
        groups: &Groups,
        dry_run: bool,
    ) -> Result<Changes, Failure> {
        let (mut results, mut remarks) = (Vec::new(), Vec::new());
        for (specs, targets) in groups.values() {
            let options = InstallOptions {
                specs: specs.clone(),
                dry_run,
                preflight: session.manifest()?.trust().preflight,
                grafana: None,
                force: false,
                published_before: session.published_before()?,
                concurrency: self.concurrency.get(),
            };
            let changes = install_on(context, session.sources()?, targets.clone(), &options).await?;
            results.extend(changes.results);
            remarks.extend(changes.remarks);
        }
        Ok(Changes::new(results, remarks))
    }
}

/// Groups the workspaces by the plugins that have a newer version there.
fn groups(
    index: &Index,
    read: &[TargetListing],
    (manifest, ids): (&Manifest, &[PluginId]),
    before: Option<Timestamp>,
) -> Result<Groups, IndexError> {
    let mut groups = Groups::new();
    for (target, state) in read.iter().filter_map(TargetListing::there) {
        let compared = compare(index, target, state, None, before)?;
        let wanted = |id: &PluginId| ids.is_empty() || ids.contains(id);
        let outdated = compared.iter().filter(|one| wanted(&one.installed.id) && one.is_outdated());
        let specs: Vec<_> = outdated.map(|one| spec(manifest, target, &one.installed.id)).collect();
        if !specs.is_empty() {
            let key = specs.iter().map(ToString::to_string).collect();
            groups.entry(key).or_insert_with(|| (specs, Vec::new())).1.push(target.clone());
        }
    }
    Ok(groups)
}

/// Returns a plugin with the range that the manifest has for it on a workspace, if it has one.
fn spec(manifest: &Manifest, target: &Target, id: &PluginId) -> PluginSpec {
    let workspace = manifest.workspaces().iter().find(|workspace| workspace.name().as_str() == target.name);
    let wish = manifest.plugins().iter().find(|wish| {
        let is_here = workspace.is_some_and(|workspace| workspace.is_selected_by(&wish.on));
        wish.id == *id && wish.ensure == Ensure::Present && is_here && wish.version.is_some()
    });
    let version = wish.map_or(VersionRequest::Any, |wish| wish.version.clone().into());
    PluginSpec { id: id.clone(), version }
}
