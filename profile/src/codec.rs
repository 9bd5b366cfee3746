//! The one place where bytes become values and values become bytes.
//!
//! CBOR is written packed (struct fields and enum variants by number) and read after three checks that
//! do not depend on the parser: the length against the caller's limit, the nesting against [`MAX_DEPTH`],
//! and every length that the bytes claim against the bytes that are there. JSON is accepted wherever CBOR
//! is, so that a person can publish a request by hand.
//!
//! Only the subset of CBOR that clipmark writes is read: definite lengths, no tags, no undefined. Types
//! that pass through here are append-only structs and enums without data, so that a packed number keeps
//! its meaning; no type holds a `Value` or a hash map. Nothing outside this module names the CBOR crate.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Deepest nesting of arrays and maps that is read.
pub const MAX_DEPTH: usize = 32;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// RFC 8949, packed.
    Cbor,
    /// RFC 8259, field names spelled out.
    Json,
}

impl Encoding {
    /// The MQTT 5 content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Cbor => "application/cbor",
            Self::Json => "application/json",
        }
    }

    /// The encoding that a message's content type names; JSON where it names none.
    ///
    /// # Errors
    /// [`CodecError::ContentType`] for any other type.
    pub fn from_content_type(content_type: Option<&str>) -> Result<Self, CodecError> {
        let Some(given) = content_type else { return Ok(Self::Json) };
        let essence = given.split(';').next().unwrap_or_default().trim();
        [Self::Cbor, Self::Json]
            .into_iter()
            .find(|encoding| essence.eq_ignore_ascii_case(encoding.content_type()))
            .ok_or_else(|| CodecError::ContentType { given: given.chars().take(64).collect() })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbor => "CBOR",
            Self::Json => "JSON",
        })
    }
}

/// Why a payload cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The content type is neither CBOR nor JSON.
    #[error("content type `{given}` is not known; send application/cbor or application/json")]
    ContentType {
        /// What the message said, shortened.
        given: String,
    },
    /// Longer than the limit for this kind of payload.
    #[error("the payload has {length} bytes and at most {limit} are accepted; send a smaller one")]
    TooLong {
        /// Bytes received or produced.
        length: usize,
        /// Most bytes accepted.
        limit: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("arrays and maps are nested deeper than {MAX_DEPTH} at byte {offset}; no message needs that")]
    TooDeep {
        /// Offset of the offending header.
        offset: usize,
    },
    /// Not CBOR, cut off, or outside the subset that is read.
    #[error("not acceptable CBOR at byte {offset}: {problem}; check how the sender encodes it")]
    Malformed {
        /// Offset of the offending byte.
        offset: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// Well-formed, but not the message that was expected: an unknown field, a wrong type, a missing field.
    #[error("{encoding} does not hold the expected message: {problem}")]
    Content {
        /// How the payload was read.
        encoding: Encoding,
        /// The parser's words, which name the field.
        problem: String,
    },
    /// A value that cannot be written, e.g. a map key that JSON cannot express.
    #[error("the value cannot be written as {encoding}: {problem}")]
    Unwritable {
        /// How it was to be written.
        encoding: Encoding,
        /// The serializer's words.
        problem: String,
    },
}

/// Writes `value`.
///
/// # Errors
/// [`CodecError::Unwritable`], or [`CodecError::TooLong`] beyond `limit` bytes.
pub fn encode<T: Serialize>(value: &T, encoding: Encoding, limit: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = match encoding {
        Encoding::Cbor => serde_cbor::ser::to_vec_packed(value).map_err(|error| error.to_string()),
        Encoding::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
    }
    .map_err(|problem| CodecError::Unwritable { encoding, problem })?;
    check_length(&bytes, limit)?;
    Ok(bytes)
}

/// Reads a value of at most `limit` bytes. Nothing may follow it.
///
/// # Errors
/// Any [`CodecError`] but `Unwritable`; never a panic, whatever the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, limit: usize) -> Result<T, CodecError> {
    check_length(bytes, limit)?;
    let value = match encoding {
        Encoding::Cbor => {
            check_well_formed(bytes)?;
            serde_cbor::from_slice(bytes).map_err(|error| error.to_string())
        }
        Encoding::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
    };
    value.map_err(|problem| CodecError::Content { encoding, problem })
}

