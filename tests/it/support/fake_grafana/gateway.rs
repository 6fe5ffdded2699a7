//! The gateway before a workspace of Amazon Managed Grafana: what is not on its list is refused in one line.
//!
//! *Invariant:* it does not look at credentials.

use super::http::{Answer, Request};

/// Refuses what is kept back; `listed` holds the beginnings of the paths that pass.
pub(super) fn refusal(listed: Option<&[&str]>, request: &Request) -> Option<Answer> {
    let path = request.path.as_str();
    let below = |start: &&str| path.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // Access control is off behind it: what is not read is not there.
    let absent = request.method != "GET" && path.starts_with("/api/access-control/");
    match listed {
        None => None,
        Some(_) if absent => Some(Answer::message(404, "Not found")),
        Some(listed) if listed.iter().any(below) && path != "/api/plugins/errors" => None,
        Some(_) => Some(Answer::bytes(400, "text/plain", *b"Bad Request: Not allowed.\n")),
    }
}
