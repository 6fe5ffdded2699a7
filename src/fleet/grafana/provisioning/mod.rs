//! Changes to what a Grafana holds besides plugins: folders, bundled dashboards, data sources, snapshots.
//!
//! *Invariant:* a change is sent once, unless the server says that it did not take it (429); it counts as done only when
//! a reading shows it. There are three ends: as wanted, failed ([`ContentError`]) and unknown ([`ContentError::Unknown`]).
//! *Not for:* deciding what should be there, or taking a whole step back: `ops` puts these changes together.

mod dashboards;
mod data_sources;
mod error;
mod fields;
mod folders;
mod three_way;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

pub(crate) use dashboards::{BundledDashboard, Saved};
pub use error::ContentError;
pub(crate) use fields::{has_secret, has_settings, is_as_it_was, secret_names};
pub(crate) use three_way::{ThreeWay, three_way};

use super::{Grafana, WorkspaceError};
use crate::{
    json::{self, KeyComparison, Limits},
    model::Secret,
    net::{FullReply, Method, NetError, SingleRequest},
};

/// So many readings in a row must miss before a change is called failed.
const AGREEING: u32 = 2;

/// What became of a change that did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Changed {
    /// It was made.
    Done,
    /// It was so already: nothing was sent.
    Unchanged,
}

