//! How long a resolution takes, in memory and over an index on disk: 1,000 plugins with 100 versions each, every version
//! with dependencies on older neighbours.
//!
//! Prints the median of the runs. Arguments: how many plugins, how many versions each, and how many runs.

#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::{collections::BTreeMap, convert::Infallible, error::Error, rc::Rc, time::Instant};

use plugport::exposed::{
    index::{Index, PluginRecord},
    model::{Dependency, Package, Platform, Plugin, PluginId, PluginSpec, Release, Timestamp, VersionRange},
    ops::candidates::IndexProvider,
    resolver::{Candidate, Problem, Provider, SolveOutcome, Surroundings, solve},
};

/// The versions of a plugin, what each needs, and the whole releases.
struct Versions {
    listed: Rc<[Candidate]>,
    needs: Vec<Vec<Dependency>>,
    releases: Vec<Release>,
}

/// A catalog in memory.
struct Memory(BTreeMap<PluginId, Versions>);

impl Provider for Memory {
    type Error = Infallible;

    fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Candidate]>>, Infallible> {
        Ok(self.0.get(plugin).map(|versions| Rc::clone(&versions.listed)))
    }

    fn platforms(&self, _: &PluginId, _: &Candidate) -> Result<Vec<Platform>, Infallible> {
        Ok(vec![Platform::any()])
    }

    fn is_core(&self, _: &PluginId) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn dependencies(&self, plugin: &PluginId, candidate: &Candidate) -> Result<Option<Vec<Dependency>>, Infallible> {
        let Versions { listed, needs, .. } = &self.0[plugin];
        let place = listed.iter().position(|listed| listed.version == candidate.version);
        Ok(place.map(|place| needs[place].clone()))
    }
}

fn id(number: usize) -> PluginId {
    format!("bench-number{number:05}-panel").parse().expect("an id")
}

fn release(version: usize) -> Release {
    let (major, minor) = (version / 10, version % 10);
    Release {
        version: format!("{major}.{minor}.0").parse().expect("a version"),
        created_at: Some(Timestamp::from_milliseconds(1)),
        status: "active".to_owned().into(),
        // The newest tenth works with a newer Grafana only.
        grafana_dependency: Some(format!(">={}.0.0", 3 + major)),
        angular: false,
        packages: [("any".parse().expect("a platform"), Package::default())].into(),
        raw: format!("{{\"version\": \"{major}.{minor}.0\", \"padding\": \"{}\"}}", "x".repeat(600)),
    }
}

/// Every plugin needs up to three with higher numbers, in the major version that is its own or an older one.
fn catalog(plugins: usize, versions: usize) -> Memory {
    let needs = |plugin: usize, version: usize| {
        let others = [plugin + 1, 2 * plugin + 1, 3 * plugin + 2].into_iter().filter(|other| *other < plugins);
        let range = |other: usize| {
            [format!("^{}", version / 10), format!("<={}", version / 10), "*".to_owned()][other % 3].clone()
        };
        let dependency = |other: usize| Dependency {
            id: id(other),
            range: Some(range(other).parse::<VersionRange>().expect("a range")),
        };
        others.map(dependency).collect::<Vec<_>>()
    };
    let candidate = |release: &Release| Candidate {
        version: release.version.clone(),
        grafana_dependency: release.grafana_dependency.as_deref().map(Rc::from),
        withdrawn: false,
        denied: None,
        published_at: release.created_at,
        signed: true,
        angular: release.angular,
        platforms: None,
    };
    let one = |plugin: usize| {
        let releases: Vec<_> = (0..versions).map(release).collect();
        let (listed, needs) =
            (releases.iter().map(candidate).collect(), (0..versions).map(|version| needs(plugin, version)));
        (id(plugin), Versions { listed, needs: needs.collect(), releases })
    };
    Memory((0..plugins).map(one).collect())
}

fn plugin(id: &PluginId, newest: &Release, dependencies: &[Dependency]) -> Plugin {
    Plugin {
        id: id.clone(),
        name: id.to_string(),
        plugin_type: "panel".to_owned().into(),
        description: String::new(),
        status: "active".to_owned().into(),
        status_context: String::new(),
        version: Some(newest.version.clone()),
        org: String::new(),
        org_name: String::new(),
        signature: plugport::exposed::model::Signature::default(),
        downloads: 0,
        created_at: None,
        updated_at: None,
        angular: false,
        internal: false,
        grafana_dependency: newest.grafana_dependency.clone(),
        keywords: Vec::new(),
        dependencies: dependencies.to_vec(),
        packages: newest.packages.clone(),
    }
}

/// Writes the same catalog into an index; of dependencies it knows those of the newest versions, as catalogs tell them.
fn fill(index: &mut Index, memory: &Memory) {
    let mut writer = index.begin_sync("bench", Timestamp::from_milliseconds(1)).expect("a sync begins");
    for (id, Versions { needs, releases, .. }) in &memory.0 {
        let (newest, needs) = releases.last().zip(needs.last()).expect("a version");
        let record = PluginRecord {
            plugin: plugin(id, newest, needs),
            fingerprint: String::new(),
            list_digest: String::new(),
            list_raw: "{}".to_owned(),
            detail_raw: None,
        };
        writer.put_plugin(&record).expect("a plugin is put");
        for release in releases {
            writer.put_release(id, release).expect("a release is put");
        }
    }
    writer.commit(&serde_json::json!({})).expect("a sync ends");
}

/// Runs a search often and prints the median.
fn measure<E: Error>(name: &str, runs: usize, run: impl Fn() -> Result<SolveOutcome, E>) {
    let mut times = Vec::new();
    let mut plugins = 0;
    for _ in 0..runs {
        let started = Instant::now();
        let outcome = run().expect("a catalog");
        times.push(started.elapsed());
        let SolveOutcome::Solved(solution) = outcome else { panic!("there is no solution") };
        plugins = solution.plugins.len();
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64() * 1_000.0;
    let worst = times[times.len() - 1].as_secs_f64() * 1_000.0;
    println!("{name:32} {median:8.1} ms (worst {worst:.1} ms of {runs}), {plugins} plugins chosen");
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (plugins, versions, runs) =
        (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(100), numbers.next().unwrap_or(11));
    let memory = catalog(plugins, versions);
    let surroundings = Surroundings {
        grafana: Some("11.0.0".parse().expect("a version")),
        platforms: vec!["linux-amd64".parse().expect("a platform")],
        published_before: None,
    };
    let all = Problem {
        wishes: (0..plugins).map(|plugin| PluginSpec::any(id(plugin))).collect(),
        surroundings: surroundings.clone(),
        ..Problem::default()
    };
    let one = Problem { wishes: vec![PluginSpec::any(id(0))], surroundings, ..Problem::default() };
    println!("{plugins} plugins with {versions} versions each");
    measure("in memory, one asked for", runs, || solve(&memory, &one));
    measure("in memory, all asked for", runs, || solve(&memory, &all));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("index.sqlite");
    fill(&mut Index::open(&path).expect("a new index"), &memory);
    let index = Index::open_existing(&path).expect("the index");
    measure("over the index, one asked for", runs, || solve(&IndexProvider::new(&index, &one.surroundings), &one));
    measure("over the index, all asked for", runs, || solve(&IndexProvider::new(&index, &all.surroundings), &all));
}
