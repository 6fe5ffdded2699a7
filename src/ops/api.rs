//! Sends a call of Grafana's HTTP API to workspaces, each with its own credential.
//!
//! *Invariant:* every workspace has one answer, and none stops another; what may change something is sent at most once, and
//! what was sent without an answer is reported as unknown; no answer repeats a token.
//! *Not for:* knowing what a call does: that is for whoever words it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

use super::target::Target;
use crate::{
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    fleet::{Grafana, WorkspaceError, target::NoServer},
    model::OrganisationInfo,
    net::{Exchange, ExchangeReply, Method, NetError, ParseRequestPathError, RequestPath, Site},
    progress::Announced,
};

/// The greatest length of an answer, in decoded bytes.
pub(crate) const MAX_BODY: u64 = 16 << 20;

/// How many workspaces are asked, and how many changed, side by side.
const READ_AT_ONCE: usize = 16;
const CHANGED_AT_ONCE: usize = 8;

/// The methods that Grafana's API has; the first two change nothing.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Paths that change something although they are read: deleting a snapshot by its key, and ending a session.
const CHANGED_BY_READING: [&str; 2] = ["api/snapshots-delete/", "logout"];

/// A call as somebody words it, checked.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    method: Method,
    /// The path below the address of a workspace.
    pub path: RequestPath,
    /// The JSON that is sent, as it is.
    pub body: Option<Vec<u8>>,
    /// The organisation that is asked about, by its name or number.
    pub organisation: Option<String>,
}

/// A call cannot be sent to any workspace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiCallError {
    /// There is no such method.
    #[error("`{}` is not a method of Grafana's API", .0.escape_debug())]
    Method(String),
    /// The path is refused.
    #[error("the path is refused")]
    Path(#[from] ParseRequestPathError),
    /// A reading has a body.
    #[error("a {0} sends no body")]
    Body(Method),
    /// The body is not JSON.
    #[error("the body is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// The body is longer than an answer may be.
    #[error("the body has more than {MAX_BODY} bytes")]
    TooLong,
}

diagnose!(ApiCallError {
    forward Path;
    Method => Kind::Usage, format!("the methods are {}", METHODS.map(|method| method.to_string()).join(", "));
    Body => Kind::Usage, "write the parameters into the path: `/api/search?limit=10`";
    Json | TooLong => Kind::Usage;
});

