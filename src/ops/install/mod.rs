//! Installs plugins on targets, with what they depend on.
//!
//! *Invariant:* what a folder gets, and what a server is asked to install, was fetched and checked here first. On one
//! target one change follows another; targets are changed side by side. What fails on one target stops no other.
//! *Not for:* waves, gates and rollbacks: see [`crate::ops::rollout`].

mod apply;
mod error;
mod plan;
mod repair;
mod versions;

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use self::{
    apply::{StepRunner, apply},
    plan::{InstallPlan, InstallStep, plan},
};
use crate::{
    fleet::directory::PluginsFolder,
    home::HomeError,
    index::IndexError,
    model::{Change, ChangeOutcome, GrafanaVersion, PluginSpec, Timestamp, VersionRequest},
    ops::{
        Context, blocking,
        candidates::signature_rule,
        changes::{ChangeResult, Changes},
        comparison_packages, executables,
        fetching::{FetchFailure, FetchOptions, FetchRequest, FetchStartError, fetch_locked},
        permits::Permits,
        server_warnings::WarningKind,
        sources::Sources,
        target::{Snapshot, Target, TargetError},
        unmanaged_files::refuse_repository,
    },
    progress::Unit,
    resolver::{SignatureRule, Surroundings, overwrites_dependencies},
};

/// After this many rounds of finding out what packages need, the rest is left to fail by name.
const MAX_ROUNDS: usize = 16;

/// What to install, and how.
#[derive(Clone, Debug)]
pub(crate) struct InstallOptions {
    /// The plugins.
    pub specs: Vec<PluginSpec>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Check packages here before a server is asked to install them.
    pub preflight: bool,
    /// Take these for the versions of Grafana in folders that tell none.
    pub grafana: Option<GrafanaVersion>,
    /// Also replace a plugin's folder that somebody works in.
    pub force: bool,
    /// Leave versions that are newer to wait, unless they are asked for by name.
    pub published_before: Option<Timestamp>,
    /// How many targets are changed side by side.
    pub concurrency: usize,
}

