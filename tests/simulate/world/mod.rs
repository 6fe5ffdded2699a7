//! The fleet: what is true of it, what it answers, and what goes wrong.

mod fault;

use std::collections::BTreeMap;

use fastrand::Rng;
use plugport::exposed::{
    fleet::settle::{Event, ServerPluginState},
    model::{Change, PluginId, PluginVersion, Presence},
    rollout::{DataSourceSeen, HealthCheck, Observation, PluginSeen, Probe},
};

use fault::{Trick, answer};

use crate::scene::{Brings, PLACES, PLUGINS, Scene, SiteScene, THEIRS, WRITTEN, has_extras, plugin, version};

/// Milliseconds since the rollout began.
pub(crate) type Time = i64;

const SECOND: Time = 1000;
/// For how long an answer is waited for.
pub(crate) const PATIENCE: Time = 30 * SECOND;
/// A late effect comes within this time: readings go on for longer.
const LATEST_EFFECT: Time = 15 * SECOND;
/// On a server that carries out one call at a time, an effect may come later than all readings of its own.
pub(crate) const LATEST_OF_ALL: Time = 150 * SECOND;

/// What is true of a plugin on a workspace.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Truth {
    Absent,
    Loaded(u8),
    Broken(u8),
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Who {
    Nobody,
    Us,
    Them,
    /// It came along with another plugin.
    Along,
}

impl Truth {
    pub(crate) fn version(self) -> Option<u8> {
        match self {
            Self::Absent => None,
            Self::Loaded(version) | Self::Broken(version) => Some(version),
        }
    }

    pub(crate) fn state(self) -> ServerPluginState {
        match self {
            Self::Absent => ServerPluginState::Absent,
            Self::Loaded(place) => ServerPluginState::Loaded { version: Some(version(place).clone()) },
            Self::Broken(place) => {
                ServerPluginState::Broken { code: "signatureInvalid".to_owned(), version: Some(version(place).clone()) }
            }
        }
    }

    /// Returns whether a server replaces it with a version that comes along: what is missing only before 12.
    fn is_replaced_by(self, version: u8) -> bool {
        match self {
            Self::Absent => version == WRITTEN,
            Self::Loaded(found) => found != version,
            Self::Broken(_) => false,
        }
    }

    fn of(wanted: &Presence) -> Self {
        match wanted.version() {
            None => Self::Absent,
            Some(version) => Self::Loaded(crate::scene::place_of(version).expect("a version of ours")),
        }
    }
}

/// One plugin on one workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) truth: Truth,
    pub(crate) by: Who,
    /// When somebody else changed it.
    pub(crate) theirs_at: Time,
    /// What it was when it was last read.
    read: Truth,
    /// What the first change of this rollout found.
    pub(crate) former: Option<Truth>,
    /// Whether it says that it is not well, though it runs.
    is_ill: bool,
    /// The version of its files, where that is not what the server shows.
    pub(crate) other_files: Option<u8>,
    /// Whether somebody else ever changed it.
    pub(crate) was_theirs: bool,
    /// Until when a call is at work on it.
    at_work_until: Time,
}

/// What is changed later.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Effect {
    pub(crate) plugin: usize,
    pub(crate) truth: Truth,
    pub(crate) by: Who,
    /// Whether it runs and says that it is not well.
    pub(crate) is_ill: bool,
}

/// A workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) cells: [Cell; PLACES],
    tricks: Vec<Trick>,
    brings: Option<Brings>,
    account: Option<usize>,
    busy_until: Time,
    unreadable_until: Time,
    restarts_until: Time,
    flaps_until: Time,
    hangs: std::ops::Range<Time>,
    token_bad_from: Time,
    token_row: u8,
    is_guarded: bool,
    overwrites: bool,
    /// So many looks at the health have no answer about plugins.
    silent_looks: u32,
    /// Calls that were begun and not answered.
    pub(crate) calls: u32,
}

/// All workspaces.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sites: Vec<Workspace>,
    limited_until: [Time; 2],
    /// How often each row came up.
    pub(crate) rows: [u64; 33],
    /// How often files were unpacked that differ from what is shown, how often an effect came later than any reading, and
    /// how often a look had no answer.
    pub(crate) differences: u64,
    pub(crate) latest_effects: u64,
    pub(crate) silences: u64,
    pub(crate) rng: Rng,
}

