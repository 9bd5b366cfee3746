//! The seeded streams behind built-in weights and model inputs: clipmark-profile's generator, one stream a name.
//!
//! Only integers are drawn from it, so that the same seed gives the same bytes on every machine.

use clipmark_profile::stats::rng::Rng;

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct SplitMix64(Rng);

impl SplitMix64 {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// The stream that belongs to `name` under `seed`: independent of what else is drawn, and of order.
    #[must_use]
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a, 64 bit.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self::new(Self::new(seed ^ hash).next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next number in [0, 1): 24 random bits, exactly representable as `f32`.
    pub fn next_unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// The next number in [0, `bound`), with a bias below 2^-32 for the bounds used here; 0 for bound 0.
    pub fn next_below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_equals_the_published_reference_values() {
        // First outputs of the reference C code for seed 1234567.
        let mut stream = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| stream.next_u64()), expected);
    }

    #[test]
    fn named_streams_differ_by_name_and_by_seed() {
        let first = |seed, name| SplitMix64::named(seed, name).next_u64();
        assert_eq!(first(1, "video"), first(1, "video"));
        assert_ne!(first(1, "video"), first(1, "text"));
        assert_ne!(first(1, "video"), first(2, "video"));
    }

    #[test]
    fn bounded_draws_stay_in_their_range_and_reach_its_ends() {
        let mut stream = SplitMix64::new(3);
        let draws: Vec<u64> = (0..500).map(|_| stream.next_below(5)).collect();
        assert!(draws.iter().all(|&d| d < 5));
        assert!((0..5).all(|v| draws.contains(&v)));
        assert!((0..500).map(|_| stream.next_unit_f32()).all(|u| (0.0..1.0).contains(&u)));
    }
}
