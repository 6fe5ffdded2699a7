//! Data sources: made, changed, removed, and taken back.
//!
//! *Invariant:* one that is neither as we left it nor as it was belongs to somebody else, and is left alone.

use serde_json::Value;

use super::{Came, ContentFault};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        grafana::{Changed, ContentError, has_settings, is_as_it_was},
    },
    model::Secret,
};

/// What is told of secrets, which no server gives out.
const SECRETS_STAY: &str =
    "the former secrets of the data source cannot be put back, since no server gives them out: it has the new ones";
const SECRETS_LOST: &str =
    "the data source is there again without its secrets, since no server gives them out: set them anew";

pub(super) async fn put(
    server: &Grafana,
    source: (&str, &str),
    settings: &Value,
    secrets: &[(String, Secret)],
) -> Result<Came, ContentFault> {
    let changed = server.put_data_source(source, settings, secrets).await?;
    let note = (!secrets.is_empty()).then(|| "its secrets were set; they cannot be compared".to_owned());
    Ok(Came { changed, note })
}

/// Returns whether a data source is as it is to be. Secrets cannot be read: where some were sent, a version that is not the
/// former one has to show that.
pub(super) async fn is_put(
    server: &Grafana,
    (uid, name): (&str, &str),
    settings: &Value,
    before: Option<&Value>,
) -> Result<bool, WorkspaceError> {
    let Some(found) = server.data_source(uid, name).await? else { return Ok(false) };
    let is_unsaved = before.is_some_and(|before| !before.is_null() && before.get("version") == found.get("version"));
    Ok(has_settings(&found, name, settings) && !is_unsaved)
}

/// Takes a change back: what was not there goes, what was changed is restored.
pub(super) async fn take_back(
    server: &Grafana,
    (uid, name): (&str, &str),
    settings: &Value,
    before: &Value,
    had_secrets: bool,
) -> Result<Came, ContentFault> {
    let unchanged = Came { changed: Changed::Unchanged, note: None };
    let drifted = || ContentError::Drifted { what: format!("data source `{uid}`") };
    match server.data_source(uid, name).await? {
        None if before.is_null() => Ok(unchanged),
        None => Err(drifted().into()),
        Some(found) if !before.is_null() && is_as_it_was(&found, before) => Ok(Came {
            note: had_secrets.then(|| SECRETS_STAY.to_owned()),
            changed: if had_secrets { Changed::Done } else { Changed::Unchanged },
        }),
        Some(found) if !has_settings(&found, name, settings) => Err(drifted().into()),
        Some(_) if before.is_null() => Ok(Came { changed: server.delete_data_source(uid, name).await?, note: None }),
        Some(_) => {
            let changed = server.restore_data_source(before).await?;
            Ok(Came { changed, note: had_secrets.then(|| SECRETS_STAY.to_owned()) })
        }
    }
}

/// Takes a removal back.
pub(super) async fn bring_back(server: &Grafana, uid: &str, before: &Value) -> Result<Came, ContentFault> {
    let unchanged = Came { changed: Changed::Unchanged, note: None };
    match server.data_source(uid, "").await? {
        Some(found) if !before.is_null() && !is_as_it_was(&found, before) => {
            Err(ContentError::Drifted { what: format!("data source `{uid}`") }.into())
        }
        None if !before.is_null() => {
            let secrets = before.get("secureJsonFields").and_then(Value::as_object);
            let note = secrets.is_some_and(|secrets| !secrets.is_empty()).then(|| SECRETS_LOST.to_owned());
            Ok(Came { changed: server.restore_data_source(before).await?, note })
        }
        _ => Ok(unchanged),
    }
}

/// Returns whether a data source is as it was.
pub(super) async fn is_back(server: &Grafana, uid: &str, before: &Value) -> Result<bool, WorkspaceError> {
    let name = before.get("name").and_then(Value::as_str).unwrap_or_default();
    let found = server.data_source(uid, name).await?;
    Ok(found.map_or(before.is_null(), |found| !before.is_null() && is_as_it_was(&found, before)))
}
