//! Who signed a bundle: minisign signatures (Ed25519), which people can check with the program of that name.
//!
//! *Invariant:* a signature counts only if it verifies with a key that is trusted; one that names a trusted key and does not
//! verify is an error, whatever else is allowed.

use std::{borrow::Cow, io::Cursor, str::FromStr};

use minisign::{KeyPair, PError, PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Kind, diagnose},
    model::Secret,
};

/// A public key of minisign, like `RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleKey(PublicKey);

/// A text is no public key.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no public key of minisign", .0.escape_debug())]
pub struct ParseBundleKeyError(String);

diagnose!(ParseBundleKeyError => Kind::Usage,
    "a key is 56 letters and digits that begin with `RW`, or a file with such a line, like `FILE.pub` of `plugport bundle keygen`");

impl FromStr for BundleKey {
    type Err = ParseBundleKeyError;

    /// Reads a key, or the text of a file with a key on its last line.
    fn from_str(text: &str) -> Result<Self, ParseBundleKeyError> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let refused = || ParseBundleKeyError(line.chars().take(80).collect());
        PublicKey::from_base64(line).map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for BundleKey {
    type Error = ParseBundleKeyError;

    fn try_from(text: String) -> Result<Self, ParseBundleKeyError> {
        text.parse()
    }
}

impl From<BundleKey> for String {
    fn from(key: BundleKey) -> Self {
        key.0.to_base64()
    }
}

impl JsonSchema for BundleKey {
    fn schema_name() -> Cow<'static, str> {
        "BundleKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A public key of minisign, `RW...`.",
            "pattern": "^RW[A-Za-z0-9+/]{54}$"
        })
    }
}

impl BundleKey {
    /// Returns the id that minisign prints: 16 hexadecimal digits.
    pub(crate) fn id(&self) -> String {
        key_id(self.0.keynum())
    }
}

fn key_id(number: &[u8]) -> String {
    let reversed: Vec<u8> = number.iter().rev().copied().collect();
    hex::encode_upper(reversed)
}

/// What the signatures of a bundle say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Signed {
    /// Nobody signed it.
    Unsigned,
    /// By a trusted key of this id.
    Trusted(String),
    /// By keys of these ids, none of which is trusted.
    Unknown(Vec<String>),
}

/// A signature is refused.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is none.
    #[error("a signature of the bundle is invalid: {0}")]
    Invalid(String),
    /// It is not of this catalog document.
    #[error("the signature by the trusted key {id} does not verify: {reason}")]
    Wrong {
        /// The id of the key.
        id: String,
        /// Why.
        reason: String,
    },
}

diagnose!(SignatureError => Kind::Integrity, "the bundle was changed after it was signed: take another copy from where it was made");

impl Signed {
    /// Verifies signatures of a document with the trusted keys.
    pub(crate) fn verify(document: &[u8], signatures: &[String], keys: &[BundleKey]) -> Result<Self, SignatureError> {
        let (mut unknown, mut trusted) = (Vec::new(), None);
        for text in signatures {
            let signature =
                SignatureBox::from_string(text).map_err(|error| SignatureError::Invalid(error.to_string()))?;
            let id = key_id(signature.keynum());
            let Some(key) = keys.iter().find(|key| key.0.keynum() == signature.keynum()) else {
                unknown.push(id);
                continue;
            };
            let verified = minisign::verify(&key.0, &signature, Cursor::new(document), true, false, false);
            verified.map_err(|error| SignatureError::Wrong { id: id.clone(), reason: error.to_string() })?;
            trusted.get_or_insert(id);
        }
        Ok(match trusted {
            Some(id) => Self::Trusted(id),
            None if unknown.is_empty() => Self::Unsigned,
            None => Self::Unknown(unknown),
        })
    }
}

/// A secret key, open for signing.
pub(crate) struct SigningKey(SecretKey);

/// A secret key cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It is encrypted, and there is no password.
    #[error("the secret key is protected by a password")]
    NoPassword,
    /// It is no secret key, or the password is another.
    #[error("the secret key cannot be used: {0}")]
    Unusable(String),
}

