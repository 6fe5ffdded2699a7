//! Carrying out what the engine asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use plugport::exposed::{
    fleet::settle::{Confirmation, Event as Answer, OpenCall, ServerPluginState},
    model::{Presence, Timestamp, WorkspaceName},
    rollout::{Cause, Gate, Observation, PreviousState, Probe, Record, Task, TaskResult},
};

use super::{Event, Flow, Simulation};
use crate::{
    check::{Check, Violation, ensure},
    scene::{StepScene, name, site_of, version},
    task::{Aim, BOUNDS, Doing, Running, fault},
    world::{Heard, LATEST_OF_ALL, PATIENCE, Time, wanted_of},
};

/// How long a call may be at work.
const CALL_LASTS: Time = PATIENCE + LATEST_OF_ALL;
/// How often the baseline is observed again.
const BASELINE_TRIES: u32 = 2;

/// Returns what was there before, a plugin or a data source.
fn presence_before(state: &PreviousState) -> Option<Presence> {
    match state {
        PreviousState::Plugin(presence) => Some(presence.clone()),
        PreviousState::Content(document) => Some(Presence::Version(document["version"].as_str()?.parse().ok()?)),
    }
}

impl Simulation {
    pub(super) fn start(&mut self, workspace: &WorkspaceName, task: Task) -> Result<Flow, Violation> {
        let site = site_of(workspace);
        if self.write(Record::Intent { workspace: workspace.clone(), task })? == Flow::Killed {
            return Ok(Flow::Killed);
        }
        ensure(self.running[site].is_none(), || format!("two tasks at once on {workspace}"))?;
        let aim = self.aim(workspace, task)?;
        let is_settling = aim.as_ref().is_some_and(|aim| aim.is_settling);
        let mut running = Running::new(task, aim, self.now);
        if is_settling {
            running.open = self.open_call(workspace, task);
            running.confirmation = Some(Confirmation::new(&BOUNDS, running.open));
        }
        self.running[site] = Some(running);
        self.schedule(self.now, Event::Call { site, operator: self.operator });
        Ok(Flow::On)
    }

    /// Returns the call that may still be at work, as the driver of rollouts finds it.
    fn open_call(&self, workspace: &WorkspaceName, task: Task) -> OpenCall {
        let left = task.step().and_then(|step| self.engine.open_call(workspace, step));
        let remaining = left.map_or(0, |left| left.as_milliseconds() + CALL_LASTS - self.clock().as_milliseconds());
        let is_earlier = matches!(task, Task::SettleBack { .. }) && self.engine.is_final_check(workspace, task);
        OpenCall { remaining: Duration::from_millis(remaining.max(0).unsigned_abs()), is_earlier }
    }

    fn aim(&mut self, workspace: &WorkspaceName, task: Task) -> Result<Option<Aim>, Violation> {
        let Some(place) = task.step() else { return Ok(None) };
        let site = site_of(workspace);
        let step = self.scene.sites[site].steps[place];
        let is_settling = matches!(task, Task::Settle { .. } | Task::SettleBack { .. });
        let compares_files = self.scene.sites[site].overwrites
            && (step.brought_by.is_some() || step.verb == plugport::exposed::model::Change::Repin);
        if let Task::Forward { .. } | Task::Settle { .. } = task {
            let wanted = Presence::from(step.to.map(version));
            let kept = self.kept.get(&(site, place)).cloned();
            let first = if step.is_content() { ServerPluginState::Absent } else { self.at_first(site, step)? };
            let former = first.clone();
            let aim = Aim {
                place,
                step,
                compares_files,
                kept,
                wanted,
                is_back: false,
                is_settling,
                first,
                former,
                rollback: None,
            };
            return Ok(Some(aim));
        }
        let Some(rollback) = self.engine.rollback(workspace, place) else {
            return Err(Violation(format!("there is no rollback for {task:?} on {workspace}")));
        };
        let Some(wanted) = presence_before(&rollback.target).filter(|target| *target != Presence::Unknown) else {
            return Err(Violation(format!("it is rolled back to {:?}", rollback.target)));
        };
        let first = step.to.map_or(ServerPluginState::Absent, |to| crate::world::Truth::Loaded(to).state());
        let former = first.clone();
        let kept = None;
        let rollback = Some(rollback);
        Ok(Some(Aim { place, step, compares_files, kept, wanted, is_back: true, is_settling, first, former, rollback }))
    }

