//! What a Grafana server does with what a plugin needs, whatever was chosen (protocol page 2.6 and 8).
//!
//! *Invariant:* pure; one function a decision of the server's.
//! *Not for:* choosing: this says where the server will not follow.

use std::collections::BTreeMap;

use super::{Listing, Problem, Provider, Resolved, Solution, WantedBy, lacks_platform, works_with};
use crate::model::{Dependency, GrafanaVersion, PluginId, PluginVersion};

/// What a server finds when it looks for a dependency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offering<'a> {
    /// The versions that the catalog lists.
    pub versions: &'a [Listing],
    /// Those of them that have no package for the server's platform.
    pub lacking: &'a [PluginVersion],
    /// The version that is installed.
    pub installed: Option<&'a PluginVersion>,
    /// Whether it brings the plugin itself.
    pub is_core: bool,
}

/// What a server does with a dependency.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerChoice {
    /// It installs this version, over an older one where there is one.
    Takes(PluginVersion),
    /// It leaves this version where it is.
    Keeps(PluginVersion),
    /// It brings the plugin itself, and does nothing.
    Brings,
    /// It brings the plugin itself, and the installation fails over it.
    RefusesCore,
    /// The installation fails because the dependency is installed already.
    RefusesInstalled(PluginVersion),
    /// The installation fails because it finds no version; the text is what it looks for.
    FindsNone(String),
}

/// Returns what a server of this version does with a dependency of a plugin that it installs.
///
/// Before 12 it looks for the version as it is written, less one `^` or `v`; since 12 it takes the newest compatible one
/// and leaves the range out of account. Before 11.3 it does not look at `isCompatible`, and fails where the dependency is
/// there already. Since 13 it fails over a core plugin.
pub fn server_would(grafana: &GrafanaVersion, dependency: &Dependency, offering: &Offering<'_>) -> ServerChoice {
    let version = (grafana.major(), grafana.semver().minor);
    if offering.is_core {
        return if version.0 >= 13 { ServerChoice::RefusesCore } else { ServerChoice::Brings };
    }
    match offering.installed {
        Some(installed) if refuses_installed(grafana) => return ServerChoice::RefusesInstalled(installed.clone()),
        Some(installed) if version.0 < 12 => return ServerChoice::Keeps(installed.clone()),
        _ => {}
    }
    let wanted = if version.0 < 12 { written(dependency) } else { String::new() };
    let Some(found) = find(grafana, &wanted, offering) else { return ServerChoice::FindsNone(wanted) };
    match offering.installed {
        Some(installed) if installed.cmp_precedence(found).is_ge() => ServerChoice::Keeps(installed.clone()),
        _ => ServerChoice::Takes(found.clone()),
    }
}

/// Returns whether a server of this version fails to install a plugin where what it needs is there already (before 11.3,
/// protocol page 8).
fn refuses_installed(grafana: &GrafanaVersion) -> bool {
    (grafana.major(), grafana.semver().minor) < (11, 3)
}

/// Returns the version that a server before 12 looks for: without spaces and one leading `^` or `v`.
fn written(dependency: &Dependency) -> String {
    let text = dependency.range.as_ref().map_or("", |range| range.as_str());
    let text: String = text.chars().filter(|letter| *letter != ' ').collect();
    text.strip_prefix(['^', 'v']).unwrap_or(&text).to_owned()
}

fn find<'a>(grafana: &GrafanaVersion, wanted: &str, offering: &Offering<'a>) -> Option<&'a PluginVersion> {
    let looks_at_compatible = (grafana.major(), grafana.semver().minor) >= (11, 3);
    let is_offered = |listing: &&Listing| {
        let works = !looks_at_compatible || works_with(listing.grafana_dependency.as_deref(), grafana);
        works && !listing.withdrawn
    };
    let has_package = |listing: &&Listing| !offering.lacking.contains(&listing.version);
    let mut offered: Vec<_> = offering.versions.iter().filter(is_offered).collect();
    // Catalogs list the newest first, and the server takes the first.
    offered.sort_by(|left, right| right.version.cmp(&left.version));
    let found = if wanted.is_empty() {
        offered.into_iter().find(has_package)
    } else {
        offered.into_iter().find(|listing| listing.version.normalized() == wanted).filter(has_package)
    };
    found.map(|listing| &listing.version)
}

/// A server does something else than what was chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surprise {
    /// The plugin that is needed.
    pub plugin: PluginId,
    /// The plugin that needs it.
    pub needed_by: PluginId,
    /// The version that was chosen; nothing of a core plugin.
    pub chosen: Option<PluginVersion>,
    /// The server.
    pub grafana: GrafanaVersion,
    /// What it does.
    pub choice: ServerChoice,
}

