//! The map of the layers as a test: who may use whom, and who may name which crate.
//!
//! *Invariant:* every path into another module of `src/` is an edge of [`MAP`], and every edge of [`MAP`] is such a path.
//! *Not for:* how long a function may be, which clippy knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every module with those that it uses. A row may name only rows above it, so there is no way round in a circle.
///
/// `diagnostic` stands above `model`, because what is wrong with a version or an id has a kind and a hint like any fault.
#[rustfmt::skip]
const MAP: &[(&str, &[&str])] = &[
    ("blocking", &[]),
    ("diagnostic", &[]),
    ("spelling", &[]),
    ("duration", &[]),
    ("progress", &[]),
    ("json", &[]),
    ("model", &["diagnostic", "json"]),

    ("disk", &[]),
    ("process", &[]),
    ("sqlite", &[]),
    ("net", &["diagnostic", "duration", "model"]),
    ("home", &["diagnostic", "disk", "model"]),

    ("archive", &["diagnostic", "json", "model"]),
    ("verifier", &["archive", "diagnostic", "model"]),
    ("signature", &["diagnostic", "json", "model"]),

    ("bundle", &["diagnostic", "disk", "model"]),
    ("upstream", &["blocking", "bundle", "diagnostic", "json", "model", "net"]),
    ("store", &["blocking", "diagnostic", "disk", "model", "net", "verifier"]),
    ("records", &["blocking", "diagnostic", "disk"]),
    ("index", &["blocking", "diagnostic", "disk", "model", "progress", "spelling", "sqlite"]),

    ("resolver", &["diagnostic", "model"]),
    ("lockfile", &["diagnostic", "model", "spelling"]),
    ("usage", &["model"]),
    ("mirror", &["json", "model", "signature"]),
    ("web", &["diagnostic", "mirror", "model", "signature"]),
    ("upgrade", &["model", "resolver"]),
    ("airgap", &["model"]),
    ("export", &["diagnostic", "lockfile", "model", "upgrade"]),
    ("rollout", &["diagnostic", "duration", "lockfile", "model", "resolver"]),
    ("fleet", &["archive", "blocking", "bundle", "diagnostic", "disk", "duration", "json", "model", "net", "process", "rollout",
        "spelling", "verifier"]),
    ("journal", &["diagnostic", "disk", "model", "rollout", "sqlite"]),

    ("ops", &["airgap", "archive", "blocking", "bundle", "diagnostic", "disk", "export", "fleet", "home", "index", "journal", "json", "lockfile", "mirror",
        "model", "net", "process", "progress", "records", "resolver", "rollout", "signature", "spelling", "store", "upgrade",
        "upstream", "usage", "verifier", "web"]),

    ("server", &["blocking", "diagnostic", "index", "json", "mirror", "model", "ops", "store", "verifier", "web"]),

    ("cli", &["airgap", "blocking", "bundle", "diagnostic", "duration", "export", "fleet", "home", "index", "journal", "lockfile", "mirror", "model", "ops",
        "progress", "resolver", "rollout", "server", "signature", "spelling", "upgrade", "upstream", "usage"]),
];

/// Parts with those that each uses.
type Rows = &'static [(&'static str, &'static [&'static str])];