/// Writes `value` as packed CBOR of at most `limit` bytes.
///
/// # Errors
/// As [`encode`].
pub fn to_cbor<T: Serialize>(value: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    encode(value, Encoding::Cbor, limit)
}

/// Reads packed CBOR (or CBOR with field names) of at most `limit` bytes.
///
/// # Errors
/// As [`decode`].
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    decode(bytes, Encoding::Cbor, limit)
}

fn check_length(bytes: &[u8], limit: usize) -> Result<(), CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong { length: bytes.len(), limit });
    }
    Ok(())
}

/// One data item's header: major type, argument, and where its content starts.
struct Header {
    major: u8,
    argument: u64,
    next: usize,
}

fn header(bytes: &[u8], offset: usize) -> Result<Header, CodecError> {
    let malformed = |problem| CodecError::Malformed { offset, problem };
    let Some(&initial) = bytes.get(offset) else { return Err(malformed("the payload is cut off")) };
    let (major, info) = (initial >> 5, initial & 0x1f);
    let width = match info {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        31 => return Err(malformed("indefinite lengths are not accepted")),
        _ => return Err(malformed("a reserved header")),
    };
    let next = offset + 1 + width;
    let Some(tail) = bytes.get(offset + 1..next) else { return Err(malformed("the payload is cut off")) };
    let argument = match width {
        0 => u64::from(info),
        _ => tail.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    };
    Ok(Header { major, argument, next })
}