impl ApiCall {
    /// Returns the call of this method, whatever its case, and this path.
    pub(crate) fn new(method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Self, ApiCallError> {
        let wanted = method.to_ascii_uppercase();
        let known = METHODS.into_iter().find(|known| known.as_str() == wanted);
        let method = known.ok_or_else(|| ApiCallError::Method(method.to_owned()))?;
        let path = path.parse()?;
        if let Some(body) = &body {
            if method.is_safe() {
                return Err(ApiCallError::Body(method));
            }
            if body.len() as u64 > MAX_BODY {
                return Err(ApiCallError::TooLong);
            }
            serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(ApiCallError::Json)?;
        }
        Ok(Self { method, path, body, organisation: None })
    }

    /// Returns whether nothing is changed by it.
    pub(crate) fn is_read(&self) -> bool {
        self.method.is_safe() && !CHANGED_BY_READING.iter().any(|path| self.path.path().starts_with(path))
    }

    /// Returns whether a workspace installs a plugin by it, which nobody has checked.
    pub(crate) fn installs(&self) -> bool {
        let path = self.path.path();
        !self.is_read() && path.starts_with("api/plugins/") && path.ends_with("/install")
    }

    /// Returns the method and the path.
    pub(crate) fn request_line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What a workspace answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ApiAnswer {
    /// The name of the workspace.
    pub workspace: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The body: JSON, or a text if it is none; secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip)]
    pub hint: Option<String>,
    /// The kind of failure; `None` for a success.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

/// A workspace did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// It is no server that can be asked.
    #[error(transparent)]
    NoServer(#[from] NoServer),
    /// Its organisations cannot be read.
    #[error("its organisations cannot be read")]
    Organisations(#[from] WorkspaceError),
    /// It has no such organisation, or the token cannot see it.
    #[error("no organisation `{}`{}", wanted.escape_debug(), known.as_ref().map_or_else(String::new, |known| format!(": there is {known}")))]
    NoOrganisation {
        /// What was asked for.
        wanted: String,
        /// Those that the token sees.
        known: Option<String>,
    },
    /// It answers about one organisation, whichever is asked for.
    #[error("it does not answer about the organisation {0}: its login is in another")]
    OtherOrganisation(i64),
    /// A reading was not answered, or a change was not sent.
    #[error("no answer")]
    NoAnswer(#[source] NetError),
    /// A change was sent, and there was no answer.
    #[error("it was sent and not answered: whether it took effect is not known")]
    Unclear(#[source] NetError),
}

diagnose!(CallError {
    forward NoServer, Organisations, NoAnswer;
    NoOrganisation => Kind::Failed, "`plugport api GET /api/user/orgs` lists the organisations of the login";
    OtherOrganisation => Kind::Failed, "a token belongs to one organisation: use a token of that organisation";
    Unclear => Kind::Unknown, "read it back before it is sent again";
});

/// Sends a call to every target, which stands beside the account it is throttled with; the answers are in their order.
pub(crate) fn call_all<'a>(
    announced: &'a Announced<'a>,
    targets: Vec<(String, Target)>,
    call: &'a ApiCall,
) -> impl Stream<Item = ApiAnswer> + use<'a> {
    let at_once = if call.is_read() { READ_AT_ONCE } else { CHANGED_AT_ONCE };
    let (sender, receiver) = unbounded_channel();
    let accounts = targets.iter().map(|(account, target)| (target.name.clone(), account.clone())).collect();
    let throttle = std::sync::Arc::new(Throttle { accounts, receiver: Mutex::new(receiver), held: Mutex::default() });
    let targets: Vec<_> = targets.into_iter().map(|(_, target)| target.reporting_throttling(&sender)).collect();
    stream::iter(targets)
        .map(move |target| {
            let throttle = std::sync::Arc::clone(&throttle);
            async move {
                throttle.wait(&target.name).await;
                match announced.track(&target.name, call_one(&target, call)).await {
                    Ok((site, reply)) => answered(target.name, &site, reply),
                    Err(error) => ApiAnswer {
                        workspace: target.name,
                        status: None,
                        body: None,
                        error: Some(Chain(&error).to_string()),
                        hint: error.hint(),
                        kind: Some(error.kind()),
                    },
                }
            }
        })
        .buffered(at_once)
}

async fn call_one(target: &Target, call: &ApiCall) -> Result<(Site, ExchangeReply), CallError> {
    let server = target.as_server()?;
    let site = match &call.organisation {
        None => server.site().clone(),
        Some(wanted) => server.site().for_organisation(organisation(server, wanted).await?),
    };
    let settings = site.client().settings();
    let is_read = call.is_read();
    let exchange = Exchange {
        method: call.method.clone(),
        path: &call.path,
        body: call.body.as_deref(),
        timeout: if is_read { settings.header_timeout } else { settings.change_timeout },
        limit: MAX_BODY,
        is_read,
    };
    match site.exchange(&exchange).await {
        Ok(reply) => Ok((site, reply)),
        Err(error) if is_read || !error.may_have_been_sent() => Err(CallError::NoAnswer(error)),
        Err(error) => Err(CallError::Unclear(error)),
    }
}

/// Returns the number of an organisation that the server answers about when it is asked to, by its number or its name.
async fn organisation(server: &Grafana, wanted: &str) -> Result<i64, CallError> {
    let organisations = server.organisations().await?;
    let all: Vec<_> = organisations.readable.iter().chain(&organisations.closed).collect();
    let by_number = all.iter().find(|one| wanted.parse() == Ok(one.id));
    let found = by_number.or_else(|| all.iter().find(|one| one.name == wanted));
    let Some(found) = found else {
        let known: Vec<_> = all.iter().filter(|one| !one.name.is_empty()).map(|one| describe(one)).collect();
        let known = (!known.is_empty()).then(|| known.join(", "));
        return Err(CallError::NoOrganisation { wanted: wanted.to_owned(), known });
    };
    match server.look_into(found).await? {
        Some(_) => Ok(found.id),
        None => Err(CallError::OtherOrganisation(found.id)),
    }
}

fn describe(organisation: &OrganisationInfo) -> String {
    format!("`{}` ({})", organisation.name.escape_debug(), organisation.id)
}

/// Returns what is shown of an answer.
fn answered(workspace: String, site: &Site, reply: ExchangeReply) -> ApiAnswer {
    let status = Some(reply.status);
    let (body, unread) = match reply.body {
        Ok(bytes) => (value(&bytes, &|text| site.mask(text, &[])), None),
        Err(error) => (None, Some(error)),
    };
    let message = body.as_ref().and_then(|body| body.get("message")?.as_str());
    let (error, kind) = match (unread, reply.redirect, reply.status) {
        (Some(error), ..) => (Some(format!("answered {}: {}", reply.status, Chain(&error))), Some(error.kind())),
        (None, Some(to), _) => {
            let error = format!("answered {}: a redirect to `{to}`, which is not followed", reply.status);
            (Some(error), Some(Kind::Failed))
        }
        (None, None, 400..) => {
            let message = message.map_or_else(String::new, |message| format!(": {message}"));
            (Some(format!("answered {}{message}", reply.status)), Some(Kind::Failed))
        }
        _ => (None, None),
    };
    let hint = matches!(reply.status, 401 | 403).then(|| "check the token: it may lack a permission".to_owned());
    ApiAnswer { workspace, status, body, error, hint, kind }
}

/// Returns a body as JSON, or as a text if it is none; `None` if it is empty.
fn value(bytes: &[u8], mask: &dyn Fn(&str) -> String) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    Some(match serde_json::from_str(&text) {
        // JSON may spell a secret with escapes, which only reading undoes.
        Ok(value) => masked(value, mask),
        Err(_) => Value::String(mask(&text)),
    })
}

fn masked(value: Value, mask: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(mask(&text)),
        Value::Array(items) => items.into_iter().map(|item| masked(item, mask)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (mask(&key), masked(value, mask))).collect())
        }
        other => other,
    }
}

