//! Data sources: creates, changes and removes them, and rolls that back.
//!
//! *Invariant:* a rollback resets the fields that the step changed, and no others; if somebody else changed one of them
//! meanwhile, nothing is reset. Secrets that were replaced or removed cannot be restored, and that is reported as a failure.

use serde_json::{Value, json};

use super::{ContentChange, ContentFault, Secrets};
use crate::fleet::{
    Grafana, WorkspaceError,
    grafana::{Changed, ThreeWay, has_secret, has_settings, is_as_it_was, secret_names, three_way},
};

/// A data source as a step makes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) uid: &'a str,
    pub(super) name: &'a str,
    pub(super) settings: &'a Value,
    pub(super) secrets: &'a [String],
    /// Whether secrets that it has already are not sent again.
    pub(super) keep_secrets: bool,
}

impl<'a> Wanted<'a> {
    /// Returns the names of the secrets that are sent to what is there.
    pub(super) fn sent(self, found: Option<&Value>) -> Vec<&'a str> {
        let is_kept = |name: &str| self.keep_secrets && found.is_some_and(|found| has_secret(found, name));
        self.secrets.iter().map(String::as_str).filter(|name| !is_kept(name)).collect()
    }

    fn has_all_secrets(self, found: &Value) -> bool {
        self.secrets.iter().all(|name| has_secret(found, name))
    }

    /// Returns the settings with the name.
    fn made(self) -> Value {
        let mut made = self.settings.clone();
        made["name"] = json!(self.name);
        made
    }
}

pub(super) async fn put(
    server: &Grafana,
    wanted: Wanted<'_>,
    secrets: Secrets<'_>,
) -> Result<ContentChange, ContentFault> {
    let Wanted { uid, name, settings, .. } = wanted;
    let found = server.data_source(uid, name).await?;
    let secrets = secrets.fetch(uid, &wanted.sent(found.as_ref())).await?;
    let changed = server.put_data_source((uid, name), settings, &secrets).await?;
    let note = (!secrets.is_empty()).then(|| "its secrets were set; they cannot be compared".to_owned());
    Ok(ContentChange { changed, note })
}

/// Returns whether a data source is as wanted, as far as that can be read: where secrets are sent whatever is there, it is not.
pub(super) async fn is_so(server: &Grafana, wanted: Wanted<'_>) -> Result<bool, WorkspaceError> {
    let Some(found) = server.data_source(wanted.uid, wanted.name).await? else { return Ok(false) };
    Ok(has_settings(&found, wanted.name, wanted.settings) && wanted.sent(Some(&found)).is_empty())
}

/// Returns whether a step took effect. Secrets cannot be read: if some were sent over others, another version than before has
/// to show that.
pub(super) async fn is_put(server: &Grafana, wanted: Wanted<'_>, before: &Value) -> Result<bool, WorkspaceError> {
    let Some(found) = server.data_source(wanted.uid, wanted.name).await? else { return Ok(false) };
    let sent = wanted.sent(Some(before).filter(|before| !before.is_null()));
    let is_unsaved = !sent.is_empty() && !before.is_null() && before.get("version") == found.get("version");
    Ok(has_settings(&found, wanted.name, wanted.settings) && wanted.has_all_secrets(&found) && !is_unsaved)
}

/// Rolls a change back: removes a new data source, resets what was changed of another.
pub(super) async fn roll_back(
    server: &Grafana,
    wanted: Wanted<'_>,
    before: &Value,
) -> Result<ContentChange, ContentFault> {
    let (source, made) = ((wanted.uid, wanted.name), wanted.made());
    let changed = if before.is_null() {
        server.remove_made_data_source(source, &made, wanted.secrets).await?
    } else {
        let unset: Vec<_> = wanted.sent(Some(before)).into_iter().filter(|name| !has_secret(before, name)).collect();
        server.reset_data_source(source, (before, &made), &unset).await?
    };
    refuse_lost(wanted, before)?;
    Ok(ContentChange { changed, note: None })
}