    /// Returns what was there when the workspace was prepared.
    fn at_first(&mut self, site: usize, step: StepScene) -> Result<ServerPluginState, Violation> {
        self.remember(site);
        let baseline = self.baselines[site].as_ref();
        let seen = baseline.and_then(|baseline| baseline.plugins.get(crate::scene::plugin(step.plugin)));
        let Some(seen) = seen else { return Err(Violation("a step without a baseline".to_owned())) };
        Ok(match (&seen.error, &seen.version) {
            (Some(code), version) => ServerPluginState::Broken { code: code.clone(), version: version.clone() },
            (None, version) if seen.installed => ServerPluginState::Loaded { version: version.clone() },
            _ => ServerPluginState::Absent,
        })
    }

    fn remember(&mut self, site: usize) {
        if self.baselines[site].is_none() {
            self.baselines[site] = self.engine.baseline(name(site)).cloned().map(Box::new);
        }
    }

    pub(super) fn call(&mut self, site: usize) -> Result<(), Violation> {
        let Some(running) = &mut self.running[site] else { return Ok(()) };
        self.world.sites[site].calls += 1;
        ensure(self.world.sites[site].calls == 1, || format!("two calls at once to {}", name(site)))?;
        let plugin = running.aim.as_ref().map_or(0, |aim| aim.step.plugin);
        let (heard, latency) = match running.doing {
            Doing::Look => {
                let has_command = !self.scene.plan.policy.commands.is_empty();
                self.world.look(site, &self.scene.sites[site], has_command, self.now)
            }
            Doing::FirstRead => {
                self.check.read(site, plugin, self.now, true);
                self.world.read(site, plugin, self.now)
            }
            Doing::ReadBack => {
                self.check.read(site, plugin, self.now, false);
                self.world.read(site, plugin, self.now)
            }
            Doing::ReadFiles => self.world.read_files(site, plugin, self.now),
            Doing::Send => {
                let (Some(aim), Some(wanted)) = (&running.aim, running.wanted()) else { return Ok(()) };
                if running.anew.is_none() {
                    self.check.sends(site, aim, &self.world, self.scene.sites[site].start[plugin])?;
                }
                if let Some(kept) = &aim.kept {
                    self.kept.insert((site, aim.place), kept.clone());
                }
                let sent = self.world.send((site, plugin), wanted, aim.is_back, self.now);
                if let Some((delay, effect)) = sent.effect {
                    self.schedule(self.now + delay, Event::Effect { site, effect });
                }
                (sent.heard, sent.latency)
            }
        };
        if let Some(history) = &mut self.history {
            let doing = self.running[site].as_ref().map(|running| running.doing);
            history.push(format!("{:>9} {} {doing:?}: {heard:?}", self.now, name(site)));
        }
        if let Some(running) = &mut self.running[site] {
            running.heard = Some(heard);
        }
        self.schedule(self.now + latency, Event::Answered { site, operator: self.operator });
        Ok(())
    }

    pub(super) fn answered(&mut self, site: usize) -> Result<Flow, Violation> {
        self.world.sites[site].calls -= 1;
        let Some(mut running) = self.running[site].take() else { return Ok(Flow::On) };
        let heard = running.heard.take();
        let is_throttled = matches!(&heard, Some(Heard::Answer(Answer::Answered { status: 429, .. })));
        let now = self.now;
        let result = match (running.doing, heard) {
            (Doing::Look, Some(Heard::Observation(seen)))
                if running.task == Task::Prepare && seen.is_incomplete() && running.looks < BASELINE_TRIES =>
            {
                running.looks += 1;
                running.since = now + 2_000;
                None
            }
            (Doing::Look, Some(heard)) => Some(self.after_gate(site, running.task, heard)?),
            (Doing::FirstRead, Some(heard)) => running.first_read(heard, now),
            (Doing::ReadFiles, Some(heard)) => running.files_read(&heard, now),
            (Doing::Send | Doing::ReadBack, Some(heard)) => running.go_on(heard, now),
            (_, None) => return Err(Violation("an answer to nothing".to_owned())),
        };
        let task = running.task;
        let pause = running.since - now;
        if let Some(result) = result {
            return self.ended(site, task, result);
        }
        self.running[site] = Some(running);
        self.schedule(now + pause, Event::Call { site, operator: self.operator });
        if is_throttled {
            let until = Timestamp::from_milliseconds(self.clock().as_milliseconds() + pause.max(2000));
            return self.write(Record::Throttled { workspace: name(site).clone(), until });
        }
        Ok(Flow::On)
    }

