//! Rules of the engine, one by one.

use std::{num::NonZeroUsize, time::Duration};

use super::*;
use crate::{
    model::ChangeOutcome,
    rollout::{
        Base, Cause, Content, ContentItem, FailureBudget, Fault, HealthCheck, PlanId, PlanSummary, PlannedChange,
        PlannedWorkspace, Rollout, WavePlan,
    },
};

/// A rollout that is driven by hand, with a clock of seconds.
struct Hand {
    engine: Engine,
    now: i64,
}

fn name(text: &str) -> WorkspaceName {
    text.parse().expect("a name")
}

fn action(workspace: &str, plugin: &str, action: Change) -> PlannedChange {
    let version = |text: &str| Some(text.parse().expect("a version"));
    PlannedChange {
        workspace: name(workspace),
        plugin: plugin.parse().expect("an id"),
        kind: action,
        from: version("1.0.0").filter(|_| action != Change::Install),
        to: version("1.1.0"),
        reason: String::new(),
        drift: false,
        brought_by: Vec::new(),
        package: None,
    }
}

/// Each inner list is a wave; every workspace gets one plugin upgraded and one installed.
fn plan(waves: &[&[&str]], change: impl FnOnce(&mut Plan)) -> Hand {
    let names = waves.iter().copied().flatten();
    let ground = |account: Option<&str>| PlannedWorkspace {
        place: String::new(),
        grafana: None,
        platform: "linux-amd64".parse().expect("a platform"),
        account: account.map(str::to_owned),
        plugins: BTreeMap::new(),
    };
    let actions = |workspace: &&str| {
        [action(workspace, "acme-clock-panel", Change::Upgrade), action(workspace, "acme-map-panel", Change::Install)]
    };
    let mut plan = Plan {
        plan_id: PlanId::default(),
        made_at: Timestamp::from_milliseconds(0),
        base: Base::default(),
        changes: names.clone().flat_map(actions).collect(),
        blocked: Vec::new(),
        summary: PlanSummary::default(),
        content: Vec::new(),
        unmanaged: Vec::new(),
        warnings: Vec::new(),
        workspaces: names.map(|text| (name(text), ground(None))).collect(),
        waves: waves
            .iter()
            .map(|wave| WavePlan {
                name: String::new(),
                max_failures: None,
                approve: false,
                workspaces: wave.iter().map(|text| name(text)).collect(),
            })
            .collect(),
        policy: Rollout { health: Vec::new(), ..Rollout::default() },
    };
    change(&mut plan);
    let mut hand = Hand { engine: Engine::new(Arc::new(plan)), now: 0 };
    hand.write(Record::Started { by: "me".to_owned() });
    hand
}

fn fault(cause: Cause) -> Fault {
    Fault { cause, message: "because".to_owned(), hint: None }
}

fn ready() -> TaskResult {
    TaskResult::Ready { baseline: Box::default(), notes: Vec::new() }
}

fn version(text: &str) -> PreviousState {
    Presence::Version(text.parse().expect("a version")).into()
}

fn absent() -> PreviousState {
    PreviousState::default()
}

fn done(before: PreviousState) -> TaskResult {
    TaskResult::Done { before, note: None }
}

fn ill() -> TaskResult {
    TaskResult::Unhealthy { reasons: vec!["it is ill".to_owned()] }
}

impl Hand {
    fn at(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.now * 1000)
    }

    fn try_write(&mut self, record: Record) -> Result<(), EngineError> {
        self.engine.apply(&JournalEntry { at: self.at(), record })
    }

    fn write(&mut self, record: Record) {
        let event = format!("{record:?}");
        self.try_write(record).unwrap_or_else(|error| panic!("{event}: {error}"));
    }

    /// Writes the decisions, and returns what is left to do.
    fn ask(&mut self) -> Vec<EngineCommand> {
        for _ in 0..20 {
            let commands = self.engine.next(self.at());
            let [EngineCommand::Write(record)] = &commands[..] else { return commands };
            self.write(record.clone());
        }
        panic!("it decides for ever");
    }

    fn tasks(&mut self) -> Vec<(String, Task)> {
        let commands = self.ask().into_iter();
        let run = |command| match command {
            EngineCommand::Run { workspace, task } => Some((workspace.as_str().to_owned(), task)),
            _ => None,
        };
        commands.filter_map(run).collect()
    }

    fn begin(&mut self, workspace: &str, task: Task) {
        self.ask();
        self.write(Record::Intent { workspace: name(workspace), task });
    }

    fn end(&mut self, workspace: &str, task: Task, result: TaskResult) {
        self.write(Record::Ended { workspace: name(workspace), task, result });
    }

    fn carry_out(&mut self, workspace: &str, task: Task, result: TaskResult) {
        self.begin(workspace, task);
        self.end(workspace, task, result);
    }

    fn prepare(&mut self, workspace: &str) {
        self.carry_out(workspace, Task::Prepare, ready());
    }

    fn change(&mut self, workspace: &str) {
        self.prepare(workspace);
        self.carry_out(workspace, Task::Forward { step: 0 }, done(version("1.0.0")));
        self.carry_out(workspace, Task::Forward { step: 1 }, done(absent()));
    }

    fn fail(&mut self, workspace: &str) {
        self.prepare(workspace);
        self.carry_out(workspace, Task::Forward { step: 0 }, TaskResult::Failed(fault(Cause::Refused)));
    }

    /// Finds steps as they were rolled back.
    fn look(&mut self, workspace: &str, steps: &[usize]) {
        for &step in steps {
            self.carry_out(workspace, Task::SettleBack { step }, done(absent()));
        }
    }

    /// Rolls both steps of a workspace back and looks at them once more.
    fn look_back(&mut self, workspace: &str) {
        for step in [1, 0] {
            self.carry_out(workspace, Task::Back { step }, done(absent()));
        }
        self.look(workspace, &[1, 0]);
    }

    fn resume(&mut self) {
        self.write(Record::Resumed { by: "me".to_owned() });
    }

    fn outcomes(&self) -> Vec<ChangeOutcome> {
        self.engine.results().iter().map(|result| result.outcome).collect()
    }
}

