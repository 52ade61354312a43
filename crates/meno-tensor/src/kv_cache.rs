//! The KV cache: the page table of all sequences and the device's memory for their keys and values.

use crate::backend::{Backend, Error, KvStore};
use crate::tape::{Batch, PageTable, pages};

/// Numbers that share a scale in [`KvType::Q8_0`].
pub const Q8_GROUP: usize = 32;

/// The number format of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Unrounded: generation has the same bits as training.
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

/// Keys and values of sequences, in pages that sequences may share.
pub struct KvCache {
    table: PageTable,
    store: Box<dyn KvStore>,
}

impl KvCache {
    /// Creates an empty cache of `pages` pages.
    pub fn new(backend: &dyn Backend, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Self, Error> {
        Ok(KvCache { table: PageTable::new(pages), store: backend.kv_store(layers, kv_type, pages)? })
    }

    /// Creates an f32 cache with slots `0..slots` open and pages for `max_len` tokens in each.
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

    /// Returns the page table, which maps tokens to pages.
    pub fn table(&self) -> &PageTable {
        &self.table
    }

    /// Returns the page table, to open, fork, reserve, shorten and close slots.
    pub fn table_mut(&mut self) -> &mut PageTable {
        &mut self.table
    }

    /// Returns the memory of the pages, for its sizes.
    pub fn store(&self) -> &dyn KvStore {
        &*self.store
    }

    /// Returns the memory of the pages, to read and write it. Pending page copies are done first.
    pub fn store_mut(&mut self) -> Result<&mut dyn KvStore, Error> {
        for copy in self.table.take_copies() {
            self.store.copy_page(copy.from, copy.to)?;
        }
        Ok(&mut *self.store)
    }

    /// Returns the memory in bytes when all pages are in use.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Reserves pages for every sequence of a batch; returns the table and the memory for the pass. Executors call it.
    pub fn for_batch(&mut self, batch: &Batch) -> Result<(&PageTable, &mut dyn KvStore), Error> {
        for s in &batch.segments {
            let slot = s.slot.expect("invariant: a generated sequence has a slot in the cache");
            self.table.reserve(slot, s.past..s.past + s.rows.len());
        }
        self.store_mut()?;
        Ok((&self.table, &mut *self.store))
    }
}
