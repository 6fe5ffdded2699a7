//! Data sources (Data Source API).

use serde_json::{Map, Value, json};

use super::{
    Changed, ContentError, Goal, Request,
    fields::{comparable, has_secret, is_as, secret_names},
    three_way::{ThreeWay, added_since, three_way},
};
use crate::{
    fleet::{Grafana, WorkspaceError},
    model::Secret,
    net::Method,
};

/// From so many characters on, a line of a secret with several is one itself.
const SECRET_LINE: usize = 12;

impl Grafana {
    /// Returns a data source: by its unique id, or on servers that do not know those, by its name.
    pub async fn data_source(&self, uid: &str, name: &str) -> Result<Option<Value>, WorkspaceError> {
        let what = "a data source";
        match self.found(what, &["api", "datasources", "uid", uid]).await? {
            Some(found) => return Ok(Some(found)),
            None if name.is_empty() => return Ok(None),
            None => {}
        }
        let found = self.found(what, &["api", "datasources", "name", name]).await?;
        // One with another unique id is another one.
        let is_it = |found: &Value| {
            found.get("uid").and_then(Value::as_str).is_none_or(|found| found.is_empty() || found == uid)
        };
        Ok(found.filter(is_it))
    }

    /// Makes a data source, or changes the settings that are given of the one that is there; the others stay. `settings` is
    /// the body of the API without secrets. Secrets cannot be compared: those that are given are always sent.
    pub async fn put_data_source(
        &self,
        (uid, name): (&str, &str),
        settings: &Value,
        secrets: &[(String, Secret)],
    ) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let mut wanted = settings.as_object().cloned().unwrap_or_default();
        wanted.insert("name".to_owned(), json!(name));
        let found = self.data_source(uid, name).await?;
        let (wanted, mut body) = (Value::Object(wanted.clone()), merged(found.as_ref(), wanted, uid));
        if found.as_ref().is_some_and(|found| secrets.is_empty() && is_as(found, &wanted)) {
            return Ok(Changed::Unchanged);
        }
        if !secrets.is_empty() {
            let exposed = secrets.iter().map(|(name, secret)| (name.clone(), json!(secret.expose())));
            body.insert("secureJsonData".to_owned(), Value::Object(exposed.collect()));
        }
        let hidden: Vec<_> = secrets.iter().flat_map(|(_, secret)| shown_forms(secret)).collect();
        let not = found.as_ref().and_then(version);
        let goal = Goal::DataSource { uid, name, body: &wanted, not };
        self.send_data_source(found.as_ref(), Value::Object(body), &hidden, goal).await
    }

    /// Restores a data source that was removed, without its secrets.
    pub async fn restore_data_source(&self, before: &Value) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let text = |key: &str| before.get(key).and_then(Value::as_str).unwrap_or_default();
        let (uid, name) = (text("uid"), text("name"));
        let wanted = comparable(before);
        match self.data_source(uid, name).await? {
            Some(found) if is_as(&found, &wanted) => return Ok(Changed::Unchanged),
            Some(_) => return Err(drifted(uid, &[])),
            None => {}
        }
        let mut body = wanted.as_object().cloned().unwrap_or_default();
        body.insert("uid".to_owned(), json!(uid));
        let goal = Goal::DataSource { uid, name, body: &wanted, not: None };
        self.send_data_source(None, Value::Object(body), &[], goal).await
    }

    /// Resets the fields in which `made` differs from `before`, and takes the secrets `unset` away; everything else stays.
    /// Sends nothing if somebody else changed one of these fields meanwhile.
    pub async fn reset_data_source(
        &self,
        (uid, name): (&str, &str),
        (before, made): (&Value, &Value),
        unset: &[&str],
    ) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let Some(found) = self.data_source(uid, name).await? else { return Err(drifted(uid, &[])) };
        let unset: Vec<_> = unset.iter().copied().filter(|name| has_secret(&found, name)).collect();
        let settings = match three_way(before, made, &found) {
            ThreeWay::Same if unset.is_empty() => return Ok(Changed::Unchanged),
            ThreeWay::Same => comparable(&found).as_object().cloned().unwrap_or_default(),
            ThreeWay::Reset(settings) => settings,
            ThreeWay::Conflict(fields) => return Err(drifted(uid, &fields)),
        };
        let mut body = settings.clone();
        body.insert("uid".to_owned(), json!(uid));
        body.extend(identity(&found));
        if !unset.is_empty() {
            let empty = unset.into_iter().map(|name| (name.to_owned(), json!("")));
            body.insert("secureJsonData".to_owned(), Value::Object(empty.collect()));
        }
        // It may bear its former name afterwards; then only its unique id finds it.
        let name = settings.get("name").and_then(Value::as_str).unwrap_or(name).to_owned();
        let goal = Goal::DataSource { uid, name: &name, body: &Value::Object(settings), not: version(&found) };
        self.send_data_source(Some(&found), Value::Object(body), &[], goal).await
    }

    /// Removes a data source that we made, unless somebody else changed it meanwhile.
    pub async fn remove_made_data_source(
        &self,
        (uid, name): (&str, &str),
        made: &Value,
        secrets: &[String],
    ) -> Result<Changed, ContentError> {
        let Some(found) = self.data_source(uid, name).await? else { return Ok(Changed::Unchanged) };
        let mut changed = match three_way(&Value::Null, made, &found) {
            ThreeWay::Conflict(fields) => fields,
            ThreeWay::Same | ThreeWay::Reset(_) if is_as(&found, made) => Vec::new(),
            ThreeWay::Same | ThreeWay::Reset(_) => return Err(drifted(uid, &[])),
        };
        changed.extend(added_since(made, &found));
        changed.extend(secret_names(&found).filter(|name| !secrets.iter().any(|ours| ours == name)).map(str::to_owned));
        if changed.is_empty() { self.delete_data_source(uid, name).await } else { Err(drifted(uid, &changed)) }
    }

    async fn send_data_source(
        &self,
        found: Option<&Value>,
        body: Value,
        hidden: &[Secret],
        goal: Goal<'_>,
    ) -> Result<Changed, ContentError> {
        let Some(found) = found else {
            let request = Request { method: Method::POST, path: &["api", "datasources"], body, hidden };
            self.bring_about(request, goal).await?;
            return Ok(Changed::Done);
        };
        if is_read_only(found) {
            return Err(ContentError::ReadOnly { what: goal.what() });
        }
        self.change_found(Method::PUT, found, (body, hidden), goal).await
    }

    /// Sends a change of a data source that is there: by its unique id, else by its number. Grafana 13 has no routes by number,
    /// and before 9 none by unique id changes anything.
    async fn change_found(
        &self,
        method: Method,
        found: &Value,
        (body, hidden): (Value, &[Secret]),
        goal: Goal<'_>,
    ) -> Result<Changed, ContentError> {
        let uid = found.get("uid").and_then(Value::as_str).filter(|uid| !uid.is_empty());
        if let Some(uid) = uid {
            let path = ["api", "datasources", "uid", uid];
            let request = Request { method: method.clone(), path: &path, body: body.clone(), hidden };
            match self.bring_about(request, goal).await {
                // There is no such route: nothing was changed.
                Err(ContentError::Refused { status: 404 | 405, .. }) if number(found).is_ok() => {}
                sent => return sent.map(|_| Changed::Done),
            }
        }
        let id = number(found)?;
        let path = ["api", "datasources", &id];
        self.bring_about(Request { method, path: &path, body, hidden }, goal).await?;
        Ok(Changed::Done)
    }

    /// Removes a data source; does nothing if there is none.
    pub async fn delete_data_source(&self, uid: &str, name: &str) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let goal = Goal::NoDataSource { uid, name };
        let Some(found) = self.data_source(uid, name).await? else { return Ok(Changed::Unchanged) };
        if is_read_only(&found) {
            return Err(ContentError::ReadOnly { what: goal.what() });
        }
        self.change_found(Method::DELETE, &found, (Value::Null, &[]), goal).await
    }
}

