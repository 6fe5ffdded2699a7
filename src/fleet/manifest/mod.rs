//! `plugport.toml`: the workspaces, the wanted plugins and the policy, as people write them.
//!
//! *Invariant:* a [`Manifest`] that exists is sound: every workspace has what its kind needs and nothing else, no two are
//! one address, and every workspace that is named somewhere exists. It holds references to secrets, never secrets.
//! *Not for:* what was chosen for each workspace (the lock), or reaching one.

mod content;
mod error;
mod kind;
mod notify;
mod policy;
mod schema;
mod selection;
mod serving;
mod uid;
mod wish;
mod workspace;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

pub(crate) use content::{Access, DataSourceWish, Ensure};
pub(crate) use error::{ManifestError, RuleError, SelectError};
pub(crate) use kind::WorkspaceKind;
pub(crate) use notify::NotifySection;
pub(crate) use policy::{CatalogSection, KeySource, Signatures, Source, TrustSection};
pub(crate) use schema::manifest_schema;
pub(crate) use serving::{GuardedPart, MirrorSection, ServeSection};
pub(crate) use uid::Uid;
pub(crate) use wish::Wish;
pub use workspace::Service;
pub(crate) use workspace::{Endpoint, Login, Workspace};

use super::reference::ParseReferenceError;
use crate::{
    diagnostic::unknown_key,
    model::{Selector, WorkspaceName},
    net::{NetSettings, parse_address},
    rollout::{Rollout, WaveMembers},
};
use workspace::RawWorkspace;

/// The content of `plugport.toml`; the default applies without one.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    catalog: CatalogSection,
    trust: TrustSection,
    workspaces: Vec<Workspace>,
    plugins: Vec<Wish>,
    data_sources: Vec<DataSourceWish>,
    rollout: Rollout,
    notify: NotifySection,
    network: NetSettings,
    serve: ServeSection,
    mirror: MirrorSection,
}

/// The manifest of plugport: the workspaces, the wanted plugins and the policy.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[schemars(with = "Option<CatalogSection>")]
    catalog: Option<Spanned<CatalogSection>>,
    #[serde(default)]
    #[schemars(with = "Option<TrustSection>")]
    trust: TrustSection,
    /// A Grafana server or a plugins folder that plugins are installed on.
    #[serde(default)]
    #[schemars(with = "Vec<RawWorkspace>")]
    workspace: Vec<Spanned<RawWorkspace>>,
    /// A wanted plugin, and the workspaces it is wanted on. If not all plugins can have their newest version, earlier
    /// entries are preferred.
    #[serde(default)]
    #[schemars(with = "Vec<Wish>")]
    plugin: Vec<Spanned<Wish>>,
    /// A data source that a rollout creates, changes or removes.
    #[serde(default)]
    #[schemars(with = "Vec<DataSourceWish>")]
    datasource: Vec<Spanned<DataSourceWish>>,
    #[schemars(with = "Option<Rollout>")]
    rollout: Option<Spanned<Rollout>>,
    #[serde(default)]
    #[schemars(with = "Option<NotifySection>")]
    notify: NotifySection,
    #[serde(default)]
    #[schemars(with = "Option<NetSettings>")]
    network: NetSettings,
    #[serde(default)]
    #[schemars(with = "Option<ServeSection>")]
    serve: ServeSection,
    #[serde(default)]
    #[schemars(with = "Option<MirrorSection>")]
    mirror: MirrorSection,
}

