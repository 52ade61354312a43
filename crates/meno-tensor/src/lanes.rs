//! Vector code on rows of f32, written once in plain Rust and compiled for every level of the processor.
//!
//! A function under `levels!` is compiled three times: for AVX-512, for AVX2 with FMA, and for what every processor
//! of the target has; the best one is called. All sums have [`LANES`] accumulators, so their order is that of the
//! source whatever the vector width. Levels differ in one thing: without FMA a product is rounded before it is added.

use std::sync::OnceLock;

/// Accumulators of a sum over a row.
pub(crate) const LANES: usize = 16;

/// What the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if fma && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Level::Avx512;
            }
            if fma {
                return Level::Avx2;
            }
        }
        Level::Portable
    })
}

/// Compiles a function for every level; `F` says whether fused multiply-add is an instruction.
macro_rules! levels {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<const $F:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn plain<const $F: bool>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    plain::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    plain::<true>($($arg),*)
                }
                match level() {
                    // SAFETY: `level` found AVX-512F, AVX-512VL, AVX2 and FMA.
                    Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `level` found AVX2 and FMA.
                    Level::Avx2 => return unsafe { avx2($($arg),*) },
                    Level::Portable => {}
                }
            }
            plain::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}

/// a·b + c, fused where that is an instruction.
#[inline(always)]
fn fma<const F: bool>(a: f32, b: f32, c: f32) -> f32 {
    if F { a.mul_add(b, c) } else { a * b + c }
}

type Lane = [f32; LANES];

/// Up to sixteen values, the rest `pad`.
#[inline(always)]
fn load(x: &[f32], pad: f32) -> Lane {
    let mut lane = [pad; LANES];
    lane[..x.len()].copy_from_slice(x);
    lane
}

/// The sixteen values from `at`.
#[inline(always)]
fn lane(x: &[f32], at: usize) -> Lane {
    x[at..at + LANES].try_into().expect("invariant: sixteen values")
}

/// Σ over the lanes, in a fixed order of pairs.
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

/// exp, within 2 ulp; exactly 0 below −87.3, ∞ above 88.7 (Cephes' polynomial, as in most vector libraries).
#[inline(always)]
fn exp<const F: bool>(x: Lane) -> Lane {
    let mut out = [0f32; LANES];
    for i in 0..LANES {
        let clamped = if x[i] > 88.8 { 88.8 } else { x[i] };
        // 1.5 · 2²³ rounds to an integer, which then stands in the low bits.
        let shifted = fma::<F>(clamped, std::f32::consts::LOG2_E, 12_582_912.0);
        let n = shifted - 12_582_912.0;
        let r = fma::<F>(n, -0.693_359_4, clamped);
        let r = fma::<F>(n, 2.121_944_4e-4, r);
        let mut p = 1.987_569_1e-4;
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1, 1.0, 1.0] {
            p = fma::<F>(p, r, c);
        }
        let power = f32::from_bits(((shifted.to_bits().wrapping_sub(0x4b40_0000)).wrapping_add(127)) << 23);
        out[i] = if x[i] < -87.3 { 0.0 } else { p * power };
    }
    out
}

#[inline(always)]
fn sigmoid<const F: bool>(x: Lane) -> Lane {
    let mut minus = [0f32; LANES];
    for i in 0..LANES {
        minus[i] = -x[i];
    }
    let e = exp::<F>(minus);
    let mut out = [0f32; LANES];
    for i in 0..LANES {
        out[i] = 1.0 / (1.0 + e[i]);
    }
    out
}

#[inline(always)]
fn dot_body<const F: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            lanes[i] = fma::<F>(a[i], b[i], lanes[i]);
        }
    }
    for i in 0..a_rest.len().min(b_rest.len()) {
        lanes[i] = fma::<F>(a_rest[i], b_rest[i], lanes[i]);
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn rstd_body<const F: bool>(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot_body::<F>(x, x) / x.len() as f32 + eps).sqrt()
}

levels! {
    /// Σ a·b.
    pub(crate) fn dot<const F>(a: &[f32], b: &[f32]) -> f32 {
        dot_body::<F>(a, b)
    }
}

levels! {
    /// y += alpha · x.
    pub(crate) fn axpy<const F>(alpha: f32, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = fma::<F>(alpha, *x, *y);
        }
    }
}

levels! {
    /// x *= alpha.
    pub(crate) fn scale<const F>(alpha: f32, x: &mut [f32]) {
        for x in x {
            *x *= alpha;
        }
    }
}

