//! The stylesheet, the script and the icon: files of the program, under addresses that change with their content.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::mirror::Coded;

/// A file that pages use.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path within the site.
    path: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub coded: Coded,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("style", "css", "text/css; charset=utf-8", include_bytes!("style.css")),
        Asset::new("script", "js", "text/javascript; charset=utf-8", include_bytes!("script.js")),
        Asset::new("icon", "svg", "image/svg+xml", include_bytes!("icon.svg")),
    ]
});

impl Asset {
    fn new(name: &str, ending: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest = hex::encode(&Sha256::digest(bytes)[..8]);
        Self { path: format!("/-/{name}.{digest}.{ending}"), media_type, coded: Coded::new(bytes) }
    }
}

/// Returns the file with this name below `/-/`, if it is one of this program.
pub(crate) fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path.strip_prefix("/-/") == Some(name))
}

/// The paths of the files within the site.
pub(super) fn style() -> &'static str {
    &ASSETS[0].path
}

pub(super) fn script() -> &'static str {
    &ASSETS[1].path
}

pub(super) fn icon() -> &'static str {
    &ASSETS[2].path
}
