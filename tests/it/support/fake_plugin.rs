//! One version of a made-up plugin: what its `plugin.json` says and the zip it is published as.
//!
//! *Invariant:* the same value gives the same zip, byte for byte.
//! *Not for:* hostile archives; those are published as raw bytes with `FakeCatalog::replace_bytes`.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::signing::Signer;

/// Every platform a binary is built for when a package is for `any`.
const BUILT_FOR: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-arm64", "windows-amd64"];

/// A plugin at one version, as its publisher would describe it.
#[derive(Clone, Debug)]
#[must_use = "nobody sees it until it is published"]
pub struct FakePlugin {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) org: (String, String),
    pub(super) keywords: Vec<String>,
    pub(super) grafana_dependency: String,
    pub(super) dependencies: Vec<(String, String)>,
    pub(super) platforms: Vec<String>,
    built_for: Vec<&'static str>,
    pub(super) backend: Option<String>,
    pub(super) created_at: String,
    pub(super) status: String,
    pub(super) angular: bool,
    pub(super) downloads: u64,
    pub(super) signature: String,
    pub(super) readme: Option<String>,
    pub(super) changelog: Option<String>,
    pub(super) status_context: Option<String>,
    pub(super) screenshots: Vec<(String, String)>,
    pub(super) nested: Vec<FakePlugin>,
    files: BTreeMap<String, Vec<u8>>,
    signer: Option<Signer>,
    root_urls: Vec<String>,
    /// The root folder of the archive of a commit, with the built plugin in its `dist`.
    commit_folder: Option<String>,
}

impl FakePlugin {
    /// Returns a community plugin for `any` platform, signed by [`Signer::publisher`] unless it has a `MANIFEST.txt` of its
    /// own; its type is the last word of the id.
    pub fn new(id: &str, version: &str) -> Self {
        let org = id.split('-').next().unwrap_or(id);
        Self {
            id: id.to_owned(),
            version: version.to_owned(),
            name: id.to_owned(),
            description: format!("What {id} shows"),
            org: (org.to_owned(), org.to_owned()),
            keywords: Vec::new(),
            grafana_dependency: ">=10.0.0".to_owned(),
            dependencies: Vec::new(),
            platforms: vec!["any".to_owned()],
            built_for: BUILT_FOR.to_vec(),
            backend: None,
            created_at: "2025-01-01T00:00:00.000Z".to_owned(),
            status: "active".to_owned(),
            angular: false,
            downloads: 0,
            signature: "community".to_owned(),
            readme: None,
            changelog: None,
            status_context: None,
            screenshots: Vec::new(),
            nested: Vec::new(),
            files: BTreeMap::new(),
            signer: Some(Signer::publisher().clone()),
            root_urls: Vec::new(),
            commit_folder: None,
        }
    }

    /// Sets the name people see.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the one-line description.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// Sets the publisher's slug and name.
    pub fn org(mut self, slug: &str, name: &str) -> Self {
        self.org = (slug.to_owned(), name.to_owned());
        self
    }

    /// Sets the keywords.
    pub fn keywords<const N: usize>(mut self, keywords: [&str; N]) -> Self {
        self.keywords = keywords.map(str::to_owned).to_vec();
        self
    }

    /// Sets the range of Grafana versions it works with.
    pub fn grafana_dependency(mut self, range: &str) -> Self {
        range.clone_into(&mut self.grafana_dependency);
        self
    }

    /// Adds a plugin it needs.
    pub fn depends_on(mut self, id: &str, range: &str) -> Self {
        self.dependencies.push((id.to_owned(), range.to_owned()));
        self
    }

