//! The attention kernels, dispatched to the processor's vector level, and the scratch memory of a thread.

use super::backward::Head;
use super::forward::{Keys, Queries};
use super::{backward, forward, packed, tile};
use crate::cpu::simd::vector::at_level;
use crate::kv_cache::KvType;
use std::cell::RefCell;

at_level! {
    /// # Safety
    /// As [`super::forward::forward`], except for the instructions: the dispatch selects an available level.
    forward = forward::forward, (q: &Queries, keys: &Keys, s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::forward::decode`], except for the instructions: the dispatch selects an available level.
    decode = forward::decode, (q: &Queries, keys: &[Keys], s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::backward::backward`], except for the instructions: the dispatch selects an available level.
    backward = backward::backward, (h: &Head, s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::packed::keys`], except for the instructions: the dispatch selects an available level.
    unpack_keys = packed::keys, (kind: KvType, block: *const f32, dim: usize, out: *mut f32)
}
at_level! {
    /// # Safety
    /// As [`super::packed::values`], except for the instructions: the dispatch selects an available level.
    unpack_values = packed::values, (kind: KvType, page: *const f32, size: (usize, usize), out: *mut f32)
}
at_level! {
    /// # Safety
    /// As [`super::tile::transpose`], except for the instructions: the dispatch selects an available level.
    transpose = tile::transpose, (x: *const f32, ld: usize, n: usize, dim: usize, out: &mut [f32])
}

/// The scratch memory of a thread. It grows as needed and is kept.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) scores: Vec<f32>,
}

impl Scratch {
    pub(super) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        thread_local! { static SCRATCH: RefCell<Scratch> = RefCell::default(); }
        SCRATCH.with_borrow_mut(f)
    }
}

/// Returns the first `len` values of `x`, which grows if it is shorter.
pub(super) fn grow(x: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if x.len() < len {
        x.resize(len, 0.0);
    }
    &mut x[..len]
}
