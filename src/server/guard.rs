//! Who may read and who may write.
//!
//! *Invariant:* a token is compared in constant time, and its name is logged in its place. A token that writes does not
//! read, and one that reads does not write.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{
    refusal::{HttpRefusal, Kind},
    route::Route,
};
use crate::model::Secret;

/// What needs a token that reads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Guarded {
    /// Nothing.
    #[default]
    Nothing,
    /// Downloads, which newer servers and command lines of Grafana can be given a token for.
    Downloads,
    /// Everything: for plugport, CI and people. Pages of Grafana do not work with it.
    Everything,
}

/// A token and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The name in logs.
    pub name: String,
    digest: [u8; 32],
}

impl Token {
    /// Returns a token; the secret itself is not kept.
    pub(crate) fn new(name: String, secret: &Secret) -> Self {
        Self { name, digest: Sha256::digest(secret.expose().as_bytes()).into() }
    }
}

/// The tokens, and what they are for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    /// What is guarded.
    pub guarded: Guarded,
    /// Tokens that read.
    pub read: Vec<Token>,
    /// Tokens that publish; without one nothing is published.
    pub write: Vec<Token>,
}

impl Guards {
    /// Returns the name of the token that opens a route, or nothing if it is open.
    pub(crate) fn admit(&self, route: &Route, authorization: Option<&str>) -> Result<Option<&str>, HttpRefusal> {
        let tokens = match route {
            Route::Publish { .. } if self.write.is_empty() => {
                let message = "publishing is off: the mirror was started without `--write-token-file`";
                return Err(HttpRefusal::new(Kind::Forbidden, message));
            }
            Route::Publish { .. } => &self.write,
            // Files of the program itself, which the page that asks for the token needs.
            Route::Health | Route::Ready | Route::Asset(_) => return Ok(None),
            Route::Download(..) if self.guarded != Guarded::Nothing => &self.read,
            _ if self.guarded == Guarded::Everything => &self.read,
            // Grafana may send a token that is for somebody else; nobody looks at it (protocol page 11.12).
            _ => return Ok(None),
        };
        let refused = |message: &str| Err(HttpRefusal::new(Kind::Credentials, message));
        let is_reading = !matches!(route, Route::Publish { .. });
        let basic = || authorization.filter(|_| is_reading).and_then(password);
        let Some(given) = authorization.and_then(bearer).map(str::to_owned).or_else(basic) else {
            return refused("this needs a token: `Authorization: Bearer TOKEN`, or the token as the password");
        };
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // All of them are compared, so that the time says nothing about which one.
        let found =
            tokens.iter().fold(None, |found, token| if is_same(&token.digest, &given) { Some(token) } else { found });
        match found {
            Some(token) => Ok(Some(&token.name)),
            None => refused("the token is not one of this mirror"),
        }
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the password of HTTP Basic, by which browsers send a token; the name does not matter.
fn password(authorization: &str) -> Option<String> {
    let (scheme, encoded) = authorization.trim().split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

fn is_same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards(guarded: Guarded) -> Guards {
        let token = |name: &str| Token::new(name.to_owned(), &Secret::new(format!("secret of {name}")));
        Guards { guarded, read: vec![token("ci"), token("old")], write: vec![token("release")] }
    }

    fn publish() -> Route {
        let text = |text: &str| text.to_owned();
        Route::Publish { plugin: text("a"), version: text("1.0.0"), platform: text("any") }
    }

    fn download() -> Route {
        Route::Download("a".to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn each_token_opens_its_own_routes() {
        let admitted = |guarded, route: Route, token: Option<&str>| {
            let header = token.map(|token| format!("Bearer secret of {token}"));
            guards(guarded).admit(&route, header.as_deref()).map(|name| name.map(str::to_owned)).ok()
        };
        assert_eq!(admitted(Guarded::Nothing, download(), Some("stranger")), Some(None));
        assert_eq!(admitted(Guarded::Downloads, Route::List, None), Some(None));
        assert_eq!(admitted(Guarded::Downloads, download(), None), None);
        assert_eq!(admitted(Guarded::Downloads, download(), Some("old")), Some(Some("old".to_owned())));
        assert_eq!(admitted(Guarded::Downloads, download(), Some("release")), None, "writing is not reading");
        assert_eq!(admitted(Guarded::Nothing, publish(), Some("ci")), None, "reading is not writing");
        assert_eq!(admitted(Guarded::Nothing, publish(), Some("release")), Some(Some("release".to_owned())));
        assert!(Guards::default().admit(&publish(), Some("Bearer x")).is_err(), "off");
        assert_eq!(admitted(Guarded::Everything, Route::List, None), None);
        assert_eq!(admitted(Guarded::Everything, Route::Health, None), Some(None));
        assert!(guards(Guarded::Downloads).admit(&download(), Some("Basic secret of ci")).is_err());
        let basic = |token: &str| format!("Basic {}", STANDARD.encode(format!("anybody:secret of {token}")));
        assert!(guards(Guarded::Everything).admit(&Route::List, Some(&basic("ci"))).is_ok(), "a browser");
        assert!(guards(Guarded::Everything).admit(&Route::List, Some(&basic("release"))).is_err());
        assert!(
            guards(Guarded::Nothing).admit(&publish(), Some(&basic("release"))).is_err(),
            "browsers do not publish"
        );
    }
}