/// What a look, a reading or a sending came to.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Observation(Box<Observation>),
    State(ServerPluginState),
    /// The version of the files of a plugin.
    Files(Option<u8>),
    Answer(Event),
    TokenRefused,
    Unreachable,
}

/// What comes of a sending.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) heard: Heard,
    pub(crate) latency: Time,
    pub(crate) effect: Option<(Time, Effect)>,
}

impl World {
    /// Draws the faults of a fleet; `drifts` are handed back with their times.
    pub(crate) fn draw(scene: &Scene, seed: u64, mut rng: Rng) -> (Self, Vec<(Time, usize, Effect)>) {
        let mut drifts = Vec::new();
        let is_calm = rng.u8(..6) == 0;
        let mut sites = Vec::new();
        let mut extras = Rng::with_seed(seed ^ 0xfa_017);
        for (place, site) in scene.sites.iter().enumerate() {
            let mut workspace = Workspace::new(site);
            if has_extras(seed) {
                workspace.draw_extras(&mut extras);
            }
            if !is_calm && rng.u8(..3) == 0 {
                workspace.draw_faults(&mut rng);
            }
            if !is_calm && rng.u8(..25) == 0 {
                let plugin = rng.usize(..PLUGINS);
                let truth = if rng.u8(..4) == 0 { Truth::Absent } else { Truth::Loaded(THEIRS) };
                drifts.push((rng.i64(0..120 * SECOND), place, Effect { plugin, truth, by: Who::Them, is_ill: false }));
            }
            sites.push(workspace);
        }
        let (differences, latest_effects, silences) = (0, 0, 0);
        let rows = [0; 33];
        (Self { sites, limited_until: [0; 2], rows, differences, latest_effects, silences, rng }, drifts)
    }

    /// Applies what comes about.
    pub(crate) fn take_effect(&mut self, site: usize, effect: Effect, now: Time) {
        let workspace = &mut self.sites[site];
        let cell = &mut workspace.cells[effect.plugin];
        if effect.by == Who::Them {
            if cell.truth == effect.truth {
                return;
            }
            self.rows[22] += 1;
            cell.theirs_at = now;
            cell.was_theirs = true;
        }
        (cell.truth, cell.by) = (effect.truth, effect.by);
        cell.is_ill = effect.is_ill;
        cell.other_files = None;
        let brings = workspace.brings.filter(|one| one.bringer == effect.plugin && effect.truth != Truth::Absent);
        if let Some(Brings { brought, version, .. }) = brings
            && workspace.cells[brought].by != Who::Them
            && workspace.cells[brought].truth.is_replaced_by(version)
        {
            self.rows[32] += 1;
            let cell = &mut workspace.cells[brought];
            if version == WRITTEN {
                cell.former = cell.former.or(Some(cell.truth));
            }
            if workspace.overwrites && cell.truth != Truth::Absent {
                cell.other_files = Some(version);
                self.differences += 1;
                if effect.by == Who::Them {
                    (cell.by, cell.theirs_at, cell.was_theirs) = (Who::Them, now, true);
                }
                return;
            }
            cell.truth = Truth::Loaded(version);
            cell.by = if effect.by == Who::Them { Who::Them } else { Who::Along };
            cell.theirs_at = now;
        }
    }

    /// Every workspace gets a new token.
    pub(crate) fn renew_tokens(&mut self) {
        for site in &mut self.sites {
            site.token_bad_from = Time::MAX;
        }
    }

    /// Reads one plugin.
    pub(crate) fn read(&mut self, site: usize, plugin: usize, now: Time) -> (Heard, Time) {
        if let Some(fault) = self.unreachable(site, now) {
            return fault;
        }
        let cell = &mut self.sites[site].cells[plugin];
        cell.read = cell.truth;
        (Heard::State(cell.truth.state()), 50)
    }

    /// Reads which version the files of a plugin have.
    pub(crate) fn read_files(&mut self, site: usize, plugin: usize, now: Time) -> (Heard, Time) {
        if let Some(fault) = self.unreachable(site, now) {
            return fault;
        }
        let cell = &self.sites[site].cells[plugin];
        (Heard::Files(cell.other_files.or(cell.truth.version())), 20)
    }

