//! What the answers to questions of health mean for one check.
//!
//! *Invariant:* pure; a success that is not Grafana's is never taken for healthy.
//! *Not for:* asking; see `probes`.

use serde_json::Value;

use super::Grafana;
use crate::{diagnostic::printable, rollout::Probe};

/// The longest message of a workspace that is kept, in characters.
const SHOWN: usize = 300;
/// The reason for a success that is not Grafana's.
pub(super) const OTHER_PAGE: &str = "the answer is not Grafana's";

/// An answer, parsed as far as checks of health need it.
pub(super) enum HealthAnswer {
    /// JSON with this status.
    Json(u16, Value, Option<String>),
    /// We may not ask.
    Forbidden,
    /// The workspace, or a gateway in front of it, does not offer the question: a 4xx without JSON, a redirect or a web
    /// page.
    NotOffered(String),
    /// A success that is not Grafana's: a login page, or that of a proxy in front of a server that is down.
    OtherPage,
    /// No usable answer; or none at all.
    Nothing(String),
}

impl HealthAnswer {
    /// Returns the status, the document and the message; otherwise what the answer means for any check.
    pub(super) fn json(self) -> Result<(u16, Value, Option<String>), Probe> {
        match self {
            Self::Json(status, document, message) => Ok((status, document, message)),
            Self::Forbidden => Err(Probe::Forbidden),
            Self::NotOffered(why) => Err(Probe::NotOffered(why)),
            Self::OtherPage => Err(Probe::NoAnswer(OTHER_PAGE.to_owned())),
            Self::Nothing(why) => Err(Probe::NoAnswer(why)),
        }
    }
}

impl Grafana {
    /// Reads the answer of a health route: 503 in Grafana 9 and 400 in newer ones if it is unhealthy (protocol page 5.3).
    pub(super) fn health_probe(&self, answer: HealthAnswer) -> Probe {
        let (status, document, message) = match answer.json() {
            Ok(parts) => parts,
            Err(probe) => return probe,
        };
        let state = document.get("status").and_then(Value::as_str).unwrap_or_default();
        match status {
            200..=299 if state.eq_ignore_ascii_case("ok") => Probe::Healthy,
            200..=299 if state.is_empty() => Probe::NoAnswer("the answer has no status".to_owned()),
            404 => Probe::Unsupported,
            408 | 429 | 502 | 504 => Probe::NoAnswer(describe_status(status, message.as_deref())),
            200..=299 => {
                let message = document.get("message").and_then(Value::as_str).unwrap_or(state);
                Probe::Unhealthy(escaped(&self.site.mask(message, &[])))
            }
            _ => Probe::Unhealthy(message.as_deref().map_or_else(|| describe_status(status, None), escaped)),
        }
    }

    /// Reads the answer to a query: a result may have an error although the status is a success.
    pub(super) fn query_probe(&self, answer: HealthAnswer) -> Probe {
        let (status, document, message) = match answer.json() {
            Ok(parts) => parts,
            Err(probe) => return probe,
        };
        let results = document.get("results").and_then(Value::as_object);
        let error = results
            .into_iter()
            .flat_map(|results| results.values())
            .find_map(|result| result.get("error").and_then(Value::as_str).filter(|error| !error.is_empty()));
        match (error, status) {
            (Some(error), _) => Probe::Unhealthy(escaped(&self.site.mask(error, &[]))),
            (None, 200..=299) if results.is_some() => Probe::Healthy,
            (None, 200..=299) => Probe::Unhealthy("the answer has no results".to_owned()),
            (None, 408 | 429 | 502 | 504) => Probe::NoAnswer(describe_status(status, message.as_deref())),
            (None, _) => Probe::Unhealthy(describe_status(status, message.as_deref())),
        }
    }
}

pub(super) fn escaped(text: &str) -> String {
    printable(&text.chars().take(SHOWN).collect::<String>())
}

pub(super) fn describe_status(status: u16, message: Option<&str>) -> String {
    message.map_or_else(
        || format!("it answered {status}"),
        |message| format!("it answered {status}: {}", escaped(message)),
    )
}
