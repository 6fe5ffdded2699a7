//! Texts that select workspaces: names, globs and labels.
//!
//! *Invariant:* the text of a selector is read back as the same selector. Names add up, labels narrow what the names select,
//! and the items of a list add up again.
//! *Not for:* deciding whether a selector that selects nothing is a mistake (the manifest).

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::WorkspaceName;

/// Which workspaces are selected: what any of its groups selects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selector(Vec<SelectorGroup>);

/// One text of a selector, like `prod-*,tier=gold`: names that add up, and labels that all must fit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SelectorGroup {
    names: Vec<NamePattern>,
    labels: Vec<LabelRule>,
}

/// Which names are selected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamePattern {
    /// Every workspace.
    All,
    /// The one with this name.
    Exactly(WorkspaceName),
    /// Those that fit a pattern with `*` (any letters) and `?` (one letter).
    Glob(String),
}

/// What a label must be, in the grammar of kubectl.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelRule {
    key: String,
    test: LabelTest,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum LabelTest {
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Missing,
}

impl Selector {
    /// Returns the selector of every workspace.
    pub fn all() -> Self {
        Self(vec![SelectorGroup { names: vec![NamePattern::All], labels: Vec::new() }])
    }

    /// Returns the selector of one workspace.
    pub fn name(name: WorkspaceName) -> Self {
        Self(vec![SelectorGroup { names: vec![NamePattern::Exactly(name)], labels: Vec::new() }])
    }

    /// Returns the selector of the workspaces that have all of these labels, at least one.
    pub fn labels(labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let rule = |(key, value)| LabelRule { key, test: LabelTest::Is(value) };
        Self(vec![SelectorGroup { names: Vec::new(), labels: labels.into_iter().map(rule).collect() }])
    }

    /// Returns the selector of what any of these select; `None` for an empty list.
    pub fn any(selectors: &[Self]) -> Option<Self> {
        let groups: Vec<_> = selectors.iter().flat_map(|selector| selector.0.iter().cloned()).collect();
        (!groups.is_empty()).then_some(Self(groups))
    }

    /// Returns whether this is `all` and nothing else.
    pub fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// Returns the name if exactly one workspace is selected by its name.
    pub fn only_name(&self) -> Option<&WorkspaceName> {
        let [SelectorGroup { names, labels }] = self.0.as_slice() else { return None };
        match names.as_slice() {
            [NamePattern::Exactly(name)] if labels.is_empty() => Some(name),
            _ => None,
        }
    }

    /// Returns the groups, of which each selects workspaces.
    pub fn groups(&self) -> &[SelectorGroup] {
        &self.0
    }

    /// Returns whether the workspace with this name and these labels is selected.
    pub fn selects(&self, name: &WorkspaceName, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().any(|group| group.selects(name, labels))
    }
}

impl SelectorGroup {
    /// Returns whether the workspace with this name and these labels is selected.
    pub fn selects(&self, name: &WorkspaceName, labels: &BTreeMap<String, String>) -> bool {
        (self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(name)))
            && self.labels.iter().all(|rule| rule.fits(labels))
    }

    /// Returns the names and globs; empty where only labels select.
    pub fn names(&self) -> &[NamePattern] {
        &self.names
    }

    /// Returns the rules for labels.
    pub fn labels(&self) -> &[LabelRule] {
        &self.labels
    }
}

impl NamePattern {
    /// Returns whether this name is selected.
    pub fn fits(&self, name: &WorkspaceName) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(wanted) => wanted == name,
            Self::Glob(pattern) => fits_glob(pattern.as_bytes(), name.as_str().as_bytes()),
        }
    }
}

impl LabelRule {
    /// Returns whether labels fit; a label that is missing is not equal to any value.
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            LabelTest::Is(wanted) => value == Some(wanted),
            LabelTest::IsNot(unwanted) => value != Some(unwanted),
            LabelTest::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            LabelTest::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
            LabelTest::Missing => value.is_none(),
        }
    }

    /// Returns the key of the label.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the values that are allowed; empty if the rule only excludes.
    pub fn wanted(&self) -> &[String] {
        match &self.test {
            LabelTest::Is(value) => std::slice::from_ref(value),
            LabelTest::In(values) => values,
            LabelTest::IsNot(_) | LabelTest::NotIn(_) | LabelTest::Missing => &[],
        }
    }
}