    fn ended(&mut self, site: usize, task: Task, result: TaskResult) -> Result<Flow, Violation> {
        Check::is_true(site, task, &result, &self.scene, &self.world)?;
        self.write(Record::Ended { workspace: name(site).clone(), task, result })
    }

    fn after_gate(&mut self, site: usize, task: Task, heard: Heard) -> Result<TaskResult, Violation> {
        let seen = match heard {
            Heard::Observation(seen) => seen,
            Heard::TokenRefused => return Ok(TaskResult::Failed(fault(Cause::Token))),
            _ => return Ok(TaskResult::Failed(fault(Cause::Network))),
        };
        if task == Task::Prepare {
            if matches!(seen.grafana, Some(Probe::NoAnswer(_))) {
                return Ok(TaskResult::Failed(fault(Cause::Network)));
            }
            let is_as_planned = self.is_as_planned(site, &seen);
            let baseline = seen.clone();
            self.baselines[site] = Some(seen);
            let (wanted, made) = (BTreeMap::new(), BTreeSet::new());
            let checks = &self.scene.plan.policy.health;
            let is_fit = Gate { baseline: &baseline, wanted: &wanted, made: &made, checks }.obstacles().is_empty();
            ensure(!is_fit || !baseline.is_incomplete(), || format!("{} begins without a baseline", name(site)))?;
            return Ok(if is_as_planned && !is_fit {
                TaskResult::Failed(fault(Cause::Network))
            } else if is_as_planned {
                TaskResult::Ready { baseline, notes: Vec::new() }
            } else {
                TaskResult::Failed(fault(Cause::Drift))
            });
        }
        self.remember(site);
        let baseline = self.baselines[site].clone().unwrap_or_default();
        let scene = &self.scene.sites[site];
        let checks = &self.scene.plan.policy.health;
        let (wanted, made) = (wanted_of(scene), BTreeSet::new());
        let reasons = Gate { baseline: &baseline, wanted: &wanted, made: &made, checks }.problems(&seen);
        let is_well = if checks.is_empty() {
            seen.commands.iter().all(|probe| *probe == Probe::Healthy)
        } else {
            self.world.is_well(site, scene, &seen, checks)
        };
        let is_unseen = |at: Time| (self.now - 100..=self.now).contains(&at);
        let is_fresh = !self.world.sites[site].cells.iter().any(|cell| is_unseen(cell.theirs_at));
        ensure(!is_fresh || is_well == reasons.is_empty(), || {
            format!("the gate of {} says {reasons:?}, and it is well: {is_well}", name(site))
        })?;
        Ok(if reasons.is_empty() {
            TaskResult::Healthy { notes: Vec::new() }
        } else {
            TaskResult::Unhealthy { reasons }
        })
    }

    /// Compares what is there with the plan's ground, for the plugins that are changed.
    fn is_as_planned(&self, site: usize, seen: &Observation) -> bool {
        let ground = self.scene.plan.workspaces.get(name(site)).map(|ground| &ground.plugins);
        self.scene.sites[site].steps.iter().filter(|step| !step.is_content()).all(|step| {
            let id = crate::scene::plugin(step.plugin);
            let planned = ground.and_then(|plugins| plugins.get(id)).cloned().flatten();
            let found = seen.plugins.get(id).and_then(|plugin| plugin.version.clone());
            planned == found
        })
    }
}
