//! The state of a plugin on a server, and the outcomes of a change.
//!
//! *Invariant:* a change has four outcomes: changed, unchanged, failed, and unknown; nothing else is ever reported.
//! *Not for:* deciding which of them it is; the state machine beside this file does.

use crate::{
    diagnostic::{Kind, diagnose, printable},
    model::{PluginVersion, Presence},
};

/// The state of one plugin on a server: [`Presence`], and whether Grafana loaded it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerPluginState {
    /// It is not installed.
    Absent,
    /// It is installed and runs.
    Loaded {
        /// Its version, if the workspace has a valid one.
        version: Option<PluginVersion>,
    },
    /// It is installed, and Grafana refused to load it (`/api/plugins/errors`).
    Broken {
        /// Why, in Grafana's words: `signatureInvalid`, `failedBackendStart` and so on.
        code: String,
        /// Its version, if the workspace still shows one.
        version: Option<PluginVersion>,
    },
}

impl ServerPluginState {
    /// Returns what is in the plugin's place, whether it runs or not.
    pub fn presence(&self) -> Presence {
        match self {
            Self::Absent => Presence::Absent,
            Self::Loaded { version } | Self::Broken { version, .. } => {
                version.clone().map_or(Presence::Unknown, Presence::Version)
            }
        }
    }

    /// Returns whether this is what is wanted: the plugin is absent, or runs in that version.
    pub fn satisfies(&self, wanted: &Presence) -> bool {
        match (wanted, self) {
            (Presence::Absent, Self::Absent) => true,
            (Presence::Version(wanted), Self::Loaded { version: Some(version) }) => wanted.same_release(version),
            _ => false,
        }
    }

    /// Returns whether this is what is expected before a change. A plugin that was not loaded and names no version may be
    /// the expected version: a version that we installed may have become that.
    pub fn may_be(&self, expected: &Presence) -> bool {
        let is_unclear = matches!(self, Self::Broken { version: None, .. }) && *expected != Presence::Absent;
        is_unclear || self.presence().is_same(expected)
    }
}

/// The outcome of a change; `E` says why it failed or is unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<E = Failure> {
    /// The workspace shows what was wanted, and did not before.
    Changed,
    /// The workspace had what was wanted already.
    Unchanged,
    /// The workspace does not have what was wanted.
    Failed(E),
    /// It is not known: the workspace could not be read afterwards.
    Unknown(E),
}

impl<E> Outcome<E> {
    /// Returns the same outcome with another error.
    pub fn map_error<F>(self, map: impl FnOnce(E) -> F) -> Outcome<F> {
        match self {
            Self::Changed => Outcome::Changed,
            Self::Unchanged => Outcome::Unchanged,
            Self::Failed(error) => Outcome::Failed(map(error)),
            Self::Unknown(error) => Outcome::Unknown(map(error)),
        }
    }
}

/// Why a change failed, or why its outcome is unknown.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The workspace refused the change.
    #[error("the workspace refused it ({status}{})", quote(message.as_ref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its message, cut short, secrets masked.
        message: Option<String>,
    },
    /// The workspace failed or did not answer, and does not show the change.
    #[error("the workspace failed{}, and reading it back shows no change", status.map_or_else(String::new, |status| format!(" ({status}{})", quote(message.as_ref()))))]
    NotDone {
        /// The last HTTP status, if there was an answer.
        status: Option<u16>,
        /// Its message, cut short, secrets masked.
        message: Option<String>,
    },
    /// The workspace accepted the change and does not show it.
    #[error("the workspace answered {status}, but reading it back shows {}", describe(seen))]
    NoEffect {
        /// The HTTP status.
        status: u16,
        /// What it shows instead.
        seen: ServerPluginState,
    },
    /// Somebody else installed another version in the meantime.
    #[error("somebody else changed the plugin in the meantime: reading it back shows {}", describe(seen))]
    Overtaken {
        /// What it shows.
        seen: ServerPluginState,
    },
    /// The plugin is installed, and the workspace refuses to load it.
    #[error("the plugin is installed but was not loaded: `{}`", code.escape_debug())]
    Broken {
        /// Why, in Grafana's words.
        code: String,
    },
    /// The workspace shows the wanted version, and its files are those of another one.
    #[error("the workspace shows the plugin as wanted, but its files are those of `{}`", found.as_str().escape_debug())]
    OtherFiles {
        /// The version of the files.
        found: PluginVersion,
    },
    /// The workspace no longer lists the plugin, and still has its files.
    #[error("the workspace no longer lists the plugin, but still has the files of {found}", found = found.as_str().escape_debug())]
    FilesLeft {
        /// The version of the files.
        found: PluginVersion,
    },
    /// The workspace does not remove what it did not load.
    #[error("the workspace did not load the plugin (`{}`), and does not remove it", code.escape_debug())]
    NotLoaded {
        /// Why, in Grafana's words.
        code: String,
    },
    /// The change was never sent: no connection could be made.
    #[error("the workspace could not be reached")]
    NotReached,
    /// The change was sent, and the workspace could not be read afterwards: the outcome is unknown.
    #[error("the workspace could not be read after the change was sent")]
    Unreadable,
}

fn quote(message: Option<&String>) -> String {
    message.map_or_else(String::new, |message| format!(": {}", printable(message)))
}

fn describe(seen: &ServerPluginState) -> String {
    match seen {
        ServerPluginState::Loaded { version: Some(version) } => {
            format!("version `{}`", version.as_str().escape_debug())
        }
        ServerPluginState::Loaded { version: None } => "another version".to_owned(),
        ServerPluginState::Broken { code, .. } => format!("that it was not loaded: `{}`", code.escape_debug()),
        ServerPluginState::Absent => "no such plugin".to_owned(),
    }
}

diagnose!(Failure {
    Refused { status: 401 } => Kind::Failed, "the token, or the user and the password, of this workspace is wrong or expired";
    Refused { status: 403 } => Kind::Failed,
        "the token needs the permission `plugins:install`: the Admin role on AMG, a server admin elsewhere; core plugins \
         cannot be changed";
    Refused { status: 404 } => Kind::Failed,
        "the workspace knows no such plugin or version, or plugin management is off: enable it in the console of AMG, \
         elsewhere with `plugin_admin_enabled`";
    Refused { status: 429 } => Kind::Failed, "try again later, or with fewer workspaces at once";
    NoEffect => Kind::Failed,
        "a proxy or a login page may have answered instead of Grafana, or somebody else changes plugins there: check the \
         address and the token";
    Overtaken => Kind::Failed, "find out who changes plugins there before anything else is changed";
    Broken { code } if code.starts_with("signature") => Kind::Failed,
        "the plugin's signature does not satisfy the workspace; install a signed version";
    Broken => Kind::Failed, "see the log of the workspace for the reason, or install another version";
    NotReached => Kind::Network;
    Unreadable => Kind::Unknown, "read the workspace again once it responds, before anything else is changed there";
    OtherFiles => Kind::Failed, "remove the plugin there and install it again; a restart would load the other version";
    FilesLeft => Kind::Failed,
        "remove the plugin's folder from the plugins folder of that server: Grafana loads it again at its next start";
    NotLoaded => Kind::Failed, "remove the plugin's folder from the plugins folder of that server, then restart Grafana";
    NotDone { status: Some(500) } => Kind::Failed,
        "see the log of the workspace: its plugins folder may be read-only, or its catalog may not have answered";
    Refused | NotDone => Kind::Failed;
});