const FORWARD: Task = Task::Forward { step: 0 };

#[test]
fn everything_that_is_done_ends_as_done() {
    let mut hand = plan(&[&["a"], &["b"]], |_| {});
    hand.change("a");
    assert_eq!(hand.tasks(), [("b".to_owned(), Task::Prepare)]);
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
    assert_eq!(hand.outcomes(), [ChangeOutcome::Changed; 4]);
}

#[test]
fn a_plan_of_nothing_is_done_at_once() {
    assert_eq!(plan(&[], |_| {}).ask(), [EngineCommand::Finish(Ending::Done)]);
}

#[test]
fn no_more_workspaces_than_allowed_are_worked_on() {
    let mut hand = plan(&[&["a", "b", "c"]], |plan| plan.policy.max_concurrent = NonZeroUsize::MIN.saturating_add(1));
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Prepare), ("b".to_owned(), Task::Prepare)]);
    hand.begin("a", Task::Prepare);
    hand.begin("b", Task::Prepare);
    let third = Record::Intent { workspace: name("c"), task: Task::Prepare };
    assert_eq!(hand.try_write(third), Err(EngineError::TooMany(2)));
    hand.end("a", Task::Prepare, ready());
    assert_eq!(hand.tasks(), [("a".to_owned(), FORWARD)], "who was begun goes on first");
}

#[test]
fn a_workspace_sees_one_task_at_a_time() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.begin("a", Task::Prepare);
    let again = Record::Intent { workspace: name("a"), task: Task::Prepare };
    assert_eq!(hand.try_write(again), Err(EngineError::Busy(name("a"))));
    assert_eq!(hand.ask(), []);
}

#[test]
fn a_gate_wants_its_looks_in_a_row() {
    let mut hand = plan(&[&["a"]], |plan| {
        plan.policy.health = vec![HealthCheck::Grafana];
        plan.policy.gate_passes = NonZeroUsize::MIN.saturating_add(1);
    });
    hand.change("a");
    for result in [TaskResult::Healthy { notes: Vec::new() }, ill(), TaskResult::Healthy { notes: Vec::new() }] {
        hand.carry_out("a", Task::Gate, result);
        assert!(
            matches!(hand.ask()[..], [EngineCommand::Wait { until }] if until == hand.at().saturating_add(Duration::from_secs(5)))
        );
        hand.now += 5;
    }
    hand.carry_out("a", Task::Gate, TaskResult::Healthy { notes: Vec::new() });
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
}

#[test]
fn a_gate_is_red_at_the_first_ill_look_after_its_time() {
    let mut hand = plan(&[&["a"], &["b"]], |plan| plan.policy.health = vec![HealthCheck::Grafana]);
    hand.change("a");
    hand.carry_out("a", Task::Gate, ill());
    hand.now = 200;
    hand.carry_out("a", Task::Gate, ill());
    hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.look("a", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RolledBack)]);
    assert_eq!(
        hand.outcomes(),
        [ChangeOutcome::RolledBack, ChangeOutcome::RolledBack, ChangeOutcome::Skipped, ChangeOutcome::Skipped]
    );
}

#[test]
fn a_gate_is_looked_at_once_more_after_the_pause_of_its_wave() {
    let mut hand = plan(&[&["a"], &["b"]], |plan| {
        plan.policy.health = vec![HealthCheck::Grafana];
        plan.policy.soak = Duration::from_mins(1);
    });
    hand.change("a");
    hand.carry_out("a", Task::Gate, TaskResult::Healthy { notes: Vec::new() });
    assert_eq!(hand.ask(), [EngineCommand::Wait { until: Timestamp::from_milliseconds(60_000) }]);
    hand.now = 60;
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Gate)]);
    hand.carry_out("a", Task::Gate, TaskResult::Healthy { notes: Vec::new() });
    assert_eq!(hand.tasks(), [("b".to_owned(), Task::Prepare)]);
}

