//! Vector code on rows of f32, written once in plain Rust and compiled for every level of the processor
//! ([`crate::cpu::simd`]).
//!
//! All sums have [`LANES`] accumulators, so their order is that of the source for every vector width. Only products and
//! sums are used, never a fused multiply-add, so the bits are the same at every level too.

use crate::cpu::simd::{self, multiversion};

/// Accumulators of a sum over a row.
pub(crate) const LANES: usize = 16;

type Lane = [f32; LANES];

/// Loads up to sixteen values; the rest is `pad`.
#[inline(always)]
fn load(x: &[f32], pad: f32) -> Lane {
    let mut lane = [pad; LANES];
    lane[..x.len()].copy_from_slice(x);
    lane
}

/// Loads the sixteen values from `at`.
#[inline(always)]
fn lane(x: &[f32], at: usize) -> Lane {
    x[at..at + LANES].try_into().expect("invariant: sixteen values")
}

/// Sums the lanes, in a fixed order of pairs.
#[inline(always)]
fn sum_lanes(mut lanes: Lane) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn sigmoid(x: Lane) -> Lane {
    let mut out = [0f32; LANES];
    for i in 0..LANES {
        out[i] = 1.0 / (1.0 + simd::exp(-x[i]));
    }
    out
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for i in 0..a_rest.len().min(b_rest.len()) {
        lanes[i] += a_rest[i] * b_rest[i];
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn rstd_body(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot_body(x, x) / x.len() as f32 + eps).sqrt()
}

multiversion! {
    /// Σ a·b.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        dot_body(a, b)
    }
}

multiversion! {
    /// y += alpha · x.
    pub(crate) fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += alpha * x;
        }
    }
}

multiversion! {
    /// x *= alpha.
    pub(crate) fn scale(alpha: f32, x: &mut [f32]) {
        for x in x {
            *x *= alpha;
        }
    }
}

multiversion! {
    /// Rounds to bf16 (nearest, ties to even); a NaN stays NaN.
    pub(crate) fn round_to_bf16(x: &mut [f32]) {
        for x in x {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
            *x = f32::from_bits(if x.is_nan() { (bits | 0x0040_0000) & 0xffff_0000 } else { rounded });
        }
    }
}

multiversion! {
    /// sums += x · s ⊙ y.
    pub(crate) fn add_product(x: &[f32], s: f32, y: &[f32], sums: &mut [f32]) {
        for ((g, x), y) in sums.iter_mut().zip(x).zip(y) {
            *g += x * s * y;
        }
    }
}

multiversion! {
    /// 1 / √(mean(x²) + eps).
    pub(crate) fn rstd(x: &[f32], eps: f32) -> f32 {
        rstd_body(x, eps)
    }
}

multiversion! {
    /// y = gain ⊙ x / √(mean(x²) + eps).
    pub(crate) fn rms_norm(gain: &[f32], eps: f32, x: &[f32], y: &mut [f32]) {
        let rstd = rstd_body(x, eps);
        for ((y, x), g) in y.iter_mut().zip(x).zip(gain) {
            *y = x * rstd * g;
        }
    }
}

multiversion! {
    /// dx (+)= rstd·(gain ⊙ dy − x · rstd²·mean(gain ⊙ dy ⊙ x)).
    pub(crate) fn rms_norm_backward(gain: &[f32], eps: f32, x: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
        let rstd = rstd_body(x, eps);
        let mut lanes = [0f32; LANES];
        let n = x.len();
        let (dy, gain, dx) = (&dy[..n], &gain[..n], &mut dx[..n]);
        let ((x16, x_rest), (dy16, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
        let (gain16, gain_rest) = gain.as_chunks::<LANES>();
        for ((x, dy), gain) in x16.iter().zip(dy16).zip(gain16) {
            for i in 0..LANES {
                lanes[i] += x[i] * dy[i] * gain[i];
            }
        }
        for (i, ((x, dy), gain)) in x_rest.iter().zip(dy_rest).zip(gain_rest).enumerate() {
            lanes[i] += x * dy * gain;
        }
        let c = rstd * rstd * sum_lanes(lanes) / n as f32;
        if add {
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx += rstd * (dy * gain - x * c);
            }
        } else {
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx = rstd * (dy * gain - x * c);
            }
        }
    }
}

multiversion! {
    /// x = σ(x).
    pub(crate) fn sigmoid_row(x: &mut [f32]) {
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for x in whole {
            *x = sigmoid(*x);
        }
        let s = sigmoid(load(rest, 0.0));
        rest.copy_from_slice(&s[..rest.len()]);
    }
}