/// Returns whether a text fits a pattern with `*` and `?`, in steps that are bounded by the product of both lengths.
pub(crate) fn fits_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, read) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseSelectorError(text.chars().take(200).collect());
        parse_group(text).map(|group| Self(vec![group])).ok_or_else(refused)
    }
}

fn parse_group(text: &str) -> Option<SelectorGroup> {
    let mut group = SelectorGroup { names: Vec::new(), labels: Vec::new() };
    for term in split_terms(text)? {
        match parse_rule(term) {
            Some(rule) => {
                let is_second = |known: &LabelRule| {
                    known.key == rule.key && matches!((&known.test, &rule.test), (LabelTest::Is(_), LabelTest::Is(_)))
                };
                if group.labels.iter().any(is_second) {
                    return None;
                }
                group.labels.push(rule);
            }
            None => group.names.push(parse_name(term)?),
        }
    }
    Some(group)
}

/// Divides a text at its commas; those between parentheses belong to a set of values.
fn split_terms(text: &str) -> Option<Vec<&str>> {
    let (mut terms, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' if is_inside => return None,
            '(' => is_inside = set_head(&text[start..at]).is_some(),
            ')' => is_inside = false,
            ',' if !is_inside => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[start..].trim());
    (!is_inside).then_some(terms)
}

/// Returns the key before `in` or `notin`, and whether the values are wanted.
fn set_head(text: &str) -> Option<(&str, bool)> {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some("in"), None) => Some((key, true)),
        (Some(key), Some("notin"), None) => Some((key, false)),
        _ => None,
    }
}

fn parse_rule(term: &str) -> Option<LabelRule> {
    let rule = |key: &str, test| {
        let key = key.trim();
        let is_key = !key.is_empty() && !key.contains(['=', '!', '(', ')']);
        is_key.then(|| LabelRule { key: key.to_owned(), test })
    };
    if let Some((head, values)) = term.strip_suffix(')').and_then(|term| term.split_once('('))
        && let Some((key, is_wanted)) = set_head(head)
    {
        let values: Vec<_> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let is_sound = values.iter().all(|value| !value.is_empty() && !value.contains(['(', ')']));
        let test = if is_wanted { LabelTest::In(values) } else { LabelTest::NotIn(values) };
        return if is_sound { rule(key, test) } else { None };
    }
    let value = |text: &str| Some(text.trim().to_owned()).filter(|value| !value.is_empty() && !value.contains('='));
    if let Some((key, text)) = term.split_once("!=") {
        return rule(key, LabelTest::IsNot(value(text)?));
    }
    if let Some(key) = term.strip_prefix('!') {
        return rule(key, LabelTest::Missing);
    }
    let (key, text) = term.split_once("==").or_else(|| term.split_once('='))?;
    rule(key, LabelTest::Is(value(text)?))
}

fn parse_name(term: &str) -> Option<NamePattern> {
    if term == "all" {
        return Some(NamePattern::All);
    }
    if !term.contains(['*', '?']) {
        return term.parse().ok().map(NamePattern::Exactly);
    }
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-*?".contains(letter);
    (term.len() <= 64 && term.chars().all(fits)).then(|| NamePattern::Glob(term.to_owned()))
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&groups.join(" or "))
    }
}

impl fmt::Display for SelectorGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.iter().map(ToString::to_string);
        let terms: Vec<_> = names.chain(self.labels.iter().map(ToString::to_string)).collect();
        formatter.write_str(&terms.join(","))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Exactly(name) => name.fmt(formatter),
            Self::Glob(pattern) => formatter.write_str(pattern),
        }
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            LabelTest::Is(value) => write!(formatter, "{key}={value}"),
            LabelTest::IsNot(value) => write!(formatter, "{key}!={value}"),
            LabelTest::In(values) => write!(formatter, "{key} in ({})", values.join(",")),
            LabelTest::NotIn(values) => write!(formatter, "{key} notin ({})", values.join(",")),
            LabelTest::Missing => write!(formatter, "!{key}"),
        }
    }
}

