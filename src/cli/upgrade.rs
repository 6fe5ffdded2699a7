//! `plugport upgrade`.

use std::{collections::BTreeMap, num::NonZeroUsize};

use clap::Args;

use super::{
    Failure, Report, Session, install,
    listing::{TargetListing, kind, problems, read_all},
    selection::TargetSelection,
    why::wishes,
};
use crate::{
    fleet::{
        Manifest,
        manifest::{Ensure, Wish},
    },
    index::{Index, IndexError},
    model::{PluginId, PluginSpec, PluginVersion, Timestamp, VersionRequest},
    ops::{
        Context,
        changes::Changes,
        install::{InstallOptions, install as install_on},
        outdated::{Compared, compare, newest_within, surroundings},
        target::Target,
    },
    resolver::Surroundings,
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
        let around = surroundings(target, state, None, before);
        let mut specs = Vec::new();
        for one in compared.iter().filter(|one| wanted(&one.installed.id) && one.is_outdated()) {
            specs.extend(spec(index, &wishes(manifest, &target.name), one, &around)?);
        }
        if !specs.is_empty() {
            let key = specs.iter().map(ToString::to_string).collect();
            groups.entry(key).or_insert_with(|| (specs, Vec::new())).1.push(target.clone());
        }
    }
    Ok(groups)
}

/// Returns the plugin with the newest version that is in every range of the manifest for it, or any version if there is no
/// range; `None` if that is not newer than what is installed.
fn spec(
    index: &Index,
    wishes: &[Wish],
    one: &Compared<'_>,
    surroundings: &Surroundings,
) -> Result<Option<PluginSpec>, IndexError> {
    let id = &one.installed.id;
    let own = wishes.iter().filter(|wish| wish.id == *id && wish.ensure == Ensure::Present);
    let ranges: Vec<_> = own.filter_map(|wish| wish.version.clone()).collect();
    if ranges.is_empty() {
        return Ok(Some(PluginSpec::any(id.clone())));
    }
    let newest = newest_within(index, id, &ranges, surroundings)?;
    let is_newer = |version: &PluginVersion| {
        one.installed.version.as_ref().is_none_or(|installed| installed.cmp_precedence(version).is_lt())
    };
    let exact = |version| PluginSpec { id: id.clone(), version: VersionRequest::Text { version, range: None } };
    Ok(newest.filter(is_newer).map(exact))
}