#[test]
fn a_workspace_that_fails_within_the_budget_goes_back_by_itself() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.max_failures = FailureBudget::Count(1));
    hand.prepare("a");
    hand.carry_out("a", FORWARD, done(version("0.9.0")));
    hand.carry_out("a", Task::Forward { step: 1 }, TaskResult::Failed(fault(Cause::Refused)));
    assert_eq!(hand.tasks()[0], ("a".to_owned(), Task::Back { step: 0 }));
    let rollback = hand.engine.rollback(&name("a"), 0).expect("a way back");
    assert_eq!(rollback.target, version("0.9.0"), "what was there, not what the plan expected");
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.change("b");
    hand.look("a", &[0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Partly)]);
}

#[test]
fn with_stop_nothing_is_taken_back() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    hand.change("b");
    hand.fail("a");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Stopped)]);
    assert_eq!(
        hand.outcomes(),
        [ChangeOutcome::Failed, ChangeOutcome::Skipped, ChangeOutcome::Changed, ChangeOutcome::Changed]
    );
}

#[test]
fn with_stop_a_workspace_between_its_steps_is_finished_and_gated_and_no_other_is_begun() {
    let mut hand = plan(&[&["a", "b", "c", "d"]], |plan| {
        plan.policy.on_failure = OnFailure::Stop;
        plan.policy.max_concurrent = NonZeroUsize::MIN.saturating_add(2);
        plan.policy.health = vec![HealthCheck::Grafana];
    });
    for workspace in ["a", "b", "c"] {
        hand.prepare(workspace);
    }
    hand.carry_out("b", FORWARD, done(version("1.0.0")));
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::Refused)));
    let second = Task::Forward { step: 1 };
    assert_eq!(hand.tasks(), [("b".to_owned(), second)], "c is only read so far, and d is not begun");
    hand.carry_out("b", second, done(absent()));
    assert_eq!(hand.tasks(), [("b".to_owned(), Task::Gate)]);
    hand.carry_out("b", Task::Gate, TaskResult::Healthy { notes: Vec::new() });
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Stopped)]);
    let outcomes = hand.outcomes();
    assert_eq!(outcomes[2..4], [ChangeOutcome::Changed; 2]);
    assert_eq!(outcomes[4..], [ChangeOutcome::Skipped; 4]);
}

#[test]
fn with_stop_a_refused_token_pauses_once_the_others_are_finished() {
    let mut hand = plan(&[&["a", "b", "c"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    for workspace in ["a", "b", "c"] {
        hand.prepare(workspace);
        hand.begin(workspace, FORWARD);
    }
    hand.end("b", FORWARD, done(version("1.0.0")));
    hand.end("c", FORWARD, done(version("1.0.0")));
    hand.end("a", FORWARD, TaskResult::Failed(fault(Cause::Refused)));
    let second = Task::Forward { step: 1 };
    hand.carry_out("b", second, TaskResult::Failed(fault(Cause::Token)));
    assert_eq!(hand.tasks(), [("c".to_owned(), second)]);
    hand.carry_out("c", second, done(absent()));
    assert!(matches!(&hand.ask()[..], [EngineCommand::Leave { .. }]));
    hand.write(Record::Resumed { by: "me".to_owned() });
    hand.carry_out("b", second, done(absent()));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Stopped)]);
}

#[test]
fn a_journal_that_stopped_between_the_steps_of_a_workspace_is_still_read() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    hand.prepare("a");
    hand.prepare("b");
    hand.carry_out("b", FORWARD, done(version("1.0.0")));
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::Refused)));
    hand.tasks();
    assert!(hand.try_write(Record::Finished { ending: Ending::Done }).is_err());
    hand.write(Record::Finished { ending: Ending::Stopped });
}

#[test]
fn a_skipped_step_does_not_carry_the_error_of_another() {
    let mut hand = plan(&[&["a"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::Refused)));
    hand.ask();
    let errors: Vec<_> = hand.engine.results().into_iter().map(|result| (result.outcome, result.error)).collect();
    assert_eq!(errors, [(ChangeOutcome::Failed, Some("because".to_owned())), (ChangeOutcome::Skipped, None)]);
    let mut hand = plan(&[&["a"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    hand.carry_out("a", Task::Prepare, TaskResult::Failed(fault(Cause::Network)));
    hand.ask();
    let is_told = |result: StepResult| result.error.as_deref() == Some("because");
    assert!(hand.engine.results().into_iter().all(is_told), "the workspace as a whole");
}

#[test]
fn a_skipped_workspace_stops_no_other_and_the_end_is_partly() {
    let mut hand = plan(&[&["a"], &["b"]], |_| {});
    hand.write(Record::Skipped { workspace: name("a"), reason: "it is away".to_owned() });
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Partly)]);
    let results = hand.engine.results();
    assert_eq!((results[0].outcome, results[0].error.as_deref()), (ChangeOutcome::Skipped, Some("it is away")));
    assert_eq!((results[2].outcome, &results[2].error), (ChangeOutcome::Changed, &None));
    assert_eq!(hand.engine.faults().count(), 0, "it does not count as failed");
}

