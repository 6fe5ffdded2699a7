//! Tests of the program as a whole, against a fake Grafana: one binary, so that it is linked once.

mod fake_grafana;
mod signatures;
pub mod support;
