//! Why a signed text is not trusted.
//!
//! *Invariant:* every variant that knows a key names it, and no text of a manifest reaches a message unescaped.
//! *Not for:* files that differ from a good manifest; those are reasons of a verdict.

use crate::{
    diagnostic::{Kind, diagnose},
    json::JsonError,
    model::Timestamp,
};

/// What is the matter with an `OpenPGP` block, as far as it helps; the library's own words are for its authors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BlockFault {
    /// The text between its first and its last line is not Base64 with the right checksum.
    #[error("the text between its first and its last line is damaged")]
    Armor,
    /// It ends too early.
    #[error("it ends too early")]
    Short,
    /// It uses a version or an algorithm that is not supported.
    #[error("it uses a version or an algorithm that is not supported")]
    Unsupported,
    /// It decodes to something that is no signature or key.
    #[error("its content is not what its first line announces")]
    Content,
}

impl From<pgp::errors::Error> for BlockFault {
    fn from(error: pgp::errors::Error) -> Self {
        use pgp::errors::Error;

        match error {
            Error::InvalidArmorWrappers | Error::InvalidChecksum | Error::Base64Decode { .. } | Error::IO { .. } => {
                Self::Armor
            }
            Error::PacketIncomplete { .. } => Self::Short,
            Error::Unimplemented { .. } | Error::Unsupported { .. } => Self::Unsupported,
            _ => Self::Content,
        }
    }
}

/// A `MANIFEST.txt` is no signed manifest of a trusted key.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is longer than a manifest may be.
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// It has no clear-signed block.
    #[error("it is not a signed text")]
    NotSigned,
    /// It has more than one block, so that two readers could read two texts.
    #[error("it has more than one signed block")]
    SeveralBlocks,
    /// The block cannot be read.
    #[error("its signed block cannot be read")]
    Block(#[source] BlockFault),
    /// The block has not exactly one signature.
    #[error("it has {0} signatures where one is expected")]
    Signatures(usize),
    /// The signature is of a version or a type that signs no text.
    #[error("its signature is of a kind that does not sign text")]
    NotOverText,
    /// The signature was made with another hash than SHA-256, SHA-384 or SHA-512.
    #[error("its signature uses the hash {0}, which is not accepted")]
    WeakHash(String),
    /// The signature does not say when it was made.
    #[error("its signature has no time")]
    NoTime,
    /// The signature ends by itself, and what was installed with it would end with it.
    #[error("its signature expires, which is not allowed for a plugin")]
    Expires,
    /// The signature says that it is by a key that is not trusted.
    #[error("it is signed with the key `{0}`, which is not trusted")]
    UntrustedKey(String),
    /// The signature is not by the trusted key that it names, or the text was changed.
    #[error("its signature does not match its text and the key `{0}`")]
    BadSignature(String),
    /// The key signed, and was not allowed to.
    #[error("it is signed with the key `{key}`, which is not usable")]
    Key {
        /// The id of the key.
        key: String,
        /// What is the matter with it.
        #[source]
        fault: KeyFault,
    },
    /// The manifest says that it is by another key than the one that signed it.
    #[error("it names the key `{}` but is signed with `{signer}`", named.escape_debug())]
    OtherKey {
        /// The `keyId` of the manifest.
        named: String,
        /// The id of the key that signed.
        signer: String,
    },
    /// The signed text is no JSON that has one meaning.
    #[error("its signed text cannot be read")]
    Json(#[source] JsonError),
    /// The signed text is a list, a text or a number.
    #[error("its signed text is not a JSON object")]
    NotAnObject,
    /// The manifest is of the first generation, which Grafana no longer accepts.
    #[error("its `manifestVersion` is {}, and only 2.x is accepted", describe_version(.0))]
    ManifestVersion(String),
    /// A field is missing, empty or zero.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A field is not what it must be.
    #[error("its `{0}` has the wrong type")]
    FieldType(&'static str),
    /// The type of signature is unknown.
    #[error("its `signatureType` is `{}`, which is unknown", .0.escape_debug())]
    SignatureType(String),
}

fn describe_version(version: &str) -> String {
    if version.is_empty() { "missing".to_owned() } else { format!("`{}`", version.escape_debug()) }
}

impl SignatureError {
    /// Returns the id of the key the error is about, where one is known.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UntrustedKey(key) | Self::BadSignature(key) if !key.is_empty() => Some(key),
            Self::Key { key, .. } | Self::OtherKey { signer: key, .. } => Some(key),
            _ => None,
        }
    }
}

diagnose!(SignatureError {
    UntrustedKey => Kind::Integrity, "if the key is to be trusted, give its file with `--trusted-key`";
    Key { fault: KeyFault::Expired { .. } | KeyFault::Revoked(_) } => Kind::Integrity,
        "its publisher has to sign it again with a valid key";
    BadSignature => Kind::Integrity, "fetch the package again: the text was changed after signing";
    _ => Kind::Integrity;
});

/// What is the matter with a trusted key at the time of a signature.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// It says of itself nowhere, with a good signature, what it is for.
    #[error("no signature of its own states its use")]
    Unbound,
    /// It may not sign data.
    #[error("it is not for signing data")]
    NotForSigning,
    /// Its algorithm or its length is too weak.
    #[error("its algorithm is too weak")]
    Weak,
    /// The signature is older than the key.
    #[error("it was made on {}, after the signature of {}", made.date(), signed.date())]
    NotYetMade {
        /// When the key was made.
        made: Timestamp,
        /// When the signature was made.
        signed: Timestamp,
    },
    /// The key had expired.
    #[error("it expired on {}, before the signature of {}", expired.date(), signed.date())]
    Expired {
        /// When the key expired.
        expired: Timestamp,
        /// When the signature was made.
        signed: Timestamp,
    },
    /// The key was revoked before the signature, or in a way that makes all its signatures doubtful.
    #[error("it was revoked on {}", .0.date())]
    Revoked(Timestamp),
}

/// A file of trusted keys was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It is longer than such a file may be.
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// It has no public key in text form.
    #[error("it has no block `BEGIN PGP PUBLIC KEY BLOCK`")]
    NoKey,
    /// It has a private key, which has no business here.
    #[error("it has a private key")]
    PrivateKey,
    /// A block cannot be read.
    #[error("a key in it cannot be read")]
    Block(#[source] BlockFault),
    /// It is not the key that it is published as.
    #[error("it is published as the key `{}` but is `{found}`", claimed.escape_debug())]
    OtherKey {
        /// The id it is published under.
        claimed: String,
        /// Its own id.
        found: String,
    },
    /// It bears the id of another key, which stays.
    #[error("it has the id `{0}` of another key, which is kept")]
    TakenId(String),
    /// A key can verify nothing.
    #[error("its key `{key}` is not usable")]
    Key {
        /// The id of the key.
        key: String,
        /// What is the matter with it.
        #[source]
        fault: KeyFault,
    },
}

diagnose!(KeyringError {
    NoKey => Kind::Usage, "write the file with `gpg --armor --export KEY`";
    PrivateKey => Kind::Usage, "keep it to yourself, and export the public key alone";
    _ => Kind::Usage;
});
