//! The list of plugins: found, filtered, counted, and one page of it.

use std::cmp::Reverse;

use askama::Template;

use super::{
    Catalog, Found, Frame, ListQuery, PageResult, Section, Site,
    catalog::{NO_VALUE, is_stored, signature, status, type_name},
    format::{Moment, count, line, number},
    query::{Group, Order},
    tile,
};
use crate::mirror::{ServedPlugin, ServedRelease};

/// How many plugins a page has.
const PAGE: usize = 50;

/// How many publishers are offered as a filter.
const PUBLISHERS: usize = 12;

/// The list of plugins as a page.
#[derive(Debug, Template)]
#[template(path = "list.html", config = "src/web/askama.toml")]
pub(crate) struct ListPage {
    frame: Frame,
    words: String,
    /// What the form of the search keeps.
    kept: Vec<(&'static str, String)>,
    total: usize,
    /// Whether what is shown does not have all words.
    is_nearest: bool,
    /// How many more there are that do not work with the version of the switch, and where they are.
    unworkable: Option<(String, String)>,
    rows: Vec<Row>,
    facets: Vec<Facet>,
    active: Vec<ActiveFilter>,
    orders: Vec<OrderLink>,
    pages: Option<Pages>,
}

#[derive(Debug)]
struct Row {
    address: String,
    logo: Option<String>,
    letter: char,
    colour: u8,
    name: String,
    id: String,
    publisher: String,
    kind: String,
    version: String,
    description: String,
    updated: Option<Moment>,
    downloads: Option<String>,
    badges: Vec<Badge>,
}

/// A short word on a plugin or a version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Badge {
    pub(super) text: String,
    /// `good`, `warn`, `bad` or `plain`.
    pub(super) tone: &'static str,
}

#[derive(Debug)]
struct Facet {
    title: &'static str,
    values: Vec<FacetValue>,
}

#[derive(Debug)]
struct FacetValue {
    label: String,
    count: String,
    address: String,
    is_chosen: bool,
}

#[derive(Debug)]
struct ActiveFilter {
    label: String,
    without: String,
}

#[derive(Debug)]
struct OrderLink {
    title: &'static str,
    address: String,
    is_chosen: bool,
}

#[derive(Debug)]
struct Pages {
    page: usize,
    last: usize,
    before: Option<String>,
    after: Option<String>,
}

/// What is on all pages of an answer.
#[derive(Debug)]
pub(super) struct Selected {
    /// The positions of the plugins, in the order they are shown.
    pub(super) positions: Vec<usize>,
    /// How many plugins there would be with each value in the place of the one that is chosen.
    pub(super) counts: [Vec<usize>; Group::STORED_COUNT],
    /// How many do not work with the version of the switch, and would be shown otherwise.
    pub(super) unworkable: usize,
}

impl Badge {
    pub(super) fn new(text: impl Into<String>, tone: &'static str) -> Self {
        Self { text: text.into(), tone }
    }

    /// Returns what is to be known of a plugin before anybody takes it.
    pub(super) fn of_plugin(plugin: &ServedPlugin) -> Vec<Self> {
        let mut badges = Vec::new();
        match status(plugin) {
            "active" => {}
            "withdrawn" => badges.push(Self::new("Withdrawn", "bad")),
            "deprecated" => badges.push(Self::new("Deprecated", "warn")),
            other => badges.push(Self::new(super::catalog::capital(&line(other, 30)), "plain")),
        }
        if signature(plugin) == "unsigned" {
            badges.push(Self::new("Unsigned", "warn"));
        }
        if plugin.newest().map_or(plugin.plugin.angular, |release| release.is_angular) {
            badges.push(Self::new("Angular", "warn"));
        }
        if plugin.plugin.internal {
            badges.push(Self::new("Part of Grafana", "plain"));
        }
        if !is_stored(plugin) {
            badges.push(Self::new("Not stored", "plain"));
        }
        badges
    }
}

