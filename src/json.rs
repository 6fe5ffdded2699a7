//! JSON from untrusted sources: bounded in size and depth, without duplicate keys.
//!
//! *Invariant:* what [`parse`] returns has one meaning. `serde_json` alone takes the last of two equal keys, Go takes the
//! last regardless of case, and a reader that differs from Grafana's sees another document than Grafana does.
//! *Not for:* our own files and rows, which `serde` reads into types directly.

use std::{collections::HashSet, fmt, str};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

/// How large and how deep a document may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The greatest length in bytes.
    pub bytes: usize,
    /// The greatest number of objects and lists around a value.
    pub depth: usize,
}

impl Limits {
    /// A whole catalog answer, decoded: 64 MiB.
    pub const CATALOG: Self = Self { bytes: 64 << 20, depth: 64 };
    /// One item of a catalog, or a plugin.json: 1 MiB.
    pub const ITEM: Self = Self { bytes: 1 << 20, depth: 64 };
}

/// How many members or elements [`members`] and [`elements`] take apart: 64 MiB of `0,0,0` would become gigabytes.
pub(crate) const MAX_ITEMS: usize = 200_000;

/// When two keys of an object are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyComparison {
    /// When they are equal.
    Exact,
    /// When they differ in nothing but case: Go's decoder, and so Grafana, takes such keys for one.
    Folded,
}

/// A document was refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is longer than it may be.
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// It is deeper than it may be.
    #[error("it is nested deeper than {0} levels")]
    TooDeep(usize),
    /// An object or a list of it has more members than it may have.
    #[error("it has a list or an object of more than {0} items")]
    TooMany(usize),
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is a web page, which is what login pages and proxies send in place of an answer.
    #[error("it is a web page, not JSON")]
    Html,
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// It is not JSON, or a key is there twice.
    #[error("it is not valid JSON")]
    Syntax(#[source] serde_json::Error),
}

/// Returns a document without the byte order mark that some editors and servers put before it. JSON forbids it (RFC 8259,
/// 8.1), and Grafana refuses a plugin.json with one, so only documents of sources are read like this.
pub(crate) fn without_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document)
}

/// Returns the text of a document after checking its size, its encoding and its depth.
pub(crate) fn check(document: &[u8], limits: Limits) -> Result<&str, JsonError> {
    if document.len() > limits.bytes {
        return Err(JsonError::TooLong(limits.bytes));
    }
    let text = str::from_utf8(document).map_err(|_| JsonError::Encoding)?;
    match text.trim_start().as_bytes().first() {
        None => return Err(JsonError::Empty),
        Some(b'<') => return Err(JsonError::Html),
        Some(_) => {}
    }
    if deeper_than(document, limits.depth) {
        return Err(JsonError::TooDeep(limits.depth));
    }
    Ok(text)
}

/// Returns the value of a document in which no object has two keys that are the same.
pub fn parse(document: &[u8], limits: Limits, keys: KeyComparison) -> Result<Value, JsonError> {
    let text = check(document, limits)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict(keys).deserialize(&mut deserializer).map_err(JsonError::Syntax)?;
    deserializer.end().map_err(JsonError::Syntax)?;
    Ok(value)
}

/// Returns the members of an object, at most [`MAX_ITEMS`], each value as its text, so that one bad value spoils no
/// other.
pub(crate) fn members(text: &str) -> Result<Vec<(String, &RawValue)>, JsonError> {
    let ObjectMembers(members) = serde_json::from_str(text).map_err(JsonError::Syntax)?;
    bounded(members)
}

/// Returns the elements of a list, at most [`MAX_ITEMS`], each as its text.
pub(crate) fn elements(text: &str) -> Result<Vec<&RawValue>, JsonError> {
    let Elements(elements) = serde_json::from_str(text).map_err(JsonError::Syntax)?;
    bounded(elements)
}

/// Refuses what was read one beyond the limit to show that there is more.
fn bounded<T>(items: Vec<T>) -> Result<Vec<T>, JsonError> {
    if items.len() > MAX_ITEMS { Err(JsonError::TooMany(MAX_ITEMS)) } else { Ok(items) }
}

/// Returns the last text that each of some members of an object has; keeps nothing else of it, however large it is.
pub(crate) fn texts<const COUNT: usize>(text: &str, keys: [&str; COUNT]) -> Result<[Option<String>; COUNT], JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = TextVisitor(keys).deserialize(&mut deserializer).map_err(JsonError::Syntax)?;
    deserializer.end().map_err(JsonError::Syntax)?;
    Ok(found)
}

/// Returns a field whatever the case of its key, as Go's decoder does, and so Grafana.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| is_called(key, name)).map(|(_, value)| value))
}

/// Compares a key with an ASCII name as Go does (`foldName` of `encoding/json`): two letters beyond ASCII fold into it,
/// and no others.
fn is_called(key: &str, name: &str) -> bool {
    let fold = |letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

struct ObjectMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = ObjectMembers<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ObjectMembers<'de>, A::Error> {
                let (mut members, mut seen) = (Vec::new(), HashSet::new());
                while members.len() <= MAX_ITEMS
                    && let Some(key) = access.next_key::<String>()?
                {
                    if !seen.insert(key.clone()) {
                        return Err(repeated_key(&key));
                    }
                    members.push((key, access.next_value()?));
                }
                while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ObjectMembers(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= MAX_ITEMS
                    && let Some(element) = access.next_element()?
                {
                    elements.push(element);
                }
                while access.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(ListVisitor)
    }
}

