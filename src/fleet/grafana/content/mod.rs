//! What a Grafana holds that plugins are used by, one question at a time.
//!
//! *Invariant:* a list is complete or an error: a missing page is an error. Whether the caller may see everything
//! is answered by [`Rights`], not by a list.
//! *Not for:* parsing the document of a dashboard, or storing it.

mod organisations;
mod rights;
mod shapes;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

pub(super) use organisations::Organisations;
pub use rights::Reach;
pub(crate) use rights::Rights;

use super::{Grafana, WorkspaceError};
use crate::{
    model::{AlertRuleInfo, DashboardInfo, DataSourceInfo, FolderInfo, LibraryPanelInfo},
    net::Form,
};

/// How many items a page of a list has. Grafana gives at most 5,000 hits (`pkg/services/search`).
const PAGE: usize = 1000;
/// Library panels are read in smaller pages: each has its whole model.
const PANELS: usize = 100;
/// No list is longer than this many pages.
const MAX_PAGES: usize = 1000;
/// The API group of dashboards, in Grafana 11 and newer.
const DASHBOARDS: &str = "dashboard.grafana.app";

/// The first major version with that group.
const FIRST_GROUPED: u64 = 11;

/// The first major version that shows dashboards of newer schemas in the classic form; 12 refuses to (406).
const FIRST_CONVERTING: u64 = 13;

/// A dashboard as a list has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedDashboard {
    /// Its entry in the list.
    pub info: DashboardInfo,
    /// A text that differs after each change of the dashboard, if the server has one.
    pub marker: Option<String>,
    /// The API group of dashboards, if the server has one; requested once for all dashboards of a list.
    pub group: Option<Arc<ApiGroup>>,
}

/// An API group of an organisation, which is a namespace there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiGroup {
    /// The version that the server prefers.
    version: String,
    namespace: String,
    /// Whether the server also shows dashboards of newer schemas in the classic form, with losses.
    converts: bool,
}

/// The data sources of an organisation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataSources {
    /// The data sources.
    pub sources: Vec<DataSourceInfo>,
    /// Why some may be missing: the list was refused, so they were read from the settings of the web pages.
    pub refused: Option<String>,
}

impl Grafana {
    /// Returns all dashboards that the caller sees, with marks of their state if the server has them (Grafana 12 and
    /// newer: `metadata.resourceVersion` below `/apis`); a dashboard without one has to be read to know.
    pub async fn dashboards(&self) -> Result<Vec<ListedDashboard>, WorkspaceError> {
        let (hits, (group, mut markers)) = tokio::try_join!(self.hits("dash-db"), self.group_and_markers())?;
        let converts = group.as_ref().is_some_and(|group| group.converts);
        let listed = |hit: &Value| {
            let info = shapes::dashboard(hit).ok_or(WorkspaceError::Shape { what: "dashboards", lacks: "uid" })?;
            // What was read of the classic form there does not count.
            let marker = markers.remove(&info.uid);
            let marker = if converts { marker.map(|marker| format!("native:{marker}")) } else { marker };
            Ok(ListedDashboard { marker, info, group: group.clone() })
        };
        hits.iter().map(listed).collect()
    }

    /// Returns the document of a dashboard and its metadata.
    pub async fn dashboard(&self, listed: &ListedDashboard) -> Result<(DashboardInfo, Value), WorkspaceError> {
        if let Some(group) = listed.group.as_deref().filter(|group| group.converts)
            && let Some(native) = self.native_v2(listed, group).await?
        {
            return Ok(native);
        }
        let uid = listed.info.uid.as_str();
        let answer = match self.get("a dashboard", &["api", "dashboards", "uid", uid], &[]).await {
            // A dashboard of the newer schema is not shown in the older one.
            Err(error) if error.status() == Some(406) => return self.dashboard_by_group(listed).await,
            // Before Grafana 5 dashboards had no uid: their slug is used.
            Err(error) if error.status() == Some(404) && listed.info.url.is_none() => {
                self.get("a dashboard", &["api", "dashboards", "db", uid], &[]).await?
            }
            answer => answer?,
        };
        let lacks = |lacks| WorkspaceError::Shape { what: "a dashboard", lacks };
        let Value::Object(mut answer) = answer else { return Err(lacks("object")) };
        let document = answer.remove("dashboard").filter(Value::is_object).ok_or(lacks("dashboard"))?;
        let info = shapes::with_meta(listed.info.clone(), answer.get("meta"));
        Ok((info, document))
    }

