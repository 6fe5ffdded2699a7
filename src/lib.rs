//! plugport mirrors the Grafana plugin catalog, answers questions about it offline, and rolls plugins out.

pub mod diagnostic;
pub mod duration;
pub mod fleet;
pub mod json;
pub mod model;
pub mod net;
