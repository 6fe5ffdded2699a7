//! Who a token is, and whether it may install plugins.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::wire::FrontendSettings;
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
    /// Whether it is a server admin, if known; a service account is never shown as one, and that says nothing.
    pub is_server_admin: Option<bool>,
    /// Whether it is a service account, if known.
    pub is_service_account: Option<bool>,
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
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityAnswers {
    /// `/api/user`.
    pub(super) user: Option<Value>,
    /// Whether `/api/user` was refused with 403: from 10.2 to 11.2 it is for users only. A 404 there says nothing.
    pub(super) is_refused_as_user: bool,
    /// `/api/org`.
    pub(super) organisation: Option<Value>,
    /// `/api/user/orgs`.
    pub(super) organisations: Option<Value>,
    /// `/api/access-control/user/permissions`.
    pub(super) permissions: Option<Value>,
    /// `/api/frontend/settings`.
    pub(super) settings: Option<Arc<FrontendSettings>>,
    /// Whether it may list the users of its organisation, which without permissions only an Admin may.
    pub(super) lists_users: bool,
}

/// The permissions that decide something; others are not kept: an Admin has hundreds.
const DECIDING: [&str; 9] = [
    "alert.rules:read",
    "dashboards:create",
    "dashboards:read",
    "datasources:create",
    "datasources:read",
    "folders:create",
    "folders:read",
    "plugins:install",
    "plugins:write",
];

