//! Against requests that another site's page makes in the name of whoever is logged in here.
//!
//! Browsers send credentials along by themselves, so a form is taken only with the secret that this service
//! wrote into the page (which no other site can read), and only when the browser does not say that it comes
//! from elsewhere.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

/// The secret of this process.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    secret: String,
}

impl Guard {
    /// A new secret.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub(super) fn new() -> io::Result<Self> {
        let mut bytes = [0_u8; 32];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self { secret: bytes.iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// What a form must carry.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether a form that carries `given` comes from one of our pages.
    pub(super) fn admits(&self, headers: &HeaderMap, given: &str) -> bool {
        // Digests are compared, so that timing tells nothing of the secret.
        let is_ours = Sha256::digest(given.as_bytes()) == Sha256::digest(self.secret.as_bytes());
        is_ours && !comes_from_elsewhere(headers)
    }
}

fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let host = text(header::HOST.as_str()).unwrap_or_default();
    let origin = text(header::ORIGIN.as_str()).is_some_and(|origin| {
        let name = origin.split_once("://").map(|(_, name)| name);
        name != Some(host)
    });
    site || origin
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_form_needs_the_secret_and_must_not_come_from_elsewhere() {
        let guard = Guard::new().unwrap();
        let own = headers(&[
            ("host", "fleet:8780"),
            ("origin", "http://fleet:8780"),
            ("sec-fetch-site", "same-origin"),
        ]);
        assert!(guard.admits(&own, guard.secret()));
        assert!(!guard.admits(&own, "guessed"));
        assert!(!guard.admits(&own, ""));
        for elsewhere in [
            headers(&[("host", "fleet:8780"), ("origin", "http://evil.example")]),
            headers(&[("host", "fleet:8780"), ("origin", "null")]),
            headers(&[("host", "fleet:8780"), ("sec-fetch-site", "cross-site")]),
        ] {
            assert!(!guard.admits(&elsewhere, guard.secret()), "{elsewhere:?}");
        }
        assert_ne!(guard.secret(), Guard::new().unwrap().secret());
    }
}