struct TextVisitor<'k, const COUNT: usize>([&'k str; COUNT]);

impl<'de, const COUNT: usize> DeserializeSeed<'de> for TextVisitor<'_, COUNT> {
    type Value = [Option<String>; COUNT];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const COUNT: usize> Visitor<'de> for TextVisitor<'_, COUNT> {
    type Value = [Option<String>; COUNT];

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; COUNT];
        while let Some(key) = access.next_key::<String>()? {
            let value: &RawValue = access.next_value()?;
            if let Some(index) = self.0.iter().position(|wanted| *wanted == key) {
                found[index] = serde_json::from_str(value.get()).ok();
            }
        }
        Ok(found)
    }
}

fn repeated_key<E: serde::de::Error>(key: &str) -> E {
    E::custom(format_args!("duplicate key `{}`", key.escape_debug()))
}

/// Scans without recursion, so that no depth can overflow the stack.
fn deeper_than(document: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[derive(Clone, Copy)]
struct Strict(KeyComparison);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut folded = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            let repeated = match self.0 {
                KeyComparison::Exact => map.contains_key(&key),
                KeyComparison::Folded => !folded.insert(key.to_lowercase().to_uppercase()),
            };
            if repeated {
                return Err(repeated_key(&key));
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(document: &str) -> Result<Value, JsonError> {
        parse(document.as_bytes(), Limits::ITEM, KeyComparison::Exact)
    }

    #[test]
    fn a_plain_document_comes_through() {
        let value = exact(r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"c":"d"}}"#).expect("valid");
        assert_eq!(value, serde_json::json!({"a": [1, -2, 3.5, true, null, "x"], "b": {"c": "d"}}));
    }

    #[test]
    fn a_key_said_twice_is_refused() {
        assert!(matches!(exact(r#"{"a":{"id":1,"id":2}}"#), Err(JsonError::Syntax(_))));
        assert!(exact(r#"{"id":1,"ID":2}"#).is_ok());
        assert!(parse(br#"{"id":1,"ID":2}"#, Limits::ITEM, KeyComparison::Folded).is_err());
    }

    #[test]
    fn a_field_is_found_by_the_keys_that_go_would_take() {
        let found = |key: &str| field(&serde_json::json!({ key: 1 }), "links").is_some();
        assert!(["links", "Links", "LINKS", "lin\u{212a}\u{17f}"].into_iter().all(found));
        assert!(!["l\u{131}nks", "l\u{130}nks", "link", "linkß"].into_iter().any(found));
    }

    #[test]
    fn members_come_apart_and_none_is_there_twice() {
        let members = members(r#"{"a":{"x":1,"x":2},"b":[1e400]}"#).expect("the values are not looked into");
        assert_eq!(
            members.iter().map(|(key, value)| (key.as_str(), value.get())).collect::<Vec<_>>(),
            [("a", r#"{"x":1,"x":2}"#), ("b", "[1e400]")]
        );
        assert!(super::members(r#"{"a":1,"a":2}"#).is_err() && super::members("[]").is_err());
        assert_eq!(elements("[1, {}]").expect("a list").len(), 2);
    }

    #[test]
    fn a_list_or_an_object_of_too_many_items_is_refused_whole() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(elements(&list(MAX_ITEMS)).expect("as many as allowed").len(), MAX_ITEMS);
        assert!(matches!(elements(&list(2 * MAX_ITEMS)), Err(JsonError::TooMany(MAX_ITEMS))));
        let object: Vec<_> = (0..2 * MAX_ITEMS).map(|number| format!("\"{number}\":0")).collect();
        assert!(matches!(super::members(&format!("{{{}}}", object.join(","))), Err(JsonError::TooMany(MAX_ITEMS))));
    }

    #[test]
    fn texts_are_found_without_reading_the_rest_into_values() {
        let found = texts(r#"{"a":[1e400],"b":"x","c":5,"b":"\u0079"}"#, ["c", "b", "d"]).expect("an object");
        assert_eq!(found, [None, Some("y".to_owned()), None]);
        assert!(texts("[]", ["a"]).is_err() && texts(r#"{"a":"x""#, ["a"]).is_err());
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let deep = "[".repeat(200_000);
        assert!(matches!(exact(&deep), Err(JsonError::TooDeep(64))));
        let fine = "[".repeat(64) + &"]".repeat(64);
        assert!(exact(&fine).is_ok());
        assert!(
            exact(r#"{"text":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["}"#).is_ok()
        );
    }

    #[test]
    fn what_is_no_single_json_document_is_refused() {
        for document in
            ["", "  ", "<!doctype html>", "{}{}", "{} x", "{\"a\":", "NaN", "[1,]", "{\"a\":1e400}", "\u{feff}{}"]
        {
            assert!(exact(document).is_err(), "{document:?} was accepted");
        }
        assert!(matches!(parse(b"\xff\xfe{\0}\0", Limits::ITEM, KeyComparison::Exact), Err(JsonError::Encoding)));
        assert!(matches!(
            parse(&[b' '; 11], Limits { bytes: 10, depth: 4 }, KeyComparison::Exact),
            Err(JsonError::TooLong(10))
        ));
    }
}
