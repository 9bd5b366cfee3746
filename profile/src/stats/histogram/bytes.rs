//! The compact form of a histogram.
//!
//! ```text
//! histogram = tail-length:u8 [ tail ] [ buckets ]
//! tail      = largest:varint order:u8 gaps           when tail-length > 0
//! gaps      = tail-length - 1 exponential-Golomb codes, most significant bit first, padded with zeros
//! buckets   = index:varint count { [ skip ] count }  to the end of the bytes
//! ```
//!
//! The tail lists the differences between neighbours from the top down. In most distributions the i-th of
//! them shrinks as 1 / i (Renyi 1953), so that its code has order `max(0, order - floor(log2 i))`. Buckets
//! count what the tail does not hold. A count is the varint `2 (count - 1) + jump`; with `jump` set, a varint
//! of empty buckets (at least 1) to skip follows before the next count. Varints are LEB128. Each
//! histogram has one encoding: bytes that differ from it are refused.

use super::{Histogram, HistogramError, MAX_COUNT, TAIL_LENGTH, buckets};

/// Largest order of an exponential-Golomb code.
const MAX_ORDER: u8 = 63;

impl Histogram {
    /// The compact form; see the module's grammar.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.largest.len() as u8];
        if let Some(&largest) = self.largest.first() {
            put_varint(&mut out, u128::from(largest));
            put_gaps(&mut out, &self.largest);
        }
        let mut expected = None;
        let mut flag_at = 0;
        for (index, count) in self.beyond_tail() {
            match expected {
                None => put_varint(&mut out, u128::from(index)),
                Some(next) if next == index => {}
                Some(next) => {
                    out[flag_at] |= 1;
                    put_varint(&mut out, u128::from(index - next));
                }
            }
            flag_at = out.len();
            put_varint(&mut out, u128::from(count - 1) << 1);
            expected = Some(index + 1);
        }
        out
    }

    /// Reads [`Self::to_bytes`]'s form. Any bytes may be given.
    ///
    /// # Errors
    /// Where the bytes are cut off, out of range, contradictory or not the histogram's one encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistogramError> {
        let mut reader = Reader { bytes, at: 0 };
        let tail_length = reader.byte()?;
        if usize::from(tail_length) > TAIL_LENGTH {
            return Err(out_of_range("tail length", tail_length.into(), TAIL_LENGTH as u64));
        }
        let largest = if tail_length == 0 { Vec::new() } else { reader.tail(tail_length.into())? };
        let mut counts = reader.buckets()?;
        for &value in &largest {
            let index = buckets::index(value);
            match counts.binary_search_by_key(&index, |&(index, _)| index) {
                Ok(at) => counts[at].1 += 1,
                Err(at) => counts.insert(at, (index, 1)),
            }
        }
        let histogram = Self::from_parts(counts, largest)?;
        if histogram.to_bytes() != bytes {
            return Err(HistogramError::Contradiction { what: "its bytes are not in their shortest form" });
        }
        Ok(histogram)
    }

    /// The buckets less the values that the tail holds.
    fn beyond_tail(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let mut kept = self.buckets.clone();
        for &value in &self.largest {
            let index = buckets::index(value);
            if let Ok(at) = kept.binary_search_by_key(&index, |&(index, _)| index) {
                kept[at].1 -= 1;
            }
        }
        kept.into_iter().filter(|&(_, count)| count > 0)
    }
}

fn out_of_range(what: &'static str, value: u64, most: u64) -> HistogramError {
    HistogramError::OutOfRange { what, value, most }
}

fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The order of the i-th code (from 1) in a tail of base order `order`.
fn order_at(order: u8, i: usize) -> u32 {
    u32::from(order).saturating_sub(i.ilog2())
}

