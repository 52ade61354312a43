//! The KV cache: the page table of all sequences and the device's memory for their keys and values.

use crate::device::Device;
use crate::error::Error;
use crate::precision::Precision;
use crate::tape::{Batch, PAGE, PageTable};
use std::any::Any;

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

impl KvType {
    /// Returns the bytes of one key or value of `dim` numbers, with its scales.
    pub fn vector_bytes(self, dim: usize) -> usize {
        match self {
            KvType::F32 => 4 * dim,
            KvType::Bf16 => 2 * dim,
            KvType::Q8_0 => dim + 2 * dim.div_ceil(Q8_GROUP),
        }
    }

    /// Returns the smallest type that has the bits of this one on a device. On a GPU in bf16, keys and values are bf16
    /// before they are written.
    pub fn on(self, device: Device, precision: Precision) -> KvType {
        match (device, self, precision) {
            (Device::Cuda(_), KvType::F32, Precision::Bf16) => KvType::Bf16,
            _ => self,
        }
    }
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

impl LayerSpec {
    /// Returns the bytes of the keys and values of one page.
    pub fn page_bytes(&self, kv_type: KvType) -> usize {
        PAGE * self.kv_heads * (kv_type.vector_bytes(self.qk_dim) + kv_type.vector_bytes(self.v_dim))
    }
}

/// The keys and values of all layers, stored in pages.
pub trait KvStore: Any + Send {
    /// Returns the sizes of every layer.
    fn layers(&self) -> &[LayerSpec];
    /// Returns the number format of keys and values.
    fn kv_type(&self) -> KvType;
    /// Names the order of the words of a page. A saved page is read only by a store with the same order.
    fn page_format(&self) -> &'static str;
    /// Returns the number of 32-bit words of a page, over all layers.
    fn page_words(&self) -> usize;
    /// Calls `f` with the words of a page.
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error>;
    /// Replaces the words of a page.
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error>;
    /// Copies a page.
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error>;
    /// Returns the memory in bytes when all pages are in use.
    fn bytes(&self) -> usize;
}

/// Keys and values of sequences, in pages that sequences may share.
pub struct KvCache {
    table: PageTable,
    store: Box<dyn KvStore>,
}

impl KvCache {
    /// Creates an empty cache over a store of `pages` pages; see [`crate::backend::Backend::kv_cache`].
    pub fn new(store: Box<dyn KvStore>, pages: usize) -> Self {
        KvCache { table: PageTable::new(pages), store }
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
