//! Who asks, and what a workspace says of itself, of its caller and of its organisation.
//!
//! *Invariant:* every route but `/api/health`, `/healthz` and `/public` needs a credential of this workspace, if it has any.
//! *Not for:* plugins, and what uses them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::base64;
use super::face::{AccountOrganisations, AccountUser, Permissions};
use super::http::{Answer, Request};
use super::usage;
use super::workspace::State;

/// Wrong passwords are counted for this long.
const LOCKOUT_WINDOW: Duration = Duration::from_mins(5);

/// A wrong password: the user, and when.
pub(super) type WrongPassword = (String, Instant);

/// Refuses a caller who is not known, and one who is locked out with the right password too.
pub(super) fn check_caller(state: &mut State, request: &Request) -> Option<Answer> {
    let authorization = request.header("authorization");
    let user = authorization.and_then(basic_user);
    let locked = user.as_deref().is_some_and(|user| locked_out(state, user));
    let known = !locked && authorization.is_some_and(|value| state.knows(value));
    if authorization.is_some() && !known {
        state.foreign_tokens += 1;
    }
    let open = ["/api/health", "/healthz"].contains(&request.path.as_str()) || request.path.starts_with("/public/");
    if known || open || state.credentials.is_empty() {
        return None;
    }
    match (authorization, user) {
        (Some(_), Some(user)) => {
            state.wrong_passwords.push((user, Instant::now()));
            let refusal = state.behaviour.wrong_password.value;
            Some(refusal.map_or_else(|| Answer::message(401, "Invalid API key"), |refusal| refusal.answer()))
        }
        (Some(_), None) => Some(Answer::message(401, "Invalid API key")),
        (None, _) => Some(Answer::message(401, "Unauthorized")),
    }
}

/// Returns whether a user gave too many wrong passwords within the last minutes.
pub(super) fn locked_out(state: &State, user: &str) -> bool {
    let recent = state.wrong_passwords.iter().filter(|(wrong, at)| wrong == user && at.elapsed() < LOCKOUT_WINDOW);
    state.behaviour.lockout.value.is_some_and(|limit| recent.count() >= limit)
}

fn basic_user(authorization: &str) -> Option<String> {
    let text = String::from_utf8(base64::decode(authorization.strip_prefix("Basic ")?)?).ok()?;
    text.split_once(':').map(|(user, _)| user.to_owned())
}

/// Answers what is asked about the workspace and its caller; nothing when it is another route.
pub(super) fn about(state: &State, asked: &State, request: &Request, parts: &[&str]) -> Option<Answer> {
    let organisation = json!({ "id": asked.organisation.0, "name": asked.organisation.1 });
    let denied = || Answer::message(403, "Permission denied");
    let server_admin = state.server_admin && !state.amg;
    Some(match parts {
        ["health"] => Answer::json(200, &json!({ "commit": "abcdef0", "database": "ok", "version": state.grafana })),
        ["frontend", "settings"] => Answer::json(200, &frontend_settings(asked)),
        ["user"] if is_account(request) => account(state, server_admin),
        ["user"] => Answer::json(200, &user(server_admin)),
        ["user", "orgs"] if is_account(request) => account_organisations(state),
        ["user", "orgs"] => Answer::json(200, &state.memberships()),
        ["org"] => Answer::json(200, &organisation),
        ["org", "users"] if state.role == "Admin" => Answer::json(200, &json!([member(state)])),
        ["orgs"] if server_admin || state.lists_organisations => Answer::json(200, &json!([organisation])),
        ["admin", "settings"] if server_admin => Answer::json(
            200,
            &json!({ "DEFAULT": { "app_mode": "production" }, "plugins": { "plugin_admin_enabled": "true" } }),
        ),
        ["org", "users"] | ["orgs"] | ["admin", "settings"] => denied(),
        ["access-control", "user", "permissions"] if has_permissions(state) => Answer::json(200, &permissions(asked)),
        _ => return None,
    })
}

fn has_permissions(state: &State) -> bool {
    state.permissions_route && state.behaviour.permissions.value != Permissions::NotThere
}

/// A token is a service account's, or an API key in old versions.
fn is_account(request: &Request) -> bool {
    request.header("authorization").is_some_and(|value| value.starts_with("Bearer "))
}

fn account(state: &State, server_admin: bool) -> Answer {
    match state.behaviour.account_user.value {
        AccountUser::AsPerson => Answer::json(200, &user(server_admin)),
        AccountUser::Refused(refusal) => refusal.answer(),
        AccountUser::Named => {
            let mut account = user(false);
            account["id"] = json!(0);
            account["uid"] = json!("service-account:7");
            account["login"] = json!("sa-1-plugport");
            account["name"] = json!("plugport");
            account["email"] = json!("");
            Answer::json(200, &account)
        }
    }
}

fn account_organisations(state: &State) -> Answer {
    match state.behaviour.account_organisations.value {
        AccountOrganisations::AsPerson => Answer::json(200, &state.memberships()),
        AccountOrganisations::Empty => Answer::json(200, &json!([])),
        AccountOrganisations::Refused(refusal) => refusal.answer(),
    }
}

fn frontend_settings(state: &State) -> Value {
    json!({
        "namespace": usage::namespace(state),
        "datasources": usage::settings_sources(state),
        "appUrl": format!("https://{}.example/", state.name),
        "pluginAdminEnabled": true,
        "pluginAdminExternalManageEnabled": false,
        "pluginCatalogPreinstalledPlugins": state.pinned.iter().map(|id| {
            json!({ "id": id, "version": state.installed.get(id) })
        }).collect::<Vec<_>>(),
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
    if state.behaviour.permissions.value == Permissions::ByRole && state.role == "Admin" {
        permissions["plugins:write"] = json!(["plugins:*"]);
        permissions["datasources:create"] = json!([""]);
    }
    permissions
}
