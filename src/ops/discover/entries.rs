//! Entries of a manifest for workspaces that AWS has.

use std::collections::BTreeSet;

use toml_edit::{InlineTable, Item, Table, Value};

use super::DiscoveredWorkspace;
use crate::{fleet::aws::ListedAccount, model::WorkspaceName};

/// Returns a name that no other workspace has: what people call it, else with its region, else its id, else that with a number.
pub(super) fn name(found: &DiscoveredWorkspace, taken: &BTreeSet<WorkspaceName>) -> WorkspaceName {
    let own = plain(found.name.as_deref().unwrap_or_default());
    let with_region = format!("{}-{}", own.chars().take(31).collect::<String>(), found.region);
    let free = |text: &String| text.parse().ok().filter(|name| text != "all" && !taken.contains(name));
    let numbered = (2..).map(|number: u64| format!("{}-{number}", found.id));
    let mut names = [own, with_region, found.id.clone()].into_iter().chain(numbered);
    names.find_map(|text| free(&text)).expect("there are more numbers than workspaces")
}

/// Returns a text with `-` for all that no name may have, at most 64 letters long.
fn plain(text: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let text: String = text.trim().chars().map(|letter| if fits(letter) { letter } else { '-' }).collect();
    text.trim_start_matches(|first: char| !first.is_ascii_alphanumeric()).chars().take(64).collect()
}

/// Returns the `[[workspace]]` of a workspace. Where exactly one service account may install, tokens are made for it.
pub(super) fn table(found: &DiscoveredWorkspace, name: &WorkspaceName, accounts: &[ListedAccount]) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    for (key, text) in [("name", name.as_str()), ("kind", "amg"), ("url", &found.url)] {
        table.insert(key, text.into());
    }
    let fitting: Vec<_> = accounts
        .iter()
        .filter(|account| account.may_install && is_number(&account.id))
        .map(|account| &account.id)
        .collect();
    let comment = match fitting.as_slice() {
        [account] => {
            table.insert("token", pairs([("aws-service-account", account.as_str())]));
            None
        }
        several => {
            table.insert("token", pairs([("env", variable(name).as_str())]));
            Some(advice(several))
        }
    };
    if let (Some(comment), Some(mut key)) = (comment, table.key_mut("token")) {
        key.leaf_decor_mut().set_prefix(format!("# {comment}\n"));
    }
    let account = found.account.as_deref().map(|account| ("account", account));
    table.insert("labels", pairs([("region", found.region.as_str())].into_iter().chain(account)));
    table
}

fn advice(accounts: &[&String]) -> String {
    let reference = "`token = { aws-service-account = \"ID\" }`";
    if accounts.is_empty() {
        return format!("or {reference}, once there is a service account with the role Admin");
    }
    let ids: Vec<_> = accounts.iter().map(|id| id.as_str()).collect();
    format!("or {reference} with one of the service accounts {}", ids.join(", "))
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Item {
    let table: InlineTable = pairs.into_iter().map(|(key, text)| (key, Value::from(text))).collect();
    Item::Value(Value::InlineTable(table))
}

fn is_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the variable in which the token of a workspace is expected: `PROD_EU_TOKEN`.
fn variable(name: &WorkspaceName) -> String {
    let upper = name.as_str().to_ascii_uppercase();
    let text: String = upper.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    let prefix = if text.starts_with(|first: char| first.is_ascii_digit()) { "AMG_" } else { "" };
    format!("{prefix}{text}_TOKEN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_become_names_of_workspaces() {
        for (text, wanted) in
            [("Prod EU", "Prod-EU"), ("  .hidden", "hidden"), ("\u{1b}[31m\"x\"\n", "31m-x-"), ("é", "")]
        {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
        assert_eq!(plain(&"x".repeat(200)).len(), 64);
    }

    #[test]
    fn variables_can_be_set_in_a_shell() {
        let of = |text: &str| variable(&text.parse().expect("a name"));
        assert_eq!((of("prod-eu.1"), of("1st")), ("PROD_EU_1_TOKEN".to_owned(), "AMG_1ST_TOKEN".to_owned()));
    }
}
