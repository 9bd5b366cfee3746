//! A request's backend options: which backend takes which, and whether their values are understood.
//!
//! A request names options without saying for whom: each goes to every backend of the run that knows it.
//! Checked before anything is prepared, so that a slip is one error and not the failure of every point.

use super::{Backend, registry};
use std::collections::BTreeMap;

/// Option names with their values, as in a request.
pub type BackendOptions = BTreeMap<String, String>;

/// Why the options of a request cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No backend of the run knows the option.
    #[error("no backend of this run takes the option `{name}`; {}", known.join("; "))]
    Unknown {
        /// The option.
        name: String,
        /// What each backend of the run takes.
        known: Vec<String>,
    },
    /// A backend does not understand a value.
    #[error("the backend {backend} cannot use its options: {reason}")]
    Value {
        /// The backend.
        backend: String,
        /// Its words.
        reason: String,
    },
}

fn backends(names: &[String]) -> Vec<Box<dyn Backend>> {
    registry().into_iter().filter(|backend| names.iter().any(|name| name == backend.name())).collect()
}

fn takes(backend: &dyn Backend, option: &str) -> bool {
    backend.options().iter().any(|(known, _)| *known == option)
}

/// Those of `given` that the backend called `name` takes.
#[must_use]
pub fn of_backend(name: &str, given: &BackendOptions) -> BackendOptions {
    let backend = registry().into_iter().find(|backend| backend.name() == name);
    let Some(backend) = backend else { return BackendOptions::new() };
    given
        .iter()
        .filter(|(option, _)| takes(backend.as_ref(), option))
        .map(|(option, value)| (option.clone(), value.clone()))
        .collect()
}

/// Holds `given` against the backends called `names`.
///
/// # Errors
/// An option that none of them takes, or a value that one of them does not understand.
pub fn check(names: &[String], given: &BackendOptions) -> Result<(), OptionError> {
    let backends = backends(names);
    for option in given.keys() {
        if !backends.iter().any(|backend| takes(backend.as_ref(), option)) {
            let known = backends.iter().map(|backend| list(backend.as_ref())).collect();
            return Err(OptionError::Unknown { name: option.clone(), known });
        }
    }
    for backend in backends {
        let own = of_backend(backend.name(), given);
        backend
            .check_options(&own)
            .map_err(|error| OptionError::Value { backend: backend.name().into(), reason: error.message })?;
    }
    Ok(())
}

fn list(backend: &dyn Backend) -> String {
    let options: Vec<String> =
        backend.options().iter().map(|(name, meaning)| format!("{name} ({meaning})")).collect();
    match options.as_slice() {
        [] => format!("{} has none", backend.name()),
        options => format!("{} has {}", backend.name(), options.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BackendOptions {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn an_option_goes_to_the_backends_that_take_it_and_to_no_other() {
        let given = given(&[("cuda_graph", "true"), ("conv_nhwc", "off")]);
        assert_eq!(check(&names(&["tensorrt", "tract"]), &given), Ok(()));
        assert_eq!(of_backend("tract", &given).into_keys().collect::<Vec<_>>(), ["conv_nhwc"]);
        for name in ["tensorrt", "trtexec"] {
            assert_eq!(of_backend(name, &given).into_keys().collect::<Vec<_>>(), ["cuda_graph"], "{name}");
        }
        assert!(of_backend("noop", &given).is_empty());
    }

    #[test]
    fn an_option_that_nobody_takes_is_refused_with_what_each_takes() {
        let error = check(&names(&["tract", "noop"]), &given(&[("cuda_graph", "true")])).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("`cuda_graph`"), "{words}");
        assert!(words.contains("tract has conv_nhwc") && words.contains("noop has none"), "{words}");
    }

    #[test]
    fn a_value_is_refused_before_anything_is_prepared() {
        for (backend, option, value, reason) in [
            ("tensorrt", "builder_level", "9", "0 to 5"),
            ("trtexec", "wait", "long", "auto, spin and block"),
            ("tract", "conv_nhwc", "maybe", "try, on or off"),
            #[cfg(feature = "onnxruntime")]
            ("onnxruntime", "provider", "abacus", "cpu or cuda"),
        ] {
            let error = check(&names(&[backend]), &given(&[(option, value)])).unwrap_err().to_string();
            assert!(error.contains(backend) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_shared_profile_may_leave_its_bounds_to_the_plan() {
        assert_eq!(check(&names(&["tensorrt"]), &given(&[("profile", "shared")])), Ok(()));
        let half = given(&[("profile", "shared"), ("profile_min", "x:1")]);
        assert!(check(&names(&["tensorrt"]), &half).unwrap_err().to_string().contains("profile_max"));
    }
}
