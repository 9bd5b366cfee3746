//! The payloads of every topic: what is asked, how far it came, what a device is, what was received.
//!
//! Small messages that a person may want to read with `mosquitto_sub` (state, info, status, progress,
//! receipt, configuration) are published as JSON; results travel as CBOR inside an [`Envelope`]. A reader
//! goes by the MQTT content type and takes both. The profile itself is encoded elsewhere: here it is
//! the content of an envelope.
//!
//! Fields are only ever appended, optional ones are omitted when absent, and requests refuse unknown fields
//! while everything that a device publishes may grow new ones.

mod device;
mod envelope;
mod status;

pub use device::{
    Availability, ConfigDesired, ConfigReported, DeviceInfo, DeviceState, ModelInfo, Progress,
    RemoteSettings, Temperature,
};
pub use envelope::{
    Envelope, Epoch, EventKind, EventReport, Place, Receipt, RecordDigest, SequenceRange, StoredRecord,
};
pub use status::{
    Check, CommandState, CommandStatus, NoArguments, OperationResult, Reading, Reason, ReasonCode,
};

use crate::codec::{self, CodecError, Encoding};
use crate::plan::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message with its customary encoding and its longest length.
pub trait Payload: Serialize + DeserializeOwned {
    /// How clipmark publishes it.
    const ENCODING: Encoding;
    /// Longest payload in bytes, written or read.
    const LIMIT: usize;

    /// Writes it in its customary encoding.
    ///
    /// # Errors
    /// As [`codec::encode`].
    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self, Self::ENCODING, Self::LIMIT)
    }

    /// Reads it in the encoding that `content_type` names, JSON where it names none.
    ///
    /// # Errors
    /// As [`codec::decode`], and for a content type that is neither.
    fn from_bytes(bytes: &[u8], content_type: Option<&str>) -> Result<Self, CodecError> {
        codec::decode(bytes, Encoding::from_content_type(content_type)?, Self::LIMIT)
    }
}

macro_rules! payload {
    ($($name:ty: $encoding:ident, $limit:expr;)*) => {
        $(impl Payload for $name {
            const ENCODING: Encoding = Encoding::$encoding;
            const LIMIT: usize = $limit;
        })*
    };
}

const KIB: usize = 1024;

payload! {
    Request: Json, 64 * KIB;
    NoArguments: Json, KIB;
    CommandStatus: Json, 64 * KIB;
    DeviceState: Json, 4 * KIB;
    DeviceInfo: Json, 64 * KIB;
    Progress: Json, 8 * KIB;
    Receipt: Json, 16 * KIB;
    ConfigDesired: Json, 16 * KIB;
    ConfigReported: Json, 16 * KIB;
    Envelope: Cbor, envelope::MAX_PART + KIB;
    EventReport: Cbor, 16 * 1024 * KIB;
}

/// Reads a request's payload. An empty one asks for the defaults, so that `mosquitto_pub -n` works.
///
/// # Errors
/// As [`Payload::from_bytes`].
pub fn read_request<T: Payload + Default>(bytes: &[u8], content_type: Option<&str>) -> Result<T, CodecError> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    T::from_bytes(bytes, content_type)
}

#[cfg(test)]
mod tests;
