//! Whether an answer of a mirror is one that the client of it can use.

use serde_json::Value;

use super::Usable;
use crate::model::{PluginId, PluginVersion};

/// An answer of a mirror.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MirrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, or the start of it.
    pub body: Vec<u8>,
}

impl MirrorAnswer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the message of a refusal.
    fn message(&self) -> Option<String> {
        Some(self.json()?.get("message")?.as_str()?.chars().take(200).collect())
    }
}

/// Returns why a client cannot use an answer; `None` if it can.
pub(crate) fn check(answer: &MirrorAnswer, expected: Usable) -> Option<String> {
    if answer.status >= 500 || matches!(answer.status, 401 | 403) {
        return Some(refused(answer));
    }
    let is_absent = answer.status == 404;
    match expected {
        Usable::Anything => None,
        Usable::AbsentOrList(_) if is_absent => None,
        _ if !answer.is_success() => Some(refused(answer)),
        Usable::Package => (!answer.body.starts_with(b"PK")).then(|| "the answer is no zip".to_owned()),
        Usable::Image => answer.body.starts_with(b"{").then(|| "the answer is no image".to_owned()),
        Usable::Array => {
            (!answer.json().is_some_and(|found| found.is_array())).then(|| "the answer is no list".to_owned())
        }
        Usable::Object(field) => field_of(answer, field).err(),
        Usable::List(field) => match length(answer, field) {
            Ok(0) => Some(format!("`{field}` is empty")),
            Ok(_) => None,
            Err(why) => Some(why),
        },
        Usable::MaybeEmptyList(field) | Usable::AbsentOrList(field) => length(answer, field).err(),
    }
}

fn refused(answer: &MirrorAnswer) -> String {
    match answer.message() {
        Some(message) => format!("{}: {message}", answer.status),
        None => format!("the status is {}", answer.status),
    }
}

/// What a mirror offers of a plugin to a Grafana.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Offer {
    /// This version is the newest that works there.
    Version(PluginVersion),
    /// It has none that works there, or none at all.
    None(String),
}

/// Returns what a list of versions offers. `platform` is in Go's words, like `linux-amd64`.
pub(crate) fn offer(answer: &MirrorAnswer, platform: &str) -> Offer {
    let items = match answer.json() {
        Some(document) if answer.is_success() => {
            document.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        _ => return Offer::None(refused(answer)),
    };
    let is_compatible = |item: &&Value| item.get("isCompatible") != Some(&Value::Bool(false));
    let has_package = |item: &&Value| match item.get("packages").and_then(Value::as_object) {
        Some(packages) => packages.contains_key(platform) || packages.contains_key("any"),
        None => true,
    };
    let Some(item) = items.iter().filter(is_compatible).find(has_package) else {
        let any = items.iter().any(|item| is_compatible(&item));
        return Offer::None(if any {
            format!("no package for {platform}")
        } else {
            "no version that works there".to_owned()
        });
    };
    let version = item.get("version").and_then(|version| version.as_str()?.parse().ok());
    version.map_or_else(|| Offer::None("a version that cannot be read".to_owned()), Offer::Version)
}

/// Returns what a version of a plugin depends on, by its details.
pub(crate) fn dependencies(answer: &MirrorAnswer) -> Vec<PluginId> {
    let document = answer.json().unwrap_or_default();
    let list = document.pointer("/json/dependencies/plugins").and_then(Value::as_array);
    let id = |dependency: &Value| dependency.get("id")?.as_str()?.parse().ok();
    list.into_iter().flatten().filter_map(id).collect()
}

/// Returns the plugins of a list.
pub(crate) fn plugins(answer: &MirrorAnswer) -> Vec<PluginId> {
    let document = answer.json().unwrap_or_default();
    let items = document.get("items").and_then(Value::as_array);
    items.into_iter().flatten().filter_map(|item| item.get("slug")?.as_str()?.parse().ok()).collect()
}

/// Returns the path of the first screenshot that the details of a plugin name.
pub(crate) fn screenshot(answer: &MirrorAnswer) -> Option<String> {
    let path = answer.json()?.pointer("/json/info/screenshots/0/path")?.as_str()?.to_owned();
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "..")) && !path.contains(['?', '#', '%', '\\', ' ']);
    is_plain.then_some(path)
}

fn field_of(answer: &MirrorAnswer, field: &str) -> Result<Value, String> {
    let document = answer.json().ok_or("the answer is no JSON")?;
    document.get(field).cloned().ok_or_else(|| format!("the answer has no `{field}`"))
}

fn length(answer: &MirrorAnswer, field: &str) -> Result<usize, String> {
    let list = field_of(answer, field)?;
    list.as_array().map(Vec::len).ok_or_else(|| format!("`{field}` of the answer is no list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> MirrorAnswer {
        MirrorAnswer { status, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn an_answer_is_right_if_its_client_can_use_it() {
        let fits = |status: u16, body: &str, expected| check(&answer(status, body), expected).is_none();
        assert!(
            fits(200, r#"{"items":[1]}"#, Usable::List("items"))
                && !fits(200, r#"{"items":[]}"#, Usable::List("items"))
        );
        assert!(
            fits(200, r#"{"items":[]}"#, Usable::MaybeEmptyList("items"))
                && !fits(200, "<html>", Usable::List("items"))
        );
        assert!(fits(404, "{}", Usable::Anything) && !fits(502, "{}", Usable::Anything));
        assert!(!fits(401, "{}", Usable::Anything), "Grafana sends no token");
        // A 200 without the list breaks the page; "not found" does not (protocol page 13.1, C3).
        assert!(
            fits(404, "{}", Usable::AbsentOrList("insights")) && !fits(200, "{}", Usable::AbsentOrList("insights"))
        );
        assert!(fits(206, "PK\u{3}\u{4}", Usable::Package) && !fits(200, "{}", Usable::Package));
        assert!(fits(200, "<svg/>", Usable::Image) && !fits(404, "{}", Usable::Image));
        assert!(fits(200, "[]", Usable::Array) && !fits(200, "{}", Usable::Array));
    }

    #[test]
    fn an_offer_works_on_the_server_and_its_platform() {
        let offered = |items: &str| offer(&answer(200, &format!(r#"{{"items":[{items}]}}"#)), "linux-amd64");
        let new = r#"{"version":"2.0.0","isCompatible":false,"packages":{"any":{}}}"#;
        let arm = r#"{"version":"1.1.0","isCompatible":true,"packages":{"linux-arm64":{}}}"#;
        let fits = r#"{"version":"1.0.0","isCompatible":true,"packages":{"linux-amd64":{}}}"#;
        assert_eq!(offered(&[new, arm, fits].join(",")), Offer::Version("1.0.0".parse().expect("a version")));
        assert_eq!(offered(&[new, arm].join(",")), Offer::None("no package for linux-amd64".to_owned()));
        assert_eq!(offered(new), Offer::None("no version that works there".to_owned()));
        let refused = offer(&answer(404, r#"{"code":"NotFound","message":"no such plugin"}"#), "linux-amd64");
        assert_eq!(refused, Offer::None("404: no such plugin".to_owned()));
    }

    #[test]
    fn a_screenshot_is_a_path_that_needs_no_encoding() {
        let path = |path: &str| {
            let document = serde_json::json!({ "json": { "info": { "screenshots": [{ "path": path }] } } });
            screenshot(&answer(200, &document.to_string()))
        };
        assert_eq!(path("img/shot.png").as_deref(), Some("img/shot.png"));
        assert_eq!([path("../plugin.json"), path("/etc/passwd"), path("a?b")], [None, None, None]);
    }
}
