//! What people type, as expressions for the full-text tables.
//!
//! *Invariant:* an expression consists of quoted letters and digits and of our own operators, so that no text is a syntax
//! error, an operator, or work without bounds.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// How much of a text is examined, in bytes.
const MAX_BYTES: usize = 1024;
/// How many different words of it.
const MAX_TOKENS: usize = 16;
/// How many different trigrams of its words.
const MAX_TRIGRAMS: usize = 48;
/// Words up to this many letters share too few trigrams with themselves after two letters were swapped.
const SHORT: usize = 6;

/// The words of a query.
#[derive(Debug)]
pub(super) struct Words {
    text: String,
    tokens: Vec<String>,
}

impl Words {
    /// Takes any text apart into words: runs of letters, digits and their marks.
    pub(super) fn parse(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_BYTES)];
        let normal: String = text.nfc().collect();
        let mut tokens: Vec<String> = Vec::new();
        let words = normal.split(|character: char| !character.is_alphanumeric() && !is_combining_mark(character));
        for word in words.filter(|word| word.contains(char::is_alphanumeric)) {
            let word = word.to_lowercase();
            if tokens.len() < MAX_TOKENS && !tokens.contains(&word) {
                tokens.push(word);
            }
        }
        Self { text: text.trim().to_owned(), tokens }
    }

    /// Returns the text without the blanks around it, cut to its bound: it may be an id.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the words, in lower case.
    pub(super) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Returns the expression for rows that have every word, or one that starts with it.
    pub(super) fn all(&self) -> String {
        joined(self.tokens.iter(), " AND ")
    }

    /// Returns the expression for rows that have any of the words, or one that starts with it; nothing where all words
    /// are single letters, with which nearly everything begins.
    pub(super) fn any(&self) -> Option<String> {
        let expression = joined(self.tokens.iter().filter(|token| token.chars().nth(1).is_some()), " OR ");
        (!expression.is_empty()).then_some(expression)
    }

    /// Returns, word by word, runs of three letters that a plugin called like the word would share with it.
    pub(super) fn trigrams(&self) -> Vec<Vec<String>> {
        let most = MAX_TRIGRAMS / self.tokens.len().max(1);
        self.tokens.iter().map(|token| trigrams_of(token, most)).collect()
    }
}

fn trigrams_of(token: &str, most: usize) -> Vec<String> {
    let letters: Vec<char> = token.chars().collect();
    let mut spellings = vec![letters.clone()];
    if letters.len() <= SHORT {
        for index in 1..letters.len() {
            let mut swapped = letters.clone();
            swapped.swap(index - 1, index);
            spellings.push(swapped);
        }
    }
    let mut trigrams: Vec<String> = Vec::new();
    for window in spellings.iter().flat_map(|spelling| spelling.windows(3)) {
        let trigram = window.iter().collect();
        if trigrams.len() < most && !trigrams.contains(&trigram) {
            trigrams.push(trigram);
        }
    }
    trigrams
}

fn joined<'a>(tokens: impl Iterator<Item = &'a String>, operator: &str) -> String {
    let quoted: Vec<_> = tokens.map(|token| format!("\"{token}\"*")).collect();
    quoted.join(operator)
}

/// Returns the same expression, for rows that meet it with the words of their id and name alone.
pub(super) fn in_names(expression: &str) -> String {
    format!("{{id name}} : ({expression})")
}

/// Returns the expression for rows that have any of the trigrams.
pub(super) fn any_trigram(trigrams: &[String]) -> String {
    let quoted: Vec<_> = trigrams.iter().map(|trigram| format!("\"{trigram}\"")).collect();
    quoted.join(" OR ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_quoted_and_prefixed() {
        let words = Words::parse(" Clock-panel clock ");
        assert_eq!(words.all(), r#""clock"* AND "panel"*"#);
        assert_eq!(words.any().as_deref(), Some(r#""clock"* OR "panel"*"#));
        assert_eq!(Words::parse("a b").any(), None);
        assert_eq!(in_names(&words.all()), r#"{id name} : ("clock"* AND "panel"*)"#);
        assert_eq!(words.text(), "Clock-panel clock");
        assert_eq!(
            any_trigram(&Words::parse("abcdefg").trigrams().concat()),
            r#""abc" OR "bcd" OR "cde" OR "def" OR "efg""#
        );
        assert!(Words::parse("ab c").trigrams().concat().is_empty());
    }

    #[test]
    fn a_huge_text_is_cut() {
        let text = "é".repeat(1 << 20);
        assert_eq!(Words::parse(&text).all().len(), MAX_BYTES + r#"""*"#.len());
        let many: Vec<_> = (0..1000).map(|number| format!("w{number}")).collect();
        assert_eq!(Words::parse(&many.join(" ")).tokens().len(), MAX_TOKENS);
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_quotes(text in any::<String>()) {
            let words = Words::parse(&text);
            for token in words.tokens() {
                prop_assert!(!token.contains(['"', '*', '\0', ' ']));
            }
        }
    }
}