/// One floor down: the files and folders within these modules, each with those that it uses. A row may name only rows above
/// it. What the `mod.rs` of a module defines is for all of its rows, and no edge.
#[rustfmt::skip]
const INNER: &[(&str, Rows)] = &[
    ("index", &[
        ("values", &[]),
        ("seal_file", &[]),
        ("damage", &["seal_file"]),
        ("refusal", &[]),
        ("error", &["damage", "refusal"]),
        ("session", &["error"]),
        ("provenance", &["error", "values"]),
        ("channels", &["error", "values"]),
        ("migrations", &["channels", "provenance"]),
        ("changes", &["error", "values"]),
        ("sync", &["changes", "error", "provenance", "session", "values"]),
        ("alerts", &["changes", "error", "provenance", "sync", "values"]),
        ("blobs", &["error", "provenance", "session", "sync", "values"]),
        ("catalog", &["error", "values"]),
        ("listing", &["error", "values"]),
        ("search", &["error", "values"]),
        ("snapshot", &["error", "seal_file"]),
        ("seal", &["damage", "error", "refusal", "seal_file", "snapshot"]),
        ("absorb", &["alerts", "error", "provenance", "seal"]),
        ("handle", &["error", "seal"]),
    ]),
    ("rollout", &[
        ("budget", &[]),
        ("freeze", &[]),
        ("policy", &["budget", "freeze"]),
        ("previous", &[]),
        ("gate", &["policy"]),
        ("plan", &["budget", "policy"]),
        ("record", &["gate", "previous"]),
        ("waves", &["plan", "policy"]),
        ("engine", &["freeze", "gate", "plan", "policy", "previous", "record"]),
        ("planner", &["plan", "policy", "waves"]),
    ]),
    ("fleet", &[
        ("aws", &[]),
        ("reference", &["aws"]),
        ("manifest", &["aws", "reference"]),
        ("access", &["aws", "manifest", "reference"]),
        ("settle", &[]),
        ("directory", &[]),
        ("grafana", &["manifest", "settle"]),
        ("target", &["access", "directory", "grafana", "manifest", "reference", "settle"]),
    ]),
    ("ops", &[
        ("trust", &[]),
        ("sources", &[]),
        ("context", &["trust"]),
        ("keys", &["context", "sources"]),
        ("settings", &["context", "keys", "sources", "trust"]),
        ("target", &["trust"]),
        ("changes", &[]),
        ("alerts", &[]),
        ("server_warnings", &[]),
        ("candidates", &["alerts", "server_warnings", "target", "trust"]),
        ("unknown_plugins", &["candidates", "context", "target"]),
        ("fetching", &["candidates", "context", "sources"]),
        ("stored_packages", &["context"]),
        ("executables", &["context", "stored_packages"]),
        ("unmanaged_files", &["context", "stored_packages"]),
        ("comparison_packages", &["context", "fetching", "sources", "target", "unmanaged_files"]),
        ("permits", &["candidates", "context", "stored_packages", "unmanaged_files"]),
        ("text_file", &[]),
        ("locking", &["candidates", "context", "executables", "fetching", "sources", "target", "text_file", "unknown_plugins"]),
        ("manifest_draft", &["text_file"]),
        ("workspace_usage", &["context", "target"]),
        ("content", &["context", "target", "workspace_usage"]),
        ("rollback_packages", &[]),
        ("private", &[]),
        ("serving", &["alerts", "context", "fetching", "private", "stored_packages"]),
        ("syncing", &["alerts", "context", "private"]),

        ("accept", &["alerts", "candidates", "context"]),
        ("adopt", &["locking", "manifest_draft", "target", "text_file"]),
        ("api", &["target"]),
        ("backup", &["context", "private", "stored_packages"]),
        ("bundle", &["alerts", "candidates", "context", "fetching", "private", "syncing"]),
        ("channel", &["context", "serving"]),
        ("check", &["candidates", "context", "target", "workspace_usage"]),
        ("discover", &["manifest_draft"]),
        ("doctor", &["alerts", "context", "fetching", "sources", "workspace_usage"]),
        ("entries", &["candidates", "context", "manifest_draft"]),
        ("export", &["context", "locking", "stored_packages", "text_file"]),
        ("fetch", &["context", "fetching", "sources"]),
        ("gc", &["context", "fetching", "private", "rollback_packages", "workspace_usage"]),
        ("install", &["candidates", "changes", "comparison_packages", "context", "executables", "fetching", "permits", "server_warnings",
            "sources", "stored_packages", "target", "unmanaged_files"]),
        ("init", &["manifest_draft"]),
        ("lock", &["context", "locking", "sources", "target", "unknown_plugins"]),
        ("outdated", &["candidates", "target"]),
        ("plan", &["candidates", "content", "context", "executables", "locking", "server_warnings", "sources", "target", "trust",
            "unknown_plugins", "workspace_usage"]),
        ("publish", &["candidates", "context", "fetching", "private"]),
        ("pull", &["context", "fetching", "serving", "sources"]),
        ("remove", &["changes", "comparison_packages", "context", "permits", "sources", "target", "unmanaged_files",
            "workspace_usage"]),
        ("rollout", &["candidates", "changes", "content", "context", "fetching", "permits", "sources", "target"]),
        ("status", &["target"]),
        ("sync", &["context", "syncing"]),
        ("usage", &["context", "target", "workspace_usage"]),
        ("validate", &[]),
        ("verify", &["context", "stored_packages", "trust"]),
        ("why", &["candidates", "target", "unknown_plugins"]),
    ]),
];

