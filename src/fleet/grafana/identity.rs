//! Who a token is, and whether it may install plugins.

use std::fmt;

use serde_json::Value;

use super::wire;
use crate::fleet::manifest::Service;

/// Who we are to a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The login name; tokens of older servers have none.
    pub login: Option<String>,
    /// The name for people.
    pub name: Option<String>,
    /// The name of the organisation.
    pub organisation: Option<String>,
    /// The role in that organisation: `Viewer`, `Editor` or `Admin`.
    pub role: Option<String>,
    /// Whether it is a server admin, if known.
    pub is_server_admin: Option<bool>,
    /// Whether it may install plugins.
    pub may_install: MayInstall,
}

/// Whether a token may install plugins, as far as it can be determined beforehand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MayInstall {
    /// It may.
    Yes,
    /// It may not.
    No(InstallObstacle),
    /// It cannot be determined.
    Unknown,
}

/// Why a token may not install plugins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstallObstacle {
    /// Grafana before 8.0 has no route for it.
    NoInstallRoute,
    /// Plugin management is off.
    ManagementOff,
    /// Plugins are managed from outside (`plugin_admin_external_manage_enabled`).
    ManagedElsewhere,
    /// The token lacks `plugins:install`.
    NoPermission,
    /// The token is no server admin.
    NoServerAdmin,
    /// The token has not the Admin role.
    NoAdmin,
}

impl fmt::Display for MayInstall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Yes => "it may install plugins",
            Self::Unknown => "the workspace does not tell whether it may install plugins",
            Self::No(InstallObstacle::NoInstallRoute) => "Grafana before 8.0 cannot change plugins over HTTP",
            Self::No(InstallObstacle::ManagementOff) => "plugin management is off",
            Self::No(InstallObstacle::ManagedElsewhere) => "plugins are managed from outside",
            Self::No(InstallObstacle::NoPermission) => "it lacks the permission `plugins:install`",
            Self::No(InstallObstacle::NoServerAdmin) => "it is no server admin",
            Self::No(InstallObstacle::NoAdmin) => "it has not the Admin role",
        })
    }
}

/// The answers of a workspace about the token's identity; each may be missing.
#[derive(Debug, Default)]
pub(super) struct IdentityAnswers {
    /// `/api/user`.
    pub(super) user: Option<Value>,
    /// `/api/org`.
    pub(super) organisation: Option<Value>,
    /// `/api/user/orgs`.
    pub(super) organisations: Option<Value>,
    /// `/api/access-control/user/permissions`.
    pub(super) permissions: Option<Value>,
    /// `/api/frontend/settings`.
    pub(super) settings: Option<Value>,
}