levels! {
    /// sums += x · s ⊙ y.
    pub(crate) fn add_product<const F>(x: &[f32], s: f32, y: &[f32], sums: &mut [f32]) {
        for ((g, x), y) in sums.iter_mut().zip(x).zip(y) {
            *g = fma::<F>(x * s, *y, *g);
        }
    }
}

levels! {
    /// 1 / √(mean(x²) + eps).
    pub(crate) fn rstd<const F>(x: &[f32], eps: f32) -> f32 {
        rstd_body::<F>(x, eps)
    }
}

levels! {
    /// y = gain ⊙ x / √(mean(x²) + eps).
    pub(crate) fn rms_norm<const F>(gain: &[f32], eps: f32, x: &[f32], y: &mut [f32]) {
        let rstd = rstd_body::<F>(x, eps);
        for ((y, x), g) in y.iter_mut().zip(x).zip(gain) {
            *y = x * rstd * g;
        }
    }
}

levels! {
    /// dx (+)= rstd·(gain ⊙ dy − x · rstd²·mean(gain ⊙ dy ⊙ x)).
    pub(crate) fn rms_norm_backward<const F>(gain: &[f32], eps: f32, x: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
        let rstd = rstd_body::<F>(x, eps);
        let mut lanes = [0f32; LANES];
        let n = x.len();
        let (dy, gain, dx) = (&dy[..n], &gain[..n], &mut dx[..n]);
        let ((x16, x_rest), (dy16, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
        let (gain16, gain_rest) = gain.as_chunks::<LANES>();
        for ((x, dy), gain) in x16.iter().zip(dy16).zip(gain16) {
            for i in 0..LANES {
                lanes[i] = fma::<F>(x[i] * dy[i], gain[i], lanes[i]);
            }
        }
        for (i, ((x, dy), gain)) in x_rest.iter().zip(dy_rest).zip(gain_rest).enumerate() {
            lanes[i] = fma::<F>(x * dy, *gain, lanes[i]);
        }
        let c = rstd * rstd * sum_lanes(lanes) / n as f32;
        if add {
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx += rstd * fma::<F>(-x, c, dy * gain);
            }
        } else {
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx = rstd * fma::<F>(-x, c, dy * gain);
            }
        }
    }
}

levels! {
    /// x = σ(x).
    pub(crate) fn sigmoid_row<const F>(x: &mut [f32]) {
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for x in whole {
            *x = sigmoid::<F>(*x);
        }
        let s = sigmoid::<F>(load(rest, 0.0));
        rest.copy_from_slice(&s[..rest.len()]);
    }
}