/// What a change is to bring about, as a reading shows it.
#[derive(Clone, Copy, Debug)]
enum Goal<'a> {
    /// A folder with this title.
    Folder { uid: &'a str, title: &'a str },
    /// No such folder.
    NoFolder(&'a str),
    /// A bundled dashboard is imported into the folder.
    Imported { bundled: &'a BundledDashboard, folder_uid: &'a str },
    /// A dashboard has another version than this.
    Saved { uid: &'a str, not: Option<i64> },
    /// No such dashboard.
    NoDashboard(&'a str),
    /// A data source with these settings.
    DataSource { uid: &'a str, name: &'a str, body: &'a Value, not: Option<i64> },
    /// No such data source.
    NoDataSource { uid: &'a str, name: &'a str },
}

impl Goal<'_> {
    fn what(&self) -> String {
        let named = |kind: &str, name: &str| format!("{kind} `{}`", name.escape_debug());
        match self {
            Self::Folder { uid, .. } | Self::NoFolder(uid) => named("folder", uid),
            Self::Imported { bundled, .. } => named("bundled dashboard", &bundled.path),
            Self::Saved { uid, .. } | Self::NoDashboard(uid) => named("dashboard", uid),
            Self::DataSource { uid, .. } | Self::NoDataSource { uid, .. } => named("data source", uid),
        }
    }
}

/// One request that changes something.
struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    body: Value,
    hidden: &'a [Secret],
}

/// The answer of a server to a change.
enum ChangeAnswer {
    Accepted(Value),
    Refused { status: u16, message: Option<String> },
    Unclear { status: Option<u16>, message: Option<String> },
}

impl Grafana {
    /// Sends a change and reads until it shows, or until the time for that is over; the answer is handed out.
    async fn bring_about(&self, request: Request<'_>, goal: Goal<'_>) -> Result<Value, ContentError> {
        let what = || goal.what();
        let answer = self.send(request, &what()).await?;
        match answer {
            ChangeAnswer::Refused { status: status @ (409 | 412), message } => match self.shows(goal).await {
                Ok(true) => Ok(Value::Null),
                Ok(false) => Err(ContentError::Refused { what: what(), status, message }),
                Err(source) => Err(ContentError::Unknown { what: what(), source: Some(Box::new(source)) }),
            },
            ChangeAnswer::Refused { status, message } => Err(ContentError::Refused { what: what(), status, message }),
            ChangeAnswer::Accepted(answer) if self.watch(goal).await? => Ok(answer),
            ChangeAnswer::Unclear { .. } if self.watch(goal).await? => Ok(Value::Null),
            ChangeAnswer::Accepted(_) => Err(ContentError::NoEffect { what: what() }),
            ChangeAnswer::Unclear { status, message } => Err(ContentError::Fruitless { what: what(), status, message }),
        }
    }

    /// Sends a change; again only if the server did not process it (429).
    async fn send(&self, request: Request<'_>, what: &str) -> Result<ChangeAnswer, ContentError> {
        let settings = self.site.client().settings();
        let Request { method, path, body, hidden } = request;
        let mut tries = settings.tries.max(1);
        loop {
            let (method, timeout, limit) = (method.clone(), settings.change_timeout, Limits::CATALOG.bytes as u64);
            let body = (method != Method::DELETE).then_some(&body);
            let question = SingleRequest { method, path, body, hidden, timeout, limit };
            let FullReply { reply, bytes } = match self.site.request_once(question).await {
                Ok(spoken) => spoken,
                Err(error @ (NetError::Offline { .. } | NetError::Unreachable { .. })) => {
                    let source = WorkspaceError::NotReached(Box::new(error));
                    return Err(ContentError::NotSent { what: what.to_owned(), source });
                }
                Err(_) => return Ok(ChangeAnswer::Unclear { status: None, message: None }),
            };
            tries -= 1;
            let status = reply.status;
            match status {
                // A login page answers every request with success; reading back decides.
                200..=299 => {
                    let answer = json::parse(&bytes, Limits::CATALOG, KeyComparison::Exact).unwrap_or_default();
                    return Ok(ChangeAnswer::Accepted(answer));
                }
                429 if tries > 0 => {
                    sleep(reply.retry_after.unwrap_or(settings.settle_pause).min(settings.retry_after)).await;
                }
                300..=499 if status != 408 => return Ok(ChangeAnswer::Refused { status, message: reply.message }),
                _ => return Ok(ChangeAnswer::Unclear { status: Some(status), message: reply.message }),
            }
        }
    }

    /// Reads until the goal shows, or until the time is over and two readings in a row miss it. What cannot be read is
    /// unknown (fault W13).
    async fn watch(&self, goal: Goal<'_>) -> Result<bool, ContentError> {
        let settings = self.site.client().settings();
        let until = Instant::now() + settings.settle_timeout;
        let mut misses = 0;
        loop {
            // A reading asks again by itself when it is not answered; all of that must fit into the time there is.
            let reading = tokio::time::timeout(settings.settle_timeout, self.shows(goal)).await;
            let source = match reading {
                Ok(Ok(true)) => return Ok(true),
                Ok(Ok(false)) => {
                    misses += 1;
                    None
                }
                Ok(Err(error)) => {
                    misses = 0;
                    Some(Box::new(error))
                }
                Err(_) => {
                    misses = 0;
                    None
                }
            };
            let is_over = Instant::now() >= until;
            if is_over && misses == 0 {
                return Err(ContentError::Unknown { what: goal.what(), source });
            }
            if is_over && misses >= AGREEING {
                return Ok(false);
            }
            sleep(settings.settle_pause.max(Duration::from_millis(1))).await;
        }
    }

    async fn shows(&self, goal: Goal<'_>) -> Result<bool, WorkspaceError> {
        Ok(match goal {
            Goal::Folder { uid, title } => {
                self.folder(uid).await?.is_some_and(|folder| folders::has_title(&folder, title))
            }
            Goal::NoFolder(uid) => self.folder(uid).await?.is_none(),
            Goal::Imported { bundled, folder_uid } => {
                let now = self.bundled(&bundled.plugin).await?.into_iter().find(|one| one.path == bundled.path);
                match now {
                    Some(now) => self.is_imported(&now, folder_uid).await?,
                    None => false,
                }
            }
            Goal::Saved { uid, not } => self.saved(uid).await?.is_some_and(|saved| saved.version() != not),
            Goal::NoDashboard(uid) => self.saved(uid).await?.is_none(),
            Goal::DataSource { uid, name, body, not } => {
                let found = self.data_source(uid, name).await?;
                found.is_some_and(|found| fields::is_as(&found, body) && data_sources::is_newer(&found, not))
            }
            Goal::NoDataSource { uid, name } => self.data_source(uid, name).await?.is_none(),
        })
    }

    /// Reads something that may be missing: only a 404 of Grafana itself, in JSON, means that it is.
    async fn found(&self, what: &'static str, path: &[&str]) -> Result<Option<Value>, WorkspaceError> {
        match self.get(what, path, &[]).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) && is_grafanas(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A proxy without a Grafana behind it answers 404 too, with a page or nothing; Grafana names what is missing.
fn is_grafanas(error: &WorkspaceError) -> bool {
    let WorkspaceError::NotReached(error) = error else { return false };
    let NetError::Status { message: Some(message), .. } = error.as_ref() else { return false };
    message.to_lowercase().contains("not found")
}
