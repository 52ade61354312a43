//! Keys and values of the sequences being generated, by layer and place.
//!
//! Keys are stored in blocks of 16, transposed, so that the scores of one query against 16 neighbouring keys are 16
//! lanes of one vector, and all keys of a head are one piece of memory; values are stored by key. Both orders keep the
//! chain of fused multiply-adds that training has.

use crate::buffer::Buffer;

/// Keys stored together.
pub const KEY_BLOCK: usize = 16;

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
    /// Keys: `[slot][kv_head][max_len / 16][qk_dim][16]`.
    pub keys: Buffer,
    /// Values: `[slot][kv_head][max_len][v_dim]`.
    pub values: Buffer,
}

/// Keys and values of up to `slots` sequences of up to `max_len` tokens.
pub struct KvCache {
    /// By layer.
    pub layers: Vec<LayerCache>,
    /// Number of places.
    pub slots: usize,
    /// Longest sequence (a multiple of 16).
    pub max_len: usize,
}

impl KvCache {
    /// An empty cache. Memory is only touched as it is written.
    pub fn new(layers: &[LayerSpec], slots: usize, max_len: usize) -> Self {
        let max_len = max_len.next_multiple_of(KEY_BLOCK);
        let layer = |&spec: &LayerSpec| LayerCache {
            spec,
            keys: Buffer::zeroed(slots * spec.kv_heads * spec.qk_dim * max_len),
            values: Buffer::zeroed(slots * spec.kv_heads * spec.v_dim * max_len),
        };
        KvCache { layers: layers.iter().map(layer).collect(), slots, max_len }
    }

    /// Bytes that a cache of these sizes takes.
    pub fn bytes(layers: &[LayerSpec], slots: usize, max_len: usize) -> usize {
        let per_token: usize = layers.iter().map(|l| l.kv_heads * (l.qk_dim + l.v_dim) * 4).sum();
        per_token * slots * max_len.next_multiple_of(KEY_BLOCK)
    }

    /// Copies the first `len` tokens of place `from` to place `to`: a group's prompt is prefilled once.
    pub fn fork(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        let max_len = self.max_len;
        for LayerCache { spec, keys, values } in &mut self.layers {
            let size = spec.kv_heads * spec.qk_dim * max_len;
            for h in 0..spec.kv_heads {
                let at = from * size + h * max_len * spec.qk_dim;
                let blocks = len.next_multiple_of(KEY_BLOCK) * spec.qk_dim;
                keys.copy_within(at..at + blocks, to * size + h * max_len * spec.qk_dim);
            }
            let size = spec.kv_heads * spec.v_dim * max_len;
            for h in 0..spec.kv_heads {
                let at = from * size + h * max_len * spec.v_dim;
                values.copy_within(at..at + len * spec.v_dim, to * size + h * max_len * spec.v_dim);
            }
        }
    }
}
