//! A fake Grafana, its plugins, and a clean place to run the program in; for tests, the demo and benchmarks.
//!
//! *Invariant:* nothing here uses the library under test, leaves the loopback addresses, or outlives the value that stands for it.
//! *Not for:* talking to a real Grafana.
//!
//! Include it as `pub mod support;`, so that what one includer leaves out is not dead code there.

#![expect(clippy::missing_panics_doc, reason = "a test or demo whose surroundings cannot be set up ends there")]

pub mod fake_aws;
pub mod fake_grafana;
pub mod fake_plugin;
pub mod sandbox;
pub mod signing;
