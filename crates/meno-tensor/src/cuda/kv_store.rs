//! Keys and values in the card's memory, by page: `[page][kv head][PAGE][dim]` for keys and for values of each layer.
//!
//! A page of a head in [`KvType::Q8_0`] is `[PAGE][dim]` codes, then `[PAGE][dim / Q8_GROUP]` f16 scales.

use super::driver::{Gpu, Memory};
use crate::backend::{Error, KvStore};
use crate::kv_cache::{KvType, LayerSpec};
use crate::tape::PAGE;
use std::sync::Arc;

/// The keys or the values of one layer.
struct Part {
    memory: Memory,
    page_bytes: usize,
}

impl Part {
    fn new(gpu: &Arc<Gpu>, kv_type: KvType, heads: usize, dim: usize, pages: usize) -> Result<Self, Error> {
        let page_bytes = heads * PAGE * kv_type.vector_bytes(dim);
        Ok(Part { memory: gpu.zeroed(pages * page_bytes, "the KV cache")?, page_bytes })
    }
}

/// The pages of all layers.
pub(super) struct CudaKvStore {
    layers: Vec<LayerSpec>,
    kv_type: KvType,
    pages: usize,
    /// For every layer, keys and values.
    parts: Vec<[Part; 2]>,
}

impl CudaKvStore {
    pub(super) fn new(gpu: &Arc<Gpu>, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Self, Error> {
        let layer = |spec: &LayerSpec| {
            let part = |dim| Part::new(gpu, kv_type, spec.kv_heads, dim, pages);
            Ok([part(spec.qk_dim)?, part(spec.v_dim)?])
        };
        let parts = layers.iter().map(layer).collect::<Result<_, Error>>()?;
        Ok(CudaKvStore { layers: layers.to_vec(), kv_type, pages, parts })
    }

    /// Returns the number of pages.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Returns the addresses of the keys and of the values of a layer.
    pub(super) fn layer(&self, layer: usize) -> [u64; 2] {
        self.parts[layer].each_ref().map(|part| part.memory.at())
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flatten()
    }
}

impl KvStore for CudaKvStore {
    fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }
    fn kv_type(&self) -> KvType {
        self.kv_type
    }
    fn page_format(&self) -> &'static str {
        "heads of 64 tokens"
    }
    fn page_words(&self) -> usize {
        self.parts().map(|part| part.page_bytes / size_of::<u32>()).sum()
    }
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error> {
        for part in self.parts() {
            let mut words = vec![0u32; part.page_bytes / size_of::<u32>()];
            part.memory.read(page as usize * part.page_bytes, &mut words)?;
            f(&words);
        }
        Ok(())
    }
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error> {
        let mut rest = words;
        for part in self.parts() {
            let (words, after) = rest.split_at(part.page_bytes / size_of::<u32>());
            part.memory.write(page as usize * part.page_bytes, words)?;
            rest = after;
        }
        Ok(())
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        for part in self.parts() {
            let [from, to] = [from, to].map(|page| page as usize * part.page_bytes);
            part.memory.copy_within(&part.memory, from, to, part.page_bytes)?;
        }
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.parts().map(|part| self.pages * part.page_bytes).sum()
    }
}
