//! The inner loop of all attention products: a tile of rows times a panel of vectors.

use crate::cpu::simd::vector::Vector;

/// Adds Σ_l a(r, l) · b(l, ·) to `acc`. Every element is one chain of fused multiply-adds over l. a(r, l) is at
/// `a[r] + l·a_step`, vector v of b(l, ·) at `b + l·b_step + v·b_gap`; the last vector is under `mask`.
///
/// # Safety
/// V's instructions are available; all these addresses are readable.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const R: usize, const NV: usize>(
    mut acc: [[V; NV]; R],
    len: usize,
    (a, a_step): ([*const f32; R], usize),
    (b, b_step, b_gap): (*const f32, usize, usize),
    mask: V::Mask,
) -> [[V; NV]; R] {
    for l in 0..len {
        // SAFETY: as promised by the caller.
        unsafe {
            let b = b.add(l * b_step);
            let mut bs = [V::splat(0.0); NV];
            for (v, x) in bs.iter_mut().enumerate() {
                *x = if v + 1 == NV { V::load_mask(b.add(v * b_gap), mask) } else { V::load(b.add(v * b_gap)) };
            }
            for r in 0..R {
                let x = V::splat(*a[r].add(l * a_step));
                for v in 0..NV {
                    acc[r][v] = x.fma(bs[v], acc[r][v]);
                }
            }
        }
    }
    acc
}

/// Like [`tile`], but every row has its own vectors, so that several heads of one token hide each other's latency.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
pub(super) unsafe fn rows<V: Vector, const R: usize, const NV: usize>(
    mut acc: [[V; NV]; R],
    len: usize,
    a: [*const f32; R],
    (b, b_step): ([*const f32; R], usize),
    mask: V::Mask,
) -> [[V; NV]; R] {
    // SAFETY: as promised by the caller.
    unsafe {
        for l in 0..len {
            for r in 0..R {
                let x = V::splat(*a[r].add(l));
                for v in 0..NV {
                    let b = b[r].add(l * b_step + v * 16);
                    let b = if v + 1 == NV { V::load_mask(b, mask) } else { V::load(b) };
                    acc[r][v] = x.fma(b, acc[r][v]);
                }
            }
        }
        acc
    }
}

/// Computes C (+)= alpha · A · B for R rows of C and `cols` columns, `tile` by `tile`.
///
/// # Safety
/// As [`tile`]; `c[r]` is valid for `cols` columns.
#[inline(always)]
pub(super) unsafe fn product<V: Vector, const R: usize>(
    len: usize,
    a: ([*const f32; R], usize),
    (b, b_step): (*const f32, usize),
    (c, alpha, add): ([*mut f32; R], [f32; R], bool),
    cols: usize,
) {
    let mut at = 0;
    while at < cols {
        // SAFETY: as promised by the caller; the mask ends at `cols`.
        unsafe {
            macro_rules! columns {
                ($nv:literal) => {{
                    let mask = V::mask(cols - at - 16 * ($nv - 1));
                    let acc = tile::<V, R, $nv>([[V::splat(0.0); $nv]; R], len, a, (b.add(at), b_step, 16), mask);
                    for r in 0..R {
                        for v in 0..$nv {
                            let c = c[r].add(at + v * 16);
                            let m = if v + 1 == $nv { mask } else { V::mask(16) };
                            let alpha = V::splat(alpha[r]);
                            let x = if add { acc[r][v].fma(alpha, V::load_mask(c, m)) } else { acc[r][v].mul(alpha) };
                            x.store_mask(c, m);
                        }
                    }
                    at += 16 * $nv;
                }};
            }
            if V::WIDE && cols - at > 16 { columns!(2) } else { columns!(1) }
        }
    }
}

/// Runs `$body` for `$r` rows from `$i`, in tiles of 8 (AVX-512), 4 and 1, until `$end`.
macro_rules! in_tiles {
    ($v:ty, $i:ident in $start:expr, $end:expr, $r:ident => $body:block) => {{
        let mut $i = $start;
        while $i < $end {
            if <$v>::WIDE && $i + 8 <= $end {
                const $r: usize = 8;
                $body
                $i += 8;
            } else if $i + 4 <= $end {
                const $r: usize = 4;
                $body
                $i += 4;
            } else {
                const $r: usize = 1;
                $body
                $i += 1;
            }
        }
    }};
}
pub(super) use in_tiles;

/// Transposes blocks of 16 rows of `x`: `out[block][d][16]`. Rows past `n` are 0.
///
/// # Safety
/// V's instructions are available; `x` is readable for `n` rows of `dim` values, `ld` apart; `out` has room.
#[inline(always)]
pub(super) unsafe fn transpose<V: Vector>(x: *const f32, ld: usize, n: usize, dim: usize, out: &mut [f32]) {
    assert!(out.len() >= n.next_multiple_of(16) * dim, "invariant: room for all blocks");
    for j in (0..n).step_by(16) {
        for d in (0..dim).step_by(16) {
            // SAFETY: rows past n and columns past dim are not read; `out` has the length asserted.
            unsafe {
                let mask = V::mask(dim - d);
                let mut rows = [V::splat(0.0); 16];
                for (i, row) in rows.iter_mut().enumerate().take(n - j) {
                    *row = V::load_mask(x.add((j + i) * ld + d), mask);
                }
                let out = out.as_mut_ptr().add((j / 16 * dim + d) * 16);
                for (i, column) in V::transpose(rows).into_iter().enumerate().take(dim - d) {
                    column.store(out.add(i * 16));
                }
            }
        }
    }
}
