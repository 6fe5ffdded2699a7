//! Which version is right: the newest that is requested and works, and why no other. Pure.
//!
//! [`choose()`] looks at one plugin alone; [`solve()`] at plugins with all their dependencies; [`settle()`] finds out which
//! wishes can be fulfilled together; [`deviations`] predicts what a Grafana server does with a dependency.
//!
//! *Invariant:* the answer depends only on the arguments. Withdrawn and deleted versions are never chosen, unless
//! they are locked; prereleases only if they are requested or nothing else works.
//! *Not for:* reading catalogs: a [`Provider`] does that.

mod candidate;
mod choose;
mod derivation;
mod explanation;
mod grafana;
mod problem;
mod refusal;
mod server;
mod settle;
mod solve;
#[cfg(test)]
mod tests;
mod universe;
mod version_indices;

#[cfg(test)]
use self::tests::catalog as test_catalogs;
pub use self::{
    candidate::{Candidate, Surroundings},
    problem::{Problem, Provider},
    solve::{SolveOutcome, solve},
};
pub(crate) use self::{
    candidate::{refusals, works_with},
    choose::{choose, newest},
    explanation::{Explanation, Fact, FactKind},
    grafana::{ANGULAR_REMOVED_IN, AngularSupport, dependents_first, overwrites_dependencies},
    problem::{PresentPlugin, SignatureRule},
    refusal::{NoVersion, Refusal},
    server::{ServerChoice, ServerDeviation, deviations, installed_with_dependents, is_installed},
    settle::{Settled, UnsignedFallback, WishRefusal, settle},
    solve::{RequiredBy, Resolved, Solution},
};
