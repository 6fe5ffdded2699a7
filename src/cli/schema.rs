//! `plugport schema`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Report;
use crate::{fleet::manifest::manifest_schema, lockfile::lock_schema};

/// Print the JSON Schema of the manifest or of the lock
///
/// Draft 2020-12. Editors that check TOML by a schema read it from a file: a first line `#:schema ./plugport.schema.json`
/// in the manifest names it to some of them.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Of which file
    #[arg(value_enum, default_value = "manifest")]
    file: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// `plugport.toml`
    Manifest,
    /// `plugport.lock`
    Lock,
}

impl Arguments {
    pub(super) fn run(&self) -> Report {
        let schema = match self.file {
            Subject::Manifest => manifest_schema(),
            Subject::Lock => lock_schema(),
        };
        Report { text: format!("{schema:#}\n"), document: json!({ "schema": schema }), ..Report::default() }
    }
}
