//! The routes of a workspace that are about itself, its caller and its plugins (protocol sections 4 and 5).
//!
//! *Invariant:* every route but `/api/health` needs a credential of this workspace, if it has any.
//! *Not for:* installs (`install`) and what uses plugins (`usage`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::fake_plugin::FakePlugin;
use super::catalog::{FakeCatalog, SharedCatalog};
use super::http::{Answer, Request};
use super::server::lock;
use super::{install, range, upstream, usage};

/// Plugins that are part of Grafana: id and type.
pub(super) const CORE: [(&str, &str); 3] = [("prometheus", "datasource"), ("text", "panel"), ("timeseries", "panel")];

/// A workspace and the catalog it installs from.
#[derive(Debug)]
pub(super) struct Workspace {
    state: Mutex<State>,
    pub(super) catalog: SharedCatalog,
}

/// Everything about a workspace that can differ or change.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of a test that have nothing to do with each other")]
pub(super) struct State {
    pub(super) name: String,
    pub(super) grafana: String,
    pub(super) credentials: Vec<String>,
    pub(super) amg: bool,
    pub(super) server_admin: bool,
    pub(super) role: String,
    pub(super) may_install: bool,
    pub(super) permissions_route: bool,
    pub(super) installed: BTreeMap<String, String>,
    pub(super) pinned: BTreeSet<String>,
    pub(super) rejected_at_load: BTreeMap<String, String>,
    pub(super) errors: BTreeMap<String, String>,
    pub(super) install_delay: Duration,
    pub(super) running: Vec<String>,
    pub(super) most_running: usize,
    pub(super) foreign_tokens: usize,
    pub(super) data_sources: Vec<Value>,
    pub(super) folders: Vec<Value>,
    pub(super) dashboards: Vec<Value>,
    pub(super) library: Vec<Value>,
    pub(super) alert_rules: Vec<Value>,
    /// Whether there are API groups below `/apis`, as in versions since 12.
    pub(super) groups: bool,
    /// The folders that the caller may read; nothing for all of them.
    pub(super) reads: Option<Vec<String>>,
    /// Whether the caller may list data sources.
    pub(super) reads_sources: bool,
    pub(super) organisation: (i64, String),
    /// The other organisations that the caller belongs to.
    pub(super) others: Vec<State>,
    /// The organisation that the caller's login is switched to, where it is another.
    pub(super) using: Option<i64>,
    /// Whether `X-Grafana-Org-Id` is heeded.
    pub(super) heeds_header: bool,
}

impl State {
    pub(super) fn new(name: &str, grafana: &str) -> Self {
        Self {
            name: name.to_owned(),
            grafana: grafana.to_owned(),
            credentials: Vec::new(),
            amg: false,
            server_admin: false,
            role: "Admin".to_owned(),
            may_install: true,
            permissions_route: true,
            installed: BTreeMap::new(),
            pinned: BTreeSet::new(),
            rejected_at_load: BTreeMap::new(),
            errors: BTreeMap::new(),
            install_delay: Duration::ZERO,
            running: Vec::new(),
            most_running: 0,
            foreign_tokens: 0,
            data_sources: Vec::new(),
            folders: Vec::new(),
            dashboards: Vec::new(),
            library: Vec::new(),
            alert_rules: Vec::new(),
            groups: true,
            reads: None,
            reads_sources: true,
            organisation: (1, "Main Org.".to_owned()),
            others: Vec::new(),
            using: None,
            heeds_header: true,
        }
    }

    /// Returns the organisation that a request is about.
    fn asked(&self, request: &Request) -> &Self {
        let header = request.header("x-grafana-org-id").filter(|_| self.heeds_header);
        let wanted = header.and_then(|id| id.parse().ok()).or(self.using);
        self.others.iter().find(|other| Some(other.organisation.0) == wanted).unwrap_or(self)
    }

    /// Returns whether its Grafana is this version or a newer one.
    pub(super) fn since(&self, major: u64, minor: u64) -> bool {
        range::order(&self.grafana) >= (major, minor, 0, false)
    }

    fn memberships(&self) -> Value {
        let all = std::iter::once(self).chain(&self.others);
        all.map(|one| json!({ "orgId": one.organisation.0, "name": one.organisation.1, "role": one.role })).collect()
    }

    fn knows(&self, authorization: &str) -> bool {
        let basic = authorization.starts_with("Basic ");
        !(self.amg && basic) && self.credentials.iter().any(|credential| credential == authorization)
    }
}

