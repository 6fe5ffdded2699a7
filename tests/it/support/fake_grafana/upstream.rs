//! The routes of grafana.com's plugin API (protocol section 2.2).
//!
//! *Invariant:* fixed words (`repo`, `versioncheck`, ...) are matched before ids; an error body holds strings only.
//! *Not for:* the routes of a workspace, which calls this for `/api/gnet`.

use serde_json::{Value, json};

use super::catalog::{Document, FakeCatalog, SharedCatalog};
use super::documents;
use super::http::{Answer, Request};

/// Bodies that are kept ready; a longer cache means that queries differ without end.
const READY_LIMIT: usize = 50_000;

/// Answers a request for the catalog.
pub(super) fn answer(catalog: &SharedCatalog, request: &Request) -> Answer {
    let mut catalog = catalog.lock();
    let Some(rest) = request.path.strip_prefix("/api/plugins") else { return unknown_route(request) };
    let parts: Vec<&str> = rest.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    if let [id, "versions", version, "download"] = parts[..] {
        return download(&catalog, request, (id, version)).unwrap_or_else(|| unknown_plugin(id));
    }
    let key = ready_key(request);
    if let Some(ready) = catalog.ready.get(&key) {
        return document(request, ready);
    }
    match written(&catalog, request, &parts) {
        Ok(value) => {
            let made = Document::new(value.to_string().into_bytes());
            let answer = document(request, &made);
            if catalog.ready.len() < READY_LIMIT {
                catalog.ready.insert(key, made);
            }
            answer
        }
        Err(refusal) => refusal,
    }
}

fn written(catalog: &FakeCatalog, request: &Request, parts: &[&str]) -> Result<Value, Answer> {
    let grafana = request.header("grafana-version");
    let query = |key: &str| request.query.get(key).map(String::as_str);
    let found = |id: &str| catalog.plugins.get(id).ok_or_else(|| unknown_plugin(id));
    Ok(match *parts {
        [] => documents::list(catalog, query("includeDeprecated") == Some("true"), query("slugIn")),
        ["repo"] => documents::repo(catalog, grafana),
        ["repo", id] => documents::repo_plugin(found(id)?, grafana),
        ["versioncheck"] => documents::version_check(
            catalog,
            query("slugIn").unwrap_or_default(),
            &query("grafanaVersion").unwrap_or_default().replace(' ', "+"),
        ),
        ["ci", "keys"] => json!({ "items": signing_keys(catalog) }),
        ["angular_patterns"] => json!([{ "name": "PanelCtrl", "type": "contains", "pattern": "PanelCtrl" }]),
        [id] => documents::detail(found(id)?),
        [id, "versions"] => documents::versions(catalog.plugins.get(id), grafana),
        [id, "versions", version] => {
            let release = catalog.release(id, version).ok_or_else(|| unknown_plugin(id))?;
            documents::version_detail(found(id)?, release, grafana)
        }
        _ => return Err(unknown_route(request)),
    })
}

fn download(catalog: &FakeCatalog, request: &Request, (id, version): (&str, &str)) -> Option<Answer> {
    let release = catalog.release(id, version)?;
    let asked = platform(request);
    let choices = [asked.as_str(), "any", "linux-amd64"];
    let choices = if asked.is_empty() { &choices[1..] } else { &choices[..2] };
    let (name, package) = choices.iter().find_map(|name| release.packages.get_key_value(*name))?;
    let document = Document::new(package.served(&release.plugin, name));
    if request.header("if-none-match") == Some(&document.etag) {
        return Some(not_modified(&document));
    }
    let whole = Answer::bytes(200, "application/zip", document.bytes).with("ETag", &document.etag);
    let whole = whole.with("Accept-Ranges", "bytes");
    let same = request.header("if-range").is_none_or(|etag| etag == document.etag);
    Some(match request.header("range") {
        Some(range) if same => whole.part(range),
        _ => whole,
    })
}

/// The query wins over the headers (section 2.3.10).
fn platform(request: &Request) -> String {
    let query = (request.query.get("os").map(String::as_str), request.query.get("arch").map(String::as_str));
    match (query, (request.header("grafana-os"), request.header("grafana-arch"))) {
        ((Some(os), Some(arch)), _) | (_, (Some(os), Some(arch))) => format!("{os}-{arch}"),
        _ => String::new(),
    }
}

fn document(request: &Request, document: &Document) -> Answer {
    if request.header("if-none-match").is_some_and(|etags| etags.split(", ").any(|etag| etag == document.etag)) {
        return not_modified(document);
    }
    Answer::bytes(200, "application/json", document.bytes.clone())
        .with("ETag", &document.etag)
        .with("Vary", "grafana-version, grafana-os, grafana-arch")
}

fn not_modified(document: &Document) -> Answer {
    Answer::empty(304).with("ETag", &document.etag)
}

fn ready_key(request: &Request) -> String {
    format!("{} {:?} {:?}", request.path, request.query, request.header("grafana-version"))
}

fn unknown_plugin(id: &str) -> Answer {
    Answer::json(404, &json!({ "code": "NotFound", "message": format!("Plugin {id} not found") }))
}

fn unknown_route(request: &Request) -> Answer {
    let message = format!("{} {} does not exist", request.method, request.path);
    Answer::json(404, &json!({ "code": "NotFound", "message": message }))
}

fn signing_keys(catalog: &FakeCatalog) -> Vec<Value> {
    let published = |(id, public): &(String, String)| json!({ "keyId": id, "public": public, "since": 1_u64 });
    std::iter::once(signing_key()).chain(catalog.keys.iter().map(published)).collect()
}

fn signing_key() -> Value {
    let public = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbWFkZSB1cA==\n-----END PGP PUBLIC KEY BLOCK-----\n";
    json!({ "keyId": "7e4d0c6a708866e7", "public": public, "since": 1_586_810_719_000_u64 })
}