    fn unreachable(&mut self, site: usize, now: Time) -> Option<(Heard, Time)> {
        let workspace = &self.sites[site];
        if workspace.hangs.contains(&now) {
            self.rows[30] += 1;
            return Some((Heard::Unreachable, PATIENCE));
        }
        if now < workspace.unreadable_until || now < workspace.restarts_until {
            self.rows[if now < workspace.restarts_until { 14 } else { 13 }] += 1;
            return Some((Heard::Unreachable, 20));
        }
        if now >= workspace.token_bad_from {
            self.rows[usize::from(workspace.token_row)] += 1;
            return Some((Heard::TokenRefused, 20));
        }
        None
    }

    /// Looks at the health, with what is true of it: `None` where nothing can be seen.
    pub(crate) fn look(&mut self, site: usize, scene: &SiteScene, has_command: bool, now: Time) -> (Heard, Time) {
        match self.unreachable(site, now) {
            Some((Heard::Unreachable, latency)) => {
                let ill = Probe::NoAnswer("502".to_owned());
                let commands = if has_command { vec![ill.clone()] } else { Vec::new() };
                let seen = Observation { grafana: Some(ill), commands, ..Observation::default() };
                (Heard::Observation(Box::new(seen)), latency)
            }
            Some(fault) => fault,
            None => (Heard::Observation(Box::new(self.observe(site, scene, has_command, now))), 100),
        }
    }

    fn observe(&mut self, site: usize, scene: &SiteScene, has_command: bool, now: Time) -> Observation {
        let is_flapping = self.is_flapping(site, now);
        let workspace = &self.sites[site];
        let grafana = Some(if is_flapping { Probe::Unhealthy("database".to_owned()) } else { Probe::Healthy });
        let mut seen = Observation { grafana, ..Observation::default() };
        for step in scene.steps.iter().filter(|step| !step.is_content()) {
            let cell = workspace.cells[step.plugin];
            let id: &PluginId = plugin(step.plugin);
            seen.plugins.insert(id.clone(), cell.seen());
            if step.verb == Change::Upgrade {
                let is_well = matches!(cell.truth, Truth::Loaded(_)) && !cell.is_ill;
                let health = if is_well { Probe::Healthy } else { Probe::Unhealthy("no plugin".to_owned()) };
                let name = "metrics".to_owned();
                let source = DataSourceSeen { plugin: id.clone(), name, health, smoke: None };
                seen.data_sources.insert(format!("1/{}", step.plugin), source);
            }
        }
        let silent = &mut self.sites[site].silent_looks;
        if *silent > 0 && !seen.plugins.is_empty() {
            *silent -= 1;
            self.silences += 1;
            let silence = || Probe::NoAnswer("502".to_owned());
            seen.plugins.values_mut().for_each(|plugin| plugin.health = Some(silence()));
        }
        if has_command {
            seen.commands.push(if is_flapping { Probe::Unhealthy("exit 1".to_owned()) } else { Probe::Healthy });
        }
        seen
    }

    fn is_flapping(&mut self, site: usize, now: Time) -> bool {
        let flaps = now < self.sites[site].flaps_until && self.rng.bool();
        self.rows[16] += u64::from(flaps);
        flaps
    }

    /// Sends a change.
    pub(crate) fn send(&mut self, (site, plugin): (usize, usize), wanted: &Presence, is_back: bool, now: Time) -> Sent {
        if let Some((heard, latency)) = self.before_sending(site, now) {
            return Sent { heard, latency, effect: None };
        }
        let is_guarded = self.sites[site].is_guarded && plugin < PLUGINS;
        let cell = &mut self.sites[site].cells[plugin];
        if is_guarded && now < cell.at_work_until {
            // It says that all is well, and has done nothing.
            return Sent { heard: answer(200, None), latency: 20, effect: None };
        }
        if cell.former.is_none() && !is_back {
            cell.former = Some(cell.read);
        }
        let tricks = &mut self.sites[site].tricks;
        let trick = tricks.iter_mut().find(|trick| trick.left > 0 && trick.on_way_back == is_back);
        let is_for_plugins = |trick: &&mut Trick| plugin < PLUGINS || !trick.kind.is_for_plugins();
        let Some(trick) = trick.filter(is_for_plugins) else { return Sent::well(plugin, Truth::of(wanted)) };
        trick.left -= 1;
        let trick = *trick;
        self.rows[usize::from(trick.row)] += 1;
        self.play(trick.kind, (site, plugin), Truth::of(wanted), now)
    }