impl Manifest {
    /// Reads the manifest at `path`, which must be there.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads the manifest at `path`, or returns the default where no file is there.
    pub fn load_or_default(path: &Path) -> Result<Self, ManifestError> {
        match Self::load(path) {
            Err(ManifestError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            other => other,
        }
    }

    /// Reads the text of a manifest; relative paths in it start at the folder of `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ManifestError> {
        let manifest_text = ManifestText { text, path };
        let raw: RawManifest = toml::from_str(text).map_err(|error| manifest_text.explain(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let workspaces = check_workspaces(raw.workspace, folder, &manifest_text)?;
        let (catalog, catalog_at) = split(raw.catalog);
        let (rollout, rollout_at) = split(raw.rollout);
        let (trust, network, serve, mirror) = (raw.trust, raw.network, raw.serve.below(folder), raw.mirror);
        let (plugins, data_sources, notify) = (Vec::new(), Vec::new(), raw.notify.below(folder));
        let mut manifest =
            Self { catalog, trust, workspaces, plugins, data_sources, rollout, notify, network, serve, mirror };
        manifest.check_catalog().map_err(|source| manifest_text.broken(catalog_at, source))?;
        manifest.check_waves().map_err(|source| manifest_text.broken(rollout_at, source))?;
        for wish in raw.plugin {
            let at = wish.span().start;
            let wish = wish.into_inner();
            manifest.check_wish(&wish).map_err(|source| manifest_text.broken(at, source))?;
            manifest.plugins.push(wish);
        }
        for entry in raw.datasource {
            let at = entry.span().start;
            let wish = entry.into_inner().check(folder).map_err(|source| manifest_text.broken(at, source))?;
            manifest.check_data_source(&wish).map_err(|source| manifest_text.broken(at, source))?;
            manifest.data_sources.push(wish);
        }
        let CatalogSection { source, token, allow_http } = manifest.catalog;
        let token = token.map(|token| token.below(folder));
        manifest.catalog = CatalogSection { source: source.below(folder), token, allow_http };
        manifest.keep_secrets_apart();
        Ok(manifest)
    }

    /// Keeps from every command that prints a secret the variables that hold the others.
    fn keep_secrets_apart(&mut self) {
        let workspaces = self.workspaces.iter_mut().filter_map(Workspace::secret_mut);
        let data_sources = self.data_sources.iter_mut().flat_map(|wish| wish.secrets.values_mut());
        let tokens = self.serve.read_token.iter_mut().chain(&mut self.serve.write_token);
        let mut secrets: Vec<_> =
            self.catalog.token.iter_mut().chain(workspaces).chain(data_sources).chain(tokens).collect();
        let variables: BTreeSet<_> = secrets.iter().filter_map(|secret| secret.variable()).map(str::to_owned).collect();
        for secret in &mut secrets {
            secret.withhold(&variables);
        }
        self.notify.withhold(&variables);
    }

    /// Returns the source of the catalog.
    pub fn catalog(&self) -> &CatalogSection {
        &self.catalog
    }

    /// Returns whom to trust.
    pub fn trust(&self) -> &TrustSection {
        &self.trust
    }

    /// Returns the workspaces in the order of the file.
    pub fn workspaces(&self) -> &[Workspace] {
        &self.workspaces
    }

    /// Returns what is wanted of plugins, in the order of the file.
    pub fn plugins(&self) -> &[Wish] {
        &self.plugins
    }

    /// Returns what is wanted of data sources, in the order of the file.
    pub fn data_sources(&self) -> &[DataSourceWish] {
        &self.data_sources
    }

    /// Returns the policy of rollouts.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Returns who is notified of rollouts.
    pub fn notify(&self) -> &NotifySection {
        &self.notify
    }

    /// Returns what the mirror keeps.
    pub fn mirror(&self) -> &MirrorSection {
        &self.mirror
    }

    /// Returns how the mirror is served.
    pub fn serve(&self) -> &ServeSection {
        &self.serve
    }

    /// Returns the bounds of every conversation.
    pub fn network(&self) -> &NetSettings {
        &self.network
    }

    /// Returns the workspace of this name.
    pub fn workspace(&self, name: &WorkspaceName) -> Result<&Workspace, SelectError> {
        selection::find(&self.workspaces, name)
    }

    /// Returns the workspaces that `selector` selects, at least one, in the order of the file; no part of it selects nothing.
    pub fn select(&self, selector: &Selector) -> Result<Vec<&Workspace>, SelectError> {
        selection::select(&self.workspaces, selector)
    }

    fn check_catalog(&self) -> Result<(), RuleError> {
        match &self.catalog.source {
            Source::Url(address) => {
                parse_address(address, self.catalog.allow_http).map(drop).map_err(RuleError::Address)
            }
            Source::Workspace(name) => {
                let selector = |source| RuleError::Selector { place: "`source`".to_owned(), source };
                self.workspace(name).map(drop).map_err(selector)
            }
            Source::Path(_) => Ok(()),
        }
    }

    fn check_waves(&self) -> Result<(), RuleError> {
        self.rollout.waves.iter().try_for_each(|wave| match &wave.on {
            WaveMembers::Selector(selector) => self.check_selector(selector, || "`waves`".to_owned()),
            WaveMembers::Share(_) | WaveMembers::Count(_) => Ok(()),
        })
    }

    fn check_wish(&self, wish: &Wish) -> Result<(), RuleError> {
        self.check_selector(&wish.on, || format!("`on` of the plugin `{}`", wish.id))?;
        let Some((uid, title)) = wish.folder() else { return Ok(()) };
        self.check_is_server(&wish.on)?;
        let others = self.plugins.iter().filter(|other| other.folder().is_some_and(|(known, _)| known == uid));
        let mut others = others.filter(|other| other.folder().is_some_and(|(_, known)| known != title));
        match others.find_map(|other| self.selected_by_both(&other.on, &wish.on)) {
            Some(workspace) => Err(RuleError::TwoTitles { uid, workspace }),
            None => Ok(()),
        }
    }

    fn check_data_source(&self, wish: &DataSourceWish) -> Result<(), RuleError> {
        self.check_selector(&wish.on, || format!("`on` of the data source `{}`", wish.uid))?;
        self.check_is_server(&wish.on)?;
        for other in &self.data_sources {
            let name = match (&other.name, &wish.name) {
                _ if other.uid == wish.uid => wish.uid.to_string(),
                (Some(known), Some(name)) if known == name => name.clone(),
                _ => continue,
            };
            if let Some(workspace) = self.selected_by_both(&other.on, &wish.on) {
                return Err(RuleError::SameDataSource { name, workspace });
            }
        }
        Ok(())
    }

    fn selected_by_both(&self, first: &Selector, second: &Selector) -> Option<WorkspaceName> {
        let meant = |workspace: &&Workspace| workspace.is_selected_by(first) && workspace.is_selected_by(second);
        self.workspaces.iter().find(meant).map(|workspace| workspace.name().clone())
    }

    /// A selector that means several workspaces may mean folders too, which are passed over; a name means that one.
    fn check_is_server(&self, selector: &Selector) -> Result<(), RuleError> {
        let only = selector.only_name().and_then(|name| self.workspace(name).ok());
        match only {
            Some(found) if found.kind() == WorkspaceKind::Directory => Err(RuleError::NoServer(found.name().clone())),
            _ => Ok(()),
        }
    }

    /// A manifest without workspaces may name those that `workspace discover` is to find, by their labels.
    fn check_selector(&self, selector: &Selector, place: impl FnOnce() -> String) -> Result<(), RuleError> {
        match self.select(selector) {
            Ok(_) | Err(SelectError::NoWorkspaces) => Ok(()),
            Err(source) => Err(RuleError::Selector { place: place(), source }),
        }
    }
}

fn split<T: Default>(table: Option<Spanned<T>>) -> (T, usize) {
    match table {
        None => (T::default(), 0),
        Some(table) => {
            let at = table.span().start;
            (table.into_inner(), at)
        }
    }
}

fn check_workspaces(
    raw: Vec<Spanned<RawWorkspace>>,
    folder: &Path,
    manifest_text: &ManifestText<'_>,
) -> Result<Vec<Workspace>, ManifestError> {
    let mut workspaces: Vec<Workspace> = Vec::new();
    for entry in raw {
        let at = entry.span().start;
        let workspace = entry.into_inner().check(folder).map_err(|source| manifest_text.broken(at, source))?;
        if let Some(source) = workspaces.iter().find_map(|other| clash(other, &workspace)) {
            return Err(manifest_text.broken(at, source));
        }
        workspaces.push(workspace);
    }
    Ok(workspaces)
}

fn clash(first: &Workspace, second: &Workspace) -> Option<RuleError> {
    if first.name() == second.name() {
        return Some(RuleError::TwiceNamed(first.name().clone()));
    }
    let place = second.endpoint_text();
    let (first, same) = (first.name(), first.endpoint_text() == place);
    same.then(|| RuleError::SamePlace { first: first.clone(), second: second.name().clone(), place })
}

/// The text of a manifest and its path.
struct ManifestText<'a> {
    text: &'a str,
    path: &'a Path,
}

impl ManifestText<'_> {
    fn path(&self) -> PathBuf {
        self.path.to_owned()
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    fn broken(&self, at: usize, source: RuleError) -> ManifestError {
        ManifestError::Rule { path: self.path(), line: self.line(at), source }
    }

    /// The error's own `Display` quotes the line, which may contain a secret.
    fn explain(&self, error: &toml::de::Error) -> ManifestError {
        let (path, line, message) =
            (self.path(), self.line(error.span().map_or(0, |span| span.start)), error.message());
        if let Some(source) = ParseReferenceError::all().find(|source| source.to_string() == message) {
            return ManifestError::Secret { path, line, source };
        }
        match unknown_key(message) {
            Some((key, known)) => ManifestError::UnknownKey { path, line, key, known },
            None => ManifestError::Syntax { path, line, message: message.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{uid::Uid, *};
    use crate::{
        diagnostic::{Chain, Diagnose},
        fleet::reference::SecretReference,
        rollout::OnFailure,
    };
    use std::time::Duration;

    const EXAMPLE: &str = r#"
[catalog]
source = "workspace:prod-eu"

[trust]
signatures = "require"
unsigned = ["acme-internal-panel"]
min-release-age = "3d"
preflight = true
keys = "upstream"

[[workspace]]
name = "prod-eu"
kind = "amg"
url = "https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com"
token = { env = "PROD_EU_TOKEN" }
labels = { tier = "prod", region = "eu" }

[[workspace]]
name = "office"
kind = "grafana"
url = "http://10.0.0.7:3000/grafana/"
allow-http = true
user = "admin"
password = { file = "secrets/office" }
platform = "linux-arm64"

[[workspace]]
name = "laptop"
kind = "directory"
path = "./plugins"
grafana = "12.1.0"
labels = { tier = "canary" }

[[plugin]]
id = "grafana-athena-datasource"
version = "^2.12"
on = "tier=prod"

[[plugin]]
id = "grafana-clock-panel"
ensure = "absent"

[rollout]
waves = ["tier=canary", "10%", "100%"]
max-concurrent = 4
max-failures = 1
soak = "5m"
health = ["grafana", "plugin"]
on-failure = "stop"

[network]
tries = 2
settle-timeout = "1m"
"#;

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text, Path::new("/etc/fleet/plugport.toml"))
    }

    /// The error as people see it: the chain, then the hint.
    fn refused(text: &str) -> String {
        let error = parse(text).expect_err("refused");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        format!("{} | {}", Chain(&error), error.hint().unwrap_or_default())
    }

    fn workspace(rest: &str) -> String {
        format!("[[workspace]]\nname = \"a\"\n{rest}\n")
    }

    fn names<'a>(manifest: &'a Manifest, selector: &str) -> Result<Vec<&'a str>, SelectError> {
        let selected = manifest.select(&selector.parse().expect("a selector"))?;
        Ok(selected.into_iter().map(|workspace| workspace.name().as_str()).collect())
    }

