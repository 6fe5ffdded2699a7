//! `plugport list --matrix`: a row for each plugin, a column for each workspace.
//!
//! *Invariant:* every version of every workspace is shown: what does not fit into one table is in another below it.
//! *Not for:* reading workspaces.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Text,
    listing::{TargetListing, version},
    table::Shape,
    ui,
};
use crate::model::PluginId;

/// Between two columns of a table.
const GAP: usize = 2;

/// Workspaces with the same plugins in the same versions.
struct Column {
    names: Vec<String>,
    versions: BTreeMap<PluginId, String>,
}

impl Column {
    fn title(&self) -> String {
        match self.names.as_slice() {
            [name] => name.clone(),
            names => format!("{} +{}", names[0], names.len() - 1),
        }
    }

    fn cell(&self, plugin: &PluginId) -> String {
        self.versions.get(plugin).cloned().unwrap_or_else(|| "-".to_owned())
    }

    fn width(&self) -> usize {
        self.versions.values().map(String::len).chain([self.title().len()]).max().unwrap_or(0)
    }
}

/// Returns the matrix of what could be read. For people, workspaces that are alike share a column, and as many columns
/// fit side by side into a terminal of `width`.
pub(super) fn matrix(read: &[TargetListing], shape: Shape, width: Option<usize>) -> Text {
    let columns = columns(read, shape == Shape::Fit);
    let plugins: Vec<_> = {
        let all: BTreeMap<_, _> = columns.iter().flat_map(|column| &column.versions).collect();
        all.into_keys().cloned().collect()
    };
    if plugins.is_empty() {
        return Text::default();
    }
    let first = plugins.iter().map(|id| id.as_str().len()).max().unwrap_or(0).max("plugin".len());
    let room = width.filter(|_| shape == Shape::Fit).map(|width| width.saturating_sub(first));
    let mut parts: Vec<Text> = blocks(&columns, room).into_iter().map(|block| table(&plugins, block)).collect();
    let mut legend = Text::default();
    for column in columns.iter().filter(|column| column.names.len() > 1) {
        let _ = writeln!(legend, "{}: {}", column.title(), ui::clean(&column.names.join(", ")));
    }
    parts.push(legend);
    Text::join(parts)
}

fn columns(read: &[TargetListing], are_alike_joined: bool) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for (target, state) in read.iter().filter_map(TargetListing::there) {
        let cell = |plugin| if version(plugin) == "-" { "?".to_owned() } else { version(plugin) };
        let versions: BTreeMap<_, _> = state.plugins.iter().map(|(id, plugin)| (id.clone(), cell(plugin))).collect();
        match columns.iter_mut().find(|column| are_alike_joined && column.versions == versions) {
            Some(column) => column.names.push(target.name.clone()),
            None => columns.push(Column { names: vec![target.name.clone()], versions }),
        }
    }
    columns
}

/// Splits the columns into those that fit beside the plugins, at least one each time.
fn blocks(columns: &[Column], room: Option<usize>) -> Vec<&[Column]> {
    let (mut blocks, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, column) in columns.iter().enumerate() {
        let wide = GAP + column.width();
        if at > start && room.is_some_and(|room| used + wide > room) {
            blocks.push(&columns[start..at]);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    blocks.push(&columns[start..]);
    blocks
}

fn table(plugins: &[PluginId], columns: &[Column]) -> Text {
    let titles: Vec<_> = columns.iter().map(Column::title).collect();
    let header: Vec<&str> = std::iter::once("plugin").chain(titles.iter().map(String::as_str)).collect();
    let row = |id: &PluginId| std::iter::once(id.to_string()).chain(columns.iter().map(|one| one.cell(id))).collect();
    ui::table(&header, plugins.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, version: &str) -> Column {
        let versions = [("acme-clock-panel".parse().expect("an id"), version.to_owned())].into();
        Column { names: vec![name.to_owned()], versions }
    }

    #[test]
    fn columns_stand_side_by_side_as_far_as_there_is_room() {
        let columns: Vec<_> = (0..5).map(|number| column(&format!("prod-{number}"), "1.0.0")).collect();
        let sizes = |room| blocks(&columns, room).iter().map(|block| block.len()).collect::<Vec<_>>();
        assert_eq!(sizes(None), [5]);
        assert_eq!(sizes(Some(16)), [2, 2, 1]);
        assert_eq!(sizes(Some(3)), [1; 5], "a column that has no room is shown nevertheless");
    }
}
