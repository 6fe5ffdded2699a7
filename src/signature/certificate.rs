//! A public key with what it says of itself (RFC 9580 section 10.1), and what that is worth at a point in time.
//!
//! *Invariant:* nothing that a key says of itself counts unless the key signed it with SHA-2.
//! *Not for:* what others say of a key; an operator's file is the only ground for trust. Revocations by a third key are
//! not followed.

use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{RevocationCode, Signature, SignatureType, SubpacketData},
    ser::Serialize as _,
    types::{KeyDetails, PublicParams, Tag, VerifyingKey},
};

use super::error::KeyFault;
use crate::model::Timestamp;

/// The shortest RSA parameters: a modulus of about 2,048 bits, its exponent, and two lengths.
const MIN_RSA_LENGTH: usize = 256;

/// One key with its sub-keys and self-signatures.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    key: SignedPublicKey,
    /// What the primary key says of itself, verified once.
    own: Option<Signature>,
}

/// Which key of a certificate made a signature.
#[derive(Clone, Copy, Debug)]
pub(super) enum SigningKey<'a> {
    /// The primary key.
    Primary,
    /// A sub-key.
    Subkey(&'a SignedPublicSubKey),
}

impl Certificate {
    /// Takes a key with everything it says of itself.
    pub(super) fn new(key: SignedPublicKey) -> Self {
        let own = self_signature(&key).cloned();
        Self { key, own }
    }

    /// Returns the id of the primary key.
    pub(super) fn id(&self) -> String {
        self.key.legacy_key_id().to_string()
    }

    /// Returns the ids of the primary key and of its sub-keys.
    pub(super) fn ids(&self) -> Vec<String> {
        let subkeys = self.key.public_subkeys.iter().map(|subkey| subkey.key.legacy_key_id().to_string());
        std::iter::once(self.id()).chain(subkeys).collect()
    }

    /// Takes over what another copy of the same key says of its end; it counts only as far as the key itself signed it.
    pub(super) fn take_revocations_of(&mut self, other: &Self) {
        self.key.details.revocation_signatures.extend(other.revocations().cloned());
    }

    /// Returns whether both have the same primary key.
    pub(super) fn is_of_the_same_key(&self, other: &Self) -> bool {
        self.key.fingerprint() == other.key.fingerprint()
    }

    /// Returns the id of the key that signed.
    pub(super) fn name_of(&self, signer: SigningKey<'_>) -> String {
        match signer {
            SigningKey::Primary => self.id(),
            SigningKey::Subkey(subkey) => subkey.key.legacy_key_id().to_string(),
        }
    }

    /// Returns the ids a manifest may give for a signer: that of the primary key, and its own.
    pub(super) fn names_of(&self, signer: SigningKey<'_>) -> Vec<String> {
        vec![self.id(), self.name_of(signer)]
    }

    /// Returns whether one of its keys has this id or fingerprint; nothing has the empty one.
    pub(super) fn answers_to(&self, id: &str) -> bool {
        let is =
            |key: &dyn KeyDetails| key.legacy_key_id().to_string() == id || format!("{:x}", key.fingerprint()) == id;
        is(&self.key.primary_key) || self.key.public_subkeys.iter().any(|subkey| is(&subkey.key))
    }

