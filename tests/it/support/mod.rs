//! A fake Grafana, its plugins, and a clean place to run the program in; for tests, the demo and benchmarks.
//!
//! *Invariant:* nothing here uses the library under test, leaves 127.0.0.1, or outlives the value that stands for it.
//! *Not for:* talking to a real Grafana.

pub mod fake_grafana;
pub mod fake_plugin;
pub mod sandbox;
