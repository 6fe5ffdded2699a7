//! Data sources (Data Source API).

use serde_json::{Map, Value, json};

use super::{Changed, ContentError, Goal, Request};
use crate::{
    fleet::{Grafana, WorkspaceError},
    model::Secret,
    net::Method,
};

/// What the server adds to a data source by itself, and does not take.
const OWN: [&str; 7] =
    ["accessControl", "apiVersion", "orgId", "readOnly", "secureJsonFields", "typeLogoUrl", "typeName"];

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
    /// the body of the API without secrets. Secrets cannot be compared: where some are given they are always sent.
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
        let hidden: Vec<_> = secrets.iter().map(|(_, secret)| secret.clone()).collect();
        let not = found.as_ref().and_then(version);
        let goal = Goal::DataSource { uid, name, body: &wanted, not };
        self.send_data_source(found.as_ref(), Value::Object(body), &hidden, goal).await
    }

    /// Puts a data source back as it was. Its secrets cannot be: those that it has now stay.
    pub async fn restore_data_source(&self, before: &Value) -> Result<Changed, ContentError> {
        let _only_one = self.changing.lock().await;
        let text = |key: &str| before.get(key).and_then(Value::as_str).unwrap_or_default();
        let (uid, name) = (text("uid"), text("name"));
        let found = self.data_source(uid, name).await?;
        let wanted = comparable(before);
        if found.as_ref().is_some_and(|found| is_as(found, &wanted)) {
            return Ok(Changed::Unchanged);
        }
        let mut body = wanted.as_object().cloned().unwrap_or_default();
        body.insert("uid".to_owned(), json!(uid));
        if let Some(found) = &found {
            body.extend(identity(found));
        }
        let goal = Goal::DataSource { uid, name, body: &wanted, not: None };
        self.send_data_source(found.as_ref(), Value::Object(body), &[], goal).await
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
        let id = number(found)?;
        // The form by number is there in every version that plugins can be installed on.
        let path = ["api", "datasources", &id];
        self.bring_about(Request { method: Method::PUT, path: &path, body, hidden }, goal).await?;
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
        let id = number(&found)?;
        let path = ["api", "datasources", &id];
        let request = Request { method: Method::DELETE, path: &path, body: Value::Null, hidden: &[] };
        self.bring_about(request, goal).await?;
        Ok(Changed::Done)
    }
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

/// Returns whether a data source has the settings that it is to have, without regard to secrets.
pub(crate) fn has_settings(found: &Value, name: &str, settings: &Value) -> bool {
    found.get("name").is_some_and(|found| found == name) && is_as(found, settings)
}

/// Returns whether a data source is as it was, without regard to secrets.
pub(crate) fn is_as_it_was(found: &Value, before: &Value) -> bool {
    is_as(found, &comparable(before)) && is_as(before, &comparable(found))
}

/// Returns what there is of a data source that can be sent and read back.
fn comparable(found: &Value) -> Value {
    let object = found.as_object().cloned().unwrap_or_default();
    let kept = object.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    Value::Object(kept.filter(|(key, _)| !["id", "uid", "version"].contains(&key.as_str())).collect())
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

/// Returns whether a data source has every setting that is given; in `jsonData` key by key.
pub(super) fn is_as(found: &Value, wanted: &Value) -> bool {
    let of = |key: &str| found.get(key).unwrap_or(&Value::Null);
    wanted.as_object().into_iter().flatten().all(|(key, value)| match (of(key), value) {
        (Value::Object(there), Value::Object(given)) => given.iter().all(|(key, value)| there.get(key) == Some(value)),
        // Servers leave out, or fill in, what is empty.
        (there, value) => there == value || is_empty(there) && is_empty(value),
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
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

    #[test]
    fn what_is_empty_is_as_good_as_left_out() {
        assert!(is_as(&json!({"url": ""}), &json!({"user": "", "basicAuth": false, "jsonData": {}})));
        assert!(!is_as(&json!({"url": ""}), &json!({"url": "x"})) && !is_as(&json!({}), &json!({"basicAuth": true})));
    }
}
