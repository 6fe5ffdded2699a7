//! A plan, and the fleet that it is for, drawn from a seed.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
    time::Duration,
};

use fastrand::Rng;
use plugport::exposed::{
    model::{Change, Platform, PluginId, PluginVersion, Timestamp, WorkspaceName},
    rollout::{
        Base, Content, ContentItem, FailureBudget, HealthCheck, OnFailure, Plan, PlanId, PlanSummary, PlannedChange,
        PlannedWorkspace, Rollout, WavePlan,
    },
};

use crate::world::Truth;

/// How many plugins there are.
pub(crate) const PLUGINS: usize = 6;
/// How many things can be changed on a workspace: after the plugins come data sources.
pub(crate) const PLACES: usize = PLUGINS + 2;
/// The version that somebody else installs.
pub(crate) const THEIRS: u8 = 3;
/// The version that comes along with another plugin: the newest, on servers since 12.
pub(crate) const ALONG: u8 = 4;
/// The version that comes along with another plugin: the one it names, on servers before 12.
pub(crate) const WRITTEN: u8 = 6;
/// From this seed on there are servers before 12; seeds below it are drawn as they were before these were simulated.
const FIRST_WITH_OLD_SERVERS: u64 = 6_000;
/// From this seed on there are data sources, effects that come later than any reading, files that differ from what a server
/// shows, baselines that are lost, and clocks that jump; but seeds that failed once stay as they were.
const FIRST_WITH_EXTRAS: u64 = 2_000;
/// From this seed on waves may have to be approved, and a rollout may be resumed on some workspaces only.
const FIRST_WITH_CHOICES: u64 = 8_000;
/// The same release as the first version, told in another way.
const SAME_AS_FIRST: u8 = 5;

static VERSIONS: LazyLock<Vec<PluginVersion>> = LazyLock::new(|| {
    let texts = ["1.0.0", "1.1.0", "2.0.0", "7.7.7", "9.9.9", "v1.0.0", "0.9.0"];
    texts.iter().map(|text| text.parse().expect("a version")).collect()
});
static IDS: LazyLock<Vec<PluginId>> =
    LazyLock::new(|| (0..PLUGINS).map(|place| format!("acme-p{place}-panel").parse().expect("an id")).collect());
static NAMES: LazyLock<Vec<WorkspaceName>> =
    LazyLock::new(|| (0..30).map(|place| format!("w{place:02}").parse().expect("a name")).collect());
static PLATFORM: LazyLock<Platform> = LazyLock::new(|| "linux-amd64".parse().expect("a platform"));

/// Returns a version by its place.
pub(crate) fn version(place: u8) -> &'static PluginVersion {
    &VERSIONS[usize::from(place)]
}

/// Returns the place of a version.
pub(crate) fn place_of(version: &PluginVersion) -> Option<u8> {
    VERSIONS.iter().position(|known| known == version).and_then(|place| u8::try_from(place).ok())
}

/// Returns a plugin by its place.
pub(crate) fn plugin(place: usize) -> &'static PluginId {
    &IDS[place]
}

/// Returns the name of a workspace.
pub(crate) fn name(place: usize) -> &'static WorkspaceName {
    &NAMES[place]
}

/// Returns the place of a workspace.
pub(crate) fn site_of(name: &WorkspaceName) -> usize {
    name.as_str()[1..].parse().expect("a name of ours")
}

/// A plan, and what its fleet is before it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sites: Vec<SiteScene>,
}

/// A workspace before the rollout.
#[derive(Debug)]
pub(crate) struct SiteScene {
    pub(crate) start: [Truth; PLACES],
    pub(crate) steps: Vec<StepScene>,
    /// Whether it carries out one call for a plugin at a time, and answers another at once: servers since 11.2.
    pub(crate) is_guarded: bool,
    /// Whether it unpacks what comes along over an installed plugin without loading it: servers before 11.2.
    pub(crate) overwrites: bool,
    pub(crate) brings: Option<Brings>,
    pub(crate) account: Option<usize>,
    pub(crate) wave: usize,
}

/// Whoever installs one plugin changes another along with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brings {
    pub(crate) bringer: usize,
    pub(crate) brought: usize,
    /// The version that the other one gets.
    pub(crate) version: u8,
}

/// A step of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepScene {
    pub(crate) plugin: usize,
    pub(crate) to: Option<u8>,
    pub(crate) verb: Change,
    /// The plugin that brings it along, if it is changed after that.
    pub(crate) brought_by: Option<usize>,
}

/// Returns whether a seed has what came later.
pub(crate) fn has_extras(seed: u64) -> bool {
    seed >= FIRST_WITH_EXTRAS && !crate::REGRESSIONS.iter().any(|(known, _)| *known == seed)
}

/// Returns whether an operator approves waves and selects workspaces.
pub(crate) fn has_choices(seed: u64) -> bool {
    seed >= FIRST_WITH_CHOICES
}

