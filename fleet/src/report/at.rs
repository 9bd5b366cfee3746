//! A point as it is asked for, on the command line and in an address: one key for each axis of a shape.

use clap::{Arg, ArgMatches, Command, Error, FromArgMatches};
use clipmark_profile::axis::{Axis, Domain};
use clipmark_profile::point::Shape;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The point that was asked for; absent where none was. The axes that every shape has must be given together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct At(pub(crate) Option<Shape>);

/// Its key.
pub(crate) const fn key(axis: Axis) -> &'static str {
    axis.row().short
}

/// The axes without which there is no shape.
fn required() -> impl Iterator<Item = Axis> {
    Axis::SHAPE.into_iter().filter(|axis| Shape::UNIT.get(*axis).is_some())
}

impl At {
    fn of(sizes: impl IntoIterator<Item = (Axis, u32)>) -> Option<Self> {
        let mut given = [0; Axis::SHAPE.len()];
        for (axis, size) in sizes {
            if let Some(place) = Axis::SHAPE.iter().position(|own| *own == axis) {
                given[place] = size;
            }
        }
        if given.iter().all(|size| *size == 0) {
            return Some(Self(None));
        }
        Shape::of_sizes(&given).map(|shape| Self(Some(shape)))
    }
}

impl clap::Args for At {
    fn augment_args(command: Command) -> Command {
        let argument = |axis: Axis| {
            let row = axis.row();
            let most = match row.domain {
                Domain::Count { most } => i64::from(most),
                Domain::Choice(_) | Domain::Name { .. } => 0,
            };
            Arg::new(key(axis))
                .long(key(axis))
                .value_name("SIZE")
                .value_parser(clap::value_parser!(u32).range(1..=most))
                .requires_all(required().filter(|other| *other != axis).map(key))
                .help(format!("The {}; else that which most boards have", row.name))
        };
        command.args(Axis::SHAPE.map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for At {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let size = |axis| Some((axis, *matches.get_one::<u32>(key(axis))?));
        Ok(Self::of(Axis::SHAPE.into_iter().filter_map(size)).unwrap_or_default())
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = At;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sizes by axis")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<At, A::Error> {
                let mut sizes = Vec::new();
                while let Some((name, text)) = map.next_entry::<String, String>()? {
                    let Some(axis) = Axis::SHAPE.into_iter().find(|axis| key(*axis) == name) else {
                        continue;
                    };
                    let value = axis.parse(&text).map_err(A::Error::custom)?;
                    sizes.extend(value.count().map(|size| (axis, size)));
                }
                let together: Vec<&str> = required().map(key).collect();
                let missing = || A::Error::custom(format!("{} are given together", together.join(" and ")));
                At::of(sizes).ok_or_else(missing)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        at: At,
    }

    #[derive(Debug, Deserialize)]
    struct Address {
        model: String,
        #[serde(flatten)]
        at: At,
    }

    fn address(query: &str) -> Option<Address> {
        let uri = format!("http://localhost/?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).ok().map(|axum::extract::Query(address)| address)
    }

    fn line(arguments: &[&str]) -> Result<At, Error> {
        let all = std::iter::once("x").chain(arguments.iter().copied());
        <Line as clap::Parser>::try_parse_from(all).map(|line| line.at)
    }

    #[test]
    fn a_point_is_asked_for_by_its_axes() {
        let shape = Shape::new(1, 16).and_then(|shape| shape.with(Axis::Streams, 4));
        assert_eq!(line(&["--batch", "1", "--clip", "16", "--streams", "4"]).unwrap(), At(shape));
        let address = address("model=m&batch=1&clip=16&streams=4&by=x").unwrap();
        assert_eq!((address.model.as_str(), address.at), ("m", At(shape)));
    }

    #[test]
    fn without_any_no_point_is_asked_for() {
        assert_eq!(line(&[]).unwrap(), At(None));
        assert_eq!(address("model=m").unwrap().at, At(None));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for wrong in
            [&["--batch", "1"][..], &["--clip", "16"], &["--batch", "0", "--clip", "16"], &["--streams", "4"]]
        {
            assert!(line(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["batch=1", "batch=0&clip=1", "batch=x&clip=1", "streams=4"] {
            assert!(address(&format!("model=m&{wrong}")).is_none(), "{wrong}");
        }
    }
}
