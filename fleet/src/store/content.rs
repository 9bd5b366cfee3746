//! The content of a record, read as far as the tables need it.

use super::rows::ProfileRows;
use clipmark_profile::message::{EventReport, Payload, SequenceRange};
use clipmark_profile::topics::UpKind;
use clipmark_profile::{plausible, wire};
use clipmark_service::outcome::in_one_line;

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The findings of a run.
    Profile(Box<ProfileRows>),
    /// A soak over time.
    Series {
        /// The run it belongs to.
        run_id: String,
    },
    /// Anything else.
    Event {
        /// Sequences that the device declares lost.
        lost: Option<SequenceRange>,
    },
    /// It cannot be understood, and is set aside.
    Unreadable {
        /// Why.
        reason: String,
    },
}

impl Content {
    /// Reads `bytes`, the whole content of a record of `kind`.
    #[must_use]
    pub fn read(kind: UpKind, bytes: &[u8]) -> Self {
        let read = match kind {
            UpKind::Profile => {
                wire::decode_profile(bytes).map_err(|error| in_one_line(&error)).and_then(|profile| {
                    plausible::check(&profile).map_err(|error| error.to_string())?;
                    Ok(Self::Profile(Box::new(ProfileRows::from(&profile))))
                })
            }
            UpKind::Series => wire::decode_series(bytes)
                .map(|series| Self::Series { run_id: series.run_id })
                .map_err(|error| in_one_line(&error)),
            UpKind::Event => EventReport::from_bytes(bytes, Some("application/cbor"))
                .map(|event| Self::Event { lost: event.range })
                .map_err(|error| in_one_line(&error)),
        };
        read.unwrap_or_else(|reason| Self::Unreadable { reason })
    }
}
