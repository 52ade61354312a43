//! The KV cache: the page table of all sequences and the device's memory for their keys and values.

use crate::backend::{Backend, Error, KvStore};
use crate::tape::{Batch, PageTable, pages};

/// Numbers that share a scale in [`KvType::Q8_0`].
pub const Q8_GROUP: usize = 32;

/// How a cache stores numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// As they are: generation has the bits of training.
    #[default]
    F32,
    /// Rounded to bfloat16: half the memory.
    Bf16,
    /// Integers up to ±127 with an f16 scale per [`Q8_GROUP`] numbers: a little over a quarter of the memory.
    Q8_0,
}

/// Sizes of one layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSpec {
    /// Key and value heads (1 for absorbed MLA).
    pub kv_heads: usize,
    /// Width of a key head.
    pub qk_dim: usize,
    /// Width of a value head.
    pub v_dim: usize,
}

/// Keys and values of sequences, in pages that they may share.
pub struct KvCache {
    table: PageTable,
    store: Box<dyn KvStore>,
}

impl KvCache {
    /// An empty cache of `pages` pages.
    pub fn new(backend: &dyn Backend, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Self, Error> {
        Ok(KvCache { table: PageTable::new(pages), store: backend.kv_store(layers, kv_type, pages)? })
    }

    /// An f32 cache with slots 0 to `slots` open and pages for `max_len` tokens in each.
    pub fn with_slots(
        backend: &dyn Backend,
        layers: &[LayerSpec],
        slots: usize,
        max_len: usize,
    ) -> Result<Self, Error> {
        let mut cache = KvCache::new(backend, layers, KvType::F32, slots * pages(max_len))?;
        (0..slots).for_each(|_| _ = cache.table.open());
        Ok(cache)
    }

    /// Which pages hold which tokens.
    pub fn table(&self) -> &PageTable {
        &self.table
    }

    /// Which pages hold which tokens, to open, fork, reserve, shorten and close slots.
    pub fn table_mut(&mut self) -> &mut PageTable {
        &mut self.table
    }

    /// The memory of the pages; its sizes.
    pub fn store(&self) -> &dyn KvStore {
        &*self.store
    }

    /// The memory of the pages, to read and write it; pages that are due to be copied are copied first.
    pub fn store_mut(&mut self) -> Result<&mut dyn KvStore, Error> {
        for copy in self.table.take_copies() {
            self.store.copy_page(copy.from, copy.to)?;
        }
        Ok(&mut *self.store)
    }

    /// Bytes of memory when full.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Reserves pages for every sequence of a batch; returns the table and the memory for the pass. For executors.
    pub fn for_batch(&mut self, batch: &Batch) -> Result<(&PageTable, &mut dyn KvStore), Error> {
        for s in &batch.segments {
            let slot = s.slot.expect("invariant: a generated sequence has a slot in the cache");
            self.table.reserve(slot, s.past..s.past + s.rows.len());
        }
        self.store_mut()?;
        Ok((&self.table, &mut *self.store))
    }
}
