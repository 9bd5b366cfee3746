//! The flags that choose values of axes, made from the table of axes.

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, FromArgMatches};
use clipmark_profile::axis::{Axis, AxisValue, Domain};
use clipmark_profile::plan::Request;
use std::collections::BTreeMap;

/// The group of these flags, for what excludes them.
pub(super) const GROUP: &str = "AxisFlags";

/// The values that were given, by axis.
#[derive(Debug, Clone, Default)]
pub(super) struct AxisFlags {
    given: BTreeMap<Axis, Vec<AxisValue>>,
}

impl AxisFlags {
    /// Whether `axis` was given.
    #[must_use]
    pub(super) fn has(&self, axis: Axis) -> bool {
        self.given.contains_key(&axis)
    }

    /// Lays what was given over `request`.
    pub(super) fn over(&self, request: &mut Request) {
        for (&axis, values) in &self.given {
            request.ask(axis, values);
        }
    }
}

fn flags() -> impl Iterator<Item = (Axis, &'static str)> {
    Axis::ALL.into_iter().filter_map(|axis| axis.row().flag.map(|flag| (axis, flag)))
}

fn parser(axis: Axis) -> ValueParser {
    match axis.row().domain {
        Domain::Choice(names) => {
            ValueParser::new(PossibleValuesParser::new(names.iter().copied()).map(AxisValue::Name))
        }
        Domain::Count { .. } | Domain::Name { .. } => {
            ValueParser::new(move |text: &str| axis.parse(text.trim()).map_err(|error| error.to_string()))
        }
    }
}

fn arg(axis: Axis, flag: &'static str) -> Arg {
    let row = axis.row();
    let value_name = if row.unit.is_empty() { "NAME" } else { "COUNT" };
    let default: Vec<String> = Request::default().values(axis).iter().map(ToString::to_string).collect();
    Arg::new(flag)
        .long(flag)
        .value_name(value_name)
        .value_parser(parser(axis))
        .value_delimiter(',')
        .action(ArgAction::Append)
        .allow_negative_numbers(true)
        .help(format!("{}, separated by commas [default: {}]", row.help, default.join(",")))
}

impl FromArgMatches for AxisFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = |(axis, flag)| Some((axis, matches.get_many(flag)?.cloned().collect()));
        Ok(Self { given: flags().filter_map(values).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given.extend(Self::from_arg_matches(matches)?.given);
        Ok(())
    }
}

impl Args for AxisFlags {
    fn augment_args(command: Command) -> Command {
        let command = flags().fold(command, |command, (axis, flag)| command.arg(arg(axis, flag)));
        command.group(ArgGroup::new(GROUP).multiple(true).args(flags().map(|(_, flag)| flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
