//! The order of an epoch: a permutation that is computed, not stored.

use meno_tensor::rng::Rng;

/// Returns the item at position `index` of an endless sequence of shuffled epochs over `len` items.
///
/// It is a keyed Feistel permutation, so no order is stored and any position is computed directly.
pub fn shuffled(seed: u64, len: u64, index: u64) -> u64 {
    let epoch = index / len;
    let mut at = index % len;
    let half = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4 {
            let f = Rng::new(&[seed, epoch, round, right]).next_u64() & mask;
            (left, right) = (right, left ^ f);
        }
        at = (left << half) | right;
        // Cycle-walking: permute again until the result is within 0..len.
        if at < len {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_a_new_permutation() {
        for len in [1u64, 2, 3, 10, 97, 256, 1000] {
            let epoch = |e: u64| (0..len).map(|i| shuffled(5, len, e * len + i)).collect::<Vec<_>>();
            let mut sorted = epoch(0);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..len).collect::<Vec<_>>(), "{len}");
            assert!(len < 10 || epoch(0) != epoch(1));
            assert!(len < 10 || epoch(0) != (0..len).collect::<Vec<_>>());
        }
    }
}
