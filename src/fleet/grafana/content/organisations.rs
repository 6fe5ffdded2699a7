//! The organisations of a Grafana, and how each is asked.

use serde_json::{Value, json};

use super::super::{Grafana, WorkspaceError};
use crate::{
    model::OrganisationInfo,
    net::{Method, NetError},
};

/// The default number of an organisation: that of Grafana's first.
const FIRST: i64 = 1;

/// The organisations that the caller can read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Organisations {
    /// The one that the caller is in now, first; then the others.
    pub readable: Vec<OrganisationInfo>,
    /// Those that the server has and the caller does not belong to; only server admins hear of them.
    pub closed: Vec<OrganisationInfo>,
    /// Whether there may be others: the server does not list its organisations for this caller.
    pub may_have_others: bool,
}

/// An organisation that can be asked.
#[derive(Debug)]
pub struct OrganisationSession {
    /// The server, asked about that organisation.
    pub grafana: Grafana,
    /// The organisation that the caller's login must be put back to by [`Grafana::switch`] when all is read; `None` if
    /// nothing was switched.
    pub left: Option<i64>,
}

impl Grafana {
    /// Returns the organisations that the caller can see: a token one, a login those it belongs to.
    pub async fn organisations(&self) -> Result<Organisations, WorkspaceError> {
        let mut known = self.memory.organisations.lock().await;
        if let Some(known) = known.as_ref() {
            return Ok(known.clone());
        }
        let read = self.read_organisations().await?;
        *known = Some(read.clone());
        Ok(read)
    }

    async fn read_organisations(&self) -> Result<Organisations, WorkspaceError> {
        let answers = self.identity_answers().await?;
        let own = match &answers.organisation {
            Some(own) => organisation(own, "id").ok_or(WorkspaceError::Shape { what: "organisation", lacks: "id" })?,
            // A gateway may keep even that back; a token has one organisation all the same.
            None => OrganisationInfo { id: FIRST, name: String::new() },
        };
        let mut found = Organisations { readable: vec![own], ..Organisations::default() };
        let all = self.get_optional("all organisations", &["api", "orgs"]).await?;
        for one in listed(answers.organisations.as_ref(), "orgId") {
            if !found.readable.iter().any(|known| known.id == one.id) {
                found.readable.push(one);
            }
        }
        let is_closed = |one: &OrganisationInfo| !found.readable.iter().any(|known| known.id == one.id);
        found.may_have_others = all.is_none() && !self.has_single_organisation;
        found.closed = listed(all.as_ref(), "id").into_iter().filter(is_closed).collect();
        Ok(found)
    }

    /// Returns the server, asked about another organisation: by a header that leaves no trace, or where the server does
    /// not heed it, by switching the login over.
    pub async fn enter(&self, organisation: &OrganisationInfo) -> Result<OrganisationSession, WorkspaceError> {
        if let Some(grafana) = self.look_into(organisation).await? {
            return Ok(OrganisationSession { grafana, left: None });
        }
        let before = self.current_organisation().await?;
        self.switch(organisation.id).await?;
        match self.current_organisation().await {
            Ok(now) if now == organisation.id => {
                Ok(OrganisationSession { grafana: self.elsewhere(self.site.clone()), left: Some(before) })
            }
            other => {
                // It may have been switched all the same.
                self.switch(before).await?;
                other?;
                Err(WorkspaceError::Shape { what: "organisation", lacks: "switch to it" })
            }
        }
    }

    /// Returns a connection to another organisation that leaves no trace; `None` if the server has none.
    pub async fn look_into(&self, organisation: &OrganisationInfo) -> Result<Option<Self>, WorkspaceError> {
        let answers = self.identity_answers().await?;
        let own = answers.organisation.as_ref().and_then(|own| own.get("id")?.as_i64());
        // Without one it is the default of [`Self::organisations`]: no switch is needed.
        if own == Some(organisation.id) || own.is_none() && organisation.name.is_empty() {
            return Ok(Some(self.clone()));
        }
        let grafana = self.elsewhere(self.site.for_organisation(organisation.id));
        Ok((grafana.current_organisation().await? == organisation.id).then_some(grafana))
    }

    /// Switches the caller's login to an organisation, as its user menu does (`POST /api/user/using/:id`).
    pub async fn switch(&self, organisation: i64) -> Result<(), WorkspaceError> {
        let path = ["api", "user", "using", &organisation.to_string()];
        let timeout = self.site.client().settings().header_timeout;
        let reply = self.site.call(Method::POST, &path, Some(&json!({})), timeout).await;
        let reply = reply.map_err(|error: NetError| WorkspaceError::NotReached(Box::new(error)))?;
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let (url, message) = (self.site.base().to_owned(), reply.message);
        Err(WorkspaceError::Refused { url, status: reply.status, message })
    }

    async fn current_organisation(&self) -> Result<i64, WorkspaceError> {
        let answer = self.get("organisation", &["api", "org"], &[]).await?;
        let id = answer.get("id").and_then(Value::as_i64);
        id.ok_or(WorkspaceError::Shape { what: "organisation", lacks: "id" })
    }
}

fn listed(answer: Option<&Value>, id: &str) -> Vec<OrganisationInfo> {
    let items = answer.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| organisation(item, id)).collect()
}

fn organisation(item: &Value, id: &str) -> Option<OrganisationInfo> {
    let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(OrganisationInfo { id: item.get(id)?.as_i64()?, name })
}
