//! plugport mirrors the Grafana plugin catalog, answers questions about it offline, and rolls plugins out.

pub mod diagnostic;
pub mod index;
pub mod json;
pub mod model;
