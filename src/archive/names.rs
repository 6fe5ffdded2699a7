//! The names of the entries: each safe by itself, all in one folder, and no two of them one file on any file system.
//!
//! *Invariant:* all accepted paths can be created side by side with and without regard to case and Unicode form.
//! *Not for:* repair: a name is taken as it is or refused.

use std::collections::{HashMap, hash_map};

use unicode_normalization::UnicodeNormalization;

use super::{EntryKind, Rule};
use crate::model::{RelPath, is_device_name};

/// Endings of names that Grafana makes executable (`pkg/plugins/storage/fs.go`).
const EXECUTABLE_ENDINGS: &[&str] =
    &["_linux_amd64", "_linux_arm", "_linux_arm64", "_darwin_amd64", "_darwin_arm64", "_windows_amd64.exe"];

/// The folder in which the archiver of macOS puts what other systems cannot keep.
const MAC_METADATA: &str = "__MACOSX";

/// Returns whether a root folder may have this name; its characters are those that Grafana's extractor replaces.
fn is_root_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !name.is_empty() && name.bytes().all(allowed) && !matches!(name, "." | "..")
}

/// Returns whether a file of this name is a backend, whatever its mode in the zip.
pub(super) fn names_executable(path: &RelPath) -> bool {
    let file_name = path.parts().last().unwrap_or_default();
    file_name.starts_with("gpx_") || EXECUTABLE_ENDINGS.iter().any(|ending| file_name.ends_with(ending))
}

/// What was recorded of a path so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    File,
    Folder,
    /// A folder that is there because something is in it.
    Implied,
}

#[derive(Debug)]
struct NameNode {
    number: u32,
    spelling: Box<str>,
    role: Role,
}

/// The paths so far as a tree, so that long paths cost no more memory than their text.
#[derive(Debug, Default)]
pub(super) struct Names {
    root: Option<Box<str>>,
    /// Whether the root folder has an entry of its own.
    root_is_listed: bool,
    nodes: HashMap<(u32, Box<str>), NameNode>,
}

impl Names {
    /// Returns the name of the root folder; `None` before the first entry.
    pub(super) fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// Adds the name of an entry and returns its path below the root folder, or `None` for the root folder itself.
    ///
    /// The first entry decides how the root folder is named.
    pub(super) fn add(&mut self, name: &str, kind: EntryKind) -> Result<Option<RelPath>, Rule> {
        let path: RelPath = name.strip_suffix('/').unwrap_or(name).parse().map_err(Rule::Name)?;
        let root = path.parts().next().unwrap_or_default();
        let below = path.without_top();
        if below.is_none() && kind == EntryKind::File {
            return Err(Rule::TopLevelFile);
        }
        self.enter_root(root)?;
        let Some(below) = below else {
            let repeated = std::mem::replace(&mut self.root_is_listed, true);
            return if repeated { Err(Rule::Duplicate) } else { Ok(None) };
        };
        if below.parts().any(is_device_name) {
            return Err(Rule::DeviceName);
        }
        self.add_below(&below, kind)?;
        Ok(Some(below))
    }

    fn enter_root(&mut self, name: &str) -> Result<(), Rule> {
        match self.root.as_deref() {
            _ if name == MAC_METADATA => Err(Rule::MacMetadata),
            Some(root) if root == name => Ok(()),
            Some(root) => Err(Rule::SecondRoot(root.to_owned())),
            None if is_root_name(name) => {
                self.root = Some(name.into());
                Ok(())
            }
            None => Err(Rule::RootName),
        }
    }