impl Workspace {
    pub(super) fn new(state: State, catalog: SharedCatalog) -> Self {
        Self { state: Mutex::new(state), catalog }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) async fn answer(&self, request: &Request) -> Answer {
        if let Some(refusal) = self.check_caller(request) {
            return refusal;
        }
        if let Some(group) = request.path.strip_prefix("/apis/") {
            return usage::group(self.state().asked(request), request, group);
        }
        let parts: Vec<&str> = request.path.split('/').skip(2).collect();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["plugins", id, "install"]) => install::install(self, id, request).await,
            ("POST", ["plugins", id, "uninstall"]) => install::uninstall(self, id).await,
            ("GET" | "HEAD", ["gnet", ..]) => self.proxied(request),
            ("GET" | "HEAD", ["plugins", rest @ ..]) => self.plugins(request, rest),
            ("POST", ["user", "using", id]) => self.switch(id),
            ("GET" | "HEAD", parts) => {
                let state = self.state();
                about(&state, state.asked(request), parts)
                    .or_else(|| usage::answer(state.asked(request), request, parts))
                    .unwrap_or_else(|| Answer::message(404, "Not found"))
            }
            _ => Answer::message(404, "Not found"),
        }
    }

    fn switch(&self, id: &str) -> Answer {
        let mut state = self.state();
        let known = |id: &i64| *id == 1 || state.others.iter().any(|other| other.organisation.0 == *id);
        match id.parse().ok().filter(known) {
            Some(id) => {
                state.using = (id != 1).then_some(id);
                Answer::message(200, "Active organization changed")
            }
            None => Answer::message(401, "Not a valid organization"),
        }
    }

    fn check_caller(&self, request: &Request) -> Option<Answer> {
        let mut state = self.state();
        let authorization = request.header("authorization");
        let known = authorization.is_some_and(|value| state.knows(value));
        if authorization.is_some() && !known {
            state.foreign_tokens += 1;
        }
        let open = request.path == "/api/health" || state.credentials.is_empty();
        match authorization {
            _ if known || open => None,
            Some(_) => Some(Answer::message(401, "Invalid API key")),
            None => Some(Answer::message(401, "Unauthorized")),
        }
    }

    /// Section 4; the catalog is asked in process, so that no header of the caller goes anywhere.
    fn proxied(&self, request: &Request) -> Answer {
        let mut request = request.clone();
        request.path = request.path.replacen("/api/gnet", "/api", 1);
        request.headers.push(("grafana-version".to_owned(), self.state().grafana.clone()));
        upstream::answer(&self.catalog, &request).with("Content-Security-Policy", "sandbox")
    }

    fn plugins(&self, request: &Request, rest: &[&str]) -> Answer {
        let state = self.state();
        let catalog = self.catalog.lock();
        match rest {
            [] => Answer::json(200, &list(&state, &catalog, request)),
            ["errors"] => {
                let errors = state.errors.iter();
                Answer::json(200, &errors.map(|(id, code)| json!({ "pluginId": id, "errorCode": code })).collect())
            }
            [id, "settings"] => state.installed.get(*id).map_or_else(
                || Answer::message(404, "Plugin not found, no installed plugin with that id"),
                |version| Answer::json(200, &settings(&installed_plugin(&catalog, id, version))),
            ),
            [id, "health"] => health(&state, &catalog, id),
            _ => Answer::message(404, "Not found"),
        }
    }
}

fn about(state: &State, asked: &State, parts: &[&str]) -> Option<Answer> {
    let organisation = json!({ "id": asked.organisation.0, "name": asked.organisation.1 });
    let denied = || Answer::message(403, "Permission denied");
    let server_admin = state.server_admin && !state.amg;
    Some(match parts {
        ["health"] => Answer::json(200, &json!({ "commit": "abcdef0", "database": "ok", "version": state.grafana })),
        ["frontend", "settings"] => Answer::json(200, &frontend_settings(asked)),
        ["user"] => Answer::json(200, &user(server_admin)),
        ["user", "orgs"] => Answer::json(200, &state.memberships()),
        ["org"] => Answer::json(200, &organisation),
        ["org", "users"] if state.role == "Admin" => Answer::json(200, &json!([member(state)])),
        ["orgs"] if server_admin => Answer::json(200, &json!([organisation])),
        ["admin", "settings"] if server_admin => Answer::json(
            200,
            &json!({ "DEFAULT": { "app_mode": "production" }, "plugins": { "plugin_admin_enabled": "true" } }),
        ),
        ["org", "users"] | ["orgs"] | ["admin", "settings"] => denied(),
        ["access-control", "user", "permissions"] if state.permissions_route => Answer::json(200, &permissions(asked)),
        _ => return None,
    })
}

