//! Whether the caller may read everything.

use serde_json::Value;

use super::super::{Grafana, WorkspaceError};

/// Whether a list that the caller gets is the whole one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reach {
    /// It is.
    All,
    /// The caller may read a part; the text says which.
    Part(String),
    /// It cannot be determined.
    Unknown,
}

impl Reach {
    /// Returns why the list may lack some; nothing of one that is whole.
    pub fn gap(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Part(reason) => Some(reason),
            Self::Unknown => Some("the server does not tell whether the credential sees all".to_owned()),
        }
    }
}

/// What the caller may read in one organisation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Of dashboards and of the folders they are in.
    pub dashboards: Reach,
    /// Of data sources.
    pub data_sources: Reach,
    /// Of library panels.
    pub library_panels: Reach,
    /// Of alert rules.
    pub alert_rules: Reach,
}

impl Grafana {
    /// Returns what the caller may read, by its permissions (Grafana 9 and newer), or else by its role.
    pub async fn rights(&self) -> Result<Rights, WorkspaceError> {
        let answers = self.identity_answers().await?;
        if let Some(permissions) = answers.permissions.as_ref().and_then(Value::as_object) {
            let reach = |action: &str, scopes: &[&str]| reach(permissions.get(action), action, scopes);
            return Ok(Rights {
                dashboards: reach("dashboards:read", &["dashboards:*", "folders:*"]),
                data_sources: reach("datasources:read", &["datasources:*"]),
                library_panels: reach("folders:read", &["folders:*"]),
                alert_rules: reach("alert.rules:read", &["folders:*"]),
            });
        }
        // Before there were permissions, an Admin saw everything in the organisation, and others what they were given.
        let role = answers.identity(self.service()).role;
        let by_role = match role.as_deref() {
            Some("Admin") => Reach::All,
            _ => Reach::Unknown,
        };
        Ok(Rights {
            dashboards: by_role.clone(),
            data_sources: by_role.clone(),
            library_panels: by_role.clone(),
            alert_rules: by_role,
        })
    }
}

/// Any of these shows a caller the plugins that were installed (protocol page 5.3).
const SEES_PLUGINS: [&str; 3] = ["datasources:create", "plugins:install", "plugins:write"];

impl Grafana {
    /// Returns whether the list of installed plugins has all of them.
    pub async fn reach_of_plugins(&self) -> Result<Reach, WorkspaceError> {
        let answers = self.identity_answers().await?;
        let identity = answers.identity(self.service());
        if identity.role.as_deref() == Some("Admin") || identity.is_server_admin == Some(true) {
            return Ok(Reach::All);
        }
        Ok(match answers.permissions.as_ref().and_then(Value::as_object) {
            Some(permissions) if SEES_PLUGINS.iter().any(|action| permissions.contains_key(*action)) => Reach::All,
            Some(_) => {
                Reach::Part(format!("the credential has none of the permissions `{}`", SEES_PLUGINS.join("`, `")))
            }
            None => Reach::Unknown,
        })
    }
}

/// Evaluates the scopes of one action: a list of texts, or in older versions whether it is allowed at all.
fn reach(scopes: Option<&Value>, action: &str, whole: &[&str]) -> Reach {
    match scopes {
        None => Reach::Part(format!("it lacks the permission `{action}`")),
        Some(Value::Array(scopes)) => {
            let scopes: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
            let kind =
                |scope: &str| scope == "*" || whole.iter().any(|whole| scope == *whole || is_all_of(scope, whole));
            if scopes.iter().any(|scope| kind(scope)) {
                return Reach::All;
            }
            let shown: Vec<_> = scopes.iter().take(3).map(|scope| scope.escape_debug().to_string()).collect();
            let more = if scopes.len() > 3 { ", ..." } else { "" };
            Reach::Part(format!("its permission `{action}` is for `{}`{more} alone", shown.join("`, `")))
        }
        Some(_) => Reach::Unknown,
    }
}

/// Returns whether a scope like `folders:uid:*` means all of `folders:*`.
fn is_all_of(scope: &str, whole: &str) -> bool {
    let kind = whole.trim_end_matches('*');
    scope.strip_prefix(kind).and_then(|rest| rest.strip_suffix('*')).is_some_and(|rest| matches!(rest, "uid:" | "id:"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dashboards(scopes: &Value) -> Reach {
        reach(Some(scopes), "dashboards:read", &["dashboards:*", "folders:*"])
    }

    #[test]
    fn a_scope_for_all_is_all() {
        for scope in ["*", "dashboards:*", "folders:*", "dashboards:uid:*", "folders:uid:*"] {
            assert_eq!(dashboards(&json!(["folders:uid:general", scope])), Reach::All, "{scope}");
        }
    }

    #[test]
    fn a_scope_for_one_folder_is_a_part_and_says_so() {
        let Reach::Part(reason) = dashboards(&json!(["folders:uid:net"])) else { panic!("a part") };
        assert!(reason.contains("`folders:uid:net` alone"), "{reason}");
        assert!(matches!(reach(None, "datasources:read", &["datasources:*"]), Reach::Part(_)));
    }

    #[test]
    fn older_servers_do_not_tell_for_what() {
        assert_eq!(dashboards(&json!(true)), Reach::Unknown);
    }
}
