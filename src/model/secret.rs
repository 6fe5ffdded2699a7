//! Secrets, and what they are presented as.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret, SecretString};

/// A token or a password: it cannot be printed or serialised, and it is wiped when dropped.
///
/// ```compile_fail,E0277
/// # use plugport::exposed::model::Secret;
/// println!("{}", Secret::new(String::from("canary")));
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Returns a secret that owns `text`.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, for the one header that carries it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(****)")
    }
}

/// Who we are to a server.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A service account token or an API key, sent as `Authorization: Bearer`.
    Bearer(Secret),
    /// A user and a password, for self-hosted Grafana.
    Basic {
        /// The login name.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Credential {
    /// Returns the value of the `Authorization` header (RFC 6750, RFC 7617).
    pub fn authorization(&self) -> Secret {
        Secret::new(match self {
            Self::Bearer(token) => format!("Bearer {}", token.expose()),
            Self::Basic { user, password } => {
                format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose())))
            }
        })
    }

    /// Returns `text` with the secret masked wherever it appears: plain, in Base64 or percent-encoded.
    pub fn mask(&self, text: &str) -> String {
        let secret = match self {
            Self::Bearer(secret) | Self::Basic { password: secret, .. } => secret.expose(),
        };
        let authorization = self.authorization();
        let sent = authorization.expose().rsplit(' ').next().unwrap_or_default();
        let encoded = BASE64.encode(secret);
        let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut masked = text.to_owned();
        for form in [secret, sent, &encoded, &escaped] {
            if !form.is_empty() {
                masked = masked.replace(form, "****");
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_text() {
        let credential = Credential::Basic { user: "admin".into(), password: Secret::new("canary".into()) };
        assert!(!format!("{credential:?}").contains("canary"));
    }

    #[test]
    fn an_echoed_secret_is_masked() {
        let bearer = Credential::Bearer(Secret::new("can/ary".into()));
        assert_eq!(bearer.mask("bad can/ary, can%2Fary, Y2FuL2FyeQ=="), "bad ****, ****, ****");
        let basic = Credential::Basic { user: "admin".into(), password: Secret::new("pw1234".into()) };
        assert_eq!(basic.mask("Basic YWRtaW46cHcxMjM0"), "Basic ****");
    }
}
