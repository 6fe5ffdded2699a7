//! plugport mirrors the Grafana plugin catalog, answers questions about it offline, and rolls plugins out.

pub mod archive;
pub mod cli;
pub mod diagnostic;
pub mod disk;
pub mod duration;
pub mod fleet;
pub mod home;
pub mod index;
pub mod json;
pub mod model;
pub mod net;
pub mod ops;
pub mod progress;
pub mod resolver;
pub mod signature;
pub mod store;
pub mod upstream;
pub mod verifier;
