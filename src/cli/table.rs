//! Tables for people: what is shown of rows in a terminal of some width, and the same rows as CSV and Markdown.
//!
//! *Invariant:* no line is wider than the terminal unless a single word is; ids, versions and reasons are never cut.
//! *Not for:* colours that mean nothing: only the words of [`STATES`] have one.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use unicode_width::UnicodeWidthStr as _;

use super::line::{clean, shorten, wrap, wrap_lines};
use crate::diagnostic::{Diagnose, Diagnosis, Kind};

/// Between two columns.
const GAP: usize = 2;
/// Before what stands below its row.
const INDENT: &str = "    ";
/// Between two cells below their row.
const SEPARATOR: &str = " · ";
/// The narrowest terminal that is laid out for: below, lines are longer than it.
const NARROWEST: usize = 40;

/// What may be done to a column where the terminal is too narrow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    /// It stays whole; somebody will copy it.
    Whole,
    /// It is cut, down to this many columns of the terminal.
    Cut(usize),
    /// It is moved below its row first, and is wrapped there.
    Below,
}

/// The columns that are not [`Fit::Whole`], by title.
const FITS: &[(&str, Fit)] = &[
    ("description", Fit::Cut(24)),
    ("name", Fit::Cut(12)),
    ("publisher", Fit::Cut(10)),
    ("folder", Fit::Cut(12)),
    ("dashboard", Fit::Cut(16)),
    ("labels", Fit::Below),
    ("platform", Fit::Below),
    ("packages (* in the store)", Fit::Below),
    ("plugins", Fit::Below),
    ("panels", Fit::Below),
    ("used by", Fit::Below),
    ("where", Fit::Below),
    ("begun by", Fit::Below),
    ("why", Fit::Below),
    ("what", Fit::Below),
    ("besides", Fit::Below),
    ("stops", Fit::Below),
    ("locked on", Fit::Below),
    ("reason", Fit::Below),
    ("detail", Fit::Below),
    ("outcome", Fit::Below),
];

/// The columns that are aligned to the right: numbers.
const NUMBERS: &[&str] = &["downloads", "size", "versions", "dashboards", "workspaces", "passed", "failed", "entries"];

/// The words that have a colour (SGR), wherever a cell begins with one.
const STATES: &[(&str, u8)] = &[
    ("ok", 32),
    ("changed", 32),
    ("stays", 32),
    ("done", 32),
    ("succeeded", 32),
    ("before", 33),
    ("after", 33),
    ("skipped", 33),
    ("warning", 33),
    ("paused", 33),
    ("interrupted", 33),
    ("deprecated", 33),
    ("rolled back", 33),
    ("failed", 31),
    ("blocked", 31),
    ("unknown", 31),
    ("refused", 31),
    ("withdrawn", 31),
    ("modified", 31),
];

/// How tables are printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Shape {
    /// As wide as the terminal, or as it needs if there is none.
    #[default]
    Fit,
    /// As wide as it needs.
    Wide,
    /// As comma-separated values, and nothing but tables.
    Csv,
    /// As Markdown.
    Markdown,
}

/// A result for people, in which tables are tables until it is known how they are printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Text(Vec<Block>);

#[derive(Clone, Debug)]
enum Block {
    /// Sentences: lines that are too long for the terminal are wrapped.
    Words(String),
    /// What somebody copies, or what is formatted already.
    Verbatim(String),
    Table(Table),
}