fn frontend_settings(state: &State) -> Value {
    json!({
        "namespace": usage::namespace(state),
        "datasources": usage::settings_sources(state),
        "appUrl": format!("https://{}.example/", state.name),
        "pluginAdminEnabled": true,
        "pluginAdminExternalManageEnabled": false,
        "buildInfo": {
            "hideVersion": false,
            "version": state.grafana,
            "versionString": format!("Grafana v{} (abcdef0)", state.grafana),
            "commit": "abcdef0",
            "commitShort": "abcdef0",
            "buildstamp": 1_750_000_000,
            "edition": if state.amg { "Enterprise" } else { "Open Source" },
            "latestVersion": "",
            "hasUpdate": false,
            "env": "production",
        },
    })
}

fn user(server_admin: bool) -> Value {
    json!({
        "id": 1, "uid": "u1", "email": "admin@localhost", "name": "admin", "login": "admin", "theme": "",
        "orgId": 1, "isGrafanaAdmin": server_admin, "isDisabled": false, "isExternal": false, "authLabels": [],
    })
}

fn member(state: &State) -> Value {
    json!({
        "orgId": 1, "userId": 1, "email": "admin@localhost", "avatarUrl": "/avatar/0", "login": "admin",
        "role": state.role, "lastSeenAt": "2025-01-01T00:00:00Z", "lastSeenAtAge": "< 1 minute",
    })
}

fn permissions(state: &State) -> Value {
    let folders: Vec<String> = match &state.reads {
        None => vec!["folders:*".to_owned()],
        Some(folders) => folders.iter().map(|folder| format!("folders:uid:{folder}")).collect(),
    };
    let mut permissions = json!({ "dashboards:read": folders, "folders:read": folders, "alert.rules:read": folders });
    if state.reads_sources {
        permissions["datasources:read"] = json!(["datasources:*"]);
    }
    if state.may_install {
        permissions["plugins:install"] = json!([""]);
        permissions["plugins:write"] = json!(["plugins:*"]);
    }
    permissions
}

/// A caller who is neither admin nor installer sees core plugins only, without an error.
fn list(state: &State, catalog: &FakeCatalog, request: &Request) -> Value {
    let core = request.query.get("core").map(String::as_str);
    let sees_all = state.role == "Admin" || state.may_install;
    let own = state.installed.iter().filter(|_| sees_all && core != Some("1"));
    let own = own.map(|(id, version)| list_item(&installed_plugin(catalog, id, version), "valid"));
    let built_in = CORE.iter().filter(|_| core != Some("0"));
    let built_in = built_in.map(|(id, kind)| {
        let mut item = list_item(&FakePlugin::new(id, "").signature(""), "internal");
        item["type"] = json!(kind);
        item
    });
    own.chain(built_in).collect()
}

fn list_item(plugin: &FakePlugin, signature: &str) -> Value {
    let mut document = plugin.plugin_json();
    let mut info = document["info"].take();
    let logo = format!("public/plugins/{}/img/logo.svg", plugin.id);
    info["logos"] = json!({ "small": logo, "large": logo });
    info["build"] = json!({});
    let signed = if plugin.signature.is_empty() && signature != "internal" { "unsigned" } else { signature };
    json!({
        "name": plugin.name,
        "type": plugin.kind(),
        "id": plugin.id,
        "enabled": true,
        "pinned": false,
        "info": info,
        "dependencies": {
            "grafanaDependency": plugin.grafana_dependency,
            "grafanaVersion": "*",
            "plugins": document["dependencies"]["plugins"],
        },
        "latestVersion": "",
        "hasUpdate": false,
        "defaultNavUrl": format!("/plugins/{}/", plugin.id),
        "category": "",
        "state": "",
        "signature": signed,
        "signatureType": plugin.signature,
        "signatureOrg": if plugin.signature.is_empty() { "" } else { &plugin.org.1 },
        "angularDetected": plugin.angular,
        "apiVersion": "",
    })
}

fn settings(plugin: &FakePlugin) -> Value {
    let mut settings = list_item(plugin, "valid");
    settings["module"] = json!(format!("public/plugins/{}/module.js", plugin.id));
    settings["baseUrl"] = json!(format!("public/plugins/{}", plugin.id));
    settings["includes"] = json!([]);
    settings["jsonData"] = json!({});
    settings
}

fn health(state: &State, catalog: &FakeCatalog, id: &str) -> Answer {
    let plugin = state.installed.get(id).map(|version| installed_plugin(catalog, id, version));
    match plugin {
        Some(plugin) if plugin.backend.is_some() => Answer::json(200, &json!({ "message": "", "status": "OK" })),
        _ => Answer::message(404, "Plugin not found"),
    }
}

/// What the catalog knows of an installed version, or what can be made up about it.
fn installed_plugin(catalog: &FakeCatalog, id: &str, version: &str) -> FakePlugin {
    catalog.release(id, version).map_or_else(|| FakePlugin::new(id, version), |release| release.plugin.clone())
}
