//! `plugport doctor`.

use clap::Args;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::{Failure, Report, Session, Text, serve::local_mirror, setup::to_document, ui};
use crate::{
    airgap::MirrorAnswer,
    model::{GrafanaVersion, Platform},
    ops::doctor::{
        AirgapOptions, AirgapOutcome, Check, Mirror, MirrorRequest, RemoteMirror, RequestCheck, RequestVerdict, doctor,
        examine,
    },
    server::Server,
};

/// Check the cache and repair it, or check what a Grafana without internet needs of a mirror
///
/// Checks permissions, locks and free space, every byte of the index, whether every package of the index is in the
/// store, leftovers, and the clock. The bytes of the packages are read by `verify --all` and by `--repair`.
///
/// With `--airgap` it makes every request that this version of Grafana makes to the catalog, and prints which setting
/// leads it to the mirror, what no mirror can answer, whether the plugins are there that it installs by itself, and the
/// settings for grafana.ini. Exits with 3 if something is missing, and with 5 if the mirror does not answer.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Fetch damaged packages again and restore a damaged index from its copy
    #[arg(long)]
    repair: bool,
    /// Check what a Grafana without internet needs
    #[arg(long, requires = "grafana", conflicts_with = "repair")]
    airgap: bool,
    /// The version of that Grafana
    #[arg(long, value_name = "VER", requires = "airgap")]
    grafana: Option<GrafanaVersion>,
    /// The address of the mirror [default: what `serve` would answer here, without listening]
    #[arg(long, value_name = "MIRROR", requires = "airgap")]
    url: Option<String>,
    /// The platform of that Grafana
    #[arg(long, value_name = "P", requires = "airgap", default_value = "linux-amd64")]
    platform: Platform,
}

impl DoctorArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        if let Some(grafana) = &self.grafana {
            return self.airgap(session, grafana).await;
        }
        let sources = self.repair.then(|| session.sources()).transpose()?;
        let outcome = doctor(session.context()?, sources).await?;
        let hints = outcome.checks.iter().filter_map(|check| check.hint.as_deref());
        let problems = hints.map(|hint| format!("hint: {hint}")).collect();
        let text = ui::table(&["check", "state", "detail"], outcome.checks.iter().map(row));
        Ok(Report { document: to_document(&outcome), text, problems, kind: outcome.kind(), notes: Vec::new() })
    }

    async fn airgap(&self, session: &Session, grafana: &GrafanaVersion) -> Result<Report, Failure> {
        let mirror: Box<dyn Mirror> = match &self.url {
            Some(url) => Box::new(RemoteMirror { client: session.context()?.client.clone(), url: base(url)? }),
            None => Box::new(LocalMirror(local_mirror(session).await?)),
        };
        let url = match &self.url {
            Some(url) => base(url)?,
            None => session.manifest()?.serve().public_url.clone().unwrap_or_else(|| "https://MIRROR".to_owned()),
        };
        let options = AirgapOptions {
            grafana: grafana.clone(),
            platform: self.platform.clone(),
            url: url.trim_end_matches('/').to_owned(),
        };
        let outcome = examine(mirror.as_ref(), &options).await;
        let mut problems: Vec<_> = outcome.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        if outcome.requests.iter().any(|check| check.verdict == RequestVerdict::NotAsked) {
            problems.push(
                "note: the mirror has no plugin for this Grafana, so that what names one was not asked".to_owned(),
            );
        }
        if outcome.preinstalled.iter().any(|check| check.version.is_none()) {
            let platform = &self.platform;
            problems.push(format!(
                "hint: `plugport fetch --for-grafana {grafana} --platform {platform}` fetches what this version installs by itself"
            ));
        }
        let document = json!({ "checks": [], "airgap": to_document(&outcome) });
        Ok(Report { document, text: airgap_text(&outcome), problems, kind: outcome.kind(), notes: Vec::new() })
    }
}