    /// Returns which of its keys verifies a signature over a text.
    pub(super) fn signer_of(&self, signature: &Signature, text: &str) -> Option<SigningKey<'_>> {
        if signature.verify(&self.key.primary_key, text.as_bytes()).is_ok() {
            return Some(SigningKey::Primary);
        }
        let verifies = |subkey: &&SignedPublicSubKey| signature.verify(&subkey.key, text.as_bytes()).is_ok();
        self.key.public_subkeys.iter().find(verifies).map(SigningKey::Subkey)
    }

    /// Returns why the certificate can verify nothing at any time.
    pub(super) fn fault(&self) -> Option<KeyFault> {
        if is_weak(&self.key.primary_key) {
            return Some(KeyFault::Weak);
        }
        self.own.is_none().then_some(KeyFault::Unbound)
    }

    /// Returns why one of its keys may not be relied on for a signature of that time.
    pub(super) fn fault_at(&self, by: SigningKey<'_>, signed: Timestamp) -> Option<KeyFault> {
        let Some(own) = &self.own else { return Some(KeyFault::Unbound) };
        let primary = Validity::from_key(&self.key.primary_key, own);
        let fault = primary.fault_at(signed).or_else(|| revoked(self.revocations(), signed));
        match by {
            SigningKey::Primary => fault.or_else(|| not_for_signing(own)),
            SigningKey::Subkey(subkey) => fault.or_else(|| self.subkey_fault_at(subkey, signed)),
        }
    }

    fn subkey_fault_at(&self, subkey: &SignedPublicSubKey, signed: Timestamp) -> Option<KeyFault> {
        if is_weak(&subkey.key) {
            return Some(KeyFault::Weak);
        }
        let Some(binding) = self.binding(subkey) else { return Some(KeyFault::Unbound) };
        let revocations = subkey.signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::SubkeyRevocation)
                && signature.verify_subkey_binding(&self.key.primary_key, &subkey.key).is_ok()
        });
        let life = Validity::from_key(&subkey.key, binding);
        life.fault_at(signed)
            .or_else(|| revoked(revocations, signed))
            .or_else(|| not_for_signing(binding))
            .or_else(|| (!self.is_bound_back(subkey, binding)).then_some(KeyFault::Unbound))
    }

    /// Returns the newest signature that binds a sub-key to the primary key and says what it is for.
    fn binding<'a>(&self, subkey: &'a SignedPublicSubKey) -> Option<&'a Signature> {
        newest(subkey.signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::SubkeyBinding)
                && signature.verify_subkey_binding(&self.key.primary_key, &subkey.key).is_ok()
        }))
    }

    /// Returns whether a sub-key says, too, that it belongs to the primary key: else anybody could adopt it.
    fn is_bound_back(&self, subkey: &SignedPublicSubKey, binding: &Signature) -> bool {
        binding.embedded_signature().is_some_and(|back| {
            has_strong_hash(back) && back.verify_primary_key_binding(&subkey.key, &self.key.primary_key).is_ok()
        })
    }

    fn revocations(&self) -> impl Iterator<Item = &Signature> {
        let own = |signature: &&Signature| signature.verify_key(&self.key.primary_key).is_ok();
        self.key.details.revocation_signatures.iter().filter(own)
    }
}

/// Returns the newest signature of the primary key over itself or one of its users that says what it is for.
fn self_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let direct = key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(&key.primary_key).is_ok()
    });
    let users = key.details.users.iter().flat_map(|user| {
        let own = user
            .signatures
            .iter()
            .filter(|signature| signature.verify_certification(&key.primary_key, Tag::UserId, &user.id).is_ok());
        let own: Vec<_> = own.collect();
        let withdrawn = own.iter().any(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        if withdrawn { Vec::new() } else { own }
    });
    newest(direct.chain(users))
}

/// Returns whether a signature was made with SHA-256, SHA-384 or SHA-512.
pub(super) fn has_strong_hash(signature: &Signature) -> bool {
    matches!(signature.hash_alg(), Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512))
}

/// Returns a time of an `OpenPGP` packet, which counts seconds.
pub(super) fn to_timestamp(time: pgp::types::Timestamp) -> Timestamp {
    Timestamp::from_milliseconds(i64::from(time.as_secs()) * 1000)
}

/// From when to when a key may be used.
struct Validity {
    made: Timestamp,
    expires: Option<Timestamp>,
}

impl Validity {
    fn from_key(key: &impl KeyDetails, says: &Signature) -> Self {
        let made = to_timestamp(key.created_at());
        let lifetime = says.key_expiration_time().map(|lifetime| i64::from(lifetime.as_secs()) * 1000);
        let expires = lifetime
            .filter(|lifetime| *lifetime > 0)
            .map(|lifetime| Timestamp::from_milliseconds(made.as_milliseconds() + lifetime));
        Self { made, expires }
    }

    fn fault_at(&self, signed: Timestamp) -> Option<KeyFault> {
        if signed < self.made {
            return Some(KeyFault::NotYetMade { made: self.made, signed });
        }
        let expired = self.expires.filter(|expires| *expires <= signed)?;
        Some(KeyFault::Expired { expired, signed })
    }
}

/// A key that was replaced or retired was good until then; any other reason makes all its signatures doubtful.
fn revoked<'a>(revocations: impl Iterator<Item = &'a Signature>, signed: Timestamp) -> Option<KeyFault> {
    revocations
        .filter_map(|revocation| {
            let when = to_timestamp(revocation.created().unwrap_or_default());
            let reason = revocation.revocation_reason_code();
            let soft = matches!(reason, Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired));
            (!soft || when <= signed).then_some(when)
        })
        .min()
        .map(KeyFault::Revoked)
}

fn not_for_signing(says: &Signature) -> Option<KeyFault> {
    (!says.key_flags().sign()).then_some(KeyFault::NotForSigning)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures
        .filter(|signature| has_strong_hash(signature) && says_use(signature) && signature.created().is_some())
        .max_by_key(|signature| signature.created())
}

fn says_use(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    })
}

fn is_weak(key: &impl VerifyingKey) -> bool {
    match key.public_params() {
        PublicParams::RSA(parameters) => parameters.write_len() < MIN_RSA_LENGTH,
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            false
        }
        _ => true,
    }
}
