//! Full-text search over the plugins.
//!
//! *Invariant:* every text is a valid question, and the work for it has a bound: many matches are told apart coarsely, and of
//! the letters of a misspelt word only the rare ones are looked up.

mod query;
mod similarity;

use std::cmp::Ordering;

use rusqlite::Row;

use self::{
    query::{Words, any_trigram, in_names},
    similarity::PluginWords,
};
use super::{Index, IndexError, values::count};
use crate::model::{GrafanaVersion, PluginId, PluginType, PluginVersion, Timestamp, VersionRange};

/// How many plugins with letters in common are compared for misspellings.
const NEIGHBOURS: i64 = 200;

/// How many plugins may share the letters that are looked up for a misspelling.
const SHARED: i64 = 2_000;

/// How many matches are weighed one by one. Words that more plugins have say little about any of them.
const WEIGHED: i64 = 1_000;

/// Scores are told apart in steps of this part of the best one; within a step, downloads decide.
const STEPS: f64 = 20.0;

/// What the results are ordered by; an exact id always comes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// How well they match, then downloads.
    #[default]
    Relevance,
    /// Most downloaded first.
    Downloads,
    /// Last changed first; those without a date come last.
    Updated,
}

/// What is searched.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Any text; an empty one finds everything. The first 1 KiB and 16 words of it count.
    pub words: String,
    /// Only plugins of this type.
    pub plugin_type: Option<PluginType>,
    /// Only plugins with this kind of signature, in any case; `unsigned` stands for none.
    pub signature: Option<String>,
    /// Only plugins of the publisher with this slug or name, in any case.
    pub org: Option<String>,
    /// Only plugins of which a release works with this Grafana version.
    pub grafana: Option<GrafanaVersion>,
    /// The order.
    pub sort: Sort,
    /// How many hits are returned at most.
    pub limit: usize,
    /// Whether withdrawn plugins are found too.
    pub include_withdrawn: bool,
}

/// In which way the results match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Matched {
    /// There were no words: these are all plugins.
    Everything,
    /// All words, or words that start with them.
    AllWords,
    /// No plugin has all words; these are called something that is spelt like them.
    Similar,
    /// No plugin has all words, or words like them; these have some.
    SomeWords,
}

/// One plugin that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The id.
    pub id: PluginId,
    /// The name for people.
    pub name: String,
    /// What kind it is.
    pub plugin_type: PluginType,
    /// The newest version according to the upstream.
    pub version: Option<PluginVersion>,
    /// The slug of the publisher.
    pub org: String,
    /// The name of the publisher.
    pub org_name: String,
    /// The kind of signature, empty for none.
    pub signature: String,
    /// How often it was downloaded.
    pub downloads: u64,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// One sentence for people.
    pub description: String,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// Whether it works with the Grafana version that was asked for; nothing where none was.
    pub compatible: Option<bool>,
    /// How well it matches: greater is better, comparable within one answer only.
    pub score: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchResults {
    /// How many plugins match.
    pub total: usize,
    /// The first of them.
    pub hits: Vec<Hit>,
    /// In which way they match.
    pub matched: Matched,
}

/// What decides on the place of a plugin among the results.
#[derive(Debug)]
struct Ranking {
    number: i64,
    id: String,
    score: f64,
    downloads: i64,
    updated_at: Option<i64>,
}

/// The filters as parameters 2 to 6 of every statement.
#[derive(Debug)]
struct Filters<'a> {
    plugin_type: Option<&'a str>,
    signature: Option<&'a str>,
    org: Option<String>,
    include_withdrawn: bool,
    /// The numbers of the ranges that allow the Grafana version, as a JSON list.
    ranges: Option<String>,
}

/// Parameters: 2 type, 3 signature, 4 publisher, 5 whether withdrawn ones count, 6 ranges.
const FILTERS: &str = "(?2 IS NULL OR p.type = ?2) AND (?3 IS NULL OR p.signature = ?3 COLLATE NOCASE)
    AND (?4 IS NULL OR p.org_folded = ?4 OR p.org_name_folded = ?4) AND (?5 OR p.withdrawn_at IS NULL)
    AND (?6 IS NULL
        OR EXISTS (SELECT 1 FROM release AS r WHERE r.plugin = p.number AND r.withdrawn_at IS NULL
            AND (r.grafana_range IS NULL OR r.grafana_range IN (SELECT value FROM json_each(?6))))
        OR ((p.grafana_range IS NULL OR p.grafana_range IN (SELECT value FROM json_each(?6)))
            AND NOT EXISTS (SELECT 1 FROM release WHERE plugin = p.number)))";

