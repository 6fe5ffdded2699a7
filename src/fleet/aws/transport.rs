//! Sends what the SDK of AWS has signed, by our own client.
//!
//! *Invariant:* the SDK opens no socket of its own: `--offline`, `--ca-cert`, proxies and the bounds of `[network]` hold for
//! AWS as for all others. What an answer repeats of the secrets of its request is masked.

use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;

use crate::net::{Client, Method, NetError, RawAnswer, RawRequest};

/// The headers whose values an error must not repeat.
const SECRET_HEADERS: [&str; 4] =
    ["authorization", "x-amz-security-token", "x-aws-ec2-metadata-token", "x-amz-sso_bearer_token"];

/// What the SDK sends requests with.
#[derive(Clone, Debug)]
pub(super) struct Transport(pub(super) Client);

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The SDK bounds few requests itself: those to metadata services, which most machines do not have.
        let timeout = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or_default());
        SharedHttpConnector::new(Connector { client: self.0.clone(), timeout })
    }
}

#[derive(Debug)]
struct Connector {
    client: Client,
    timeout: Option<std::time::Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, timeout) = (self.client.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let secrets = secrets(&request);
            let request = translate(&request, timeout)?;
            let answer = client.send(request).await.map_err(refuse)?;
            respond(answer, &secrets)
        })
    }
}

fn translate(request: &HttpRequest, timeout: Option<std::time::Duration>) -> Result<RawRequest, ConnectorError> {
    let method = Method::from_bytes(request.method().as_bytes()).map_err(|error| ConnectorError::user(error.into()))?;
    let url = request.uri().parse().map_err(|error: url::ParseError| ConnectorError::user(error.into()))?;
    let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = request.body().bytes().ok_or_else(|| ConnectorError::user("a body that streams".into()))?.to_vec();
    Ok(RawRequest { method, url, headers, body, timeout })
}

/// Tells the SDK what is worth another try.
fn refuse(error: NetError) -> ConnectorError {
    match error {
        NetError::NoAnswer { .. } | NetError::TooSlow { .. } => ConnectorError::timeout(error.into()),
        error if error.is_transient() => ConnectorError::io(error.into()),
        error => ConnectorError::user(error.into()),
    }
}

fn secrets(request: &HttpRequest) -> Vec<String> {
    SECRET_HEADERS.iter().filter_map(|name| request.headers().get(name)).map(str::to_owned).collect()
}

fn respond(answer: RawAnswer, secrets: &[String]) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(answer.status).map_err(|error| ConnectorError::user(error.into()))?;
    let body = if status.is_success() { answer.body } else { masked(&answer.body, secrets) };
    // The length that was sent is that of the body before it was decoded and masked.
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in answer.headers.into_iter().filter(|(name, _)| name != "content-length") {
        // A header that the SDK cannot hold is none that it reads.
        drop(response.headers_mut().try_append(name, value));
    }
    Ok(response)
}

/// An error of a signature repeats what was signed, session tokens among it.
fn masked(body: &[u8], secrets: &[String]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    // JSON may write a slash with a backslash before it.
    let forms =
        secrets.iter().filter(|secret| secret.len() >= 8).flat_map(|one| [one.clone(), one.replace('/', "\\/")]);
    forms.fold(text.into_owned(), |text, secret| text.replace(&secret, "****")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_the_secrets_of_its_request() {
        let secrets = vec!["canary-session-token".to_owned(), String::new()];
        let said = |status| {
            let answer = RawAnswer { status, headers: Vec::new(), body: b"was canary-session-token".to_vec() };
            let response = respond(answer, &secrets).expect("a response");
            String::from_utf8_lossy(response.body().bytes().expect("a whole body")).into_owned()
        };
        assert_eq!(said(403), "was ****");
        assert_eq!(said(200), "was canary-session-token");
    }
}