/// The rows of `ops` that are commands: none knows another, and no row above the first of them knows any.
const FIRST_COMMAND: &str = "accept";

/// These stand side by side: only `ops` brings them together, so that the order of writes is visible in one place.
const STRANGERS: &[&str] = &["upstream", "store", "index"];

/// Crates that only these modules, and what is inside them, may name.
const CRATES: &[(&str, &[&str])] = &[
    ("reqwest", &["net"]),
    ("rustls", &["net", "server"]),
    ("tokio_rustls", &["server"]),
    ("rusqlite", &["index", "journal", "sqlite"]),
    ("rusqlite_migration", &["index", "journal", "sqlite"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("http_body_util", &["server"]),
    ("prometheus_client", &["server"]),
    ("askama", &["web"]),
    ("ammonia", &["mirror"]),
    ("pulldown_cmark", &["mirror"]),
    ("zip", &["archive"]),
    ("pgp", &["signature"]),
    ("minisign", &["bundle"]),
    ("aws_config", &["fleet"]),
    ("aws_credential_types", &["fleet"]),
    ("aws_sdk_grafana", &["fleet"]),
    ("aws_smithy_runtime_api", &["fleet"]),
    ("aws_smithy_types", &["fleet"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("unicode_width", &["cli"]),
    ("indicatif", &["cli"]),
    ("anstream", &["cli"]),
];

/// The files that write to the terminal: results and messages the one, the log the other; and what is written with.
const PRINTERS: &[&str] = &["cli/ui.rs", "cli/bars.rs", "cli/setup.rs"];
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// How an item that is compiled for tests only begins.
const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// How long a file may be without its tests, in lines.
const FILE_LINES: usize = 500;

#[test]
fn every_module_is_on_the_map_and_every_row_is_a_module() {
    let there: BTreeSet<_> = sources().into_iter().map(|source| source.module).collect();
    let mapped: BTreeSet<_> = MAP.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(mapped.len(), MAP.len(), "a module has two rows");
    assert_eq!(there, mapped);
}

#[test]
fn a_row_names_only_rows_above_it() {
    for (row, (module, uses)) in MAP.iter().enumerate() {
        for used in *uses {
            assert!(
                MAP[..row].iter().any(|(above, _)| above == used),
                "`{module}` names `{used}`, which is not above it"
            );
        }
    }
}

#[test]
fn the_index_is_opened_by_its_handle_alone() {
    for source in sources().iter().filter(|source| !source.is_test && source.module != "index") {
        let tokens = without_tests(&source.tokens);
        let opens = tokens.windows(3).find(|words| {
            words[0] == "Index"
                && words[1] == "::"
                && ["open", "open_existing", "open_proven"].contains(&words[2].as_str())
        });
        assert_eq!(opens, None, "in {}", source.path.display());
    }
}

#[test]
fn upstream_store_and_index_do_not_know_each_other() {
    for (module, uses) in MAP.iter().filter(|(module, _)| STRANGERS.contains(module)) {
        let known: Vec<_> = uses.iter().filter(|used| STRANGERS.contains(used)).collect();
        assert_eq!(known, Vec::<&&str>::new(), "used by `{module}`");
    }
}

#[test]
fn the_resolver_is_pure() {
    let (_, uses) = MAP.iter().find(|(module, _)| *module == "resolver").expect("it is on the map");
    assert!(uses.iter().all(|used| ["model", "diagnostic"].contains(used)), "{uses:?}");
}

#[test]
fn the_code_follows_the_map_and_the_map_the_code() {
    let mut edges: BTreeMap<(String, String), PathBuf> = BTreeMap::new();
    for source in sources() {
        for used in source.uses() {
            if used != source.module {
                edges.entry((source.module.clone(), used)).or_insert_with(|| source.path.clone());
            }
        }
    }
    let mapped = |module: &str, used: &str| MAP.iter().any(|(row, uses)| *row == module && uses.contains(&used));
    let extra: Vec<_> = edges.iter().filter(|((module, used), _)| !mapped(module, used)).collect();
    assert!(extra.is_empty(), "not on the map: {extra:#?}");
    let stale: Vec<_> = MAP
        .iter()
        .flat_map(|(module, uses)| uses.iter().map(|used| ((*module).to_owned(), (*used).to_owned())))
        .filter(|edge| !edges.contains_key(edge))
        .collect();
    assert!(stale.is_empty(), "on the map, but not in the code: {stale:?}");
}

#[test]
fn within_a_module_a_row_names_only_rows_above_it() {
    for (module, rows) in INNER {
        for (row, (name, uses)) in rows.iter().enumerate() {
            for used in *uses {
                let is_above = rows[..row].iter().any(|(above, _)| above == used);
                assert!(is_above, "`{module}::{name}` names `{used}`, which is not above it");
            }
        }
    }
}

#[test]
fn within_a_module_the_code_follows_the_map_and_the_map_the_code() {
    let files = Files::new(sources().into_iter().filter(|source| !source.is_test));
    for (module, rows) in INNER {
        let mapped: BTreeMap<String, BTreeSet<String>> = rows
            .iter()
            .map(|(row, uses)| ((*row).to_owned(), uses.iter().map(|used| (*used).to_owned()).collect()))
            .collect();
        assert_eq!(mapped.len(), rows.len(), "a part of `{module}` has two rows");
        let found = files.within(module);
        let names = |map: &BTreeMap<String, BTreeSet<String>>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&mapped), "the parts of `{module}`");
        for (row, uses) in &found {
            assert_eq!(uses, &mapped[row], "what `{module}::{row}` uses, in the code and on the map");
        }
    }
}

#[test]
fn no_command_knows_another() {
    let (_, rows) = INNER.iter().find(|(module, _)| *module == "ops").expect("it is on the map");
    let first = rows.iter().position(|(row, _)| *row == FIRST_COMMAND).expect("it is on the map");
    let commands: Vec<_> = rows[first..].iter().map(|(row, _)| row).collect();
    for (row, uses) in *rows {
        let known: Vec<_> = uses.iter().filter(|used| commands.contains(used)).collect();
        assert!(known.is_empty(), "`{row}` knows the commands {known:?}");
    }
}

#[test]
fn no_path_leaves_its_module_upwards() {
    for source in sources() {
        let depth = source.depth();
        let mut modules = Vec::new();
        let mut braces = 0_usize;
        for (at, token) in source.tokens.iter().enumerate() {
            match token.as_str() {
                "{" => {
                    braces += 1;
                    if at >= 2 && source.tokens[at - 2] == "mod" {
                        modules.push(braces);
                    }
                }
                "}" => {
                    modules.retain(|opened| *opened < braces);
                    braces -= 1;
                }
                "super" => {
                    let climbs =
                        1 + source.tokens[at + 1..].chunks(2).take_while(|next| *next == ["::", "super"]).count();
                    assert!(
                        climbs < depth + modules.len(),
                        "`super` leads out of the module in {}",
                        source.path.display()
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn each_of_these_crates_is_named_by_its_owners_alone() {
    for source in sources() {
        for (name, owners) in CRATES.iter().filter(|(_, owners)| !owners.contains(&source.module.as_str())) {
            let named = source.tokens.windows(2).any(|pair| pair[0] == *name && pair[1] == "::");
            let used = source.tokens.windows(2).any(|pair| pair[0] == "use" && pair[1] == *name);
            assert!(!named && !used, "{} names `{name}`, which is for {owners:?}", source.path.display());
        }
    }
}

#[test]
fn nothing_else_writes_to_the_terminal() {
    for source in sources().iter().filter(|source| !source.is_test) {
        if PRINTERS.iter().any(|printer| source.path.ends_with(printer)) {
            continue;
        }
        let tokens = without_tests(&source.tokens);
        let prints = tokens.windows(2).find(|pair| PRINTING.contains(&pair[0].as_str()) && pair[1] == "!");
        let stdout = tokens.windows(3).find(|three| ["io::stdout", "io::stderr"].contains(&three.join("").as_str()));
        assert_eq!((prints, stdout), (None, None), "in {}", source.path.display());
    }
}

#[test]
fn files_stay_within_their_budget() {
    for source in sources().iter().filter(|source| !source.is_test) {
        let text = fs::read_to_string(&source.path).expect("it was just read");
        let lines = text.split("#[cfg(test)]\nmod tests {").next().map_or(0, |code| code.lines().count());
        assert!(lines <= FILE_LINES, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = Files::new(sources().into_iter().filter(|source| !source.is_test));
    let circles = files.circles();
    assert!(circles.is_empty(), "each of these leads back to itself, by way of the second: {circles:#?}");
}

#[test]
fn circles_are_found_through_the_names_that_a_module_passes_on() {
    let circles = |files: &[(&str, &str)]| {
        let found = Files::new(files.iter().map(|(path, code)| Source::of(root().join(path), code))).circles();
        found.into_iter().map(|(file, _)| file).collect::<Vec<_>>().join(" ")
    };
    let parent =
        ("a/mod.rs", "mod b; mod c; pub use b::{B as Bee, Other}; pub use c::C; fn f() { c::run() } struct A;");
    let c = ("a/c.rs", "use super::Bee; pub fn run() {} #[cfg(test)] mod tests { use super::*; }");
    assert_eq!(
        circles(&[parent, c, ("a/b.rs", "pub struct B; use super::A;")]),
        "",
        "children name what a parent defines"
    );
    assert_eq!(circles(&[parent, c, ("a/b.rs", "pub struct B; use crate::a::C;")]), "a::b a::c");
    assert_eq!(circles(&[parent, c, ("a/b.rs", "pub struct B; fn f() { super::c::run() }")]), "a::b a::c");
    assert_eq!(circles(&[parent, c, ("a/b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::C; }")]), "");
}

#[test]
fn what_is_compiled_for_tests_only_is_named_so() {
    for source in sources().iter().filter(|source| !source.is_test) {
        let misnamed: Vec<_> = tests_of(source).into_iter().filter(|path| !is_test_file(path)).collect();
        assert!(misnamed.is_empty(), "neither `tests.rs` nor in a folder `tests`: {misnamed:?}");
    }
    let declared: BTreeSet<_> = sources().iter().flat_map(tests_of).collect();
    let roots = sources()
        .into_iter()
        .filter(|source| source.path.ends_with("tests.rs") || source.path.ends_with("tests/mod.rs"));
    let shipped: Vec<_> = roots.map(|source| source.path).filter(|path| !declared.contains(path)).collect();
    assert!(shipped.is_empty(), "named as tests, but not under `#[cfg(test)]`: {shipped:?}");
}

#[test]
fn paths_are_found_in_every_spelling() {
    let found = |code: &str| Source::of("x/y.rs", code).uses().into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("use crate::home::Home;"), "home");
    assert_eq!(found("use crate::{self, home, index::{Index, nested::{A, B}}, net::Client as Net};"), "home index net");
    assert_eq!(found("fn f() -> crate::json::Error { $crate::store::go::<crate::disk::X>(1) }"), "disk json store");
    assert_eq!(found("use plugport::model::{Digest};"), "model");
    assert_eq!(found("// crate::a\n/* crate::b /* */ crate::c */ \"crate::d\" r#\"crate::e \" \"# '\"' crate::f"), "f");
    assert_eq!(found("#[serde(with = \"crate::duration\")] fn f<'a>(x: &'a crate::disk::D) {}"), "disk duration");
}

/// A file of `src/`, cut into words.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// The module of the crate that it belongs to.
    module: String,
    /// Whether it is there for tests only.
    is_test: bool,
    tokens: Vec<String>,
}

impl Source {
    fn of(path: impl Into<PathBuf>, code: &str) -> Self {
        let path = path.into();
        let inside = path.strip_prefix(root()).unwrap_or(&path);
        let first = inside.components().next().expect("a file has a name");
        let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        Self { module, is_test: is_test_file(inside), tokens: tokens(code), path }
    }

    /// Returns the modules that paths from the root of the crate lead to.
    fn uses(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for (at, pair) in self.tokens.windows(2).enumerate() {
            if matches!(pair[0].as_str(), "crate" | "plugport") && pair[1] == "::" {
                used.extend(heads(&self.tokens[at + 2..]));
            }
        }
        used.remove("self");
        used
    }

    /// Returns the path of the module that the file is, like `net::retry`.
    fn module_path(&self) -> String {
        let inside = self.path.strip_prefix(root()).unwrap_or(&self.path).with_extension("");
        let parts = inside.components().map(|part| part.as_os_str().to_string_lossy());
        parts.filter(|part| part != "mod").collect::<Vec<_>>().join("::")
    }

    /// Returns how many modules deep the file is: 1 for `src/home.rs` and `src/net/mod.rs`, 2 for `src/net/retry.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.strip_prefix(root()).unwrap_or(&self.path).components().count();
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }
}

/// What is imported from where: a name in this module, and the path that it stands for.
#[derive(Debug)]
struct Import {
    is_public: bool,
    name: String,
    path: Vec<String>,
}

/// The production files of the crate as modules, with what each imports.
#[derive(Debug)]
struct Files {
    /// By the path of the module, like `net::retry`: what it imports, and all of its words without the tests.
    modules: BTreeMap<String, (Vec<Import>, Vec<String>)>,
}

impl Files {
    fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        let read = |source: Source| {
            let tokens = without_tests(&source.tokens);
            (source.module_path(), (imports(&tokens), tokens))
        };
        Self { modules: sources.into_iter().map(read).collect() }
    }

    /// Returns every file that leads back to itself, with the first file on the way. A file may name what the `mod.rs` above
    /// it defines, so the way from there down does not count.
    fn circles(&self) -> Vec<(String, String)> {
        let edges: BTreeMap<&String, BTreeSet<String>> =
            self.modules.keys().map(|module| (module, self.imported_by(module))).collect();
        let leads_to = |start: &String, goal: &String| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(next) = open.pop() {
                if next == goal {
                    return true;
                }
                if seen.insert(next) {
                    open.extend(edges.get(next).into_iter().flatten());
                }
            }
            false
        };
        let ways = edges.iter().flat_map(|(module, next)| next.iter().map(move |next| (*module, next)));
        let mut found: Vec<_> = ways.filter(|(module, next)| leads_to(next, module)).collect();
        found.dedup_by_key(|(module, _)| *module);
        found.into_iter().map(|(module, next)| (module.clone(), next.clone())).collect()
    }

    /// Returns the parts of a module, each with the others that it names.
    fn within(&self, module: &str) -> BTreeMap<String, BTreeSet<String>> {
        let below = format!("{module}::");
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, (imports, tokens)) in &self.modules {
            let Some(part) = file.strip_prefix(&below).and_then(|inside| inside.split("::").next()) else { continue };
            let named = imports.iter().map(|import| import.path.clone()).chain(paths(tokens));
            let named = named.filter_map(|path| self.absolute(file, &path));
            let used = named.filter_map(|path| self.part_of(module, &path)).filter(|used| used != part);
            found.entry(part.to_owned()).or_default().extend(used);
        }
        found
    }

    /// Returns the part of a module that a path leads to, also by a name that the `mod.rs` passes on.
    fn part_of(&self, module: &str, path: &[String]) -> Option<String> {
        let inside = path.strip_prefix(&[module.to_owned()][..])?;
        let part = inside.first()?;
        if self.modules.contains_key(&format!("{module}::{part}")) {
            return Some(part.clone());
        }
        let import = self.modules[module].0.iter().find(|import| import.name == *part)?;
        self.absolute(module, &import.path)?.strip_prefix(&[module.to_owned()][..])?.first().cloned()
    }

    /// Returns the files that define what a file names, without itself and those below it.
    fn imported_by(&self, module: &str) -> BTreeSet<String> {
        let (imports, tokens) = &self.modules[module];
        let private = imports.iter().filter(|import| !import.is_public).map(|import| import.path.clone());
        let paths = private.chain(paths(tokens)).filter_map(|path| self.absolute(module, &path));
        let defined = paths.filter_map(|path| self.defining(&path, 0));
        let below = format!("{module}::");
        defined.filter(|other| other != module && !other.starts_with(&below)).collect()
    }

    /// Returns a path from the root of the crate; `None` for one that leads out of it.
    fn absolute(&self, module: &str, path: &[String]) -> Option<Vec<String>> {
        let own = module.split("::").map(str::to_owned);
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some(own.chain(path[1..].iter().cloned()).collect()),
            "super" => {
                let climbs = path.iter().take_while(|word| *word == "super").count();
                let depth = own.clone().count().checked_sub(climbs)?;
                Some(own.take(depth).chain(path[climbs..].iter().cloned()).collect())
            }
            first if self.modules.contains_key(&format!("{module}::{first}")) => {
                Some(own.chain(path.to_vec()).collect())
            }
            _ => None,
        }
    }

    /// Returns the file that defines what a path leads to, through the names that modules pass on.
    fn defining(&self, path: &[String], depth: usize) -> Option<String> {
        let longest = (1..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length].join("::")))?;
        let module = path[..longest].join("::");
        let passed_on = path.get(longest).filter(|_| depth < 8).and_then(|name| {
            let import = self.modules[&module].0.iter().find(|import| import.name == *name)?;
            let rest = path[longest + 1..].iter().cloned();
            self.absolute(&module, &import.path).map(|found| found.into_iter().chain(rest).collect::<Vec<_>>())
        });
        match passed_on {
            Some(path) => self.defining(&path, depth + 1),
            None => Some(module),
        }
    }
}

/// Returns what the `use` declarations of a file import.
fn imports(tokens: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    // In a type, `use<..>` says what it captures.
    let declares = |pair: &[String]| pair[0] == "use" && pair[1] != "<";
    for (at, _) in tokens.windows(2).enumerate().filter(|(_, pair)| declares(pair)) {
        let is_public = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
        let end = tokens[at..].iter().position(|token| token == ";").map_or(tokens.len(), |length| at + length);
        let mut expanded = Vec::new();
        expand(&tokens[at + 1..end], &[], &mut expanded);
        found.extend(expanded.into_iter().map(|(name, path)| Import { is_public, name, path }));
    }
    found
}

/// Takes the groups of a `use` declaration apart: each name with its whole path.
fn expand(tree: &[String], before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let (mut depth, mut start) = (0_usize, 0);
    for at in 0..=tree.len() {
        match tree.get(at).map(String::as_str) {
            Some("{") => depth += 1,
            Some("}") => depth -= 1,
            Some(",") | None if depth == 0 => {
                expand_one(&tree[start..at], before, found);
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn expand_one(branch: &[String], before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let words = |tokens: &[String]| tokens.iter().filter(|token| *token != "::").cloned().collect::<Vec<_>>();
    if let Some(open) = branch.iter().position(|token| token == "{") {
        let before = [before.to_vec(), words(&branch[..open])].concat();
        return expand(&branch[open + 1..branch.len() - 1], &before, found);
    }
    let named = branch.iter().position(|token| token == "as").unwrap_or(branch.len());
    let mut path = [before.to_vec(), words(&branch[..named])].concat();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = branch.get(named + 1).or(path.last()).cloned() {
        found.push((name, path));
    }
}

/// Returns the paths of at least two words that stand in a file outside of `use`.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = token.starts_with(is_word) && tokens.get(at + 1).is_some_and(|next| next == "::");
        if begins && (at == 0 || tokens[at - 1] != "::") {
            let more = tokens[at + 1..].chunks(2).take_while(|pair| pair[0] == "::" && pair.len() == 2);
            let more = more.map(|pair| pair[1].clone()).take_while(|word| word.starts_with(is_word));
            found.push(std::iter::once(token.clone()).chain(more).collect());
        }
    }
    found
}

/// Returns the first words of the paths that follow: one, or those of a group.
fn heads(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for pair in tokens.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].as_str(), "{" | ",") && pair[1] != "}" {
            found.push(pair[1].clone());
        }
    }
    found
}

