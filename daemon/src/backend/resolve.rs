//! From the names in a request to the backends that will run, each with the reason why.
//!
//! Checking a backend loads its libraries, so the check itself is the caller's: the daemon lets a worker
//! do it.

use super::registry;
use crate::model::nearest;
use clipmark_profile::record::{BackendRecord, Failure};

/// What `auto` tries, best first. All others are used by name alone.
pub const AUTO: [&str; 2] = ["tensorrt", "tract"];

/// A backend that will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its registry name.
    pub name: String,
    /// What its check said.
    pub record: BackendRecord,
    /// One sentence: why this one.
    pub why: String,
}

/// Why the backends of a request cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A name that is not in the registry.
    #[error("there is no backend `{name}`; {}choose auto or one of {}", meant(name, known), known.join(", "))]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A backend that was asked for by name cannot be used here.
    #[error("the backend {name} cannot be used here: {}{}", failure.message, instead(name))]
    Unusable {
        /// Its name.
        name: String,
        /// What its check said.
        failure: Failure,
    },
    /// `auto` found nothing.
    #[error("no backend can be used here: {}", reasons.join("; "))]
    NoneUsable {
        /// One reason per backend tried.
        reasons: Vec<String>,
    },
}

/// What people also call the backends.
const ALIASES: [(&str, &str); 3] = [("trt", "tensorrt"), ("ort", "onnxruntime"), ("onnx", "onnxruntime")];

/// The backend that `name` was probably meant to be, as a question to follow a semicolon, or nothing.
fn meant(name: &str, known: &[String]) -> String {
    let alias = ALIASES.iter().find(|(alias, _)| name.eq_ignore_ascii_case(alias)).map(|(_, name)| *name);
    let known = || known.iter().map(String::as_str).chain(["auto"]);
    let meant = alias.filter(|name| known().any(|known| known == *name)).or_else(|| nearest(name, known()));
    meant.map_or_else(String::new, |meant| format!("did you mean {meant}? "))
}

/// What serves in place of a backend that needs hardware.
fn instead(name: &str) -> &'static str {
    if name == "tensorrt" { "; without a GPU use --backend tract" } else { "" }
}

/// Chooses the backends for `names`, without repeats, in the order given.
///
/// # Errors
/// A name is unknown, a named backend cannot be used here, or `auto` finds none.
pub fn resolve(
    names: &[String],
    check: &mut dyn FnMut(&str) -> Result<BackendRecord, Failure>,
) -> Result<Vec<Choice>, ResolveError> {
    let known: Vec<String> = registry().iter().map(|backend| backend.name().to_owned()).collect();
    let mut chosen: Vec<Choice> = Vec::new();
    for name in names {
        let choice = if name == "auto" {
            automatic(&known, check)?
        } else if known.contains(name) {
            let record =
                check(name).map_err(|failure| ResolveError::Unusable { name: name.clone(), failure })?;
            Choice { name: name.clone(), record, why: format!("{name} was asked for") }
        } else {
            return Err(ResolveError::Unknown { name: name.clone(), known });
        };
        if chosen.iter().all(|earlier| earlier.name != choice.name) {
            chosen.push(choice);
        }
    }
    Ok(chosen)
}

fn automatic(
    known: &[String],
    check: &mut dyn FnMut(&str) -> Result<BackendRecord, Failure>,
) -> Result<Choice, ResolveError> {
    let mut reasons = Vec::new();
    for name in AUTO.into_iter().filter(|name| known.iter().any(|known| known == name)) {
        match check(name) {
            Ok(mut record) => {
                let why = match reasons.as_slice() {
                    [] => format!("auto chose {name}: it is the best backend and can be used here"),
                    reasons => format!("auto chose {name}, because {}", reasons.join("; ")),
                };
                // A profile that somebody else reads must tell it too.
                record.notes.push(why.clone());
                return Ok(Choice { name: name.into(), record, why });
            }
            Err(failure) => reasons.push(format!("{name} cannot be used: {}", failure.message)),
        }
    }
    Err(ResolveError::NoneUsable { reasons })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::record::{Cause, Stage};

    fn record(name: &str) -> BackendRecord {
        BackendRecord {
            name: name.into(),
            version: "1".into(),
            device: "cpu".into(),
            simulated: false,
            notes: Vec::new(),
        }
    }

    fn failure(message: &str) -> Failure {
        Failure { stage: Stage::Load, cause: Cause::BackendUnavailable, message: message.into() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn auto_takes_the_first_usable_backend_and_says_what_was_wrong_with_those_before() {
        let known = names(&["tract", "tensorrt"]);
        let choice = automatic(&known, &mut |name| match name {
            "tensorrt" => Err(failure("libnvinfer.so is not installed")),
            name => Ok(record(name)),
        });
        let choice = choice.unwrap();
        assert_eq!(choice.name, "tract");
        assert_eq!(
            choice.why,
            "auto chose tract, because tensorrt cannot be used: libnvinfer.so is not installed"
        );
        let best = automatic(&known, &mut |name| Ok(record(name))).unwrap();
        assert_eq!(best.why, "auto chose tensorrt: it is the best backend and can be used here");
    }

    #[test]
    fn named_backends_are_checked_in_order_and_repeats_are_dropped() {
        let chosen = resolve(&names(&["simulated", "tract", "auto", "tract"]), &mut |name| match name {
            "tensorrt" => Err(failure("none")),
            name => Ok(record(name)),
        });
        let chosen: Vec<String> = chosen.unwrap().into_iter().map(|choice| choice.name).collect();
        assert_eq!(chosen, ["simulated", "tract"]);
    }

    #[test]
    fn an_unknown_backend_is_an_error_that_lists_the_known_ones() {
        let error = resolve(&names(&["tensorflow"]), &mut |name| Ok(record(name))).unwrap_err();
        let words = error.to_string();
        assert!(words.starts_with("there is no backend `tensorflow`; choose auto or one of "), "{words}");
        assert!(words.contains("tract") && words.contains("noop"), "{words}");
    }

    #[test]
    fn a_name_that_is_nearly_a_backends_is_answered_by_that() {
        let known = names(&["tensorrt", "tract", "onnxruntime", "noop"]);
        let told = |name: &str| ResolveError::Unknown { name: name.into(), known: known.clone() }.to_string();
        for (name, meant) in
            [("trt", "tensorrt"), ("ORT", "onnxruntime"), ("tracd", "tract"), ("Tensor-rt", "tensorrt")]
        {
            assert!(told(name).contains(&format!("did you mean {meant}? choose")), "{}", told(name));
        }
        assert!(!told("abacus").contains("did you mean"), "{}", told("abacus"));
    }

    #[test]
    fn only_a_tensorrt_that_was_asked_for_points_to_another_backend() {
        let told = |name: &str| {
            let error = resolve(&names(&[name]), &mut |_| Err(failure("no driver"))).unwrap_err();
            error.to_string()
        };
        assert!(told("tensorrt").ends_with("no driver; without a GPU use --backend tract"));
        assert!(!told("auto").contains("--backend") && !told("tract").contains("--backend"));
    }

    #[test]
    fn a_named_backend_that_cannot_be_used_is_an_error_with_its_reason() {
        let error = resolve(&names(&["tract"]), &mut |_| Err(failure("no luck"))).unwrap_err();
        assert_eq!(error.to_string(), "the backend tract cannot be used here: no luck");
        let error = resolve(&names(&["auto"]), &mut |_| Err(failure("no luck"))).unwrap_err();
        assert!(error.to_string().contains("tract cannot be used: no luck"), "{error}");
    }
}
