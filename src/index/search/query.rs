//! What people type, as expressions for the full-text tables.
//!
//! *Invariant:* an expression consists of quoted letters and digits and of our own operators, so that no text is a syntax
//! error, an operator, or work without bounds.

use std::fmt::Write as _;

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// How much of a text is looked at, in bytes.
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
        self.joined(" AND ")
    }

    /// Returns the expression for rows that have any of the words, or one that starts with it.
    pub(super) fn any(&self) -> String {
        self.joined(" OR ")
    }

    fn joined(&self, operator: &str) -> String {
        let quoted: Vec<_> = self.tokens.iter().map(|token| format!("\"{token}\"*")).collect();
        quoted.join(operator)
    }

    /// Returns the expression for rows that share letters with a word, or nothing where all words are shorter than
    /// three letters.
    pub(super) fn trigrams(&self) -> Option<String> {
        let mut trigrams: Vec<String> = Vec::new();
        for token in &self.tokens {
            let letters: Vec<char> = token.chars().collect();
            add_trigrams(&letters, &mut trigrams);
            if letters.len() <= SHORT {
                for place in 1..letters.len() {
                    let mut swapped = letters.clone();
                    swapped.swap(place - 1, place);
                    add_trigrams(&swapped, &mut trigrams);
                }
            }
        }
        let mut expression = String::new();
        for trigram in trigrams {
            let operator = if expression.is_empty() { "" } else { " OR " };
            write!(expression, "{operator}\"{trigram}\"").ok()?;
        }
        (!expression.is_empty()).then_some(expression)
    }
}

fn add_trigrams(letters: &[char], trigrams: &mut Vec<String>) {
    for window in letters.windows(3) {
        let trigram = window.iter().collect();
        if trigrams.len() < MAX_TRIGRAMS && !trigrams.contains(&trigram) {
            trigrams.push(trigram);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_quoted_and_prefixed() {
        let words = Words::parse(" Clock-panel clock ");
        assert_eq!(words.all(), r#""clock"* AND "panel"*"#);
        assert_eq!(words.any(), r#""clock"* OR "panel"*"#);
        assert_eq!(words.text(), "Clock-panel clock");
        assert_eq!(
            Words::parse("abcdefgh").trigrams().as_deref(),
            Some(r#""abc" OR "bcd" OR "cde" OR "def" OR "efg" OR "fgh""#)
        );
        assert_eq!(Words::parse("ab c").trigrams(), None);
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
