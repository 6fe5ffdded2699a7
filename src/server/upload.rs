//! Publishing over HTTP: `PUT /api/publish/PLUGIN/VERSION/PLATFORM` with a token that writes.
//!
//! *Invariant:* what can be refused without the package is refused before one byte of it is read: a client that waits for
//! `100 Continue` sends nothing then.
//! *Not for:* checking packages, which `ops::publish` does.

use std::collections::BTreeSet;

use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode, body::Incoming, header};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::{
    Server,
    handlers::Answer,
    refusal::{HttpRefusal, Kind},
    reply::{self, Asked},
    route::Route,
};
use crate::{
    blocking::run_blocking,
    diagnostic::{Chain, Diagnose as _, Kind as Fault},
    index::IndexError,
    model::{Platform, PluginId, PluginVersion, Sha256Digest},
    ops::publish::{PublishError, PublishOutcome, Published, Submission, is_new, publish},
    verifier::Received,
};

/// What is to be published, as the request says.
struct Upload {
    plugin: PluginId,
    version: PluginVersion,
    platform: Platform,
    digest: Option<Sha256Digest>,
    length: u64,
}

impl Server {
    /// Publishes the body of a request. The token was checked.
    pub(super) async fn publish(&self, asked: Asked<'_>, route: &Route, body: Incoming) -> Answer {
        if asked.method != Method::PUT {
            return Err(HttpRefusal::new(Kind::Method, "a package is published with PUT"));
        }
        let upload = read_request(asked, route, self.serving.context().limits.package_bytes)?;
        if let Some(known) = self.check_known(&upload).await? {
            return Ok(answer(asked, &known));
        }
        let received = self.receive(body, &upload).await?;
        let expected = Some((upload.plugin, upload.version));
        let submission = Submission { received, platform: upload.platform, expected };
        let outcome = publish(self.serving.context(), vec![submission], &BTreeSet::new())
            .await
            .map_err(|error| refused(&error))?;
        // The client that published it finds it listed.
        if let Err(error) = self.serving.reload().await {
            tracing::warn!(error = %Chain(&error), "the catalog could not be read");
        }
        Ok(answer(asked, &outcome))
    }