/// Fails if a step replaced secrets, which nobody can restore.
fn refuse_lost(wanted: Wanted<'_>, before: &Value) -> Result<(), ContentFault> {
    let lost: Vec<_> = wanted.sent(Some(before)).into_iter().filter(|name| has_secret(before, name)).collect();
    refuse_any(wanted.uid, lost)
}

fn refuse_any(uid: &str, lost: Vec<&str>) -> Result<(), ContentFault> {
    if lost.is_empty() {
        return Ok(());
    }
    let names = lost.into_iter().map(str::to_owned).collect();
    Err(ContentFault::SecretsLost { uid: uid.to_owned(), names })
}

/// Refuses to remove a data source with secrets, unless the manifest agrees to lose them.
pub(super) fn refuse_removal(uid: &str, found: &Value, lose_secrets: bool) -> Result<(), ContentFault> {
    let names: Vec<_> = secret_names(found).map(str::to_owned).collect();
    if names.is_empty() || lose_secrets {
        return Ok(());
    }
    Err(ContentFault::SecretsAtStake { uid: uid.to_owned(), names })
}

/// Returns what happens to the secrets of a data source that is changed.
pub(super) fn describe_secrets(wanted: Wanted<'_>, found: &Value) -> Option<String> {
    let (uid, sent) = (wanted.uid.escape_debug(), wanted.sent(Some(found)));
    if sent.iter().any(|name| has_secret(found, name)) {
        return Some(format!(
            "the secrets of data source `{uid}` are replaced; no rollback can restore the previous ones"
        ));
    }
    let is_kept = sent.len() < wanted.secrets.len();
    is_kept.then(|| format!("data source `{uid}` keeps the secrets that it has; `--resend-secrets` sends them again"))
}

/// Rolls a removal back. If the data source is there again, somebody else may have set its secrets.
pub(super) async fn restore(server: &Grafana, uid: &str, before: &Value) -> Result<ContentChange, ContentFault> {
    if before.is_null() {
        return Ok(ContentChange { changed: Changed::Unchanged, note: None });
    }
    let changed = server.restore_data_source(before).await?;
    refuse_missing(server, uid, before).await?;
    Ok(ContentChange { changed, note: None })
}

/// Fails if a restored data source lacks secrets that it had.
async fn refuse_missing(server: &Grafana, uid: &str, before: &Value) -> Result<(), ContentFault> {
    let found = server.data_source(uid, "").await?.unwrap_or_default();
    refuse_any(uid, secret_names(before).filter(|name| !has_secret(&found, name)).collect())
}

/// Returns whether a change was rolled back; an error if it was, and secrets are lost.
pub(super) async fn is_rolled_back(server: &Grafana, wanted: Wanted<'_>, before: &Value) -> Result<bool, ContentFault> {
    let former = before.get("name").and_then(Value::as_str).unwrap_or(wanted.name);
    let Some(found) = server.data_source(wanted.uid, former).await? else { return Ok(before.is_null()) };
    let is_unset = |name: &&str| has_secret(before, name) || !has_secret(&found, name);
    let is_back = !before.is_null()
        && three_way(before, &wanted.made(), &found) == ThreeWay::Same
        && wanted.sent(Some(before)).iter().all(is_unset);
    if is_back {
        refuse_lost(wanted, before)?;
    }
    Ok(is_back)
}

/// Returns whether a removal was rolled back; an error if it was, and secrets are lost.
pub(super) async fn is_restored(server: &Grafana, uid: &str, before: &Value) -> Result<bool, ContentFault> {
    let is_back = match server.data_source(uid, "").await? {
        None => before.is_null(),
        Some(found) => !before.is_null() && is_as_it_was(&found, before),
    };
    if is_back {
        refuse_missing(server, uid, before).await?;
    }
    Ok(is_back)
}
