//! The log-softmax of a row of logits on the host, with the arithmetic and the bits of the card's loss head
//! (`kernels/head.cu`).
//!
//! With d = logit · (1 / temperature) − max (two roundings) and e = exp(d), Σ e and Σ e·d have [`LANES`] lanes:
//! lane l adds the values l, l + LANES, …, and the lanes are added in pairs.

use crate::cpu::row_kernels;
use crate::cpu::simd::multiversion;
use crate::log_softmax::LogSoftmax;

/// Lanes of the sums: the threads that the card uses for a row.
const LANES: usize = 512;

/// Σ e and Σ e·d.
type Sums = [[f32; LANES]; 2];

/// Returns e^d of d ≤ 0, to 2 ulp, and d. Both are 0 where e^d is below the smallest normal number. NaN stays NaN.
#[inline(always)]
fn exp(d: f32) -> [f32; 2] {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    let shifted = d.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, d));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    p = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if d < -87.3 { [0.0; 2] } else { [p * power, d] }
}

/// Returns e of a logit, and adds to one lane of the sums.
#[inline(always)]
fn add(logit: f32, inv_temperature: f32, max: f32, sum: &mut f32, weighted: &mut f32) -> f32 {
    let [e, d] = exp(logit * inv_temperature - max);
    *sum += e;
    *weighted = e.mul_add(d, *weighted);
    e
}

/// Adds the lanes, in pairs at distances 256, 128, …, 1.
#[inline(always)]
fn add_lanes(mut sums: Sums) -> [f32; 2] {
    for sums in &mut sums {
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
            width /= 2;
        }
    }
    [sums[0][0], sums[1][0]]
}

multiversion! {
    /// Returns Σ e and Σ e·d.
    fn sums(logits: &[f32], inv_temperature: f32, max: f32) -> [f32; 2] {
        let mut sums: Sums = [[0.0; LANES]; 2];
        for logits in logits.chunks(LANES) {
            let [sum, weighted] = &mut sums;
            for ((&logit, sum), weighted) in logits.iter().zip(sum).zip(weighted) {
                add(logit, inv_temperature, max, sum, weighted);
            }
        }
        add_lanes(sums)
    }
}

multiversion! {
    /// Like [`sums`], with the same bits; the logits become e.
    fn exp_in_place(logits: &mut [f32], inv_temperature: f32, max: f32) -> [f32; 2] {
        let mut sums: Sums = [[0.0; LANES]; 2];
        for logits in logits.chunks_mut(LANES) {
            let [sum, weighted] = &mut sums;
            for ((logit, sum), weighted) in logits.iter_mut().zip(sum).zip(weighted) {
                *logit = add(*logit, inv_temperature, max, sum, weighted);
            }
        }
        add_lanes(sums)
    }
}

/// Returns the largest logit · (1 / temperature).
fn largest(logits: &[f32], inv_temperature: f32) -> f32 {
    // The last sum turns a zero positive, whose sign depends on the order.
    row_kernels::max(logits) * inv_temperature + 0.0
}

/// Returns the normalizer of a row of logits.
pub(super) fn log_softmax_row(logits: &[f32], inv_temperature: f32) -> LogSoftmax {
    let max = largest(logits, inv_temperature);
    let [sum, weighted] = sums(logits, inv_temperature, max);
    LogSoftmax::new(inv_temperature, max, sum, weighted)
}

