//! Catches an engine whose `run` returns before its outputs are complete.
//!
//! Such an engine looks fast and measures nothing. Between two sets of inputs it betrays itself: right
//! after `run` its outputs are still those of the inference before, or change while one looks.

use super::{BackendError, Engine};
use crate::tensor::TensorData;

/// What was found wrong.
#[derive(Debug, thiserror::Error)]
pub enum CompletionError {
    /// The outputs changed after `run` had returned.
    #[error("the outputs changed after the inference had returned: it returns before it is complete")]
    Unsettled,
    /// The outputs did not follow the inputs.
    #[error(
        "other inputs gave the same outputs: the inference returns before it is complete, or the model does not \
         depend on its inputs"
    )]
    Stale,
    /// The same inputs gave other outputs.
    #[error(
        "the same inputs gave different outputs: the inference returns before it is complete, or is not deterministic"
    )]
    Unsteady,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] BackendError),
}

/// Runs `first`, `second` and `first` again and holds the outputs against each other. The two must differ
/// so much that the model's outputs do. Returns the outputs of `first`.
///
/// # Errors
/// What was found wrong, or the engine's own failure.
pub fn check_completion(
    engine: &mut dyn Engine,
    first: &[TensorData],
    second: &[TensorData],
) -> Result<Vec<TensorData>, CompletionError> {
    let of_first = settled(engine, first)?;
    let of_second = settled(engine, second)?;
    if of_second == of_first {
        return Err(CompletionError::Stale);
    }
    if settled(engine, first)? != of_first {
        return Err(CompletionError::Unsteady);
    }
    Ok(of_first)
}

pub(crate) fn settled(
    engine: &mut dyn Engine,
    inputs: &[TensorData],
) -> Result<Vec<TensorData>, CompletionError> {
    engine.set_inputs(inputs)?;
    engine.run()?;
    let at_once = engine.outputs()?;
    if engine.outputs()? != at_once {
        return Err(CompletionError::Unsettled);
    }
    Ok(at_once)
}