#[test]
fn a_workspace_that_is_skipped_on_the_way_back_goes_back_when_it_is_there_again() {
    let mut hand = plan(&[&["a", "b"]], |_| {});
    hand.change("a");
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    hand.write(Record::Skipped { workspace: name("a"), reason: "it is away".to_owned() });
    for step in [1, 0] {
        hand.carry_out("b", Task::Back { step }, done(absent()));
    }
    hand.look("b", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RollbackFailed)]);
    hand.write(Record::RollingBack { reason: "once more".to_owned() });
    for step in [1, 0] {
        hand.carry_out("a", Task::Back { step }, done(absent()));
    }
    hand.look("a", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

fn unselect(hand: &mut Hand, workspaces: &[&str]) {
    hand.write(Record::Unselected { workspaces: workspaces.iter().map(|text| name(text)).collect() });
}

fn pause(commands: &[EngineCommand]) -> Option<String> {
    match commands {
        [EngineCommand::Leave { reason }] => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn a_rollout_waits_for_workspaces_of_a_wave_that_are_not_selected() {
    let mut hand = plan(&[&["a", "b"], &["c"]], |_| {});
    hand.ask();
    hand.resume();
    unselect(&mut hand, &["b", "c"]);
    hand.change("a");
    assert_eq!(pause(&hand.ask()).as_deref(), Some("`--on` does not select what is left: b"));
    assert_eq!(hand.outcomes()[2..], [ChangeOutcome::Skipped; 4]);
    hand.resume();
    unselect(&mut hand, &["a", "c"]);
    hand.change("b");
    assert_eq!(pause(&hand.ask()).as_deref(), Some("`--on` does not select what is left: c"));
    hand.resume();
    hand.change("c");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
}

#[test]
fn what_is_not_selected_keeps_its_state_on_the_way_back_and_goes_back_later() {
    let mut hand = plan(&[&["a", "b", "c"]], |_| {});
    hand.change("a");
    hand.change("b");
    hand.resume();
    hand.write(Record::RollingBack { reason: String::new() });
    unselect(&mut hand, &["b", "c"]);
    hand.look_back("a");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::PartlyUndone)]);
    hand.write(Record::RollingBack { reason: String::new() });
    unselect(&mut hand, &["a", "c"]);
    hand.look_back("b");
    // Nothing is left of the third, which was never begun.
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn a_rollback_after_failures_waits_for_what_is_not_selected() {
    let mut hand = plan(&[&["a", "b"]], |_| {});
    hand.change("a");
    hand.fail("b");
    assert!(!hand.tasks().is_empty(), "it is on its way back");
    hand.resume();
    unselect(&mut hand, &["a"]);
    assert_eq!(pause(&hand.ask()).as_deref(), Some("`--on` does not select what is left: a"));
    hand.resume();
    hand.look_back("a");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RolledBack)]);
}

#[test]
fn with_stop_what_was_begun_and_is_not_selected_is_waited_for() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.on_failure = OnFailure::Stop);
    for workspace in ["a", "b"] {
        hand.prepare(workspace);
    }
    hand.carry_out("a", Task::Forward { step: 0 }, done(version("1.0.0")));
    hand.carry_out("b", Task::Forward { step: 0 }, TaskResult::Failed(fault(Cause::Refused)));
    hand.ask();
    hand.resume();
    unselect(&mut hand, &["a"]);
    assert_eq!(pause(&hand.ask()).as_deref(), Some("`--on` does not select what is left: a"));
    hand.resume();
    hand.carry_out("a", Task::Forward { step: 1 }, done(absent()));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Stopped)]);
}

#[test]
fn a_wave_that_is_to_be_approved_does_not_begin_before() {
    let mut hand = plan(&[&["a"], &["b"]], |plan| plan.waves[1].approve = true);
    assert_eq!(hand.engine.wave_to_approve(), None);
    hand.change("a");
    assert_eq!(hand.ask(), [EngineCommand::Hold(Hold::Approval { wave: 1 })]);
    assert_eq!(hand.engine.wave_to_approve(), Some(1));
    assert_eq!(hand.try_write(Record::WaveOpened { wave: 1 }), Err(EngineError::WrongWave(1)));
    hand.write(Record::Paused { reason: "wave 2 waits".to_owned() });
    // Another process may write it before it is taken up again, and while nobody waits.
    hand.write(Record::Approved { wave: 1, by: "you@there".to_owned() });
    hand.resume();
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
    assert!(hand.try_write(Record::Approved { wave: 2, by: String::new() }).is_err());
}