levels! {
    /// h = silu(gate) ⊙ up, for a row `[gate | up]`.
    pub(crate) fn swiglu<const F>(gate_up: &[f32], h: &mut [f32]) {
        let (gate, up) = gate_up.split_at(h.len());
        let (whole, rest) = h.as_chunks_mut::<LANES>();
        let ((g16, g_rest), (u16, u_rest)) = (gate.as_chunks::<LANES>(), up.as_chunks::<LANES>());
        for ((h, g), u) in whole.iter_mut().zip(g16).zip(u16) {
            *h = swiglu_lane::<F>(*g, *u);
        }
        let last = swiglu_lane::<F>(load(g_rest, 0.0), load(u_rest, 0.0));
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[inline(always)]
fn swiglu_lane<const F: bool>(g: Lane, u: Lane) -> Lane {
    let s = sigmoid::<F>(g);
    let mut out = [0f32; LANES];
    for i in 0..LANES {
        out[i] = s[i] * g[i] * u[i];
    }
    out
}

/// dgate and dup of one lane.
#[inline(always)]
fn swiglu_backward_lane<const F: bool>(g: Lane, u: Lane, d: Lane) -> [Lane; 2] {
    let s = sigmoid::<F>(g);
    let mut out = [[0f32; LANES]; 2];
    for i in 0..LANES {
        let silu = s[i] * g[i];
        let slope = fma::<F>(silu, 1.0 - s[i], s[i]);
        out[0][i] = d[i] * u[i] * slope;
        out[1][i] = d[i] * silu;
    }
    out
}

levels! {
    /// d`[gate | up]` (+)= from dh. With σ = sigmoid(gate): dgate = dh·up·σ·(1 + gate·(1 − σ)), dup = dh·gate·σ.
    pub(crate) fn swiglu_backward<const F>(gate_up: &[f32], dh: &[f32], dgate_up: &mut [f32], add: bool) {
        let (gate, up) = gate_up.split_at(dh.len());
        let (dgate, dup) = dgate_up.split_at_mut(dh.len());
        let whole = dh.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let [mut dg, mut du] = swiglu_backward_lane::<F>(lane(gate, at), lane(up, at), lane(dh, at));
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
        let [dg, du] = swiglu_backward_lane::<F>(rest[0], rest[1], rest[2]);
        for i in 0..dh.len() - whole {
            dgate[whole + i] = if add { dgate[whole + i] + dg[i] } else { dg[i] };
            dup[whole + i] = if add { dup[whole + i] + du[i] } else { du[i] };
        }
    }
}

levels! {
    /// The largest value (−∞ of none).
    pub(crate) fn max<const F>(x: &[f32]) -> f32 {
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

/// exp(x · s − shift) of the first `n` of sixteen values, added to `sum`, and times (x · s − shift) to `weighted`.
#[inline(always)]
fn exp_lane<const F: bool>(mut d: Lane, n: usize, s: f32, shift: f32, sum: &mut Lane, weighted: &mut Lane) -> Lane {
    for d in &mut d {
        *d = fma::<F>(*d, s, -shift);
    }
    let mut e = exp::<F>(d);
    for i in 0..LANES {
        if i >= n {
            e[i] = 0.0;
        }
        // exp is 0 where d is −∞, whose product would not be a number.
        let product = if e[i] == 0.0 { 0.0 } else { e[i] * d[i] };
        sum[i] += e[i];
        weighted[i] += product;
    }
    e
}

levels! {
    /// Σ e and Σ e·d, with d = x · s − shift and e = exp(d).
    pub(crate) fn exp_sums<const F>(x: &[f32], s: f32, shift: f32) -> [f32; 2] {
        let (mut sum, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            exp_lane::<F>(*x, LANES, s, shift, &mut sum, &mut weighted);
        }
        exp_lane::<F>(load(rest, 0.0), rest.len(), s, shift, &mut sum, &mut weighted);
        [sum_lanes(sum), sum_lanes(weighted)]
    }
}

levels! {
    /// As [`exp_sums`], same bits; x becomes exp(x · s − shift).
    pub(crate) fn exp_in_place<const F>(x: &mut [f32], s: f32, shift: f32) -> [f32; 2] {
        let (mut sum, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for x in whole {
            *x = exp_lane::<F>(*x, LANES, s, shift, &mut sum, &mut weighted);
        }
        let e = exp_lane::<F>(load(rest, 0.0), rest.len(), s, shift, &mut sum, &mut weighted);
        rest.copy_from_slice(&e[..rest.len()]);
        [sum_lanes(sum), sum_lanes(weighted)]
    }
}

/// The numbers of one step of AdamW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    /// Factor of the gradients.
    pub(crate) scale: f32,
    /// 1 − learning rate · weight decay.
    pub(crate) keep: f32,
    /// learning rate / (1 − β₁ᵗ)
    pub(crate) rate: f32,
    /// 1 / √(1 − β₂ᵗ)
    pub(crate) root: f32,
}

levels! {
    /// One step of AdamW on weights, gradients (zeroed) and moments.
    pub(crate) fn adamw<const F>(step: Adam, w: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let Adam { beta1, beta2, epsilon, scale, keep, rate, root } = step;
        let (c1, c2) = (1.0 - beta1, 1.0 - beta2);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let d = *g * scale;
            *g = 0.0;
            let (m1, v1) = (fma::<F>(beta1, *m, c1 * d), fma::<F>(beta2, *v, c2 * d * d));
            // Moments that fade away are set to zero before they become subnormal, which costs 100 cycles each.
            *m = if m1.abs() < 1e-30 { 0.0 } else { m1 };
            *v = if v1 < 1e-30 { 0.0 } else { v1 };
            *w = fma::<F>(*w, keep, -(rate * *m / fma::<F>(v.sqrt(), root, epsilon)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn exp_is_within_two_ulp() {
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
        assert!(worst < 2.4e-7, "{worst}");
    }

    #[test]
    fn exp_at_the_edges() {
        let mut x = [0.0, f32::NEG_INFINITY, -1e30, -88.0, 1e30, f32::INFINITY, f32::NAN, -0.0];
        let [sum, weighted] = exp_in_place(&mut x, 1.0, 0.0);
        assert_eq!(x[..4], [1.0, 0.0, 0.0, 0.0]);
        assert!(x[4..6].iter().all(|&x| x == f32::INFINITY) && x[6].is_nan() && x[7] == 1.0);
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
}
