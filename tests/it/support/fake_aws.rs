//! An HTTP server that plays the API of Amazon Managed Grafana, for `AWS_ENDPOINT_URL_GRAFANA`.
//!
//! *Invariant:* a request without a signature of version 4 is refused; the region of an answer is that of the signature.
//! *Not for:* whether a signature is right, which the SDK sees to; TLS; other services of AWS.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

/// A workspace that the fake knows.
#[derive(Clone, Debug)]
pub struct AwsWorkspace {
    region: String,
    id: String,
    name: String,
    grafana: String,
    status: String,
    plugin_management: bool,
    accounts: Vec<(String, String)>,
    offered: Vec<String>,
}

impl AwsWorkspace {
    /// Returns an active workspace with plugin management and without service accounts.
    pub fn new(region: &str, id: &str, name: &str) -> Self {
        Self {
            region: region.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            grafana: "10.4".to_owned(),
            status: "ACTIVE".to_owned(),
            plugin_management: true,
            accounts: Vec::new(),
            offered: Vec::new(),
        }
    }

    /// Adds a service account with this role: `ADMIN`, `EDITOR` or `VIEWER`.
    #[must_use]
    pub fn account(mut self, id: &str, role: &str) -> Self {
        self.accounts.push((id.to_owned(), role.to_owned()));
        self
    }

    /// Offers upgrades to these versions.
    #[must_use]
    pub fn offers(mut self, versions: &[&str]) -> Self {
        self.offered = versions.iter().map(|version| (*version).to_owned()).collect();
        self
    }

    /// Has this state.
    #[must_use]
    pub fn status(mut self, status: &str) -> Self {
        status.clone_into(&mut self.status);
        self
    }

    /// Turns plugin management off.
    #[must_use]
    pub fn without_plugin_management(mut self) -> Self {
        self.plugin_management = false;
        self
    }

    fn endpoint(&self) -> String {
        format!("{}.grafana-workspace.{}.amazonaws.com", self.id, self.region)
    }

    fn document(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "endpoint": self.endpoint(), "grafanaVersion": self.grafana,
            "status": self.status, "created": 1.7e9, "modified": 1.7e9, "dataSources": [],
            "authentication": { "providers": ["AWS_SSO"] },
            "workspaceRoleArn": "arn:aws:iam::123456789012:role/service-role/Grafana",
        })
    }
}

/// A token that is there.
#[derive(Clone, Debug)]
pub struct AwsToken {
    /// The name that it was given.
    pub name: String,
    /// How long it lives, in seconds.
    pub seconds_to_live: u64,
    id: u64,
    path: String,
}

/// A request that was signed.
#[derive(Clone, Debug)]
pub struct AwsRequest {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The region that it is signed for.
    pub region: String,
    body: Value,
}

#[derive(Debug, Default)]
struct State {
    workspaces: Vec<AwsWorkspace>,
    key: String,
    tokens: Vec<AwsToken>,
    made: u64,
    requests: Vec<AwsRequest>,
    unsigned: usize,
    denied: BTreeSet<String>,
    closed: BTreeSet<String>,
    lost: u32,
    echoes: bool,
}

/// The running server.
#[derive(Debug)]
pub struct FakeAws {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeAws {
    /// Starts with these workspaces; every token that is made is `key`.
    pub fn start(workspaces: Vec<AwsWorkspace>, key: &str) -> Self {
        let state = Arc::new(Mutex::new(State { workspaces, key: key.to_owned(), ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&state), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // Who breaks off a connection is part of some tests.
                drop(stream.map(|stream| std::thread::spawn(move || serve(&shared, stream).ok())));
            }
        });
        Self { state, address, stopped, thread: Some(thread) }
    }

    /// Returns the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses an action like `CreateWorkspaceServiceAccountToken` from now on.
    pub fn deny(&self, action: &str) {
        lock(&self.state).denied.insert(action.to_owned());
    }

    /// Answers nothing in a region from now on.
    pub fn close(&self, region: &str) {
        lock(&self.state).closed.insert(region.to_owned());
    }

