//! The catalog for people: the pages that `serve` answers at `/`, from a generation and a query to HTML.
//!
//! *Invariant:* pure. There is no clock, no SQL and no socket in here. What comes from a catalog is escaped by the
//! templates or was made safe by `mirror`, and no page names a file of another host. Every link within the site is made by
//! [`Site`], which keeps the path of the public address, the channel and the version of Grafana.
//! *Not for:* HTTP, tokens, or deciding what is listed.
//!
//! Searching is the index's: the edge asks its full-text search for the ids in their order, so that `plugport search` and
//! the page find the same, misspelt words too; facets and pages are counted here over the generation. An index in memory
//! would have been a second ranking, and a second copy of all texts for each channel.

mod assets;
mod catalog;
mod change;
mod error_page;
mod format;
mod frame;
mod install;
mod list;
mod missing;
mod plugin;
mod query;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use self::{
    assets::asset,
    catalog::{Catalog, Found},
    change::{Change, ChangesPage, atom},
    error_page::ErrorPage,
    frame::{Frame, Section},
    list::ListPage,
    missing::{MissingPackage, MissingPage},
    plugin::PluginPage,
    query::ListQuery,
    site::{GrafanaSwitch, Site, is_origin},
    status::{ChannelState, MirrorState, OpenAlert, StatusPage, SyncState},
    tile::tile,
};

/// A page could not be made: a template failed, which none of them does.
pub(crate) type PageResult = Result<String, askama::Error>;