impl ListPage {
    /// Makes the page that a query asks for. `found` is what its words found, and not needed if there are none.
    pub(crate) fn new(site: Site, catalog: &Catalog, query: &ListQuery, found: Option<&Found>) -> Self {
        let selected = select(catalog, query, &site, found);
        let total = selected.positions.len();
        let last = total.div_ceil(PAGE).max(1);
        let page = query.page.min(last);
        let address = |query: &ListQuery| address(&site, query);
        let shown = selected.positions.iter().skip((page - 1) * PAGE).take(PAGE);
        let rows = shown.map(|at| Row::new(&site, catalog.plugin(*at))).collect();
        let unworkable = (selected.unworkable > 0 && site.grafana.version().is_some()).then(|| {
            let all = address(&query.with(Group::Works, Some("all")));
            (count(selected.unworkable), all)
        });
        let order = |order: Order| OrderLink {
            title: order.title(),
            address: address(&query.ordered_by(order)),
            is_chosen: query.order == order,
        };
        let pages = (last > 1).then(|| Pages {
            page,
            last,
            before: (page > 1).then(|| address(&query.at_page(page - 1))),
            after: (page < last).then(|| address(&query.at_page(page + 1))),
        });
        let mut kept = query.at_page(1).parameters();
        kept.retain(|(key, _)| *key != "q");
        if !site.grafana.text().is_empty() {
            kept.push(("grafana", site.grafana.text().to_owned()));
        }
        let title = if query.words.is_empty() {
            "Plugins".to_owned()
        } else {
            format!("{} – Plugins", line(&query.words, 80))
        };
        let (facets, active) = (facets(&site, catalog, query, &selected), active(&site, catalog, query));
        let orders = Order::ALL.map(order).into();
        let mut frame = Frame::new(site, catalog, Section::Plugins, title, "/");
        frame.kept = query.at_page(1).parameters();
        Self {
            frame,
            words: query.words.clone(),
            kept,
            total,
            is_nearest: found.is_some_and(|found| !found.has_all_words) && total > 0,
            unworkable,
            rows,
            facets,
            active,
            orders,
            pages,
        }
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }

    fn total_text(&self) -> String {
        format!("{} {}", count(self.total), if self.total == 1 { "plugin" } else { "plugins" })
    }
}

impl Row {
    fn new(site: &Site, plugin: &ServedPlugin) -> Self {
        let known = &plugin.plugin;
        let fitting = plugin.newest_for(&site.grafana.asking(), None).or_else(|| plugin.newest());
        let version = fitting.map(|release| release.version.to_string());
        let version = version.or_else(|| known.version.as_ref().map(ToString::to_string));
        Self {
            address: site.plugin(&known.id, None),
            logo: fitting.and_then(|release| logo(site, plugin, release)),
            letter: tile::letter(&known.name),
            colour: tile::colour(&known.id),
            name: name(plugin),
            id: known.id.to_string(),
            publisher: line(if known.org_name.is_empty() { &known.org } else { &known.org_name }, 60),
            kind: type_name(&known.plugin_type),
            version: version.map(|version| line(&version, 40)).unwrap_or_default(),
            description: line(&known.description, 220),
            updated: known.updated_at.map(Moment::Date),
            downloads: (known.downloads > 0).then(|| number(known.downloads)),
            badges: Badge::of_plugin(plugin),
        }
    }
}

/// Returns the name of a plugin, or its id if it has none.
pub(super) fn name(plugin: &ServedPlugin) -> String {
    let name = line(&plugin.plugin.name, 100);
    if name.is_empty() { plugin.plugin.id.to_string() } else { name }
}

/// Returns the address of the logo of a release, if its package is here.
pub(super) fn logo(site: &Site, plugin: &ServedPlugin, release: &ServedRelease) -> Option<String> {
    release.plugin_json.as_ref()?;
    let version = crate::mirror::path_part(release.version.as_str());
    Some(site.own(&format!("/plugins/{}/{version}/logo", plugin.plugin.id)))
}

fn address(site: &Site, query: &ListQuery) -> String {
    let parameters = query.parameters();
    let parameters: Vec<_> = parameters.iter().map(|(key, value)| (*key, value.as_str())).collect();
    site.page("/", &parameters)
}