    /// Has executables for these platforms alone, whatever it is published for.
    pub fn built_for<const N: usize>(mut self, platforms: [&'static str; N]) -> Self {
        self.built_for = platforms.to_vec();
        self
    }

    /// Publishes one zip for each of these platforms instead of one for `any`.
    pub fn platforms<const N: usize>(mut self, platforms: [&str; N]) -> Self {
        self.platforms = platforms.map(str::to_owned).to_vec();
        self
    }

    /// Adds or replaces a file; the path is relative to the plugin's folder.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Gives it a backend: the stem of its executables.
    pub fn backend(mut self, executable: &str) -> Self {
        self.backend = Some(executable.to_owned());
        self
    }

    /// Sets the readme, as a catalog sends it.
    pub fn readme(mut self, text: &str) -> Self {
        self.readme = Some(text.to_owned());
        self
    }

    /// Sets the changelog, as a catalog sends it.
    pub fn changelog(mut self, text: &str) -> Self {
        self.changelog = Some(text.to_owned());
        self
    }

    /// Sets why it has its status.
    pub fn status_context(mut self, text: &str) -> Self {
        self.status_context = Some(text.to_owned());
        self
    }

    /// Adds a screenshot: its name, its path and its bytes.
    pub fn screenshot(self, name: &str, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.names_screenshot(name, path).file(path, content)
    }

    /// Names a screenshot that need not be there.
    pub fn names_screenshot(mut self, name: &str, path: &str) -> Self {
        self.screenshots.push((name.to_owned(), path.to_owned()));
        self
    }

    /// Ships another plugin in a folder named by its type.
    pub fn ships(mut self, child: Self) -> Self {
        self.nested.push(child);
        self
    }

    /// Sets the time of publication, ISO 8601 with milliseconds and `Z`.
    pub fn created_at(mut self, time: &str) -> Self {
        time.clone_into(&mut self.created_at);
        self
    }

    /// Sets the plugin's status: `active`, `deprecated`, `enterprise`, ...
    pub fn status(mut self, status: &str) -> Self {
        status.clone_into(&mut self.status);
        self
    }

    /// Publishes it without a signature, whatever the catalog says of it.
    pub fn unsigned(mut self) -> Self {
        self.signer = None;
        self
    }

    /// Signs it as a private plugin for the server at this root URL, also.
    pub fn private_for(mut self, root_url: &str) -> Self {
        self.root_urls.push(root_url.to_owned());
        self
    }

    /// Signs every zip of it: a manifest of exactly its files.
    pub fn signed_by(mut self, signer: &Signer) -> Self {
        self.signer = Some(signer.clone());
        self
    }

    /// Says that Angular was found in it.
    pub fn angular(mut self) -> Self {
        self.angular = true;
        self
    }

    /// Sets how often it was downloaded.
    pub fn downloads(mut self, count: u64) -> Self {
        self.downloads = count;
        self
    }

    /// Sets the signature type the catalog claims: `grafana`, `community`, `commercial`, `private` or nothing.
    pub fn signature(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.signature);
        self
    }

