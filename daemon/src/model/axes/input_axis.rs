//! One axis of an input as an expression of batch size and clip length, and how such expressions are read.

use clipmark_profile::point::Shape;
use std::fmt;

/// One axis: `factor * batch * frames / divisor + offset`, with batch and frames only where they are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputAxis {
    /// The number.
    pub factor: usize,
    /// Whether the batch size is a factor.
    pub batch: bool,
    /// Whether the clip length is a factor.
    pub frames: bool,
    /// What the product is divided by, without a remainder.
    pub divisor: usize,
    /// What is added to the quotient.
    pub offset: isize,
}

impl InputAxis {
    /// The batch axis.
    pub const BATCH: Self = Self { batch: true, ..Self::fixed(1) };
    /// The frames axis.
    pub const FRAMES: Self = Self { frames: true, ..Self::fixed(1) };

    /// Every frame of every clip.
    pub(super) const BATCH_OF_FRAMES: Self = Self { batch: true, ..Self::FRAMES };

    /// An axis that does not follow the grid point.
    #[must_use]
    pub const fn fixed(size: usize) -> Self {
        Self { factor: size, batch: false, frames: false, divisor: 1, offset: 0 }
    }

    /// Reads `product [/ number] [+ number]`, e.g. `4*frames+1`; `//` divides as `/` does. `known` says what a name or a
    /// number stands for. `None` where a part is not understood or the axis would be empty everywhere.
    pub(super) fn parse(text: &str, known: impl Fn(&str) -> Option<Self>) -> Option<Self> {
        let (text, offset) = match text.rfind(['+', '-']).filter(|at| *at > 0) {
            Some(at) => (&text[..at], text[at..].replace(' ', "").parse().ok()?),
            None => (text, 0),
        };
        let text = text.trim();
        let text = text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(text);
        let (product, divisor) = match text.split_once('/') {
            Some((product, divisor)) => (product, divisor.trim_start_matches('/').trim().parse().ok()?),
            None => (text, 1),
        };
        let mut axis = Self { divisor, offset, ..Self::fixed(1) };
        for factor in product.split('*').map(str::trim) {
            let factor = known(factor)?;
            axis.factor = axis.factor.checked_mul(factor.factor)?;
            axis.batch |= factor.batch;
            axis.frames |= factor.frames;
        }
        (axis.factor > 0 && axis.divisor > 0).then(|| axis.reduced())
    }

    /// The same with `divisor` times as many frames in a clip.
    pub(super) fn of_frames_divided_by(self, divisor: usize) -> Self {
        if self.frames { Self { divisor: self.divisor * divisor, ..self }.reduced() } else { self }
    }

    fn reduced(self) -> Self {
        let (mut common, mut rest) = (self.factor, self.divisor);
        while rest > 0 {
            (common, rest) = (rest, common % rest);
        }
        Self { factor: self.factor / common, divisor: self.divisor / common, ..self }
    }

    /// Whether each step along it is another frame, at this point.
    pub(super) const fn counts_frames(self, at: Shape) -> bool {
        self.frames && self.factor == 1 && (!self.batch || at.batch() == 1)
    }

    /// Its size at a grid point; `None` where it would be no whole number above 0.
    #[must_use]
    pub fn at(self, at: Shape) -> Option<usize> {
        let batch = if self.batch { at.batch() as usize } else { 1 };
        let frames = if self.frames { at.clip() as usize } else { 1 };
        let product = self.factor.checked_mul(batch)?.checked_mul(frames)?;
        let whole = product.is_multiple_of(self.divisor).then_some(product / self.divisor)?;
        whole.checked_add_signed(self.offset).filter(|size| *size > 0)
    }

    /// The batch size or the clip length that makes it `size`, where it follows one of the two.
    pub(super) fn solve(self, size: usize) -> Option<usize> {
        let product = size.checked_add_signed(-self.offset)?.checked_mul(self.divisor)?;
        let value = product / self.factor;
        (self.batch != self.frames && value > 0 && value * self.factor == product).then_some(value)
    }
}

impl fmt::Display for InputAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = [(self.batch, "batch"), (self.frames, "frames")]
            .into_iter()
            .filter(|n| n.0)
            .map(|n| n.1)
            .collect();
        match (named.is_empty(), self.factor) {
            (true, factor) => write!(f, "{factor}")?,
            (false, 1) => f.write_str(&named.join("*"))?,
            (false, factor) => write!(f, "{}*{factor}", named.join("*"))?,
        }
        if self.divisor > 1 {
            write!(f, "/{}", self.divisor)?;
        }
        if self.offset == 0 { Ok(()) } else { write!(f, "{:+}", self.offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<InputAxis> {
        InputAxis::parse(text, |name| match name {
            "batch" => Some(InputAxis::BATCH),
            "frames" => Some(InputAxis::FRAMES),
            number => number.parse().ok().map(InputAxis::fixed),
        })
    }

    #[test]
    fn expressions_are_read_sized_and_shown() {
        let at = Shape::new(3, 8).unwrap();
        for (text, size, shown) in [
            ("7", 7, "7"),
            ("batch", 3, "batch"),
            ("frames*batch", 24, "batch*frames"),
            ("4*frames", 32, "frames*4"),
            ("frames * 4 + 1", 33, "frames*4+1"),
            ("frames-1", 7, "frames-1"),
            ("frames/2", 4, "frames/2"),
            ("(frames//2) + 2", 6, "frames/2+2"),
            ("6*frames/4", 12, "frames*3/2"),
        ] {
            let axis = parsed(text).expect(text);
            assert_eq!((axis.at(at), axis.to_string().as_str()), (Some(size), shown), "{text}");
        }
        for text in ["", "width", "frames*width", "0*frames", "frames/0", "frames+width", "frames/batch"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_that_is_no_whole_number_above_0_is_none() {
        let at = |frames| Shape::new(1, frames).unwrap();
        let slow = parsed("frames/4").unwrap();
        assert_eq!([1, 4, 6, 8].map(|frames| slow.at(at(frames))), [None, Some(1), None, Some(2)]);
        assert_eq!([1, 2].map(|frames| parsed("frames-1").unwrap().at(at(frames))), [None, Some(1)]);
    }

    #[test]
    fn a_fixed_size_is_solved_for_the_one_unknown() {
        for (text, size, value) in [
            ("frames*160", 800, Some(5)),
            ("frames*160", 801, None),
            ("frames*4+1", 33, Some(8)),
            ("frames/4", 2, Some(8)),
            ("batch*frames", 8, None),
            ("7", 7, None),
        ] {
            assert_eq!(parsed(text).unwrap().solve(size), value, "{text} = {size}");
        }
    }
}
