//! How alike the words of a query and those of a plugin are.

use crate::spelling::{best, words};

/// The words of a plugin's id and name, which count fully, and of its keywords.
#[derive(Debug)]
pub(super) struct PluginWords {
    names: Vec<String>,
    keywords: Vec<String>,
}

impl PluginWords {
    pub(super) fn new(id: &str, name: &str, keywords: &str) -> Self {
        let mut names = words(id);
        names.extend(words(name));
        Self { names, keywords: words(keywords) }
    }

    /// Returns the similarity to all the words of a query, above 0 and up to 1; `None` if one of them is like none.
    pub(super) fn similarity(&self, tokens: &[String]) -> Option<f64> {
        let mut sum = 0.0;
        let mut count = 0.0;
        for token in tokens.iter().flat_map(|token| words(token)) {
            let similarity = best(&token, &self.names).max(0.9 * best(&token, &self.keywords));
            if similarity == 0.0 {
                return None;
            }
            sum += similarity;
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(query: &str, called: &PluginWords) -> Option<f64> {
        let tokens: Vec<_> = query.split(' ').map(str::to_owned).collect();
        called.similarity(&tokens)
    }

    #[test]
    fn misspellings_are_near_and_rubbish_is_not() {
        let zabbix = PluginWords::new("alexanderzobnin-zabbix-app", "Zabbix", "monitoring");
        for near in ["zabix", "zabbxi", "abbix", "zobnin", "zabbix moniotring", "zäbbix"] {
            assert!(similarity(near, &zabbix).is_some(), "{near} finds nothing");
        }
        for far in ["zebra", "xyzzy", "zab1234", "zabix qqqqqq", "ap1"] {
            assert_eq!(similarity(far, &zabbix), None, "{far} finds something");
        }
    }

    #[test]
    fn a_name_counts_more_than_a_keyword() {
        let name = PluginWords::new("a-clock-panel", "Clock", "");
        let keyword = PluginWords::new("a-time-panel", "Time", "clock");
        assert!(similarity("clokc", &name) > similarity("clokc", &keyword));
    }
}
