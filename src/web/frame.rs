//! What all pages have in common: the header with the switch, and the footer.

use super::{
    Catalog, Site, assets,
    format::{Moment, count},
};

/// Which part of the site a page belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Section {
    /// The list, and the pages of plugins.
    Plugins,
    /// What changed.
    Changes,
    /// What state the mirror is in.
    Status,
    /// What was asked for and is not here.
    Missing,
    /// The workspaces.
    Fleet,
    /// None of them.
    Other,
}

/// An entry of the menu.
#[derive(Clone, Debug)]
pub(super) struct MenuItem {
    pub(super) name: &'static str,
    pub(super) address: String,
    pub(super) is_current: bool,
}

/// What all pages have in common.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(super) site: Site,
    pub(super) title: String,
    pub(super) section: Section,
    /// Where the form of the switch leads, and what it keeps beside the version.
    pub(super) action: String,
    pub(super) kept: Vec<(&'static str, String)>,
    generation: String,
    plugins: usize,
    pub(super) synced_at: Option<Moment>,
}

impl Frame {
    /// Returns the frame of a page at `path`.
    pub(crate) fn new(site: Site, catalog: &Catalog, section: Section, title: impl Into<String>, path: &str) -> Self {
        let generation = catalog.generation();
        Self {
            action: site.own(path),
            title: title.into(),
            section,
            kept: Vec::new(),
            generation: generation.id().to_owned(),
            plugins: catalog.listed_count(),
            synced_at: generation.synced_at.map(Moment::Minute),
            site,
        }
    }

    pub(super) fn style(&self) -> String {
        self.site.shared(assets::style())
    }

    pub(super) fn script(&self) -> String {
        self.site.shared(assets::script())
    }

    pub(super) fn icon(&self) -> String {
        self.site.shared(assets::icon())
    }

    pub(super) fn home(&self) -> String {
        self.site.page("/", &[])
    }

    pub(super) fn feed(&self) -> String {
        self.site.own("/changes.atom")
    }

    /// Returns the beginning of the id of the generation.
    pub(super) fn short_generation(&self) -> &str {
        self.generation.get(..12).unwrap_or(&self.generation)
    }

    pub(super) fn plugin_count(&self) -> String {
        count(self.plugins)
    }

    pub(super) fn menu(&self) -> Vec<MenuItem> {
        let item = |section, name, path: &str| MenuItem {
            name,
            address: self.site.page(path, &[]),
            is_current: self.section == section,
        };
        let mut items = vec![
            item(Section::Plugins, "Plugins", "/"),
            item(Section::Changes, "Changes", "/changes"),
            item(Section::Status, "Status", "/status"),
            item(Section::Missing, "Missing", "/missing"),
        ];
        if self.site.has_fleet {
            items.push(item(Section::Fleet, "Fleet", "/fleet"));
        }
        items
    }

    /// Returns a link to this page without the version of Grafana.
    pub(super) fn switched_off(&self) -> String {
        let mut address = self.action.clone();
        for (at, (key, value)) in self.kept.iter().enumerate() {
            address.push(if at == 0 { '?' } else { '&' });
            address.push_str(key);
            address.push('=');
            super::site::push_encoded(&mut address, value);
        }
        address
    }
}
