//! `plugport api`.
//!
//! *Invariant:* standard output has one JSON object a line; what may change something is sent only after somebody said yes.

use std::{io::Read as _, path::PathBuf, pin::pin};

use clap::Args;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::{
    Failure, Report, Session, Text, confirm,
    listing::ASKING,
    selection::select,
    setup::to_document,
    ui::{self, Ui},
};
use crate::{
    blocking::run_blocking,
    diagnostic::Kind,
    fleet::Workspace,
    model::Selector,
    ops::api::{ApiAnswer, ApiCall, MAX_BODY, call_all, kind_of},
    progress::Announced,
};

/// Send a call of Grafana's HTTP API to workspaces, each with its own token
///
/// Prints one JSON object a line for each workspace, with or without `--json`: `{workspace, status, body?, error?}`. GET and HEAD
/// are sent at once and repeated after passing failures. Other methods are shown and asked for on a terminal, elsewhere they
/// need `--yes`; they are sent once. Redirects are not followed. A status of 400 or more is a failure.
#[derive(Args, Debug)]
pub(super) struct ApiArgs {
    /// GET, HEAD, POST, PUT, PATCH or DELETE
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path below the address of the workspace, with its query, percent-encoded: `/api/search?limit=10`
    #[arg(value_name = "PATH")]
    path: String,
    /// These workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable) [default: all]
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
    /// Ask about this organisation, by its name or number (`X-Grafana-Org-Id`)
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// A field of the JSON object that is sent: `K=TEXT`, or `K:=JSON` for numbers, `true`, `null`, lists and objects (repeatable)
    #[arg(short = 'f', long = "field", value_name = "K=V", conflicts_with = "input")]
    fields: Vec<String>,
    /// Send the JSON in this file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Do not ask before something is changed
    #[arg(long)]
    yes: bool,
}

/// What is printed before a workspace is made to install a plugin by itself.
const UNCHECKED: &str =
    "note: nobody checks what a workspace installs by this call; `plugport install` checks the package first";

impl ApiArgs {
    /// Returns whether it may change something.
    pub(super) fn changes_something(&self) -> bool {
        ApiCall::new(&self.method, &self.path, None).is_ok_and(|call| !call.is_read())
    }

    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let call = self.call().await?;
        let workspaces = select(session, &self.on)?;
        if call.installs() {
            session.ui.note(UNCHECKED);
        }
        if !call.is_read() && !self.yes {
            confirm_call(session, &call, &workspaces).await?;
        }
        let account = |workspace: &&Workspace| workspace.account().unwrap_or_else(|| workspace.name().to_string());
        let accounts: Vec<_> = workspaces.iter().map(account).collect();
        let targets = session.services()?.connect_all(workspaces).await;
        let targets: Vec<_> = accounts.into_iter().zip(targets).collect();
        let asking = Announced::begin(session.context()?.reporter.as_ref(), ASKING, targets.len());
        let mut answers = pin!(call_all(&asking, targets, &call));
        let (mut kinds, mut problems, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            Ui::line(&to_document(&answer));
            problems.extend(problem(&answer));
            kinds.push(answer.kind);
            hints.extend(answer.hint.map(|hint| format!("hint: {hint}")).filter(|hint| !hints.contains(hint)));
        }
        problems.extend(hints);
        Ok(Report { problems, kind: kind_of(&kinds), ..Report::default() })
    }

    /// Returns the call that is meant.
    async fn call(&self) -> Result<ApiCall, Failure> {
        let body = match &self.input {
            Some(path) => Some(read_body(path.clone()).await?),
            None => fields(&self.fields)?,
        };
        let mut call = ApiCall::new(&self.method, &self.path, body)?;
        call.organisation.clone_from(&self.org);
        Ok(call)
    }
}

fn problem(answer: &ApiAnswer) -> Option<String> {
    let error = answer.error.as_ref()?;
    let label = if answer.kind == Some(Kind::Unknown) { "unknown" } else { "failed" };
    Some(format!("{label}: {}: {error}", answer.workspace))
}

