//! The documents keep to the program: the reference is made from it, and every example is parsed and, where it can be, run.
//!
//! *Invariant:* a command, an argument or a key of the manifest that no page describes fails a test here, and so does an
//! example that the program does not accept or answers with something else.
//! `PLUGPORT_UPDATE_DOCS=1 cargo test --test it docs` writes what the program says into the pages.

mod acme;
pub(crate) mod examples;
mod manifest_reference;
mod reference;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What begins and ends a part of a page that is made, not written.
const MADE: (&str, &str) = ("<!-- made: ", "<!-- end -->");

/// Lets one test at a time read pages and write them anew.
fn alone() -> MutexGuard<'static, ()> {
    static PAGES: Mutex<()> = Mutex::new(());
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns every page with its path: README.md, the manual, and what a forge shows.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src/docs", ".github"].map(|folder| fs::read_dir(root.join(folder)).expect("a folder of pages"));
    let files = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Returns a page of the manual.
pub(crate) fn page(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs").join(name);
    let text = read(&path);
    (path, text)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a page with what it should be; writes that where it is asked for.
fn settle(path: &Path, page: &str, wanted: &str) {
    if page == wanted {
        return;
    }
    if std::env::var_os("PLUGPORT_UPDATE_DOCS").is_some() {
        fs::write(path, wanted).expect("the page can be written");
        return;
    }
    let mut lines = page.lines().zip(wanted.lines()).enumerate();
    let (at, (is, should_be)) = lines.find(|(_, (is, wanted))| is != wanted).unwrap_or((0, ("", "(another length)")));
    panic!(
        "{} is out of date at line {}:\n  is:     {is}\n  should: {should_be}\n\
         `PLUGPORT_UPDATE_DOCS=1 cargo test --test it docs` writes it",
        path.display(),
        at + 1
    );
}

/// Puts the made parts into a page; each of them must have its place there, and there is no place without one.
fn fill(path: &Path, page: &str, mut parts: BTreeMap<String, String>) {
    let mut wanted = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        wanted.push_str(line);
        wanted.push('\n');
        let Some(name) = line.strip_prefix(MADE.0).and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        let part = parts.remove(name).unwrap_or_else(|| panic!("{}: nothing is named `{name}`", path.display()));
        wanted.push_str(&part);
        wanted.push_str(MADE.1);
        wanted.push('\n');
        assert!(lines.any(|line| line == MADE.1), "{}: `{name}` has no end", path.display());
    }
    let missing: Vec<_> = parts.into_keys().collect();
    assert!(missing.is_empty(), "{} has no place `{}NAME -->` for {missing:?}", path.display(), MADE.0);
    settle(path, page, &wanted);
}

/// Returns words on lines of at most 118 characters, the first after `first`, the others indented.
fn wrapped(text: &str, first: &str, indent: usize) -> String {
    let mut lines = vec![first.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.chars().count() + word.chars().count() > 117 {
            lines.push(" ".repeat(indent) + word);
        } else {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Returns a sentence with its full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', ':']) { text.to_owned() } else { format!("{text}.") }
}
