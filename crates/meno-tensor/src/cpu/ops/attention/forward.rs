//! Forward pass of one sequence: tiles of queries against blocks of 16 keys.

use super::tile::{in_tiles, rows, tile};
use crate::cpu::simd::vector::Vector;

/// A head's keys and values, in runs of consecutive tokens (the pages of a cache; one run without a cache). Keys are in
/// transposed blocks `[block][qk_dim][16]`, values are stored by row.
#[derive(Clone, Copy)]
pub(super) struct KeyRuns<'a> {
    /// The head's part of page 0.
    pub(super) blocks: *const f32,
    pub(super) values: *const f32,
    pub(super) value_ld: usize,
    /// The pages of the sequence.
    pub(super) table: &'a [u32],
    /// Tokens of a page.
    pub(super) page: usize,
    /// Distances between pages of keys and of values.
    pub(super) page_strides: (usize, usize),
}

/// The page table of keys outside a cache: one page.
pub(super) const WHOLE: &[u32] = &[0];

impl KeyRuns<'_> {
    /// The runs of the first `n` tokens: first token, length, keys, values.
    #[inline(always)]
    fn runs(&self, n: usize) -> impl Iterator<Item = (usize, usize, *const f32, *const f32)> {
        self.table.iter().take(n.div_ceil(self.page)).enumerate().map(move |(i, &page)| {
            let (at, page) = (i * self.page, page as usize);
            let keys = self.blocks.wrapping_add(page * self.page_strides.0);
            (at, self.page.min(n - at), keys, self.values.wrapping_add(page * self.page_strides.1))
        })
    }

    /// Writes the scores (times `scale`) of R queries against the first `n` keys, in whole blocks, to rows of `s`.
    #[inline(always)]
    unsafe fn scores<V: Vector, const R: usize>(
        &self,
        n: usize,
        q: [*const f32; R],
        (dim, scale): (usize, f32),
        (s, s_ld): (*mut f32, usize),
    ) {
        for (at, len, keys, _) in self.runs(n) {
            // SAFETY: as `forward` promises.
            unsafe { scores::<V, R>(q, dim, scale, keys, len.div_ceil(16), (s.add(at), s_ld)) };
        }
    }

    /// Computes out = alpha · P · values for R rows of P. Every element is a chain over the first `n` tokens.
    #[inline(always)]
    unsafe fn product<V: Vector, const R: usize>(
        &self,
        n: usize,
        p: [*const f32; R],
        (out, alpha): ([*mut f32; R], [f32; R]),
        cols: usize,
    ) {
        let mut col = 0;
        while col < cols {
            // SAFETY: as `forward` promises; the mask ends at `cols`.
            unsafe {
                macro_rules! columns {
                    ($nv:literal) => {{
                        let mask = V::mask(cols - col - 16 * ($nv - 1));
                        let mut acc = [[V::splat(0.0); $nv]; R];
                        for (at, len, _, values) in self.runs(n) {
                            let p: [*const f32; R] = std::array::from_fn(|r| p[r].add(at));
                            acc = tile::<V, R, $nv>(acc, len, (p, 1), (values.add(col), self.value_ld, 16), mask);
                        }
                        for r in 0..R {
                            for v in 0..$nv {
                                let m = if v + 1 == $nv { mask } else { V::mask(16) };
                                acc[r][v].mul(V::splat(alpha[r])).store_mask(out[r].add(col + v * 16), m);
                            }
                        }
                        col += 16 * $nv;
                    }};
                }
                if V::WIDE && cols - col > 16 { columns!(2) } else { columns!(1) }
            }
        }
    }
}

/// The queries of one sequence that share a key head, row by row: query i is head i % group of row i / group.
pub(super) struct Queries {
    /// A pointer to the first row's first head, the distances between rows and between heads; likewise for outputs and
    /// log-sum-exps.
    pub(super) q: (*const f32, usize, usize),
    pub(super) out: (*mut f32, usize, usize),
    pub(super) lse: (*mut f32, usize),
    pub(super) rows: usize,
    pub(super) group: usize,
    /// Keys before the first row's own.
    pub(super) past: usize,
    pub(super) qk_dim: usize,
    pub(super) v_dim: usize,
    pub(super) scale: f32,
}

