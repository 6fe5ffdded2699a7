//! What was in a place before a step changed it, as the journal keeps it for a rollback.
//!
//! *Invariant:* the JSON is what every version wrote: `null` for nothing, a text for the version of a plugin, `true` for a
//! plugin in an unknown version, and an object for the document of a data source, or of a folder and its dashboards.
//! *Not for:* secrets: the code that makes a document leaves them out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Presence;

/// What was in a place before a step changed it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum PreviousState {
    /// A plugin, or nothing: the JSON does not tell the absence of content from the absence of a plugin.
    Plugin(Presence),
    /// Content, as the API of Grafana gave it: always an object.
    Content(Value),
}

/// The journal has something else in the place of a previous state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the previous state in the journal is neither null, a version, true, nor an object")]
pub struct ParsePreviousStateError;

impl Default for PreviousState {
    fn default() -> Self {
        Self::Plugin(Presence::Absent)
    }
}

impl PreviousState {
    /// Returns the presence of a plugin; `None` if it is the state of content.
    pub fn presence(&self) -> Option<&Presence> {
        match self {
            Self::Plugin(presence) => Some(presence),
            Self::Content(_) => None,
        }
    }

    /// Returns the document of content: `null` if there was none.
    pub fn document(&self) -> &Value {
        match self {
            Self::Plugin(_) => &Value::Null,
            Self::Content(document) => document,
        }
    }
}

impl From<Presence> for PreviousState {
    fn from(presence: Presence) -> Self {
        Self::Plugin(presence)
    }
}

impl TryFrom<Value> for PreviousState {
    type Error = ParsePreviousStateError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Bool(true) => Ok(Self::Plugin(Presence::Unknown)),
            Value::String(text) => text
                .parse()
                .map(|version| Self::Plugin(Presence::Version(version)))
                .map_err(|_| ParsePreviousStateError),
            Value::Object(_) => Ok(Self::Content(value)),
            Value::Bool(false) | Value::Number(_) | Value::Array(_) => Err(ParsePreviousStateError),
        }
    }
}

impl From<PreviousState> for Value {
    fn from(state: PreviousState) -> Self {
        match state {
            PreviousState::Plugin(Presence::Absent) => Self::Null,
            PreviousState::Plugin(Presence::Unknown) => Self::Bool(true),
            PreviousState::Plugin(Presence::Version(version)) => version.as_str().into(),
            PreviousState::Content(document) => document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{JournalEntry, Observation, Record, TaskResult};

    /// Entries as versions before 0.9 wrote them, when these places were raw JSON.
    const RESULTS: [&str; 11] = [
        r#"{"result":"done","before":null}"#,
        r#"{"result":"done","before":"1.2.3","note":"a note"}"#,
        r#"{"result":"done","before":"v1.2.3-beta+7"}"#,
        r#"{"result":"done","before":"nightly-build"}"#,
        r#"{"result":"done","before":true}"#,
        r#"{"result":"done","before":{"uid":"sql","version":3,"jsonData":{"z":1,"a":[1.5,null]}}}"#,
        r#"{"result":"done","before":{"folder":null,"dashboards":{"a.json":null,"b.json":{"dashboard":{"uid":"b"}}}}}"#,
        r#"{"result":"damaged","before":"1.0.0","left":null,"fault":{"cause":"refused","message":"no"}}"#,
        r#"{"result":"damaged","before":null,"left":true,"fault":{"cause":"other","message":"no","hint":"look"}}"#,
        r#"{"result":"ready","baseline":{"plugins":{},"data_sources":{},"commands":[]}}"#,
        r#"{"result":"ready","baseline":{"grafana":{"is":"well"},"plugins":{"a-panel":{"installed":true,"version":"1.0.0","error":null,"health":{"is":"ill","because":"so"}}},"data_sources":{"1/x":{"plugin":"a-panel","name":"X","health":{"is":"unsupported"},"smoke":null}},"commands":[{"is":"forbidden"}]},"notes":["saved"]}"#,
    ];

    #[test]
    fn entries_of_earlier_versions_are_read_and_written_byte_for_byte() {
        for result in RESULTS {
            let task =
                if result.contains("ready") { r#"{"task":"prepare"}"# } else { r#"{"task":"forward","step":1}"# };
            let text = format!(
                r#"{{"at":"2026-11-23T10:00:00.000Z","event":"ended","workspace":"prod","task":{task},"result":{result}}}"#
            );
            let entry: JournalEntry = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(serde_json::to_string(&entry).expect("JSON"), text);
        }
    }

    #[test]
    fn what_is_missing_is_nothing() {
        let text = r#"{"result":"damaged","fault":{"cause":"other","message":"no"}}"#;
        let TaskResult::Damaged { before, left, .. } = serde_json::from_str(text).expect("read") else { panic!() };
        assert_eq!((before, *left), (PreviousState::default(), PreviousState::default()));
        let TaskResult::Ready { baseline, notes } =
            serde_json::from_str(r#"{"result":"ready","baseline":{}}"#).expect("read")
        else {
            panic!()
        };
        assert_eq!((*baseline, notes), (Observation::default(), Vec::new()));
    }

    #[test]
    fn a_baseline_that_cannot_be_read_is_an_empty_one() {
        let text = r#"{"result":"ready","baseline":{"plugins":7}}"#;
        let TaskResult::Ready { baseline, .. } = serde_json::from_str(text).expect("read") else { panic!() };
        assert_eq!(*baseline, Observation::default());
    }

    #[test]
    fn other_json_is_refused() {
        for before in ["false", "1", "[]"] {
            let text = format!(
                r#"{{"at":"2026-11-23T10:00:00.000Z","event":"ended","workspace":"prod","task":{{"task":"gate"}},"result":{{"result":"done","before":{before}}}}}"#
            );
            assert!(serde_json::from_str::<JournalEntry>(&text).is_err(), "{before}");
        }
        let record = Record::Started { by: "me".to_owned() };
        assert_eq!(serde_json::to_string(&record).expect("JSON"), r#"{"event":"started","by":"me"}"#);
    }
}
