//! The keys that are trusted to sign plugins.
//!
//! *Invariant:* every key in a ring was put there by the program or its operator, and can sign in principle; whether it
//! could at the time of a signature is asked each time.
//! *Not for:* fetching keys, webs of trust, private keys.

use std::sync::LazyLock;

use pgp::{
    composed::{Deserializable as _, SignedPublicKey},
    packet::{Signature, SignatureType},
};

use super::{
    certificate::Certificate,
    error::{KeyringError, SignatureError},
};
use crate::model::Timestamp;

/// The key of Grafana Labs, id `7e4d0c6a708866e7`, ECDSA on the curve P-521 (protocol page 6.2).
const GRAFANA: &[u8] = include_bytes!("keys/grafana.asc");

/// The longest file of keys, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// The ring with the built-in key. It is read when a signature is verified for the first time: checking its own signatures
/// takes longer than all else that most commands do.
static BUILT_IN: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    let mut certificates = Vec::new();
    read_blocks(GRAFANA, &mut certificates).expect("the built-in key can be read");
    certificates
});

/// A set of trusted keys.
#[derive(Clone, Debug)]
pub struct Keyring(Keys);

#[derive(Clone, Debug)]
enum Keys {
    BuiltIn,
    Read(Vec<Certificate>),
}

impl Default for Keyring {
    fn default() -> Self {
        Self(Keys::Read(Vec::new()))
    }
}

impl Keyring {
    /// Returns the ring with the key of Grafana Labs alone, which signs every plugin of the public catalog.
    pub fn grafana() -> Self {
        Self(Keys::BuiltIn)
    }

    fn certificates(&self) -> &[Certificate] {
        match &self.0 {
            Keys::BuiltIn => &BUILT_IN,
            Keys::Read(certificates) => certificates,
        }
    }

    /// Returns the key of Grafana Labs in text form.
    pub(crate) fn grafana_text() -> &'static str {
        std::str::from_utf8(GRAFANA).unwrap_or_default()
    }

    /// Returns a ring with the public keys of a file in text form, one block or several.
    pub fn from_armored(file: &[u8]) -> Result<Self, KeyringError> {
        let mut ring = Self::default();
        ring.add(file)?;
        Ok(ring)
    }

    /// Adds the public keys of a file in text form; on an error nothing is added. Of two copies of a key the later
    /// counts, so that a newer copy brings its revocation or its new term.
    pub fn add(&mut self, file: &[u8]) -> Result<(), KeyringError> {
        let mut added = Vec::new();
        read_blocks(file, &mut added)?;
        let mut certificates = self.certificates().to_vec();
        for certificate in added {
            certificates.retain(|known| !known.is_of_the_same_key(&certificate));
            certificates.push(certificate);
        }
        self.0 = Keys::Read(certificates);
        Ok(())
    }

    /// Adds a key that others published under an id (`/plugins/ci/keys`, protocol page 2.3.7). What is in the ring stays
    /// as it is: of a key that is there already only its revocation is taken over, and a key that bears the id of another
    /// one is refused, as is one that is not the key of its id.
    pub fn add_published(&mut self, id: &str, key: &[u8]) -> Result<(), KeyringError> {
        let published = Self::from_armored(key)?;
        let mut certificates = self.certificates().to_vec();
        for certificate in published.certificates() {
            if !certificate.answers_to(&id.to_ascii_lowercase()) {
                return Err(KeyringError::OtherKey { claimed: id.to_owned(), found: certificate.id() });
            }
            let others = certificates.iter().filter(|known| !known.is_of_the_same_key(certificate));
            if let Some(taken) = others.flat_map(Certificate::ids).find(|taken| certificate.ids().contains(taken)) {
                return Err(KeyringError::TakenId(taken));
            }
        }
        for certificate in published.certificates() {
            match certificates.iter_mut().find(|known| known.is_of_the_same_key(certificate)) {
                Some(known) => known.take_revocations_of(certificate),
                None => certificates.push(certificate.clone()),
            }
        }
        self.0 = Keys::Read(certificates);
        Ok(())
    }

    /// Returns the ids of the keys, 16 lower-case hexadecimal digits each, in the order they were added.
    pub fn ids(&self) -> Vec<String> {
        self.certificates().iter().map(Certificate::id).collect()
    }

    /// Returns the ids under which the key that made this signature over this text may be named.
    ///
    /// The signature's own word on who made it only spares work: what counts is which key verifies it.
    pub(super) fn verify(&self, signature: &Signature, text: &str) -> Result<Vec<String>, SignatureError> {
        let signed = check_form(signature)?;
        for certificate in self.certificates() {
            if let Some(signer) = certificate.signer_of(signature, text) {
                return match certificate.fault_at(signer, signed) {
                    None => Ok(certificate.names_of(signer)),
                    Some(fault) => Err(SignatureError::Key { key: certificate.name_of(signer), fault }),
                };
            }
        }
        let issuer = issuer_of(signature);
        let trusted = self.certificates().iter().any(|certificate| certificate.answers_to(&issuer));
        Err(if trusted { SignatureError::BadSignature(issuer) } else { SignatureError::UntrustedKey(issuer) })
    }
}

/// Returns when a signature was made, once its form is one that may be relied on.
fn check_form(signature: &Signature) -> Result<Timestamp, SignatureError> {
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return Err(SignatureError::NotOverText);
    }
    if !super::certificate::has_strong_hash(signature) {
        let hash = signature.hash_alg().map_or_else(|| "unknown".to_owned(), |hash| hash.to_string());
        return Err(SignatureError::WeakHash(hash));
    }
    if signature.signature_expiration_time().is_some_and(|lifetime| lifetime.as_secs() > 0) {
        return Err(SignatureError::Expires);
    }
    signature.created().map(super::certificate::to_timestamp).ok_or(SignatureError::NoTime)
}

/// Returns the id of the key a signature says it is by: a hint, for messages.
fn issuer_of(signature: &Signature) -> String {
    let id = signature.issuer_key_id().first().map(ToString::to_string);
    id.or_else(|| signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:x}")))
        .unwrap_or_default()
}

/// Reads the public keys of a file in text form, one block or several.
fn read_blocks(file: &[u8], added: &mut Vec<Certificate>) -> Result<(), KeyringError> {
    if file.len() > MAX_LENGTH {
        return Err(KeyringError::TooLong(MAX_LENGTH));
    }
    let text = String::from_utf8_lossy(file);
    if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err(KeyringError::PrivateKey);
    }
    for (start, _) in text.match_indices("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        read_block(&text[start..], added)?;
    }
    if added.is_empty() { Err(KeyringError::NoKey) } else { Ok(()) }
}

fn read_block(block: &str, added: &mut Vec<Certificate>) -> Result<(), KeyringError> {
    let unreadable = |error: pgp::errors::Error| KeyringError::Block(error.into());
    let (keys, _) = SignedPublicKey::from_string_many(block).map_err(unreadable)?;
    for key in keys {
        let certificate = Certificate::new(key.map_err(unreadable)?);
        match certificate.fault() {
            None => added.push(certificate),
            Some(fault) => return Err(KeyringError::Key { key: certificate.id(), fault }),
        }
    }
    Ok(())
}