impl Text {
    /// Returns the parts one below the other, with an empty line between two.
    pub(super) fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::default();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if !whole.is_empty() {
                whole.push("\n");
            }
            whole.push(part);
        }
        whole
    }

    /// Returns a text that is never wrapped.
    pub(super) fn verbatim(text: String) -> Self {
        Self(vec![Block::Verbatim(text)])
    }

    /// Adds something below.
    pub(super) fn push(&mut self, other: impl Into<Self>) {
        for block in other.into().0 {
            match (self.0.last_mut(), block) {
                (Some(Block::Words(words)), Block::Words(more)) => words.push_str(&more),
                (_, block) => self.0.push(block),
            }
        }
    }

    /// Returns whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text with these columns of its tables alone, without tables that have none of them;
    /// A name that no table has is an error.
    pub(super) fn select(self, names: &[String]) -> Result<Self, NoSuchColumn> {
        let tables =
            || self.0.iter().filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None });
        let titles: Vec<_> = tables().flat_map(|table| table.titles.iter().map(|title| key(title))).collect();
        if let Some(name) = names.iter().find(|name| !titles.is_empty() && !titles.contains(&key(name))) {
            let titles = titles.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            return Err(NoSuchColumn { name: name.clone(), titles });
        }
        let choose = |block| match block {
            Block::Table(table) => table.select(names).map(Block::Table),
            block => Some(block),
        };
        Ok(Self(self.0.into_iter().filter_map(choose).collect()))
    }

    /// Returns what is printed on a terminal of `width` columns, if there is one.
    pub(super) fn render(&self, shape: Shape, width: Option<usize>) -> String {
        let has_tables = self.0.iter().any(|block| matches!(block, Block::Table(_)));
        let show = |block: &Block| match (block, shape) {
            (Block::Words(_) | Block::Verbatim(_), Shape::Csv) if has_tables => String::new(),
            (Block::Words(words), Shape::Fit) => width.map_or_else(|| words.clone(), |width| wrap_lines(words, width)),
            (Block::Words(text) | Block::Verbatim(text), _) => text.clone(),
            (Block::Table(table), Shape::Fit) => table.to_text(width),
            (Block::Table(table), Shape::Wide) => table.to_text(None),
            (Block::Table(table), Shape::Csv) => table.to_csv(),
            (Block::Table(table), Shape::Markdown) => table.to_markdown(),
        };
        self.0.iter().map(show).collect()
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        Self(if words.is_empty() { Vec::new() } else { vec![Block::Words(words)] })
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<Table> for Text {
    fn from(table: Table) -> Self {
        Self(vec![Block::Table(table)])
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, words: &str) -> fmt::Result {
        self.push(words);
        Ok(())
    }
}

/// Rows of cells below titles.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A table has no such column.
#[derive(Debug, thiserror::Error)]
#[error("there is no column `{}`", name.escape_debug())]
pub(super) struct NoSuchColumn {
    name: String,
    titles: Vec<String>,
}

impl Diagnose for NoSuchColumn {
    fn diagnosis(&self) -> Diagnosis {
        Diagnosis::from(Kind::Usage).with_hint(Some(format!("the columns are {}", self.titles.join(", "))))
    }
}

impl Table {
    /// Makes a table. What is hostile to a terminal is replaced; a cell has one line.
    pub(super) fn new(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let line = |cell: String| clean(&cell).replace(['\n', '\t'], " ");
        let rows = rows.into_iter().map(|row| row.into_iter().map(line).collect()).collect();
        Self { titles: titles.iter().map(|&title| title.to_owned()).collect(), rows }
    }

    /// Returns the table with the columns alone that are named, in this order; `None` if it has none of them.
    fn select(&self, names: &[String]) -> Option<Self> {
        let place = |name: &String| self.titles.iter().position(|title| key(title) == key(name));
        let places: Vec<_> = names.iter().filter_map(place).collect();
        let choose =
            |row: &Vec<String>| places.iter().map(|&place| row.get(place).cloned().unwrap_or_default()).collect();
        let rows = self.rows.iter().map(choose).collect();
        (!places.is_empty()).then(|| Self { titles: choose(&self.titles), rows })
    }

    /// Returns the table as text, for a terminal of `width` columns if there is one.
    pub(super) fn to_text(&self, width: Option<usize>) -> String {
        Layout::new(self, width.map(|width| width.max(NARROWEST))).render(self)
    }

    /// Returns the table as RFC 4180 has it, with a line of titles.
    pub(super) fn to_csv(&self) -> String {
        let cell = |cell: &str| {
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.to_owned()
            }
        };
        let line = |cells: Vec<String>| cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\r\n";
        let titles = self.titles.iter().map(|title| key(title)).collect();
        std::iter::once(titles).chain(self.rows.iter().cloned()).map(line).collect()
    }

    /// Returns the table as Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('\\', "\\\\").replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|{}\n", " --- |".repeat(self.titles.len()));
        [line(&self.titles), rule].into_iter().chain(self.rows.iter().map(|row| line(row))).collect()
    }
}

/// Returns the name of a column for programs.
fn key(title: &str) -> String {
    title.split('(').next().unwrap_or(title).trim().to_lowercase().replace([' ', '-'], "_")
}

/// How wide each column is; one without a width stands below its row.
struct Layout {
    widths: Vec<Option<usize>>,
    terminal: Option<usize>,
}