/// Writes the best base order and the gaps of a descending, non-empty tail.
fn put_gaps(out: &mut Vec<u8>, largest: &[u64]) {
    let gaps: Vec<u64> = largest.windows(2).map(|pair| pair[0] - pair[1]).collect();
    let length = |gap: u64, order: u32| 2 * ((u128::from(gap) >> order) + 1).ilog2() + 1 + order;
    let total = |order: u8| -> u32 {
        gaps.iter().enumerate().map(|(i, &gap)| length(gap, order_at(order, i + 1))).sum()
    };
    let order = (0..=MAX_ORDER).min_by_key(|&order| total(order)).unwrap_or(0);
    out.push(order);
    let mut writer = BitWriter { out, used: 8 };
    for (i, &gap) in gaps.iter().enumerate() {
        let order = order_at(order, i + 1);
        let head = (u128::from(gap) >> order) + 1;
        writer.put(0, head.ilog2());
        writer.put(head, head.ilog2() + 1);
        writer.put(u128::from(gap), order);
    }
}

/// Appends bits to bytes, most significant first.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits used in the last byte.
    used: u32,
}

impl BitWriter<'_> {
    /// The `width` low bits of `value`.
    fn put(&mut self, value: u128, width: u32) {
        for bit in (0..width).rev() {
            if self.used == 8 {
                self.out.push(0);
                self.used = 0;
            }
            let last = self.out.len() - 1;
            self.out[last] |= ((value >> bit & 1) as u8) << (7 - self.used);
            self.used += 1;
        }
    }
}

/// A cursor over bytes of unknown origin.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn truncated(&self) -> HistogramError {
        HistogramError::Truncated { length: self.bytes.len() }
    }

    fn byte(&mut self) -> Result<u8, HistogramError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self, what: &'static str, most: u64) -> Result<u64, HistogramError> {
        let mut value = 0u128;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return match u64::try_from(value) {
                    Ok(value) if value <= most => Ok(value),
                    _ => Err(out_of_range(what, u64::try_from(value).unwrap_or(u64::MAX), most)),
                };
            }
        }
        Err(out_of_range(what, u64::MAX, most))
    }

    fn tail(&mut self, length: usize) -> Result<Vec<u64>, HistogramError> {
        let mut value = self.varint("largest value", u64::MAX)?;
        let order = self.byte()?;
        if order > MAX_ORDER {
            return Err(out_of_range("code order", order.into(), MAX_ORDER.into()));
        }
        let mut largest = vec![value];
        let mut bit = self.at * 8;
        for i in 1..length {
            let gap = self.gap(&mut bit, order_at(order, i))?;
            value = u64::try_from(gap)
                .ok()
                .and_then(|gap| value.checked_sub(gap))
                .ok_or(HistogramError::Contradiction { what: "a tail value is below zero" })?;
            largest.push(value);
        }
        self.at = bit.div_ceil(8);
        Ok(largest)
    }

    fn gap(&self, bit: &mut usize, order: u32) -> Result<u128, HistogramError> {
        let mut zeros = 0;
        while self.bits(bit, 1)? == 0 {
            zeros += 1;
            if zeros > 64 {
                return Err(out_of_range("gap length", zeros, 64));
            }
        }
        let head = 1u128 << zeros | self.bits(bit, zeros as u32)?;
        Ok((head - 1) << order | self.bits(bit, order)?)
    }

    /// The next `width <= 64` bits.
    fn bits(&self, bit: &mut usize, width: u32) -> Result<u128, HistogramError> {
        let mut value = 0;
        for _ in 0..width {
            let byte = self.bytes.get(*bit / 8).ok_or_else(|| self.truncated())?;
            value = value << 1 | u128::from(byte >> (7 - *bit % 8) & 1);
            *bit += 1;
        }
        Ok(value)
    }

    fn buckets(&mut self) -> Result<Vec<(u16, u64)>, HistogramError> {
        let last = buckets::COUNT as u64 - 1;
        let mut counts = Vec::new();
        if self.at >= self.bytes.len() {
            return Ok(counts);
        }
        let mut index = self.varint("bucket index", last)?;
        loop {
            let word = self.varint("bucket count", (MAX_COUNT - 1) << 1 | 1)?;
            counts.push((index as u16, (word >> 1) + 1));
            let jump = word & 1 == 1;
            if !jump && self.at >= self.bytes.len() {
                return Ok(counts);
            }
            let skipped = if jump { self.varint("empty buckets", last)? } else { 0 };
            index += 1 + skipped;
            if index > last {
                return Err(out_of_range("bucket index", index, last));
            }
        }
    }
}