    fn add_below(&mut self, path: &RelPath, kind: EntryKind) -> Result<(), Rule> {
        let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let mut parent = 0;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            parent = self.step(parent, part, Role::Implied)?;
        }
        let role = match kind {
            EntryKind::File => Role::File,
            EntryKind::Folder => Role::Folder,
        };
        self.step(parent, name, role).map(drop)
    }

    fn step(&mut self, parent: u32, part: &str, role: Role) -> Result<u32, Rule> {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).saturating_add(1);
        match self.nodes.entry((parent, fold(part))) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(NameNode { number: next, spelling: part.into(), role });
                Ok(next)
            }
            hash_map::Entry::Occupied(occupied) => {
                let node = occupied.into_mut();
                if *node.spelling != *part {
                    return Err(Rule::Collision(node.spelling.to_string()));
                }
                node.role = join(node.role, role)?;
                Ok(node.number)
            }
        }
    }
}

fn join(known: Role, new: Role) -> Result<Role, Rule> {
    match (known, new) {
        (Role::Folder | Role::Implied, Role::Implied) => Ok(known),
        (Role::Implied, Role::Folder) => Ok(Role::Folder),
        (Role::File, Role::File) | (Role::Folder, Role::Folder) => Err(Rule::Duplicate),
        (Role::File, _) | (_, Role::File) => Err(Rule::FileAndFolder),
    }
}