impl StepScene {
    /// Returns whether it changes a data source, and no plugin.
    pub(crate) fn is_content(&self) -> bool {
        self.plugin >= PLUGINS
    }
}

impl Scene {
    /// Draws a scene.
    pub(crate) fn draw(rng: &mut Rng, seed: u64) -> Self {
        let has_old_servers = seed >= FIRST_WITH_OLD_SERVERS;
        let count = if rng.u8(..8) == 0 { rng.usize(1..=30) } else { rng.usize(1..=10) };
        let mut sites: Vec<SiteScene> = (0..count).map(|_| SiteScene::draw(rng, has_old_servers)).collect();
        let mut extras = Rng::with_seed(seed ^ 0x5eed);
        for site in sites.iter_mut().filter(|_| has_extras(seed)) {
            site.draw_extras(&mut extras);
        }
        let mut waves = draw_waves(rng, &mut sites);
        let mut choices = Rng::with_seed(seed ^ 0xa99e);
        for wave in waves.iter_mut().filter(|_| has_choices(seed)) {
            wave.approve = choices.u8(..3) == 0;
        }
        let mut plan = Plan {
            plan_id: PlanId::default(),
            made_at: Timestamp::from_milliseconds(0),
            base: Base::default(),
            changes: Vec::new(),
            blocked: Vec::new(),
            summary: PlanSummary::default(),
            content: Vec::new(),
            unmanaged: Vec::new(),
            warnings: Vec::new(),
            workspaces: BTreeMap::new(),
            waves,
            policy: draw_policy(rng),
        };
        for (place, site) in sites.iter().enumerate() {
            site.describe(rng, place, &mut plan);
        }
        Self { plan: Arc::new(plan), sites }
    }
}

impl SiteScene {
    fn draw(rng: &mut Rng, may_be_old: bool) -> Self {
        let mut places: [usize; PLUGINS] = std::array::from_fn(|place| place);
        rng.shuffle(&mut places);
        let mut start = [Truth::Absent; PLACES];
        let mut steps: Vec<StepScene> = Vec::new();
        for &plugin in places.iter().take(rng.usize(1..=4)) {
            let (verb, before, to) = draw_step(rng);
            start[plugin] = before;
            steps.push(StepScene { plugin, to, verb, brought_by: None });
        }
        let last = places[PLUGINS - 1];
        let brings = match rng.u8(..6) {
            0 => hold(rng, &mut start, &mut steps, last),
            1 | 2 if may_be_old => follow(rng, &mut start, &mut steps, last),
            _ => None,
        };
        let account = (rng.u8(..3) == 0).then(|| rng.usize(..2));
        Self { start, steps, is_guarded: false, overwrites: false, brings, account, wave: 0 }
    }

    /// Draws data sources, which come after all plugins, and which kind of server it is.
    fn draw_extras(&mut self, rng: &mut Rng) {
        for plugin in PLUGINS..PLUGINS + rng.usize(..3) {
            let (before, to) = match rng.u8(..4) {
                0 => (Truth::Loaded(0), None),
                1 => (Truth::Absent, Some(rng.u8(..3))),
                _ => (Truth::Loaded(0), Some(rng.u8(1..3))),
            };
            self.start[plugin] = before;
            let verb = if to.is_some() { Change::Upgrade } else { Change::Uninstall };
            self.steps.push(StepScene { plugin, to, verb, brought_by: None });
        }
        self.is_guarded = rng.bool();
        self.overwrites = !self.is_guarded && self.brings.is_some_and(|brings| brings.version == WRITTEN);
    }

    fn describe(&self, rng: &mut Rng, place: usize, plan: &mut Plan) {
        let name = name(place);
        let told = |truth: Truth| truth.version().map(|place| Some(version(place).clone()));
        let mut plugins = BTreeMap::new();
        for (place, truth) in self.start[..PLUGINS].iter().enumerate() {
            if let Some(version) = told(*truth) {
                plugins.insert(plugin(place).clone(), version);
            }
        }
        for step in self.steps.iter().filter(|step| step.is_content()) {
            let uid = format!("source-{}", step.plugin);
            let item = match step.to {
                None => ContentItem::NoDataSource { uid, after_gate: false, lose_secrets: false },
                Some(to) => ContentItem::DataSource {
                    name: uid.clone(),
                    uid,
                    settings: serde_json::json!({ "version": to }),
                    secrets: Vec::new(),
                    keep_secrets: false,
                },
            };
            plan.content.push(Content { workspace: name.clone(), plugin: plugin(0).clone(), item });
        }
        for step in self.steps.iter().filter(|step| !step.is_content()) {
            let mut from = self.start[step.plugin].version();
            let is_told_otherwise = from == Some(SAME_AS_FIRST) || (step.verb == Change::Upgrade && rng.u8(..6) == 0);
            if is_told_otherwise {
                from = if rng.bool() { Some(0).filter(|_| from == Some(SAME_AS_FIRST)) } else { None };
            }
            plan.changes.push(PlannedChange {
                workspace: name.clone(),
                plugin: plugin(step.plugin).clone(),
                kind: step.verb,
                from: from.map(|place| version(place).clone()),
                to: step.to.map(|place| version(place).clone()),
                reason: String::new(),
                drift: false,
                brought_by: step.brought_by.map(|by| plugin(by).clone()).into_iter().collect(),
                package: None,
            });
        }
        let account = self.account.map(|account| format!("account-{account}"));
        let ground =
            PlannedWorkspace { place: String::new(), grafana: None, platform: PLATFORM.clone(), account, plugins };
        plan.workspaces.insert(name.clone(), ground);
    }
}

