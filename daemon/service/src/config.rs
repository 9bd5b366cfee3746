//! Reading a TOML file into checked values, with errors that name the file, the key and the bound.

use serde::de::DeserializeOwned;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}; check that it exists and that this user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or holds an unknown key or a value of the wrong type.
    #[error("the configuration {} is not usable; mend the line shown", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and key.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is outside its range.
    #[error("{key} = {value} in {} is outside {bound}; choose a value inside it", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is permitted.
        bound: String,
    },
    /// Two keys contradict each other.
    #[error("{} sets {first} without {second}; set both or neither", path.display())]
    Together {
        /// The file.
        path: PathBuf,
        /// The key that is there.
        first: &'static str,
        /// The key that is missing.
        second: &'static str,
    },
}

/// A number with its key and the least and the greatest that are permitted.
pub type Range = (&'static str, u64, u64, u64);

/// A key, whether it is set, and the key that must be set with it, and whether that is.
pub type Pair = (&'static str, bool, &'static str, bool);

/// The text of a file.
///
/// # Errors
/// [`ConfigError::Read`].
pub fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// The values that a text holds; `path` is named in errors.
///
/// # Errors
/// [`ConfigError::Parse`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

/// What a plan file asks for.
///
/// # Errors
/// What is wrong with the file and how to mend it, in words.
pub fn read_plan<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let place = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the plan {place}: {error}; check the path"))?;
    toml::from_str(&text)
        .map_err(|error| format!("the plan {place} is not usable; mend the line shown: {error}"))
}

/// Holds numbers against their ranges, and keys against those that they need.
///
/// # Errors
/// The first number that is outside, or the first key without its companion.
pub fn check(path: &Path, ranges: &[Range], pairs: &[Pair]) -> Result<(), ConfigError> {
    for &(key, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            let (path, value, bound) = (path.to_owned(), value.to_string(), format!("{low} to {high}"));
            return Err(ConfigError::Range { path, key, value, bound });
        }
    }
    for &(first, has_first, second, has_second) in pairs {
        if has_first && !has_second {
            return Err(ConfigError::Together { path: path.to_owned(), first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read_plan;
    use std::path::Path;

    #[test]
    fn a_plan_that_cannot_be_read_is_named_with_what_to_check() {
        let told = read_plan::<toml::Table>(Path::new("/nonexistent/plan.toml")).unwrap_err();
        assert!(told.contains("/nonexistent/plan.toml") && told.ends_with("check the path"), "{told}");
    }
}
