//! A data source as it was, as we made it, and as it is now: what a rollback resets, and what somebody else changed.
//!
//! *Invariant:* pure; a field that we did not change is never reset, and one that somebody changed after us is never
//! overwritten.
//! *Not for:* secrets, which no server returns.

use serde_json::{Map, Value};

use super::fields::{comparable, is_empty};

/// What rolls a change of a data source back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ThreeWay {
    /// Nothing: what we changed is as it was.
    Same,
    /// The settings as they are now, with the fields that we changed as they were.
    Reset(Map<String, Value>),
    /// Somebody else changed these fields after us.
    Conflict(Vec<String>),
}

/// Returns what rolls the change from `before` to `made` back on a data source that is `now`. `made` has the fields that were
/// given; those of `jsonData` are compared one by one.
pub(crate) fn three_way(before: &Value, made: &Value, now: &Value) -> ThreeWay {
    let mut settings = comparable(now).as_object().cloned().unwrap_or_default();
    let (mut conflicts, mut is_same) = (Vec::new(), true);
    for (key, made) in made.as_object().into_iter().flatten() {
        let (before, now) = (&before[key], &now[key]);
        let Value::Object(given) = made else {
            match compare(before, made, now) {
                Field::Same => {}
                Field::Reset => {
                    is_same = false;
                    set(&mut settings, key, before);
                }
                Field::Conflict => conflicts.push(key.clone()),
            }
            continue;
        };
        let mut members = now.as_object().cloned().unwrap_or_default();
        for (member, made) in given {
            match compare(&before[member], made, &now[member]) {
                Field::Same => {}
                Field::Reset => {
                    is_same = false;
                    set(&mut members, member, &before[member]);
                }
                Field::Conflict => conflicts.push(format!("{key}.{member}")),
            }
        }
        settings.insert(key.clone(), Value::Object(members));
    }
    conflicts.sort_unstable();
    match (conflicts.is_empty(), is_same) {
        (false, _) => ThreeWay::Conflict(conflicts),
        (true, true) => ThreeWay::Same,
        (true, false) => ThreeWay::Reset(settings),
    }
}

/// Returns the fields that a data source of ours has besides those that we gave it: somebody else set them.
pub(crate) fn added_since(made: &Value, now: &Value) -> Vec<String> {
    let mut added = Vec::new();
    let settings = comparable(now);
    for (key, now) in settings.as_object().into_iter().flatten() {
        match (now, &made[key]) {
            (Value::Object(members), given) => {
                let is_added = |(member, value): &(&String, &Value)| given.get(member).is_none() && !is_empty(value);
                added.extend(members.iter().filter(is_added).map(|(member, _)| format!("{key}.{member}")));
            }
            (now, Value::Null) if !is_empty(now) && key != "access" => added.push(key.clone()),
            _ => {}
        }
    }
    added
}

enum Field {
    Same,
    Reset,
    Conflict,
}

fn compare(before: &Value, made: &Value, now: &Value) -> Field {
    let is_same = |one: &Value, other: &Value| one == other || is_empty(one) && is_empty(other);
    if is_same(before, made) || is_same(now, before) {
        Field::Same
    } else if is_same(now, made) {
        Field::Reset
    } else {
        Field::Conflict
    }
}

fn set(settings: &mut Map<String, Value>, key: &str, value: &Value) {
    if value.is_null() {
        settings.remove(key);
    } else {
        settings.insert(key.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_we_changed_is_reset_and_what_others_changed_stays() {
        let before = json!({"name": "S", "url": "old", "database": "d", "jsonData": {"a": 1, "b": 1}, "version": 3});
        let made = json!({"name": "S", "url": "new", "user": "u", "jsonData": {"a": 2, "c": 1}});
        let now = json!({"name": "S", "url": "new", "user": "u", "database": "theirs", "version": 9, "readOnly": false,
            "jsonData": {"a": 2, "b": 7, "c": 1, "d": 1}});
        let expected = json!({"name": "S", "url": "old", "database": "theirs", "jsonData": {"a": 1, "b": 7, "d": 1}});
        let ThreeWay::Reset(settings) = three_way(&before, &made, &now) else { panic!("something is reset") };
        assert_eq!(Value::Object(settings), expected);
        assert_eq!(three_way(&before, &made, &before), ThreeWay::Same);
    }

    #[test]
    fn a_field_that_somebody_changed_after_us_is_a_conflict() {
        let (before, made) = (json!({"url": "old", "jsonData": {"a": 1}}), json!({"url": "new", "jsonData": {"a": 2}}));
        let now = json!({"url": "theirs", "jsonData": {"a": 3}});
        assert_eq!(three_way(&before, &made, &now), ThreeWay::Conflict(vec!["jsonData.a".into(), "url".into()]));
        // What we left as it was is not ours, no matter who changes it.
        assert_eq!(three_way(&made, &made, &now), ThreeWay::Same);
    }

    #[test]
    fn what_others_add_to_a_data_source_of_ours_is_found() {
        let made = json!({"name": "S", "type": "t", "url": "u", "jsonData": {"a": 1}});
        let fresh = json!({"id": 1, "uid": "s", "name": "S", "type": "t", "access": "proxy", "url": "u", "database": "",
            "basicAuth": false, "isDefault": false, "jsonData": {"a": 1}, "version": 1, "typeName": "T"});
        assert_eq!(added_since(&made, &fresh), [""; 0]);
        let now = json!({"name": "S", "url": "u", "database": "d", "isDefault": true, "jsonData": {"a": 1, "b": 2}});
        assert_eq!(added_since(&made, &now), ["database", "isDefault", "jsonData.b"]);
    }
}
