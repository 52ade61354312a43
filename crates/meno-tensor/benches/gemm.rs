//! GEMM throughput on the shapes of a training step and of decoding: GFLOP/s of one thread, by CPU time.
//! `cargo bench -p meno-tensor --bench gemm`

use meno_tensor::cpu::cpu_seconds;
use meno_tensor::cpu::gemm::{Mat, MatMut, Packed, Rhs, gemm};
use meno_tensor::pool;
use meno_tensor::precision::Precision;

/// Median GFLOP/s of `work`, which takes `flop` operations.
fn measure(name: &str, flop: usize, mut work: impl FnMut()) {
    work();
    // Each run takes some milliseconds, so that the cost of reading the clock is negligible.
    let repeats = (50_000_000 / flop).max(1);
    let mut rates: Vec<f64> = (0..21)
        .map(|_| {
            let start = cpu_seconds();
            (0..repeats).for_each(|_| work());
            (repeats * flop) as f64 / (cpu_seconds() - start) * 1e-9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name:<40} {:7.1} GFLOP/s  (from {:.1} to {:.1})", rates[10], rates[0], rates[20]);
}

fn gemms(precision: Precision) {
    for (m, n, k) in
        [(2048, 768, 256), (2048, 256, 704), (512, 8192, 256), (1, 768, 256), (16, 768, 256), (256, 384, 128)]
    {
        let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
        let mut out = vec![0f32; m * n];
        let mut packed = None;
        Packed::pack(&mut packed, precision, Mat::new(&b, n, k).t());
        let packed = packed.expect("invariant: packed above");
        measure(&format!("{precision:?} packed {m}x{n}x{k}"), 2 * m * n * k, || {
            gemm(precision, 1.0, Mat::new(&a, m, k), Rhs::Packed(&packed), false, MatMut::new(&mut out, m, n));
        });
    }
    let (m, n, k) = (768, 256, 2048);
    let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
    let mut out = vec![0f32; m * n];
    measure(&format!("{precision:?} weight gradient {m}x{n}x{k}"), 2 * m * n * k, || {
        let (a, b) = (Mat::new(&a, k, m).t(), Mat::new(&b, k, n));
        gemm(precision, 1.0, a, Rhs::Mat(b), true, MatMut::new(&mut out, m, n));
    });
}

fn main() {
    pool::with_threads(1, || [Precision::F32, Precision::Bf16].into_iter().for_each(gemms));
}
