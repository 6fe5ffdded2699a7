//! plugport mirrors the Grafana plugin catalog, answers questions about it offline, and rolls plugins out.

pub mod archive;
pub mod diagnostic;
pub mod json;
pub mod model;
