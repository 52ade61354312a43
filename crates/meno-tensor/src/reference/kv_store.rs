//! Keys and values of the reference device: one vector after the other.
//!
//! A page holds, for every layer, key head and value head, the keys of its tokens, then their values. A vector starts
//! at a 32-bit word. It consists of its numbers; for Q8_0, of its codes and then an f16 scale for each group of
//! [`Q8_GROUP`].

use super::buffer::zeroed;
use crate::backend::{Error, KvStore};
use crate::kv_cache::{KvType, LayerSpec, Q8_GROUP};
use crate::tape::PAGE;
use half::{bf16, f16};
use std::ops::Range;

/// Selects the key or the value of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

/// The place of a vector.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) part: Part,
    pub(super) head: usize,
    pub(super) page: u32,
    /// The index of the token in its page.
    pub(super) token: usize,
}

/// The pages of all layers.
pub(super) struct ReferenceKvStore {
    layers: Vec<LayerSpec>,
    kv_type: KvType,
    pages: usize,
    page_words: usize,
    words: Vec<u32>,
}

/// Returns the number of 32-bit words of a vector of `dim` numbers.
fn vector_words(kv_type: KvType, dim: usize) -> usize {
    match kv_type {
        KvType::F32 => dim,
        KvType::Bf16 => dim.div_ceil(2),
        KvType::Q8_0 => dim.div_ceil(4) + dim.div_ceil(Q8_GROUP).div_ceil(2),
    }
}

/// Returns the number of 32-bit words of a layer's part of a page.
fn layer_words(kv_type: KvType, spec: &LayerSpec) -> usize {
    PAGE * spec.kv_heads * (vector_words(kv_type, spec.qk_dim) + vector_words(kv_type, spec.v_dim))
}

