//! How much a misspelt word looks like the words of a plugin.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// How many words of a plugin, and how many letters of a word, are compared.
const MAX_WORDS: usize = 64;
const MAX_LETTERS: usize = 64;
/// From this many letters on a word may be misspelt; a shorter one is too much like too many others.
const MIN_LETTERS: usize = 4;

/// What a plugin is called: the words of its id and name, which count fully, and of its keywords.
#[derive(Debug)]
pub(super) struct Called {
    names: Vec<String>,
    keywords: Vec<String>,
}

impl Called {
    pub(super) fn new(id: &str, name: &str, keywords: &str) -> Self {
        let mut names = fold(id);
        names.extend(fold(name));
        Self { names, keywords: fold(keywords) }
    }

    /// Returns how well all the words of a query are met, above 0 and up to 1; nothing where one of them is not met.
    pub(super) fn similarity(&self, tokens: &[String]) -> Option<f64> {
        let mut sum = 0.0;
        let mut count = 0.0;
        for token in tokens.iter().flat_map(|token| fold(token)) {
            let best = |words: &[String]| words.iter().map(|word| likeness(&token, word)).fold(0.0, f64::max);
            let likeness = best(&self.names).max(0.9 * best(&self.keywords));
            if likeness == 0.0 {
                return None;
            }
            sum += likeness;
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    }
}

/// Returns the words of a text in lower case and without marks.
fn fold(text: &str) -> Vec<String> {
    let plain: String = text.chars().take(4096).nfd().filter(|letter| !is_combining_mark(*letter)).collect();
    let lower = plain.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(MAX_LETTERS).collect()).take(MAX_WORDS).collect()
}

/// Returns 1 for equal words, less for a part or a misspelling, 0 for words that have nothing to do with each other.
fn likeness(token: &str, word: &str) -> f64 {
    if token == word {
        return 1.0;
    }
    let letters = token.chars().count();
    if letters >= 3 && word.contains(token) {
        return if word.starts_with(token) { 0.95 } else { 0.85 };
    }
    if letters < MIN_LETTERS {
        return 0.0;
    }
    // The word itself, or its start where the query may go on: `grafna` for `grafanalabs`.
    let start: String = word.chars().take(letters).collect();
    spelling(token, letters, word).max(0.9 * spelling(token, letters, &start))
}

/// Returns how alike two spellings are, 0 beyond one error in four letters, two in seven, three in eleven.
fn spelling(token: &str, letters: usize, word: &str) -> f64 {
    let allowed = match letters {
        0..7 => 1_u32,
        7..11 => 2,
        _ => 3,
    };
    let longer = letters.max(word.chars().count());
    if longer - letters > 3 {
        return 0.0;
    }
    match (u32::try_from(strsim::osa_distance(token, word)), u32::try_from(longer)) {
        (Ok(errors), Ok(longer)) if errors <= allowed => 1.0 - f64::from(errors) / f64::from(longer),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(query: &str, called: &Called) -> Option<f64> {
        let tokens: Vec<_> = query.split(' ').map(str::to_owned).collect();
        called.similarity(&tokens)
    }

    #[test]
    fn misspellings_are_near_and_rubbish_is_not() {
        let zabbix = Called::new("alexanderzobnin-zabbix-app", "Zabbix", "monitoring");
        for near in ["zabix", "zabbxi", "abbix", "zobnin", "zabbix moniotring", "zäbbix"] {
            assert!(similarity(near, &zabbix).is_some(), "{near} finds nothing");
        }
        for far in ["zebra", "xyzzy", "zab1234", "zabix qqqqqq", "ap1"] {
            assert_eq!(similarity(far, &zabbix), None, "{far} finds something");
        }
    }

    #[test]
    fn a_name_counts_more_than_a_keyword() {
        let name = Called::new("a-clock-panel", "Clock", "");
        let keyword = Called::new("a-time-panel", "Time", "clock");
        assert!(similarity("clokc", &name) > similarity("clokc", &keyword));
    }
}