fn draw_step(rng: &mut Rng) -> (Change, Truth, Option<u8>) {
    match rng.u8(..12) {
        0..4 => (Change::Install, Truth::Absent, Some(rng.u8(..3))),
        4..7 => (Change::Upgrade, Truth::Loaded(0), Some(rng.u8(1..3))),
        7 => (Change::Upgrade, Truth::Loaded(SAME_AS_FIRST), Some(rng.u8(1..3))),
        8 => (Change::Downgrade, Truth::Loaded(2), Some(rng.u8(..2))),
        9 => (Change::Reinstall, Truth::Broken(1), Some(1)),
        _ => (Change::Uninstall, Truth::Loaded(rng.u8(..3)), None),
    }
}

/// A plugin that comes along with the first one that is installed, and is held where it should be (W32).
fn hold(rng: &mut Rng, start: &mut [Truth; PLACES], steps: &mut Vec<StepScene>, held: usize) -> Option<Brings> {
    let bringing = steps.iter().position(|step| step.to.is_some())?;
    let bringer = steps[bringing].plugin;
    start[held] = Truth::Loaded(0);
    let to = if rng.bool() {
        steps.insert(0, StepScene { plugin: held, to: Some(1), verb: Change::Upgrade, brought_by: None });
        1
    } else {
        0
    };
    steps.push(StepScene { plugin: held, to: Some(to), verb: Change::Repin, brought_by: None });
    Some(Brings { bringer, brought: held, version: ALONG })
}

/// A plugin that comes along with one that is installed, and is changed after it.
fn follow(rng: &mut Rng, start: &mut [Truth; PLACES], steps: &mut Vec<StepScene>, brought: usize) -> Option<Brings> {
    let bringing = steps.iter().position(|step| step.to.is_some())?;
    let bringer = steps[bringing].plugin;
    let (verb, before, to) = match rng.u8(..3) {
        0 => (Change::Install, Truth::Absent, rng.u8(..3)),
        1 => (Change::Upgrade, Truth::Loaded(0), rng.u8(1..3)),
        _ => (Change::Downgrade, Truth::Loaded(2), rng.u8(..2)),
    };
    start[brought] = before;
    let place = rng.usize(bringing + 1..=steps.len());
    steps.insert(place, StepScene { plugin: brought, to: Some(to), verb, brought_by: Some(bringer) });
    Some(Brings { bringer, brought, version: WRITTEN })
}

fn draw_waves(rng: &mut Rng, sites: &mut [SiteScene]) -> Vec<WavePlan> {
    let count = rng.usize(1..=4);
    let mut waves: Vec<WavePlan> = (0..count)
        .map(|wave| WavePlan { name: format!("{wave}"), max_failures: None, approve: false, workspaces: Vec::new() })
        .collect();
    for (place, site) in sites.iter_mut().enumerate() {
        site.wave = rng.usize(..count);
        waves[site.wave].workspaces.push(name(place).clone());
    }
    waves
}

fn draw_policy(rng: &mut Rng) -> Rollout {
    let some = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let seconds = |rng: &mut Rng, most: u64| Duration::from_secs(rng.u64(..=most));
    let all = vec![HealthCheck::Grafana, HealthCheck::Plugin, HealthCheck::Datasources];
    Rollout {
        waves: Vec::new(),
        max_concurrent: some(rng.usize(1..=6)),
        max_failures: FailureBudget::Count(rng.usize(..4) * rng.usize(..2)),
        soak: if rng.bool() { Duration::ZERO } else { seconds(rng, 60) },
        health: match rng.u8(..8) {
            0 => Vec::new(),
            1 => vec![HealthCheck::Grafana],
            _ => all,
        },
        on_failure: if rng.u8(..3) == 0 { OnFailure::Stop } else { OnFailure::Rollback },
        gate_timeout: seconds(rng, 60),
        gate_pause: seconds(rng, 10),
        gate_passes: some(rng.usize(1..=3)),
        commands: if rng.u8(..6) == 0 { vec![vec!["true".to_owned()]] } else { Vec::new() },
        ..Rollout::default()
    }
}