/// Returns the code of `x` under a scale: the nearest integer up to ±127, ties to even.
fn q8_code(x: f32, scale: f16) -> i8 {
    let scale = scale.to_f32();
    if scale == 0.0 { 0 } else { (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8 }
}

/// Packs `x` into words.
fn pack(kv_type: KvType, x: &[f32], words: &mut [u32]) {
    words.fill(0);
    match kv_type {
        KvType::F32 => words.iter_mut().zip(x).for_each(|(w, x)| *w = x.to_bits()),
        KvType::Bf16 => {
            for (i, &x) in x.iter().enumerate() {
                words[i / 2] |= u32::from(bf16::from_f32(x).to_bits()) << (16 * (i % 2));
            }
        }
        KvType::Q8_0 => {
            let (codes, scales) = words.split_at_mut(x.len().div_ceil(4));
            for (g, group) in x.chunks(Q8_GROUP).enumerate() {
                let largest = group.iter().fold(0f32, |max, x| max.max(x.abs()));
                let scale = f16::from_f32(largest / 127.0);
                scales[g / 2] |= u32::from(scale.to_bits()) << (16 * (g % 2));
                for (d, &x) in group.iter().enumerate() {
                    let i = g * Q8_GROUP + d;
                    codes[i / 4] |= u32::from(q8_code(x, scale) as u8) << (8 * (i % 4));
                }
            }
        }
    }
}

/// Unpacks `dim` numbers from words.
fn unpack(kv_type: KvType, words: &[u32], dim: usize) -> Vec<f32> {
    let half = |words: &[u32], i: usize| (words[i / 2] >> (16 * (i % 2))) as u16;
    let number = |i: usize| match kv_type {
        KvType::F32 => f32::from_bits(words[i]),
        KvType::Bf16 => bf16::from_bits(half(words, i)).to_f32(),
        KvType::Q8_0 => {
            let (codes, scales) = words.split_at(dim.div_ceil(4));
            let code = (codes[i / 4] >> (8 * (i % 4))) as u8 as i8;
            f32::from(code) * f16::from_bits(half(scales, i / Q8_GROUP)).to_f32()
        }
    };
    (0..dim).map(number).collect()
}

impl ReferenceKvStore {
    pub(super) fn new(layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Self, Error> {
        let page_words = layers.iter().map(|spec| layer_words(kv_type, spec)).sum();
        let words = zeroed(pages * page_words, "the KV cache")?;
        Ok(ReferenceKvStore { layers: layers.to_vec(), kv_type, pages, page_words, words })
    }

    /// Returns the number of pages.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Returns the range of words of a vector, and its width.
    fn locate(&self, place: Place) -> (Range<usize>, usize) {
        let spec = &self.layers[place.layer];
        let [key, value] = [spec.qk_dim, spec.v_dim].map(|dim| vector_words(self.kv_type, dim));
        let before: usize = self.layers[..place.layer].iter().map(|spec| layer_words(self.kv_type, spec)).sum();
        let vector = place.head * PAGE + place.token;
        let (at, words, dim) = match place.part {
            Part::Key => (vector * key, key, spec.qk_dim),
            Part::Value => (spec.kv_heads * PAGE * key + vector * value, value, spec.v_dim),
        };
        let start = place.page as usize * self.page_words + before + at;
        (start..start + words, dim)
    }

    /// Stores a vector.
    pub(super) fn write(&mut self, place: Place, x: &[f32]) {
        let (words, dim) = self.locate(place);
        assert!(x.len() == dim, "invariant: the layer's vectors have {dim} numbers");
        pack(self.kv_type, x, &mut self.words[words]);
    }

    /// Returns a stored vector.
    pub(super) fn read(&self, place: Place) -> Vec<f32> {
        let (words, dim) = self.locate(place);
        unpack(self.kv_type, &self.words[words], dim)
    }

    fn page(&self, page: u32) -> Range<usize> {
        page as usize * self.page_words..(page as usize + 1) * self.page_words
    }
}

impl KvStore for ReferenceKvStore {
    fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }
    fn kv_type(&self) -> KvType {
        self.kv_type
    }
    fn page_format(&self) -> &'static str {
        "one vector after the other"
    }
    fn page_words(&self) -> usize {
        self.page_words
    }
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error> {
        f(&self.words[self.page(page)]);
        Ok(())
    }
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error> {
        let page = self.page(page);
        self.words[page].copy_from_slice(words);
        Ok(())
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let (from, to) = (self.page(from), self.page(to));
        self.words.copy_within(from, to.start);
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.words.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Widths that do not fill their words: every vector reads back as written, up to the rounding of its type.
    #[test]
    fn vectors_do_not_touch_each_other() {
        let layers = [(2, 37, 33), (1, 8, 5)].map(|(kv_heads, qk_dim, v_dim)| LayerSpec { kv_heads, qk_dim, v_dim });
        for (kv_type, tolerance) in [(KvType::F32, 0.0), (KvType::Bf16, 1.0 / 256.0), (KvType::Q8_0, 1.0 / 127.0)] {
            let mut store = ReferenceKvStore::new(&layers, kv_type, 2).unwrap();
            let mut rng = Rng::new(&[3]);
            let mut written = Vec::new();
            for (layer, spec) in layers.iter().enumerate() {
                for (part, dim) in [(Part::Key, spec.qk_dim), (Part::Value, spec.v_dim)] {
                    for (page, head, token) in (0..2)
                        .flat_map(|p| (0..spec.kv_heads).map(move |h| (p, h)))
                        .flat_map(|(p, h)| (0..PAGE).map(move |t| (p, h, t)))
                    {
                        let x: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
                        let place = Place { layer, part, head, page, token };
                        store.write(place, &x);
                        written.push((place, x));
                    }
                }
            }
            for (place, x) in written {
                let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
                let read = store.read(place);
                assert!(read.len() == x.len());
                assert!(read.iter().zip(&x).all(|(a, b)| (a - b).abs() <= tolerance * largest), "{kv_type:?}");
            }
        }
    }
}