impl Layout {
    fn new(table: &Table, terminal: Option<usize>) -> Self {
        let natural: Vec<_> = (0..table.titles.len()).map(|place| natural_width(table, place)).collect();
        let mut layout = Self { widths: natural.iter().copied().map(Some).collect(), terminal };
        let Some(terminal) = terminal else { return layout };
        let fits: Vec<_> = table.titles.iter().map(|title| fit(title)).collect();
        layout.cut(terminal, &fits);
        for wanted in [Fit::Below, Fit::Cut(0), Fit::Whole] {
            // The first column names the row, and stays.
            for place in (1..fits.len()).rev().filter(|&place| kind(fits[place]) == kind(wanted)) {
                if layout.total() <= terminal {
                    return layout;
                }
                layout.widths[place] = None;
                layout.widen(&natural);
                layout.cut(terminal, &fits);
            }
        }
        layout
    }

    /// Gives columns that were cut their natural width again, after another has gone below.
    fn widen(&mut self, natural: &[usize]) {
        for (width, natural) in self.widths.iter_mut().zip(natural) {
            *width = width.map(|_| *natural);
        }
    }

    /// Cuts the columns that may be cut, the widest first.
    fn cut(&mut self, terminal: usize, fits: &[Fit]) {
        while self.total() > terminal {
            let spare = |place: &usize| match (self.widths[*place], fits[*place]) {
                (Some(width), Fit::Cut(least)) => width.saturating_sub(least),
                _ => 0,
            };
            let Some(widest) = (0..fits.len()).max_by_key(spare).filter(|place| spare(place) > 0) else { return };
            let excess = (self.total() - terminal).min(spare(&widest));
            self.widths[widest] = self.widths[widest].map(|width| width - excess);
        }
    }

    fn total(&self) -> usize {
        let widths = self.widths.iter().flatten();
        widths.clone().sum::<usize>() + GAP * widths.count().saturating_sub(1)
    }

    fn render(&self, table: &Table) -> String {
        let titles: Vec<_> = table.titles.iter().map(|title| title.to_uppercase()).collect();
        let mut text = self.line(&table.titles, &titles, false);
        for row in &table.rows {
            text.push_str(&self.line(&table.titles, row, true));
            text.push_str(&self.below(&table.titles, row));
        }
        text
    }

    fn line(&self, titles: &[String], row: &[String], is_row: bool) -> String {
        let mut line = String::new();
        for ((title, cell), width) in titles.iter().zip(row).zip(&self.widths) {
            let Some(width) = *width else { continue };
            let cell = shorten(cell, width);
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            let shown = if is_row { coloured(&cell) } else { cell };
            let (before, after) = if NUMBERS.contains(&&**title) { (&*pad, "") } else { ("", &*pad) };
            let _ = write!(line, "{before}{shown}{after}{}", " ".repeat(GAP));
        }
        format!("{}\n", line.trim_end())
    }

    /// Returns the lines below a row: the cells that do not fit into it, each after its title.
    fn below(&self, titles: &[String], row: &[String]) -> String {
        let Some(terminal) = self.terminal else { return String::new() };
        let room = terminal - INDENT.len();
        let mut lines: Vec<String> = Vec::new();
        let hidden = titles.iter().zip(row).zip(&self.widths).filter(|(_, width)| width.is_none());
        for ((title, cell), _) in hidden.filter(|((_, cell), _)| !matches!(cell.trim(), "" | "-")) {
            let item = format!("{title}: {cell}");
            let left = lines.last().map_or(0, |line| room.saturating_sub(line.width() + SEPARATOR.width()));
            let may_be_cut = matches!(fit(title), Fit::Cut(_));
            match lines.last_mut() {
                Some(line) if item.width() <= left || (may_be_cut && left >= room / 2) => {
                    line.push_str(SEPARATOR);
                    line.push_str(&shorten(&item, left));
                }
                _ if may_be_cut => lines.push(shorten(&item, room)),
                _ => lines.extend(wrap(&item, room)),
            }
        }
        lines.iter().fold(String::new(), |text, line| text + INDENT + line + "\n")
    }
}

/// Returns how wide a column must be to show all of its cells.
fn natural_width(table: &Table, place: usize) -> usize {
    let cells = table.rows.iter().filter_map(|row| row.get(place));
    cells.map(|cell| cell.width()).max().unwrap_or(0).max(table.titles[place].width())
}

fn fit(title: &str) -> Fit {
    FITS.iter().find(|(known, _)| *known == title).map_or(Fit::Whole, |(_, fit)| *fit)
}

