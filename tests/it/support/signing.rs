//! A publisher's key, and the signed manifests it makes (protocol section 6).
//!
//! *Invariant:* the same signer gives the same manifest, byte for byte, today and tomorrow.
//! *Not for:* keys that protect anything: a private key that comes from a small number is no secret.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable as _, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::packet::{KeyFlags, RevocationCode, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, KeyDetails as _, Password, Timestamp};
use rand::SeedableRng as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// When every key was made: 2020-01-01, in seconds since 1970.
pub const KEY_MADE: u32 = 1_577_836_800;

/// When a manifest is signed unless said otherwise: 2025-01-01, in seconds since 1970.
pub const SIGNED: u32 = 1_735_689_600;

/// A publisher's key.
#[derive(Clone, Debug)]
#[must_use = "a key that signs nothing is of no use"]
pub struct Signer {
    key: SignedSecretKey,
}

impl Signer {
    /// Returns the Ed25519 key that a number stands for.
    ///
    /// # Panics
    /// When the library cannot make it.
    pub fn new(seed: u64) -> Self {
        Self::of_type(seed, KeyType::Ed25519Legacy)
    }

    /// Returns the key that signs made-up plugins unless said otherwise.
    ///
    /// # Panics
    /// When the library cannot make it.
    pub fn publisher() -> &'static Self {
        static PUBLISHER: OnceLock<Signer> = OnceLock::new();
        PUBLISHER.get_or_init(|| Self::new(1_000))
    }

    /// Returns the key of a type that a number stands for.
    ///
    /// # Panics
    /// When the library cannot make it.
    pub fn of_type(seed: u64, key_type: KeyType) -> Self {
        let parameters = SecretKeyParamsBuilder::default()
            .key_type(key_type)
            .can_certify(true)
            .can_sign(true)
            .created_at(Timestamp::from_secs(KEY_MADE))
            .primary_user_id("Publisher <publisher@plugins.example>".to_owned())
            .build()
            .expect("the parameters fit each other");
        let key = parameters.generate(rand::rngs::StdRng::seed_from_u64(seed)).expect("a key can be made");
        Self { key }
    }

    /// Says of the key that it expires at a time, in seconds since 1970.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn expiring_at(self, time: u32) -> Self {
        self.saying(true, Some(time - KEY_MADE))
    }

    /// Says of the key that it may not sign data.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn not_for_signing(self) -> Self {
        self.saying(false, None)
    }

    /// Revokes the key at a time, in seconds since 1970, because it was replaced or because it was compromised.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn revoked_at(mut self, time: u32, compromised: bool) -> Self {
        let code = if compromised { RevocationCode::KeyCompromised } else { RevocationCode::KeySuperseded };
        let mut config = self.config(SignatureType::KeyRevocation, time);
        config.hashed_subpackets.push(subpacket(SubpacketData::RevocationReason(code, Vec::new().into())));
        let public = self.key.primary_key.public_key().clone();
        let signature = config.sign_key(&self.key.primary_key, &Password::empty(), &public).expect("it can sign");
        self.key.details.revocation_signatures.push(signature);
        self
    }

    /// Claims the sub-keys of another's public key as its own, without their consent.
    ///
    /// # Panics
    /// When the library cannot sign, or the text is no public key.
    pub fn claiming(mut self, public_key: &str) -> Self {
        let (other, _) = SignedPublicKey::from_string(public_key).expect("a public key");
        let primary = &self.key.primary_key;
        for mut subkey in other.public_subkeys {
            let mut config = self.config(SignatureType::SubkeyBinding, SIGNED);
            config.hashed_subpackets.push(subpacket(SubpacketData::KeyFlags(signing_flags())));
            let binding = config
                .sign_subkey_binding(primary, primary.public_key(), &Password::empty(), &subkey.key)
                .expect("it can sign");
            subkey.signatures = vec![binding];
            self.key.public_subkeys.push(subkey);
        }
        self
    }

    /// Returns the id of the key, as manifests give it.
    pub fn key_id(&self) -> String {
        self.key.legacy_key_id().to_string()
    }

    /// Returns the public key as a file for `--trusted-key`.
    ///
    /// # Panics
    /// When the library cannot write it.
    pub fn public_key(&self) -> String {
        let public = SignedPublicKey::from(self.key.clone());
        public.to_armored_string(ArmorOptions::default()).expect("a key can be written")
    }

    /// Returns the `MANIFEST.txt` of a private plugin with these files, for the servers at these root URLs.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn private_manifest_text(
        &self,
        (plugin, version): (&str, &str),
        files: &BTreeMap<String, Vec<u8>>,
        root_urls: &[String],
    ) -> String {
        let mut manifest = self.manifest(plugin, version, files);
        manifest["signatureType"] = json!("private");
        manifest["rootUrls"] = json!(root_urls);
        self.sign(&format!("{manifest:#}"))
    }

    /// Returns the `MANIFEST.txt` of a plugin with these files, by their path below its folder.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn manifest_text(&self, plugin: &str, version: &str, files: &BTreeMap<String, Vec<u8>>) -> String {
        self.sign(&format!("{:#}", self.manifest(plugin, version, files)))
    }

    /// Returns the manifest that would be signed, for changing it before.
    pub fn manifest(&self, plugin: &str, version: &str, files: &BTreeMap<String, Vec<u8>>) -> Value {
        let digests: BTreeMap<_, _> =
            files.iter().map(|(path, content)| (path, hex::encode(Sha256::digest(content)))).collect();
        json!({
            "manifestVersion": "2.0.0",
            "signatureType": "community",
            "signedByOrg": "publisher",
            "signedByOrgName": "Publisher",
            "plugin": plugin,
            "version": version,
            "time": u64::from(SIGNED) * 1000,
            "keyId": self.key_id(),
            "files": digests,
        })
    }

    /// Returns a text with its signature.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn sign(&self, text: &str) -> String {
        self.sign_with(text, |_| ())
    }

    /// Returns a text with a signature whose particulars were changed before it was made.
    ///
    /// # Panics
    /// When the library cannot sign.
    pub fn sign_with(&self, text: &str, change: impl FnOnce(&mut SignatureConfig)) -> String {
        let mut config = self.config(SignatureType::Text, SIGNED);
        change(&mut config);
        let message = CleartextSignedMessage::new(text, config, &self.key.primary_key, &Password::empty());
        message.expect("it can sign").to_armored_string(ArmorOptions::default()).expect("a text can be written")
    }

    fn saying(mut self, signs: bool, lifetime: Option<u32>) -> Self {
        let mut flags = signing_flags();
        flags.set_sign(signs);
        // Later than what the new key said of itself when it was made, which is today.
        let mut config = self.config(SignatureType::Key, u32::MAX);
        config.hashed_subpackets.push(subpacket(SubpacketData::KeyFlags(flags)));
        let expires = lifetime.map(|lifetime| SubpacketData::KeyExpirationTime(Duration::from_secs(lifetime)));
        config.hashed_subpackets.extend(expires.map(subpacket));
        let public = self.key.primary_key.public_key().clone();
        let signature = config.sign_key(&self.key.primary_key, &Password::empty(), &public).expect("it can sign");
        self.key.details.direct_signatures.push(signature);
        self
    }

    fn config(&self, kind: SignatureType, made: u32) -> SignatureConfig {
        let hash = pgp::types::SigningKey::hash_alg(&self.key.primary_key);
        let mut config = SignatureConfig::v4(kind, self.key.algorithm(), hash);
        config.hashed_subpackets = vec![
            subpacket(SubpacketData::SignatureCreationTime(Timestamp::from_secs(made))),
            subpacket(SubpacketData::IssuerFingerprint(self.key.fingerprint())),
        ];
        config.unhashed_subpackets = vec![subpacket(SubpacketData::IssuerKeyId(self.key.legacy_key_id()))];
        config
    }
}

fn signing_flags() -> KeyFlags {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    flags
}

fn subpacket(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).expect("it is short")
}
