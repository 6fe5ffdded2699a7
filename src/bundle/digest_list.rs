//! Lists of packages by digest, which go the other way: what a side has, and what it lacks. Plain text, a digest a line.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    diagnostic::{Kind, diagnose},
    model::Sha256Digest,
};

/// What a list is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ListKind {
    /// What is in a store.
    Have,
    /// What a store lacks of a bundle.
    Want,
}

impl ListKind {
    fn word(self) -> &'static str {
        match self {
            Self::Have => "have",
            Self::Want => "want",
        }
    }
}

/// A list of packages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DigestList {
    /// What it is of.
    pub kind: ListKind,
    /// The generation that it is of: the last one that was imported, or that of the bundle.
    pub generation: Option<String>,
    /// The packages.
    pub digests: BTreeSet<Sha256Digest>,
}

/// A text is no list of packages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestListError {
    /// Its first line is another.
    #[error("it does not begin with `# plugport have 1` or `# plugport want 1`")]
    Header,
    /// A line is no digest.
    #[error("line {0} is no SHA-256")]
    Line(usize),
}

diagnose!(DigestListError => Kind::Usage, "`plugport bundle have` and `plugport bundle want` print such lists");

impl DigestList {
    /// Returns the text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("# plugport {} 1\n", self.kind.word());
        if let Some(generation) = &self.generation {
            let _ = writeln!(text, "# generation {generation}");
        }
        for digest in &self.digests {
            let _ = writeln!(text, "{digest}");
        }
        text
    }

    /// Reads a text; further comments and empty lines are skipped.
    pub(crate) fn parse(text: &str) -> Result<Self, DigestListError> {
        let kind = match text.lines().next().map(str::trim_end) {
            Some("# plugport have 1") => ListKind::Have,
            Some("# plugport want 1") => ListKind::Want,
            _ => return Err(DigestListError::Header),
        };
        let (mut generation, mut digests) = (None, BTreeSet::new());
        for (index, line) in text.lines().enumerate().skip(1) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("# generation ") {
                generation = Some(name.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                digests.insert(line.parse().map_err(|_| DigestListError::Line(index + 1))?);
            }
        }
        Ok(Self { kind, generation, digests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let digests = BTreeSet::from([1, 2].map(|digit| Sha256Digest::from_bytes([digit; 32])));
        for (kind, generation) in [(ListKind::Have, None), (ListKind::Want, Some("G".to_owned()))] {
            let list = DigestList { kind, generation, digests: digests.clone() };
            assert_eq!(DigestList::parse(&list.to_text()).expect("a list"), list);
            // Mail and shells change the ends of lines.
            assert_eq!(DigestList::parse(&list.to_text().replace('\n', "\r\n")).expect("a list"), list);
        }
        assert!(matches!(DigestList::parse(""), Err(DigestListError::Header)));
        assert!(matches!(DigestList::parse("# plugport have 1\n\nx\n"), Err(DigestListError::Line(3))));
    }
}
