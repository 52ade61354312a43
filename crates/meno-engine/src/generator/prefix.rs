//! Prefixes that finished sequences leave in the cache, so that a prompt with the same beginning does not recompute
//! them.

use meno_tensor::tape::PageTable;
use std::collections::VecDeque;

/// The tokens whose keys and values a slot of the cache holds.
struct Kept {
    slot: usize,
    /// The owner; requests with another salt do not find it.
    salt: u64,
    tokens: Vec<u32>,
}

/// Kept prefixes, least recently used first.
#[derive(Default)]
pub(super) struct Prefixes {
    kept: VecDeque<Kept>,
}

/// Returns the length of the common prefix of two sequences.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    /// Iterates over slots, salts and tokens, least recently used first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64, &[u32])> {
        self.kept.iter().map(|k| (k.slot, k.salt, &k.tokens[..]))
    }

    /// Finds the slot with this salt that shares the longest prefix with `tokens`, and the length of that prefix.
    pub(super) fn find(&self, salt: u64, tokens: &[u32]) -> Option<(usize, usize)> {
        // Of equal lengths, the most recently used wins.
        let own = self.kept.iter().filter(|k| k.salt == salt);
        let best = own.map(|k| (k.slot, common(&k.tokens, tokens))).max_by_key(|k| k.1);
        best.filter(|b| b.1 > 0)
    }

    /// Marks a slot as just used.
    pub(super) fn touch(&mut self, slot: usize) {
        if let Some(i) = self.kept.iter().position(|k| k.slot == slot)
            && let Some(kept) = self.kept.remove(i)
        {
            self.kept.push_back(kept);
        }
    }

    /// Keeps a slot that holds `tokens`, and drops slots with the same salt that hold only a prefix of it.
    pub(super) fn keep(&mut self, slot: usize, salt: u64, tokens: Vec<u32>, table: &mut PageTable) {
        if tokens.is_empty() || self.kept.iter().any(|k| k.salt == salt && k.tokens.starts_with(&tokens)) {
            table.close(slot);
            return;
        }
        self.kept.retain(|k| {
            let within = k.salt == salt && tokens.starts_with(&k.tokens);
            if within {
                table.close(k.slot);
            }
            !within
        });
        self.kept.push_back(Kept { slot, salt, tokens });
    }

    /// Releases the least recently used slot to the cache; `false` if there is none.
    pub(super) fn evict(&mut self, table: &mut PageTable) -> bool {
        let oldest = self.kept.pop_front();
        if let Some(kept) = &oldest {
            table.close(kept.slot);
        }
        oldest.is_some()
    }

    /// Releases all slots.
    pub(super) fn clear(&mut self, table: &mut PageTable) {
        while self.evict(table) {}
    }
}