/// Returns the address of a mirror without `/api` and without a slash at its end.
fn base(address: &str) -> Result<String, Failure> {
    let parsed = url::Url::parse(address).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() && url.has_host()
    });
    let parsed = parsed.ok_or_else(|| {
        let message = format!("`{}` is not the address of a mirror", address.escape_debug());
        Failure::usage(message, "`--url` is like `https://plugins.example.com`")
    })?;
    let text = parsed.as_str().trim_end_matches('/');
    Ok(text.strip_suffix("/api").unwrap_or(text).to_owned())
}

/// The mirror that `serve` would run.
struct LocalMirror(Server);

impl Mirror for LocalMirror {
    fn ask<'a>(&'a self, request: MirrorRequest<'a>) -> BoxFuture<'a, Result<MirrorAnswer, String>> {
        Box::pin(async move {
            let (status, body) = self.0.ask(request.path, request.headers).await;
            Ok(MirrorAnswer { status, body })
        })
    }
}

fn airgap_text(outcome: &AirgapOutcome) -> Text {
    let mut parts = vec![
        format!("Requests of Grafana {} to {}:\n", ui::clean(outcome.grafana.as_str()), ui::clean(&outcome.url)).into(),
        ui::table(
            &["when", "client", "request", "result", "setting", "detail"],
            outcome.requests.iter().map(request_row),
        ),
    ];
    if !outcome.preinstalled.is_empty() {
        parts.push("Plugins that it installs by itself, and what they need:\n".to_owned().into());
        let rows = outcome.preinstalled.iter().map(|check| {
            let version = check.version.as_ref().map_or_else(|| "missing".to_owned(), ToString::to_string);
            let needed_by = check.needed_by.as_ref().map(|plugin| format!("needed by {plugin}"));
            vec![check.plugin.to_string(), version, needed_by.or_else(|| check.detail.clone()).unwrap_or_default()]
        });
        parts.push(ui::table(&["plugin", "version", "detail"], rows));
    }
    parts.push("Requests to other hosts, which no mirror answers:\n".to_owned().into());
    let rows = outcome.egress.iter().map(|egress| {
        vec![egress.request.to_owned(), format!("{}={}", egress.setting.variable(), egress.setting.value)]
    });
    parts.push(ui::table(&["request", "stopped by"], rows));
    parts.push(Text::verbatim(format!("grafana.ini:\n{}", ini(outcome))));
    let variables = outcome.environment.iter().map(|variable| format!("{}={}\n", variable.name, variable.value));
    parts.push(Text::verbatim(format!(
        "or as variables of the environment:\n{}",
        variables.collect::<Vec<_>>().concat()
    )));
    Text::join(parts)
}

fn request_row(check: &RequestCheck) -> Vec<String> {
    let result = match (check.verdict, check.status) {
        (RequestVerdict::Wrong, Some(status)) => format!("wrong: {status}"),
        (verdict, _) => verdict.as_str().to_owned(),
    };
    vec![
        check.moment.to_owned(),
        check.client.to_owned(),
        check.path.clone(),
        result,
        check.setting.unwrap_or("-").to_owned(),
        check.detail.clone().unwrap_or_default(),
    ]
}

/// Returns the keys below their sections, in the order in which the sections were named first.
fn ini(outcome: &AirgapOutcome) -> String {
    let mut sections: Vec<&str> = Vec::new();
    for setting in &outcome.ini {
        if !sections.contains(&setting.section) {
            sections.push(setting.section);
        }
    }
    let lines = sections.into_iter().map(|section| {
        let keys = outcome.ini.iter().filter(|setting| setting.section == section);
        let keys: Vec<_> = keys.map(|setting| format!("{} = {}\n", setting.key, setting.value)).collect();
        format!("[{section}]\n{}", keys.concat())
    });
    lines.collect()
}

fn row(check: &Check) -> Vec<String> {
    let state = match (check.ok, check.repaired) {
        (true, false) => "ok",
        (true, true) => "repaired",
        (false, _) => "not ok",
    };
    vec![check.name.to_owned(), state.to_owned(), check.detail.clone()]
}
