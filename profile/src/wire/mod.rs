//! The messages that leave a board: [`Profile`](crate::summary::Profile) and
//! [`Series`](crate::series::Series) as packed CBOR.
//!
//! Terms: a *message* is a map from small integers to values, the number being a field's position in its
//! struct in [`layout`]; a *column* holds one figure of every point; a *code* is the number of an enum's
//! variant. Version 1 is append-only: fields are added at the end, codes are added, nothing is renumbered.
//! A reader skips fields that it does not know.
//!
//! All numbers are integers. Reference percentiles and means survive bit for bit, because they are
//! fractions of whole nanoseconds with known denominators; what does not is listed in docs/wire.md with its
//! resolution. Encoding what was decoded gives the same bytes again.
//!
//! Deliberately not here: compression of whole messages (the transport's choice), topics, and any schema
//! negotiation beyond the version in field 0.

mod capacities;
mod codes;
mod describe;
mod drift;
mod error;
mod intervals;
mod layout;
mod points;
mod profile;
mod scale;
mod series;
mod soaks;
mod varint;

pub use error::WireError;
pub use profile::{decode_profile, encode_profile};
pub use series::{decode_series, encode_series};

use crate::codec;

/// Version of both messages.
pub const VERSION: u16 = 1;

/// Most bytes of an encoded profile.
pub const MAX_PROFILE_BYTES: usize = 1 << 20;

/// Most bytes of an encoded series.
pub const MAX_SERIES_BYTES: usize = 1 << 20;

/// Refuses messages of other versions before their content is looked at.
fn check_version(bytes: &[u8], limit: usize) -> Result<(), WireError> {
    let envelope: layout::Envelope = codec::from_cbor(bytes, limit)?;
    if envelope.version != VERSION {
        return Err(WireError::Version { found: envelope.version });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
