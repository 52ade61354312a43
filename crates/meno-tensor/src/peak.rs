//! How fast this core multiplies when nothing else is in the way: the measure that a benchmark's GFLOP/s are set
//! against, taken in the same run.

use crate::gemm::Precision;
use crate::simd::{Level, level, multiversion};
use crate::tape::cpu_seconds;
use std::hint::black_box;

/// Independent chains of fused multiply-adds: enough to hide their latency, few enough for the registers.
const CHAINS: usize = 12;
const LANES: usize = 16;

multiversion! {
    /// `rounds` steps of [`CHAINS`] vectors.
    fn multiply_adds(rounds: usize, x: f32) -> f32 {
        let mut acc = [[1f32; LANES]; CHAINS];
        for _ in 0..rounds {
            acc = step(acc, x);
        }
        acc.iter().flatten().sum()
    }
}

#[inline(always)]
fn step(acc: [[f32; LANES]; CHAINS], x: f32) -> [[f32; LANES]; CHAINS] {
    acc.map(|lanes| lanes.map(|a| a.mul_add(x, 0.5)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_adds_avx512(rounds: usize, x: f32) -> f32 {
    use std::arch::x86_64::*;
    let mut acc = [_mm512_set1_ps(1.0); CHAINS];
    let (x, y) = (_mm512_set1_ps(x), _mm512_set1_ps(0.5));
    for _ in 0..rounds {
        for acc in &mut acc {
            *acc = _mm512_fmadd_ps(*acc, x, y);
        }
    }
    acc.into_iter().map(|a| _mm512_reduce_add_ps(a)).sum()
}

/// GFLOP per CPU second of one thread in registers alone: the best of several short runs.
pub fn gflops(precision: Precision) -> f64 {
    let rounds = 20_000;
    (0..30).map(|_| run(precision, rounds)).fold(0.0, f64::max)
}

fn run(precision: Precision, rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16 && crate::cpu::amx::available() {
        crate::cpu::amx::configure();
        let start = cpu_seconds();
        let flops = crate::cpu::amx::spin(rounds);
        return flops / (cpu_seconds() - start) / 1e9;
    }
    let _ = precision;
    let start = cpu_seconds();
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: the processor has AVX-512.
        black_box(unsafe { multiply_adds_avx512(rounds, black_box(0.5)) });
        return flops(rounds) / (cpu_seconds() - start) / 1e9;
    }
    black_box(multiply_adds(rounds, black_box(0.5)));
    flops(rounds) / (cpu_seconds() - start) / 1e9
}

fn flops(rounds: usize) -> f64 {
    (2 * rounds * CHAINS * LANES) as f64
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
    }
}