/// Decomposed first, so that marks do not hide the letter that they are on. There and back, since some letters meet others
/// only in lower case (`ẞ`) and some only in upper case (`ß`, `ſ`). Windows drops trailing dots and spaces.
fn fold(part: &str) -> Box<str> {
    let decomposed: String = part.nfd().collect();
    let folded: String = decomposed.to_lowercase().to_uppercase().to_lowercase().nfc().collect();
    folded.trim_end_matches(['.', ' ']).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::zips::{Zip, stored};

    fn rule_of_path(path: &str) -> Rule {
        Zip::plugin([stored(path, b"")]).broken()
    }

    fn rule(below: &str) -> Rule {
        rule_of_path(&format!("acme-tides-panel/{below}"))
    }

    fn rule_of(names: &[&str]) -> Rule {
        Zip::plugin(names.iter().map(|name| stored(&format!("acme-tides-panel/{name}"), b""))).broken()
    }

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for path in ["../evil", "/etc/passwd", "C:/evil", "//server/share/evil", "a/../../evil", "", "/", "./x", ".."] {
            assert!(matches!(rule_of_path(path), Rule::Name(_)), "{path:?}");
        }
        for below in ["../../evil", "..\\..\\evil", "a//b", "./a", "a/./b", "a\\b", "a//"] {
            assert!(matches!(rule(below), Rule::Name(_)), "{below:?}");
        }
    }

    #[test]
    fn names_that_deceive_the_eye_or_a_terminal_are_refused() {
        for below in ["a\0b", "a\nb", "a\u{1b}[31m", "gpj\u{202e}exe", "a\u{200b}b", "\u{feff}a"] {
            assert!(matches!(rule(below), Rule::Name(_)), "{below:?}");
        }
    }

    #[test]
    fn names_that_are_too_long_or_too_deep_are_refused() {
        for below in ["a".repeat(256), "abcdefg/".repeat(140) + "x", "a/".repeat(32) + "x"] {
            assert!(matches!(rule(&below), Rule::Name(_)), "{below:?}");
        }
    }

    #[test]
    fn names_that_meet_without_case_or_form_are_refused() {
        for pair in [["module.js", "Module.js"], ["img/a", "IMG/b"], ["straße", "STRASSE"], ["a", "a."], ["Ü", "ü"]]
        {
            assert!(matches!(rule_of(&pair), Rule::Collision(_)), "{pair:?}");
        }
        assert!(matches!(rule("PLUGIN.JSON"), Rule::Collision(_)));
    }

    #[test]
    fn a_name_in_another_form_is_kept_unless_it_meets_another() {
        for (name, other) in
            [("u\u{308}.svg", "ü.svg"), ("u\u{308}", "Ü"), ("\u{212b}", "å"), ("\u{1100}\u{1161}", "가")]
        {
            let alone = Zip::plugin([stored(&format!("acme-tides-panel/{name}"), b"")]).inspect().expect("alone");
            assert_eq!(alone.entries()[1].path().as_str(), name, "its bytes are kept");
            for pair in [[name, other], [other, name]] {
                assert!(matches!(rule_of(&pair), Rule::Collision(_)), "{pair:?}");
            }
        }
    }

    #[test]
    fn every_letter_is_folded_like_its_other_cases() {
        for letter in ('\0'..=char::MAX).filter(|letter| letter.to_lowercase().ne(letter.to_uppercase())) {
            let folded = fold(&format!("a{letter}a"));
            assert_eq!(folded, fold(&format!("a{}a", letter.to_lowercase())), "{letter:?}");
            assert_eq!(folded, fold(&format!("a{}a", letter.to_uppercase())), "{letter:?}");
        }
    }

    #[test]
    fn a_name_is_there_once_and_is_one_thing() {
        assert!(matches!(rule_of(&["a", "a"]), Rule::Duplicate));
        assert!(matches!(rule_of(&["a/", "a/"]), Rule::Duplicate));
        for pair in [["a", "a/"], ["a/", "a"], ["a", "a/b"], ["a/b", "a"]] {
            assert!(matches!(rule_of(&pair), Rule::FileAndFolder), "{pair:?}");
        }
        let twice = ["acme-tides-panel/", "acme-tides-panel/"].map(|name| stored(name, b""));
        assert!(matches!(Zip::plugin(twice).broken(), Rule::Duplicate));
    }

    #[test]
    fn devices_and_streams_are_refused() {
        for below in ["con", "AUX.js", "a/nul.tar.gz", "COM1", "lpt9 .txt", "com¹", "CONIN$"] {
            assert!(matches!(rule(below), Rule::DeviceName), "{below:?}");
        }
        assert!(matches!(rule("module.js:stream"), Rule::Name(_)));
        assert!(Names::default().add("acme-tides-panel/console.js", EntryKind::File).is_ok());
    }

    #[test]
    fn everything_is_in_one_folder_of_any_safe_name() {
        let with = |path: &str| Zip::plugin([stored(path, b"")]).broken();
        for path in
            ["other/module.js", "Acme-Tides-Panel/module.js", "acme-tides-panel-2/x", "acme-tides-pane/x", ".git/x"]
        {
            assert!(matches!(with(path), Rule::SecondRoot(_)), "{path:?}");
        }
        assert!(matches!(with("plugin.json"), Rule::TopLevelFile));
        assert!(matches!(with("acme-tides-panel"), Rule::TopLevelFile));
        assert!(matches!(with("__MACOSX/x"), Rule::MacMetadata));
        assert!(matches!(Zip::from_parts([stored("__MACOSX/acme-tides-panel/._x", b"")]).broken(), Rule::MacMetadata));
        for root in ["acme tides", "acmé", "a+b", "$x", "a@b"] {
            assert!(
                matches!(Zip::from_parts([stored(&format!("{root}/x"), b"")]).broken(), Rule::RootName),
                "{root:?}"
            );
        }
        for root in ["acme-tides-panel-5f249d5", "owner-repo-5f249d5", "Acme_Tides.1", "x", "-", "con"] {
            let names = ["", "plugin.json", "dist/a/b"].map(|name| format!("{root}/{name}"));
            let mut names_of = Names::default();
            let below = names.map(|name| {
                let kind = if name.ends_with('/') { EntryKind::Folder } else { EntryKind::File };
                names_of.add(&name, kind).expect(root).map(|path| path.as_str().to_owned())
            });
            assert_eq!(below, [None, Some("plugin.json".to_owned()), Some("dist/a/b".to_owned())]);
            assert_eq!(names_of.root(), Some(root));
        }
    }

    #[test]
    fn backends_are_known_by_name() {
        let named = |name: &str| names_executable(&name.parse().expect("a path"));
        assert!(named("gpx_tides_linux_amd64") && named("dist/gpx_tides") && named("x_windows_amd64.exe"));
        assert!(named("x_linux_arm") && named("x_darwin_arm64"));
        assert!(!named("module.js") && !named("gpx_folder/readme.md") && !named("linux_amd64.txt"));
    }
}
