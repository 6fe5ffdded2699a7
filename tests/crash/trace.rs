//! What `strace` wrote down.

use std::collections::HashMap;
use std::path::Path;

/// A system call that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kind: String,
    /// Its number among the calls of this kind in its thread, from 1.
    pub(crate) number: usize,
    /// What it was about, with random names and the folder of the run taken out.
    pub(crate) object: String,
    /// The one path it was about, where that is the same in every run.
    pub(crate) path: Option<String>,
    /// Whether it changes the cache or the plugins folder.
    pub(crate) changes: bool,
    /// Whether the fault came here instead of the call.
    pub(crate) is_injected: bool,
}

/// Returns the calls of a log in the order in which they were begun.
pub(crate) fn calls(log: &str, place: &Path) -> Vec<Call> {
    let place = place.display().to_string();
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<(&str, String), usize> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(kind) = rest.strip_prefix("<... ").and_then(|rest| rest.split(' ').next()) {
            if let Some(index) = open.remove(&(thread, kind.to_owned())).filter(|_| rest.ends_with("(INJECTED)")) {
                calls[index].is_injected = true;
            }
            continue;
        }
        let Some((kind, arguments)) = rest.split_once('(') else { continue };
        if !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        if rest.ends_with("<unfinished ...>") {
            open.insert((thread, kind.to_owned()), calls.len());
        }
        let number = numbers.entry((thread, kind)).or_default();
        *number += 1;
        calls.push(call(kind, arguments, *number, &place));
    }
    calls
}

fn call(kind: &str, arguments: &str, number: usize, place: &str) -> Call {
    let told = paths(arguments);
    let inside: Vec<_> =
        told.iter().filter_map(|path| path.strip_prefix(place)).filter(|path| !path.is_empty()).map(steady).collect();
    let opens = matches!(kind, "openat" | "open");
    let is_ours = inside.iter().any(|path| path.starts_with("/cache") || path.starts_with("/plugins"));
    let object = if is_ours { inside.join(" ") } else { told.join(" ") };
    let path = match inside.as_slice() {
        [] => None,
        [.., last] => (!last.contains('*') && last.len() > 1).then(|| last.clone()),
    };
    Call {
        kind: kind.to_owned(),
        number,
        object,
        path,
        changes: is_ours && (!opens || arguments.contains("O_CREAT") || arguments.contains("O_TRUNC")),
        is_injected: arguments.ends_with("(INJECTED)"),
    }
}

/// Returns the paths among the arguments: of handles, and names below the handle before them.
fn paths(arguments: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    let (mut rest, mut folder) = (arguments, None);
    // What is written is no path: only what comes before the first text after a handle's path counts.
    while let Some(start) = rest.find(['<', '"', ')']) {
        let close = match rest.as_bytes()[start] {
            b'<' => '>',
            b'"' => '"',
            _ => break,
        };
        let inner = &rest[start + 1..];
        let Some(end) = inner.find(close) else { break };
        let text = &inner[..end];
        rest = &inner[end + 1..];
        match (close, text.starts_with('/')) {
            ('>', true) => {
                // A handle of a folder that a name follows is part of that name's path.
                folder = Some(text.to_owned());
                paths.push(text.to_owned());
            }
            ('"', true) => paths.push(text.to_owned()),
            ('"', false) if rest.starts_with(", O_") || rest.starts_with(", 0") || rest.starts_with(", AT_") => {
                let folder = folder.clone().unwrap_or_default();
                paths.push(format!("{folder}/{text}"));
            }
            _ => {}
        }
    }
    paths
}

/// Takes the random end out of the names of temporary files.
fn steady(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix(".plugport-") {
        Some(rest) => match rest.rsplit_once('.') {
            Some((name, random)) if random.len() == 6 => format!(".plugport-{name}.*"),
            _ => ".plugport-*".to_owned(),
        },
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}
