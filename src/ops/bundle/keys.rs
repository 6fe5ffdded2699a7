//! Keys of bundles: made here, and read from arguments.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    bundle::{BundleKey, KeyError, ParseBundleKeyError, generate},
    diagnostic::{Kind, diagnose},
    disk,
    model::Secret,
};

/// The longest file of a public key.
const LONGEST: u64 = 64 << 10;

/// A pair of keys that was made.
#[derive(Debug, Serialize)]
pub(crate) struct KeygenOutcome {
    /// The file with the secret key.
    pub secret: PathBuf,
    /// The file with the public key.
    pub public: PathBuf,
    /// The public key.
    pub key: String,
    /// Its id.
    pub id: String,
}

/// Keys cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// There is a file already.
    #[error("there is a file `{}` already, and a key is never written over another one", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("`{}` is neither a public key of minisign nor a file with one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no key.
    #[error("a key cannot be used")]
    Parse(#[from] ParseBundleKeyError),
    /// A key cannot be made.
    #[error("no keys were made")]
    Key(#[from] KeyError),
}

diagnose!(KeyFileError {
    forward Parse, Key;
    Exists => Kind::Usage, "name another file with `--out`";
    Write => Kind::Storage;
    Read => Kind::Usage;
});

/// Makes a pair of keys: the secret one in `out`, the public one beside it. Blocks, with a password for seconds.
pub(crate) fn keygen(out: &Path, password: Option<&Secret>) -> Result<KeygenOutcome, KeyFileError> {
    let mut name = out.as_os_str().to_owned();
    name.push(".pub");
    let (secret, public) = (out.to_path_buf(), PathBuf::from(name));
    for path in [&secret, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(KeyFileError::Exists(path.clone()));
        }
    }
    let (secret_text, public_text) = generate(password)?;
    let key: BundleKey = public_text.parse()?;
    let write = |path: &PathBuf, text: &str, mode| match disk::create_atomic(path, text.as_bytes(), mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(KeyFileError::Exists(path.clone())),
        written => written.map_err(|source| KeyFileError::Write { path: path.clone(), source }),
    };
    write(&secret, secret_text.expose(), 0o600)?;
    write(&public, &public_text, 0o644)?;
    Ok(KeygenOutcome { secret, public, id: key.id(), key: key.into() })
}

/// Reads keys that are named by themselves or by a file.
pub(crate) fn read_keys(named: &[String]) -> Result<Vec<BundleKey>, KeyFileError> {
    named.iter().map(|text| read_key(text)).collect()
}

fn read_key(text: &str) -> Result<BundleKey, KeyFileError> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let path = PathBuf::from(text);
    let read = disk::read_regular(&path, LONGEST).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let file = read.map_err(|source| KeyFileError::Read { path, source })?;
    Ok(file.parse()?)
}
