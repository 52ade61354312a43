//! Keys and values of the sequences being generated, by layer, in pages.
//!
//! A sequence has a *place*: a table of the pages that hold its tokens, [`PAGE`] to a page. A page belongs to every
//! place that names it, so a prompt that several sequences share is stored once; whoever writes to a shared page gets
//! a copy of its own first ([`KvCache::reserve`]).
//!
//! Keys are stored in blocks of 16, transposed, so that the scores of one query against 16 neighbouring keys are 16
//! lanes of one vector; values are stored by key. Both orders keep the chain of fused multiply-adds that training has.

use crate::batch::Batch;
use crate::buffer::Buffer;
use std::ops::Range;

/// Keys stored together.
pub const KEY_BLOCK: usize = 16;
/// Tokens of a page.
pub const PAGE: usize = 64;

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
    /// Whole numbers up to ±127 with an f16 scale for every [`Q8_GROUP`]: a little above a quarter of the memory.
    Q8_0,
}

impl KvType {
    /// f32-sized words of `tokens` (a multiple of [`KEY_BLOCK`]) vectors of `dim` numbers; scales stand behind them.
    pub fn words(self, tokens: usize, dim: usize) -> usize {
        match self {
            KvType::F32 => tokens * dim,
            KvType::Bf16 => tokens * dim / 2,
            KvType::Q8_0 => tokens * dim / 4 + tokens * dim.div_ceil(Q8_GROUP) / 2,
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

/// The cache of one layer.
pub struct LayerCache {
    /// Its sizes.
    pub spec: LayerSpec,
    /// How it stores numbers.
    pub kv_type: KvType,
    /// Keys: `[page][kv_head][PAGE / 16][qk_dim][16]`, with [`KvType::Q8_0`]'s scales after every block of 16.
    pub keys: Buffer,
    /// Values: `[page][kv_head][PAGE][v_dim]`, with the scales after every page of a head.
    pub values: Buffer,
}

impl LayerCache {
    fn new(spec: LayerSpec, kv_type: KvType, pages: usize) -> Self {
        let mut layer = LayerCache { spec, kv_type, keys: Buffer::default(), values: Buffer::default() };
        layer.keys = Buffer::zeroed(pages * layer.key_page());
        layer.values = Buffer::zeroed(pages * layer.value_page());
        layer
    }

    /// f32-sized words of a page of keys.
    pub fn key_page(&self) -> usize {
        self.spec.kv_heads * self.kv_type.words(PAGE, self.spec.qk_dim)
    }

    /// f32-sized words of a page of values.
    pub fn value_page(&self) -> usize {
        self.spec.kv_heads * self.kv_type.words(PAGE, self.spec.v_dim)
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        let (key, value) = (self.key_page(), self.value_page());
        let (from, to) = (from as usize, to as usize);
        self.keys.copy_within(from * key..(from + 1) * key, to * key);
        self.values.copy_within(from * value..(from + 1) * value, to * value);
    }
}

/// Keys and values of sequences, in pages that they may share.
pub struct KvCache {
    /// By layer.
    pub layers: Vec<LayerCache>,
    kv_type: KvType,
    /// How many places name a page.
    refs: Vec<u32>,
    /// Pages that no place names; the last is the next to be given.
    free: Vec<u32>,
    /// The pages of every place.
    tables: Vec<Vec<u32>>,
    /// Places that are not in use.
    closed: Vec<usize>,
}

/// Pages of `tokens` tokens.
pub fn pages(tokens: usize) -> usize {
    tokens.div_ceil(PAGE)
}

impl KvCache {
    /// An empty cache of `pages` pages. Memory is only touched as it is written.
    pub fn with_pages(layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Self {
        KvCache {
            layers: layers.iter().map(|&spec| LayerCache::new(spec, kv_type, pages)).collect(),
            kv_type,
            refs: vec![0; pages],
            free: (0..pages as u32).rev().collect(),
            tables: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// An f32 cache with `places` open places and pages for `max_len` tokens in each.
    pub fn new(layers: &[LayerSpec], places: usize, max_len: usize) -> Self {
        let mut cache = KvCache::with_pages(layers, KvType::F32, places * pages(max_len));
        for _ in 0..places {
            cache.open();
        }
        cache
    }

    /// How numbers are stored.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Bytes that it takes when full.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|l| (l.keys.len() + l.values.len()) * 4).sum()
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.refs.len()
    }

    /// Pages that hold nothing.
    pub fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// A new, empty place.
    pub fn open(&mut self) -> usize {
        self.closed.pop().unwrap_or_else(|| {
            self.tables.push(Vec::new());
            self.tables.len() - 1
        })
    }

    /// Gives a place back, and the pages that only it named.
    pub fn close(&mut self, place: usize) {
        self.truncate(place, 0);
        self.closed.push(place);
    }

    /// Forgets all tokens of a place but the first `len`.
    pub fn truncate(&mut self, place: usize, len: usize) {
        while self.tables[place].len() > pages(len) {
            let page = self.tables[place].pop().expect("invariant: longer than the pages to keep");
            self.release(page);
        }
    }

    /// A page of no place yet, to be filled from elsewhere; [`KvCache::release`] it when places have named it.
    pub fn take_page(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.refs[page as usize] = 1;
        Some(page)
    }

    /// A new place of these pages.
    pub fn open_at(&mut self, table: &[u32]) -> usize {
        let place = self.open();
        self.tables[place].extend_from_slice(table);
        table.iter().for_each(|&page| self.refs[page as usize] += 1);
        place
    }

    /// The words of a page: of each layer keys, then values.
    pub fn page(&self, page: u32) -> impl Iterator<Item = &[f32]> {
        let part = move |n: usize| page as usize * n..(page as usize + 1) * n;
        self.layers.iter().flat_map(move |l| [&l.keys[part(l.key_page())], &l.values[part(l.value_page())]])
    }

    /// The words of a page, to be filled.
    pub fn page_mut(&mut self, page: u32) -> impl Iterator<Item = &mut [f32]> {
        let part = move |n: usize| page as usize * n..(page as usize + 1) * n;
        self.layers.iter_mut().flat_map(move |l| {
            let (keys, values) = (part(l.key_page()), part(l.value_page()));
            [&mut l.keys[keys], &mut l.values[values]]
        })
    }

    /// Takes back a name of a page; one without names is free.
    pub fn release(&mut self, page: u32) {
        let refs = &mut self.refs[page as usize];
        *refs -= 1;
        if *refs == 0 {
            self.free.push(page);
        }
    }

    /// The pages of a place, in the order of its tokens.
    pub fn table(&self, place: usize) -> &[u32] {
        &self.tables[place]
    }

    /// Makes the first `len` tokens of place `from` those of place `to`, by naming the same pages.
    pub fn fork(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        self.truncate(to, 0);
        let mut table = std::mem::take(&mut self.tables[to]);
        table.extend_from_slice(&self.tables[from][..pages(len)]);
        table.iter().for_each(|&page| self.refs[page as usize] += 1);
        self.tables[to] = table;
    }

    /// How many free pages it takes to write the tokens `range` of a place.
    pub fn missing(&self, place: usize, range: Range<usize>) -> usize {
        let table = &self.tables[place];
        let written = range.start / PAGE..pages(range.end);
        let shared = table.iter().skip(written.start).take(written.len()).filter(|&&p| self.refs[p as usize] > 1);
        shared.count() + written.end.saturating_sub(table.len())
    }

    /// Gives a place pages of its own for the tokens `range` that it is about to write. [`KvCache::missing`] tells
    /// beforehand whether there are enough.
    ///
    /// # Panics
    /// If there are not.
    pub fn reserve(&mut self, place: usize, range: Range<usize>) {
        let Range { start, end } = range;
        assert!(start <= self.tables[place].len() * PAGE, "invariant: no gap before token {start}");
        for i in start / PAGE..pages(end) {
            let shared = self.tables[place].get(i).copied();
            if shared.is_some_and(|page| self.refs[page as usize] == 1) {
                continue;
            }
            let page = self.free.pop().expect("invariant: whoever fills the batch left enough pages free");
            self.refs[page as usize] = 1;
            match shared {
                None => self.tables[place].push(page),
                Some(from) => {
                    self.layers.iter_mut().for_each(|layer| layer.copy_page(from, page));
                    self.tables[place][i] = page;
                    self.release(from);
                }
            }
        }
    }

    /// [`KvCache::reserve`] for every sequence of a batch.
    pub(crate) fn make_room(&mut self, batch: &Batch) {
        for s in &batch.segments {
            let place = s.slot.expect("invariant: a generated sequence has a place in the cache");
            self.reserve(place, s.past..s.past + s.rows.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: LayerSpec = LayerSpec { kv_heads: 1, qk_dim: 1, v_dim: 1 };

    /// Writes `value` for the tokens `past..end` of a place.
    fn write(cache: &mut KvCache, place: usize, past: usize, end: usize, value: f32) {
        let mut batch = Batch::default();
        batch.push(&vec![0; end - past], past, Some(place));
        let (before, missing) = (cache.free_pages(), cache.missing(place, past..end));
        cache.make_room(&batch);
        assert_eq!(before - cache.free_pages(), missing);
        for at in past..end {
            let page = cache.table(place)[at / PAGE] as usize;
            cache.layers[0].values[page * PAGE + at % PAGE] = value;
        }
    }

    fn read(cache: &KvCache, place: usize, len: usize) -> Vec<f32> {
        (0..len).map(|at| cache.layers[0].values[cache.table(place)[at / PAGE] as usize * PAGE + at % PAGE]).collect()
    }

    #[test]
    fn a_shared_prompt_is_stored_once_and_written_apart() {
        let mut cache = KvCache::with_pages(&[SPEC], KvType::F32, 8);
        let (a, b) = (cache.open(), cache.open());
        write(&mut cache, a, 0, 150, 1.0); // three pages
        cache.fork(a, b, 140);
        assert_eq!(cache.free_pages(), 5);
        write(&mut cache, b, 140, 200, 2.0); // a copy of the third page, and a fourth
        assert_eq!(cache.free_pages(), 3);
        write(&mut cache, a, 150, 151, 3.0); // its own again
        assert_eq!(cache.free_pages(), 3);
        let tail = |value: f32, n| std::iter::repeat_n(value, n);
        assert_eq!(read(&cache, a, 151), tail(1.0, 150).chain(tail(3.0, 1)).collect::<Vec<_>>());
        assert_eq!(read(&cache, b, 200), tail(1.0, 140).chain(tail(2.0, 60)).collect::<Vec<_>>());
        cache.close(a);
        assert_eq!(cache.free_pages(), 4); // two are still b's
        assert_eq!(read(&cache, b, 140), vec![1.0; 140]);
        cache.truncate(b, 64);
        assert_eq!(cache.free_pages(), 7);
        cache.close(b);
        assert_eq!((cache.free_pages(), cache.open() < 2), (8, true));
    }
}
