//! Content that a rollout changes besides plugins: imports dashboards, creates, changes and removes data sources, and rolls
//! that back.
//!
//! *Invariant:* the previous state is on the disk before the first change, so that it is known also after a crash; what fails
//! half done is rolled back at once, and nothing is rolled back over a change of somebody else.
//! *Not for:* the order of steps, or single requests: see [`crate::fleet::grafana`].

mod dashboards;
mod data_sources;
mod planned;
mod saving;

use std::fmt;

use serde_json::Value;

use data_sources::Wanted;
pub use planned::planned;
pub use saving::save_dashboards;

use crate::{
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    fleet::{
        Environment, Grafana, ReferenceError, WorkspaceError,
        access::RunSecrets,
        grafana::{Changed, ContentError},
        manifest::{DataSourceWish, Workspace},
    },
    model::Secret,
    records::{Creation, RecordError, RecordName, Records},
    rollout::{Cause, Content, ContentItem, Fault, PreviousState, TaskResult},
};

/// A change of content failed, or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentFault {
    /// The workspace failed or refused.
    #[error(transparent)]
    Change(#[from] ContentError),
    /// A secret cannot be fetched.
    #[error("the secret `{}` of data source `{uid}` cannot be fetched", name.escape_debug())]
    Secret {
        /// The data source.
        uid: String,
        /// The name of the secret.
        name: String,
        /// Why not.
        source: ReferenceError,
    },
    /// The manifest no longer contains the secret.
    #[error("the manifest no longer contains a reference for the secret `{}` of data source `{uid}` is", name.escape_debug())]
    NoReference {
        /// The data source.
        uid: String,
        /// The name of the secret.
        name: String,
    },
    /// The previous state cannot be saved or read.
    #[error("the previous state of a step is not saved")]
    Unsaved(#[from] RecordError),
    /// The saved previous state is not what this program writes.
    #[error("the saved previous state cannot be read")]
    Previous,
    /// A rollback restored the settings of a data source, but not its secrets.
    #[error(
        "the previous secrets of data source `{uid}` ({}) cannot be restored, since no server returns them", names.join(", ").escape_debug()
    )]
    SecretsLost {
        /// The data source.
        uid: String,
        /// The names of the secrets.
        names: Vec<String>,
    },
    /// A data source with secrets is to be removed, and the manifest does not agree to lose them.
    #[error(
        "data source `{uid}` has secrets ({}) that no rollback can restore, since no server returns them", names.join(", ").escape_debug()
    )]
    SecretsAtStake {
        /// The data source.
        uid: String,
        /// The names of the secrets.
        names: Vec<String>,
    },
    /// It failed half done, and the rollback is incomplete.
    #[error("{first}; and the rollback is incomplete: {}", left.join("; "))]
    RollbackIncomplete {
        /// What failed first.
        #[source]
        first: Box<ContentFault>,
        /// What could not be rolled back, and why.
        left: Vec<String>,
    },
}

impl From<WorkspaceError> for ContentFault {
    fn from(error: WorkspaceError) -> Self {
        Self::Change(error.into())
    }
}

impl ContentFault {
    fn is_unknown(&self) -> bool {
        match self {
            Self::Change(error) => error.is_unknown(),
            Self::RollbackIncomplete { first, .. } => first.is_unknown(),
            _ => false,
        }
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Change(ContentError::Drifted { .. }) => Cause::Drift,
            // Grafana's own failure is the end of it; without an answer, or with a proxy's, it may still take effect.
            Self::Change(ContentError::Fruitless { status, .. }) if *status != Some(500) => Cause::NoAnswer,
            Self::Change(ContentError::NoEffect { .. }) => Cause::NoAnswer,
            Self::Change(error) => match (error.status(), error.kind()) {
                (Some(401), _) => Cause::Token,
                (_, Kind::Network | Kind::Unknown) => Cause::Network,
                (Some(_), _) => Cause::Refused,
                _ if matches!(error, ContentError::ReadOnly { .. }) => Cause::Refused,
                _ => Cause::Other,
            },
            Self::RollbackIncomplete { first, .. } => first.cause(),
            _ => Cause::Other,
        }
    }

    /// Returns the entry of the journal.
    fn result(&self) -> TaskResult {
        let fault = Fault { cause: self.cause(), message: Chain(self).to_string(), hint: self.hint() };
        if self.is_unknown() { TaskResult::Unknown(fault) } else { TaskResult::Failed(fault) }
    }
}

