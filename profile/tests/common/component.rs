//! Tests that need something of the machine: ignored where it is missing, failed where it is missing and required.

use libtest_mimic::Trial;

/// Something that not every machine has.
#[derive(Clone, Copy)]
pub(crate) struct Component {
    pub(crate) is_here: bool,
    /// The variable that is set to 1 where its absence is to be a failure.
    pub(crate) required_by: &'static str,
    /// How it is had.
    pub(crate) had_by: &'static str,
}

impl Component {
    fn is_required(&self) -> bool {
        std::env::var_os(self.required_by).is_some_and(|value| value == "1")
    }
}

/// A test of this path that needs all of `needs`; an ignored one has as its kind how what it lacks is had.
pub(crate) fn trial(needs: &[Component], path: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let missing: Vec<Component> = needs.iter().filter(|component| !component.is_here).copied().collect();
    let advice = missing.iter().map(|component| component.had_by).collect::<Vec<_>>().join("; ");
    let is_ignored = !missing.is_empty() && !missing.iter().any(Component::is_required);
    let kind = if is_ignored { advice.clone() } else { String::new() };
    let run = move || {
        if !missing.is_empty() {
            return Err(format!("something is missing here: {advice}").into());
        }
        test();
        Ok(())
    };
    Trial::test(path, run).with_kind(kind).with_ignored_flag(is_ignored)
}

/// The path of a test within its suite, as the standard harness has it.
pub(crate) fn within_suite(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_, rest)| rest)
}

/// A trial of each of these functions of the module in which this stands.
macro_rules! trials {
    ($needs:expr; $($test:ident),* $(,)?) => {
        vec![$($crate::component::trial(
            $needs,
            $crate::component::within_suite(concat!(module_path!(), "::", stringify!($test))),
            $test,
        )),*]
    };
}
pub(crate) use trials;
