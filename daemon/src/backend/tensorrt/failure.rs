//! The binding's errors in the terms of a point's result.

use crate::backend::{BackendError, MissingPart};
use clipmark_profile::record::{Cause, Stage};
use clipmark_trt::{NvidiaLibrary, TrtError};

/// `error`, which happened at `stage`.
pub(super) fn at(stage: Stage) -> impl Fn(TrtError) -> BackendError {
    move |error| BackendError::new(stage, cause(&error), error.to_string())
}

/// `error`, which kept TensorRT from starting.
pub(super) fn unavailable(error: &TrtError) -> BackendError {
    let missing = match error {
        TrtError::NoDevice { .. } => Some(MissingPart::Driver),
        TrtError::LibraryNotFound { library, .. } => Some(match library {
            NvidiaLibrary::Driver => MissingPart::Driver,
            NvidiaLibrary::Parser => MissingPart::Parser,
            NvidiaLibrary::TensorRt | NvidiaLibrary::Plugins => MissingPart::Runtime,
        }),
        _ => None,
    };
    BackendError { missing, ..BackendError::new(Stage::Load, Cause::BackendUnavailable, error.to_string()) }
}

fn cause(error: &TrtError) -> Cause {
    match error {
        error if error.is_out_of_memory() => Cause::OutOfMemory,
        TrtError::LibraryNotFound { .. }
        | TrtError::MissingSymbol { .. }
        | TrtError::UnsupportedMajor { .. }
        | TrtError::NoDevice { .. } => Cause::BackendUnavailable,
        TrtError::Parse { errors, .. } if errors.iter().any(clipmark_trt::ParserError::is_unsupported) => {
            Cause::UnsupportedOperator
        }
        TrtError::Parse { .. } => Cause::BadModel,
        TrtError::Mismatch(_) => Cause::ImpossibleShape,
        TrtError::Refused { what, .. } if what.starts_with("shape") => Cause::ImpossibleShape,
        // The builder's own words when a model's reshapes do not fit the profile's shapes.
        TrtError::NoObject { log, .. } if log.iter().any(|line| line.contains("shapeMachine")) => {
            Cause::ImpossibleShape
        }
        _ => Cause::Backend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_trt::ParserError;

    fn parse(code: i32) -> TrtError {
        let error =
            ParserError { code, node: 0, node_name: None, operator: None, reason: "no importer".into() };
        TrtError::Parse { path: "m.onnx".into(), errors: vec![error] }
    }

    #[test]
    fn each_kind_of_failure_has_its_cause() {
        let log = |line: &str| vec![line.to_owned()];
        let cases = [
            (parse(8), Cause::UnsupportedOperator),
            (parse(3), Cause::BadModel),
            (TrtError::NoDevice { ordinal: 0, count: 0 }, Cause::BackendUnavailable),
            (TrtError::UnsupportedMajor { word: 9200 }, Cause::BackendUnavailable),
            (TrtError::Refused { what: "shape [1]".into(), log: Vec::new() }, Cause::ImpossibleShape),
            (TrtError::NoObject { what: "engine", log: log("OutOfMemory") }, Cause::OutOfMemory),
            (
                TrtError::NoObject { what: "engine", log: log("[shapeMachine.cpp::385]") },
                Cause::ImpossibleShape,
            ),
            (TrtError::NoObject { what: "engine", log: log("internal") }, Cause::Backend),
        ];
        for (error, expected) in cases {
            assert_eq!(at(Stage::Prepare)(error.clone()).cause, expected, "{error}");
        }
    }
}