diagnose!(ContentFault {
    forward Change, Secret { source }, RollbackIncomplete { first };
    SecretsLost => Kind::Failed, "set the previous secrets of the data source in Grafana";
    SecretsAtStake => Kind::Failed, "set `lose-secrets = true` in its entry of the manifest to remove it all the same";
    NoReference => Kind::Usage, "plan again: the manifest has changed";
    Unsaved | Previous => Kind::Storage;
});

/// Fetches the secrets of data sources.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// The data sources of the manifest.
    pub wishes: &'a [DataSourceWish],
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The environment.
    pub environment: Environment<'a>,
    /// What programs have printed in this run.
    pub run: &'a RunSecrets,
}

impl fmt::Debug for Secrets<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").field("workspace", self.workspace.name()).finish_non_exhaustive()
    }
}

impl Secrets<'_> {
    /// Fetches the secrets of one data source by their names.
    async fn fetch(self, uid: &str, names: &[&str]) -> Result<Vec<(String, Secret)>, ContentFault> {
        let mut wishes = self.wishes.iter().filter(|wish| self.workspace.is_selected_by(&wish.on));
        let wish = wishes.find(|wish| wish.uid.as_str() == uid);
        let mut secrets = Vec::new();
        for name in names {
            let (uid, name) = (uid.to_owned(), (*name).to_owned());
            let Some(reference) = wish.and_then(|wish| wish.secrets.get(&name)) else {
                return Err(ContentFault::NoReference { uid, name });
            };
            match self.run.text(reference, self.environment).await {
                Ok(secret) => secrets.push((name, secret)),
                Err(source) => return Err(ContentFault::Secret { uid, name, source }),
            }
        }
        Ok(secrets)
    }
}

/// The outcome of a change, with a note.
struct ContentChange {
    changed: Changed,
    note: Option<String>,
}

/// The record of the previous state of a step.
#[derive(Clone, Copy, Debug)]
pub struct SavedState<'a> {
    /// Where records are.
    pub records: &'a dyn Records,
    /// The name of this one.
    pub name: &'a RecordName,
}

impl SavedState<'_> {
    async fn read(self) -> Result<Option<Value>, ContentFault> {
        let document = self.records.read(self.name.clone()).await?;
        document.map(|bytes| serde_json::from_slice(&bytes).map_err(|_| ContentFault::Previous)).transpose()
    }

    /// Returns whether the state is the first that was saved.
    async fn create(self, before: &Value) -> Result<Creation, ContentFault> {
        Ok(self.records.create(self.name.clone(), before.to_string().into_bytes()).await?)
    }
}

/// Carries a step out. The previous state is saved before a change; what an earlier attempt saved holds.
pub async fn carry_out(server: &Grafana, content: &Content, secrets: Secrets<'_>, saved: SavedState<'_>) -> TaskResult {
    let change = async {
        let (before, earlier) = match saved.read().await? {
            Some(before) => (before, Creation::Exists),
            None if is_so(server, content).await? => return Ok(None),
            None => {
                let before = read_previous(server, content).await?;
                match saved.create(&before).await? {
                    Creation::Created => (before, Creation::Created),
                    Creation::Exists => (saved.read().await?.ok_or(ContentFault::Previous)?, Creation::Exists),
                }
            }
        };
        let done = change(server, content, secrets, &before).await?;
        Ok::<_, ContentFault>(Some((done, before, earlier)))
    };
    match change.await {
        // If an earlier attempt may have made the change, it counts as done.
        Ok(None | Some((ContentChange { changed: Changed::Unchanged, .. }, _, Creation::Created))) => {
            TaskResult::Unchanged
        }
        Ok(Some((done, before, _))) => TaskResult::Done { before: previous(before), note: done.note },
        Err(fault) => fault.result(),
    }
}