/// An installation did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallStartError {
    /// The cache cannot be used.
    #[error("nothing was installed")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("nothing was installed")]
    Index(#[from] IndexError),
    /// Packages cannot be fetched.
    #[error("nothing was installed")]
    Fetch(#[from] FetchStartError),
}

crate::diagnostic::diagnose!(InstallStartError { forward Home, Index, Fetch; });

/// A target whose state was read.
struct Ready {
    target: Target,
    state: Snapshot,
    surroundings: Surroundings,
    /// Whether what the catalog calls unsigned is chosen.
    signatures: SignatureRule,
    /// Whether packages are verified here before they are used, instead of trusting the catalog.
    is_checked: bool,
}

impl Ready {
    fn is_server(&self) -> bool {
        self.target.as_server().is_ok()
    }
}

/// Installs or upgrades plugins on every target.
pub(crate) async fn install(
    context: &Context,
    sources: &Sources,
    targets: Vec<Target>,
    options: &InstallOptions,
) -> Result<Changes, InstallStartError> {
    context.index().prove().await?;
    if !options.dry_run {
        for target in &targets {
            target.recover().await;
        }
    }
    let (ready, mut results, mut remarks) = read_all(context, targets, options).await;
    let specs: Arc<[PluginSpec]> = options.specs.as_slice().into();
    if options.dry_run {
        for one in &ready {
            let steps = repaired(context, one, plan_for(context, one, &specs).await?, &mut remarks).await;
            for step in &steps {
                results.push(previewed(context, options, &one.target, step).await);
            }
        }
        return Ok(Changes::new(results, remarks));
    }
    let mut lock = Some(context.lock().await?);
    let failures = fetch_for(context, sources, &ready, &specs, options.concurrency).await?;
    let mut work = Vec::new();
    for one in ready {
        let steps = repaired(context, &one, plan_for(context, &one, &specs).await?, &mut remarks).await;
        announce(context, &steps);
        let replaced = steps.iter().filter(|step| is_change(step)).map(|step| step.plugin.clone()).collect();
        let unknown = comparison_packages::unknown(context, &one.target, replaced).await;
        comparison_packages::fetch(context, sources, &one.target, unknown).await;
        let overwrites = one.is_server() && one.state.grafana.as_ref().is_some_and(overwrites_dependencies);
        work.push((one.target.clone(), overwrites, steps));
    }
    // A server that stalls must not keep others from the cache; folders wait for nobody.
    if work.iter().any(|(target, ..)| target.as_folder().is_none()) {
        lock.take();
    }
    context.reporter.begin("installing", Some(work.len() as u64), Unit::Items);
    let failures = &failures;
    let permits = &Permits::new(context, options.preflight);
    let mut applied = stream::iter(work)
        .map(|(target, overwrites, steps)| async move {
            let runner =
                StepRunner { target: &target, permits, failed_fetches: failures, overwrites, force: options.force };
            apply(&runner, steps).await
        })
        .buffered(options.concurrency.max(1));
    while let Some(more) = applied.next().await {
        context.reporter.advance(1);
        results.extend(more);
    }
    context.reporter.end();
    Ok(Changes::new(results, remarks))
}

/// Reads every target; one that cannot be read fails for every plugin that was asked for.
async fn read_all(
    context: &Context,
    targets: Vec<Target>,
    options: &InstallOptions,
) -> (Vec<Arc<Ready>>, Vec<ChangeResult>, Vec<String>) {
    let states: Vec<(Target, Result<Snapshot, TargetError>)> = stream::iter(targets)
        .map(|target| async move { (target.read_for_change(true).await, target) })
        .buffered(options.concurrency.max(1))
        .map(|(state, target)| (target, state))
        .collect()
        .await;
    let (mut ready, mut results, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    for (target, state) in states {
        match state {
            Ok(mut state) => {
                state.grafana = state.grafana.or_else(|| options.grafana.clone());
                remarks.extend(state.remarks.drain(..).map(|remark| format!("{}: {remark}", target.name)));
                if state.grafana.is_none() && target.as_folder().is_some() {
                    remarks.push(format!(
                        "{}: which Grafana uses it is not known, so the newest versions are taken; `--grafana VER` tells",
                        target.name
                    ));
                }
                let is_checked = options.preflight || target.as_folder().is_some();
                let surroundings = Surroundings {
                    grafana: state.grafana.clone(),
                    // A server picks its package itself; what matters here is checked before it is asked.
                    platforms: is_checked.then(|| target.platform.clone()).into_iter().collect(),
                    published_before: options.published_before,
                };
                let signatures = signature_rule(&context.trust);
                ready.push(Arc::new(Ready { target, state, surroundings, signatures, is_checked }));
            }
            Err(error) => {
                let refused = |spec: &PluginSpec| ChangeResult::refused(&target.name, &spec.id, "install", &error);
                results.extend(options.specs.iter().map(refused));
            }
        }
    }
    (ready, results, remarks)
}

/// Returns the steps on a target, by the catalog as it is now.
async fn plan_for(context: &Context, ready: &Arc<Ready>, specs: &Arc<[PluginSpec]>) -> Result<InstallPlan, IndexError> {
    let (ready, specs) = (Arc::clone(ready), Arc::clone(specs));
    context.index().read(move |index| plan(index, &ready, &specs)).await
}

/// Says which calls will be refused by the server, before they are made.
fn announce(context: &Context, steps: &[InstallStep]) {
    let warnings = steps.iter().flat_map(|step| &step.warnings);
    for (_, text) in warnings.filter(|(kind, _)| *kind == WarningKind::ServerRefuses) {
        context.reporter.remark(text);
    }
}

/// Returns the steps with those that a look at the files of a folder adds.
async fn repaired(context: &Context, one: &Ready, plan: InstallPlan, remarks: &mut Vec<String>) -> Vec<InstallStep> {
    let InstallPlan { mut steps, remarks: of_plan } = plan;
    remarks.extend(of_plan);
    warn_of_programs(context, &one.target, &mut steps).await;
    let Some(path) = one.target.as_folder() else { return steps };
    let (context, path) = (context.clone(), path.to_path_buf());
    let (steps, more) = blocking(move || {
        let remarks = repair::repair(&context, &path, &mut steps);
        (steps, remarks)
    })
    .await;
    remarks.extend(more.into_iter().map(|remark| format!("{}: {remark}", one.target.name)));
    steps
}

/// Adds warnings about backends that cannot start on the platform of a target.
async fn warn_of_programs(context: &Context, target: &Target, steps: &mut [InstallStep]) {
    let version = |step: &InstallStep| {
        let name = step.package.as_ref().filter(|_| is_change(step))?;
        Some((name.plugin.clone(), name.version.clone(), target.platform.clone()))
    };
    let missing = executables::missing(context, steps.iter().filter_map(version).collect()).await;
    for step in steps {
        let text = version(step).and_then(|version| missing.get(&version)).cloned();
        step.warnings.extend(text.map(|text| (WarningKind::NoProgram, text)));
    }
}

/// Returns the planned change, or why the preflight would refuse it as far as its package is in the store.
async fn previewed(context: &Context, options: &InstallOptions, target: &Target, step: &InstallStep) -> ChangeResult {
    let result = planned(target, step);
    if !is_change(step) || (step.package.is_none() && target.as_folder().is_some()) {
        return result;
    }
    let root_url = match target.as_server() {
        Ok(server) => Some(server.root_url().await),
        Err(_) => None,
    };
    if let Some(path) = target.as_folder().filter(|_| !options.force)
        && let Ok(folder) = PluginsFolder::open(path)
        && let Err(error) = refuse_repository(&folder, &step.plugin)
    {
        return result.with_error(&error);
    }
    let permits = Permits::new(context, options.preflight);
    match permits.preview(root_url.as_deref(), &step.plugin, step.package.as_ref()).await {
        Ok(warning) => result.with_note(warning),
        Err(error) => result.with_error(&error),
    }
}

fn planned(target: &Target, step: &InstallStep) -> ChangeResult {
    let result = match &step.action {
        Err(error) => ChangeResult::refused(&target.name, &step.plugin, "install", error),
        Ok(action) => {
            let outcome = if action.is_nothing() { ChangeOutcome::Unchanged } else { ChangeOutcome::Planned };
            ChangeResult::new(&target.name, &step.plugin, action, outcome)
        }
    };
    ChangeResult { needed_by: step.needed_by.clone(), ..result.with_note(step.warning()) }
}

/// Fetches what the plans need; what a package needs itself is known only once it is here, so the plans are made again
/// until nothing new comes up.
async fn fetch_for(
    context: &Context,
    sources: &Sources,
    ready: &[Arc<Ready>],
    specs: &Arc<[PluginSpec]>,
    concurrency: usize,
) -> Result<Vec<FetchFailure>, InstallStartError> {
    let mut failures = Vec::new();
    let mut asked = std::collections::HashSet::new();
    for _ in 0..MAX_ROUNDS {
        let mut progress = false;
        for one in ready {
            if !one.is_checked {
                continue;
            }
            let steps = plan_for(context, one, specs).await?.steps;
            let new = steps.iter().filter(|step| is_change(step)).filter_map(|step| step.package.clone());
            let new: Vec<_> = new.filter(|name| asked.insert(name.clone())).collect();
            if new.is_empty() {
                continue;
            }
            progress = true;
            let exact = |name: &crate::upstream::PackageName| PluginSpec {
                id: name.plugin.clone(),
                version: VersionRequest::Text { version: name.version.clone(), range: None },
            };
            let wanted = FetchOptions {
                subject: FetchRequest::Plugins(new.iter().map(exact).collect()),
                surroundings: Surroundings { platforms: vec![one.target.platform.clone()], ..Surroundings::default() },
                dependencies: false,
                concurrency,
            };
            failures.extend(fetch_locked(context, sources, &wanted).await?.failed);
        }
        if !progress {
            break;
        }
    }
    Ok(failures)
}

fn is_change(step: &InstallStep) -> bool {
    let is_change =
        |change| matches!(change, Change::Install | Change::Upgrade | Change::Downgrade | Change::Reinstall);
    step.action.as_ref().is_ok_and(|action| is_change(action.kind))
}
