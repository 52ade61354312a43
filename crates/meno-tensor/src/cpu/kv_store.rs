//! Keys and values in the order of the attention kernels.
//!
//! Keys are stored in transposed blocks of 16, so that the scores of one query against 16 consecutive keys are the 16
//! lanes of one vector. Values are stored by key. Both orders keep the chain of fused multiply-adds used in training.

use super::host_buffer::HostBuffer;
use crate::backend::{Error, KvStore};
use crate::kv_cache::{KvType, LayerSpec, Q8_GROUP};
use crate::tape::PAGE;

/// Keys stored together.
pub const KEY_BLOCK: usize = 16;

/// f32-sized words of `tokens` (a multiple of [`KEY_BLOCK`]) vectors of `dim` numbers, including the scales after them.
pub fn words(kv_type: KvType, tokens: usize, dim: usize) -> usize {
    match kv_type {
        KvType::F32 => tokens * dim,
        KvType::Bf16 => tokens * dim / 2,
        KvType::Q8_0 => tokens * dim / 4 + tokens * dim.div_ceil(Q8_GROUP) / 2,
    }
}

/// The store of one layer.
pub(crate) struct LayerStore {
    spec: LayerSpec,
    kv_type: KvType,
    /// Keys: `[page][kv_head][PAGE / 16][qk_dim][16]`, with [`KvType::Q8_0`]'s scales after every block of 16.
    pub(crate) keys: HostBuffer,
    /// Values: `[page][kv_head][PAGE][v_dim]`, with the scales after every page of a head.
    pub(crate) values: HostBuffer,
}

impl LayerStore {
    fn new(spec: LayerSpec, kv_type: KvType, pages: usize) -> Result<Self, Error> {
        let empty = || HostBuffer::zeroed(0);
        let mut layer = LayerStore { spec, kv_type, keys: empty(), values: empty() };
        layer.keys = HostBuffer::new(pages * layer.key_page(), "the KV cache")?;
        layer.values = HostBuffer::new(pages * layer.value_page(), "the KV cache")?;
        Ok(layer)
    }

    /// Words of a page of keys.
    pub(crate) fn key_page(&self) -> usize {
        self.spec.kv_heads * words(self.kv_type, PAGE, self.spec.qk_dim)
    }

    /// Words of a page of values.
    pub(crate) fn value_page(&self) -> usize {
        self.spec.kv_heads * words(self.kv_type, PAGE, self.spec.v_dim)
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        let (key, value) = (self.key_page(), self.value_page());
        let (from, to) = (from as usize, to as usize);
        self.keys.copy_within(from * key..(from + 1) * key, to * key);
        self.values.copy_within(from * value..(from + 1) * value, to * value);
    }
}

/// The stores of all layers.
pub(crate) struct CpuKvStore {
    /// By layer.
    pub(crate) layers: Vec<LayerStore>,
    specs: Vec<LayerSpec>,
    kv_type: KvType,
    pages: usize,
}

impl CpuKvStore {
    pub(super) fn new(specs: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Self, Error> {
        let layers = specs.iter().map(|&spec| LayerStore::new(spec, kv_type, pages)).collect::<Result<_, _>>()?;
        Ok(CpuKvStore { layers, specs: specs.to_vec(), kv_type, pages })
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }
}

impl KvStore for CpuKvStore {
    fn layers(&self) -> &[LayerSpec] {
        &self.specs
    }
    fn kv_type(&self) -> KvType {
        self.kv_type
    }
    fn page_format(&self) -> &'static str {
        "keys in transposed blocks of 16"
    }
    fn page_words(&self) -> usize {
        self.layers.iter().map(|l| l.key_page() + l.value_page()).sum()
    }
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error> {
        for l in &self.layers {
            for (part, len) in [(&l.keys, l.key_page()), (&l.values, l.value_page())] {
                f(bytemuck::cast_slice(&part[page as usize * len..][..len]));
            }
        }
        Ok(())
    }
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error> {
        let mut words = words;
        for l in &mut self.layers {
            let lens = [l.key_page(), l.value_page()];
            for (part, len) in [&mut l.keys, &mut l.values].into_iter().zip(lens) {
                let (these, rest) = words.split_at(len);
                part[page as usize * len..][..len].copy_from_slice(bytemuck::cast_slice(these));
                words = rest;
            }
        }
        Ok(())
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.layers.iter_mut().for_each(|layer| layer.copy_page(from, to));
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.layers.iter().map(|l| (l.keys.len() + l.values.len()) * size_of::<f32>()).sum()
    }
}