impl Surprise {
    /// Returns the warning for a workspace of this name.
    pub fn sentence(&self, workspace: &str) -> String {
        let Self { plugin, needed_by, grafana, .. } = self;
        let chosen =
            self.chosen.as_ref().map_or_else(String::new, |chosen| format!(" and not {chosen} that was chosen"));
        let does = match &self.choice {
            ServerChoice::Takes(version) | ServerChoice::Keeps(version) => {
                format!("will take {plugin} {version}{chosen}")
            }
            ServerChoice::Brings => format!("brings {plugin} itself"),
            ServerChoice::RefusesCore => {
                format!("brings {plugin} itself and refuses to install {needed_by}, which needs it")
            }
            ServerChoice::RefusesInstalled(version) => {
                format!("refuses to install {needed_by} where {plugin} {version}, which it needs, is installed already")
            }
            ServerChoice::FindsNone(wanted) if wanted.is_empty() => {
                format!("finds no version of {plugin}, which {needed_by} needs")
            }
            ServerChoice::FindsNone(wanted) => format!(
                "looks for {plugin} `{}`, which {needed_by} needs, by that very name and finds none",
                wanted.escape_debug()
            ),
        };
        format!("{workspace} runs Grafana {grafana}, which {does}")
    }
}

/// Returns where a server does something else than a solution says, if it is asked to install the plugins in their order.
pub fn surprises<P: Provider>(provider: &P, problem: &Problem, solution: &Solution) -> Result<Vec<Surprise>, P::Error> {
    let Some(grafana) = &problem.surroundings.grafana else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for resolved in &solution.plugins {
        if is_there(problem, &resolved.plugin, &resolved.version) {
            continue;
        }
        let core = resolved.core.iter().filter(|_| grafana.major() >= 13).map(|plugin| Surprise {
            plugin: plugin.clone(),
            needed_by: resolved.plugin.clone(),
            chosen: None,
            grafana: grafana.clone(),
            choice: ServerChoice::RefusesCore,
        });
        found.extend(core);
    }
    for resolved in &solution.plugins {
        found.extend(of_one(provider, problem, resolved)?);
    }
    Ok(found)
}

/// Returns whether a plugin has this version already, so that the server is not asked to install it.
pub fn is_there(problem: &Problem, plugin: &PluginId, version: &PluginVersion) -> bool {
    problem.installed.get(plugin).is_some_and(|installed| installed.version.same_release(version))
}

/// Returns the plugins that a solution has this one for, and that the server is asked to install, with what they say of it.
fn asking<'a>(problem: &'a Problem, resolved: &'a Resolved) -> impl Iterator<Item = (&'a PluginId, Dependency)> {
    resolved.because.iter().filter_map(|reason| match reason {
        WantedBy::NeededBy { plugin, version, range } if !is_there(problem, plugin, version) => {
            Some((plugin, Dependency { id: resolved.plugin.clone(), range: range.clone() }))
        }
        _ => None,
    })
}

/// Returns which plugins of a solution a server brings along by itself, each with the plugin that it brings it for and that
/// is to be asked for first.
///
/// A server before 11.3 refuses a plugin where something that it needs is there already (protocol page 8). So there is one
/// way to get both: to ask for what needs the other while the other is missing, as long as the server finds any version
/// of it; whether that is the right one is settled by asking for the other afterwards. What is there already, and what
/// the server finds no version of, gets no better by waiting. Newer servers look whether it is there, and bring nothing.
pub fn brought_along<P: Provider>(
    provider: &P,
    problem: &Problem,
    solution: &Solution,
) -> Result<BTreeMap<PluginId, PluginId>, P::Error> {
    let mut brought: BTreeMap<PluginId, PluginId> = BTreeMap::new();
    let Some(grafana) = problem.surroundings.grafana.as_ref().filter(|grafana| refuses_installed(grafana)) else {
        return Ok(brought);
    };
    for resolved in &solution.plugins {
        let asked = asking(problem, resolved).next();
        let missing = !problem.installed.contains_key(&resolved.plugin);
        let Some((needed_by, dependency)) = asked.filter(|_| missing) else { continue };
        let choice = would(provider, problem, (grafana, &dependency), None)?;
        // Of plugins that need each other one must be asked for by itself.
        let circle = std::iter::successors(Some(needed_by), |plugin| brought.get(*plugin));
        if matches!(choice, ServerChoice::Takes(_)) && !circle.into_iter().any(|plugin| *plugin == resolved.plugin) {
            brought.insert(resolved.plugin.clone(), needed_by.clone());
        }
    }
    Ok(brought)
}

fn would<P: Provider>(
    provider: &P,
    problem: &Problem,
    (grafana, dependency): (&GrafanaVersion, &Dependency),
    installed: Option<&PluginVersion>,
) -> Result<ServerChoice, P::Error> {
    let versions = provider.versions(&dependency.id)?.unwrap_or_default();
    let lacking = lacking(provider, problem, &dependency.id, &versions)?;
    let offering = Offering { versions: &versions, lacking: &lacking, installed, is_core: false };
    Ok(server_would(grafana, dependency, &offering))
}

