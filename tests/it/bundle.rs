//! `plugport bundle`, end to end: from a side with a network to one without.

mod attacks;
mod creating;
mod importing;
mod interruptions;
mod tar;
mod upstreams;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    support::{
        fake_grafana::catalog::FakeCatalog,
        fake_plugin::FakePlugin,
        sandbox::{Output, Sandbox},
    },
    world::World,
};

const CLOCK: &str = "acme-clock-panel";
const TIDES: &str = "acme-tides-datasource";
/// How many packages there are in the store of the near side.
const PACKAGES: u64 = 5;

fn clock(version: &str) -> FakePlugin {
    FakePlugin::new(CLOCK, version).file("module.js", noise(9_000))
}

/// Returns bytes that cannot be compressed.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|at| Sha256::digest(at.to_be_bytes())[0]).collect()
}

fn tides() -> FakePlugin {
    FakePlugin::new(TIDES, "2.0.0").platforms(["linux-amd64", "linux-arm64"]).backend("gpx_tides")
}

fn catalog() -> FakeCatalog {
    let app = FakePlugin::new("acme-harbour-app", "3.0.0").depends_on(CLOCK, "^1.0.0");
    FakeCatalog::new().publish(clock("1.0.0")).publish(clock("1.1.0")).publish(tides()).publish(app)
}

/// A side with a network, a key to sign with, and a side without a network that trusts it.
struct Sides {
    near: World,
    far: Sandbox,
}

impl Sides {
    fn new() -> Self {
        Self::with(catalog())
    }

    fn with(catalog: FakeCatalog) -> Self {
        let near = World::new(catalog);
        near.run(&["bundle", "keygen", "--out", "key"]).expect_code(0);
        let sides = Self { far: Sandbox::new(), near };
        sides.fetch();
        sides.trust("");
        sides
    }

    /// Fetches all that the near side's catalog has.
    fn fetch(&self) {
        let platforms = ["--platform", "linux-amd64", "--platform", "linux-arm64"];
        self.near.run(&[&["fetch", "--all", "--latest", "9"], &platforms[..]].concat()).expect_code(0);
    }

    /// Writes the manifest of the far side: the key of the near side, and these lines.
    fn trust(&self, lines: &str) {
        let key = fs::read_to_string(self.near.path("key.pub")).expect("a public key");
        let key = key.lines().last().expect("a key").to_owned();
        self.far.write("plugport.toml", format!("[trust]\nbundle-keys = [\"{key}\"]\n{lines}"));
    }

    /// Creates a signed bundle and returns where it is.
    fn create(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.near.path(name);
        self.near.run(&[&["bundle", "create", "--sign-key", "key", "--out", name], arguments].concat()).expect_code(0);
        path
    }

    fn import(&self, path: &Path) -> Output {
        self.far.run(&["--json", "bundle", "import", &path.display().to_string()])
    }

    fn far(&self, code: i32, arguments: &[&str]) -> Value {
        self.far.run(&[&["--json"], arguments].concat()).expect_code(code).json()
    }

    /// Syncs and fetches after the catalog of the near side was changed.
    fn change(&self, change: impl FnOnce(&mut FakeCatalog)) {
        // Generations are ordered by milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(5));
        self.near.upstream.catalog(change);
        // What the list says of a plugin does not show every change of its versions.
        let code = self.near.run(&["sync", "--full"]).code;
        assert!([0, 4].contains(&code), "{code}");
    }

    /// Asserts that the far side lists nothing, whatever its store has.
    #[track_caller]
    fn assert_far_is_empty(&self) {
        for arguments in [&["search", "acme"][..], &["show", CLOCK]] {
            let output = self.far.run(arguments);
            assert!(output.code != 0 || !output.stdout.contains(CLOCK), "{output:?}");
        }
    }

    /// Asserts that the far side has the whole catalog, and every package intact.
    #[track_caller]
    fn assert_far_is_complete(&self) {
        let verified = self.far(0, &["verify", "--all"]);
        assert_eq!(verified["ok"], PACKAGES, "{verified}");
        for id in [CLOCK, TIDES] {
            let far = self.far(0, &["versions", id])["versions"].clone();
            assert_eq!(far, self.near.json(0, &["versions", id])["versions"]);
        }
    }
}

/// Returns the packages in the store of a sandbox, with their inode numbers.
fn stored(sandbox: &Sandbox) -> BTreeSet<(String, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(sandbox.path().join("cache/store/blobs")).into_iter().flatten().flatten() {
        for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let inode = entry.metadata().expect("it is there").ino();
            found.insert((entry.file_name().to_string_lossy().into_owned(), inode));
        }
    }
    found
}
