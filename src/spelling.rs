//! How alike names are in spelling: for suggestions, and for searches that find nothing.
//!
//! *Invariant:* one rule for both, but a suggestion from a short list may have one more error than a match of a search;
//! the work is bounded by [`MAX_WORDS`] and [`MAX_LETTERS`].
//! *Not for:* finding the names to compare.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// How many words of a text, and how many letters of a word, are compared.
const MAX_WORDS: usize = 64;
const MAX_LETTERS: usize = 64;
/// A word may be misspelt if it or the other one has this many letters; shorter ones are too much like many others.
const MIN_LETTERS: usize = 4;
/// Words of too many ids to identify one.
const COMMON: [&str; 5] = ["app", "datasource", "grafana", "panel", "renderer"];

/// Returns up to three of `known` that are nearest to `wanted` in spelling, nearest first.
///
/// Names are compared whole and word by word, since people forget or mistake the words around the one that they know.
pub(crate) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = words(wanted);
    let scored = known.into_iter().map(|name| (name_similarity(&wanted, &words(name)), name));
    let mut scored: Vec<_> = scored.filter(|(score, _)| *score > 0.55).collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Returns the better similarity of the whole names and of their words; the whole names decide between equals.
fn name_similarity(wanted: &[String], known: &[String]) -> f64 {
    let (joined, known_joined) = (wanted.concat(), known.concat());
    let whole = suggested(&joined, &known_joined).max(suggested(&known_joined, &joined));
    let known = telling(known);
    let (sum, count) = telling(wanted).into_iter().fold((0.0, 0.0), |(sum, count), word| {
        (sum + most(known.iter().map(|known| suggested(word, known))), count + 1.0)
    });
    let by_word = if count > 0.0 { sum / count } else { 0.0 };
    by_word.max(whole) + 0.01 * strsim::normalized_damerau_levenshtein(&joined, &known_joined)
}

/// Returns the words of a name that identify it; all of them if none does.
fn telling(words: &[String]) -> Vec<&str> {
    let rare: Vec<_> = words.iter().map(String::as_str).filter(|word| !COMMON.contains(word)).collect();
    if rare.is_empty() { words.iter().map(String::as_str).collect() } else { rare }
}

fn suggested(wanted: &str, known: &str) -> f64 {
    similarity(wanted, known, 1)
}

/// Returns the similarity of a word to the most similar of `words`.
pub(crate) fn best(word: &str, words: &[String]) -> f64 {
    most(words.iter().map(|other| similarity(word, other, 0)))
}

fn most(similarities: impl Iterator<Item = f64>) -> f64 {
    similarities.fold(0.0, f64::max)
}

/// Returns the words of a text in lower case and without marks.
pub(crate) fn words(text: &str) -> Vec<String> {
    let plain: String = text.chars().take(4096).nfd().filter(|letter| !is_combining_mark(*letter)).collect();
    let lower = plain.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(MAX_LETTERS).collect()).take(MAX_WORDS).collect()
}

/// Returns 1 for equal words, less for a part or a misspelling with at most `more` errors than usual, 0 for other words.
fn similarity(wanted: &str, word: &str, more: u32) -> f64 {
    if wanted == word {
        return 1.0;
    }
    let letters = wanted.chars().count();
    if letters >= 3 && word.contains(wanted) {
        return if word.starts_with(wanted) { 0.95 } else { 0.85 };
    }
    // The word itself, or its start if the word continues: `grafna` for `grafanalabs`.
    let start: String = word.chars().take(letters).collect();
    let allowed = more
        + match letters {
            0..7 => 1,
            7..11 => 2,
            _ => 3,
        };
    spelling(wanted, word, allowed).max(0.9 * spelling(wanted, &start, allowed))
}

/// Returns how alike two spellings are, 0 beyond the allowed number of errors.
fn spelling(wanted: &str, word: &str, allowed: u32) -> f64 {
    let letters = wanted.chars().count();
    let longer = letters.max(word.chars().count());
    if longer < MIN_LETTERS || longer - letters > 3 {
        return 0.0;
    }
    match (u32::try_from(strsim::osa_distance(wanted, word)), u32::try_from(longer)) {
        (Ok(errors), Ok(longer)) if errors <= allowed => 1.0 - f64::from(errors) / f64::from(longer),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbours() {
        let known = ["grafana-clock-panel", "grafana-athena-datasource", "alexanderzobnin-zabbix-app"];
        assert_eq!(nearest("grafana-clok-panel", known)[0], "grafana-clock-panel");
        assert_eq!(nearest("zabbix", known), ["alexanderzobnin-zabbix-app"]);
        assert!(nearest("qqq", known).is_empty());
    }

    #[test]
    fn words_that_many_ids_have_do_not_make_them_alike() {
        let known = ["alexanderzobnin-zabbix-app", "grafana-sensu-app", "grafana-clock-panel", "acme-athena-panel"];
        for (wanted, first) in [
            ("grafana-zabix", "alexanderzobnin-zabbix-app"),
            ("zabix-app", "alexanderzobnin-zabbix-app"),
            ("grafana-athena-datasource", "acme-athena-panel"),
            ("grafanaclockpanel", "grafana-clock-panel"),
            ("grafana-sensue-app", "grafana-sensu-app"),
        ] {
            assert_eq!(nearest(wanted, known).first(), Some(&first), "{wanted}");
        }
    }
}
