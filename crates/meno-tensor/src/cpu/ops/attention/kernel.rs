//! The attention kernels, dispatched to the processor's vector level.

use super::backward::Head;
use super::forward::{KeyRuns, Queries};
use super::{backward, forward, packed, tile};
use crate::cpu::simd::vector::at_level;
use crate::kv_cache::KvType;

at_level! {
    /// # Safety
    /// As [`super::forward::forward`], except for the instructions: the dispatch selects an available level.
    forward = forward::forward, (q: &Queries, keys: &KeyRuns, s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::forward::decode`], except for the instructions: the dispatch selects an available level.
    decode = forward::decode, (q: &Queries, keys: &[KeyRuns], s: &mut [f32])
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