/// Shows what a call does and asks; it is an error if nobody can be asked.
async fn confirm_call(session: &Session, call: &ApiCall, workspaces: &[&Workspace]) -> Result<(), Failure> {
    let line = call.request_line();
    if !session.ui.may_ask() {
        let message = format!("`{line}` may change something, and nobody can be asked whether it is to be sent");
        return Err(Failure::usage(message, "use `--yes`; nothing was sent"));
    }
    let rows = workspaces.iter().map(|workspace| {
        vec![workspace.name().to_string(), workspace.endpoint_text(), line.clone(), describe_body(call.body.as_deref())]
    });
    let shown: Text = ui::table(&["workspace", "address", "request", "body"], rows);
    let organisation =
        call.organisation.as_ref().map_or_else(String::new, |org| format!(" about organisation `{org}`"));
    let count = ui::count(workspaces.len() as u64, "workspace", "workspaces");
    confirm::ask(session, &shown, &format!("Send this to {count}{organisation}?")).await
}

/// Returns the size of a body and the names of its fields; the values may be secrets.
fn describe_body(body: Option<&[u8]>) -> String {
    let Some(body) = body else { return "-".to_owned() };
    let size = ui::bytes(body.len() as u64);
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) if !fields.is_empty() => {
            format!("{size}: {}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
        _ => size,
    }
}

/// Returns the object of some `K=V`; `None` without any.
fn fields(texts: &[String]) -> Result<Option<Vec<u8>>, Failure> {
    let mut object = Map::new();
    for text in texts {
        let (key, value) = field(text)?;
        if object.insert(key.clone(), value).is_some() {
            return Err(Failure::usage(format!("the field `{}` is given twice", key.escape_debug()), FIELD));
        }
    }
    Ok((!texts.is_empty()).then(|| json!(object).to_string().into_bytes()))
}

const FIELD: &str = "write `--field title=Operations` for a text, `--field version:=3` for JSON";

fn field(text: &str) -> Result<(String, Value), Failure> {
    let wrong = |message: String| Failure::usage(message, FIELD);
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.trim_end_matches(':').is_empty())
        .ok_or_else(|| wrong(format!("`{}` is not a field", text.escape_debug())))?;
    let Some(key) = key.strip_suffix(':') else { return Ok((key.to_owned(), Value::String(value.to_owned()))) };
    let value = serde_json::from_str(value)
        .map_err(|error| wrong(format!("the value of the field `{}` is not JSON: {error}", key.escape_debug())))?;
    Ok((key.to_owned(), value))
}

/// Reads what is sent, at most one byte more than may be.
async fn read_body(path: PathBuf) -> Result<Vec<u8>, Failure> {
    run_blocking(move || {
        let mut body = Vec::new();
        let read = if path.as_os_str() == "-" {
            std::io::stdin().lock().take(MAX_BODY + 1).read_to_end(&mut body)
        } else {
            std::fs::File::open(&path).and_then(|file| file.take(MAX_BODY + 1).read_to_end(&mut body))
        };
        read.map(|_| body).map_err(|source| {
            let message = format!("the body in `{}` cannot be read: {source}", path.display());
            Failure::usage(message, "`--input` names a file with JSON; `-` is standard input")
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_texts_or_json() {
        let object = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            fields(&texts).map(|bytes| String::from_utf8(bytes.unwrap_or_default()).expect("text"))
        };
        let texts = ["title=a=b", "n:=3", "on:=true", "none:=null", "list:=[1]", "empty="];
        let expected = r#"{"title":"a=b","n":3,"on":true,"none":null,"list":[1],"empty":""}"#;
        assert_eq!(object(&texts).expect("fields"), expected);
        for wrong in [&["title"][..], &["=x"], &[":=1"], &["n:=x"], &["a=1", "a:=2"]] {
            assert_eq!(object(wrong).expect_err("refused").kind, Kind::Usage, "{wrong:?}");
        }
        assert_eq!(object(&[]).expect("none"), "");
    }
}
