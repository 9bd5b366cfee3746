//! Columns: one number of every point as a byte string.
//!
//! A number n travels as the LEB128 varint of `zigzag(n) + 1`, where `zigzag` is 2n for n >= 0 and -2n - 1
//! below; 0 stands for null. Numbers of a column have similar sizes, mostly two to four bytes. A column of a
//! single number holds it for every point.

use super::WireError;
use super::layout::Blob;

/// The column of `numbers`; `None` when all of them are null.
pub(super) fn pack(numbers: impl Iterator<Item = Option<i64>>) -> Option<Blob> {
    let mut numbers: Vec<Option<i64>> = numbers.collect();
    if numbers.iter().all(Option::is_none) {
        return None;
    }
    if numbers.windows(2).all(|pair| pair[0] == pair[1]) {
        numbers.truncate(1);
    }
    let mut bytes = Vec::new();
    for number in numbers {
        // Up to 2^64, which is one more than 64 bits hold.
        let mut rest = number.map_or(0, |n| u128::from(((n << 1) ^ (n >> 63)) as u64) + 1);
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    Some(Blob(bytes))
}

/// The numbers of a column that must hold `expected` of them; all null where there is no column. The caller
/// bounds `expected`.
pub(super) fn unpack(
    name: &'static str,
    column: Option<&Blob>,
    expected: usize,
) -> Result<Vec<Option<i64>>, WireError> {
    let Some(Blob(bytes)) = column else { return Ok(vec![None; expected]) };
    let mut numbers = Vec::with_capacity(expected.min(bytes.len()));
    let mut value = 0_u128;
    let mut shift = 0;
    for &byte in bytes {
        value |= u128::from(byte & 0x7f) << shift;
        shift += 7;
        if shift > 70 || value > 1 << 64 {
            return Err(WireError::OutOfRange { what: name });
        }
        if byte & 0x80 == 0 {
            numbers.push(value.checked_sub(1).map(|zigzag| {
                let zigzag = zigzag as u64;
                (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
            }));
            (value, shift) = (0, 0);
        }
    }
    if let ([number], 0) = (numbers.as_slice(), shift) {
        return Ok(vec![*number; expected]);
    }
    if shift != 0 || numbers.len() != expected {
        return Err(WireError::Length { column: name, found: numbers.len(), expected });
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(numbers in prop::collection::vec(any::<Option<i64>>(), 0..40)) {
            let packed = pack(numbers.iter().copied());
            prop_assert_eq!(packed.is_none(), numbers.iter().all(Option::is_none));
            prop_assert_eq!(unpack("x", packed.as_ref(), numbers.len()), Ok(numbers));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40), expected in 0..40_usize) {
            if let Ok(numbers) = unpack("x", Some(&Blob(bytes)), expected) {
                prop_assert_eq!(numbers.len(), expected);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_documentation() {
        let numbers = [None, Some(0), Some(-1), Some(1), Some(63), Some(64), Some(i64::MIN), Some(i64::MAX)];
        let Blob(bytes) = pack(numbers.into_iter()).unwrap();
        assert_eq!(bytes[..7], [0, 1, 2, 3, 127, 0x81, 0x01]);
        assert_eq!(unpack("x", Some(&Blob(bytes)), 8).unwrap(), numbers);
    }

    #[test]
    fn equal_numbers_are_written_once() {
        let packed = pack([Some(7); 500].into_iter());
        assert_eq!(packed, Some(Blob(vec![15])));
        assert_eq!(unpack("x", packed.as_ref(), 500), Ok(vec![Some(7); 500]));
        assert_eq!(unpack("x", packed.as_ref(), 0), Ok(vec![]));
    }

    #[test]
    fn a_number_cut_off_or_too_large_is_refused() {
        assert!(matches!(unpack("x", Some(&Blob(vec![0x80])), 1), Err(WireError::Length { .. })));
        let large = Blob([vec![0xff; 10], vec![0x7f]].concat());
        assert!(matches!(unpack("x", Some(&large), 1), Err(WireError::OutOfRange { .. })));
        let endless = Blob(vec![0x80; 1000]);
        assert!(matches!(unpack("x", Some(&endless), 1), Err(WireError::OutOfRange { .. })));
    }
}
