//! `[[key]]` entries taken out of the text of a manifest.
//!
//! *Invariant:* only the lines of the entries are removed, and the comments directly above them.
//! *Not for:* entries that others take the place of: those are edited as tables, which keeps the comments inside.

use std::ops::Range;

use toml_edit::{Document, Item, Table, TomlError};

/// Returns the text without the entries of `key` at these places, counted from 0; `None` if `key` is no list of `[[key]]`.
pub(super) fn without(text: &str, key: &str, places: &[usize]) -> Result<Option<String>, TomlError> {
    let document = Document::parse(text)?;
    let Some(entries) = document.get(key).and_then(Item::as_array_of_tables) else { return Ok(None) };
    let mut ranges: Vec<Range<usize>> =
        places.iter().filter_map(|place| entries.get(*place)).filter_map(|entry| lines(text, entry)).collect();
    ranges.sort_by_key(|range| range.start);
    let mut rest = text.to_owned();
    for range in ranges.into_iter().rev() {
        rest.replace_range(range, "");
    }
    Ok(Some(rest))
}

/// Returns the whole lines of an entry, with the comments that touch it, and with one empty line if there are two then.
fn lines(text: &str, entry: &Table) -> Option<Range<usize>> {
    let header = entry.span()?;
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |end| end + 1);
    let mut start = line_start(header.start);
    while start > 0 {
        let above = line_start(start - 1);
        if !text[above..start].trim_start().starts_with('#') {
            break;
        }
        start = above;
    }
    let last = end(entry).unwrap_or(header.end).max(header.end);
    let mut end = text[last..].find('\n').map_or(text.len(), |length| last + length + 1);
    let is_after_empty = start == 0 || text[..start].ends_with("\n\n");
    if is_after_empty && text[end..].starts_with('\n') {
        end += 1;
    }
    Some(start..end)
}

/// Returns where the last value of a table ends, those of the tables in it included.
fn end(table: &Table) -> Option<usize> {
    let of_item = |item: &Item| match item {
        Item::Table(inner) => end(inner).max(inner.span().map(|span| span.end)),
        Item::ArrayOfTables(list) => {
            list.iter().filter_map(|inner| end(inner).max(inner.span().map(|span| span.end))).max()
        }
        item => item.span().map(|span| span.end),
    };
    table.iter().filter_map(|(_, item)| of_item(item)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The fleet of acme\n\n# Clocks\n[[plugin]]\nid = \"a\" # one\nversion = \"^1\"\n\n\
        # no lawns\n\n[[plugin]] # two\nid = \"b\"\n[plugin.dashboards]\nfolder = \"\"\"B\n\n[[plugin]]\"\"\"\n# inside\n\n[[plugin]]\nid = \"c\"\n";

    fn rest(places: &[usize]) -> String {
        without(TEXT, "plugin", places).expect("valid").expect("a list")
    }

    #[test]
    fn comments_that_do_not_touch_an_entry_stay() {
        let first = "# Clocks\n[[plugin]]\nid = \"a\" # one\nversion = \"^1\"\n\n";
        assert_eq!(rest(&[0]), TEXT.replace(first, ""));
        let second = "[[plugin]] # two\nid = \"b\"\n[plugin.dashboards]\nfolder = \"\"\"B\n\n[[plugin]]\"\"\"\n";
        assert_eq!(rest(&[1]), TEXT.replace(second, ""));
        assert_eq!(rest(&[2]), TEXT.strip_suffix("[[plugin]]\nid = \"c\"\n").expect("it is last"));
        assert_eq!(rest(&[2, 0, 1]), "# The fleet of acme\n\n# no lawns\n\n# inside\n\n");
        assert_eq!(rest(&[]), TEXT);
    }

    #[test]
    fn a_list_in_one_line_is_not_edited() {
        assert_eq!(without("plugin = []\n", "plugin", &[0]).expect("valid"), None);
    }
}
