//! Measures the peak multiplication rate of one core. Benchmarks report their GFLOP/s relative to it, measured in the
//! same run.

use crate::cpu::HostBuffer;
use crate::cpu::cpu_seconds;
use crate::cpu::simd::multiversion;
use crate::cpu::simd::vector::{Vector, at_level};
use crate::precision::Precision;
use std::hint::black_box;

const LANES: usize = 16;

/// Runs `rounds` steps of independent chains of fused multiply-adds, as many as hide the latency and fit the registers.
/// Returns the sum and the number of operations.
///
/// # Safety
/// V's instructions are available.
#[inline(always)]
unsafe fn multiply_adds<V: Vector>(rounds: usize, x: f32) -> (f32, f64) {
    // SAFETY: as promised by the caller.
    unsafe { if V::WIDE { chains::<V, 12>(rounds, x) } else { chains::<V, 6>(rounds, x) } }
}

/// # Safety
/// V's instructions are available.
#[inline(always)]
unsafe fn chains<V: Vector, const N: usize>(rounds: usize, x: f32) -> (f32, f64) {
    // SAFETY: as promised by the caller.
    unsafe {
        let (x, y) = (V::splat(x), V::splat(0.5));
        let mut acc = [V::splat(1.0); N];
        for _ in 0..rounds {
            for acc in &mut acc {
                *acc = acc.fma(x, y);
            }
        }
        (acc.iter().map(|acc| acc.sum()).sum(), (2 * rounds * N * LANES) as f64)
    }
}

at_level! {
    /// # Safety
    /// As [`multiply_adds`], except for the instructions: the dispatch selects an available level.
    measure_peak = multiply_adds, (rounds: usize, x: f32) -> (f32, f64)
}

/// Returns the GFLOP per CPU second of one thread on registers only: the best of several short runs.
pub fn gflops(precision: Precision) -> f64 {
    let rounds = 20_000;
    (0..30).map(|_| run(precision, rounds)).fold(0.0, f64::max)
}

fn run(precision: Precision, rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if let (Precision::Bf16, Some(unit)) = (precision, crate::cpu::isa::bf16_unit()) {
        unit.configure();
        let start = cpu_seconds();
        let flops = unit.measure_peak(rounds);
        return flops / (cpu_seconds() - start) / 1e9;
    }
    let _ = precision;
    let start = cpu_seconds();
    // SAFETY: there are no other conditions.
    let (sum, flops) = unsafe { measure_peak(rounds, black_box(0.5)) };
    black_box(sum);
    flops / (cpu_seconds() - start) / 1e9
}

/// Returns the GOP per CPU second of one thread on 8-bit products, on registers only: the best of several short runs.
pub fn int8_gops() -> f64 {
    let run = || {
        let start = cpu_seconds();
        crate::cpu::quant::measure_int8_peak(20_000) / (cpu_seconds() - start) / 1e9
    };
    (0..30).map(|_| run()).fold(0.0, f64::max)
}

/// Returns the GB per CPU second that one thread reads from memory: the best of several passes over more data than the
/// caches hold.
pub fn read_gb_per_s() -> f64 {
    let mut data = HostBuffer::zeroed(1 << 26);
    data.fill(1.0);
    let run = || {
        let start = cpu_seconds();
        black_box(largest(black_box(&data)));
        (data.len() * 4) as f64 / (cpu_seconds() - start) / 1e9
    };
    (0..8).map(|_| run()).fold(0.0, f64::max)
}

multiversion! {
    fn largest(data: &[f32]) -> u32 {
        let mut most = [0u32; 64];
        for chunk in data.as_chunks::<64>().0 {
            for (most, x) in most.iter_mut().zip(chunk) {
                *most = (*most).max(x.to_bits());
            }
        }
        most.into_iter().fold(0, u32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_a_speed() {
        for precision in [Precision::F32, Precision::Bf16] {
            let peak = gflops(precision);
            assert!(peak.is_finite() && peak > 0.1, "{precision:?}: {peak} GFLOP/s");
        }
        for peak in [int8_gops(), read_gb_per_s()] {
            assert!(peak.is_finite() && peak > 0.1, "{peak} G/s");
        }
    }
}
