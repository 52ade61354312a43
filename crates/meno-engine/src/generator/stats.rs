//! Work counters of a generator.

/// Work counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Forward passes of the network.
    pub steps: usize,
    /// Prompt tokens that were computed (shared and reused ones are not).
    pub prompt_tokens: usize,
    /// Prompt tokens that were found in the cache when their sequence got its slot.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub tokens: usize,
    /// Draft tokens proposed.
    pub drafted: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
}

/// Pages of the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachePages {
    /// Pages in use, by sequences and kept prefixes.
    pub used: usize,
    /// All pages.
    pub total: usize,
}