    /// Makes the next tokens, and loses the answers.
    pub fn lose_answers(&self, count: u32) {
        lock(&self.state).lost = count;
    }

    /// Refuses every signature, and repeats what was signed as AWS does.
    pub fn echo_signatures(&self) {
        lock(&self.state).echoes = true;
    }

    /// Returns the tokens that are there.
    pub fn tokens(&self) -> Vec<AwsToken> {
        lock(&self.state).tokens.clone()
    }

    /// Returns how many tokens were made.
    pub fn made(&self) -> u64 {
        lock(&self.state).made
    }

    /// Returns the signed requests so far.
    pub fn requests(&self) -> Vec<AwsRequest> {
        lock(&self.state).requests.clone()
    }

    /// Returns how many requests came without a signature.
    pub fn unsigned(&self) -> usize {
        lock(&self.state).unsigned
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer: its status, the name of its error, its document; nothing closes the connection.
type Answer = Option<(u16, &'static str, Value)>;

fn serve(state: &Mutex<State>, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (head, body) = read(&mut stream)?;
    let Some((status, error, document)) = answer(&mut lock(state), &head, &body) else { return Ok(()) };
    let body = document.to_string();
    let error = if error.is_empty() { String::new() } else { format!("x-amzn-errortype: {error}\r\n") };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Fake\r\ncontent-type: application/json\r\n{error}content-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn read(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let body = &bytes[end + 4..];
            if body.len() >= length {
                return Ok((head, body.to_vec()));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Returns the region of a signature: `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/grafana/aws4_request, ...`.
fn signed_region(head: &str) -> Option<String> {
    let signature = header(head, "authorization")?.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let (scope, rest) = signature.split_once(", SignedHeaders=")?;
    let (headers, signature) = rest.split_once(", Signature=")?;
    let parts: Vec<_> = scope.split('/').collect();
    let is_whole = headers.split(';').any(|name| name == "host")
        && header(head, "x-amz-date").is_some()
        && signature.len() == 64
        && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    match parts.as_slice() {
        [_, _, region, "grafana", "aws4_request"] if is_whole => Some((*region).to_owned()),
        _ => None,
    }
}

fn answer(state: &mut State, head: &str, body: &[u8]) -> Answer {
    let Some(region) = signed_region(head) else {
        state.unsigned += 1;
        return Some((403, "MissingAuthenticationTokenException", json!({ "message": "no signature" })));
    };
    let mut first = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let body = serde_json::from_slice(body).unwrap_or_default();
    let request = AwsRequest { method, path, region, body };
    state.requests.push(request.clone());
    if state.echoes {
        return Some((
            403,
            "InvalidSignatureException",
            json!({ "message": format!("The Canonical String was {head}") }),
        ));
    }
    if state.closed.contains(&request.region) {
        return None;
    }
    route(state, &request)
}

fn route(state: &mut State, request: &AwsRequest) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let action = match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["workspaces"]) => "ListWorkspaces",
        ("GET", ["workspaces", _]) => "DescribeWorkspace",
        ("GET", ["workspaces", _, "configuration"]) => "DescribeWorkspaceConfiguration",
        ("GET", ["versions"]) => "ListVersions",
        ("GET", ["workspaces", _, "serviceaccounts"]) => "ListWorkspaceServiceAccounts",
        ("POST", ["workspaces", _, "serviceaccounts", _, "tokens"]) => "CreateWorkspaceServiceAccountToken",
        ("GET", ["workspaces", _, "serviceaccounts", _, "tokens"]) => "ListWorkspaceServiceAccountTokens",
        ("DELETE", ["workspaces", _, "serviceaccounts", _, "tokens", _]) => "DeleteWorkspaceServiceAccountToken",
        _ => return Some((404, "UnknownOperationException", json!({ "message": path }))),
    };
    if state.denied.contains(action) {
        let message = format!("User: arn:aws:iam::123456789012:user/ci is not authorized to perform: grafana:{action}");
        return Some((403, "AccessDeniedException", json!({ "message": message })));
    }
    let of_region: Vec<_> =
        state.workspaces.iter().filter(|workspace| workspace.region == request.region).cloned().collect();
    if action == "ListWorkspaces" {
        return Some((200, "", list(&of_region, query)));
    }
    let id = query.split('&').find_map(|pair| pair.strip_prefix("workspace-id="));
    let id = id.or(parts.get(1).copied()).unwrap_or_default();
    let Some(workspace) = of_region.iter().find(|workspace| workspace.id == id) else {
        return Some((404, "ResourceNotFoundException", json!({ "message": "no such workspace" })));
    };
    match action {
        "DescribeWorkspace" => Some((200, "", json!({ "workspace": workspace.document() }))),
        "DescribeWorkspaceConfiguration" => {
            let plugins = json!({ "plugins": { "pluginAdminEnabled": workspace.plugin_management } });
            Some((200, "", json!({ "configuration": plugins.to_string(), "grafanaVersion": workspace.grafana })))
        }
        "ListVersions" => Some((200, "", json!({ "grafanaVersions": workspace.offered }))),
        "ListWorkspaceServiceAccounts" => {
            let told = |(id, role): &(String, String)| json!({ "id": id, "name": format!("account {id}"), "isDisabled": "false", "grafanaRole": role });
            let accounts: Vec<_> = workspace.accounts.iter().map(told).collect();
            Some((200, "", json!({ "serviceAccounts": accounts, "workspaceId": workspace.id })))
        }
        _ => tokens(state, action, path, &request.body),
    }
}

/// One workspace a page, so that whoever reads only the first sees too few.
fn list(workspaces: &[AwsWorkspace], query: &str) -> Value {
    let page: usize = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("nextToken="))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let shown: Vec<_> = workspaces.iter().skip(page).take(1).map(AwsWorkspace::document).collect();
    let next = (page + 1 < workspaces.len()).then(|| (page + 1).to_string());
    json!({ "workspaces": shown, "nextToken": next })
}

fn tokens(state: &mut State, action: &str, path: &str, body: &Value) -> Answer {
    match action {
        "CreateWorkspaceServiceAccountToken" => {
            let name = body["name"].as_str().unwrap_or_default().to_owned();
            if state.tokens.iter().any(|token| token.path == path && token.name == name) {
                return Some((409, "ConflictException", json!({ "message": "the name is taken" })));
            }
            state.made += 1;
            let (id, path) = (state.made, path.to_owned());
            let seconds_to_live = body["secondsToLive"].as_u64().unwrap_or_default();
            state.tokens.push(AwsToken { name: name.clone(), seconds_to_live, id, path });
            if state.lost > 0 {
                state.lost -= 1;
                return None;
            }
            let token = json!({ "id": id.to_string(), "name": name, "key": state.key });
            Some((200, "", json!({ "serviceAccountToken": token, "serviceAccountId": "1", "workspaceId": "g-1" })))
        }
        "ListWorkspaceServiceAccountTokens" => {
            let of_account = state.tokens.iter().filter(|token| token.path == path);
            let told = |token: &AwsToken| json!({ "id": token.id.to_string(), "name": token.name, "createdAt": 1.7e9, "expiresAt": 1.8e9 });
            let listed: Vec<_> = of_account.map(told).collect();
            Some((200, "", json!({ "serviceAccountTokens": listed, "serviceAccountId": "1", "workspaceId": "g-1" })))
        }
        _ => {
            let (account, id) = path.rsplit_once('/').unwrap_or_default();
            let before = state.tokens.len();
            state.tokens.retain(|token| token.path != account || token.id.to_string() != id);
            if state.tokens.len() == before {
                return Some((404, "ResourceNotFoundException", json!({ "message": "no such token" })));
            }
            Some((200, "", json!({ "tokenId": id, "serviceAccountId": "1", "workspaceId": "g-1" })))
        }
    }
}