/// Returns what a server may repeat of a secret: all of it, as it is used instead JSON, and the lines of one with several.
fn shown_forms(secret: &Secret) -> Vec<Secret> {
    let text = secret.expose();
    let mut forms = vec![secret.clone()];
    let quoted = json!(text).to_string();
    if let Some(escaped) =
        quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).filter(|one| *one != text)
    {
        forms.push(Secret::new(escaped.to_owned()));
    }
    if text.contains('\n') {
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SECRET_LINE);
        forms.extend(lines.map(|line| Secret::new(line.to_owned())));
    }
    forms
}

fn drifted(uid: &str, fields: &[String]) -> ContentError {
    let source = format!("data source `{}`", uid.escape_debug());
    let names: Vec<_> = fields.iter().map(|field| format!("`{}`", field.escape_debug())).collect();
    ContentError::Drifted { what: if names.is_empty() { source } else { format!("{} of {source}", names.join(", ")) } }
}

fn number(found: &Value) -> Result<String, WorkspaceError> {
    let id = found.get("id").and_then(Value::as_i64);
    id.map(|id| id.to_string()).ok_or(WorkspaceError::Shape { what: "a data source", lacks: "id" })
}

fn version(found: &Value) -> Option<i64> {
    found.get("version").and_then(Value::as_i64)
}

fn is_read_only(found: &Value) -> bool {
    found.get("readOnly").and_then(Value::as_bool).unwrap_or_default()
}

/// Returns the identity of a data source and of this state of it.
fn identity(found: &Value) -> impl Iterator<Item = (String, Value)> {
    ["id", "uid", "version"].into_iter().filter_map(|key| Some((key.to_owned(), found.get(key)?.clone())))
}

/// Lays what is wanted over what is there; in `jsonData` key by key.
fn merged(found: Option<&Value>, wanted: Map<String, Value>, uid: &str) -> Map<String, Value> {
    let mut body = found.map(comparable).and_then(|found| found.as_object().cloned()).unwrap_or_default();
    for (key, value) in wanted {
        match (body.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(given)) => there.extend(given),
            (_, value) => drop(body.insert(key, value)),
        }
    }
    body.insert("uid".to_owned(), json!(uid));
    body.extend(found.into_iter().flat_map(identity));
    body
}

/// Returns whether a data source was saved since it had that version; `false` on servers without versions.
pub(super) fn is_newer(found: &Value, than: Option<i64>) -> bool {
    than.is_none_or(|than| version(found) != Some(than))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_laid_over_what_is_there() {
        let found = json!({"id": 7, "uid": "s", "version": 3, "name": "S", "type": "a", "url": "old", "readOnly": false,
            "jsonData": {"kept": 1, "changed": 1}, "secureJsonFields": {"password": true}});
        let wanted = json!({"name": "S", "url": "new", "jsonData": {"changed": 2}});
        let body = merged(Some(&found), wanted.as_object().cloned().expect("an object"), "s");
        let expected = json!({"id": 7, "uid": "s", "version": 3, "name": "S", "type": "a", "url": "new",
            "jsonData": {"kept": 1, "changed": 2}});
        assert_eq!(Value::Object(body.clone()), expected);
        assert!(is_as(&Value::Object(body), &wanted) && !is_as(&found, &wanted));
    }
}