const HOW_MANY: &str = "SELECT count(*) FROM plugin AS p WHERE ?1 IS NULL";

const EVERYTHING: &str = "SELECT p.number, p.id, 0.0, p.downloads, p.updated_at FROM plugin AS p WHERE ?1 IS NULL";

const BY_ID: &str = "SELECT p.number, p.id, 0.0, p.downloads, p.updated_at FROM plugin AS p
    WHERE p.id = ?1 COLLATE NOCASE";

/// The weights: id, name, keywords, publisher, description.
const BY_WORDS: &str =
    "SELECT p.number, p.id, -bm25(plugin_words, 10.0, 10.0, 5.0, 3.0, 1.0), p.downloads, p.updated_at
    FROM plugin_words JOIN plugin AS p ON p.number = plugin_words.rowid WHERE plugin_words MATCH ?1";

/// For words that very many have: only whether the id and the name have them counts (parameter 7).
const BY_COMMON_WORDS: &str = "SELECT p.number, p.id,
        iif(p.number IN (SELECT rowid FROM plugin_words WHERE plugin_words MATCH ?7), 2.0, 1.0),
        p.downloads, p.updated_at
    FROM plugin_words JOIN plugin AS p ON p.number = plugin_words.rowid WHERE plugin_words MATCH ?1";

const BY_TRIGRAMS: &str = "SELECT p.number, p.id, 0.0, p.downloads, p.updated_at, p.name, d.keywords
    FROM plugin_trigrams JOIN plugin AS p ON p.number = plugin_trigrams.rowid
    JOIN plugin_document AS d ON d.plugin = p.number WHERE plugin_trigrams MATCH ?1";

impl Index {
    /// Returns the plugins that match; no text is an error.
    pub fn search(&self, query: &SearchQuery) -> Result<SearchResults, IndexError> {
        let _snapshot = self.snapshot()?;
        let words = Words::parse(&query.words);
        let filters = self.filters(query)?;
        if words.text().is_empty() {
            return self.everything(query, &filters);
        }
        let (matched, mut candidates) = self.ordered(&words, &filters, query.sort)?;
        let total = candidates.len();
        candidates.truncate(query.limit);
        self.results(query, matched, total, &candidates)
    }

    /// Returns the ids of all plugins that match words, withdrawn ones too, the best first, and in which way they match.
    pub fn search_ids(&self, words: &str) -> Result<(Matched, Vec<PluginId>), IndexError> {
        let _snapshot = self.snapshot()?;
        let query = SearchQuery { words: words.to_owned(), include_withdrawn: true, ..SearchQuery::default() };
        let (words, filters) = (Words::parse(&query.words), self.filters(&query)?);
        let (matched, candidates) = self.ordered(&words, &filters, query.sort)?;
        Ok((matched, candidates.into_iter().filter_map(|candidate| candidate.id.parse().ok()).collect()))
    }

    /// Finds what matches words, the best first.
    fn ordered(&self, words: &Words, filters: &Filters<'_>, sort: Sort) -> Result<(Matched, Vec<Ranking>), IndexError> {
        let (matched, mut candidates) = self.candidates(words, filters)?;
        let exact = self.ranked(BY_ID, words.text(), filters)?;
        let best = candidates.iter().map(|candidate| candidate.score).fold(0.0, f64::max);
        candidates.sort_unstable_by(|left, right| order(sort, best, left, right));
        promote(exact, best, &mut candidates);
        Ok((matched, candidates))
    }

    /// Answers where there are no words: with nothing to weigh, only the rows that are shown need to be read out.
    fn everything(&self, query: &SearchQuery, filters: &Filters<'_>) -> Result<SearchResults, IndexError> {
        let order = match query.sort {
            Sort::Relevance | Sort::Downloads => "p.downloads DESC, p.id",
            Sort::Updated => "p.updated_at DESC, p.downloads DESC, p.id",
        };
        let Filters { plugin_type, signature, org, include_withdrawn, ranges } = filters;
        let nothing: Option<&str> = None;
        let sql = format!("{HOW_MANY} AND {FILTERS}");
        let parameters = (nothing, plugin_type, signature, org, include_withdrawn, ranges);
        let total = self.session().row("searching", &sql, parameters, |row| count(row, 0))?.unwrap_or_default();
        let sql = format!("{EVERYTHING} AND {FILTERS} ORDER BY {order} LIMIT ?7");
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let parameters = (nothing, plugin_type, signature, org, include_withdrawn, ranges, limit);
        let candidates = self.session().rows("searching", &sql, parameters, candidate_of)?;
        self.results(query, Matched::Everything, usize::try_from(total).unwrap_or(usize::MAX), &candidates)
    }