    async fn dashboard_by_group(&self, listed: &ListedDashboard) -> Result<(DashboardInfo, Value), WorkspaceError> {
        let Some(group) = listed.group.as_deref() else {
            return Err(WorkspaceError::Shape { what: "a dashboard", lacks: "form that can be read" });
        };
        let document = self.in_version(listed, group, &group.version).await?;
        let document = match shapes::stored_version(&document).filter(|stored| *stored != group.version) {
            Some(stored) => self.in_version(listed, group, stored).await?,
            None => document,
        };
        Ok((shapes::with_annotations(listed.info.clone(), &document), document))
    }

    /// Returns a dashboard that is stored in a newer schema, in that schema: other forms of it have losses. `None` if it is not
    /// stored so, or the server does not offer this.
    async fn native_v2(
        &self,
        listed: &ListedDashboard,
        group: &ApiGroup,
    ) -> Result<Option<(DashboardInfo, Value)>, WorkspaceError> {
        match self.in_version(listed, group, &group.version).await {
            Ok(document) => {
                let stored = shapes::stored_version(&document).unwrap_or(&group.version).to_owned();
                if !stored.starts_with("v2") {
                    return Ok(None);
                }
                let is_native = stored == group.version;
                let document = if is_native { document } else { self.in_version(listed, group, &stored).await? };
                Ok(Some((shapes::with_annotations(listed.info.clone(), &document), document)))
            }
            Err(error) if error.is_not_offered() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a dashboard below `/apis` in a version of its schema.
    async fn in_version(
        &self,
        listed: &ListedDashboard,
        group: &ApiGroup,
        version: &str,
    ) -> Result<Value, WorkspaceError> {
        let uid = listed.info.uid.as_str();
        let path = ["apis", DASHBOARDS, version, "namespaces", group.namespace.as_str(), "dashboards", uid];
        self.get("a dashboard", &path, &[]).await
    }

    /// Returns all folders that the caller sees.
    pub async fn folders(&self) -> Result<Vec<FolderInfo>, WorkspaceError> {
        let hits = self.hits("dash-folder").await?;
        Ok(hits.iter().filter_map(shapes::folder).collect())
    }

    /// Returns the data sources; if the list is refused, those that the caller may query.
    pub async fn data_sources(&self) -> Result<DataSources, WorkspaceError> {
        let refused = match self.get("data sources", &["api", "datasources"], &[]).await {
            Ok(list) => {
                let sources = array("data sources", &list)?.iter().filter_map(shapes::data_source).collect();
                return Ok(DataSources { sources, refused: None });
            }
            Err(error @ WorkspaceError::Refused { status: 403, .. }) => error,
            Err(error) => return Err(error),
        };
        let settings = self.get("frontend settings", &["api", "frontend", "settings"], &[]).await?;
        let refused = Some(crate::diagnostic::Chain(&refused).to_string());
        Ok(DataSources { sources: shapes::settings_data_sources(&settings), refused })
    }

    /// Returns the library panels; servers before Grafana 8 have none.
    pub async fn library_panels(&self) -> Result<Vec<LibraryPanelInfo>, WorkspaceError> {
        let (what, mut panels, mut seen) = ("library panels", Vec::new(), HashSet::new());
        for page in 1..=MAX_PAGES {
            let (page, size) = (page.to_string(), PANELS.to_string());
            let query = [("kind", "1"), ("perPage", size.as_str()), ("page", page.as_str())];
            let answer = match self.get(what, &["api", "library-elements"], &query).await {
                Err(error) if error.status() == Some(404) => break,
                answer => answer?,
            };
            let lacks = WorkspaceError::Shape { what, lacks: "elements" };
            let elements = answer.pointer("/result/elements").and_then(Value::as_array).ok_or(lacks)?;
            let before = seen.len();
            let is_new = |element: &&Value| seen.insert(element.get("uid").cloned());
            panels.extend(elements.iter().filter(is_new).filter_map(shapes::library_panel));
            // A page may be short although another follows.
            let total = answer.pointer("/result/totalCount").and_then(Value::as_u64);
            if seen.len() == before || total.is_some_and(|total| seen.len() as u64 >= total) {
                break;
            }
        }
        Ok(panels)
    }

    /// Returns the rules of Grafana's own alerting; servers before Grafana 8 have none beside their dashboards.
    pub async fn alert_rules(&self) -> Result<Vec<AlertRuleInfo>, WorkspaceError> {
        let what = "alert rules";
        match self.get(what, &["api", "v1", "provisioning", "alert-rules"], &[]).await {
            Ok(list) => return Ok(array(what, &list)?.iter().filter_map(shapes::alert_rule).collect()),
            Err(error) if matches!(error.status(), Some(403 | 404)) => {}
            Err(error) => return Err(error),
        }
        match self.get(what, &["api", "ruler", "grafana", "api", "v1", "rules"], &[]).await {
            Ok(folders) => Ok(shapes::ruler_rules(&folders)),
            Err(error) if error.status() == Some(404) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns all hits of one kind.
    async fn hits(&self, kind: &str) -> Result<Vec<Value>, WorkspaceError> {
        let (what, mut hits, mut seen) = ("dashboards", Vec::new(), HashSet::new());
        for page in 1..=MAX_PAGES {
            let (page, size) = (page.to_string(), PAGE.to_string());
            let query = [("type", kind), ("limit", size.as_str()), ("page", page.as_str())];
            let answer = self.get(what, &["api", "search"], &query).await?;
            let Value::Array(found) = answer else { return Err(WorkspaceError::Shape { what, lacks: "list" }) };
            let before = hits.len();
            let is_new = |hit: &Value| seen.insert((hit.get("uid").cloned(), hit.get("uri").cloned()));
            hits.extend(found.into_iter().filter(is_new));
            // A page may be short although another follows, so only an empty one is the end. Servers before 5.3 know no
            // pages, and give the first one again.
            if hits.len() == before {
                break;
            }
        }
        // Servers before Grafana 5 do not know the kinds.
        hits.retain(|hit| hit.get("type").is_none_or(|found| found == kind));
        Ok(hits)
    }

    /// Returns the API group of dashboards with [`Self::markers`].
    async fn group_and_markers(&self) -> Result<(Option<Arc<ApiGroup>>, HashMap<String, String>), WorkspaceError> {
        let Some(group) = self.group(DASHBOARDS).await? else { return Ok((None, HashMap::new())) };
        let markers = self.markers(&group).await?;
        Ok((Some(Arc::new(group)), markers))
    }

    /// Returns a mark of the state of each dashboard, by uid; `None` if the server has none.
    async fn markers(&self, group: &ApiGroup) -> Result<HashMap<String, String>, WorkspaceError> {
        let path = ["apis", DASHBOARDS, &group.version, "namespaces", &group.namespace, "dashboards"];
        let (mut markers, mut next) = (HashMap::new(), String::new());
        for _ in 0..MAX_PAGES {
            let size = PAGE.to_string();
            let mut query = vec![("limit", size.as_str())];
            if !next.is_empty() {
                query.push(("continue", next.as_str()));
            }
            let answer = match self.get_as("dashboards", Form::Metadata, &path, &query).await {
                // Not everybody may ask this way; then all dashboards are read.
                Err(error) if error.is_not_offered() => return Ok(HashMap::new()),
                answer => answer?,
            };
            markers.extend(shapes::markers(&answer));
            match answer.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty()) {
                Some(token) if token != next => token.clone_into(&mut next),
                _ => break,
            }
        }
        Ok(markers)
    }

    /// Returns the version of an API group that the server prefers, and the namespace of the organisation in it.
    async fn group(&self, name: &str) -> Result<Option<ApiGroup>, WorkspaceError> {
        if self.version.get().is_some_and(|version| version.major() < FIRST_GROUPED) {
            return Ok(None);
        }
        let group = match self.get("an API group", &["apis", name], &[]).await {
            Ok(group) => group,
            // Older servers have no groups, and some answer with their web page.
            Err(WorkspaceError::Answer { .. }) => return Ok(None),
            Err(error) if error.is_not_offered() => return Ok(None),
            Err(error) => return Err(error),
        };
        let version = group.pointer("/preferredVersion/version").and_then(Value::as_str).map(str::to_owned);
        let settings = self.frontend_settings().await?;
        let converts = settings.version.as_ref().is_some_and(|version| version.major() >= FIRST_CONVERTING);
        let named = version.zip(settings.namespace.clone());
        Ok(named.map(|(version, namespace)| ApiGroup { version, namespace, converts }))
    }
}

fn array<'a>(what: &'static str, answer: &'a Value) -> Result<&'a [Value], WorkspaceError> {
    answer.as_array().map(Vec::as_slice).ok_or(WorkspaceError::Shape { what, lacks: "list" })
}
