//! Tests of the program as a whole, against a fake Grafana: one binary, so that it is linked once.
#![expect(clippy::print_stdout, reason = "a test that cannot run says so")]
#![expect(clippy::disallowed_methods, reason = "tests write and damage files as others would")]

mod architecture;
mod attacks;
mod command_accept;
mod command_adopt;
mod command_apply;
mod command_check;
mod command_diff;
#[cfg(feature = "aws")]
mod command_discover;
mod command_doctor;
mod command_export;
mod command_fetch;
mod command_install;
mod command_lock;
mod command_plan;
mod command_rollout;
mod command_schema;
mod command_search;
mod command_show;
mod command_signatures;
mod command_sync;
mod command_usage;
mod command_verify;
mod command_why;
mod command_workspaces;
mod content;
mod dashboards;
mod docs;
mod faces;
mod fake_grafana;
mod fake_grafana_faces;
mod fake_grafana_installs;
mod fetch_faults;
mod fleet;
mod fleet_probes;
mod folder_faults;
mod index_damage;
mod install_faults;
mod late_effects;
mod mirror;
mod old_files;
mod others_data_sources;
mod others_files;
mod others_nested;
mod provisioning;
mod readme;
mod rollout_guards;
mod secrets;
mod signatures;
pub mod support;
mod sync_data;
mod sync_faults;
mod terminal;
mod world;
