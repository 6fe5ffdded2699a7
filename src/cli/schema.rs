//! `plugport schema`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Report, Text};
use crate::{fleet::manifest::manifest_schema, lockfile::lock_schema};

/// Print the JSON Schema of the manifest or of the lock
///
/// It is of draft 2020-12. Editors that check TOML read the schema from a file; some find it by a first line
/// `#:schema ./plugport.schema.json` in the manifest.
#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    /// The file that the schema describes
    #[arg(value_enum, default_value = "manifest")]
    file: SchemaName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaName {
    /// `plugport.toml`
    Manifest,
    /// `plugport.lock`
    Lock,
}

impl SchemaArgs {
    pub(super) fn run(&self) -> Report {
        let schema = match self.file {
            SchemaName::Manifest => manifest_schema(),
            SchemaName::Lock => lock_schema(),
        };
        Report {
            text: Text::verbatim(format!("{schema:#}\n")),
            document: json!({ "schema": schema }),
            ..Report::default()
        }
    }
}
