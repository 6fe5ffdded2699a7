//! Data sources: creates, changes and removes them, and rolls that back.
//!
//! *Invariant:* a data source that is neither as we left it nor as it was before was changed by somebody else, and is left
//! alone.

use serde_json::Value;

use super::{ContentChange, ContentFault};
use crate::{
    fleet::{
        Grafana, WorkspaceError,
        grafana::{Changed, ContentError, has_settings, is_as_it_was},
    },
    model::Secret,
};

/// Notes about secrets, which no server returns.
const SECRETS_STAY: &str =
    "the previous secrets of the data source cannot be restored, since no server returns them: it has the new ones";
const SECRETS_LOST: &str =
    "the data source was restored without its secrets, since no server returns them: set them again";

pub(super) async fn put(
    server: &Grafana,
    source: (&str, &str),
    settings: &Value,
    secrets: &[(String, Secret)],
) -> Result<ContentChange, ContentFault> {
    let changed = server.put_data_source(source, settings, secrets).await?;
    let note = (!secrets.is_empty()).then(|| "its secrets were set; they cannot be compared".to_owned());
    Ok(ContentChange { changed, note })
}

/// Returns whether a data source is as wanted. Secrets cannot be read: if some were sent, another version than before has to
/// show that.
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

/// Rolls a change back: removes a new data source, restores a changed one.
pub(super) async fn roll_back(
    server: &Grafana,
    (uid, name): (&str, &str),
    settings: &Value,
    before: &Value,
    had_secrets: bool,
) -> Result<ContentChange, ContentFault> {
    let unchanged = ContentChange { changed: Changed::Unchanged, note: None };
    let drifted = || ContentError::Drifted { what: format!("data source `{uid}`") };
    match server.data_source(uid, name).await? {
        None if before.is_null() => Ok(unchanged),
        None => Err(drifted().into()),
        Some(found) if !before.is_null() && is_as_it_was(&found, before) => Ok(ContentChange {
            note: had_secrets.then(|| SECRETS_STAY.to_owned()),
            changed: if had_secrets { Changed::Done } else { Changed::Unchanged },
        }),
        Some(found) if !has_settings(&found, name, settings) => Err(drifted().into()),
        Some(_) if before.is_null() => {
            Ok(ContentChange { changed: server.delete_data_source(uid, name).await?, note: None })
        }
        Some(_) => {
            let changed = server.restore_data_source(before).await?;
            Ok(ContentChange { changed, note: had_secrets.then(|| SECRETS_STAY.to_owned()) })
        }
    }
}

/// Rolls a removal back.
pub(super) async fn restore(server: &Grafana, uid: &str, before: &Value) -> Result<ContentChange, ContentFault> {
    let unchanged = ContentChange { changed: Changed::Unchanged, note: None };
    match server.data_source(uid, "").await? {
        Some(found) if !before.is_null() && !is_as_it_was(&found, before) => {
            Err(ContentError::Drifted { what: format!("data source `{uid}`") }.into())
        }
        None if !before.is_null() => {
            let secrets = before.get("secureJsonFields").and_then(Value::as_object);
            let note = secrets.is_some_and(|secrets| !secrets.is_empty()).then(|| SECRETS_LOST.to_owned());
            Ok(ContentChange { changed: server.restore_data_source(before).await?, note })
        }
        _ => Ok(unchanged),
    }
}

/// Returns whether a data source is as it was.
pub(super) async fn is_rolled_back(server: &Grafana, uid: &str, before: &Value) -> Result<bool, WorkspaceError> {
    let name = before.get("name").and_then(Value::as_str).unwrap_or_default();
    let found = server.data_source(uid, name).await?;
    Ok(found.map_or(before.is_null(), |found| !before.is_null() && is_as_it_was(&found, before)))
}
