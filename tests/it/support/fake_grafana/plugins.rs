//! What a workspace says of its plugins: the list, one plugin, errors, health, and the file on its disk (protocol
//! section 5.3).
//!
//! *Invariant:* the list and the settings show the registry, `/public/plugins/ID/plugin.json` shows the disk.
//! *Not for:* changing them; see `install`.

use serde_json::{Value, json};

use super::super::fake_plugin::FakePlugin;
use super::catalog::FakeCatalog;
use super::face::ErrorList;
use super::health;
use super::http::{Answer, Request};
use super::provisioning;
use super::workspace::{CORE, Nested, State};

/// Answers below `/api/plugins`.
pub(super) fn answer(state: &State, catalog: &FakeCatalog, request: &Request, rest: &[&str]) -> Answer {
    match rest {
        [] => Answer::json(200, &list(state, catalog, request)),
        ["errors"] => Answer::json(200, &errors(state)),
        [id, "settings"] => one(state, catalog, id),
        [id, "dashboards"] => provisioning::bundled(state, id),
        [id, "health"] => plugin_health(state, catalog, id),
        _ => Answer::message(404, "Not found"),
    }
}

/// Answers `/public/plugins/ID/plugin.json`: what is on the disk of a plugin that is loaded, and what a removal left there.
/// It needs no login.
pub(super) fn on_disk(state: &State, catalog: &FakeCatalog, id: &str) -> Answer {
    let shown = match state.nested.get(id) {
        Some(nested) => state.disk.get(&nested.parent).and_then(|version| {
            let parent = installed_plugin(catalog, &nested.parent, version);
            parent.nested.into_iter().find(|child| child.id == id)
        }),
        None if state.installed.contains_key(id) || state.trouble.leaves_files => {
            state.disk.get(id).map(|version| installed_plugin(catalog, id, version))
        }
        None => None,
    };
    shown.map_or_else(|| Answer::message(404, "Plugin not found"), |plugin| Answer::json(200, &plugin.plugin_json()))
}

/// Returns a plugin that is loaded, nested or not.
fn registered(state: &State, catalog: &FakeCatalog, id: &str) -> Option<FakePlugin> {
    let own = state.installed.get(id).map(|version| installed_plugin(catalog, id, version));
    own.or_else(|| state.nested.get(id).map(|nested| nested_plugin(catalog, id, nested)))
}

/// Returns whether a plugin that is loaded has a backend that runs; the data source of Grafana itself has one.
pub(super) fn has_backend(state: &State, catalog: &FakeCatalog, id: &str) -> bool {
    let core = CORE.iter().any(|(core, _)| *core == id);
    let loaded = registered(state, catalog, id);
    core || loaded.is_some_and(|plugin| plugin.backend.is_some()) && !state.trouble.does_not_start(id)
}

/// Returns the nested plugin of the version that is loaded, whichever version of its app ships it.
fn nested_plugin(catalog: &FakeCatalog, id: &str, nested: &Nested) -> FakePlugin {
    let releases = catalog.plugins.get(&nested.parent).into_iter().flat_map(|listed| &listed.releases);
    let mut children = releases.flat_map(|release| &release.plugin.nested);
    let found = children.find(|child| child.id == id && child.version == nested.version);
    found.cloned().unwrap_or_else(|| FakePlugin::new(id, &nested.version))
}

fn one(state: &State, catalog: &FakeCatalog, id: &str) -> Answer {
    if let Some(broken) = state.behaviour.broken_settings.value.filter(|_| in_error(state, id)) {
        return broken.answer();
    }
    registered(state, catalog, id).map_or_else(
        || Answer::message(404, "Plugin not found, no installed plugin with that id"),
        |plugin| Answer::json(200, &settings(&plugin)),
    )
}

/// Returns whether a plugin is on disk and was not loaded.
fn in_error(state: &State, id: &str) -> bool {
    state.errors.contains_key(id)
        || !state.behaviour.lists_unstarted.value && state.disk.contains_key(id) && state.trouble.does_not_start(id)
}

fn errors(state: &State) -> Value {
    let list = state.behaviour.error_list.value;
    let of_signatures = |code: &str| list != ErrorList::Signatures || code.starts_with("signature");
    let rejected = state.errors.iter().filter(|(_, code)| of_signatures(code));
    let rejected = rejected.map(|(id, code)| json!({ "pluginId": id, "errorCode": code }));
    let unstarted = state.disk.keys().filter(|id| list == ErrorList::All && state.trouble.does_not_start(id));
    rejected.chain(unstarted.map(|id| json!({ "pluginId": id, "errorCode": "failedBackendStart" }))).collect()
}

/// A caller who is neither admin nor installer sees core plugins only, without an error.
fn list(state: &State, catalog: &FakeCatalog, request: &Request) -> Value {
    let core = request.query.get("core").map(String::as_str);
    let sees_all = state.role == "Admin" || state.may_install;
    let own = state.installed.iter().filter(|_| sees_all && core != Some("1"));
    let own = own.map(|(id, version)| list_item(&installed_plugin(catalog, id, version), "valid"));
    let shows_nested = request.query.get("embedded").map(String::as_str) != Some("0");
    let nested = state.nested.iter().filter(|_| sees_all && shows_nested && core != Some("1"));
    let nested = nested.map(|(id, nested)| list_item(&nested_plugin(catalog, id, nested), "valid"));
    let built_in = CORE.iter().filter(|_| core != Some("0"));
    let built_in = built_in.map(|(id, kind)| {
        let mut item = list_item(&FakePlugin::new(id, "").signature(""), "internal");
        item["type"] = json!(kind);
        item
    });
    own.chain(nested).chain(built_in).collect()
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

fn plugin_health(state: &State, catalog: &FakeCatalog, id: &str) -> Answer {
    match registered(state, catalog, id) {
        // On versions that do not list it, too.
        _ if state.disk.contains_key(id) && state.trouble.does_not_start(id) => state.behaviour.no_backend.answer(),
        Some(plugin) if plugin.backend.is_none() => state.behaviour.no_backend.answer(),
        Some(plugin) => health::plugin(state, id, &plugin.version),
        None if CORE.iter().any(|(core, _)| *core == id) => state.behaviour.no_check.answer(),
        None => state.behaviour.not_installed.answer(),
    }
}

/// What the catalog knows of an installed version, or what can be made up about it.
pub(super) fn installed_plugin(catalog: &FakeCatalog, id: &str, version: &str) -> FakePlugin {
    catalog.release(id, version).map_or_else(|| FakePlugin::new(id, version), |release| release.plugin.clone())
}
