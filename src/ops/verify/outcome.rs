//! The outcome of a verification, gathered object by object.
//!
//! *Invariant:* an object that the signature policy refuses is never counted as good.
//! *Not for:* reading anything.

use serde::Serialize;

use crate::{
    archive::ArchiveError,
    diagnostic::{Chain, Diagnose, Kind},
    index::Blob,
    model::PluginId,
    ops::{
        Context,
        trust::{InstalledVerdict, Signed},
    },
    signature::{PolicyError, Verdict},
    verifier::Verified,
};

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub object: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct VerifyOutcome {
    /// How many things were checked.
    pub checked: usize,
    /// How many of them are as they should be.
    pub ok: usize,
    /// The others.
    pub failures: Vec<Finding>,
    /// What is as it should be, though it has only an MD5.
    pub weak: Vec<String>,
    /// What the failures mean.
    #[serde(skip)]
    pub kind: Option<Kind>,
    /// What the signatures say: of zips, of packages in the store, of installed plugins and of those inside them.
    pub signatures: Vec<Signed>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
    /// What the provenance log is like, where everything was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceOutcome>,
}

/// The outcome of the check of the provenance log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct ProvenanceOutcome {
    /// How many entries it has.
    pub entries: u64,
    /// The hash of the last one, to hold against one that was written down elsewhere; nothing where it is empty.
    pub head: Option<String>,
    /// Whether the chain is whole, and all pins and packages are what it says.
    pub ok: bool,
}

impl VerifyOutcome {
    pub(super) fn good(&mut self) {
        self.checked += 1;
        self.ok += 1;
    }

    pub(super) fn good_by(&mut self, blob: &Blob, object: String) {
        self.good();
        if blob.weak {
            self.weak.push(object);
        }
    }

    /// Notes what a package's signature says; whether that is enough is not decided here.
    pub(super) fn sign(
        &mut self,
        context: &Context,
        object: &str,
        package: &mut Verified,
    ) -> Result<Verdict, ArchiveError> {
        let verdict = context.trust.evaluate(package, None)?;
        self.signatures.push(Signed::from_verdict(object.to_owned(), &verdict));
        Ok(verdict)
    }

    /// Returns why the policy refuses a plugin with this signature; a warning is noted.
    pub(super) fn refusal(
        &mut self,
        context: &Context,
        object: &str,
        plugin: &PluginId,
        verdict: &Verdict,
    ) -> Option<PolicyError> {
        match context.trust.decide(verdict, plugin) {
            Ok(warning) => {
                self.remarks.extend(warning.map(|warning| format!("{object}: {}", Chain(&warning))));
                None
            }
            Err(error) => Some(error),
        }
    }

    /// Notes the signature of a package, and returns whether the policy accepts it; if not, the package failed.
    pub(super) fn accepts(&mut self, context: &Context, object: &str, package: &mut Verified) -> bool {
        let verdict = match self.sign(context, object, package) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.refused(object.to_owned(), &error, error.kind());
                return false;
            }
        };
        let refusal = self.refusal(context, object, &package.archive().plugin_json().id, &verdict);
        if let Some(error) = &refusal {
            self.refused(object.to_owned(), error, Kind::Integrity);
        }
        refusal.is_none()
    }

    /// Notes what an installed plugin's signature says, and those of the plugins inside it.
    pub(super) fn sign_installed(&mut self, object: &str, judged: &InstalledVerdict) {
        self.signatures.push(Signed::from_verdict(object.to_owned(), &judged.verdict));
        for (folder, verdict) in &judged.nested {
            self.signatures.push(Signed::from_verdict(format!("{object}, in it `{folder}`"), verdict));
        }
    }

    pub(super) fn refused(&mut self, object: String, error: &impl Diagnose, kind: Kind) {
        self.bad(object, Chain(error).to_string(), kind, error.hint());
    }

    pub(super) fn bad(&mut self, object: String, reason: String, kind: Kind, hint: Option<String>) {
        self.checked += 1;
        self.failures.push(Finding { object, reason, hint });
        // A refused package weighs more than a folder that differs.
        self.kind = if self.kind == Some(Kind::Integrity) { self.kind } else { Some(kind) };
    }
}