/// Returns the previous state without the passwords that servers up to Grafana 8 return for data sources: the journal
/// contains no secret, so those are not restored.
fn previous(mut before: Value) -> PreviousState {
    let Some(document) = before.as_object_mut() else { return PreviousState::default() };
    for key in ["password", "basicAuthPassword"] {
        document.remove(key);
    }
    PreviousState::Content(before)
}

async fn change(
    server: &Grafana,
    content: &Content,
    secrets: Secrets<'_>,
    before: &Value,
) -> Result<ContentChange, ContentFault> {
    match Item::from(&content.item) {
        Item::Dashboards { folder_uid, title } => {
            let done = dashboards::import_all(server, &content.plugin, folder_uid, title).await;
            let Err(first) = done else { return done };
            // An unknown outcome is read back first, and a refused token cannot roll anything back.
            if first.is_unknown() || first.cause() == Cause::Token {
                return Err(first);
            }
            let left = dashboards::roll_back(server, &content.plugin, folder_uid, before).await;
            if left.faults.is_empty() {
                return Err(first);
            }
            let left = left.faults.iter().map(|fault| Chain(fault).to_string()).collect();
            Err(ContentFault::RollbackIncomplete { first: Box::new(first), left })
        }
        Item::NoDataSource { uid, lose_secrets } => {
            data_sources::refuse_removal(uid, before, lose_secrets)?;
            Ok(ContentChange { changed: server.delete_data_source(uid, "").await?, note: None })
        }
        Item::DataSource(wanted) => data_sources::put(server, wanted, secrets).await,
    }
}

/// What a step changes.
enum Item<'a> {
    Dashboards { folder_uid: &'a str, title: &'a str },
    DataSource(Wanted<'a>),
    NoDataSource { uid: &'a str, lose_secrets: bool },
}

impl<'a> From<&'a ContentItem> for Item<'a> {
    fn from(item: &'a ContentItem) -> Self {
        match item {
            ContentItem::Dashboards { folder_uid, folder_title } => {
                Self::Dashboards { folder_uid, title: folder_title }
            }
            ContentItem::DataSource { uid, name, settings, secrets, keep_secrets } => {
                Self::DataSource(Wanted { uid, name, settings, secrets, keep_secrets: *keep_secrets })
            }
            ContentItem::NoDataSource { uid, lose_secrets, .. } => {
                Self::NoDataSource { uid, lose_secrets: *lose_secrets }
            }
        }
    }
}

/// What is known of a step before it is planned.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Whether everything is as the step would make it.
    pub is_so: bool,
    /// Why it cannot be done.
    pub obstacle: Option<ContentFault>,
    /// What it does to the work of others.
    pub warnings: Vec<String>,
}

/// Reads what a step would change. What cannot be read is planned: the rollout will report the error.
pub(crate) async fn examine(server: &Grafana, content: &Content) -> Examined {
    let is_so = is_so(server, content).await.unwrap_or(false);
    let mut examined = Examined { is_so, ..Examined::default() };
    match Item::from(&content.item) {
        // If its plugin is changed, what is up to date now may be replaced all the same.
        Item::Dashboards { .. } => examined.warnings = dashboards::edited(server, &content.plugin).await,
        Item::NoDataSource { uid, lose_secrets } if !is_so => {
            if let Ok(Some(found)) = server.data_source(uid, "").await {
                examined.obstacle = data_sources::refuse_removal(uid, &found, lose_secrets).err();
            }
        }
        Item::DataSource(wanted) if !is_so => {
            if let Ok(Some(found)) = server.data_source(wanted.uid, wanted.name).await {
                examined.warnings.extend(data_sources::describe_secrets(wanted, &found));
            }
        }
        _ => {}
    }
    examined
}

/// Fetches the secrets that a step will send, before anything is changed.
pub(crate) async fn check_secrets(
    server: &Grafana,
    content: &Content,
    secrets: Secrets<'_>,
) -> Result<(), ContentFault> {
    let Item::DataSource(wanted) = Item::from(&content.item) else { return Ok(()) };
    // If it cannot be read, every secret may be sent.
    let found = server.data_source(wanted.uid, wanted.name).await.unwrap_or_default();
    secrets.fetch(wanted.uid, &wanted.sent(found.as_ref())).await.map(drop)
}