/// A text where one group is all, as plans and journals have always had it, else a list of texts.
impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [group] => serializer.collect_str(group),
            groups => serializer.collect_seq(groups.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectorVisitor)
    }
}

struct SelectorVisitor;

impl<'de> de::Visitor<'de> for SelectorVisitor {
    type Value = Selector;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a selector, or a list of selectors")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Selector, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Selector, A::Error> {
        let mut selectors = Vec::new();
        while let Some(text) = items.next_element::<String>()? {
            selectors.push(text.parse().map_err(de::Error::custom)?);
        }
        Selector::any(&selectors)
            .ok_or_else(|| de::Error::custom("an empty list selects nothing: leave it out, or name workspaces"))
    }
}

/// A text selects no workspaces.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid selector `{}`: expected `all`, names like `prod-eu` or `prod-*`, or labels like `tier=prod`, `tier!=prod`, \
     `tier in (prod,test)` or `!tier`, with commas between them",
    .0.escape_debug()
)]
pub struct ParseSelectorError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(text: &str) -> bool {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned()), ("region".to_owned(), "eu".to_owned())]);
        let name: WorkspaceName = "prod-eu".parse().expect("a name");
        text.parse::<Selector>().expect("a selector").selects(&name, &labels)
    }

    #[test]
    fn labels_are_joined_by_and() {
        assert!(selects("all") && selects("prod-eu") && selects("tier=prod") && selects("tier=prod,region=eu"));
        assert!(!selects("prod-us") && !selects("tier=prod,region=us") && !selects("owner=me"));
    }

    #[test]
    fn names_and_globs_add_up_and_labels_narrow_them() {
        for text in
            ["prod-us,prod-eu", "stage,prod-*", "*", "*-eu", "p*e*", "prod-?u", "prod-*,tier=prod", "all,tier==prod"]
        {
            assert!(selects(text), "{text}");
        }
        for text in ["prod-us,stage", "prod-?", "eu", "*us", "prod-*,tier=test", "stage,tier=prod"] {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn labels_have_the_grammar_of_kubectl() {
        for text in [
            "tier!=test",
            "tier in (test,prod)",
            "tier in ( prod )",
            "tier notin (test,dev),region=eu",
            "!owner",
            "owner!=me",
            "owner notin (me)",
        ] {
            assert!(selects(text), "{text}");
        }
        for text in
            ["tier!=prod", "tier in (test)", "owner in (me)", "tier notin (prod)", "!tier", "tier in (prod),!region"]
        {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn rubbish_is_no_selector() {
        for text in [
            "",
            "a b",
            "=x",
            "tier=",
            "tier=prod,",
            "a=b=c",
            "tier=a,tier=b",
            "../x",
            "!",
            "!=x",
            "tier in",
            "tier in (a",
            "tier in a,b)",
            "tier in ()",
            "tier in (a,)",
            "in (a)",
            "tier in ((a))",
            "a(b)",
            "prod-*/x",
            "a!b=c",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_selector_is_written_as_it_is_read_and_old_plans_have_a_text() {
        let texts = ["all", "prod-eu", "a,b-*,tier=x,k!=v,r in (a,b),s notin (c),!t"];
        for text in texts {
            let json = serde_json::json!(text);
            let selector: Selector = serde_json::from_value(json.clone()).expect("a selector");
            assert_eq!((serde_json::to_value(&selector).expect("JSON"), selector.to_string().as_str()), (json, text));
        }
        let several: Selector = serde_json::from_value(serde_json::json!(texts)).expect("a list");
        assert_eq!(serde_json::to_value(&several).expect("JSON"), serde_json::json!(texts));
        assert!(serde_json::from_str::<Selector>("[]").is_err());
    }
}