/// The least width of a column says nothing of what may be done to it.
fn kind(fit: Fit) -> u8 {
    match fit {
        Fit::Below => 0,
        Fit::Cut(_) => 1,
        Fit::Whole => 2,
    }
}

fn coloured(cell: &str) -> String {
    let is_word = |word: &str| {
        cell.strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-'))
    };
    match STATES.iter().find(|(word, _)| is_word(word)) {
        Some((word, colour)) => format!("\u{1b}[{colour}m{word}\u{1b}[0m{}", &cell[word.len()..]),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn search() -> Table {
        let row = |id: &str, description: &str| {
            let cells = [id, "3.1.9", "datasource", "Grafana Labs", "commercial", "1000000", description];
            cells.map(str::to_owned).to_vec()
        };
        let titles = ["id", "version", "type", "publisher", "signature", "downloads", "description"];
        let long = "Data source for a database of time series with many words that nobody needs to read here";
        Table::new(&titles, [row("grafana-clock-panel", long), row("a-much-longer-name-datasource", "Short")])
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_id_is_cut() {
        for width in [40, 60, 80, 100, 140, 200] {
            let text = plain(&search().to_text(Some(width)));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            for whole in ["grafana-clock-panel", "a-much-longer-name-datasource", "3.1.9", "commercial", "Short"] {
                assert!(text.contains(whole), "{width}: {whole}\n{text}");
            }
            assert!(text.lines().count() <= 2 + 2 * 7, "{width}:\n{text}");
        }
    }

    #[test]
    fn a_table_of_eighty_columns_reads_like_a_table() {
        let text = plain(&search().to_text(Some(80)));
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let text = search().to_text(None);
        assert!(text.contains("nobody needs to read here") && text.lines().count() == 3);
    }

    #[test]
    fn a_reason_goes_below_its_row_and_is_whole() {
        let why = "it needs Grafana 12.1.0 or newer, and the workspace runs 10.4.1; plan an upgrade of Grafana first";
        let titles = ["workspace", "plugin", "why"];
        let cells = ["prod-eu-west", "acme-clock-panel", why];
        let text = plain(&Table::new(&titles, [cells.map(str::to_owned).to_vec()]).to_text(Some(60)));
        let below: Vec<_> = text.lines().skip(2).map(str::trim).collect();
        assert_eq!(below.join(" "), format!("why: {why}"));
    }

    #[test]
    fn sentences_are_wrapped_and_what_is_copied_is_not() {
        let long = "  - a line of a list that is longer than the terminal is wide\nshort\n";
        let mut text = Text::from(long);
        text.push(Text::verbatim(long.to_owned()));
        let wrapped = "  - a line of a list that is longer than\n  the terminal is wide\nshort\n";
        assert_eq!(text.render(Shape::Fit, Some(42)), format!("{wrapped}{long}"));
        assert_eq!(text.render(Shape::Fit, None), format!("{long}{long}"));
    }

    #[test]
    fn wide_characters_count_twice() {
        let titles = ["id", "description"];
        let cells = ["x", "時計パネルのプラグインです時計パネルのプラグインです時計パネルのプラグインです"];
        let text = plain(&Table::new(&titles, [cells.map(str::to_owned).to_vec()]).to_text(Some(60)));
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
    }

    #[test]
    fn csv_and_markdown_keep_every_cell() {
        let cells = ["a|b", "say \"no\", or not"].map(str::to_owned).to_vec();
        let table = Table::new(&["used by", "why"], [cells]);
        assert_eq!(table.to_csv(), "used_by,why\r\na|b,\"say \"\"no\"\", or not\"\r\n");
        assert_eq!(table.to_markdown(), "| used by | why |\n| --- | --- |\n| a\\|b | say \"no\", or not |\n");
    }

    #[test]
    fn columns_are_chosen_by_name_in_every_table_that_has_them() {
        let table =
            |titles: &[&str]| Text::from(Table::new(titles, [titles.iter().map(|t| (*t).to_owned()).collect()]));
        let text = Text::join([table(&["workspace", "used by"]), table(&["plugin"]), table(&["why", "workspace"])]);
        let chosen = text.clone().select(&["workspace".to_owned(), "used_by".to_owned()]).expect("columns");
        assert_eq!(
            chosen.render(Shape::Csv, None),
            "workspace,used_by\r\nworkspace,used by\r\nworkspace\r\nworkspace\r\n"
        );
        assert_eq!(
            text.select(&["wy".to_owned()]).expect_err("none").titles,
            ["plugin", "used_by", "why", "workspace"]
        );
    }
}