#[test]
fn no_wave_begins_in_a_freeze_period_and_what_was_begun_goes_on() {
    let mut hand = plan(&[&["a"], &["b"]], |_| {});
    hand.ask();
    // The clock of a test begins in 1970.
    let period = "1970-01-01..1970-01-01".parse().expect("a period");
    hand.engine = hand.engine.clone().frozen_by(Freeze { periods: vec![period], ..Freeze::default() });
    hand.change("a");
    let until = Timestamp::from_milliseconds(86_400_000);
    assert_eq!(hand.ask(), [EngineCommand::Hold(Hold::Freeze { wave: 1, until })]);
    let before = hand.engine.clone();
    hand.now = 86_400;
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
    hand.engine = before;
    hand.now = 1;
    hand.write(Record::RollingBack { reason: String::new() });
    hand.look_back("a");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn the_way_back_needs_no_approval() {
    let mut hand = plan(&[&["a"], &["b"]], |plan| plan.waves.iter_mut().for_each(|wave| wave.approve = true));
    assert_eq!(hand.ask(), [EngineCommand::Hold(Hold::Approval { wave: 0 })]);
    hand.write(Record::Approved { wave: 0, by: String::new() });
    hand.change("a");
    hand.write(Record::RollingBack { reason: String::new() });
    hand.look_back("a");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn a_rollout_that_ended_as_unknown_is_read_once_more_and_nothing_is_changed() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.max_failures = FailureBudget::Count(1));
    hand.change("b");
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Unknown(fault(Cause::Network)));
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Unknown)]);
    hand.write(Record::Resumed { by: "me".to_owned() });
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Unknown)], "still nobody knows");
    hand.write(Record::Resumed { by: "me".to_owned() });
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Settle { step: 0 })]);
    hand.carry_out("a", Task::Settle { step: 0 }, done(version("1.0.0")));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RollbackFailed)]);
    assert!(hand.try_write(Record::Resumed { by: "me".to_owned() }).is_err(), "it is known now");
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    assert!(hand.tasks().contains(&("a".to_owned(), Task::Back { step: 0 })));
}

/// The step that failed was forgotten when it was read once more, and every step carried its error.
#[test]
fn an_unknown_step_that_is_read_once_more_keeps_its_error_to_itself() {
    let mut hand = plan(&[&["a"]], |plan| plan.policy.max_failures = FailureBudget::Count(1));
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Unknown(fault(Cause::Network)));
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::Unknown(fault(Cause::Network)));
    hand.ask();
    hand.write(Record::Resumed { by: "me".to_owned() });
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::Unknown(fault(Cause::Network)));
    hand.ask();
    let errors: Vec<_> = hand.engine.results().into_iter().map(|result| result.error.is_some()).collect();
    assert_eq!(errors, [true, false]);
}

#[test]
fn a_rollback_of_unknown_end_is_read_once_more() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.change("a");
    hand.ask();
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    hand.carry_out("a", Task::Back { step: 1 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Unknown)]);
    hand.write(Record::Resumed { by: "me".to_owned() });
    hand.carry_out("a", Task::SettleBack { step: 1 }, done(absent()));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RollbackFailed)], "the other step is still changed");
}

#[test]
fn after_too_many_failures_what_is_under_way_ends_and_all_goes_back() {
    let mut hand = plan(&[&["a", "b", "c"]], |_| {});
    hand.begin("b", Task::Prepare);
    hand.end("b", Task::Prepare, ready());
    hand.begin("b", FORWARD);
    hand.fail("a");
    assert_eq!(hand.ask(), [], "c is not begun, and b is awaited");
    hand.end("b", FORWARD, done(version("1.0.0")));
    assert_eq!(hand.tasks(), [("b".to_owned(), Task::Back { step: 0 })]);
    hand.carry_out("b", Task::Back { step: 0 }, TaskResult::Failed(fault(Cause::Refused)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RollbackFailed)]);
}

#[test]
fn w13_what_is_unknown_is_settled_before_anything_goes_back_and_stays_unknown() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.prepare("a");
    hand.carry_out("a", FORWARD, done(version("1.0.0")));
    hand.carry_out("a", Task::Forward { step: 1 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Settle { step: 1 })]);
    hand.carry_out("a", Task::Settle { step: 1 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Unknown)]);
    assert_eq!(hand.outcomes(), [ChangeOutcome::Changed, ChangeOutcome::Unknown]);
}

#[test]
fn w20_a_refused_token_pauses_and_the_step_is_tried_again() {
    let mut hand = plan(&[&["a", "b"]], |_| {});
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::Token)));
    assert!(matches!(hand.ask()[..], [EngineCommand::Leave { .. }]));
    assert_eq!(hand.engine.ending(), None);
    hand.resume();
    assert_eq!(hand.tasks(), [("a".to_owned(), FORWARD), ("b".to_owned(), Task::Prepare)]);
}

#[test]
fn a_refused_token_does_not_keep_others_from_going_back() {
    let mut hand = plan(&[&["a", "b", "c"]], |_| {});
    hand.change("a");
    hand.change("b");
    hand.fail("c");
    hand.carry_out("a", Task::Back { step: 1 }, TaskResult::Failed(fault(Cause::Token)));
    hand.carry_out("b", Task::Back { step: 1 }, done(absent()));
    hand.carry_out("b", Task::Back { step: 0 }, done(absent()));
    assert!(matches!(hand.ask()[..], [EngineCommand::Leave { .. }]));
    hand.resume();
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Back { step: 1 })]);
}