/// Like [`log_softmax_row`], with the same bits; leaves exp(z − max) in the row.
pub(super) fn exp_row(logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
    let max = largest(logits, inv_temperature);
    let [sum, weighted] = exp_in_place(logits, inv_temperature, max);
    LogSoftmax::new(inv_temperature, max, sum, weighted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::driver::{Gpu, Launch};
    use crate::device::Device;
    use crate::rng::Rng;
    use std::sync::Arc;

    fn cards() -> impl Iterator<Item = Arc<Gpu>> {
        let open = |device| if let Device::Cuda(number) = device { Some(Gpu::open(number).unwrap()) } else { None };
        Device::all().into_iter().filter_map(open)
    }

    /// Bits, where all NaN are equal.
    fn bits(x: f32) -> u32 {
        if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
    }

    /// Max, Σ e and Σ e·d of a row by the card.
    fn sums_on(gpu: &Arc<Gpu>, logits: &[f32], inv_temperature: f32) -> [f32; 3] {
        let [out, row, target] = [16, 4 * logits.len(), 4].map(|bytes| gpu.allocate(bytes, "a test").unwrap());
        row.write(0, logits).unwrap();
        target.write(0, &[logits.len() as u32 - 1]).unwrap();
        let threads = logits.len().next_multiple_of(32).min(LANES) as u32;
        let [out_at, row_at, target_at] = [&out, &row, &target].map(|memory| memory.at().into());
        let args = &mut [out_at, row_at, target_at, logits.len().into(), inv_temperature.into()];
        gpu.launch("log_softmax_f32", Launch::blocks(1, threads), args).unwrap();
        let mut values = [0f32; 4];
        out.read(0, &mut values).unwrap();
        assert_eq!(bits(values[3]), bits(logits[logits.len() - 1]));
        [values[0], values[1], values[2]]
    }

    #[test]
    fn the_card_has_the_same_sums() {
        let special = [0.0, -0.0, 1e30, -3e38, f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
        for gpu in cards() {
            for n in [1, 2, 31, 32, 33, 511, 512, 513, 1000, 4097] {
                let mut rng = Rng::new(&[n as u64]);
                let plain: Vec<f32> = (0..n).map(|_| 8.0 * rng.normal()).collect();
                let mut rows = vec![plain.clone(), plain.iter().map(|x| 1e4 * x).collect()];
                rows.extend(special.map(|x| vec![x; n]));
                for x in special {
                    let mut row = plain.clone();
                    row[rng.below(n)] = x;
                    rows.push(row);
                }
                rows.push((0..n).map(|i| if i % 3 == 0 { -0.0 } else { 0.0 }).collect());
                for (row, inv_temperature) in rows.iter().zip([1.0, 1.0 / 0.6, 0.3].into_iter().cycle()) {
                    let max = largest(row, inv_temperature);
                    let [sum, weighted] = sums(row, inv_temperature, max);
                    let (host, card) = ([max, sum, weighted], sums_on(&gpu, row, inv_temperature));
                    assert_eq!(host.map(bits), card.map(bits), "{host:?} {card:?} for {n} logits");
                }
            }
        }
    }

    #[test]
    fn the_card_has_the_same_exponential() {
        // Every 1021st f32 from −0 to −100, the edge of the smallest result, and what lies below.
        let mut distances: Vec<f32> = (0x8000_0000..(-100f32).to_bits()).step_by(1021).map(f32::from_bits).collect();
        distances.extend([0.0, -87.3, -87.299_99, -87.300_01, -1e30, f32::MIN, f32::NEG_INFINITY, f32::NAN]);
        for gpu in cards() {
            let n = distances.len();
            let [out, row, one] = [4 * n, 4 * n, 32].map(|bytes| gpu.allocate(bytes, "a test").unwrap());
            row.write(0, &distances).unwrap();
            one.write(0, &[0f32, 1.0, 0.0, 0.0, 0.0]).unwrap(); // max, a, b, c, and the target
            let [out_at, row_at, one_at] = [&out, &row, &one].map(|memory| memory.at());
            let args = &mut [out_at.into(), row_at.into(), one_at.into(), (one_at + 16).into(), n.into(), 1f32.into()];
            gpu.launch("log_softmax_gradient_f32_f32", Launch::blocks(n.div_ceil(1024), 256), args).unwrap();
            let mut e = vec![0f32; n];
            out.read(0, &mut e).unwrap();
            for (&d, e) in distances.iter().zip(e) {
                assert_eq!(bits(exp(d)[0]), bits(e), "exp({d})");
            }
        }
    }

    #[test]
    fn the_exponential_is_within_two_ulp() {
        for i in 0..200_000 {
            let d = i as f32 * (-87.3 / 200_000.0);
            let exact = (d as f64).exp();
            assert!((exp(d)[0] as f64 / exact - 1.0).abs() < 2.4e-7, "exp({d})");
        }
        assert_eq!([0.0, -0.0, -88.0, f32::NEG_INFINITY].map(|d| exp(d)[0]), [1.0, 1.0, 0.0, 0.0]);
        assert!(exp(f32::NAN)[0].is_nan());
    }
}