/// Returns the kind of the whole: nothing if all is well, `Unknown` if an outcome is, else `Partly` if something succeeded,
/// else what all failures are, or `Failed`.
pub(crate) fn kind_of(kinds: &[Option<Kind>]) -> Option<Kind> {
    let failures: Vec<_> = kinds.iter().flatten().copied().collect();
    let first = *failures.first()?;
    Some(match () {
        () if failures.contains(&Kind::Unknown) => Kind::Unknown,
        () if failures.len() < kinds.len() => Kind::Partly,
        () if failures.iter().all(|kind| *kind == first) => first,
        () => Kind::Failed,
    })
}

/// Which accounts want to be left alone, and until when.
struct Throttle {
    /// The account of each workspace.
    accounts: HashMap<String, String>,
    receiver: Mutex<UnboundedReceiver<(String, Duration)>>,
    held: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    /// Waits until the account of a workspace may be asked again.
    async fn wait(&self, workspace: &str) {
        while let Some(until) = self.held_until(workspace) {
            tokio::time::sleep_until(until).await;
        }
    }

    fn held_until(&self, workspace: &str) -> Option<Instant> {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok((workspace, pause)) = receiver.try_recv() {
            let until = held.entry(self.accounts.get(&workspace)?.clone()).or_insert(now);
            *until = (*until).max(now + pause);
        }
        held.get(self.accounts.get(workspace)?).copied().filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_checked_before_anything_is_sent() {
        let call = |method: &str, path: &str, body: Option<&str>| {
            ApiCall::new(method, path, body.map(|body| body.as_bytes().to_vec()))
        };
        assert!(call("get", "/api/org", None).expect("a call").is_read());
        assert!(!call("POST", "api/folders", Some("{}")).expect("a call").is_read());
        assert!(call("POST", "/api/plugins/a-panel/install", None).expect("a call").installs());
        for path in ["/api/snapshots-delete/abc", "/logout"] {
            assert!(!call("GET", path, None).expect("a call").is_read(), "{path}");
        }
        assert!(matches!(call("FETCH", "/api/org", None), Err(ApiCallError::Method(_))));
        assert!(matches!(call("GET", "/api/org", Some("{}")), Err(ApiCallError::Body(_))));
        assert!(matches!(call("POST", "/api/org", Some("{")), Err(ApiCallError::Json(_))));
        assert!(matches!(call("GET", "//evil", None), Err(ApiCallError::Path(_))));
    }

    #[test]
    fn the_kind_of_the_whole() {
        let (failed, network) = (Some(Kind::Failed), Some(Kind::Network));
        assert_eq!(kind_of(&[None, None]), None);
        assert_eq!(kind_of(&[None, network]), Some(Kind::Partly));
        assert_eq!(kind_of(&[network, network]), network);
        assert_eq!(kind_of(&[failed, network]), failed);
        assert_eq!(kind_of(&[None, failed, Some(Kind::Unknown)]), Some(Kind::Unknown));
    }

    #[test]
    fn no_body_repeats_a_secret() {
        let mask = |text: &str| text.replace("canary", "****");
        let shown = |body: &str| value(body.as_bytes(), &mask).map(|value| value.to_string());
        let nested = shown(r#"{"can\u0061ry": ["a canary"], "n": 1.5}"#);
        assert_eq!(nested.as_deref(), Some(r#"{"****":["a ****"],"n":1.5}"#));
        assert_eq!(shown("no JSON, canary").as_deref(), Some("\"no JSON, ****\""));
        assert_eq!(shown(""), None);
    }
}