#[test]
fn w21_what_was_under_way_is_settled_first_and_a_done_step_is_not_repeated() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.prepare("a");
    hand.begin("a", FORWARD);
    hand.resume();
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Settle { step: 0 })]);
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::NotDone);
    hand.carry_out("a", FORWARD, done(version("1.0.0")));
    let again = Record::Intent { workspace: name("a"), task: FORWARD };
    assert_eq!(hand.try_write(again), Err(EngineError::NotNext { workspace: name("a"), task: FORWARD }));
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Forward { step: 1 })]);
}

#[test]
fn w22_a_workspace_that_somebody_else_changed_fails_and_is_left() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.max_failures = FailureBudget::Count(1));
    hand.carry_out("a", Task::Prepare, TaskResult::Failed(fault(Cause::Drift)));
    hand.change("b");
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Partly)]);
}

#[test]
fn a_step_that_failed_half_way_goes_back_from_what_it_left() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.prepare("a");
    let damaged =
        TaskResult::Damaged { before: version("1.0.0"), left: Box::new(absent()), fault: fault(Cause::Refused) };
    hand.carry_out("a", FORWARD, damaged);
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Back { step: 0 })]);
    let rollback = hand.engine.rollback(&name("a"), 0).expect("a way back");
    let left = Some(absent());
    assert_eq!(rollback, Rollback { target: version("1.0.0"), left, accepts_anything: false });
}

#[test]
fn w29_workspaces_of_one_account_are_left_alone_together() {
    let mut hand = plan(&[&["a", "b", "c"]], |plan| {
        for ground in plan.workspaces.iter_mut().filter(|(name, _)| name.as_str() != "c") {
            ground.1.account = Some("one".to_owned());
        }
    });
    hand.ask();
    let until = Timestamp::from_milliseconds(30_000);
    hand.write(Record::Throttled { workspace: name("a"), until });
    let commands = hand.ask();
    let run = EngineCommand::Run { workspace: name("c"), task: Task::Prepare };
    assert_eq!(commands, [run, EngineCommand::Wait { until }]);
    hand.now = 30;
    assert_eq!(hand.tasks().len(), 3);
}

#[test]
fn what_is_held_goes_back_after_what_moves_it_and_before_what_changed_it() {
    let mut hand = plan(&[&["a"]], |plan| plan.changes.push(action("a", "acme-clock-panel", Change::Repin)));
    hand.change("a");
    hand.carry_out("a", Task::Forward { step: 2 }, TaskResult::Unchanged);
    hand.ask();
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    for step in [1, 2, 0] {
        hand.carry_out("a", Task::Back { step }, done(absent()));
    }
    let held = hand.engine.rollback(&name("a"), 2).expect("a way back");
    assert_eq!(held, Rollback { target: version("1.1.0"), left: None, accepts_anything: true });
    hand.look("a", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn what_a_server_brings_along_goes_back_after_what_brings_it_to_what_was_there_before_both() {
    let brought = |plan: &mut Plan| plan.changes[1].brought_by = vec!["acme-clock-panel".parse().expect("an id")];
    let mut hand = plan(&[&["a"]], brought);
    hand.change("a");
    hand.ask();
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    // Its own change found what came along, which is not what was there before.
    let rollback = hand.engine.rollback(&name("a"), 1).expect("a way back");
    assert_eq!(rollback, Rollback { target: absent(), left: None, accepts_anything: false });
    hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    hand.look("a", &[0, 1]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
    // It is taken back too if only the step that brings it was carried out.
    let mut hand = plan(&[&["a"]], brought);
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::Refused)));
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Back { step: 1 })]);
}

#[test]
fn undo_tries_once_more_what_could_not_be_taken_back() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.change("a");
    hand.ask();
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    hand.carry_out("a", Task::Back { step: 1 }, TaskResult::Failed(fault(Cause::Refused)));
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.look("a", &[0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RollbackFailed)]);
    hand.write(Record::RollingBack { reason: "again".to_owned() });
    hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    hand.look("a", &[1]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn after_an_abort_nothing_begins_and_what_is_under_way_is_awaited() {
    let mut hand = plan(&[&["a", "b"]], |_| {});
    hand.prepare("a");
    hand.begin("a", FORWARD);
    hand.write(Record::Aborted { by: "me".to_owned() });
    assert_eq!(hand.ask(), []);
    hand.end("a", FORWARD, done(version("1.0.0")));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Aborted)]);
}

#[test]
fn an_entry_that_cannot_follow_is_refused_and_changes_nothing() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.begin("a", Task::Prepare);
    let before = hand.engine.clone();
    let ended = |workspace: &str, task, result| Record::Ended { workspace: name(workspace), task, result };
    let odd = [
        Record::Started { by: "me".to_owned() },
        Record::WaveOpened { wave: 0 },
        Record::WaveDone { wave: 0 },
        Record::Finished { ending: Ending::Done },
        Record::Intent { workspace: name("z"), task: Task::Prepare },
        ended("a", Task::Gate, TaskResult::Healthy { notes: Vec::new() }),
        ended("a", Task::Prepare, TaskResult::Healthy { notes: Vec::new() }),
    ];
    for record in odd {
        assert!(hand.try_write(record.clone()).is_err(), "{record:?}");
        assert!(hand.engine == before, "{record:?}");
    }
    assert_eq!(
        Engine::new(before.plan.clone()).apply(&JournalEntry { at: hand.at(), record: Record::WaveOpened { wave: 0 } }),
        Err(EngineError::NotStarted)
    );
}

