//! `plugport search`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Failure, Report, Session, Text, ui};
use crate::{
    index::{Hit, Index, IndexError, Matched, SearchQuery, SearchResults, Sort},
    model::{GrafanaVersion, PluginType},
    ops::candidates::deprecated,
};

/// Search the catalog, offline
///
/// Any text is a valid query. Matches in names and ids rank above matches in keywords, those above matches in
/// descriptions; then downloads decide.
#[derive(Args, Debug)]
pub(super) struct SearchArgs {
    /// The words to search for. Without words, everything is listed
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only plugins of this type: app, datasource, panel, renderer
    #[arg(long = "type", value_name = "T")]
    plugin_type: Option<String>,
    /// Only plugins that work with this version of Grafana
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaVersion>,
    /// Only plugins with this signature: grafana, commercial, community, private, or unsigned
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Only plugins of this publisher
    #[arg(long, value_name = "O")]
    org: Option<String>,
    /// The order of the results
    #[arg(long, value_enum, default_value = "relevance")]
    sort: Order,
    /// How many results are listed
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Relevance,
    Downloads,
    Updated,
}

impl SearchArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let query = SearchQuery {
            words: self.words.join(" "),
            plugin_type: self.plugin_type.clone().map(PluginType::from),
            signature: self.signature.clone(),
            org: self.org.clone(),
            grafana: self.grafana.clone(),
            sort: match self.sort {
                Order::Relevance => Sort::Relevance,
                Order::Downloads => Sort::Downloads,
                Order::Updated => Sort::Updated,
            },
            limit: self.limit,
            include_withdrawn: false,
        };
        let words = query.words.clone();
        let search = move |index: &Index| {
            index.check_has_catalog()?;
            let results = index.search(&query)?;
            let deprecated = |hit: &Hit| match &hit.version {
                Some(version) => deprecated(index, &hit.id, version),
                None => Ok(None),
            };
            let deprecated = results.hits.iter().map(deprecated).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, IndexError>((results, deprecated))
        };
        let (results, deprecated) = session.index()?.read(search).await?;
        let plugins: Vec<_> = results.hits.iter().zip(&deprecated).map(document).collect();
        let mut notes = notes(&results, &self.describe(&words));
        notes.extend(deprecated.into_iter().flatten());
        Ok(Report {
            document: json!({ "query": words, "total": results.total, "plugins": plugins }),
            notes,
            text: text(&results),
            ..Report::default()
        })
    }
}

impl SearchArgs {
    /// Returns what was searched, in words.
    fn describe(&self, words: &str) -> String {
        let filters = [
            ("type", self.plugin_type.as_ref()),
            ("signature", self.signature.as_ref()),
            ("publisher", self.org.as_ref()),
        ];
        let mut parts = Vec::new();
        if !words.is_empty() {
            parts.push(format!("`{}`", ui::shorten(words, 60)));
        }
        let filters =
            filters.into_iter().filter_map(|(name, value)| Some(format!("{name} `{}`", ui::shorten(value?, 60))));
        parts.extend(filters);
        parts.extend(self.grafana.as_ref().map(|version| format!("Grafana {version}")));
        if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
    }
}

fn document((hit, deprecated): (&Hit, &Option<String>)) -> serde_json::Value {
    let mut fields = json!({
        "id": hit.id,
        "name": hit.name,
        "type": hit.plugin_type,
        "version": hit.version,
        "org": hit.org_name,
        "org_slug": hit.org,
        "signature": hit.signature,
        "downloads": hit.downloads,
        "updated_at": hit.updated_at,
        "description": hit.description,
        "score": hit.score,
    });
    if let Some(compatible) = hit.compatible {
        fields["compatible"] = compatible.into();
    }
    if let Some(deprecated) = deprecated {
        fields["deprecated"] = deprecated.as_str().into();
    }
    fields
}

fn text(results: &SearchResults) -> Text {
    if results.hits.is_empty() {
        return Text::default();
    }
    let row = |hit: &Hit| {
        vec![
            hit.id.to_string(),
            hit.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            hit.plugin_type.as_str().to_owned(),
            hit.org_name.clone(),
            if hit.signature.is_empty() { "unsigned".to_owned() } else { hit.signature.clone() },
            hit.downloads.to_string(),
            ui::shorten(if hit.description.is_empty() { &hit.name } else { &hit.description }, 100),
        ]
    };
    let header = ["id", "version", "type", "publisher", "signature", "downloads", "description"];
    ui::table(&header, results.hits.iter().map(row))
}

fn notes(results: &SearchResults, wanted: &str) -> Vec<String> {
    let mut notes = Vec::new();
    match results.matched {
        _ if results.total == 0 => notes.push(format!("nothing found for {wanted}")),
        Matched::Similar => notes.push(format!("nothing has {wanted}; these are spelt like it:")),
        Matched::SomeWords => notes.push("nothing has all of these words; these have some:".to_owned()),
        Matched::Everything | Matched::AllWords => {}
    }
    if results.total > results.hits.len() {
        notes.push(format!("{} of {} shown; `--limit` shows more", results.hits.len(), results.total));
    }
    notes
}
