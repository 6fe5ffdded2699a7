//! `plugport outdated`.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Report, Session, Text,
    grafana::GrafanaRequest,
    listing::{TargetListing, document, kind, problems, read_all_with_nested, version},
    selection::TargetSelection,
    ui,
};
use crate::{
    diagnostic::Kind,
    index::Index,
    model::{GrafanaVersion, Timestamp},
    ops::{
        outdated::{Compared, compare},
        target::Target,
    },
};

/// List installed plugins that have a newer version
///
/// Only versions that work with the workspace's Grafana and have a package for its platform count. What `trust.deny` of
/// the manifest denies is listed too, whether there is a newer version or not.
#[derive(Args, Debug)]
pub(super) struct OutdatedArgs {
    #[command(flatten)]
    selection: TargetSelection,
    /// As if the workspaces had this version of Grafana; `12.4` is the patch that one of them has, else 12.4.0
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaRequest>,
    /// Exit with 3 if there is a newer version
    #[arg(long)]
    exit_code: bool,
}

impl OutdatedArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?;
        context.index().check_has_catalog().await?;
        let read = read_all_with_nested(session, self.selection.or_all(session).await?).await?;
        let (grafana, published_before, exit_code) =
            (GrafanaRequest::choose(self.grafana.as_ref(), &read), session.published_before()?, self.exit_code);
        let compare = move |index: &Index| report(index, &read, grafana.as_ref(), published_before, exit_code);
        context.index().read(compare).await
    }
}

fn report(
    index: &Index,
    read: &[TargetListing],
    grafana: Option<&GrafanaVersion>,
    published_before: Option<Timestamp>,
    exit_code: bool,
) -> Result<Report, Failure> {
    let (mut rows, mut documents, mut problems) = (Vec::new(), Vec::new(), problems(read));
    for one in read {
        let target = &one.target;
        let compared = match &one.state {
            Ok(state) => compare(index, target, state, grafana, published_before)?,
            Err(_) => Vec::new(),
        };
        let unknown = compared.iter().filter_map(|one| one.newest.as_ref().err());
        problems.extend(unknown.map(|why| format!("note: {}: {why}", target.name)));
        problems.extend(compared.iter().filter_map(|one| denied(target, one)));
        let deprecated = compared.iter().filter_map(|one| one.deprecated.as_ref());
        problems.extend(deprecated.map(|text| format!("note: {}: {text}", target.name)));
        let outdated: Vec<_> = compared.iter().filter(|one| one.is_outdated() || one.denied.is_some()).collect();
        rows.extend(outdated.iter().map(|one| row(target, one)));
        let mut whole = document(one, |_| Value::Null);
        whole["plugins"] = outdated.iter().map(|one| outdated_document(one)).collect();
        documents.push(whole);
    }
    let (found, failed) = (!rows.is_empty(), kind(read));
    let text = if found { ui::table(&["workspace", "plugin", "installed", "newest"], rows) } else { Text::default() };
    let current = !found && failed.is_none();
    let notes = if current { vec!["nothing is outdated".to_owned()] } else { Vec::new() };
    let kind = failed.or((found && exit_code).then_some(Kind::Findings));
    Ok(Report { document: json!({ "workspaces": documents }), text, notes, problems, kind })
}

fn denied(target: &Target, one: &Compared<'_>) -> Option<String> {
    let why = one.denied.as_ref()?;
    Some(format!("denied: {}: {} {} is {why}", target.name, one.installed.id, version(one.installed)))
}

fn row(target: &Target, one: &Compared<'_>) -> Vec<String> {
    let newest = one.newest.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string);
    vec![target.name.clone(), one.installed.id.to_string(), version(one.installed), newest]
}

fn outdated_document(one: &Compared<'_>) -> Value {
    let mut fields =
        json!({ "id": one.installed.id, "installed": one.installed.version, "newest": one.newest.as_ref().ok() });
    if let Some(why) = &one.denied {
        fields["denied"] = why.as_str().into();
    }
    if let Some(text) = &one.deprecated {
        fields["deprecated"] = text.as_str().into();
    }
    fields
}