impl IdentityAnswers {
    /// Leaves out what decides nothing: the answers of each workspace are kept for the whole run.
    pub(super) fn compact(mut self) -> Self {
        if let Some(Value::Object(permissions)) = &mut self.permissions {
            let had_any = !permissions.is_empty();
            permissions.retain(|name, _| DECIDING.contains(&name.as_str()));
            if had_any && permissions.is_empty() {
                permissions.insert("other".to_owned(), Value::Null);
            }
        }
        self
    }

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
            is_service_account: self.is_service_account(),
            may_install: self.may_install(service),
        }
    }

    fn is_server_admin(&self) -> Option<bool> {
        if self.is_service_account() == Some(true) {
            return None;
        }
        self.user.as_ref()?.get("isGrafanaAdmin")?.as_bool()
    }

    /// From 11.3, `/api/user` answers with the account itself.
    fn is_service_account(&self) -> Option<bool> {
        let Some(user) = &self.user else { return self.is_refused_as_user.then_some(true) };
        let uid = user.get("uid").and_then(Value::as_str).unwrap_or_default();
        Some(uid.starts_with("service-account:"))
    }

    fn permissions(&self) -> Option<&Map<String, Value>> {
        self.permissions.as_ref().and_then(Value::as_object).filter(|permissions| !permissions.is_empty())
    }

    fn role(&self) -> Option<&str> {
        self.member_role().or_else(|| self.role_by_permissions()).or(self.role_by_users())
    }

    /// Where no permissions are shown (before 9, and on Amazon), a token has no organisations that could tell its role either.
    fn role_by_users(&self) -> Option<&'static str> {
        self.lists_users.then_some("Admin")
    }

    /// Returns whether nothing that was read tells the role.
    pub(super) fn lacks_role(&self) -> bool {
        self.permissions().is_none() && self.role().is_none()
    }

    /// The role that holds the permissions: a service account has no organisations that could tell it.
    fn role_by_permissions(&self) -> Option<&'static str> {
        let permissions = self.permissions()?;
        let holds = |names: &[&str]| names.iter().any(|name| permissions.contains_key(*name));
        Some(if holds(&["datasources:create", "plugins:write"]) {
            "Admin"
        } else if holds(&["dashboards:create", "folders:create"]) {
            "Editor"
        } else {
            "Viewer"
        })
    }

    fn admin_by_permissions(&self) -> Option<&'static str> {
        self.role_by_permissions().filter(|role| *role == "Admin")
    }

    fn member_role(&self) -> Option<&str> {
        let current = self.organisation.as_ref().and_then(|organisation| organisation.get("id"));
        let current = current.or_else(|| self.user.as_ref()?.get("orgId"))?;
        let all = self.organisations.as_ref()?.as_array()?;
        all.iter().find(|one| one.get("orgId") == Some(current))?.get("role")?.as_str()
    }

    fn may_install(&self, service: Service) -> MayInstall {
        let settings = self.settings.as_deref();
        let version = settings.and_then(|settings| settings.version.as_ref());
        if version.is_some_and(|version| version.check_install_route().is_err()) {
            return MayInstall::No(InstallObstacle::NoInstallRoute);
        }
        if settings.and_then(|settings| settings.plugin_admin_enabled) == Some(false) {
            return MayInstall::No(InstallObstacle::ManagementOff);
        }
        // Amazon manages from outside and offers the route all the same.
        let is_external = settings.and_then(|settings| settings.plugin_admin_external) == Some(true);
        if service == Service::Grafana && is_external {
            return MayInstall::No(InstallObstacle::ManagedElsewhere);
        }
        let permissions = self.permissions.as_ref().and_then(Value::as_object);
        let is_permitted = permissions.map(|permissions| permissions.contains_key("plugins:install"));
        // On Amazon only a role that was read stops: permissions may be cut there, and the attempt shows it.
        let role = if service == Service::Amg {
            self.member_role().or(self.admin_by_permissions()).or(self.role_by_users())
        } else {
            self.role()
        };
        match (service, is_permitted, role, self.is_server_admin()) {
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
            is_refused_as_user: false,
            user: is_server_admin.map(|admin| json!({"login": "me", "orgId": 2, "isGrafanaAdmin": admin})),
            organisation: Some(json!({"id": 2, "name": "Main Org."})),
            organisations: role.map(|role| json!([{"orgId": 1, "role": "Viewer"}, {"orgId": 2, "role": role}])),
            permissions,
            settings: None,
            lists_users: false,
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
        let settings = |settings: Value| Some(Arc::new(FrontendSettings::read(&settings)));
        told.settings = settings(json!({"pluginAdminEnabled": true, "pluginAdminExternalManageEnabled": true}));
        assert_eq!(told.may_install(Service::Grafana), MayInstall::No(InstallObstacle::ManagedElsewhere));
        assert_eq!(told.may_install(Service::Amg), MayInstall::Yes);
        told.settings = settings(json!({"pluginAdminEnabled": false}));
        assert_eq!(told.may_install(Service::Amg), MayInstall::No(InstallObstacle::ManagementOff));
    }

    /// To 10.1 `/api/user` is 404, to 11.2 it is 403, later it answers; the organisations are empty or 403.
    #[test]
    fn a_service_account_has_the_role_that_its_permissions_show() {
        let admin = json!({"plugins:write": ["plugins:*"], "datasources:create": [""], "dashboards:read": ["*"]});
        let account = json!({"id": 0, "uid": "service-account:7", "login": "sa-1-me", "isGrafanaAdmin": false});
        for (user, is_refused, is_account) in
            [(None, false, None), (None, true, Some(true)), (Some(account), false, Some(true))]
        {
            let mut told = answers(Some(admin.clone()), None, None);
            (told.user, told.is_refused_as_user, told.organisations) = (user, is_refused, Some(json!([])));
            let identity = told.identity(Service::Grafana);
            assert_eq!((identity.role.as_deref(), identity.is_service_account), (Some("Admin"), is_account));
            assert_eq!(identity.may_install, MayInstall::No(InstallObstacle::NoPermission));
            assert_eq!((told.may_install(Service::Amg), identity.is_server_admin), (MayInstall::Yes, None));
            told.permissions = Some(json!({"plugins:install": [""]}));
            assert_eq!(told.may_install(Service::Grafana), MayInstall::Yes);
            // Without permissions nothing says no: the attempt shows it.
            told.permissions = None;
            assert_eq!(
                [Service::Amg, Service::Grafana].map(|service| told.may_install(service)),
                [MayInstall::Unknown; 2]
            );
        }
        let role = |permissions| answers(Some(permissions), None, None).identity(Service::Grafana).role;
        assert_eq!(role(json!({"dashboards:create": ["*"]})).as_deref(), Some("Editor"));
        assert_eq!(role(json!({"dashboards:read": ["*"]})).as_deref(), Some("Viewer"));
        assert_eq!(role(json!({})), None);
    }

    #[test]
    fn without_permissions_an_admin_is_who_may_list_users() {
        let mut told = answers(None, None, None);
        assert!(told.lacks_role());
        told.lists_users = true;
        assert_eq!(told.identity(Service::Amg).role.as_deref(), Some("Admin"));
        assert_eq!(told.may_install(Service::Amg), MayInstall::Yes);
        assert_eq!(told.may_install(Service::Grafana), MayInstall::Unknown);
        assert!(!answers(Some(json!({"dashboards:read": ["*"]})), None, None).lacks_role());
    }

    #[test]
    fn a_token_of_an_old_server_has_no_name() {
        let identity = answers(None, None, None).identity(Service::Grafana);
        assert_eq!((identity.login, identity.organisation.as_deref()), (None, Some("Main Org.")));
        let identity = answers(None, Some(true), Some("Editor")).identity(Service::Grafana);
        assert_eq!((identity.login.as_deref(), identity.role.as_deref()), (Some("me"), Some("Editor")));
    }
}