impl IdentityAnswers {
    /// Returns the identity, as far as the answers have it.
    pub(super) fn identity(&self, service: Service) -> Identity {
        let text = |value: Option<&Value>, key: &str| {
            value?.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let user = self.user.as_ref();
        Identity {
            login: text(user, "login"),
            name: text(user, "name"),
            organisation: text(self.organisation.as_ref(), "name"),
            role: self.role().map(str::to_owned),
            is_server_admin: self.is_server_admin(),
            may_install: self.may_install(service),
        }
    }

    fn is_server_admin(&self) -> Option<bool> {
        self.user.as_ref()?.get("isGrafanaAdmin")?.as_bool()
    }

    fn role(&self) -> Option<&str> {
        let current = self.organisation.as_ref().and_then(|organisation| organisation.get("id"));
        let current = current.or_else(|| self.user.as_ref()?.get("orgId"))?;
        let all = self.organisations.as_ref()?.as_array()?;
        all.iter().find(|one| one.get("orgId") == Some(current))?.get("role")?.as_str()
    }

    fn setting(&self, key: &str) -> Option<bool> {
        self.settings.as_ref()?.get(key)?.as_bool()
    }

    fn may_install(&self, service: Service) -> MayInstall {
        let version = self.settings.as_ref().and_then(wire::settings_version);
        if version.is_some_and(|version| version.check_install_route().is_err()) {
            return MayInstall::No(InstallObstacle::NoInstallRoute);
        }
        if self.setting("pluginAdminEnabled") == Some(false) {
            return MayInstall::No(InstallObstacle::ManagementOff);
        }
        // Amazon manages from outside and offers the route all the same.
        if service == Service::Grafana && self.setting("pluginAdminExternalManageEnabled") == Some(true) {
            return MayInstall::No(InstallObstacle::ManagedElsewhere);
        }
        let permissions = self.permissions.as_ref().and_then(Value::as_object);
        let is_permitted = permissions.map(|permissions| permissions.contains_key("plugins:install"));
        match (service, is_permitted, self.role(), self.is_server_admin()) {
            (_, Some(true), _, _) | (Service::Amg, _, Some("Admin"), _) | (Service::Grafana, None, _, Some(true)) => {
                MayInstall::Yes
            }
            (Service::Amg, _, Some(_), _) => MayInstall::No(InstallObstacle::NoAdmin),
            (Service::Grafana, Some(false), _, _) => MayInstall::No(InstallObstacle::NoPermission),
            (Service::Grafana, None, _, Some(false)) => MayInstall::No(InstallObstacle::NoServerAdmin),
            _ => MayInstall::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answers(permissions: Option<Value>, is_server_admin: Option<bool>, role: Option<&str>) -> IdentityAnswers {
        IdentityAnswers {
            user: is_server_admin.map(|admin| json!({"login": "me", "orgId": 2, "isGrafanaAdmin": admin})),
            organisation: Some(json!({"id": 2, "name": "Main Org."})),
            organisations: role.map(|role| json!([{"orgId": 1, "role": "Viewer"}, {"orgId": 2, "role": role}])),
            permissions,
            settings: None,
        }
    }

    #[test]
    fn the_permission_decides_where_it_is_told() {
        let with = || Some(json!({"plugins:install": [""]}));
        let without = || Some(json!({"plugins:write": ["plugins:*"]}));
        let grafana = |told: IdentityAnswers| told.may_install(Service::Grafana);
        assert_eq!(grafana(answers(with(), Some(false), None)), MayInstall::Yes);
        assert_eq!(
            grafana(answers(without(), Some(true), Some("Admin"))),
            MayInstall::No(InstallObstacle::NoPermission)
        );
        assert_eq!(grafana(answers(None, Some(true), None)), MayInstall::Yes);
        assert_eq!(grafana(answers(None, Some(false), Some("Admin"))), MayInstall::No(InstallObstacle::NoServerAdmin));
        assert_eq!(grafana(answers(None, None, Some("Admin"))), MayInstall::Unknown);
    }

    #[test]
    fn on_amg_the_admin_role_is_enough() {
        let amg = |told: IdentityAnswers| told.may_install(Service::Amg);
        assert_eq!(amg(answers(Some(json!({})), Some(false), Some("Admin"))), MayInstall::Yes);
        assert_eq!(amg(answers(None, None, Some("Editor"))), MayInstall::No(InstallObstacle::NoAdmin));
        assert_eq!(amg(answers(Some(json!({})), None, None)), MayInstall::Unknown);
    }

    #[test]
    fn management_that_is_off_stops_everybody() {
        let mut told = answers(Some(json!({"plugins:install": [""]})), Some(true), Some("Admin"));
        told.settings = Some(json!({"pluginAdminEnabled": true, "pluginAdminExternalManageEnabled": true}));
        assert_eq!(told.may_install(Service::Grafana), MayInstall::No(InstallObstacle::ManagedElsewhere));
        assert_eq!(told.may_install(Service::Amg), MayInstall::Yes);
        told.settings = Some(json!({"pluginAdminEnabled": false}));
        assert_eq!(told.may_install(Service::Amg), MayInstall::No(InstallObstacle::ManagementOff));
    }

    #[test]
    fn a_token_of_an_old_server_has_no_name() {
        let identity = answers(None, None, None).identity(Service::Grafana);
        assert_eq!((identity.login, identity.organisation.as_deref()), (None, Some("Main Org.")));
        let identity = answers(None, Some(true), Some("Editor")).identity(Service::Grafana);
        assert_eq!((identity.login.as_deref(), identity.role.as_deref()), (Some("me"), Some("Editor")));
    }
}
