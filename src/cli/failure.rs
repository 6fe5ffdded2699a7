//! Failures as the user meets them: one line, a hint, and an exit code.

use std::error::Error;

use serde_json::json;

use crate::diagnostic::{Chain, Diagnose, Kind};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl<E: Diagnose> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { kind: error.kind(), hint: error.hint(), message: Chain(&error as &dyn Error).to_string() }
    }
}

impl Failure {
    /// Returns a usage error.
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into(), hint: Some(hint.into()) }
    }

    /// Returns the failure as the document that `--json` prints.
    pub(super) fn document(&self) -> serde_json::Value {
        json!({ "error": { "kind": kind_name(self.kind), "message": self.message, "hint": self.hint } })
    }
}

/// Returns the exit code of a kind: the table of the README.
pub(super) fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::Findings => 3,
        Kind::Integrity => 4,
        Kind::Network => 5,
        Kind::Storage => 6,
        Kind::Locked => 7,
        Kind::Partly => 8,
        Kind::Unknown => 9,
    }
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Usage => "usage",
        Kind::Findings => "findings",
        Kind::Integrity => "integrity",
        Kind::Network => "network",
        Kind::Storage => "storage",
        Kind::Locked => "locked",
        Kind::Partly => "partly",
        Kind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_of_the_contract() {
        let kinds = [
            Kind::Failed,
            Kind::Usage,
            Kind::Findings,
            Kind::Integrity,
            Kind::Network,
            Kind::Storage,
            Kind::Locked,
            Kind::Partly,
            Kind::Unknown,
        ];
        assert_eq!(kinds.map(exit_code), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