diagnose!(KeyError {
    NoPassword => Kind::Usage, "name where it is with `--password-env`, `--password-file` or `--password-command`";
    Unusable => Kind::Usage, "`plugport bundle keygen` and `minisign -G` make secret keys";
});

fn unusable(error: &PError) -> KeyError {
    KeyError::Unusable(error.to_string())
}

impl SigningKey {
    /// Opens the text of a secret key.
    pub(crate) fn open(text: &str, password: Option<&Secret>) -> Result<Self, KeyError> {
        let read = || SecretKeyBox::from_string(text).map_err(|error| unusable(&error));
        match (read()?.into_unencrypted_secret_key(), password) {
            (Ok(key), _) => Ok(Self(key)),
            (Err(error), None) if error.to_string().contains("encrypted") => Err(KeyError::NoPassword),
            (Err(error), None) => Err(unusable(&error)),
            (Err(_), Some(password)) => {
                let opened = read()?.into_secret_key(Some(password.expose().to_owned()));
                opened.map(Self).map_err(|error| unusable(&error))
            }
        }
    }

    /// Returns the signature of a document as text, with a comment that is signed too.
    pub(crate) fn sign(&self, document: &[u8], comment: &str) -> Result<String, KeyError> {
        let signed = minisign::sign(None, &self.0, document, Some(comment), Some("signature of a plugport bundle"));
        signed.map(SignatureBox::into_string).map_err(|error| unusable(&error))
    }
}

/// Makes a pair of keys; returns the texts of the secret and the public one.
pub(crate) fn generate(password: Option<&Secret>) -> Result<(Secret, String), KeyError> {
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.expose().to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let texts = pair.and_then(|pair| {
        let secret = pair.sk.to_box(Some("secret key for plugport bundles"))?.to_string();
        Ok((Secret::new(secret), pair.pk.to_box()?.to_string()))
    });
    texts.map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SigningKey, BundleKey) {
        let (secret, public) = generate(None).expect("keys");
        (SigningKey::open(secret.expose(), None).expect("a key"), public.parse().expect("a key"))
    }

    #[test]
    fn a_signature_verifies_with_its_own_key_and_document_alone() {
        let ((secret, public), (_, other)) = (pair(), pair());
        let signature = secret.sign(b"document", "a comment").expect("signed");
        let verify = |document: &[u8], keys: &[&BundleKey]| {
            let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
            Signed::verify(document, std::slice::from_ref(&signature), &keys)
        };
        assert_eq!(verify(b"document", &[&other, &public]).expect("sound"), Signed::Trusted(public.id()));
        assert_eq!(verify(b"document", &[&other]).expect("unknown"), Signed::Unknown(vec![public.id()]));
        assert!(matches!(verify(b"Document", &[&public]), Err(SignatureError::Wrong { .. })));
        let changed = signature.replace("a comment", "b comment");
        assert!(matches!(Signed::verify(b"document", &[changed], &[public]), Err(SignatureError::Wrong { .. })));
        assert_eq!(Signed::verify(b"document", &[], &[]).expect("none"), Signed::Unsigned);
        assert!(matches!(Signed::verify(b"", &["x".to_owned()], &[]), Err(SignatureError::Invalid(_))));
    }

    #[test]
    fn keys_are_read_from_lines_and_files_and_nothing_else() {
        let (_, public) = pair();
        let line = String::from(public.clone());
        assert!(line.starts_with("RW"));
        for text in [line.clone(), format!("untrusted comment: x\n{line}\n"), format!("{line}\r\n")] {
            assert_eq!(text.parse::<BundleKey>().expect("a key"), public);
        }
        for text in ["", "RW", &line[1..], "RWQ!6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"] {
            assert!(text.parse::<BundleKey>().is_err(), "{text}");
        }
        assert!(matches!(SigningKey::open("x", None), Err(KeyError::Unusable(_))));
    }
}
