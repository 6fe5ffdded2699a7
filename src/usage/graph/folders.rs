//! Where things lie, and whose they are.

use std::collections::HashMap;

use crate::model::{DashboardInfo, FolderInfo};

/// What Grafana calls the place of what lies in no folder.
const TOP: &str = "General";

/// How many folders may lie in one another; Grafana allows four (`MaxNestedFolderDepth`).
const MAX_DEPTH: usize = 32;

/// The folders by uid.
#[derive(Debug)]
pub(super) struct FolderTree<'a>(HashMap<&'a str, &'a FolderInfo>);

impl<'a> FolderTree<'a> {
    pub(super) fn new(folders: &'a [FolderInfo]) -> Self {
        Self(folders.iter().map(|folder| (folder.uid.as_str(), folder)).collect())
    }

    /// Returns the titles of a folder and those around it; `title` is used instead where it was not read.
    pub(super) fn path(&self, uid: Option<&str>, title: Option<&str>) -> String {
        let (mut titles, mut next) = (Vec::new(), uid.filter(|uid| !uid.is_empty()));
        while let Some(uid) = next.filter(|_| titles.len() < MAX_DEPTH) {
            let Some(folder) = self.0.get(uid) else {
                // One that may not be read is still a folder.
                let known = title.filter(|title| titles.is_empty() && !title.is_empty());
                titles.push(known.unwrap_or(uid));
                break;
            };
            titles.push(&folder.title);
            next = folder.parent_uid.as_deref().filter(|parent| !parent.is_empty());
        }
        if titles.is_empty() {
            return title.filter(|title| !title.is_empty()).unwrap_or(TOP).to_owned();
        }
        titles.reverse();
        titles.join(" / ")
    }

    /// Returns who made a dashboard, or else who saved it last, or else who made its folder.
    pub(super) fn owner(&self, dashboard: &DashboardInfo) -> Option<String> {
        // `Anonymous` is what Grafana calls a maker that it does not know.
        let known = |name: &&String| !name.is_empty() && *name != "Anonymous";
        let own = [&dashboard.created_by, &dashboard.updated_by].into_iter().filter_map(Option::as_ref).find(known);
        let folder = || self.0.get(dashboard.folder_uid.as_deref()?)?.owner.as_ref().filter(known);
        own.or_else(folder).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(uid: &str, title: &str, parent: Option<&str>) -> FolderInfo {
        FolderInfo { uid: uid.into(), title: title.into(), parent_uid: parent.map(str::to_owned), owner: None }
    }

    #[test]
    fn a_path_names_every_folder_around_outermost_first() {
        let folders = [folder("a", "Net", None), folder("b", "Core", Some("a")), folder("c", "Hidden's", Some("gone"))];
        let folders = FolderTree::new(&folders);
        assert_eq!(folders.path(Some("b"), None), "Net / Core");
        assert_eq!(folders.path(Some("c"), Some("x")), "gone / Hidden's");
        assert_eq!(folders.path(Some("unread"), Some("Ops")), "Ops");
        assert_eq!(folders.path(Some("unread"), None), "unread");
        assert_eq!((folders.path(None, None), folders.path(Some(""), Some(""))), (TOP.to_owned(), TOP.to_owned()));
    }

    #[test]
    fn folders_that_lie_in_each_other_end_somewhere() {
        let folders = [folder("a", "A", Some("b")), folder("b", "B", Some("a"))];
        assert_eq!(FolderTree::new(&folders).path(Some("a"), None).split(" / ").count(), MAX_DEPTH);
    }
}
