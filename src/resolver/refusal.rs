//! Why there is no version, in a sentence.

use std::fmt;

use crate::{
    diagnostic::{Diagnose, Kind},
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
            ("", asked.iter().map(|(version, why)| self.say(version, why)).collect())
        };
        write!(formatter, ": {lead}{}", told[..told.len().min(NAMED)].join(", "))?;
        match told.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(formatter, ", and {more} more"),
        }
    }
}

impl NoVersion {
    fn say(&self, version: &PluginVersion, refusal: &Refusal) -> String {
        match refusal {
            Refusal::NotWanted => format!("{version} is not asked for"),
            Refusal::Withdrawn => format!("{version} was withdrawn"),
            Refusal::TooNew(published) => {
                format!("{version} is from {}, newer than `trust.min-release-age` allows", published.date())
            }
            Refusal::Grafana(range) => {
                let here = self.grafana.as_ref().map_or_else(String::new, |grafana| format!(" and this is {grafana}"));
                format!("{version} needs Grafana `{}`{here}", range.escape_debug())
            }
            Refusal::Platform { wanted, there } if there.is_empty() => {
                format!("{version} has no package for {wanted}, and none at all")
            }
            Refusal::Platform { wanted, there } => {
                let there: Vec<_> = there.iter().map(ToString::to_string).collect();
                format!("{version} has no package for {wanted}, only for {}", there.join(" and "))
            }
        }
    }
}

impl std::error::Error for NoVersion {}

impl Diagnose for NoVersion {
    fn kind(&self) -> Kind {
        Kind::Failed
    }

    fn hint(&self) -> Option<String> {
        let newest: Vec<_> = self.refused.iter().take(3).map(|(version, _)| version.as_str()).collect();
        let platform = self.refused.iter().any(|(_, refusal)| matches!(refusal, Refusal::Platform { .. }));
        Some(match newest.as_slice() {
            [] => format!("run `plugport sync`, or look with `plugport show {}`", self.plugin),
            _ if platform => format!("`plugport versions {}` lists what there is for which platform", self.plugin),
            [only] => format!("`plugport versions {}` tells more of {only}", self.plugin),
            newest => format!("the newest are {}; `plugport versions {}` lists all", newest.join(", "), self.plugin),
        })
    }
}
