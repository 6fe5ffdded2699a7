//! Secrets, and what they are presented as.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A token or a password: it cannot be printed or serialised, and it is wiped when dropped.
///
/// ```compile_fail
/// # use plugport::model::Secret;
/// println!("{}", Secret::new(String::from("canary")));
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Returns a secret that owns `text`.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, for the one header it goes into.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns `text` with every appearance of the secret masked, for bodies that echo it.
    pub fn mask(&self, text: &str) -> String {
        let secret = self.expose();
        if secret.is_empty() { text.to_owned() } else { text.replace(secret, "****") }
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
    /// Returns the secret part, for masking.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Bearer(secret) | Self::Basic { password: secret, .. } => secret,
        }
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
        assert_eq!(Secret::new("canary".into()).mask("bad token canary!"), "bad token ****!");
    }
}
