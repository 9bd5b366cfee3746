//! The TLS client: whom to trust, and who we are.

use super::Tls;
use crate::secret::{SecretError, SecretPath};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// Why no TLS client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be found or read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file holds no PEM of the expected kind.
    #[error("{} holds no usable PEM {kind}: {problem}; convert it with openssl", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was expected.
        kind: &'static str,
        /// The parser's words.
        problem: String,
    },
    /// The system has no certificates.
    #[error("the system has no trusted certificates; install ca-certificates or set mqtt.tls.ca")]
    NoSystemRoots,
    /// Certificate and key do not fit each other or the library.
    #[error("the TLS settings cannot be used; check that the client certificate and key belong together")]
    Unusable(#[from] rustls::Error),
}

fn certificates(secret: &SecretPath) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = secret.resolve()?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&secret.read()?).collect();
    let bad = |problem: String| TlsError::Pem { path, kind: "certificate", problem };
    match found {
        Ok(found) if found.is_empty() => Err(bad("there is none".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn key(secret: &SecretPath) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = secret.resolve()?;
    PrivateKeyDer::from_pem_slice(&secret.read()?).map_err(|error| TlsError::Pem {
        path,
        kind: "private key",
        problem: error.to_string(),
    })
}

fn roots(ca: Option<&SecretPath>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate)?;
            }
        }
        None => {
            // Some of a system's certificates are always beyond what the library takes.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

/// The client that `tls` describes. Files are read now, so that renewed ones count from the next connection.
///
/// # Errors
/// What is missing or does not fit.
pub fn client(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots(tls.ca.as_ref())?);
    let config = match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(secret)) => {
            builder.with_client_auth_cert(certificates(certificate)?, key(secret)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        let tls = Tls { enabled: true, ca: Some(path.to_str().unwrap().into()), ..Tls::default() };
        let error = client(&tls).unwrap_err().to_string();
        assert!(error.contains("ca.crt") && error.contains("cannot read"), "{error}");
        fs::write(&path, "hello").unwrap();
        let error = client(&tls).unwrap_err().to_string();
        assert!(error.contains("ca.crt") && error.contains("openssl"), "{error}");
    }
}
