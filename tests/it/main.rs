//! Tests of the program as a whole, against a fake Grafana: one binary, so that it is linked once.

mod command_fetch;
mod command_install;
mod command_verify;
mod command_workspaces;
mod fake_grafana;
mod fetch_faults;
mod install_faults;
mod secrets;
pub mod support;
mod world;