/// An undone workspace of which both steps were changed.
fn undone() -> Hand {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.change("a");
    hand.ask();
    hand.write(Record::RollingBack { reason: "I want it".to_owned() });
    for step in [1, 0] {
        hand.carry_out("a", Task::Back { step }, done(absent()));
    }
    hand
}

#[test]
fn a_late_effect_after_a_rollback_is_found_before_the_end_and_rolled_back_once_more() {
    let mut hand = undone();
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::SettleBack { step: 1 })]);
    hand.carry_out("a", Task::SettleBack { step: 1 }, TaskResult::NotDone);
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Back { step: 1 })]);
    hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    hand.look("a", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
    assert_eq!(hand.outcomes(), [ChangeOutcome::RolledBack; 2]);
}

#[test]
fn looks_that_find_an_effect_again_and_again_end() {
    let mut hand = undone();
    for _ in 0..3 {
        hand.carry_out("a", Task::SettleBack { step: 1 }, TaskResult::NotDone);
        hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    }
    hand.look("a", &[0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn a_look_that_cannot_be_made_leaves_what_was_read_before() {
    let mut hand = undone();
    hand.carry_out("a", Task::SettleBack { step: 1 }, TaskResult::Unknown(fault(Cause::Network)));
    hand.carry_out("a", Task::SettleBack { step: 0 }, TaskResult::Failed(fault(Cause::Drift)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Undone)]);
}

#[test]
fn a_failed_step_without_an_answer_is_looked_at_and_its_late_effect_rolled_back() {
    for (cause, is_finally_checked) in [(Cause::NoAnswer, true), (Cause::Refused, false)] {
        let mut hand = plan(&[&["a"]], |_| {});
        hand.prepare("a");
        hand.now = 10;
        hand.begin("a", FORWARD);
        hand.now = 20;
        hand.end("a", FORWARD, TaskResult::Failed(fault(cause)));
        if !is_finally_checked {
            assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RolledBack)]);
            continue;
        }
        assert_eq!(hand.tasks(), [("a".to_owned(), Task::Settle { step: 0 })]);
        assert_eq!(hand.engine.open_call(&name("a"), 0), Some(Timestamp::from_milliseconds(20_000)));
        hand.carry_out("a", Task::Settle { step: 0 }, done(version("1.0.0")));
        assert_eq!(hand.tasks(), [("a".to_owned(), Task::Back { step: 0 })]);
        hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
        hand.look("a", &[0]);
        assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RolledBack)]);
    }
}

#[test]
fn a_call_without_an_answer_that_cannot_be_looked_at_ends_as_unknown() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.prepare("a");
    hand.carry_out("a", FORWARD, TaskResult::Failed(fault(Cause::NoAnswer)));
    hand.carry_out("a", Task::Settle { step: 0 }, TaskResult::Unknown(fault(Cause::Network)));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Unknown)]);
}

#[test]
fn what_was_under_way_when_it_was_left_may_be_at_work_until_its_effect_shows() {
    let mut hand = plan(&[&["a"]], |_| {});
    hand.prepare("a");
    hand.begin("a", FORWARD);
    hand.now = 7;
    hand.resume();
    let open = |hand: &Hand| hand.engine.open_call(&name("a"), 0);
    assert_eq!(open(&hand), Some(Timestamp::from_milliseconds(7000)));
    // Another run has another clock.
    hand.now = 9;
    hand.resume();
    assert_eq!(open(&hand), Some(Timestamp::from_milliseconds(9000)));
    hand.carry_out("a", Task::Settle { step: 0 }, done(version("1.0.0")));
    assert_eq!(open(&hand), None);
}

#[test]
fn a_workspace_that_went_back_alone_is_looked_at_once_all_waves_are_over() {
    let mut hand = plan(&[&["a", "b"]], |plan| plan.policy.max_failures = FailureBudget::Count(1));
    hand.prepare("a");
    hand.carry_out("a", FORWARD, done(version("0.9.0")));
    hand.carry_out("a", Task::Forward { step: 1 }, TaskResult::Failed(fault(Cause::Refused)));
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.change("b");
    hand.carry_out("a", Task::SettleBack { step: 0 }, TaskResult::NotDone);
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.look("a", &[0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Partly)]);
}

#[test]
fn a_journal_of_a_version_without_looks_is_still_read() {
    let mut hand = undone();
    hand.write(Record::Finished { ending: Ending::Undone });
    assert_eq!(hand.engine.ending(), Some(Ending::Undone));
}

