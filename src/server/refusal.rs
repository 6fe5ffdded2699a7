//! Refusals: the only place that knows which status and which code they have.
//!
//! *Invariant:* a refusal is a JSON object of texts: one value of another type, and Grafana shows the whole body in place
//! of the message (protocol page 2.5).

use hyper::StatusCode;
use serde_json::json;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HttpRefusal {
    kind: Kind,
    /// One sentence for people.
    pub message: String,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The request is not one.
    BadRequest,
    /// It needs a token.
    Credentials,
    /// It may not be done.
    Forbidden,
    /// There is no such thing here.
    NotFound,
    /// Another method is needed.
    Method,
    /// It contradicts what is there.
    Conflict,
    /// A length must be given.
    Length,
    /// What was sent breaks a rule.
    Unprocessable,
    /// A condition of the request does not hold.
    Precondition,
    /// Its body is too large.
    TooLarge,
    /// Its address is too long.
    AddressTooLong,
    /// The range is outside.
    Range,
    /// Its header is too large.
    HeaderTooLarge,
    /// The program failed.
    Internal,
    /// The method is not known.
    Unknown,
    /// The upstream gave no usable answer.
    Upstream,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// Something that is needed is away, or busy.
    Unavailable,
}

impl Kind {
    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Credentials => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Length => StatusCode::LENGTH_REQUIRED,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AddressTooLong => StatusCode::URI_TOO_LONG,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unknown => StatusCode::NOT_IMPLEMENTED,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Credentials => "InvalidCredentials",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::Length => "LengthRequired",
            Self::Unprocessable => "UnprocessableEntity",
            Self::Method => "MethodNotAllowed",
            Self::Precondition => "PreconditionFailed",
            Self::TooLarge => "PayloadTooLarge",
            Self::AddressTooLong => "UriTooLong",
            Self::Range => "RangeNotSatisfiable",
            Self::HeaderTooLarge => "RequestHeaderFieldsTooLarge",
            Self::Internal => "InternalError",
            Self::Unknown => "NotImplemented",
            Self::Upstream => "BadGateway",
            Self::UpstreamTimeout => "GatewayTimeout",
            Self::Unavailable => "ServiceUnavailable",
        }
    }
}

impl HttpRefusal {
    /// Returns a refusal with a sentence for people.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns that something is not here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Returns the refusal for a status that was chosen elsewhere.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            414 => Self::new(Kind::AddressTooLong, "the address of the request is too long"),
            431 => Self::new(Kind::HeaderTooLarge, "the header of the request is too large"),
            _ => Self::new(Kind::BadRequest, "this is no HTTP/1.1 request"),
        }
    }

    /// Returns the status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns whether the connection is closed after it: what follows on it may not be what it seems.
    pub(crate) const fn closes(&self) -> bool {
        matches!(
            self.kind,
            Kind::BadRequest | Kind::Length | Kind::TooLarge | Kind::AddressTooLong | Kind::HeaderTooLarge
        )
    }

    /// Returns the body.
    pub(crate) fn body(&self) -> String {
        json!({ "code": self.kind.code(), "message": self.message }).to_string()
    }
}
