//! Why there is no solution, in at most ten lines.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    diagnostic::{Diagnose, Diagnosis, Kind},
    model::{PluginId, PluginVersion},
};

/// How many lines an explanation has at most.
const MAX_LINES: usize = 10;

/// How many facts of one kind about one plugin are shown one by one.
const OF_A_KIND: usize = 3;

/// What a fact is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// The plugin is requested.
    #[serde(rename = "asked")]
    Requested,
    /// The plugin is not in the catalog.
    Missing,
    /// The versions do not work here.
    Refused,
    /// The versions depend on another plugin.
    Needs,
    /// The catalog lists these versions.
    Versions,
}

/// One of the facts that together rule out every solution.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub kind: FactKind,
    /// The plugin that it is about.
    pub plugin: PluginId,
    /// The versions that it is about, newest first.
    pub versions: Vec<PluginVersion>,
    /// The plugin that these versions depend on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<PluginId>,
    /// The versions that are requested or needed, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Why the versions do not work here, as a word: `grafana`, `angular`, `platform`, `withdrawn`,
    /// `too-new`, `denied` or `signature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The fact as a sentence.
    pub text: String,
}

/// Why there is no solution.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    pub(super) headline: String,
    pub(super) facts: Vec<Fact>,
}

impl Explanation {
    /// Returns all facts that rule out a solution: wishes first, then from dependents to dependencies.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Returns the explanation as at most ten lines without full stops; the first line is the conclusion.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for group in self.facts.chunk_by(|one, next| group_key(one) == group_key(next)) {
            let shown = if group.len() > OF_A_KIND { OF_A_KIND - 1 } else { group.len() };
            lines.extend(group[..shown].iter().map(|fact| fact.text.clone()));
            lines.extend(rest(&group[shown..]));
        }
        let limit = MAX_LINES - 1;
        if lines.len() > limit {
            let half = (limit - 1) / 2;
            let between = lines.len() - 2 * half;
            lines.splice(half..half + between, [format!("{between} more facts follow from there")]);
        }
        lines.insert(0, self.headline.clone());
        lines
    }
}

fn group_key(fact: &Fact) -> (FactKind, &PluginId, Option<&PluginId>) {
    (fact.kind, &fact.plugin, fact.needs.as_ref())
}

/// Returns facts of one group as one sentence.
fn rest(facts: &[Fact]) -> Option<String> {
    let first = facts.first()?;
    let count: usize = facts.iter().map(|fact| fact.versions.len()).sum();
    Some(match (&first.needs, facts.last()) {
        (Some(needs), Some(last)) => {
            let range = |fact: &Fact| fact.range.clone().unwrap_or_else(|| "*".to_owned()).escape_debug().to_string();
            format!("{count} older versions of {} need {needs} `{}` to `{}`", first.plugin, range(first), range(last))
        }
        _ => format!("{count} older versions of {} do not work here either", first.plugin),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        formatter.write_str(&lines[0])?;
        match lines.get(1..) {
            None | Some([]) => Ok(()),
            Some(facts) => write!(formatter, ": {}", facts.join("; ")),
        }
    }
}

impl std::error::Error for Explanation {}

impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Explanation", 2)?;
        fields.serialize_field("lines", &self.lines())?;
        fields.serialize_field("facts", &self.facts)?;
        fields.end()
    }
}

impl Diagnose for Explanation {
    fn diagnosis(&self) -> Diagnosis {
        let why_not =
            |fact: &Fact| format!("`plugport why-not {}@VERSION` lists the reasons against one version", fact.plugin);
        let is_denied = self.facts.iter().any(|fact| fact.reason == Some("denied"));
        let kind = if is_denied { Kind::Integrity } else { Kind::Failed };
        Diagnosis::from(kind).with_hint(self.facts.first().map(why_not))
    }
}