/// Fails in preparing on these workspaces; returns the reason why the rollout stopped, if it did.
fn stopped(waves: &[&[&str]], failing: &[&str], change: impl FnOnce(&mut Plan)) -> Option<String> {
    let mut hand = plan(waves, change);
    for workspace in failing {
        hand.carry_out(workspace, Task::Prepare, TaskResult::Failed(fault(Cause::Network)));
    }
    match &hand.engine.next(hand.at())[..] {
        [EngineCommand::Write(Record::Stopped { reason })] => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn a_share_may_fail_of_all_workspaces_and_no_more() {
    let waves: &[&[&str]] = &[&["a", "b", "c", "d"], &["e"]];
    let with = |budget| move |plan: &mut Plan| plan.policy.max_failures = budget;
    assert_eq!(stopped(waves, &["a"], with(FailureBudget::Share(20))), None);
    assert!(stopped(waves, &["a"], with(FailureBudget::Share(19))).is_some());
    let reason = stopped(waves, &["a", "b"], with(FailureBudget::Share(20))).expect("stopped");
    assert!(reason.starts_with("2 workspaces failed, and at most 1 may: a: because"), "{reason}");
}

#[test]
fn a_wave_with_a_budget_of_its_own_is_counted_alone() {
    let waves: &[&[&str]] = &[&["a", "b", "c"], &["d", "e"]];
    let own = |budget| move |plan: &mut Plan| plan.waves[0].max_failures = Some(budget);
    assert_eq!(stopped(waves, &["a", "b"], own(FailureBudget::Count(2))), None, "the rollout itself allows none");
    assert_eq!(stopped(waves, &["a"], own(FailureBudget::Share(34))), None);
    assert!(stopped(waves, &["a", "b"], own(FailureBudget::Share(34))).is_some());
    let generous = |plan: &mut Plan| {
        plan.policy.max_failures = FailureBudget::Count(9);
        plan.waves[0].max_failures = Some(FailureBudget::Count(0));
    };
    assert!(stopped(waves, &["a"], generous).is_some(), "a wave may allow less than the rollout");
}

#[test]
fn a_canary_that_is_the_whole_wave_and_fails_stops_the_rollout_whatever_may_fail() {
    let many = |plan: &mut Plan| plan.policy.max_failures = FailureBudget::Count(9);
    let reason = stopped(&[&["a"], &["b"]], &["a"], many).expect("stopped");
    assert!(reason.starts_with("every workspace of the wave  failed: a: because"), "{reason}");
    let own = |plan: &mut Plan| plan.waves[0].max_failures = Some(FailureBudget::Share(100));
    assert!(stopped(&[&["a", "c"], &["b"]], &["a", "c"], own).is_some());
    // Nothing follows the last wave, so nothing more can be spared.
    assert_eq!(stopped(&[&["a"]], &["a"], many), None);
}

/// Returns a rollout of one workspace with a gate, which removes a data source; in old plans before the gate.
fn removing(after_gate: bool) -> Hand {
    plan(&[&["a"]], |plan| {
        let item = ContentItem::NoDataSource { uid: "old".to_owned(), lose_secrets: false, after_gate };
        let plugin = "acme-clock-panel".parse().expect("an id");
        plan.content.push(Content { workspace: name("a"), plugin, item });
        plan.policy.health = vec![HealthCheck::Grafana];
        plan.policy.gate_passes = NonZeroUsize::MIN;
    })
}

const REMOVAL: Task = Task::Forward { step: 2 };

#[test]
fn a_data_source_is_removed_after_the_gate_and_not_if_the_gate_fails() {
    let mut hand = removing(true);
    hand.change("a");
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Gate)]);
    hand.carry_out("a", Task::Gate, TaskResult::Healthy { notes: Vec::new() });
    assert_eq!(hand.tasks(), [("a".to_owned(), REMOVAL)]);
    // What was under way is read back.
    hand.begin("a", REMOVAL);
    hand.resume();
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Settle { step: 2 })]);
    hand.carry_out("a", Task::Settle { step: 2 }, TaskResult::NotDone);
    hand.carry_out("a", REMOVAL, done(absent()));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);

    let mut hand = removing(true);
    hand.change("a");
    for _ in 0..2 {
        hand.carry_out("a", Task::Gate, ill());
        hand.now += 3_600;
    }
    hand.carry_out("a", Task::Back { step: 1 }, done(absent()));
    hand.carry_out("a", Task::Back { step: 0 }, done(absent()));
    hand.look("a", &[1, 0]);
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::RolledBack)]);
}

#[test]
fn old_plans_remove_data_sources_before_the_gate() {
    let mut hand = removing(false);
    hand.change("a");
    hand.carry_out("a", REMOVAL, done(absent()));
    assert_eq!(hand.tasks(), [("a".to_owned(), Task::Gate)]);
}

#[test]
fn without_a_gate_a_data_source_is_removed_last() {
    let mut hand = removing(true);
    let mut bare = Plan::clone(&hand.engine.plan);
    bare.policy.health = Vec::new();
    hand.engine = Engine::new(Arc::new(bare));
    hand.write(Record::Started { by: "me".to_owned() });
    hand.change("a");
    hand.carry_out("a", REMOVAL, done(absent()));
    assert_eq!(hand.ask(), [EngineCommand::Finish(Ending::Done)]);
}
