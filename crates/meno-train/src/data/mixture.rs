//! Combines several files in one epoch, according to their weights.

use super::shuffle::shuffled;

/// Maps each position of an endless, shuffled order to an item of several files.
///
/// The weight of a file is how often each of its items occurs in one epoch: 1 for once, 2 for twice, 0.5 for every
/// other item. Items that a fractional weight leaves out of one epoch come first in the next. With weights of 1, an
/// epoch is one permutation of all items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    /// Number of items of the file.
    len: u64,
    /// Number of items of the file per epoch.
    quota: u64,
}

impl Mixture {
    /// Creates a mixture of files, given their item counts and weights.
    pub fn new(files: &[(usize, f64)]) -> Mixture {
        let mut start = 0;
        let part = |&(len, weight): &(usize, f64)| {
            let quota = (len as f64 * weight).round().clamp(1.0, 1e15) as u64;
            let part = Part { start, len: len as u64, quota };
            start += len;
            part
        };
        Mixture { parts: files.iter().map(part).filter(|p| p.len > 0).collect() }
    }

    /// Returns the number of items per epoch.
    pub fn epoch(&self) -> u64 {
        self.parts.iter().map(|p| p.quota).sum()
    }

    /// Returns the item at `position`; `None` if there are no items.
    pub fn index(&self, seed: u64, position: u64) -> Option<usize> {
        let epoch = self.epoch();
        let mut place = shuffled(seed, (epoch > 0).then_some(epoch)?, position);
        for (number, part) in self.parts.iter().enumerate() {
            if place >= part.quota {
                place -= part.quota;
                continue;
            }
            if part.quota != part.len {
                // The file has a separate order of its items, which continues from epoch to epoch.
                let own = seed ^ 0x6d69_7874_7572_6500 ^ number as u64;
                place = shuffled(own, part.len, position / epoch * part.quota + place);
            }
            return Some(part.start + place as usize);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_one_are_a_permutation_of_all() {
        let mixture = Mixture::new(&[(5, 1.0), (0, 1.0), (8, 1.0)]);
        assert_eq!(mixture.epoch(), 13);
        for position in 0..40 {
            assert_eq!(mixture.index(7, position), Some(shuffled(7, 13, position) as usize));
        }
        assert_eq!(Mixture::new(&[(0, 1.0)]).index(7, 0), None);
    }

    #[test]
    fn a_weight_is_how_often_an_item_is_seen_in_an_epoch() {
        let mixture = Mixture::new(&[(10, 2.0), (10, 0.5), (4, 1.0)]);
        assert_eq!(mixture.epoch(), 20 + 5 + 4);
        let count = |epochs: std::ops::Range<u64>| {
            let mut seen = [0; 24];
            for position in epochs.start * 29..epochs.end * 29 {
                seen[mixture.index(3, position).unwrap()] += 1;
            }
            seen
        };
        let first = count(0..1);
        assert!(first[..10].iter().all(|n| *n == 2) && first[20..].iter().all(|n| *n == 1), "{first:?}");
        assert!(first[10..20].iter().all(|n| *n <= 1) && first[10..20].iter().sum::<i32>() == 5, "{first:?}");
        // The half left out of the first epoch fills the second.
        assert!(count(0..2)[10..20].iter().all(|n| *n == 1));
    }
}