impl Queries {
    #[inline(always)]
    fn visible(&self, i: usize) -> usize {
        self.past + i / self.group + 1
    }
    #[inline(always)]
    fn q(&self, i: usize) -> *const f32 {
        self.q.0.wrapping_add(i / self.group * self.q.1 + i % self.group * self.q.2)
    }
    #[inline(always)]
    fn out(&self, i: usize) -> *mut f32 {
        self.out.0.wrapping_add(i / self.group * self.out.1 + i % self.group * self.out.2)
    }
    #[inline(always)]
    fn lse(&self, i: usize) -> *mut f32 {
        self.lse.0.wrapping_add(i / self.group * self.lse.1 + i % self.group)
    }
    /// f32 of scratch that [`forward`] needs.
    pub(super) fn scratch(&self) -> usize {
        8 * (self.past + self.rows).next_multiple_of(16)
    }
}

/// Writes the scores (times `scale`) of R queries against `blocks` blocks of keys to rows of `s`.
#[inline(always)]
unsafe fn scores<V: Vector, const R: usize>(
    q: [*const f32; R],
    dim: usize,
    scale: f32,
    keys: *const f32,
    blocks: usize,
    (s, s_ld): (*mut f32, usize),
) {
    // SAFETY: as `forward` promises.
    unsafe {
        let scale = V::splat(scale);
        macro_rules! go {
            ($at:expr, $nv:literal) => {{
                let b = (keys.add($at * dim * 16), 16, dim * 16);
                let acc = tile::<V, R, $nv>([[V::splat(0.0); $nv]; R], dim, (q, 1), b, V::mask(16));
                for r in 0..R {
                    for v in 0..$nv {
                        acc[r][v].mul(scale).store(s.add(r * s_ld + ($at + v) * 16));
                    }
                }
            }};
        }
        let mut at = 0;
        if R == 1 {
            // One query: eight blocks at once hide the latency of a chain; the last eight overlap the ones before them.
            while blocks >= 8 && at < blocks {
                let from = at.min(blocks - 8);
                go!(from, 8);
                at = from + 8;
            }
            while at + 4 <= blocks {
                go!(at, 4);
                at += 4;
            }
        }
        while at + 2 <= blocks && V::WIDE {
            go!(at, 2);
            at += 2;
        }
        while at < blocks {
            go!(at, 1);
            at += 1;
        }
    }
}

/// Computes s = exp(s − max) for the first `visible` values of a row of whole blocks and 0 for the rest; returns max
/// and sum. The sum runs in 16 lanes fixed by the key's position.
#[inline(always)]
unsafe fn softmax<V: Vector>(s: *mut f32, visible: usize, blocks: usize) -> (f32, f32) {
    // SAFETY: as `forward` promises: `s` has `blocks` · 16 values, at least `visible`.
    unsafe {
        let (whole, rest) = (visible / 16, V::mask(visible % 16));
        let mut max = V::splat(f32::NEG_INFINITY);
        for b in 0..whole {
            max = max.max(V::load(s.add(b * 16)));
        }
        if !visible.is_multiple_of(16) {
            max = V::load(s.add(whole * 16)).select(rest, max).max(max);
        }
        let largest = max.largest();
        let max = V::splat(largest);
        let zero = V::splat(0.0);
        let mut sum = zero;
        for b in 0..whole {
            let p = V::load(s.add(b * 16)).sub(max).exp();
            p.store(s.add(b * 16));
            sum = sum.add(p);
        }
        let mut b = whole;
        if !visible.is_multiple_of(16) {
            let p = V::load(s.add(b * 16)).sub(max).exp().select(rest, zero);
            p.store(s.add(b * 16));
            sum = sum.add(p);
            b += 1;
        }
        for b in b..blocks {
            zero.store(s.add(b * 16));
        }
        (largest, sum.sum())
    }
}

