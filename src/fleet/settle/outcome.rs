//! What a workspace shows, what is wanted of it, and what can become of a change.
//!
//! *Invariant:* there are three ends: as wanted, failed, and unknown; nothing else is ever reported.
//! *Not for:* deciding which of them it is; the state machine beside this file does.

use crate::{
    diagnostic::{Kind, diagnose, printable},
    model::PluginVersion,
};

/// What a workspace shows of one plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PluginState {
    /// It is not installed.
    Absent,
    /// It is installed and runs.
    Loaded {
        /// Its version, where the workspace names one that is one.
        version: Option<PluginVersion>,
    },
    /// It is there and was refused when it was to be loaded (`/api/plugins/errors`).
    Broken {
        /// Why, in Grafana's words: `signatureInvalid`, `failedBackendStart` and so on.
        code: String,
        /// Its version, where the workspace still names one.
        version: Option<PluginVersion>,
    },
}

/// What a change is to bring about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// The plugin runs in this version.
    Version(PluginVersion),
    /// The plugin is not there.
    Absent,
}

impl Wanted {
    /// Returns whether a workspace shows what is wanted.
    pub fn is_met_by(&self, state: &PluginState) -> bool {
        match (self, state) {
            (Self::Absent, PluginState::Absent) => true,
            (Self::Version(wanted), PluginState::Loaded { version: Some(version) }) => wanted.same_release(version),
            _ => false,
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The workspace shows what was wanted, and did not before.
    Done,
    /// The workspace had what was wanted already.
    Unchanged,
    /// The workspace does not have what was wanted.
    Failed(Failure),
    /// Nobody knows: the workspace cannot be read.
    Unknown(Doubt),
}

/// Why a change failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The workspace said no.
    #[error("the workspace refused it ({status}{})", said(message.as_ref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, cut short, secrets masked.
        message: Option<String>,
    },
    /// The workspace failed at it, or did not answer, and does not have it.
    #[error("the workspace did not manage it{}, and reading it back shows no change", status.map_or_else(String::new, |status| format!(" ({status}{})", said(message.as_ref()))))]
    Fruitless {
        /// The last HTTP status, where an answer came.
        status: Option<u16>,
        /// What it said, cut short, secrets masked.
        message: Option<String>,
    },
    /// The workspace said yes, and does not show it.
    #[error("the workspace answered {status}, but reading it back shows {}", shown(seen))]
    NoEffect {
        /// The HTTP status.
        status: u16,
        /// What it shows instead.
        seen: PluginState,
    },
    /// Somebody else put another version there meanwhile.
    #[error("somebody else changed it meanwhile: reading it back shows {}", shown(seen))]
    Overtaken {
        /// What it shows.
        seen: PluginState,
    },
    /// The plugin is there, and the workspace refuses to load it.
    #[error("the plugin is on the workspace but was not loaded: `{}`", code.escape_debug())]
    Broken {
        /// Why, in Grafana's words.
        code: String,
    },
    /// No connection came about any more.
    #[error("the workspace could not be reached")]
    NotReached,
}

/// Why it is not known what became of a change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Doubt {
    /// The change was sent, and the workspace could not be read afterwards.
    #[error("the workspace could not be read after the change was sent")]
    Unreadable,
}

fn said(message: Option<&String>) -> String {
    message.map_or_else(String::new, |message| format!(": {}", printable(message)))
}

fn shown(seen: &PluginState) -> String {
    match seen {
        PluginState::Loaded { version: Some(version) } => format!("version `{}`", version.as_str().escape_debug()),
        PluginState::Loaded { version: None } => "another version".to_owned(),
        PluginState::Broken { code, .. } => format!("that it was not loaded: `{}`", code.escape_debug()),
        PluginState::Absent => "no such plugin".to_owned(),
    }
}

diagnose!(Failure {
    Refused { status: 401 } => Kind::Failed, "the token of this workspace is wrong or expired";
    Refused { status: 403 } => Kind::Failed,
        "the token needs the right `plugins:install`: the Admin role on AMG, a server admin elsewhere; core plugins stay";
    Refused { status: 404 } => Kind::Failed,
        "the workspace knows no such plugin or version, or plugin management is off: on AMG it is in the console, elsewhere \
         `plugin_admin_enabled`";
    Refused { status: 429 } => Kind::Failed, "try again later, or with fewer workspaces at once";
    NoEffect => Kind::Failed,
        "something in between may have answered, like a login page, or someone else changes plugins there: check the \
         address and the token";
    Overtaken => Kind::Failed, "ask who changes plugins there, and look before anything else is changed";
    Broken { code } if code.starts_with("signature") => Kind::Failed,
        "the plugin's signature does not satisfy the workspace; install a signed version";
    Broken => Kind::Failed, "the log of the workspace tells more; install another version over it";
    NotReached => Kind::Network;
    Refused | Fruitless => Kind::Failed;
});

diagnose!(Doubt => Kind::Unknown, "read the workspace again when it is back, before anything else is changed there");