    /// Returns the outcome if the same bytes are published already, and refuses what may not be published.
    async fn check_known(&self, upload: &Upload) -> Result<Option<PublishOutcome>, HttpRefusal> {
        let published = Published {
            plugin: upload.plugin.clone(),
            version: upload.version.clone(),
            platform: upload.platform.clone(),
            // Without a digest only the plugin is checked: no digest is this one.
            sha256: upload.digest.unwrap_or(Sha256Digest::from_bytes([0; 32])),
        };
        let (name, has_digest) = (published.clone(), upload.digest.is_some());
        let known = self.serving.context().index().read(move |index| is_new(index, &name, &BTreeSet::new())).await;
        match known {
            Ok(false) => Ok(Some(PublishOutcome { published: vec![published], ..PublishOutcome::default() })),
            Ok(true) | Err(PublishError::Index(IndexError::Missing { .. })) => Ok(None),
            Err(PublishError::Conflict { .. }) if !has_digest => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Writes the body into a file.
    async fn receive(&self, mut body: Incoming, upload: &Upload) -> Result<Received, HttpRefusal> {
        let context = self.serving.context().clone();
        let unusable = |error: &dyn std::error::Error| {
            tracing::warn!(error = %Chain(error), "a package could not be received");
            HttpRefusal::new(Kind::Unavailable, "the package cannot be stored now")
        };
        let temporary = run_blocking(move || context.folder_store().downloads().temporary_file())
            .await
            .map_err(|error| unusable(&error))?;
        let (file, path) = temporary.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let cut = |_| HttpRefusal::new(Kind::BadRequest, "the body was cut off");
            let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
            length += data.len() as u64;
            file.write_all(&data).await.map_err(|error| unusable(&error))?;
        }
        file.flush().await.map_err(|error| unusable(&error))?;
        if length != upload.length {
            return Err(HttpRefusal::new(Kind::BadRequest, "the body was cut off"));
        }
        let file = file.into_std().await;
        let received =
            run_blocking(move || Received::read(file, path.to_path_buf()).map(|received| (received, path))).await;
        let (received, path) = received.map_err(|error| unusable(&error))?;
        if upload.digest.is_some_and(|digest| digest != received.sha256) {
            let message = format!("the body hashes to {}, which is not what the header says", received.sha256);
            return Err(HttpRefusal::new(Kind::Unprocessable, message));
        }
        // From here on it is removed by who publishes it.
        path.keep().map_err(|error| unusable(&error))?;
        Ok(received)
    }
}

fn read_request(asked: Asked<'_>, route: &Route, limit: u64) -> Result<Upload, HttpRefusal> {
    let Route::Publish { plugin, version, platform } = route else {
        return Err(HttpRefusal::not_found("there is nothing at this path"));
    };
    let bad = |error: &dyn std::error::Error| HttpRefusal::new(Kind::BadRequest, Chain(error).to_string());
    let plugin = plugin.parse::<PluginId>().map_err(|error| bad(&error))?;
    let version = version.parse::<PluginVersion>().map_err(|error| bad(&error))?;
    let platform = platform.parse::<Platform>().map_err(|error| bad(&error))?;
    if asked.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HttpRefusal::new(Kind::Length, "a package is sent with `Content-Length`"));
    }
    let length = asked.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let length = length.ok_or_else(|| HttpRefusal::new(Kind::Length, "a package is sent with `Content-Length`"))?;
    if length > limit {
        return Err(HttpRefusal::new(Kind::TooLarge, format!("a package has at most {limit} bytes")));
    }
    Ok(Upload { plugin, version, platform, digest: digest(asked)?, length })
}

/// Returns the digest that the headers promise.
fn digest(asked: Asked<'_>) -> Result<Option<Sha256Digest>, HttpRefusal> {
    use base64::Engine as _;

    let bad = || HttpRefusal::new(Kind::BadRequest, "the digest of the request is not a SHA-256");
    if let Some(text) = asked.header("x-checksum-sha256") {
        return text.trim().parse().map(Some).map_err(|_| bad());
    }
    let named = asked.header("content-digest").or_else(|| asked.header("digest"));
    let Some(text) = named.and_then(|text| {
        text.split(',').find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            name.eq_ignore_ascii_case("sha-256").then(|| value.trim_matches(':'))
        })
    }) else {
        return Ok(None);
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| bad())?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| bad())?;
    Ok(Some(Sha256Digest::from_bytes(bytes)))
}

fn answer(asked: Asked<'_>, outcome: &PublishOutcome) -> hyper::Response<reply::Body> {
    let mut document = json!({ "format_version": "1.0", "command": "publish" });
    if let (Some(document), Ok(serde_json::Value::Object(fields))) =
        (document.as_object_mut(), serde_json::to_value(outcome))
    {
        document.extend(fields);
    }
    let status = if outcome.is_new { StatusCode::CREATED } else { StatusCode::OK };
    reply::text(asked, status, "application/json; charset=utf-8", document.to_string())
}

fn refused(error: &PublishError) -> HttpRefusal {
    let kind = match error {
        PublishError::Conflict { .. } | PublishError::Shadow { .. } => Kind::Conflict,
        PublishError::Twice { .. } | PublishError::NotPrivate { .. } => Kind::BadRequest,
        error => match error.kind() {
            Fault::Integrity | Fault::Failed | Fault::Usage => Kind::Unprocessable,
            _ => Kind::Unavailable,
        },
    };
    if kind == Kind::Unavailable {
        tracing::warn!(error = %Chain(error), "a package could not be published");
    }
    HttpRefusal::new(kind, Chain(error).to_string())
}
