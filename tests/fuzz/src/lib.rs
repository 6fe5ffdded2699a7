//! What the fuzz targets and the maker of their seeds share.

#[path = "../../it/support/signing.rs"]
pub mod signing;

use signing::Signer;

/// The plugin that all seeds speak of.
pub const PLUGIN: &str = "acme-tides-panel";

/// Its version.
pub const VERSION: &str = "1.2.3";

/// A plugin.json that is accepted.
pub const PLUGIN_JSON: &str = r#"{"id":"acme-tides-panel","type":"panel","name":"Tides","info":{"version":"1.2.3"}}"#;

/// Starts an input whose rest the target signs itself, for it to reach what comes after the signature.
pub const SIGN: u8 = b's';

/// The one key that the target trusts.
pub fn signer() -> Signer {
    Signer::new(1)
}
