//! GEMM throughput on the shapes of a training step and of decoding.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use meno_tensor::gemm::{Mat, MatMut, Packed, Precision, Rhs, gemm};

fn gemms(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    group.sample_size(20);
    for precision in [Precision::F32, Precision::Bf16] {
        for (m, n, k) in
            [(2048, 768, 256), (2048, 256, 704), (512, 8192, 256), (1, 768, 256), (16, 768, 256), (256, 384, 128)]
        {
            let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
            let mut out = vec![0f32; m * n];
            let mut packed = None;
            Packed::pack(&mut packed, precision, Mat::new(&b, n, k).t());
            let packed = packed.expect("invariant: packed above");
            group.throughput(Throughput::Elements((2 * m * n * k) as u64));
            group.bench_function(BenchmarkId::new(format!("{precision:?} packed"), format!("{m}x{n}x{k}")), |bench| {
                bench.iter(|| {
                    gemm(precision, 1.0, Mat::new(&a, m, k), Rhs::Packed(&packed), false, MatMut::new(&mut out, m, n))
                });
            });
        }
        let (m, n, k) = (768, 256, 2048);
        let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
        let mut out = vec![0f32; m * n];
        group.throughput(Throughput::Elements((2 * m * n * k) as u64));
        group.bench_function(format!("{precision:?} weight gradient {m}x{n}x{k}"), |bench| {
            let (a, b) = (Mat::new(&a, k, m).t(), Mat::new(&b, k, n));
            bench.iter(|| gemm(precision, 1.0, a, Rhs::Mat(b), true, MatMut::new(&mut out, m, n)));
        });
    }
    group.finish();
}

criterion_group!(benches, gemms);
criterion_main!(benches);