/// Reads whether everything is as a step would make it. If it sends secrets over others, it is not: they cannot be read.
pub(crate) async fn is_so(server: &Grafana, content: &Content) -> Result<bool, WorkspaceError> {
    match Item::from(&content.item) {
        Item::Dashboards { folder_uid, title } => dashboards::is_done(server, &content.plugin, folder_uid, title).await,
        Item::DataSource(wanted) => data_sources::is_so(server, wanted).await,
        Item::NoDataSource { uid, .. } => Ok(server.data_source(uid, "").await?.is_none()),
    }
}

/// Reads whether a step that was under way took effect; sends nothing.
pub async fn settle(server: &Grafana, content: &Content, saved: SavedState<'_>) -> TaskResult {
    let before = match saved.read().await {
        // It is written before anything is sent.
        Ok(None) => return TaskResult::NotDone,
        Ok(Some(before)) => before,
        Err(fault) => return fault.result(),
    };
    let is_done = match Item::from(&content.item) {
        Item::Dashboards { folder_uid, title } => dashboards::is_done(server, &content.plugin, folder_uid, title).await,
        Item::DataSource(wanted) => data_sources::is_put(server, wanted, &before).await,
        Item::NoDataSource { uid, .. } => server.data_source(uid, "").await.map(|found| found.is_none()),
    };
    match is_done {
        Ok(true) => TaskResult::Done { before: previous(before), note: None },
        Ok(false) => TaskResult::NotDone,
        Err(error) => unreadable(&error),
    }
}

/// Rolls a step back: `before` is the previous state that [`carry_out`] returned.
pub async fn roll_back(server: &Grafana, content: &Content, before: &Value) -> TaskResult {
    let done = match Item::from(&content.item) {
        Item::Dashboards { folder_uid, .. } => {
            return dashboards::roll_back(server, &content.plugin, folder_uid, before).await.result();
        }
        Item::DataSource(wanted) => data_sources::roll_back(server, wanted, before).await,
        Item::NoDataSource { uid, .. } => data_sources::restore(server, uid, before).await,
    };
    match done {
        Ok(ContentChange { changed: Changed::Unchanged, .. }) => TaskResult::Unchanged,
        Ok(ContentChange { changed: Changed::Done, note }) => {
            TaskResult::Done { before: PreviousState::default(), note }
        }
        Err(fault) => fault.result(),
    }
}

/// Reads whether the rollback of a step took effect; sends nothing.
pub async fn settle_rollback(server: &Grafana, content: &Content, before: &Value) -> TaskResult {
    let is_back = match Item::from(&content.item) {
        Item::Dashboards { folder_uid, .. } => {
            let is_back = dashboards::is_rolled_back(server, &content.plugin, folder_uid, before).await;
            is_back.map_err(ContentFault::from)
        }
        Item::DataSource(wanted) => data_sources::is_rolled_back(server, wanted, before).await,
        Item::NoDataSource { uid, .. } => data_sources::is_restored(server, uid, before).await,
    };
    match is_back {
        Ok(true) => TaskResult::Done { before: PreviousState::default(), note: None },
        Ok(false) => TaskResult::NotDone,
        Err(ContentFault::Change(ContentError::Workspace(error))) => unreadable(&error),
        Err(fault) => fault.result(),
    }
}

fn unreadable(error: &WorkspaceError) -> TaskResult {
    let cause = if error.status() == Some(401) { Cause::Token } else { Cause::Network };
    TaskResult::Unknown(Fault { cause, message: Chain(error).to_string(), hint: error.hint() })
}

async fn read_previous(server: &Grafana, content: &Content) -> Result<Value, ContentFault> {
    match Item::from(&content.item) {
        Item::Dashboards { folder_uid, .. } => Ok(dashboards::previous(server, &content.plugin, folder_uid).await?),
        Item::DataSource(Wanted { uid, name, .. }) => Ok(server.data_source(uid, name).await?.unwrap_or_default()),
        Item::NoDataSource { uid, .. } => Ok(server.data_source(uid, "").await?.unwrap_or_default()),
    }
}
