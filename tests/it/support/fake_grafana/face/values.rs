//! The values that cells of a face can have, where a yes or a no does not say it.
//!
//! *Invariant:* each is plain data.

use serde_json::json;

use super::super::http::Answer;

/// A refusal as Grafana writes it: with a message id (errutil), or plain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The message id; empty in the plain shape.
    pub id: &'static str,
    /// The text for people.
    pub message: &'static str,
}

impl Refusal {
    pub(super) const fn plain(status: u16, message: &'static str) -> Self {
        Self { status, id: "", message }
    }

    pub(super) const fn errutil(status: u16, id: &'static str, message: &'static str) -> Self {
        Self { status, id, message }
    }

    /// Returns it as an answer.
    pub(in super::super) fn answer(&self) -> Answer {
        if self.id.is_empty() {
            return Answer::message(self.status, self.message);
        }
        let body = json!({
            "message": self.message, "messageId": self.id, "statusCode": self.status, "extra": {}, "traceID": "",
        });
        Answer::json(self.status, &body)
    }
}

/// How an install is carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Staging {
    /// After its delay, all at once; what is on disk is what is loaded.
    AllAtOnce,
    /// The old version is removed, then the delay of the download passes, then it is extracted and loaded.
    StepByStep,
}

/// What becomes of a dependency that is installed already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Over {
    /// Its files are extracted over the old ones; the registry keeps the old version.
    Extracted,
    /// The whole install is refused: 409.
    Refused,
    /// It is left alone.
    Kept,
    /// It is removed and installed in the wanted version.
    Moved,
}

/// What `/api/plugins/errors` lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum ErrorList {
    /// Whatever a test has called rejected.
    Rejections,
    /// Errors of signatures.
    Signatures,
    /// Also backends that did not start, and Angular.
    All,
}

/// What `/api/user` says to a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum AccountUser {
    /// What it says to a person.
    AsPerson,
    /// A refusal.
    Refused(Refusal),
    /// A `uid` that begins with `service-account:`.
    Named,
}

/// What `/api/user/orgs` says to a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum AccountOrganisations {
    /// What it says to a person.
    AsPerson,
    /// An empty list.
    Empty,
    /// A refusal.
    Refused(Refusal),
}

/// What the list of permissions has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Permissions {
    /// Rights to plugins where installs are allowed.
    ForInstaller,
    /// Also what an administrator of the organisation holds.
    ByRole,
    /// There is no such route.
    NotThere,
}

/// How a data source is addressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum SourceRoutes {
    /// By number and by name.
    Number,
    /// Read by uid as well.
    ReadByUid,
    /// Read and written by uid as well.
    UidAndNumber,
    /// By uid and by name, not by number.
    Uid,
}

/// What the classic route answers for a dashboard stored as v2, and the name of that version below `/apis`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum StoredV2 {
    /// There are none.
    Never,
    /// 406 with the path below `/apis`.
    NotAcceptable(&'static str),
    /// 200 in the classic form, with losses.
    Lossy(&'static str),
}