/// Walks one data item without recursion: depth, claimed lengths, the accepted subset, no trailing bytes.
fn check_well_formed(bytes: &[u8]) -> Result<(), CodecError> {
    let mut open = [0_u64; MAX_DEPTH];
    let mut depth = 0;
    let mut offset = 0;
    loop {
        let Header { major, argument, next } = header(bytes, offset)?;
        let malformed = |problem| CodecError::Malformed { offset, problem };
        let left = (bytes.len() - next) as u64;
        let mut end = next;
        let mut items = 0;
        match major {
            0 | 1 => {}
            2 | 3 if argument <= left => end = next + argument as usize,
            2 | 3 => return Err(malformed("a string is longer than the payload")),
            4 if argument <= left => items = argument,
            5 if argument <= left / 2 => items = argument * 2,
            4 | 5 => return Err(malformed("an array or map is longer than the payload")),
            6 => return Err(malformed("tags are not accepted")),
            _ if next - offset == 1 && !(20..=22).contains(&argument) => {
                return Err(malformed("a simple value other than true, false and null"));
            }
            _ if next - offset == 2 => return Err(malformed("a simple value of two bytes")),
            _ => {}
        }
        offset = end;
        if items > 0 {
            let slot = open.get_mut(depth).ok_or(CodecError::TooDeep { offset })?;
            *slot = items;
            depth += 1;
            continue;
        }
        while depth > 0 {
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
        if depth == 0 {
            break;
        }
    }
    if offset == bytes.len() {
        return Ok(());
    }
    Err(CodecError::Malformed { offset, problem: "bytes follow the message" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    enum Kind {
        First,
        Second,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        number: u64,
        text: String,
        kind: Kind,
        list: Vec<Option<f64>>,
        #[serde(with = "serde_bytes")]
        blob: Vec<u8>,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let kind = prop_oneof![Just(Kind::First), Just(Kind::Second)];
        // Short decimals: the JSON parser rounds the last of 17 digits, CBOR is exact.
        let number = any::<i32>().prop_map(|sixteenths| f64::from(sixteenths) / 16.0);
        let list = prop::collection::vec(prop::option::of(number), 0..20);
        let blob = prop::collection::vec(any::<u8>(), 0..50);
        (any::<u64>(), ".{0,20}", kind, list, blob).prop_map(|(number, text, kind, list, blob)| Sample {
            number,
            text,
            kind,
            list,
            blob,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in sample()) {
            for encoding in [Encoding::Cbor, Encoding::Json] {
                let bytes = encode(&value, encoding, 1 << 16).unwrap();
                prop_assert_eq!(decode::<Sample>(&bytes, encoding, 1 << 16).unwrap(), value.clone());
            }
        }

        #[test]
        fn every_truncation_and_extension_is_refused(value in sample(), extra in any::<u8>()) {
            let bytes = to_cbor(&value, 1 << 16).unwrap();
            for end in 0..bytes.len() {
                prop_assert!(from_cbor::<Sample>(&bytes[..end], 1 << 16).is_err());
            }
            let mut longer = bytes.clone();
            longer.push(extra);
            let refused = from_cbor::<Sample>(&longer, 1 << 16);
            prop_assert_eq!(
                refused,
                Err(CodecError::Malformed { offset: bytes.len(), problem: "bytes follow the message" })
            );
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_cbor::<Sample>(&bytes, 200);
            let _ = decode::<Sample>(&bytes, Encoding::Json, 200);
        }
    }

    fn refused(bytes: &[u8]) -> CodecError {
        from_cbor::<Sample>(bytes, 1 << 20).unwrap_err()
    }

    #[test]
    fn hostile_headers_are_named() {
        let deep = vec![0x81; 100_000];
        assert_eq!(refused(&deep), CodecError::TooDeep { offset: MAX_DEPTH + 1 });
        let cases: [(&[u8], &str); 9] = [
            (&[], "cut off"),
            (&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0], "array or map is longer"),
            (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "array or map is longer"),
            (&[0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0], "string is longer"),
            (&[0x9f, 0x01, 0xff], "indefinite"),
            (&[0xc0, 0x01], "tags"),
            (&[0x1c], "reserved"),
            (&[0xf7], "simple value"),
            (&[0xf8, 0xff], "simple value"),
        ];
        for (bytes, expected) in cases {
            let message = refused(bytes).to_string();
            assert!(message.contains(expected), "{bytes:02x?}: {message}");
        }
    }

    #[test]
    fn the_length_is_checked_before_anything_else() {
        let error = from_cbor::<Sample>(&[0xff; 100], 99).unwrap_err();
        assert_eq!(error, CodecError::TooLong { length: 100, limit: 99 });
        assert!(matches!(to_cbor(&"x".repeat(100), 50), Err(CodecError::TooLong { length: 102, limit: 50 })));
    }

    #[test]
    fn an_unknown_field_is_named_in_both_encodings() {
        let json = br#"{"number":1,"text":"","kind":"First","list":[],"blob":[],"extra":1}"#;
        let error = decode::<Sample>(json, Encoding::Json, 1000).unwrap_err();
        assert!(error.to_string().contains("unknown field `extra`"), "{error}");
        let cbor = [0xa1, 0x65, b'e', b'x', b't', b'r', b'a', 0x01];
        let error = from_cbor::<Sample>(&cbor, 1000).unwrap_err();
        assert!(error.to_string().contains("unknown field `extra`"), "{error}");
    }

    #[test]
    fn fields_are_packed_as_their_position() {
        let value =
            Sample { number: 7, text: String::new(), kind: Kind::Second, list: vec![], blob: vec![1] };
        let bytes = to_cbor(&value, 100).unwrap();
        assert_eq!(bytes, [0xa5, 0, 7, 1, 0x60, 2, 1, 3, 0x80, 4, 0x41, 1]);
    }

    #[test]
    fn the_content_type_decides_and_json_is_the_default() {
        assert_eq!(Encoding::from_content_type(None), Ok(Encoding::Json));
        assert_eq!(Encoding::from_content_type(Some("application/CBOR")), Ok(Encoding::Cbor));
        assert_eq!(Encoding::from_content_type(Some("application/json; charset=utf-8")), Ok(Encoding::Json));
        assert!(Encoding::from_content_type(Some("text/plain")).is_err());
    }
}
