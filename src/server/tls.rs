//! TLS: the certificate of the mirror, read anew when its file changes.
//!
//! *Invariant:* a certificate that cannot be used never takes the place of one that can.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::diagnostic::{Chain, Kind, diagnose};

/// How often it is checked whether the files changed.
const LOOK: Duration = Duration::from_secs(5);

/// The files of a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("`{}` has no {what} in PEM form", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Why it cannot be read.
        source: rustls::pki_types::pem::Error,
    },
    /// The two do not go together.
    #[error("the certificate in `{}` cannot be used", path.display())]
    Pair {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

diagnose!(TlsError {
    File => Kind::Usage, "`--tls-cert` names the chain of certificates, the mirror's own first; `--tls-key` its private key";
    Pair => Kind::Usage, "is it the key of this certificate?";
});

/// A certificate, and where it came from.
#[derive(Debug)]
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate and its key.
    pub(crate) fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = RwLock::new(read(&certificate, &key)?);
        Ok(Self { certificate, key, current })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files again when one of them changed; never ends.
    pub(crate) async fn follow(&self) {
        let changed = || [&self.certificate, &self.key].map(|path| last_change(path).ok());
        let mut seen = changed();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = changed();
            if now == seen {
                continue;
            }
            match read(&self.certificate, &self.key) {
                Ok(next) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
                    seen = now;
                    tracing::info!("the certificate was read again");
                }
                // Half of the two may have been written.
                Err(error) => tracing::warn!(error = %Chain(&error), "the certificate before stays"),
            }
        }
    }
}

fn last_change(path: &Path) -> io::Result<SystemTime> {
    std::fs::metadata(path)?.modified()
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let failed = |path: &Path, what| {
        let path = path.to_path_buf();
        move |source| TlsError::File { path, what, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(failed(certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key, "private key"))?;
    let unusable = |source| TlsError::Pair { path: certificate.to_path_buf(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