multiversion! {
    /// h = silu(gate) ⊙ up, for a row `[gate | up]`.
    pub(crate) fn swiglu(gate_up: &[f32], h: &mut [f32]) {
        let (gate, up) = gate_up.split_at(h.len());
        let (whole, rest) = h.as_chunks_mut::<LANES>();
        let ((g16, g_rest), (u16, u_rest)) = (gate.as_chunks::<LANES>(), up.as_chunks::<LANES>());
        for ((h, g), u) in whole.iter_mut().zip(g16).zip(u16) {
            *h = swiglu_lane(*g, *u);
        }
        let last = swiglu_lane(load(g_rest, 0.0), load(u_rest, 0.0));
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[inline(always)]
fn swiglu_lane(g: Lane, u: Lane) -> Lane {
    let s = sigmoid(g);
    let mut out = [0f32; LANES];
    for i in 0..LANES {
        out[i] = s[i] * g[i] * u[i];
    }
    out
}

/// dgate and dup of one lane.
#[inline(always)]
fn swiglu_backward_lane(g: Lane, u: Lane, d: Lane) -> [Lane; 2] {
    let s = sigmoid(g);
    let mut out = [[0f32; LANES]; 2];
    for i in 0..LANES {
        let silu = s[i] * g[i];
        let slope = silu * (1.0 - s[i]) + s[i];
        out[0][i] = d[i] * u[i] * slope;
        out[1][i] = d[i] * silu;
    }
    out
}

multiversion! {
    /// d`[gate | up]` (+)= from dh. With σ = sigmoid(gate): dgate = dh·up·σ·(1 + gate·(1 − σ)), dup = dh·gate·σ.
    pub(crate) fn swiglu_backward(gate_up: &[f32], dh: &[f32], dgate_up: &mut [f32], add: bool) {
        let (gate, up) = gate_up.split_at(dh.len());
        let (dgate, dup) = dgate_up.split_at_mut(dh.len());
        let whole = dh.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let [mut dg, mut du] = swiglu_backward_lane(lane(gate, at), lane(up, at), lane(dh, at));
            if add {
                let (g, u) = (lane(dgate, at), lane(dup, at));
                for i in 0..LANES {
                    dg[i] += g[i];
                    du[i] += u[i];
                }
            }
            dgate[at..at + LANES].copy_from_slice(&dg);
            dup[at..at + LANES].copy_from_slice(&du);
        }
        let rest = [&gate[whole..], &up[whole..], &dh[whole..]].map(|x| load(x, 0.0));
        let [dg, du] = swiglu_backward_lane(rest[0], rest[1], rest[2]);
        for i in 0..dh.len() - whole {
            dgate[whole + i] = if add { dgate[whole + i] + dg[i] } else { dg[i] };
            dup[whole + i] = if add { dup[whole + i] + du[i] } else { du[i] };
        }
    }
}

multiversion! {
    /// Returns the largest value (−∞ for an empty slice).
    pub(crate) fn max(x: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        let last = load(rest, f32::NEG_INFINITY);
        for x in whole.iter().chain([&last]) {
            for i in 0..LANES {
                lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
            }
        }
        let mut max = lanes[0];
        for x in lanes {
            max = if x > max { x } else { max };
        }
        max
    }
}

/// Computes e = exp(d), d = x · s − shift, of the first `n` of sixteen values; adds e to `sum` and e · d to `weighted`.
#[inline(always)]
fn exp_lane(mut d: Lane, n: usize, s: f32, shift: f32, sum: &mut Lane, weighted: &mut Lane) -> Lane {
    let mut e = [0f32; LANES];
    for i in 0..LANES {
        d[i] = d[i] * s - shift;
        e[i] = simd::exp(d[i]);
    }
    for i in 0..LANES {
        if i >= n {
            e[i] = 0.0;
        }
        // exp is 0 where d is −∞, and 0 · −∞ would be NaN.
        let product = if e[i] == 0.0 { 0.0 } else { e[i] * d[i] };
        sum[i] += e[i];
        weighted[i] += product;
    }
    e
}

multiversion! {
    /// Σ e and Σ e·d, with d = x · s − shift and e = exp(d).
    pub(crate) fn exp_sums(x: &[f32], s: f32, shift: f32) -> [f32; 2] {
        let (mut sum, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            exp_lane(*x, LANES, s, shift, &mut sum, &mut weighted);
        }
        exp_lane(load(rest, 0.0), rest.len(), s, shift, &mut sum, &mut weighted);
        [sum_lanes(sum), sum_lanes(weighted)]
    }
}

multiversion! {
    /// Like [`exp_sums`], with the same bits; x becomes exp(x · s − shift).
    pub(crate) fn exp_in_place(x: &mut [f32], s: f32, shift: f32) -> [f32; 2] {
        let (mut sum, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for x in whole {
            *x = exp_lane(*x, LANES, s, shift, &mut sum, &mut weighted);
        }
        let e = exp_lane(load(rest, 0.0), rest.len(), s, shift, &mut sum, &mut weighted);
        rest.copy_from_slice(&e[..rest.len()]);
        [sum_lanes(sum), sum_lanes(weighted)]
    }
}

multiversion! {
    /// x becomes e·(a − b·d), with d = x · s − shift and e = exp(d).
    pub(crate) fn exp_times_linear(x: &mut [f32], s: f32, shift: f32, a: f32, b: f32) {
        for x in x {
            let d = *x * s - shift;
            let e = simd::exp(d);
            // exp is 0 where d is −∞, and 0 · −∞ would be NaN.
            *x = if e == 0.0 { 0.0 } else { e * (a - b * d) };
        }
    }
}

/// The parameters of one AdamW step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    /// Factor applied to the gradients.
    pub(crate) scale: f32,
    /// 1 − learning rate · weight decay.
    pub(crate) keep: f32,
    /// learning rate / (1 − β₁ᵗ)
    pub(crate) rate: f32,
    /// 1 / √(1 − β₂ᵗ)
    pub(crate) root: f32,
}

multiversion! {
    /// Takes one AdamW step on weights, gradients (zeroed) and moments.
    pub(crate) fn adamw(step: Adam, w: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let Adam { beta1, beta2, epsilon, scale, keep, rate, root } = step;
        let (c1, c2) = (1.0 - beta1, 1.0 - beta2);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let d = *g * scale;
            *g = 0.0;
            let (m1, v1) = (beta1 * *m + c1 * d, beta2 * *v + c2 * d * d);
            // Vanishing moments are set to zero before they become subnormal, because each subnormal operation costs
            // 100 cycles.
            *m = if m1.abs() < 1e-30 { 0.0 } else { m1 };
            *v = if v1 < 1e-30 { 0.0 } else { v1 };
            *w = *w * keep - rate * *m / (v.sqrt() * root + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn exp_is_within_three_ulp() {
        let mut rng = Rng::new(&[8]);
        let mut worst = 0f64;
        for _ in 0..20_000 {
            let x: Lane = std::array::from_fn(|_| 175.0 * rng.uniform() - 87.2);
            let mut e = x;
            exp_in_place(&mut e, 1.0, 0.0);
            for (x, e) in x.iter().zip(e).filter(|(x, _)| **x < 88.0) {
                let expected = (*x as f64).exp();
                worst = worst.max((e as f64 / expected - 1.0).abs());
            }
        }
        assert!(worst < 3.6e-7, "{worst}");
    }

    #[test]
    fn exp_at_the_edges() {
        let mut x = [0.0, f32::NEG_INFINITY, -1e30, -88.0, 1e30, f32::INFINITY, f32::NAN, -0.0];
        let [sum, weighted] = exp_in_place(&mut x, 1.0, 0.0);
        assert_eq!(x[..4], [1.0, 0.0, 0.0, 0.0]);
        assert!(x[4..6].iter().all(|&x| x > 2e38) && x[6].is_nan() && x[7] == 1.0);
        assert!(sum.is_nan() && weighted.is_nan());
        let [sum, weighted] = exp_sums(&[0.0, f32::NEG_INFINITY], 1.0, 0.0);
        assert_eq!([sum, weighted], [1.0, 0.0]);
    }

    #[test]
    fn rows_of_any_length_agree_with_the_plain_form() {
        for n in [1, 15, 16, 17, 48, 100] {
            let mut rng = Rng::new(&[n as u64]);
            let mut row = |n: usize| -> Vec<f32> { (0..n).map(|_| 2.0 * rng.normal()).collect() };
            let (a, b, gain) = (row(n), row(n), row(n));
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| *a as f64 * *b as f64).sum();
            assert!((dot(&a, &b) as f64 - exact).abs() < 1e-5 * (n as f64));
            assert_eq!(max(&a), a.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x)));
            let near = |x: f32, y: f64| assert!((x as f64 - y).abs() < 1e-5 * (1.0 + y.abs()), "{x} {y}");
            let mut y = vec![0.0; n];
            rms_norm(&gain, 0.1, &a, &mut y);
            let mean = a.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / n as f64;
            for i in 0..n {
                near(y[i], a[i] as f64 * gain[i] as f64 / (mean + 0.1f32 as f64).sqrt());
            }
            let gate_up = [a.clone(), b.clone()].concat();
            swiglu(&gate_up, &mut y);
            let mut d = gate_up.clone();
            swiglu_backward(&gate_up, &gain, &mut d, true);
            for i in 0..n {
                let (g, u, dh) = (a[i] as f64, b[i] as f64, gain[i] as f64);
                let s = 1.0 / (1.0 + (-g).exp());
                near(y[i], g * s * u);
                near(d[i], g + dh * u * s * (1.0 + g * (1.0 - s)));
                near(d[n + i], u + dh * g * s);
            }
            let mut s = a.clone();
            sigmoid_row(&mut s);
            (0..n).for_each(|i| near(s[i], 1.0 / (1.0 + (-a[i] as f64).exp())));
        }
    }

    #[test]
    fn rms_norm_equals_the_definition() {
        let x = [1.0f32, -2.0, 3.0, 0.5];
        let gain = [2.0, 1.0, 0.5, -1.0];
        let mut y = [0.0; 4];
        rms_norm(&gain, 0.75, &x, &mut y);
        // mean square 3.5625, + 0.75 = 4.3125, root 2.0766560
        let root = 4.3125f32.sqrt();
        for (y, (x, g)) in y.iter().zip(x.iter().zip(gain)) {
            assert!((y - g * x / root).abs() < 1e-6);
        }
    }
}