/// Returns where a server does something else with one plugin than was chosen.
fn of_one<P: Provider>(provider: &P, problem: &Problem, resolved: &Resolved) -> Result<Vec<Surprise>, P::Error> {
    let Some(grafana) = &problem.surroundings.grafana else { return Ok(Vec::new()) };
    let before = problem.installed.get(&resolved.plugin).map(|installed| &installed.version);
    // What is needed comes first, so that it is there when the server looks: it does the same for whatever needs it. Where
    // that is refused, it is missing until the server has brought it for the first that needs it.
    let (mut there, asked) =
        if refuses_installed(grafana) { (before, usize::MAX) } else { (Some(&resolved.version), 1) };
    let mut found = Vec::new();
    for (needed_by, dependency) in asking(problem, resolved).take(asked) {
        let choice = would(provider, problem, (grafana, &dependency), there)?;
        let agrees = match &choice {
            ServerChoice::Takes(version) | ServerChoice::Keeps(version) => version.same_release(&resolved.version),
            ServerChoice::Brings => true,
            // What it finds none of it leaves as it is, where that is there.
            ServerChoice::FindsNone(_) => resolved.stays,
            ServerChoice::RefusesCore | ServerChoice::RefusesInstalled(_) => false,
        };
        let (plugin, chosen) = (resolved.plugin.clone(), Some(resolved.version.clone()));
        let (needed_by, grafana) = (needed_by.clone(), grafana.clone());
        found.extend((!agrees).then_some(Surprise { plugin, needed_by, chosen, grafana, choice }));
        there = there.or(Some(&resolved.version));
    }
    Ok(found)
}

/// Returns the versions that have no package for the platform that a server runs on.
fn lacking<P: Provider>(
    provider: &P,
    problem: &Problem,
    plugin: &PluginId,
    versions: &[Listing],
) -> Result<Vec<PluginVersion>, P::Error> {
    let Some(platform) = problem.surroundings.platforms.first() else { return Ok(Vec::new()) };
    let mut lacking = Vec::new();
    for listing in versions {
        let there = provider.platforms(plugin, listing)?;
        if lacks_platform(&there.iter(), std::slice::from_ref(platform)).is_some() {
            lacking.push(listing.version.clone());
        }
    }
    Ok(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::worlds::listing;

    fn would(grafana: &str, range: Option<&str>, installed: Option<&str>, is_core: bool) -> ServerChoice {
        let listed = [("1.0.0", None), ("2.4.1", Some(">=10")), ("3.0.0", Some(">=12")), ("4.0.0", None)];
        let versions = listed.map(|(version, grafana)| listing(version, grafana));
        let lacking = [version("4.0.0")];
        let installed: Option<PluginVersion> = installed.map(version);
        let offering = Offering { versions: &versions, lacking: &lacking, installed: installed.as_ref(), is_core };
        let range = range.map(|range| range.parse().expect("a range"));
        let dependency = Dependency { id: "x-datasource".parse().expect("an id"), range };
        server_would(&grafana.parse().expect("a version"), &dependency, &offering)
    }

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn servers_before_12_look_for_the_text_less_one_sign() {
        for grafana in ["9.4.0", "11.2.0", "11.6.0"] {
            assert_eq!(would(grafana, Some("^1.0.0"), None, false), ServerChoice::Takes(version("1.0.0")));
            assert_eq!(would(grafana, Some("v1.0.0"), None, false), ServerChoice::Takes(version("1.0.0")));
            assert_eq!(would(grafana, Some("^1.0.1"), None, false), ServerChoice::FindsNone("1.0.1".into()));
            assert_eq!(would(grafana, Some(">= 1.0.0"), None, false), ServerChoice::FindsNone(">=1.0.0".into()));
        }
    }

    #[test]
    fn only_servers_since_11_3_look_at_what_is_compatible() {
        assert_eq!(would("11.2.0", None, None, false), ServerChoice::Takes(version("3.0.0")));
        assert_eq!(would("11.3.0", None, None, false), ServerChoice::Takes(version("2.4.1")));
        assert_eq!(would("11.3.0", Some("3.0.0"), None, false), ServerChoice::FindsNone("3.0.0".into()));
    }

    #[test]
    fn servers_since_12_take_the_newest_whatever_the_range_says() {
        assert_eq!(would("12.1.0", Some("^1"), None, false), ServerChoice::Takes(version("3.0.0")));
        assert_eq!(would("12.1.0", Some("^2"), Some("2.4.1"), false), ServerChoice::Takes(version("3.0.0")));
        assert_eq!(would("13.0.0", Some("^3"), Some("3.0.0"), false), ServerChoice::Keeps(version("3.0.0")));
        assert_eq!(would("13.0.0", None, Some("4.0.0"), false), ServerChoice::Keeps(version("4.0.0")));
    }

    #[test]
    fn what_is_installed_already_fails_before_11_3_and_stays_before_12() {
        assert_eq!(would("11.2.0", None, Some("1.0.0"), false), ServerChoice::RefusesInstalled(version("1.0.0")));
        assert_eq!(would("11.3.0", None, Some("1.0.0"), false), ServerChoice::Keeps(version("1.0.0")));
    }

    #[test]
    fn a_core_plugin_fails_the_installation_since_13() {
        assert_eq!(would("12.4.0", None, None, true), ServerChoice::Brings);
        assert_eq!(would("13.0.0", None, None, true), ServerChoice::RefusesCore);
    }
}
