//! Backward pass of one sequence and head. Probabilities are recomputed, one block of queries and keys at a time.
//!
//! With p = exp(s − lse) and δ = o·do: dv_j = Σ_i p_ij do_i, ds_ij = p_ij (do_i·v_j − δ_i), dk_j = scale Σ_i ds_ij q_i,
//! dq_i = scale Σ_j ds_ij k_j.

use super::tile::{in_tiles, product, tile};
use crate::cpu::simd::vector::Vector;

/// Queries and keys of a block.
const QUERIES: usize = 32;
const KEYS: usize = 128;

/// f32 of scratch that [`backward`] needs.
pub(super) const SCRATCH: usize = 2 * QUERIES * KEYS;

/// Rows of a matrix to read, or to add to: a pointer to the first element and the distance between rows.
type Rows = (*const f32, usize);
type RowsMut = (*mut f32, usize);

/// One sequence, one query head and its key head.
pub(super) struct Head {
    pub(super) rows: usize,
    pub(super) qk_dim: usize,
    pub(super) v_dim: usize,
    pub(super) scale: f32,
    pub(super) q: Rows,
    pub(super) k: Rows,
    /// Keys and values in transposed blocks of 16.
    pub(super) key_blocks: *const f32,
    pub(super) value_blocks: *const f32,
    pub(super) out: Rows,
    pub(super) dout: Rows,
    pub(super) lse: Rows,
    pub(super) dq: RowsMut,
    pub(super) dk: RowsMut,
    pub(super) dv: RowsMut,
}

/// Σ a·b, in 16 lanes.
#[inline(always)]
unsafe fn dot<V: Vector>(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: both are readable for n values.
    unsafe {
        let mut sum = V::splat(0.0);
        for i in (0..n).step_by(16) {
            let m = V::mask(n - i);
            sum = V::load_mask(a.add(i), m).fma(V::load_mask(b.add(i), m), sum);
        }
        sum.sum()
    }
}

/// Writes the probabilities and score gradients of queries `i..i + R` against NV key blocks from `k0 + j` to `p` and
/// `ds`.
#[inline(always)]
unsafe fn probabilities<V: Vector, const R: usize, const NV: usize>(
    h: &Head,
    i: usize,
    (key, to): (usize, [*mut f32; 2]),
    delta: &[f32],
) {
    // SAFETY: as `backward` promises; `to` has room for R rows of KEYS.
    unsafe {
        let zero = [[V::splat(0.0); NV]; R];
        let q: [*const f32; R] = std::array::from_fn(|r| h.q.0.add((i + r) * h.q.1));
        let dout: [*const f32; R] = std::array::from_fn(|r| h.dout.0.add((i + r) * h.dout.1));
        let (k, v) = (h.key_blocks.add(key * h.qk_dim), h.value_blocks.add(key * h.v_dim));
        let s = tile::<V, R, NV>(zero, h.qk_dim, (q, 1), (k, 16, 16 * h.qk_dim), V::mask(16));
        for r in 0..R {
            let lse = V::splat(-*h.lse.0.add((i + r) * h.lse.1));
            for v in 0..NV {
                // Mask out keys after the query's own.
                let seen = V::mask((i + r + 1).saturating_sub(key + 16 * v));
                let p = s[r][v].fma(V::splat(h.scale), lse).exp().select(seen, V::splat(0.0));
                p.store(to[0].add(r * KEYS + 16 * v));
            }
        }
        let dp = tile::<V, R, NV>(zero, h.v_dim, (dout, 1), (v, 16, 16 * h.v_dim), V::mask(16));
        for r in 0..R {
            let delta = V::splat(delta[r]);
            for v in 0..NV {
                let p = V::load(to[0].add(r * KEYS + 16 * v));
                p.mul(dp[r][v].sub(delta)).store(to[1].add(r * KEYS + 16 * v));
            }
        }
    }
}

/// Adds the gradients of one head. `scratch` has [`SCRATCH`] values.
///
/// # Safety
/// V's instructions are available; the pointers of `h` are valid for its rows and widths (in whole blocks), and no
/// other task writes to the output pointers.
#[inline(always)]
pub(super) unsafe fn backward<V: Vector>(h: &Head, scratch: &mut [f32]) {
    assert!(scratch.len() >= SCRATCH, "invariant: room for a block");
    let p = scratch.as_mut_ptr();
    let ds = p.wrapping_add(QUERIES * KEYS);
    for q0 in (0..h.rows).step_by(QUERIES) {
        let q_end = h.rows.min(q0 + QUERIES);
        let mut delta = [0f32; QUERIES];
        for i in q0..q_end {
            // SAFETY: as promised by the caller.
            delta[i - q0] = unsafe { dot::<V>(h.out.0.add(i * h.out.1), h.dout.0.add(i * h.dout.1), h.v_dim) };
        }
        for k0 in (0..q_end).step_by(KEYS) {
            let keys = KEYS.min(q_end - k0);
            // The number of keys of the block that queries i/8·8 .. + 8 see. QUERIES divides KEYS, so every query sees
            // some.
            let seen = |i: usize| keys.min(q0 + (i - q0) / 8 * 8 + 8 - k0);
            // SAFETY: as promised by the caller; scratch rows are KEYS long.
            unsafe {
                in_tiles!(V, i in q0, q_end, R => {
                    let blocks = seen(i).div_ceil(16);
                    let delta = &delta[i - q0..];
                    let to = |b: usize| {
                        let at = (i - q0) * KEYS + b * 16;
                        (k0 + b * 16, [p.add(at), ds.add(at)])
                    };
                    let mut b = 0;
                    while V::WIDE && b + 2 <= blocks {
                        probabilities::<V, R, 2>(h, i, to(b), delta);
                        b += 2;
                    }
                    while b < blocks {
                        probabilities::<V, R, 1>(h, i, to(b), delta);
                        b += 1;
                    }
                });
                in_tiles!(V, j in 0, keys, R => {
                    let first = (k0 + j).saturating_sub(q0) / 8 * 8;
                    let at = |x: *mut f32| -> ([*const f32; R], usize) {
                        (std::array::from_fn(|r| x.add(first * KEYS + j + r).cast_const()), KEYS)
                    };
                    let to = |x: RowsMut| -> [*mut f32; R] { std::array::from_fn(|r| x.0.add((k0 + j + r) * x.1)) };
                    let from = |x: Rows| (x.0.add((q0 + first) * x.1), x.1);
                    let n = q_end - q0 - first;
                    product::<V, R>(n, at(p), from(h.dout), (to(h.dv), [1.0; R], true), h.v_dim);
                    product::<V, R>(n, at(ds), from(h.q), (to(h.dk), [h.scale; R], true), h.qk_dim);
                });
                in_tiles!(V, i in q0, q_end, R => {
                    let rows: [*const f32; R] = std::array::from_fn(|r| ds.add((i - q0 + r) * KEYS).cast_const());
                    let to: [*mut f32; R] = std::array::from_fn(|r| h.dq.0.add((i + r) * h.dq.1));
                    let k = (h.k.0.add(k0 * h.k.1), h.k.1);
                    product::<V, R>(seen(i), (rows, 1), k, (to, [h.scale; R], true), h.qk_dim);
                });
            }
        }
    }
}
