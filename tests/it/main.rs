//! Tests of the program as a whole, against a fake Grafana: one binary, so that it is linked once.

mod architecture;
mod fake_grafana;
mod readme;
pub mod support;
