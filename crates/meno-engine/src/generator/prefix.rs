//! What finished sequences left in the cache, so that a prompt with the same beginning does not run it again.

use meno_tensor::tape::PageTable;
use std::collections::VecDeque;

/// Tokens whose keys and values stand in a place of the cache.
struct Kept {
    place: usize,
    /// Whose they are: others do not find them.
    salt: u64,
    tokens: Vec<u32>,
}

/// Kept beginnings, the one used least recently first.
#[derive(Default)]
pub(super) struct Prefixes {
    kept: VecDeque<Kept>,
}

/// How many tokens two sequences begin with alike.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    /// Places, salts and tokens, the one used least recently first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64, &[u32])> {
        self.kept.iter().map(|k| (k.place, k.salt, &k.tokens[..]))
    }

    /// The place of this salt that holds most of the beginning of `tokens`, and how much.
    pub(super) fn find(&self, salt: u64, tokens: &[u32]) -> Option<(usize, usize)> {
        // Of equals the last used.
        let own = self.kept.iter().filter(|k| k.salt == salt);
        let best = own.map(|k| (k.place, common(&k.tokens, tokens))).max_by_key(|k| k.1);
        best.filter(|b| b.1 > 0)
    }

    /// Notes that a place was used.
    pub(super) fn touch(&mut self, place: usize) {
        if let Some(i) = self.kept.iter().position(|k| k.place == place)
            && let Some(kept) = self.kept.remove(i)
        {
            self.kept.push_back(kept);
        }
    }

    /// Keeps a place that holds `tokens`, instead of those of the same salt that hold only their beginning.
    pub(super) fn keep(&mut self, place: usize, salt: u64, tokens: Vec<u32>, table: &mut PageTable) {
        if tokens.is_empty() || self.kept.iter().any(|k| k.salt == salt && k.tokens.starts_with(&tokens)) {
            table.close(place);
            return;
        }
        self.kept.retain(|k| {
            let within = k.salt == salt && tokens.starts_with(&k.tokens);
            if within {
                table.close(k.place);
            }
            !within
        });
        self.kept.push_back(Kept { place, salt, tokens });
    }

    /// Gives the place used least recently back to the cache; `false` if there is none.
    pub(super) fn evict(&mut self, table: &mut PageTable) -> bool {
        let oldest = self.kept.pop_front();
        if let Some(kept) = &oldest {
            table.close(kept.place);
        }
        oldest.is_some()
    }

    /// Gives all places back.
    pub(super) fn clear(&mut self, table: &mut PageTable) {
        while self.evict(table) {}
    }
}
