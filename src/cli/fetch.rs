//! `plugport fetch`.

use std::num::NonZeroUsize;

use clap::Args;

use super::{Failure, Report, Session, Text, setup::to_document, ui};
use crate::{
    model::{GrafanaVersion, Platform, PluginSpec},
    ops::{
        fetch::fetch,
        fetching::{FetchOptions, FetchOutcome, FetchRequest, Fetched, LockedPackages, MirrorSet, locked_packages},
        locking::{lock_path, read_lock},
    },
    resolver::Surroundings,
    upgrade::preinstalled,
};

/// Fetch packages and their dependencies into the store, verified
///
/// A package is stored only if its digest is the one in the catalog and its archive is safe. Packages in the store
/// are not downloaded again, and an interrupted download continues where it stopped.
#[derive(Args, Debug)]
pub(super) struct FetchArgs {
    /// Plugins, with or without a version like `ID@1.2.3` or `ID@^1.2`
    #[arg(value_name = "ID[@RANGE]", required_unless_present_any = ["all", "locked", "mirror", "for_grafana"])]
    plugins: Vec<PluginSpec>,
    /// Fetch every plugin of the catalog
    #[arg(long, conflicts_with = "plugins")]
    all: bool,
    /// Fetch every package of the lock for the platform of its workspace, and nothing else
    #[arg(long, conflicts_with_all = ["plugins", "all", "grafana"])]
    locked: bool,
    /// Fetch what `[mirror]` in the manifest says that the mirror keeps
    #[arg(long, conflicts_with_all = ["plugins", "all", "locked", "grafana", "platforms"])]
    mirror: bool,
    /// Fetch what this version of Grafana installs by itself when it starts: apps, and data sources that were part of it
    #[arg(long, value_name = "VER", conflicts_with_all = ["plugins", "all", "locked", "mirror", "grafana"])]
    for_grafana: Option<GrafanaVersion>,
    /// With `--all`: how many versions of each plugin
    #[arg(long, value_name = "N", default_value = "1", requires = "all")]
    latest: NonZeroUsize,
    /// For this platform; may be repeated [default: this machine's]. With `--locked`: in addition to those of the
    /// workspaces
    #[arg(long = "platform", value_name = "P")]
    platforms: Vec<Platform>,
    /// Choose versions that work with this version of Grafana
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaVersion>,
    /// How many packages are downloaded at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,
}

impl FetchArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        if self.mirror {
            let options = FetchOptions { concurrency: self.concurrency.get(), ..mirror_options(session)? };
            return self.fetch(session, &options).await;
        }
        let platforms = if self.platforms.is_empty() { vec![Platform::host()] } else { self.platforms.clone() };
        let subject = match (self.all, self.locked) {
            (true, _) => FetchRequest::All { latest: self.latest.get() },
            (false, true) => FetchRequest::Locked(self.locked(session)?),
            (false, false) => FetchRequest::Plugins(self.specs()),
        };
        let grafana = self.for_grafana.clone().or_else(|| self.grafana.clone());
        let surroundings = Surroundings { grafana, platforms, published_before: session.published_before()? };
        let (dependencies, concurrency) = (!self.locked, self.concurrency.get());
        let options = FetchOptions { subject, surroundings, dependencies, concurrency };
        self.fetch(session, &options).await
    }

    async fn fetch(&self, session: &Session, options: &FetchOptions) -> Result<Report, Failure> {
        let (context, remarks) = session.with_fresh_keys().await?;
        let outcome = fetch(&context, session.sources()?, options).await?;
        let mut report = report(&outcome);
        report.problems.splice(..0, remarks);
        if let Some(grafana) = &self.for_grafana
            && self.specs().is_empty()
        {
            report.problems.push(format!("note: Grafana {grafana} installs no plugin by itself"));
        }
        Ok(report)
    }

    fn specs(&self) -> Vec<PluginSpec> {
        match &self.for_grafana {
            Some(grafana) => preinstalled(grafana).into_iter().map(PluginSpec::any).collect(),
            None => self.plugins.clone(),
        }
    }

    fn locked(&self, session: &Session) -> Result<Vec<LockedPackages>, Failure> {
        let path = lock_path(&session.manifest_path);
        let Some(lock) = read_lock(&path)? else {
            let message = format!("there is no lock at `{}`", path.display());
            return Err(Failure::usage(message, "`plugport lock` writes it"));
        };
        Ok(locked_packages(&lock, &self.platforms))
    }
}

/// Returns how what `[mirror]` says is fetched.
pub(super) fn mirror_options(session: &Session) -> Result<FetchOptions, Failure> {
    let section = session.manifest()?.mirror();
    if section.plugins.is_empty() {
        let hint = "add it to the manifest, like `plugins = [\"*\"]` below `[mirror]`";
        return Err(Failure::usage("the manifest does not say what the mirror keeps", hint));
    }
    let platforms = if section.platforms.is_empty() { vec![Platform::host()] } else { section.platforms.clone() };
    let wants_lock = section.plugins.iter().any(|plugin| plugin == "locked");
    let lock = if wants_lock { read_lock(&lock_path(&session.manifest_path))? } else { None };
    let set = MirrorSet {
        plugins: section.plugins.clone(),
        grafana: section.grafana.clone(),
        latest: section.latest,
        locked: lock.map(|lock| locked_packages(&lock, &platforms)).unwrap_or_default(),
    };
    let published_before = session.published_before()?;
    let surroundings = Surroundings { grafana: None, platforms, published_before };
    Ok(FetchOptions { subject: FetchRequest::Mirror(set), surroundings, dependencies: true, concurrency: 8 })
}

/// One failure out of one wish is a failure; of several, it is reported beside what came.
fn report(outcome: &FetchOutcome) -> Report {
    use crate::diagnostic::Diagnose;

    let mut notes = Vec::new();
    for failure in &outcome.failed {
        let version = failure.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
        notes.push(format!("failed: {}{version}: {}", failure.plugin, failure.reason));
    }
    notes.extend(outcome.failed.first().and_then(|failure| failure.error.hint()).map(|hint| format!("hint: {hint}")));
    for warning in &outcome.warnings {
        let object = format!("{}@{} ({})", warning.plugin, warning.version, warning.platform);
        notes.push(format!("warning: {object}: {}", warning.reason));
        notes.extend(warning.hint.iter().map(|hint| format!("hint: {hint}")));
    }
    let weak = outcome.fetched.iter().filter(|fetched| fetched.weak);
    notes.extend(weak.map(|fetched| {
        format!("weak: {}@{}: the catalog has only an MD5, which a forger can match", fetched.plugin, fetched.version)
    }));
    Report {
        document: to_document(outcome),
        text: text(outcome),
        kind: outcome.kind(),
        problems: notes,
        notes: Vec::new(),
    }
}

fn text(outcome: &FetchOutcome) -> Text {
    let row = |state: &'static str| {
        move |fetched: &Fetched| {
            vec![
                fetched.plugin.to_string(),
                fetched.version.to_string(),
                fetched.platform.to_string(),
                ui::bytes(fetched.size),
                format!("sha256:{}", ui::digest(&fetched.sha256.to_string())),
                state.to_owned(),
            ]
        }
    };
    let rows: Vec<_> =
        outcome.fetched.iter().map(row("fetched")).chain(outcome.present.iter().map(row("present"))).collect();
    if rows.is_empty() {
        return Text::default();
    }
    ui::table(&["plugin", "version", "platform", "size", "digest", "state"], rows)
}
