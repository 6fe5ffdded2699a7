//! Asking before something is changed.
//!
//! *Invariant:* only `yes` confirms; nobody is asked where there is no terminal, or where the answer was given before.
//! *Not for:* deciding whether a command must be confirmed.

use super::{Failure, Session, Text};
use crate::{blocking::run_blocking, diagnostic::Kind};

/// Shows what is to be done on stderr and asks; an answer other than `yes` is a failure.
pub(super) async fn ask(session: &Session, shown: &Text, question: &str) -> Result<(), Failure> {
    let (ui, question) = (session.ui, format!("{question} Only `yes` does: "));
    ui.show(shown);
    let answer = run_blocking(move || ui.ask(&question)).await;
    if answer.trim() == "yes" {
        return Ok(());
    }
    let message = "it was not confirmed, and nothing was changed".to_owned();
    Err(Failure { kind: Kind::Failed, message, hint: Some("answer `yes`, or use `--yes`".to_owned()) })
}
