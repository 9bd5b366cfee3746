//! Frames over a worker's pipes: a length in four little-endian bytes, then that many bytes of CBOR.
//!
//! The length is held against [`MAX_FRAME`] before anything is allocated, so a stray print on the pipe is
//! an error and never an allocation of gigabytes. Nothing here knows what the frames mean.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Longest frame: a million iterations with their compute times.
pub const MAX_FRAME: usize = 32 << 20;

/// Why a frame could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The pipe failed, or ended inside a frame.
    #[error("the pipe between clipmarkd and its worker failed")]
    Io(#[from] io::Error),
    /// A length beyond [`MAX_FRAME`]: most likely text that some library printed on the pipe.
    #[error("a frame of {0} bytes exceeds the bound of {MAX_FRAME}; the peer does not speak the protocol")]
    TooLong(usize),
    /// Bytes that are not the expected message.
    #[error("a frame does not hold the expected message")]
    Malformed(#[source] serde_cbor::Error),
}

/// Writes one frame and flushes it.
///
/// # Errors
/// When the message is too long, or the pipe fails.
pub fn write<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let body = serde_cbor::to_vec(message).map_err(FrameError::Malformed)?;
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if body.len() > MAX_FRAME {
        return Err(FrameError::TooLong(body.len()));
    }
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&body)?;
    out.flush()?;
    Ok(())
}

/// Reads one frame; `None` when the pipe was closed between frames.
///
/// # Errors
/// When the pipe fails or ends inside a frame, the length is out of bounds, or the body is malformed.
pub fn read<T: DeserializeOwned>(input: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut prefix = [0_u8; 4];
    if !fill_or_end(input, &mut prefix)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let mut body = vec![0_u8; length];
    input.read_exact(&mut body)?;
    serde_cbor::from_slice(&body).map(Some).map_err(FrameError::Malformed)
}

/// Fills `buffer`; `false` when the input ended before its first byte.
fn fill_or_end(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{FrameError, read, write};
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn frames_come_back_in_order(messages in proptest::collection::vec(any::<Vec<u64>>(), 0..6)) {
            let mut pipe = Vec::new();
            for message in &messages {
                write(&mut pipe, message).unwrap();
            }
            let mut input = pipe.as_slice();
            let mut seen: Vec<Vec<u64>> = Vec::new();
            while let Some(message) = read(&mut input).unwrap() {
                seen.push(message);
            }
            proptest::prop_assert_eq!(seen, messages);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            let _ = read::<Vec<u64>>(&mut bytes.as_slice());
        }
    }

    #[test]
    fn a_pipe_cut_inside_a_frame_is_an_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &vec![1_u64, 2, 3]).unwrap();
        for cut in 1..pipe.len() {
            let outcome = read::<Vec<u64>>(&mut &pipe[..cut]);
            assert!(matches!(outcome, Err(FrameError::Io(_))), "cut at {cut}: {outcome:?}");
        }
    }

    #[test]
    fn text_on_the_pipe_is_refused_before_it_allocates() {
        let outcome = read::<Vec<u64>>(&mut b"Loading model, please wait...\n".as_slice());
        assert!(matches!(outcome, Err(FrameError::TooLong(_))), "{outcome:?}");
    }
}