    #[test]
    fn the_example_of_the_design_is_understood() {
        let manifest = parse(EXAMPLE).expect("sound");
        let [prod, office, laptop] = manifest.workspaces() else { panic!("three workspaces") };
        assert_eq!((prod.kind(), prod.platform().as_str()), (WorkspaceKind::Amg, "linux-amd64"));
        assert_eq!((office.kind(), office.platform().as_str()), (WorkspaceKind::Grafana, "linux-arm64"));
        assert_eq!((laptop.kind(), laptop.platform()), (WorkspaceKind::Directory, &crate::model::Platform::host()));
        let Endpoint::Server { login: Login::Basic { password, .. }, .. } = office.endpoint() else {
            panic!("a server")
        };
        assert_eq!(password, &SecretReference::File("/etc/fleet/secrets/office".into()));
        let Endpoint::Directory { path, grafana } = laptop.endpoint() else { panic!("a folder") };
        assert_eq!((path.as_path(), grafana.is_some()), (Path::new("/etc/fleet/plugins"), true));
        assert_eq!(manifest.catalog().source, "workspace:prod-eu".parse().expect("a source"));
        assert_eq!((manifest.trust().keys, manifest.trust().signatures), (KeySource::Upstream, Signatures::Require));
        assert_eq!(manifest.trust().min_release_age, Duration::from_hours(72));
        assert_eq!((manifest.plugins()[0].ensure, manifest.plugins()[1].ensure), (Ensure::Present, Ensure::Absent));
        assert_eq!(manifest.plugins()[1].on, Selector::all());
        let waves: Vec<_> = manifest.rollout().waves.iter().map(ToString::to_string).collect();
        assert_eq!(waves, ["tier=canary", "10%", "100%"]);
        assert_eq!((manifest.rollout().on_failure, manifest.network().tries), (OnFailure::Stop, 2));
    }

