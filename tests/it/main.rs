//! Tests of the program as a whole, against a fake Grafana: one binary, so that it is linked once.

mod architecture;
mod command_diff;
mod command_search;
mod command_show;
mod command_sync;
mod fake_grafana;
mod readme;
pub mod support;
mod sync_data;
mod sync_faults;
