//! Why a version is not chosen, as a sentence.

use std::fmt;

use super::ANGULAR_REMOVED_IN;
use crate::{
    diagnostic::{Diagnose, Diagnosis, Kind},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, Timestamp, VersionRequest},
};

/// How many versions an explanation names.
const NAMED: usize = 5;

/// Why a version was not chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The request does not allow it.
    NotRequested,
    /// The manifest denies it; why, as the end of a sentence about it.
    Denied(String),
    /// The upstream or the publisher withdrew it.
    Withdrawn,
    /// It was published at this time, too recently.
    TooNew(Timestamp),
    /// It works only with this range of Grafana versions, as declared.
    Grafana(String),
    /// It has packages, but none for a platform.
    Platform {
        /// The platform without a package.
        wanted: Platform,
        /// The platforms it has packages for.
        available: Vec<Platform>,
    },
    /// It uses AngularJS, which this Grafana no longer has.
    Angular,
    /// It is unsigned, according to the catalog.
    Unsigned,
}

/// No version is both requested and works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NoVersion {
    /// Its id.
    pub plugin: PluginId,
    /// The requested versions.
    pub requested: VersionRequest,
    /// The Grafana it must work with.
    pub grafana: Option<GrafanaVersion>,
    /// Every version, newest first, with the first reason against it.
    pub refused: Vec<(PluginVersion, Refusal)>,
}

impl fmt::Display for NoVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no version of {} fits", self.plugin)?;
        if self.requested != VersionRequest::Any {
            write!(formatter, " `{}`", self.requested)?;
        }
        if self.refused.is_empty() {
            return formatter.write_str(": the catalog lists none");
        }
        // The reasons against requested versions are the useful ones.
        let requested: Vec<_> = self.refused.iter().filter(|(_, refusal)| *refusal != Refusal::NotRequested).collect();
        let (lead, reasons): (&str, Vec<String>) = if requested.is_empty() {
            ("there are ", self.refused.iter().map(|(version, _)| version.to_string()).collect())
        } else {
            (
                "",
                requested
                    .iter()
                    .map(|(version, refusal)| refusal.message(version.as_str(), false, self.grafana.as_ref()))
                    .collect(),
            )
        };
        write!(formatter, ": {lead}{}", reasons[..reasons.len().min(NAMED)].join(", "))?;
        match reasons.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(formatter, ", and {more} more"),
        }
    }
}

impl Refusal {
    /// Returns the reason as a sentence about `versions`; `many` makes it plural.
    pub(crate) fn message(&self, versions: &str, many: bool, grafana: Option<&GrafanaVersion>) -> String {
        let (was, is, has, needs) = if many { ("were", "are", "have", "need") } else { ("was", "is", "has", "needs") };
        match self {
            Self::NotRequested => format!("{versions} {is} not requested"),
            Self::Denied(why) => format!("{versions} {is} {why}"),
            Self::Withdrawn => format!("{versions} {was} withdrawn"),
            Self::TooNew(published) => {
                format!("{versions} {is} from {}, newer than `trust.min-release-age` allows", published.date())
            }
            Self::Grafana(range) => {
                let here = grafana.map_or_else(String::new, |grafana| format!(" and this is {grafana}"));
                format!("{versions} {needs} Grafana `{}`{here}", range.escape_debug())
            }
            Self::Platform { wanted, available } if available.is_empty() => {
                format!("{versions} {has} no packages")
            }
            Self::Platform { wanted, available } => {
                let available: Vec<_> = available.iter().map(ToString::to_string).collect();
                format!("{versions} {has} no package for {wanted}, only for {}", available.join(" and "))
            }
            Self::Angular => {
                let here = grafana.map_or_else(
                    || format!("{ANGULAR_REMOVED_IN} and newer no longer have"),
                    |grafana| format!("{grafana} no longer has"),
                );
                format!("{versions} {needs} AngularJS, which Grafana {here}")
            }
            Self::Unsigned => format!("{versions} {is} unsigned according to the catalog, and signatures are required"),
        }
    }

    /// Returns the reason as a word of the JSON output.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::NotRequested => "not-wanted",
            Self::Denied(_) => "denied",
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
        let denied = self.refused.iter().any(|(_, refusal)| matches!(refusal, Refusal::Denied(_)));
        let kind = if denied { Kind::Integrity } else { Kind::Failed };
        Diagnosis::from(kind).with_hint(match newest.as_slice() {
            [] => format!("run `plugport sync`, or see `plugport show {}`", self.plugin),
            _ if platform => format!("`plugport versions {}` lists the platforms of each version", self.plugin),
            [only] => format!("`plugport versions {}` shows more about {only}", self.plugin),
            newest => format!("the newest are {}; `plugport versions {}` lists all", newest.join(", "), self.plugin),
        })
    }
}