    #[test]
    fn waves_may_have_budgets_of_their_own_in_numbers_or_shares() {
        use crate::rollout::FailureBudget;
        let of = |lines: &str| parse(&format!("[rollout]\n{lines}"));
        let manifest =
            of("waves = [\"10%\", { on = \"50%\", max-failures = \"5%\" }, { on = \"100%\", max-failures = 3 }]\n\
                           max-failures = \"2%\"\n")
            .expect("sound");
        let budgets: Vec<_> = manifest.rollout().waves.iter().map(|wave| wave.max_failures).collect();
        assert_eq!(budgets, [None, Some(FailureBudget::Share(5)), Some(FailureBudget::Count(3))]);
        assert_eq!(manifest.rollout().max_failures, FailureBudget::Share(2));
        for lines in [
            "max-failures = \"101%\"",
            "max-failures = -1",
            "waves = [{ max-failures = 1 }]",
            "waves = [{ on = \"5\", what = 1 }]",
        ] {
            assert!(of(lines).is_err(), "{lines}");
        }
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let manifest = Manifest::load_or_default(Path::new("/no/such/plugport.toml")).expect("the default");
        assert_eq!(manifest.catalog().source.to_string(), "https://grafana.com/api");
        assert!(manifest.trust().preflight && manifest.workspaces().is_empty());
        assert!(matches!(Manifest::load(Path::new("/no/such/plugport.toml")), Err(ManifestError::Read { .. })));
        let empty = parse("").expect("sound");
        assert_eq!((empty.trust().signatures, empty.trust().keys), (Signatures::Require, KeySource::Builtin));
        assert_eq!((empty.trust(), empty.rollout()), (manifest.trust(), manifest.rollout()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
        let text = refused("[trust]\npreflight = true\nsignature = \"require\"\n");
        assert!(text.contains("line 3") && text.contains("`signature`") && text.contains("`signatures`?"), "{text}");
        let text = refused(&workspace("kind = \"amg\"\nurl = \"https://x\"\ntokn = \"canary\""));
        assert!(text.contains("line 5") && text.contains("`tokn`") && text.contains("mean `token`?"), "{text}");
        assert!(refused("[networks]\n").contains("mean `network`?"));
        assert!(refused("[network]\ntrys = 3\n").contains("mean `tries`?"));
    }

    #[test]
    fn a_literal_secret_is_refused_and_not_repeated() {
        for rest in ["token = \"canary\"", "token = { value = \"canary\" }", "user = \"u\"\npassword = \"canary\""] {
            let text = refused(&workspace(&format!("kind = \"grafana\"\nurl = \"https://x\"\n{rest}")));
            assert!(text.contains("line ") && text.contains("{ env = \"NAME\" }"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        for text in [
            "[catalog]\ntoken = \"canary\"",
            "[catalog]\nsource = \"https://me:canary@grafana.com/api\"",
            "[[workspace]]\nname = \"a\"\nkind = \"grafana\"\nurl = \"https://me:canary@x\"\ntoken = { env = \"A\" }",
            "[catalog]\ntoken = \"canary",
            "[catalog]\ntoken = canary",
        ] {
            assert!(!refused(text).contains("canary"), "{}", refused(text));
        }
    }

    #[test]
    fn each_kind_has_its_fields_and_no_others() {
        let unfit = [
            ("kind = \"amg\"\nurl = \"https://x\"", "requires `token`"),
            ("kind = \"amg\"\ntoken = { env = \"A\" }", "requires `url`"),
            ("kind = \"amg\"\nurl = \"https://x\"\nuser = \"u\"\npassword = { env = \"A\" }", "does not allow `user`"),
            ("kind = \"grafana\"\nurl = \"https://x\"\nuser = \"u\"", "requires `password`"),
            ("kind = \"grafana\"\nurl = \"https://x\"\ntoken = { env = \"A\" }\nuser = \"u\"", "both a `token`"),
            ("kind = \"grafana\"\nurl = \"https://x\"\ntoken = { env = \"A\" }\npath = \"p\"", "does not allow `path`"),
            ("kind = \"directory\"", "requires `path`"),
            ("kind = \"directory\"\npath = \"p\"\ntoken = { env = \"A\" }", "does not allow `token`"),
            ("kind = \"directory\"\npath = \"p\"\nurl = \"https://x\"", "does not allow `url`"),
            ("kind = \"grafana\"\nurl = \"http://10.0.0.1\"\ntoken = { env = \"A\" }", "is not https"),
            ("kind = \"grafana\"\nurl = \"ftp://x\"\ntoken = { env = \"A\" }", "neither an http"),
        ];
        for (rest, wanted) in unfit {
            let text = refused(&workspace(rest));
            assert!(text.contains(wanted) && text.contains("line 1:"), "{rest}: {text}");
        }
        assert!(refused("[[workspace]]\nname = \"all\"\nkind = \"directory\"\npath = \"p\"").contains("`all`"));
    }

    #[test]
    fn w25_one_name_or_one_place_cannot_stand_twice() {
        let server = |name: &str, url: &str| {
            format!(
                "[[workspace]]\nname = \"{name}\"\nkind = \"grafana\"\nurl = \"{url}\"\ntoken = {{ env = \"A\" }}\n"
            )
        };
        let folder = |name: &str, path: &str| {
            format!("[[workspace]]\nname = \"{name}\"\nkind = \"directory\"\npath = \"{path}\"\n")
        };
        assert!(refused(&(server("a", "https://x") + &server("a", "https://y"))).contains("duplicate"));
        for twin in ["https://X/", "https://x:443", "https://x?orgId=1", "https://x#a"] {
            let text = refused(&(server("a", "https://x") + &server("b", twin)));
            assert!(text.contains("line 6") && text.contains("`a` and `b`"), "{twin}: {text}");
        }
        for twin in ["./p", "q/../p", "/etc/fleet/p", "p/"] {
            assert!(refused(&(folder("a", "p") + &folder("b", twin))).contains("`a` and `b`"), "{twin}");
        }
        assert!(parse(&(server("a", "https://x/a") + &server("b", "https://x/b") + &folder("c", "p"))).is_ok());
    }

    #[test]
    fn workspaces_are_selected_or_their_neighbours_are_named() {
        let manifest = parse(EXAMPLE).expect("sound");
        assert_eq!(names(&manifest, "all").map(|names| names.len()), Ok(3));
        assert_eq!(names(&manifest, "tier=prod"), Ok(vec!["prod-eu"]));
        let error = names(&manifest, "prod-ue").expect_err("unknown");
        assert!(error.hint().is_some_and(|hint| hint.contains("`prod-eu`")), "{error}");
        assert!(matches!(names(&manifest, "tier=test"), Err(SelectError::NoMatch { .. })));
        assert_eq!(names(&Manifest::default(), "all"), Err(SelectError::NoWorkspaces));
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_wherever_it_stands() {
        for text in [
            "[[plugin]]\nid = \"a-panel\"\non = \"prod-ue\"",
            "[rollout]\nwaves = [\"prod-ue\"]",
            "[catalog]\nsource = \"workspace:prod-ue\"",
        ] {
            assert!(refused(text).contains("there is no workspace `prod-ue`"), "{}", refused(text));
        }
    }

    const SERVERS: &str = concat!(
        "[[workspace]]\nname = \"a\"\nkind = \"grafana\"\nurl = \"https://a\"\ntoken = { env = \"A\" }\nlabels = { t = \"x\" }\n",
        "[[workspace]]\nname = \"b\"\nkind = \"grafana\"\nurl = \"https://b\"\ntoken = { env = \"B\" }\n",
        "[[workspace]]\nname = \"d\"\nkind = \"directory\"\npath = \"p\"\n"
    );

    fn source(rest: &str) -> String {
        format!("[[datasource]]\nplugin = \"acme-sql-datasource\"\n{rest}\n")
    }

    #[test]
    fn content_is_read_and_secrets_stay_references() {
        let text = format!(
            "{SERVERS}[[plugin]]\nid = \"acme-sql-datasource\"\ndashboards = {{ folder = \"SQL\" }}\n\
             smoke = {{ rawSql = \"SELECT 1\", format = \"table\" }}\n{}",
            source(
                "uid = \"sql\"\nname = \"SQL\"\non = \"t=x\"\nurl = \"db:5432\"\nbasic-auth = true\n\
                 json-data = { maxOpenConns = 5, tls = { mode = \"off\" } }\n\
                 secrets = { password = { file = \"pw\" }, key = { env = \"KEY\" } }"
            )
        );
        let manifest = parse(&text).expect("sound");
        let (uid, title) = manifest.plugins()[0].folder().expect("a folder");
        assert_eq!((uid.as_str(), title), ("plugport-acme-sql-datasource", "SQL"));
        assert_eq!(manifest.plugins()[0].smoke.as_ref().expect("a query")["rawSql"], "SELECT 1");
        let wish = &manifest.data_sources()[0];
        let wanted = serde_json::json!({"type": "acme-sql-datasource", "access": "proxy", "url": "db:5432",
            "basicAuth": true, "jsonData": {"maxOpenConns": 5, "tls": {"mode": "off"}}});
        assert_eq!(wish.settings(), wanted);
        assert_eq!(wish.secrets["password"], SecretReference::File("/etc/fleet/pw".into()));
    }

    #[test]
    fn a_secret_of_a_data_source_is_withheld_from_commands_and_not_repeated() {
        let secrets = |text: &str| source(&format!("uid = \"x\"\nname = \"X\"\nsecrets = {text}"));
        for text in ["\"canary\"", "{ password = \"canary\" }", "{ password = { value = \"canary\" } }", "[\"canary\"]"]
        {
            let refused = refused(&secrets(text));
            assert!(refused.contains("{ env = \"NAME\" }") && !refused.contains("canary"), "{refused}");
        }
        let text = secrets("{ a = { command = \"pass show x\" }, b = { env = \"SOURCE_KEY\" } }");
        let manifest = parse(&text).expect("sound");
        let shown = format!("{:?}", manifest.data_sources()[0].secrets["a"]);
        assert!(shown.contains("SOURCE_KEY"), "{shown}");
    }

    #[test]
    fn content_that_cannot_be_meant_is_refused() {
        let named =
            |uid: &str, name: &str, on: &str| source(&format!("uid = \"{uid}\"\nname = \"{name}\"\non = \"{on}\""));
        let folder = |id: &str, title: &str| {
            format!("[[plugin]]\nid = \"{id}\"\ndashboards = {{ folder = \"{title}\", uid = \"f\" }}\n")
        };
        for (text, wanted) in [
            (source("uid = \"x\""), "no `name`"),
            (source("uid = \"a b\"\nname = \"X\""), "not a unique id"),
            (source("uid = \"x\"\nname = \"X\"\npassword = \"p\""), "unknown key `password`"),
            (source("uid = \"x\"\nname = \"X\"\njson-dta = {}"), "`json-data`?"),
            (named("x", "X", "d"), "folder of plugins"),
            (named("x", "X", "q"), "no workspace `q`"),
            (named("x", "X", "a") + &named("x", "Y", "all"), "`x` on the workspace `a`"),
            (named("x", "X", "all") + &named("y", "X", "t=x"), "`X` on the workspace `a`"),
            (folder("a-app", "One") + &folder("b-app", "Two"), "two titles"),
            (folder("a-app", " "), "has a title"),
            ("[[plugin]]\nid = \"a-app\"\nsmoke = { x = nan }\n".to_owned(), "JSON does not have"),
        ] {
            let text = refused(&format!("{SERVERS}{text}"));
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(parse(&format!("{SERVERS}{}{}", named("x", "X", "a"), named("x", "X", "b"))).is_ok());
        assert!(parse(&(SERVERS.to_owned() + &source("uid = \"x\"\nensure = \"absent\""))).is_ok());
    }

    #[test]
    fn the_folder_of_a_plugin_has_a_uid_that_fits_and_is_its_own() {
        let of = |id: &str| Uid::for_plugin_folder(&id.parse().expect("an id"));
        let long = |end: &str| format!("acme-{}-{end}", "x".repeat(40));
        assert_ne!(of(&long("app")), of(&long("panel")));
        for id in ["a-app", &long("app")] {
            assert_eq!((of(id).as_str().parse::<Uid>(), of(id)), (Ok(of(id)), of(id)));
        }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for text in [
            "[rollout]\nwaves = [\"0%\"]",
            "[rollout]\nwaves = [\"101%\"]",
            "[rollout]\nmax-concurrent = 0",
            "[rollout]\nsoak = \"soon\"",
            "[trust]\nsignatures = \"maybe\"",
            "[trust]\nunsigned = [\"../x\"]",
            "[catalog]\nsource = \"ftp://x\"",
            "[catalog]\nsource = \"\"",
            "[[plugin]]\nid = \"../x\"",
            "[[plugin]]\nversion = \"1.0\"",
            "a = ",
        ] {
            let text = refused(text);
            assert!(text.starts_with("invalid `") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn the_quota_is_a_key_and_amazon_has_one_of_its_own() {
        let quota = |lines: &str| {
            let text = format!("[[workspace]]\nname = \"a\"\n{lines}");
            Manifest::parse(&text, Path::new("plugport.toml")).map(|manifest| manifest.workspaces()[0].quota())
        };
        let server =
            |kind: &str| format!("kind = \"{kind}\"\nurl = \"https://g.example\"\ntoken = {{ env = \"T\" }}\n");
        assert_eq!(quota(&server("amg")).expect("sound"), Some(50));
        assert_eq!(quota(&format!("{}quota = 80\n", server("amg"))).expect("sound"), Some(80));
        assert_eq!(quota(&server("grafana")).expect("sound"), None);
        assert_eq!(quota(&format!("{}quota = 3\n", server("grafana"))).expect("sound"), Some(3));
        assert!(quota(&format!("{}quota = 0\n", server("amg"))).is_err());
        assert!(quota("kind = \"directory\"\npath = \"p\"\nquota = 3\n").is_err());
    }

    #[test]
    fn workspaces_of_one_account_are_known_by_their_region_unless_an_account_is_told() {
        let account = |lines: &str| {
            let text = format!("[[workspace]]\nname = \"a\"\ntoken = {{ env = \"T\" }}\n{lines}");
            Manifest::parse(&text, Path::new("plugport.toml")).map(|manifest| manifest.workspaces()[0].account())
        };
        let amazon = "kind = \"amg\"\nurl = \"https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com\"\n";
        assert_eq!(account(amazon).expect("a manifest").as_deref(), Some("aws:eu-west-1"));
        assert_eq!(account(&format!("{amazon}account = \"prod\"\n")).expect("a manifest").as_deref(), Some("prod"));
        let elsewhere = "kind = \"amg\"\nurl = \"https://grafana.example\"\n";
        assert_eq!(account(elsewhere).expect("a manifest").as_deref(), Some("aws"));
        let own = "kind = \"grafana\"\nurl = \"https://grafana.example\"\n";
        assert_eq!(account(own).expect("a manifest"), None);
        let folder = "[[workspace]]\nname = \"a\"\nkind = \"directory\"\npath = \"p\"\naccount = \"x\"\n";
        assert!(Manifest::parse(folder, Path::new("plugport.toml")).is_err());
    }
}
