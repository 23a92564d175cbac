//! A hash of one number that costs a multiplication, for maps whose keys are numbers.
//!
//! Seeded for each map, so that nobody knows which numbers collide.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Odd, and without a pattern.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes the hashes of one map.
#[derive(Debug, Clone)]
pub(crate) struct QuickHash {
    seed: u64,
}

impl QuickHash {
    pub(crate) fn new() -> QuickHash {
        QuickHash {
            seed: RandomState::new().hash_one(0_u64),
        }
    }
}

impl BuildHasher for QuickHash {
    type Hasher = QuickHasher;

    fn build_hasher(&self) -> QuickHasher {
        QuickHasher(self.seed)
    }
}

/// A hash in the making.
pub(crate) struct QuickHasher(u64);

impl QuickHasher {
    fn mix(&mut self, number: u64) {
        // Both halves of the product, so that every bit of the number is in every bit of the hash.
        let product = u128::from(self.0 ^ number) * u128::from(MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for QuickHasher {
    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.mix(u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_in_a_row_and_multiples_spread() {
        let hash = QuickHash::new();
        for step in [1_u64, 60, 1000, 1 << 32] {
            // The bits that a map looks at first: the lowest, and the highest seven.
            let low = |number| hash.hash_one(number * step) & 0xff;
            let high = |number| hash.hash_one(number * step) >> 57;
            let lows: HashSet<u64> = (0..4096).map(low).collect();
            let highs: HashSet<u64> = (0..4096).map(high).collect();
            assert!(lows.len() > 200, "{} of 256 for {step}", lows.len());
            assert!(highs.len() > 100, "{} of 128 for {step}", highs.len());
        }
    }

    #[test]
    fn maps_have_hashes_of_their_own() {
        assert_ne!(
            QuickHash::new().hash_one(1_u64),
            QuickHash::new().hash_one(1_u64)
        );
    }
}
