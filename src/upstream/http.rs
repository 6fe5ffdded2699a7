//! A catalog by HTTP: grafana.com's API (protocol page 2.2, requests 3, 5, 6, 8 and 11), and whatever speaks like it.

use tokio::try_join;

use super::{
    Details, DocumentError, List, PackageName, PluginList, UpstreamError,
    document::{read_detail, read_plugins, read_versions},
    keys::{self, PublishedKeys, read_keys},
};
use crate::{
    json::Limits,
    model::{PluginEntry, PluginId},
    net::{ConditionalAnswer, Download, NetError, Sink, Site, TaggedBody, Traffic},
};

/// A catalog at an address, `https://grafana.com/api` or `https://GRAFANA/api/gnet`.
#[derive(Clone, Debug)]
pub struct HttpCatalog {
    site: Site,
}

impl HttpCatalog {
    /// Returns the catalog at `site`, whose address is the parent of `/plugins`.
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    pub(super) fn location(&self) -> &str {
        self.site.base()
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.site.traffic()
    }

    pub(super) async fn list(&self, etag: Option<&str>) -> Result<PluginList, UpstreamError> {
        let answer = self.get(&["plugins"], &[("includeDeprecated", "true")], etag).await?;
        let Some(TaggedBody { bytes, etag }) = answer.document() else { return Ok(PluginList::Unchanged) };
        let plugins = read_plugins(&bytes).map_err(self.explain("plugins", "a list of plugins"))?;
        let complete = plugins.skipped.is_whole();
        let list = List { entries: plugins.entries, skipped: plugins.skipped.into_list(), etag, complete };
        Ok(PluginList::Listed(list))
    }

    pub(super) async fn details(&self, entry: &PluginEntry) -> Result<Details, UpstreamError> {
        let id = &entry.plugin.id;
        let (detail, versions) = try_join!(self.document(id, &[]), self.document(id, &["versions"]))?;
        let detail = read_detail(&detail, id).map_err(self.explain(id.as_str(), "the details of a plugin"))?;
        let mut versions = read_versions(&versions, id).map_err(self.explain(id.as_str(), "a list of versions"))?;
        // A workspace's list of versions names no packages; the plugin itself names those of its newest version.
        let newest = detail.plugin.version.as_ref();
        if let Some(release) = versions.releases.iter_mut().find(|release| Some(&release.version) == newest)
            && release.packages.is_empty()
        {
            release.packages.clone_from(&detail.plugin.packages);
        }
        let complete = versions.skipped.is_whole();
        Ok(Details {
            entry: detail,
            releases: versions.releases,
            skipped: versions.skipped.into_list(),
            contradicted: versions.contradicted,
            complete,
        })
    }

    pub(super) async fn package(
        &self,
        wanted: &PackageName,
        limit: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), UpstreamError> {
        let path = ["plugins", wanted.plugin.as_str(), "versions", wanted.version.as_str(), "download"];
        let query: Vec<_> = match wanted.platform.os_arch() {
            Some((os, arch)) => vec![("os", os), ("arch", arch)],
            None => Vec::new(),
        };
        Ok(self.site.download(Download { path: &path, query: &query, limit }, sink).await?)
    }

    pub(super) async fn keys(&self) -> Result<PublishedKeys, UpstreamError> {
        let path = ["plugins", "ci", "keys"];
        let answer = self.site.get(&path, &[], None, keys::LIMITS.bytes as u64).await?;
        let bytes = answer.document().map(|document| document.bytes).unwrap_or_default();
        read_keys(&bytes).map_err(self.explain("plugins/ci/keys", "a list of keys"))
    }

    async fn document(&self, id: &PluginId, rest: &[&str]) -> Result<Vec<u8>, NetError> {
        let path = [&["plugins", id.as_str()], rest].concat();
        let answer = self.get(&path, &[], None).await?;
        Ok(answer.document().map(|document| document.bytes).unwrap_or_default())
    }

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        etag: Option<&str>,
    ) -> Result<ConditionalAnswer, NetError> {
        self.site.get(path, query, etag, Limits::CATALOG.bytes as u64).await
    }

    fn explain(&self, path: &str, what: &'static str) -> impl FnOnce(DocumentError) -> UpstreamError {
        let location = format!("{}/{path}", self.location());
        move |source| UpstreamError::Document { location, what, source }
    }
}