/// Returns the words without the items under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        if rest.starts_with(&CFG_TEST.map(str::to_owned)) {
            rest = &rest[end_of_item(rest)..];
        } else {
            kept.push(first.clone());
            rest = &rest[1..];
        }
    }
    kept
}

/// Returns how many words the first item has: up to its semicolon, or the end of its block.
fn end_of_item(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Returns the names of the modules in files of their own that are compiled for tests only: `#[cfg(test)] mod NAME;`, whatever
/// stands between the two.
fn test_modules(tokens: &[String]) -> Vec<String> {
    let starts = (0..tokens.len()).filter(|at| tokens[*at..].starts_with(&CFG_TEST.map(str::to_owned)));
    let items = starts.map(|at| &tokens[at..at + end_of_item(&tokens[at..])]);
    let modules = items.filter_map(|item| match item {
        [.., keyword, name, end] if keyword == "mod" && end == ";" => Some(name.clone()),
        _ => None,
    });
    modules.collect()
}

/// Cuts code into names, `::`, and single signs; leaves out comments and literals, but looks into serde's.
fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            'r' | 'b' if raw_hashes(rest).is_some() => raw_string(rest),
            '\'' => quoted(rest),
            ':' if rest.starts_with("::") => 2,
            _ if is_word(first) => rest.find(|next| !is_word(next)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if let Some(path) = token.strip_prefix("\"crate::").filter(|_| found.last().is_some_and(|last| last == "=")) {
            found.extend(["crate", "::", path.split([':', '"']).next().unwrap_or_default()].map(str::to_owned));
        } else if token == "::"
            || is_word(first) && raw_hashes(token).is_none()
            || first.is_ascii_punctuation() && length == 1
        {
            found.push(token.to_owned());
        }
        rest = after;
    }
    found
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Returns how long a comment is that may hold others.
fn comment(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in code.char_indices() {
        if code[at..].starts_with("/*") {
            depth += 1;
        } else if code[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    code.len()
}

fn string(code: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in code.char_indices().skip(1) {
        match sign {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    code.len()
}

/// Returns the signs that open a raw string, like `r#"`.
fn raw_hashes(code: &str) -> Option<&str> {
    let after = code.strip_prefix("br").or_else(|| code.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then(|| &after[..hashes])
}

fn raw_string(code: &str) -> usize {
    let hashes = raw_hashes(code).unwrap_or_default();
    let start = code.find('"').map_or(code.len(), |at| at + 1);
    let end = format!("\"{hashes}");
    code[start..].find(&end).map_or(code.len(), |at| start + at + end.len())
}

/// Returns how long a character is, or the sign of a lifetime.
fn quoted(code: &str) -> usize {
    let mut signs = code.char_indices().skip(1);
    match signs.next() {
        Some((_, '\\')) => code[2..].char_indices().skip(1).find(|(_, sign)| *sign == '\'').map_or(1, |(at, _)| at + 3),
        Some(_) => signs.next().filter(|(_, sign)| *sign == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns every file of `src/` but the two roots, which name all modules or one.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources can be read") {
            let path = entry.expect("the sources can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).expect("the sources can be read");
                found.push(Source::of(path, &code));
            }
        }
    }
    found.retain(|source| !["lib", "main"].contains(&source.module.as_str()));
    assert!(found.len() > MAP.len(), "the sources were not found");
    found
}

/// Returns the files that a file declares for tests only, as they are found: `NAME.rs` or `NAME/mod.rs`.
fn tests_of(source: &Source) -> Vec<PathBuf> {
    let folder = if source.path.ends_with("mod.rs") {
        source.path.parent().map(Path::to_path_buf).unwrap_or_default()
    } else {
        source.path.with_extension("")
    };
    let spellings = |name: String| [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    test_modules(&source.tokens).into_iter().flat_map(spellings).filter(|path| path.exists()).collect()
}

/// Returns whether a file is named as one that is compiled for tests only: `tests.rs`, or anything in a folder `tests`.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name))
}
