//! One backend in one way of using it: each behaviour of it is a test of its own.

use crate::component::{Component, trial};
use libtest_mimic::{Completion, Trial};
use std::sync::Arc;

/// A behaviour by its name, and what holds a `T` to it.
pub(crate) type Behaviour<T> = (&'static str, fn(&T));

/// Behaviours that do not apply, each with the reason.
pub(crate) type Inapplicable = &'static [(&'static str, &'static str)];

/// A backend that is held to behaviours; each test makes a `T` of its own.
pub(crate) struct Subject<T> {
    pub(crate) label: String,
    pub(crate) needs: Vec<Component>,
    pub(crate) inapplicable: Inapplicable,
    pub(crate) make: Arc<dyn Fn() -> T + Send + Sync>,
}

/// Functions with their names.
macro_rules! behaviours {
    ($($behaviour:ident),* $(,)?) => { [$((stringify!($behaviour), $behaviour)),*] };
}
pub(crate) use behaviours;

impl<T: 'static> Subject<T> {
    /// Each behaviour as a test; ignored, with the reason as its kind, where it does not apply.
    pub(crate) fn trials(&self, behaviours: &[Behaviour<T>]) -> Vec<Trial> {
        let held = |(behaviour, hold): &Behaviour<T>| {
            let path = format!("{}::{behaviour}", self.label);
            let reason = self.inapplicable.iter().find(|(name, _)| name == behaviour);
            let (make, hold) = (Arc::clone(&self.make), *hold);
            match reason {
                Some((_, reason)) => inapplicable(path, reason),
                None => trial(&self.needs, &path, move || hold(&make())),
            }
        };
        behaviours.iter().map(held).collect()
    }
}

fn inapplicable(path: String, reason: &'static str) -> Trial {
    let run = move || Ok(Completion::ignored_with(reason));
    Trial::ignorable_test(path, run).with_kind(reason).with_ignored_flag(true)
}