/// Computes the outputs and log-sum-exps of all queries of one key head. `s` is scratch.
///
/// # Safety
/// V's instructions are available; pointers and strides of `q` and `keys` are valid for its rows, heads, and all
/// visible keys (in whole blocks).
#[inline(always)]
pub(super) unsafe fn forward<V: Vector>(q: &Queries, keys: &KeyRuns, s: &mut [f32]) {
    assert!(s.len() >= q.scratch(), "invariant: room for the scores of a tile");
    let s = s.as_mut_ptr();
    in_tiles!(V, i in 0, q.rows * q.group, R => {
        let n = q.visible(i + R - 1);
        let blocks = n.div_ceil(16);
        let s_ld = blocks * 16;
        // SAFETY: as promised by the caller.
        unsafe {
            let pointers: [*const f32; R] = std::array::from_fn(|r| q.q(i + r));
            keys.scores::<V, R>(n, pointers, (q.qk_dim, q.scale), (s, s_ld));
            let mut inverse = [0f32; R];
            for r in 0..R {
                let (max, sum) = softmax::<V>(s.add(r * s_ld), q.visible(i + r), blocks);
                inverse[r] = 1.0 / sum;
                *q.lse(i + r) = max + sum.ln();
            }
            let p: [*const f32; R] = std::array::from_fn(|r| s.add(r * s_ld).cast_const());
            let out: [*mut f32; R] = std::array::from_fn(|r| q.out(i + r));
            keys.product::<V, R>(n, p, (out, inverse), q.v_dim);
        }
    });
}

/// Like [`forward`], for one row of up to four key heads with one query head each: `keys[h]` belongs to head h of the
/// row.
///
/// # Safety
/// As [`forward`]; `q.rows` and `q.group` are 1, and `s` has room for four tiles.
#[inline(always)]
pub(super) unsafe fn decode<V: Vector>(q: &Queries, keys: &[KeyRuns], s: &mut [f32]) {
    let n = q.past + 1;
    let blocks = n.div_ceil(16);
    let s_ld = blocks * 16;
    assert!(s.len() >= keys.len() * s_ld && keys.len() <= 4, "invariant: room for the scores");
    let s = s.as_mut_ptr();
    let mut inverse = [0f32; 4];
    // SAFETY: as promised by the caller.
    unsafe {
        for (h, keys) in keys.iter().enumerate() {
            let row = s.add(h * s_ld);
            let query = q.q.0.add(h * q.q.2);
            keys.scores::<V, 1>(n, [query], (q.qk_dim, q.scale), (row, s_ld));
            let (max, sum) = softmax::<V>(row, n, blocks);
            inverse[h] = 1.0 / sum;
            *q.lse.0.add(h) = max + sum.ln();
        }
        macro_rules! heads {
            ($first:expr, $r:literal) => {{
                let p: [*const f32; $r] = std::array::from_fn(|r| s.add(($first + r) * s_ld).cast_const());
                let mut at = 0;
                while at < q.v_dim {
                    let out: [*mut f32; $r] = std::array::from_fn(|r| q.out.0.add(($first + r) * q.out.2 + at));
                    macro_rules! columns {
                        ($nv:literal) => {{
                            let mask = V::mask(q.v_dim - at - 16 * ($nv - 1));
                            let mut acc = [[V::splat(0.0); $nv]; $r];
                            for (from, len, _, values) in keys[$first].runs(n) {
                                // The heads of a token have the same pages.
                                let values: [*const f32; $r] = std::array::from_fn(|r| {
                                    values.offset(keys[$first + r].values.offset_from(keys[$first].values)).add(at)
                                });
                                let p: [*const f32; $r] = std::array::from_fn(|r| p[r].add(from));
                                acc = rows::<V, $r, $nv>(acc, len, p, (values, keys[$first].value_ld), mask);
                            }
                            for r in 0..$r {
                                for v in 0..$nv {
                                    let m = if v + 1 == $nv { mask } else { V::mask(16) };
                                    acc[r][v].mul(V::splat(inverse[$first + r])).store_mask(out[r].add(16 * v), m);
                                }
                            }
                            at += 16 * $nv;
                        }};
                    }
                    if V::WIDE && q.v_dim - at > 16 { columns!(2) } else { columns!(1) }
                }
            }};
        }
        let mut first = 0;
        while first < keys.len() {
            match keys.len() - first {
                1 => {
                    heads!(first, 1);
                    first += 1;
                }
                2 | 3 => {
                    heads!(first, 2);
                    first += 2;
                }
                _ => {
                    heads!(first, 4);
                    first += 4;
                }
            }
        }
    }
}
