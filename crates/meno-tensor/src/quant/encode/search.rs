//! Searches for the scale of a group of values with the smallest weighted error (ggml's `make_qx_quants`,
//! `make_q3_quants` and `make_qkx2_quants`). The order of the operations is ggml's, so the bits are identical.

use super::block::extreme;

/// Groups whose largest magnitude is below this become zero.
pub(super) const ZERO: f32 = 1e-15;

/// Rounds to the nearest integer, ties to even.
pub(super) fn nearest(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// Returns a scale for codes from −n to n − 1, each stored with n added. Squared errors are weighted by the squared
/// values.
pub(super) fn symmetric<const N: usize>(x: &[f32; N], n: i32, codes: &mut [u8]) -> f32 {
    let largest = extreme(x);
    if largest.abs() < ZERO {
        codes.fill(0);
        return 0.0;
    }
    let code = |iscale: f32, x: f32| nearest(iscale * x).clamp(-n, n - 1);
    let sums = |iscale: f32| {
        x.iter().fold((0.0f32, 0.0f32), |(lx, l2), &x| {
            let (w, l) = (x * x, code(iscale, x) as f32);
            (lx + w * x * l, l2 + w * l * l)
        })
    };
    let mut chosen = -n as f32 / largest;
    let (lx, l2) = sums(chosen);
    let mut scale = if l2 == 0.0 { 0.0 } else { lx / l2 };
    let mut best = scale * lx;
    for step in (-9..=9).filter(|&s| s != 0) {
        let iscale = -(n as f32 + 0.1 * step as f32) / largest;
        let (lx, l2) = sums(iscale);
        if l2 > 0.0 && lx * lx > best * l2 {
            (chosen, scale) = (iscale, lx / l2);
            best = scale * lx;
        }
    }
    for (c, &x) in codes.iter_mut().zip(x) {
        *c = (n + code(chosen, x)) as u8;
    }
    scale
}

/// Returns a scale for codes from −4 to 3, each stored with 4 added. Changes one code at a time while that reduces the
/// error.
pub(super) fn three_bits(x: &[f32; 16], codes: &mut [u8]) -> f32 {
    const N: i32 = 4;
    let largest = extreme(x);
    if largest.abs() < ZERO {
        codes.fill(0);
        return 0.0;
    }
    let iscale = -N as f32 / largest;
    let mut chosen = x.map(|x| nearest(iscale * x).clamp(-N, N - 1));
    let (mut lx, mut l2) = (0.0f32, 0.0f32);
    for (&x, &l) in x.iter().zip(&chosen) {
        let (w, l) = (x * x, l as f32);
        lx += w * x * l;
        l2 += w * l * l;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (&x, l) in x.iter().zip(&mut chosen) {
            let (w, old) = (x * x, *l as f32);
            let mut without_lx = lx - w * x * old;
            if without_lx <= 0.0 {
                continue;
            }
            let mut without_l2 = l2 - w * old * old;
            let new = nearest(x * without_l2 / without_lx).clamp(-N, N - 1);
            if new == *l {
                continue;
            }
            without_lx += w * x * new as f32;
            without_l2 += w * new as f32 * new as f32;
            if without_l2 > 0.0 && without_lx * without_lx * l2 > lx * lx * without_l2 {
                (*l, lx, l2, changed) = (new, without_lx, without_l2, true);
            }
        }
        if !changed {
            break;
        }
    }
    for (c, l) in codes.iter_mut().zip(chosen) {
        *c = (l + N) as u8;
    }
    if l2 > 0.0 { lx / l2 } else { 0.0 }
}

/// The parameters of the search in [`with_minimum`].
pub(super) struct Search {
    /// The largest code.
    pub(super) max: u8,
    /// The amount added to `max` in the first try.
    pub(super) first: f32,
    /// Number of further tries, each 0.1 higher.
    pub(super) steps: i32,
    /// If true, the error is absolute; otherwise it is squared.
    pub(super) absolute: bool,
}

/// Returns a scale and the negated minimum for codes from 0 to `max`: x ≈ scale · code + minimum. The minimum is at
/// most 0.
pub(super) fn with_minimum<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    s: &Search,
    codes: &mut [u8],
) -> (f32, f32) {
    let (mut min, mut max) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (&x, &w) in x.iter().zip(weights).skip(1) {
        min = if x < min { x } else { min };
        max = if x > max { x } else { max };
        sum_w += w;
        sum_x += w * x;
    }
    min = if min > 0.0 { 0.0 } else { min };
    if max == min {
        codes.fill(0);
        return (0.0, -min);
    }
    let top = f32::from(s.max);
    let error = |codes: &[u8; N], scale: f32, min: f32| {
        codes.iter().zip(x).zip(weights).fold(0.0f32, |sum, ((&l, &x), &w)| {
            let difference = scale * f32::from(l) + min - x;
            sum + w * if s.absolute { difference.abs() } else { difference * difference }
        })
    };
    let code = |iscale: f32, min: f32| x.map(|x| nearest(iscale * (x - min)).clamp(0, i32::from(s.max)) as u8);
    let iscale = top / (max - min);
    let mut scale = 1.0 / iscale;
    let mut best = code(iscale, min);
    let mut best_error = error(&best, scale, min);
    for step in 0..=s.steps {
        // Starts from the last accepted minimum.
        let tried = code((s.first + 0.1 * step as f32 + top) / (max - min), min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((&l, &x), &w) in tried.iter().zip(x).zip(weights) {
            let l = f32::from(l);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 || determinant.is_nan() {
            continue;
        }
        let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if this_min > 0.0 {
            (this_scale, this_min) = (sum_xl / sum_l2, 0.0);
        }
        let this_error = error(&tried, this_scale, this_min);
        if this_error < best_error {
            (best, best_error, scale, min) = (tried, this_error, this_scale, this_min);
        }
    }
    codes.copy_from_slice(&best);
    (scale, -min)
}
