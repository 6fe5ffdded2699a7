//! What a sound manifest refers to that is not here: variables, files and folders.
//!
//! *Invariant:* no secret is read, no program is run, and no request is sent.
//! *Not for:* the rules of the manifest, which its parser checks.

use std::path::Path;

use crate::fleet::{
    Environment, Manifest,
    manifest::{Endpoint, Login, Source},
    reference::SecretReference,
};

/// Returns what is missing here, a sentence each. On another machine it may be there, so nothing of it is an error.
pub(crate) fn missing(manifest: &Manifest, environment: Environment<'_>) -> Vec<String> {
    let mut missing = Vec::new();
    let catalog = manifest.catalog();
    missing.extend(
        catalog.token.as_ref().and_then(|token| absent(token, environment)).map(|what| format!("[catalog]: {what}")),
    );
    if let Source::Path(path) = &catalog.source
        && !path.exists()
    {
        missing.push(format!("[catalog]: there is no `{}`", shown(path)));
    }
    for workspace in manifest.workspaces() {
        let what = match workspace.endpoint() {
            Endpoint::Directory { path, .. } => {
                (!path.is_dir()).then(|| format!("there is no folder `{}`", shown(path)))
            }
            Endpoint::Server { login: Login::Token(secret) | Login::Basic { password: secret, .. }, .. } => {
                absent(secret, environment)
            }
            Endpoint::Server { login: Login::Account(_), .. } => None,
        };
        missing.extend(what.map(|what| format!("{}: {what}", workspace.name())));
    }
    for wish in manifest.data_sources() {
        let secrets = wish.secrets.iter().filter_map(|(key, secret)| Some((key, absent(secret, environment)?)));
        missing.extend(secrets.map(|(key, what)| format!("data source {}, secret `{key}`: {what}", wish.uid)));
    }
    missing
}

/// Returns why a secret cannot be had here, as far as that shows without reading it.
fn absent(secret: &SecretReference, environment: Environment<'_>) -> Option<String> {
    match secret {
        SecretReference::Env(name) => environment(name)
            .is_none_or(|value| value.is_empty())
            .then(|| format!("the environment variable `{}` is not set or empty", name.escape_debug())),
        SecretReference::File(path) => (!path.exists()).then(|| format!("there is no file `{}`", shown(path))),
        SecretReference::Command(_) => None,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}
