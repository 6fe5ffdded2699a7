//! Rollouts: a plan of changes over a fleet, and how it is carried out wave by wave.
//!
//! *Invariant:* pure: state in, decisions out. Clock, network, disk and journal are passed in as data, so that ten thousand
//! rollouts can be tried in a moment, and a rollout that was killed continues where its journal ends.
//! *Not for:* talking to a workspace, or choosing versions; a plan leaves no choice to the code that applies it.

pub(crate) mod budget;
pub(crate) mod engine;
pub(crate) mod freeze;
pub(crate) mod gate;
pub(crate) mod plan;
pub(crate) mod planner;
pub(crate) mod policy;
pub(crate) mod previous;
pub(crate) mod record;
pub(crate) mod waves;

pub use budget::FailureBudget;
pub use engine::{Engine, EngineCommand, Hold, Rollback, StepResult};
pub(crate) use engine::{EngineError, WaveState, WaveStatus};
pub use freeze::{Freeze, FreezePeriod, TimeZoneName};
pub use gate::{DataSourceSeen, Gate, Observation, PluginSeen, Probe};
pub use plan::{
    Base, Content, ContentItem, Plan, PlanError, PlanId, PlanSummary, PlannedChange, PlannedWorkspace, WavePlan,
};
pub(crate) use plan::{Blocked, PlannedPackage, Step, Unmanaged, Warning};
pub use policy::{HealthCheck, OnFailure, Rollout};
pub(crate) use policy::{Wave, WaveMembers};
pub use previous::PreviousState;
pub use record::{Cause, Ending, Fault, JournalEntry, Record, Task, TaskResult};
