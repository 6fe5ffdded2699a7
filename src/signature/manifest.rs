//! What a signed manifest says.
//!
//! *Invariant:* a [`SignedManifest`] comes from a text that a trusted key signed, and from nothing else: no text is read as
//! JSON before its signature is verified.
//! *Not for:* whether the plugin's files are those it lists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{block::SignedBlock, error::SignatureError, keyring::Keyring};
use crate::{
    json::{self, KeyComparison, Limits},
    model::{Sha256Digest, Timestamp},
};

/// How large and how deep a manifest may be.
const LIMITS: Limits = Limits { bytes: 4 << 20, depth: 64 };

/// On whose behalf a plugin is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureType {
    /// `grafana`: by Grafana Labs, for its own plugins.
    Grafana,
    /// `commercial`: for a paying publisher.
    Commercial,
    /// `community`: for a publisher in the public catalog.
    Community,
    /// `private`: for servers at the root URLs it names.
    Private,
    /// `private-glob`: for servers whose root URL fits a pattern.
    PrivateGlob,
}

impl SignatureType {
    /// Returns the type as manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grafana => "grafana",
            Self::Commercial => "commercial",
            Self::Community => "community",
            Self::Private => "private",
            Self::PrivateGlob => "private-glob",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Grafana, Self::Commercial, Self::Community, Self::Private, Self::PrivateGlob]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}

/// A manifest whose signature is good (protocol page 6.1); [`read_manifest`] is the only way to one.
#[derive(Clone, Debug)]
pub struct SignedManifest {
    /// The id of the plugin it was made for, as it is written.
    pub plugin: String,
    /// The version it was made for, as it is written.
    pub version: String,
    /// On whose behalf it was signed.
    pub signature_type: SignatureType,
    /// The slug of the organisation that had it signed.
    pub signed_by_org: String,
    /// The name of the organisation that had it signed.
    pub signed_by_org_name: String,
    /// The id of the key that signed it.
    pub key_id: String,
    /// When it was made.
    pub time: Timestamp,
    /// The root URLs of the servers it is for; empty for all.
    pub root_urls: Vec<String>,
    /// The files and their digests. A path is as it is written, so it may point anywhere.
    pub files: BTreeMap<String, Sha256Digest>,
    /// Files whose digest is not 64 lower-case hexadecimal digits, which is equal to no digest.
    pub(super) without_digest: BTreeSet<String>,
}

/// Returns what a `MANIFEST.txt` says, once one of the keys is found to have signed it.
pub fn read_manifest(text: &[u8], keyring: &Keyring) -> Result<SignedManifest, SignatureError> {
    let block = SignedBlock::read(text)?;
    let text = block.text();
    let names = keyring.verify(block.signature(), &text)?;
    let manifest = parse(&text)?;
    if names.contains(&manifest.key_id) {
        return Ok(manifest);
    }
    let signer = names.into_iter().next_back().unwrap_or_default();
    Err(SignatureError::OtherKey { named: manifest.key_id, signer })
}

/// Reads the fields in the order in which Grafana asks for them (protocol page 6.3).
fn parse(signed: &str) -> Result<SignedManifest, SignatureError> {
    let value = json::parse(signed.as_bytes(), LIMITS, KeyComparison::Folded).map_err(SignatureError::Json)?;
    let Value::Object(object) = value else { return Err(SignatureError::NotAnObject) };
    let fields = ManifestFields(&object);
    let generation = fields.text("manifestVersion")?;
    if !generation.starts_with("2.") {
        return Err(SignatureError::ManifestVersion(generation.to_owned()));
    }
    let signature_type = fields.required("signatureType")?;
    let (files, without_digest) = fields.files()?;
    Ok(SignedManifest {
        plugin: fields.required("plugin")?.to_owned(),
        version: fields.required("version")?.to_owned(),
        signature_type: SignatureType::parse(signature_type)
            .ok_or_else(|| SignatureError::SignatureType(signature_type.to_owned()))?,
        signed_by_org: fields.required("signedByOrg")?.to_owned(),
        signed_by_org_name: fields.required("signedByOrgName")?.to_owned(),
        key_id: fields.required("keyId")?.to_owned(),
        time: fields.time()?,
        root_urls: fields.root_urls()?,
        files,
        without_digest,
    })
}

/// The fields of a manifest, found as Go's decoder finds them: the case of a key does not count, and null is nothing.
struct ManifestFields<'a>(&'a Map<String, Value>);

impl<'a> ManifestFields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn text(&self, name: &'static str) -> Result<&'a str, SignatureError> {
        self.get(name).map_or(Ok(""), |value| value.as_str().ok_or(SignatureError::FieldType(name)))
    }

    fn required(&self, name: &'static str) -> Result<&'a str, SignatureError> {
        let text = self.text(name)?;
        if text.is_empty() { Err(SignatureError::Missing(name)) } else { Ok(text) }
    }

    fn time(&self) -> Result<Timestamp, SignatureError> {
        let value = self.get("time").ok_or(SignatureError::Missing("time"))?;
        match value.as_i64().ok_or(SignatureError::FieldType("time"))? {
            0 => Err(SignatureError::Missing("time")),
            milliseconds => Ok(Timestamp::from_milliseconds(milliseconds)),
        }
    }

    fn root_urls(&self) -> Result<Vec<String>, SignatureError> {
        let wrong = SignatureError::FieldType("rootUrls");
        let Some(value) = self.get("rootUrls") else { return Ok(Vec::new()) };
        let Some(list) = value.as_array() else { return Err(wrong) };
        list.iter().map(|url| url.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or(wrong)
    }

    fn files(&self) -> Result<(BTreeMap<String, Sha256Digest>, BTreeSet<String>), SignatureError> {
        let value = self.get("files").ok_or(SignatureError::Missing("files"))?;
        let listed = value.as_object().ok_or(SignatureError::FieldType("files"))?;
        let (mut files, mut without_digest) = (BTreeMap::new(), BTreeSet::new());
        for (path, digest) in listed {
            let text = digest.as_str().or(digest.is_null().then_some("")).ok_or(SignatureError::FieldType("files"))?;
            match exact_digest(text) {
                Some(digest) => drop(files.insert(path.clone(), digest)),
                None => drop(without_digest.insert(path.clone())),
            }
        }
        if listed.is_empty() { Err(SignatureError::Missing("files")) } else { Ok((files, without_digest)) }
    }
}

/// Returns a digest that is written as Grafana writes it: Grafana compares the texts, so other spellings are unequal.
fn exact_digest(text: &str) -> Option<Sha256Digest> {
    text.parse().ok().filter(|digest: &Sha256Digest| digest.to_string() == text)
}
