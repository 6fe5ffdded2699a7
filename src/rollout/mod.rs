//! Rollouts: a plan of changes over a fleet, and how it is carried out wave by wave.
//!
//! *Invariant:* pure: state in, decisions out. Clock, network, disk and journal are passed in as data, so that ten thousand
//! rollouts can be tried in a moment, and a rollout that was killed goes on where its journal ends.
//! *Not for:* talking to a workspace, or choosing versions; a plan leaves no choice to whoever applies it.

pub mod engine;
pub mod gate;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod previous;
pub mod record;
pub mod waves;

pub use engine::{Engine, EngineCommand, EngineError, Rollback, StepOutcome, StepResult, WaveState, WaveStatus};
pub use gate::{DataSourceSeen, Gate, Observation, PluginSeen, Probe};
pub use plan::{
    Base, Blocked, Content, ContentItem, Plan, PlanError, PlanId, PlanSummary, PlannedChange, PlannedPackage,
    PlannedWorkspace, Step, Unmanaged, Warning, WavePlan,
};
pub use policy::{HealthCheck, OnFailure, ParseWaveError, Rollout, Wave};
pub use previous::PreviousState;
pub use record::{Cause, Ending, Fault, JournalEntry, Record, Task, TaskResult};
