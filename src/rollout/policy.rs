//! `[rollout]`: how a plan is carried out over many workspaces, as the manifest says it and the plan repeats it.

use std::{
    fmt,
    num::{NonZeroU8, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    budget::FailureBudget,
    freeze::{Freeze, FreezePeriod, TimeZoneName},
};
use crate::{
    duration,
    model::{ParseSelectorError, Selector},
};

/// `[rollout]`: how a plan is applied to many workspaces.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rollout {
    /// The waves in order. Workspaces that no wave contains form a last wave, `the rest`.
    pub waves: Vec<Wave>,
    /// How many workspaces are changed at the same time. Each workspace gets one request at a time.
    pub max_concurrent: NonZeroUsize,
    /// How many workspaces may fail before the rollout stops: a number, or a share of all that the plan changes. A wave whose
    /// workspaces all fail stops it in any case, if another wave follows.
    pub max_failures: FailureBudget,
    /// The pause between two waves. After it, the gates of the finished wave are checked once more.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub soak: Duration,
    /// What the gate checks after a change.
    pub health: Vec<HealthCheck>,
    /// What happens to the changed workspaces when the rollout stops.
    pub on_failure: OnFailure,
    /// How long the gate of a workspace may stay red after a change. Include the time of a restart of Grafana.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub gate_timeout: Duration,
    /// The pause between two checks of a gate.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub gate_pause: Duration,
    /// How many checks in a row must pass.
    pub gate_passes: NonZeroUsize,
    /// Commands that are part of the gate, each a list of a program and its arguments. A command passes if it exits with 0
    /// within `gate-timeout`. It gets `PLUGPORT_WORKSPACE` and `PLUGPORT_WORKSPACE_URL`, and no token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub commands: Vec<Vec<String>>,
    /// Times in which no wave begins; what was begun goes on, and a rollback is never frozen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub freeze: Vec<FreezePeriod>,
    /// The time zone of the freeze periods that name none.
    #[serde(skip_serializing_if = "TimeZoneName::is_default")]
    #[schemars(extend("default" = "UTC"))]
    pub time_zone: TimeZoneName,
    /// Also create a Grafana snapshot of each dashboard that uses a changed plugin, before the change.
    pub snapshot: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: vec![WaveMembers::Share(NonZeroU8::MIN.saturating_add(99)).into()],
            max_concurrent: NonZeroUsize::MIN.saturating_add(7),
            max_failures: FailureBudget::default(),
            soak: Duration::ZERO,
            health: vec![HealthCheck::Grafana, HealthCheck::Plugin, HealthCheck::Datasources],
            on_failure: OnFailure::Rollback,
            gate_timeout: Duration::from_mins(2),
            gate_pause: Duration::from_secs(5),
            gate_passes: NonZeroUsize::MIN,
            commands: Vec::new(),
            freeze: Vec::new(),
            time_zone: TimeZoneName::default(),
            snapshot: false,
        }
    }
}

impl Rollout {
    /// Returns the times in which no wave begins.
    pub fn freeze(&self) -> Freeze {
        Freeze { periods: self.freeze.clone(), time_zone: self.time_zone.clone() }
    }
}

/// One wave of the policy: which workspaces are changed together, and how many of them may fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wave {
    /// The workspaces.
    pub on: WaveMembers,
    /// How many of them may fail; `None` if [`Rollout::max_failures`] counts them.
    pub max_failures: Option<FailureBudget>,
    /// Whether it begins only once it is approved.
    pub approve: bool,
}

/// A wave that is written as a table.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WaveTable {
    on: WaveMembers,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_failures: Option<FailureBudget>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    approve: bool,
}

impl From<WaveMembers> for Wave {
    fn from(on: WaveMembers) -> Self {
        Self { on, max_failures: None, approve: false }
    }
}

impl FromStr for Wave {
    type Err = ParseWaveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<WaveMembers>().map(Self::from)
    }
}

impl fmt::Display for Wave {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.on.fmt(formatter)
    }
}

impl Serialize for Wave {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { on, max_failures, approve } = self;
        match (max_failures, approve) {
            (None, false) => on.serialize(serializer),
            _ => WaveTable { on: on.clone(), max_failures: *max_failures, approve: *approve }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Wave {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WaveVisitor)
    }
}

struct WaveVisitor;

impl<'de> de::Visitor<'de> for WaveVisitor {
    type Value = Wave;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .write_str("a selector, a list of selectors, a share like `10%`, a number like `5`, or a table with `on`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Wave, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Wave, A::Error> {
        WaveMembersVisitor.visit_seq(items).map(Wave::from)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<Wave, A::Error> {
        let WaveTable { on, max_failures, approve } =
            WaveTable::deserialize(de::value::MapAccessDeserializer::new(table))?;
        Ok(Wave { on, max_failures, approve })
    }
}

/// The workspaces that are changed together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WaveMembers {
    /// The workspaces that a selector matches.
    Selector(Selector),
    /// This percentage of all workspaces, 1 to 100, including those of earlier waves.
    Share(NonZeroU8),
    /// This number of workspaces, including those of earlier waves.
    Count(NonZeroUsize),
}

impl FromStr for WaveMembers {
    type Err = ParseWaveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix('%') {
            Some(number) => match number.parse() {
                Ok(percent) if percent <= NonZeroU8::MIN.saturating_add(99) => Ok(Self::Share(percent)),
                _ => Err(ParseWaveError::Share(number.chars().take(40).collect())),
            },
            None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Self::Count).map_err(|_| ParseWaveError::Count(text.chars().take(40).collect()))
            }
            None => text.parse().map(Self::Selector).map_err(ParseWaveError::Selector),
        }
    }
}

impl Serialize for WaveMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Selector(selector) => selector.serialize(serializer),
            Self::Share(_) | Self::Count(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for WaveMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WaveMembersVisitor)
    }
}

struct WaveMembersVisitor;

impl<'de> de::Visitor<'de> for WaveMembersVisitor {
    type Value = WaveMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a selector, a list of selectors, a share like `10%`, or a number like `5`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WaveMembers, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<WaveMembers, A::Error> {
        Selector::deserialize(de::value::SeqAccessDeserializer::new(items)).map(WaveMembers::Selector)
    }
}

impl fmt::Display for WaveMembers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(selector) => selector.fmt(formatter),
            Self::Share(percent) => write!(formatter, "{percent}%"),
            Self::Count(count) => count.fmt(formatter),
        }
    }
}

/// A text is not a wave.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseWaveError {
    /// Not 1 to 100 percent.
    #[error("`{}%` is not a share: expected `1%` to `100%`", .0.escape_debug())]
    Share(String),
    /// Not a number of workspaces.
    #[error("`{}` is not a number of workspaces: expected at least 1", .0.escape_debug())]
    Count(String),
    /// Not a selector either.
    #[error(transparent)]
    Selector(ParseSelectorError),
}

/// A check of a gate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCheck {
    /// The workspace answers its health request.
    Grafana,
    /// The plugin is loaded, and its backend reports that it is healthy.
    Plugin,
    /// The data sources of the plugin report that they are healthy.
    Datasources,
}

/// What happens to the changed workspaces when a rollout stops.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Every changed workspace is rolled back to its previous versions.
    #[default]
    Rollback,
    /// They keep the new versions.
    Stop,
}
