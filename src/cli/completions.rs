//! `plugport completions` and `plugport man`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::{Failure, Report, Text};
use crate::diagnostic::Kind;

/// Print the completion script for a shell
///
/// Write it where the shell looks for completions: for bash a file `plugport` in
/// `~/.local/share/bash-completion/completions`, for zsh a file `_plugport` in a folder of `$fpath`, for fish
/// `~/.config/fish/completions/plugport.fish`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell that runs the script
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(&self) -> Report {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "plugport", &mut script);
        let text = String::from_utf8_lossy(&script).into_owned();
        Report { document: json!({ "script": text }), text: Text::verbatim(text), ..Report::default() }
    }
}

/// Print the manual page
///
/// Write it to `~/.local/share/man/man1/plugport.1`, then `man plugport` shows it.
#[derive(Args, Debug)]
pub(super) struct ManArgs {}

impl ManArgs {
    #[expect(clippy::unused_self, reason = "every command is called the same way")]
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::Cli::command()).render(&mut page).map_err(|source| Failure {
            kind: Kind::Failed,
            message: format!("the manual page cannot be written: {source}"),
            hint: None,
        })?;
        let text = String::from_utf8_lossy(&page).into_owned();
        Ok(Report { document: json!({ "page": text }), text: Text::verbatim(text), ..Report::default() })
    }
}
