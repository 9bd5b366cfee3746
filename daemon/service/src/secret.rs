//! Secrets by path: a plain file, or a credential that systemd hands to the service.

use serde::Deserialize;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

const CREDENTIAL: &str = "credential:";

/// Where a secret lies: a path, or `credential:NAME` for a file below `$CREDENTIALS_DIRECTORY`, which
/// systemd sets for `LoadCredential=NAME:...` (version 247 and later).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretPath(String);

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// systemd handed over no credentials.
    #[error(
        "`credential:{name}` needs LoadCredential={name}:... in the unit, and systemd set no \
         CREDENTIALS_DIRECTORY; add it, or (systemd before 247) give a path that only the daemon may read"
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// The credential's name would leave the directory.
    #[error("`{name}` is not a credential's name; it must be a plain file name")]
    Name {
        /// The name given.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the secret {}; check that it exists and that the daemon's user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The file holds something that is not text.
    #[error("the secret {} is not UTF-8 text; write it again", path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
}

impl SecretPath {
    /// The credential's name, where it is one.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        self.0.strip_prefix(CREDENTIAL)
    }

    /// The file that holds the secret.
    ///
    /// # Errors
    /// When it is a credential and systemd handed over none.
    pub fn resolve(&self) -> Result<PathBuf, SecretError> {
        self.resolve_in(env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from))
    }

    fn resolve_in(&self, credentials: Option<PathBuf>) -> Result<PathBuf, SecretError> {
        let Some(name) = self.credential() else { return Ok(PathBuf::from(&self.0)) };
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(SecretError::Name { name: name.into() });
        }
        let dir = credentials.ok_or_else(|| SecretError::NoCredentials { name: name.into() })?;
        Ok(dir.join(name))
    }

    /// The secret's bytes.
    ///
    /// # Errors
    /// When it cannot be found or read.
    pub fn read(&self) -> Result<Vec<u8>, SecretError> {
        let path = self.resolve()?;
        fs::read(&path).map_err(|source| SecretError::Read { path, source })
    }

    /// The secret as one line, without the line's end.
    ///
    /// # Errors
    /// When it cannot be found, read or understood as text.
    pub fn read_line(&self) -> Result<String, SecretError> {
        let path = self.resolve()?;
        let text = String::from_utf8(self.read()?).map_err(|_| SecretError::Text { path })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl From<&str> for SecretPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_path_and_a_credential_lies_in_the_directory_of_systemd() {
        let dir = || Some(PathBuf::from("/run/credentials/clipmarkd.service"));
        let resolved = |text: &str| SecretPath::from(text).resolve_in(dir()).unwrap();
        assert_eq!(resolved("/etc/key.pem"), PathBuf::from("/etc/key.pem"));
        assert_eq!(resolved("credential:key"), PathBuf::from("/run/credentials/clipmarkd.service/key"));
    }

    #[test]
    fn a_credential_that_cannot_be_had_says_what_to_add() {
        let error = SecretPath::from("credential:key").resolve_in(None).unwrap_err();
        assert!(error.to_string().contains("LoadCredential=key:"), "{error}");
        for name in ["", "../shadow", "a/b", ".."] {
            let secret = SecretPath(format!("credential:{name}"));
            assert!(matches!(secret.resolve_in(Some("/x".into())), Err(SecretError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn a_line_ends_before_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "s3 cret\r\n").unwrap();
        let secret = SecretPath(path.to_str().unwrap().to_owned());
        assert_eq!(secret.read_line().unwrap(), "s3 cret");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(secret.read_line(), Err(SecretError::Text { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(secret.read_line(), Err(SecretError::Read { .. })));
    }
}