    fn before_sending(&mut self, site: usize, now: Time) -> Option<(Heard, Time)> {
        let workspace = &self.sites[site];
        if workspace.hangs.contains(&now) || now < workspace.restarts_until {
            self.rows[if workspace.hangs.contains(&now) { 30 } else { 14 }] += 1;
            return Some((Heard::Answer(Event::NoAnswer), PATIENCE));
        }
        if now >= workspace.token_bad_from {
            self.rows[usize::from(workspace.token_row)] += 1;
            return Some((answer(401, None), 20));
        }
        if workspace.account.is_some_and(|account| now < self.limited_until[account]) {
            self.rows[29] += 1;
            return Some((answer(429, Some(5 * SECOND)), 20));
        }
        if now < workspace.busy_until {
            self.rows[5] += 1;
            return Some((answer(409, None), 20));
        }
        None
    }

    /// Returns whether a gate must be well, from what is true.
    pub(crate) fn is_well(&self, site: usize, scene: &SiteScene, seen: &Observation, checks: &[HealthCheck]) -> bool {
        let answers = seen.grafana == Some(Probe::Healthy);
        if !answers {
            return false;
        }
        let as_wanted = |step: &crate::scene::StepScene| {
            let cell = self.sites[site].cells[step.plugin];
            match (step.to, cell.truth) {
                (None, truth) => truth == Truth::Absent,
                (Some(to), Truth::Loaded(found)) => version(to).same_release(version(found)) && !cell.is_ill,
                _ => false,
            }
        };
        let is_silent = |plugin: &PluginSeen| plugin.installed && matches!(plugin.health, Some(Probe::NoAnswer(_)));
        let mut plugins = scene.steps.iter().filter(|step| !step.is_content());
        !checks.contains(&HealthCheck::Plugin) || (plugins.all(as_wanted) && !seen.plugins.values().any(is_silent))
    }
}

impl Truth {
    fn broken(self) -> Self {
        self.version().map_or(Self::Absent, Self::Broken)
    }
}

impl Cell {
    fn seen(self) -> PluginSeen {
        let told: Option<PluginVersion> = self.truth.version().map(|place| version(place).clone());
        let error = matches!(self.truth, Truth::Broken(_)).then(|| "signatureInvalid".to_owned());
        let health = Some(if self.is_ill { Probe::Unhealthy("ill".to_owned()) } else { Probe::Healthy });
        PluginSeen { installed: self.truth != Truth::Absent, version: told, error, has_backend: Some(true), health }
    }
}

impl Workspace {
    fn new(scene: &SiteScene) -> Self {
        let cell = |truth| Cell {
            truth,
            by: Who::Nobody,
            theirs_at: Time::MAX,
            read: truth,
            former: None,
            is_ill: false,
            other_files: None,
            was_theirs: false,
            at_work_until: 0,
        };
        Self {
            cells: scene.start.map(cell),
            tricks: Vec::new(),
            brings: scene.brings,
            account: scene.account,
            busy_until: 0,
            unreadable_until: 0,
            restarts_until: 0,
            flaps_until: 0,
            hangs: 0..0,
            token_bad_from: Time::MAX,
            token_row: 1,
            is_guarded: scene.is_guarded,
            overwrites: scene.overwrites,
            silent_looks: 0,
            calls: 0,
        }
    }
}

/// Returns what a gate wants of a workspace.
pub(crate) fn wanted_of(scene: &SiteScene) -> BTreeMap<PluginId, Option<PluginVersion>> {
    let told = |to: Option<u8>| to.map(|place| version(place).clone());
    let plugins = scene.steps.iter().filter(|step| !step.is_content());
    plugins.map(|step| (plugin(step.plugin).clone(), told(step.to))).collect()
}
