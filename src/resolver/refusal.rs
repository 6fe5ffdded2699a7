//! Why there is no version, in a sentence.

use std::fmt;

use super::WITHOUT_ANGULAR;
use crate::{
    diagnostic::{Diagnose, Diagnosis, Kind},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, Timestamp, VersionRequest},
};

/// How many versions an explanation names.
const NAMED: usize = 5;

/// Why a version was not chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Another one was asked for.
    NotWanted,
    /// The upstream took it back.
    Withdrawn,
    /// It was published at this time, which is not long enough ago.
    TooNew(Timestamp),
    /// It works with other versions of Grafana; the range is the declared text.
    Grafana(String),
    /// It has no package for a platform.
    Platform {
        /// The platform.
        wanted: Platform,
        /// The platforms it has packages for.
        there: Vec<Platform>,
    },
    /// It is made with Angular, which this Grafana refuses.
    Angular,
    /// Nobody signed it, according to the catalog.
    Unsigned,
}

/// No version is wanted and works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoVersion {
    /// The plugin.
    pub plugin: PluginId,
    /// What was asked for.
    pub wanted: VersionRequest,
    /// Where it must work.
    pub grafana: Option<GrafanaVersion>,
    /// Each version, newest first, and why not.
    pub refused: Vec<(PluginVersion, Refusal)>,
}

impl fmt::Display for NoVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no version of {} fits", self.plugin)?;
        if self.wanted != VersionRequest::Any {
            write!(formatter, " `{}`", self.wanted)?;
        }
        if self.refused.is_empty() {
            return formatter.write_str(": the catalog lists none");
        }
        // Versions that were asked for tell more than those that were not.
        let asked: Vec<_> = self.refused.iter().filter(|(_, refusal)| *refusal != Refusal::NotWanted).collect();
        let (lead, told): (&str, Vec<String>) = if asked.is_empty() {
            ("there are ", self.refused.iter().map(|(version, _)| version.to_string()).collect())
        } else {
            (
                "",
                asked
                    .iter()
                    .map(|(version, why)| why.sentence(version.as_str(), false, self.grafana.as_ref()))
                    .collect(),
            )
        };
        write!(formatter, ": {lead}{}", told[..told.len().min(NAMED)].join(", "))?;
        match told.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(formatter, ", and {more} more"),
        }
    }
}

impl Refusal {
    /// Returns the reason as a sentence about `versions`, of which there are many where `many`.
    pub fn sentence(&self, versions: &str, many: bool, grafana: Option<&GrafanaVersion>) -> String {
        let (was, is, has, needs) = if many { ("were", "are", "have", "need") } else { ("was", "is", "has", "needs") };
        match self {
            Self::NotWanted => format!("{versions} {is} not asked for"),
            Self::Withdrawn => format!("{versions} {was} withdrawn"),
            Self::TooNew(published) => {
                format!("{versions} {is} from {}, newer than `trust.min-release-age` allows", published.date())
            }
            Self::Grafana(range) => {
                let here = grafana.map_or_else(String::new, |grafana| format!(" and this is {grafana}"));
                format!("{versions} {needs} Grafana `{}`{here}", range.escape_debug())
            }
            Self::Platform { wanted, there } if there.is_empty() => {
                format!("{versions} {has} no package for {wanted}, and none at all")
            }
            Self::Platform { wanted, there } => {
                let there: Vec<_> = there.iter().map(ToString::to_string).collect();
                format!("{versions} {has} no package for {wanted}, only for {}", there.join(" and "))
            }
            Self::Angular => {
                let here = grafana.map_or_else(
                    || format!("{WITHOUT_ANGULAR} and newer no longer have"),
                    |grafana| format!("{grafana} no longer has"),
                );
                format!("{versions} {needs} AngularJS, which Grafana {here}")
            }
            Self::Unsigned => format!("{versions} {is} unsigned according to the catalog, and signatures are required"),
        }
    }

    /// Returns the reason in one word, as JSON has it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotWanted => "not-wanted",
            Self::Withdrawn => "withdrawn",
            Self::TooNew(_) => "too-new",
            Self::Grafana(_) => "grafana",
            Self::Platform { .. } => "platform",
            Self::Angular => "angular",
            Self::Unsigned => "signature",
        }
    }
}

impl std::error::Error for NoVersion {}

impl Diagnose for NoVersion {
    fn diagnosis(&self) -> Diagnosis {
        let newest: Vec<_> = self.refused.iter().take(3).map(|(version, _)| version.as_str()).collect();
        let platform = self.refused.iter().any(|(_, refusal)| matches!(refusal, Refusal::Platform { .. }));
        Diagnosis::from(Kind::Failed).with_hint(match newest.as_slice() {
            [] => format!("run `plugport sync`, or look with `plugport show {}`", self.plugin),
            _ if platform => format!("`plugport versions {}` lists what there is for which platform", self.plugin),
            [only] => format!("`plugport versions {}` tells more of {only}", self.plugin),
            newest => format!("the newest are {}; `plugport versions {}` lists all", newest.join(", "), self.plugin),
        })
    }
}