/// Finds the plugins that a query is about, and counts what other filters would find.
pub(super) fn select(catalog: &Catalog, query: &ListQuery, site: &Site, found: Option<&Found>) -> Selected {
    let withdrawn = catalog.labels[Group::Status as usize].find("withdrawn");
    let chosen =
        Group::STORED.map(|group| query.filters.get(&group).map(|value| catalog.labels[group as usize].find(value)));
    let works = site.grafana.version().map(|version| catalog.works(version));
    let wants_all = query.filters.get(&Group::Works).is_some_and(|value| value == "all");
    let mut counts = Group::STORED.map(|group| vec![0; catalog.labels[group as usize].values.len()]);
    let (mut positions, mut unworkable) = (Vec::new(), 0);
    let ranked: Option<Vec<usize>> = found.map(|found| {
        let position = |id: &crate::model::PluginId| catalog.generation().plugin(id.as_str()).map(|(at, _)| at);
        found.ids.iter().filter_map(position).collect()
    });
    let all = 0..catalog.entries.len();
    let candidates: Box<dyn Iterator<Item = usize>> = match ranked {
        Some(ranked) => Box::new(ranked.into_iter()),
        None => Box::new(all),
    };
    for at in candidates {
        let values = &catalog.entries[at].values;
        let fits = |group: Group| match chosen[group as usize] {
            Some(wanted) => wanted != NO_VALUE && values[group as usize] == wanted,
            // What was withdrawn is shown to those who ask for it.
            None => group != Group::Status || withdrawn == NO_VALUE || values[group as usize] != withdrawn,
        };
        let mut failing = Group::STORED.into_iter().filter(|group| !fits(*group));
        let (first, second) = (failing.next(), failing.next());
        if second.is_some() {
            continue;
        }
        if !wants_all && works.as_ref().is_some_and(|works| !works[at]) {
            unworkable += usize::from(first.is_none());
            continue;
        }
        if first.is_none() {
            positions.push(at);
        }
        for group in Group::STORED.into_iter().filter(|group| first.is_none_or(|only| only == *group)) {
            // Without a choice there is no other: what is withdrawn counts for the link that shows it.
            if let Some(counted) = counts[group as usize].get_mut(values[group as usize] as usize) {
                *counted += 1;
            }
        }
    }
    sort(catalog, &mut positions, query.order, found.is_some());
    Selected { positions, counts, unworkable }
}

fn sort(catalog: &Catalog, positions: &mut [usize], order: Order, is_ranked: bool) {
    let plugin = |at: usize| &catalog.plugin(at).plugin;
    match order {
        Order::Relevance if is_ranked => {}
        Order::Relevance => {
            positions.sort_by_key(|at| (!catalog.entries[*at].is_stored, Reverse(plugin(*at).downloads)));
        }
        Order::Downloads => positions.sort_by_key(|at| Reverse(plugin(*at).downloads)),
        Order::Updated => positions.sort_by_key(|at| Reverse(plugin(*at).updated_at)),
        Order::Name => positions.sort_by(|left, right| catalog.entries[*left].name.cmp(&catalog.entries[*right].name)),
    }
}

fn facets(site: &Site, catalog: &Catalog, query: &ListQuery, selected: &Selected) -> Vec<Facet> {
    let facet = |group: Group| {
        let chosen = query.filters.get(&group);
        let labels = &catalog.labels[group as usize].values;
        let mut values: Vec<_> = labels.iter().zip(&selected.counts[group as usize]).collect();
        values.retain(|((value, _), count)| **count > 0 || chosen == Some(value));
        values.sort_by(|(left, left_count), (right, right_count)| {
            right_count.cmp(left_count).then_with(|| left.1.cmp(&right.1))
        });
        if group == Group::Publisher {
            let is_kept = |at: usize, value: &String| at < PUBLISHERS || chosen == Some(value);
            values = values
                .into_iter()
                .enumerate()
                .filter(|(at, ((value, _), _))| is_kept(*at, value))
                .map(|(_, it)| it)
                .collect();
        }
        let value = |((value, label), counted): (&(String, String), &usize)| {
            let is_chosen = chosen == Some(value);
            FacetValue {
                label: label.clone(),
                count: count(*counted),
                address: address(site, &query.with(group, (!is_chosen).then_some(value))),
                is_chosen,
            }
        };
        Facet { title: group.title(), values: values.into_iter().map(value).collect() }
    };
    Group::STORED.map(facet).into_iter().filter(|facet| !facet.values.is_empty()).collect()
}

/// Returns the filters that are chosen, each with a link to the list without it.
fn active(site: &Site, catalog: &Catalog, query: &ListQuery) -> Vec<ActiveFilter> {
    let named = |(group, value): (&Group, &String)| {
        let label = match catalog.labels.get(*group as usize) {
            Some(labels) => labels.values.get(labels.find(value) as usize).map(|(_, label)| label.clone()),
            None => Some(if value == "all" { "also what does not work".to_owned() } else { line(value, 60) }),
        };
        let label = format!("{}: {}", group.title(), label.unwrap_or_else(|| line(value, 60)));
        ActiveFilter { label, without: address(site, &query.with(*group, None)) }
    };
    query.filters.iter().map(named).collect()
}