    /// Returns the plugin's type, from its id.
    pub fn kind(&self) -> &'static str {
        match self.id.rsplit('-').next() {
            Some("app") => "app",
            Some("datasource") => "datasource",
            Some("renderer") => "renderer",
            _ => "panel",
        }
    }

    /// Returns its `plugin.json` (protocol section 8).
    pub fn plugin_json(&self) -> Value {
        let plugins: Vec<Value> = self.dependencies.iter().map(|(id, range)| dependency(id, range)).collect();
        let screenshots = self.screenshots.iter().map(|(name, path)| json!({ "name": name, "path": path }));
        let screenshots: Vec<Value> = screenshots.collect();
        let mut document = json!({
            "id": self.id,
            "name": self.name,
            "type": self.kind(),
            "info": {
                "author": { "name": self.org.1, "url": format!("https://{}.example", self.org.0) },
                "description": self.description,
                "keywords": self.keywords,
                "links": [],
                "logos": { "small": "img/logo.svg", "large": "img/logo.svg" },
                "screenshots": screenshots,
                "updated": self.created_at.get(..10).unwrap_or_default(),
                "version": self.version,
            },
            "dependencies": { "grafanaDependency": self.grafana_dependency, "plugins": plugins },
        });
        if !self.nested.is_empty() {
            let included = self.nested.iter().map(|child| json!({ "type": child.kind(), "name": child.name }));
            document["includes"] = included.collect();
        }
        if let Some(executable) = &self.backend {
            document["backend"] = json!(true);
            document["executable"] = json!(executable);
        }
        document
    }

    /// Packs it as the archive of a commit with this root folder: what Grafana installs is in `dist`, beside its sources.
    pub fn archive_of_commit(mut self, root_folder: &str) -> Self {
        self.commit_folder = Some(root_folder.to_owned());
        self
    }

    /// Returns the zip published for a platform, or for `any`: one root folder, named by the id unless it is the archive of a
    /// commit.
    pub fn zip(&self, platform: &str) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let built_in = self.commit_folder.as_ref().map_or_else(|| self.id.clone(), |root| format!("{root}/dist"));
        if let Some(root) = &self.commit_folder {
            for (path, content) in
                [("README.md", "# Sources\n"), ("src/plugin.json", "{\"info\":{\"version\":\"%VERSION%\"}}\n")]
            {
                archive.start_file(format!("{root}/{path}"), SimpleFileOptions::default()).expect("file names differ");
                archive.write_all(content.as_bytes()).expect("memory takes every write");
            }
        }
        for (path, content) in self.packed_files(platform) {
            let executable = self.executables(platform).contains_key(&path);
            let method =
                if content.len() < 1024 { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
            let options = SimpleFileOptions::default()
                .compression_method(method)
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(if executable { 0o755 } else { 0o644 });
            archive.start_file(format!("{built_in}/{path}"), options).expect("file names differ");
            archive.write_all(&content).expect("memory takes every write");
        }
        archive.finish().expect("memory takes every write").into_inner()
    }

    /// Returns the executables for a platform, its own and those of what it ships.
    fn executables(&self, platform: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for built_for in self.built_for.iter().filter(|built_for| platform == "any" || platform == **built_for) {
            let Some(stem) = &self.backend else { break };
            let suffix = if built_for.starts_with("windows") { ".exe" } else { "" };
            let name = format!("{stem}_{}{suffix}", built_for.replace('-', "_"));
            files.insert(name, format!("{} {} for {built_for}\n", self.id, self.version).into_bytes());
        }
        for child in &self.nested {
            let own = child.executables(platform).into_iter();
            files.extend(own.map(|(path, bytes)| (format!("{}/{path}", child.kind()), bytes)));
        }
        files
    }

    fn packed_files(&self, platform: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::from([
            ("plugin.json".to_owned(), format!("{:#}\n", self.plugin_json()).into_bytes()),
            ("module.js".to_owned(), format!("/* {} {} */\n", self.id, self.version).into_bytes()),
            ("README.md".to_owned(), format!("# {}\n\n{}\n", self.name, self.description).into_bytes()),
            ("img/logo.svg".to_owned(), b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n".to_vec()),
        ]);
        files.extend(self.executables(platform));
        for child in &self.nested {
            let path = format!("{}/plugin.json", child.kind());
            files.insert(path, format!("{:#}\n", child.plugin_json()).into_bytes());
        }
        files.extend(self.files.clone());
        if let Some(signer) = self.signer.as_ref().filter(|_| !files.contains_key("MANIFEST.txt")) {
            let manifest = if self.root_urls.is_empty() {
                signer.manifest_text(&self.id, &self.version, &files)
            } else {
                signer.private_manifest_text((&self.id, &self.version), &files, &self.root_urls)
            };
            files.insert("MANIFEST.txt".to_owned(), manifest.into_bytes());
        }
        files
    }
}

fn dependency(id: &str, range: &str) -> Value {
    let kind = FakePlugin::new(id, range).kind();
    json!({ "id": id, "type": kind, "name": id, "version": range })
}
