//! What is done with a verdict (`[trust]` in the manifest of wanted plugins; protocol page 6.6).
//!
//! *Invariant:* under [`Enforcement::Require`] nothing is allowed that a Grafana with the same list would not load.
//! *Not for:* finding the verdict.

use std::{collections::BTreeSet, sync::Arc};

use super::{InvalidReason, Status, Verdict};
use crate::{
    diagnostic::{Kind, diagnose},
    model::PluginId,
};

/// How much signatures count: `trust.signatures`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforcement {
    /// What is not valid is refused, but for unsigned plugins that are allowed by name.
    #[default]
    Require,
    /// What is not valid is used with a warning.
    Warn,
    /// Signatures do not count.
    Off,
}

/// What is to be done with a plugin.
#[derive(Clone, Debug)]
pub(crate) enum PolicyDecision {
    /// It may be installed.
    Allow,
    /// It may be installed, with this warning.
    AllowWithWarning(PolicyError),
    /// It may not be installed.
    Refuse(PolicyError),
}

/// A plugin's signature does not satisfy the policy.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PolicyError {
    /// It has no signature, and is not allowed without.
    #[error("the plugin `{0}` is unsigned")]
    Unsigned(PluginId),
    /// It is not what was signed.
    #[error("the plugin `{plugin}` was changed after signing")]
    Modified {
        /// The plugin.
        plugin: PluginId,
        /// Which rule it breaks.
        #[source]
        reason: Option<Arc<InvalidReason>>,
    },
    /// Its signature proves nothing.
    #[error("the signature of the plugin `{plugin}` is invalid")]
    Invalid {
        /// The plugin.
        plugin: PluginId,
        /// Which rule it breaks.
        #[source]
        reason: Option<Arc<InvalidReason>>,
    },
}

diagnose!(PolicyError {
    Unsigned(plugin) => Kind::Integrity, format!(
        "to use it all the same, add `{plugin}` to `trust.unsigned` of the manifest; a package that you sign yourself is \
         trusted with `--trusted-key FILE`"
    );
    Modified { reason } | Invalid { reason } => Kind::Integrity, match reason.as_deref() {
        Some(InvalidReason::Manifest(error)) => error.hint(),
        Some(InvalidReason::OtherServer { .. }) => Some("have it signed for the root URL of this server".to_owned()),
        _ => None,
    };
});

/// Returns what is to be done with a plugin; being allowed unsigned helps no plugin whose signature is bad.
pub(crate) fn decide(
    verdict: &Verdict,
    plugin: &PluginId,
    enforcement: Enforcement,
    allowed_unsigned: &BTreeSet<PluginId>,
) -> PolicyDecision {
    let (plugin, reason) = (plugin.clone(), verdict.reason.clone());
    let error = match verdict.status {
        Status::Valid => return PolicyDecision::Allow,
        Status::Unsigned if allowed_unsigned.contains(&plugin) => return PolicyDecision::Allow,
        Status::Unsigned => PolicyError::Unsigned(plugin),
        Status::Modified => PolicyError::Modified { plugin, reason },
        Status::Invalid => PolicyError::Invalid { plugin, reason },
    };
    match enforcement {
        Enforcement::Require => PolicyDecision::Refuse(error),
        Enforcement::Warn => PolicyDecision::AllowWithWarning(error),
        Enforcement::Off => PolicyDecision::Allow,
    }
}
