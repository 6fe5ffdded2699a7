//! What operations add to [`crate::fleet::target`]: whether the signatures of installed plugins are good, and how a
//! workspace that could not be read is shown.

use std::{path::PathBuf, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};
use serde::Serialize;

pub use crate::fleet::target::Target;
pub(crate) use crate::fleet::target::{InstalledPlugin, SignatureState, Snapshot, TargetError};
use crate::{
    archive::CompareError,
    diagnostic::{Chain, Diagnose, Kind},
    ops::{
        blocking,
        trust::{EvaluateError, Trust},
    },
    signature::Verdict,
};

impl From<&Verdict> for SignatureState {
    fn from(verdict: &Verdict) -> Self {
        let manifest = verdict.manifest.as_ref();
        Self {
            status: verdict.status.as_str().to_owned(),
            signature_type: manifest.map(|manifest| manifest.signature_type.as_str().to_owned()).unwrap_or_default(),
            org: manifest.map(|manifest| manifest.signed_by_org_name.clone()).unwrap_or_default(),
        }
    }
}

/// Why a workspace could not be read, as results show it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Unread {
    /// The causes in one line.
    pub error: String,
    /// What to do about it.
    #[serde(skip)]
    pub hint: Option<String>,
    /// The kind of failure.
    #[serde(skip)]
    pub kind: Kind,
}

impl<E: Diagnose> From<&E> for Unread {
    fn from(error: &E) -> Self {
        Self { error: Chain(error).to_string(), hint: error.hint(), kind: error.kind() }
    }
}

impl Unread {
    /// Returns the lines for stderr, with labels.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = String> {
        let hint = self.hint.iter().map(|hint| format!("hint: {hint}"));
        std::iter::once(format!("failed: {name}: {}", self.error)).chain(hint)
    }
}

impl Snapshot {
    /// Verifies the signatures of the plugins in a folder by the files that are there now; a server reports them itself.
    pub async fn verify_signatures(mut self, trust: &Arc<Trust>) -> Self {
        let trust = Arc::clone(trust);
        blocking(move || {
            for (id, path) in &self.folders {
                let verified = Dir::open_ambient_dir(path, ambient_authority())
                    .map_err(|source| CompareError { path: PathBuf::new(), source })
                    .map_err(EvaluateError::from)
                    .and_then(|dir| trust.evaluate_installed(&dir));
                match (verified, self.plugins.get_mut(id)) {
                    (Ok(verified), Some(plugin)) => plugin.signature = Some(SignatureState::from(&verified.verdict)),
                    (Err(error), _) => {
                        self.remarks.push(format!("the signature of {id} cannot be verified: {}", Chain(&error)));
                    }
                    (Ok(_), None) => {}
                }
            }
            self
        })
        .await
    }
}
