//! Options that take one of a list of names: one list makes help, errors, suggestions and completion.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clipmark_profile::identity::Factor;

/// Takes the name of one of `all`.
pub(super) fn one_of<T, const N: usize>(all: [(&'static str, T); N]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = all.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(move |given| {
        let found = all.iter().find(|(name, _)| *name == given);
        found.map(|(_, value)| *value).ok_or("it is not on the list")
    })
}

/// Takes a part of a board's name.
pub(super) fn board_filter(given: &str) -> Result<String, String> {
    if given.chars().count() > 200 {
        return Err("no board's name has more than 200 characters".into());
    }
    Ok(given.to_owned())
}

/// Takes the key of one of `all`.
pub(super) fn factor(all: impl Iterator<Item = Factor>) -> impl TypedValueParser<Value = Factor> {
    // Made once for each option, as long as the program runs: the parser wants names that outlive it.
    let keys: Vec<&'static str> = all.map(|factor| &*factor.key().leak()).collect();
    let unknown = "it is not on the list";
    PossibleValuesParser::new(keys).try_map(move |given| Factor::from_name(&given).ok_or(unknown))
}

/// Takes the key of what two profiles are meant to differ in.
pub(super) fn varied() -> impl TypedValueParser<Value = Factor> {
    // Firmware refuses no comparison; whether figures are simulated is never what is compared.
    factor(Factor::all().filter(|factor| !matches!(factor, Factor::Firmware | Factor::Simulation)))
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};
    use clipmark_profile::topics::Operation;

    fn refusal(arguments: &[&str]) -> String {
        Cli::try_parse_from([&["clipmark-fleet"], arguments].concat()).unwrap_err().to_string()
    }

    fn help(path: &[&str]) -> String {
        let mut command = Cli::command();
        let mut found = &mut command;
        for name in path {
            found = found.find_subcommand_mut(name).unwrap();
        }
        // One line an option, however wide the terminal of the test is.
        found.clone().term_width(0).render_long_help().to_string()
    }

    #[test]
    fn help_and_errors_name_the_same_choices_and_a_slip_gets_a_suggestion() {
        for (path, option, slip, meant) in [
            (["report", "cohort"].as_slice(), "--by", "firmwar", "firmware"),
            (&["report", "compare"], "--vary", "pwer-mode", "power-mode"),
            (&["compare"], "--vary", "backnd", "backend"),
            (&["trigger"], "--operation", "prob", "probe"),
        ] {
            let arguments = [path, &[option, slip]].concat();
            let told = refusal(&arguments);
            assert!(told.contains(&format!("'{meant}'")), "{told}");
            let (_, choices) = told.split_once("[possible values: ").unwrap();
            let (choices, _) = choices.split_once(']').unwrap();
            let help = help(path);
            for choice in choices.split(", ") {
                assert!(help.contains(choice), "{choice} is not in the help of {path:?}: {help}");
            }
        }
    }

    #[test]
    fn every_operation_can_be_asked_for() {
        for operation in Operation::ALL {
            let arguments = ["clipmark-fleet", "trigger", "--all", "--operation", operation.name()];
            assert!(Cli::try_parse_from(arguments).is_ok(), "{operation}");
        }
    }
}