    fn results(
        &self,
        query: &SearchQuery,
        matched: Matched,
        total: usize,
        candidates: &[Ranking],
    ) -> Result<SearchResults, IndexError> {
        let compatible = query.grafana.as_ref().map(|_| true);
        let hits = candidates.iter().map(|candidate| self.hit(candidate, compatible)).collect::<Result<Vec<_>, _>>()?;
        Ok(SearchResults { total, hits: hits.into_iter().flatten().collect(), matched })
    }

    fn filters<'a>(&self, query: &'a SearchQuery) -> Result<Filters<'a>, IndexError> {
        let signature = query.signature.as_deref();
        Ok(Filters {
            plugin_type: query.plugin_type.as_ref().map(PluginType::as_str),
            signature: signature.map(|kind| if kind.eq_ignore_ascii_case("unsigned") { "" } else { kind }),
            org: query.org.as_ref().map(|org| org.to_lowercase()),
            include_withdrawn: query.include_withdrawn,
            ranges: query.grafana.as_ref().map(|version| self.ranges(version)).transpose()?,
        })
    }

    /// Returns the numbers of the ranges that allow a Grafana version; a text that is no range allows none.
    fn ranges(&self, version: &GrafanaVersion) -> Result<String, IndexError> {
        let sql = "SELECT id, range FROM grafana_range";
        let ranges: Vec<(i64, String)> =
            self.session().rows("reading the ranges", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let allowing = ranges
            .iter()
            .filter(|(_, text)| text.parse::<VersionRange>().is_ok_and(|range| range.allows_grafana(version)));
        let numbers: Vec<_> = allowing.map(|(number, _)| number.to_string()).collect();
        Ok(format!("[{}]", numbers.join(",")))
    }

    /// Finds in the first way that finds anything.
    fn candidates(&self, words: &Words, filters: &Filters<'_>) -> Result<(Matched, Vec<Ranking>), IndexError> {
        if words.tokens().is_empty() {
            return Ok((Matched::AllWords, Vec::new()));
        }
        let all = self.with_words(&words.all(), filters)?;
        if !all.is_empty() {
            return Ok((Matched::AllWords, all));
        }
        let similar = self.similar(words, filters)?;
        if !similar.is_empty() {
            return Ok((Matched::Similar, similar));
        }
        let some = words.any().map(|expression| self.with_words(&expression, filters)).transpose()?;
        Ok((Matched::SomeWords, some.unwrap_or_default()))
    }

    fn with_words(&self, expression: &str, filters: &Filters<'_>) -> Result<Vec<Ranking>, IndexError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM plugin_words WHERE plugin_words MATCH ?1 LIMIT ?2)";
        let count = self.session().row("searching", sql, (expression, WEIGHED + 1), |row| row.get(0))?;
        if count.is_none_or(|count: i64| count <= WEIGHED) {
            return self.ranked(BY_WORDS, expression, filters);
        }
        let sql = format!("{BY_COMMON_WORDS} AND {FILTERS}");
        let Filters { plugin_type, signature, org, include_withdrawn, ranges } = filters;
        let names = in_names(expression);
        let parameters = (expression, plugin_type, signature, org, include_withdrawn, ranges, names);
        self.session().rows("searching", &sql, parameters, candidate_of)
    }

    fn ranked(&self, sql: &str, text: &str, filters: &Filters<'_>) -> Result<Vec<Ranking>, IndexError> {
        let sql = format!("{sql} AND {FILTERS}");
        let Filters { plugin_type, signature, org, include_withdrawn, ranges } = filters;
        let parameters = (text, plugin_type, signature, org, include_withdrawn, ranges);
        self.session().rows("searching", &sql, parameters, candidate_of)
    }

    /// Returns the plugins that are called something like all of the words.
    fn similar(&self, words: &Words, filters: &Filters<'_>) -> Result<Vec<Ranking>, IndexError> {
        let groups = words.trigrams();
        // Each word gets its share, so that plugins called like all of the words come out on top.
        let share = SHARED / i64::try_from(groups.len()).unwrap_or(1).max(1);
        let rare = groups.into_iter().map(|group| self.rare(group, share)).collect::<Result<Vec<_>, _>>()?;
        let trigrams = any_trigram(&rare.concat());
        if trigrams.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{BY_TRIGRAMS} AND {FILTERS} ORDER BY bm25(plugin_trigrams), p.number LIMIT ?7");
        let Filters { plugin_type, signature, org, include_withdrawn, ranges } = filters;
        let parameters = (trigrams, plugin_type, signature, org, include_withdrawn, ranges, NEIGHBOURS);
        let found = self.session().rows("searching", &sql, parameters, |row| {
            let candidate = candidate_of(row)?;
            let called = PluginWords::new(&candidate.id, row.get_ref(5)?.as_str()?, row.get_ref(6)?.as_str()?);
            Ok(called.similarity(words.tokens()).map(|score| Ranking { score, ..candidate }))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns those of the trigrams that few plugins have, rarest first, and as many as it takes to find enough.
    fn rare(&self, trigrams: Vec<String>, enough: i64) -> Result<Vec<String>, IndexError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM plugin_trigrams WHERE plugin_trigrams MATCH ?1 LIMIT ?2)";
        let mut counted = Vec::new();
        for trigram in trigrams {
            let expression = any_trigram(std::slice::from_ref(&trigram));
            let count = self.session().row("searching", sql, (expression, SHARED), |row| row.get(0))?;
            counted.push((count.unwrap_or(0_i64), trigram));
        }
        counted.retain(|(count, _)| *count > 0);
        counted.sort_unstable();
        let mut sum = 0;
        let rare = counted.into_iter().take_while(|(count, _)| {
            let before = sum;
            sum += count;
            before < enough
        });
        Ok(rare.map(|(_, trigram)| trigram).collect())
    }

    fn hit(&self, candidate: &Ranking, compatible: Option<bool>) -> Result<Option<Hit>, IndexError> {
        let sql = "SELECT id, name, type, version, org, org_name, signature, downloads, updated_at, description,
                withdrawn_at IS NOT NULL
            FROM plugin JOIN plugin_document ON plugin = number WHERE number = ?1";
        self.session().row("reading a plugin", sql, [candidate.number], |row| {
            Ok(Hit {
                id: row.get(0)?,
                name: row.get(1)?,
                plugin_type: PluginType::from(row.get::<_, String>(2)?),
                version: row.get(3)?,
                org: row.get(4)?,
                org_name: row.get(5)?,
                signature: row.get(6)?,
                downloads: count(row, 7)?,
                updated_at: row.get(8)?,
                description: row.get(9)?,
                withdrawn: row.get(10)?,
                compatible,
                score: candidate.score,
            })
        })
    }
}

fn candidate_of(row: &Row<'_>) -> rusqlite::Result<Ranking> {
    Ok(Ranking {
        number: row.get(0)?,
        id: row.get(1)?,
        score: row.get(2)?,
        downloads: row.get(3)?,
        updated_at: row.get(4)?,
    })
}

/// Puts the plugins whose id is the whole text before the others, with at least the best score.
fn promote(exact: Vec<Ranking>, best: f64, candidates: &mut Vec<Ranking>) {
    for mut candidate in exact.into_iter().rev() {
        candidates.retain(|other| other.number != candidate.number);
        candidate.score = best.max(1.0);
        candidates.insert(0, candidate);
    }
}

fn order(sort: Sort, best: f64, left: &Ranking, right: &Ranking) -> Ordering {
    let step = |candidate: &Ranking| if best > 0.0 { (candidate.score / best * STEPS).floor() } else { 0.0 };
    let by_downloads = right.downloads.cmp(&left.downloads);
    let first = match sort {
        Sort::Relevance => step(right).total_cmp(&step(left)),
        Sort::Downloads => Ordering::Equal,
        Sort::Updated => right.updated_at.cmp(&left.updated_at),
    };
    first.then(by_downloads).then_with(|| left.id.cmp(&right.id))
}

#[cfg(test)]
mod tests;
