use super::*;
use crate::quant::dequant::dequantize;
use crate::rng::Rng;

/// All block types.
fn types() -> impl Iterator<Item = GgmlType> {
    GgmlType::ALL.into_iter().filter(|t| t.is_quantized())
}

/// Where the floats of a block are; MXFP4's is a byte.
fn floats(dtype: GgmlType) -> std::ops::Range<usize> {
    match dtype {
        GgmlType::Q2_K => 80..84,
        GgmlType::Q3_K => 108..110,
        GgmlType::Q6_K => 208..210,
        GgmlType::Q4_K | GgmlType::Q5_K | GgmlType::Q4_1 | GgmlType::Q5_1 => 0..4,
        GgmlType::Mxfp4 => 0..1,
        _ => 0..2,
    }
}

/// Random blocks with moderate floats; the codes and small scales are arbitrary.
fn random_file(dtype: GgmlType, rows: usize, cols: usize, rng: &mut Rng) -> Vec<u8> {
    let blocks = rows * cols / dtype.block_elements();
    let mut data: Vec<u8> = (0..blocks * dtype.block_bytes()).map(|_| rng.below(256) as u8).collect();
    for block in data.chunks_exact_mut(dtype.block_bytes()) {
        for at in floats(dtype).step_by(2) {
            if dtype == GgmlType::Mxfp4 {
                block[at] = 120 + rng.below(8) as u8;
                continue;
            }
            let x = half::f16::from_f32(0.01 + 0.001 * rng.below(100) as f32);
            block[at..at + 2].copy_from_slice(&x.to_le_bytes());
        }
    }
    data
}

fn random(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n).map(|_| rng.normal()).collect()
}

fn matrix(dtype: GgmlType, rows: usize, cols: usize) -> (QuantMatrix, Vec<f32>) {
    let data = random_file(dtype, rows, cols, &mut Rng::new(&[dtype as u64, 3]));
    let mut values = vec![0.0; rows * cols];
    dequantize(dtype, &data, &mut values);
    (QuantMatrix::new(dtype, rows, cols, &data, &|r| r), values)
}

#[test]
fn rows_are_the_files_values() {
    for dtype in types() {
        let (rows, cols) = (19, 512);
        let (m, values) = matrix(dtype, rows, cols);
        let mut out = vec![0.0; cols];
        for r in 0..rows {
            m.row(r, &mut out);
            assert_eq!(out, values[r * cols..][..cols], "{dtype:?} row {r}");
        }
    }
}

#[test]
fn rows_come_from_where_they_are_said_to() {
    let (rows, cols) = (32, 64);
    let data = random_file(GgmlType::Q5_0, rows, cols, &mut Rng::new(&[1]));
    let mut values = vec![0.0; rows * cols];
    dequantize(GgmlType::Q5_0, &data, &mut values);
    let m = QuantMatrix::new(GgmlType::Q5_0, rows, cols, &data, &|r| rows - 1 - r);
    let mut out = vec![0.0; cols];
    m.row(3, &mut out);
    assert_eq!(out, values[28 * cols..][..cols]);
}

/// The expected result of the kernels, in f64 from the dequantized weights and the quantized activations.
fn expected(values: &[f32], x: Mat, dtype: GgmlType) -> Vec<f64> {
    let (layout, k) = (layout(dtype), x.cols);
    let mut a = Activations::default();
    a.quantize(x, layout, 1);
    let block = k / (a.d.len() / x.rows);
    let activation = |r: usize, i: usize| f64::from(a.q[r * k + i]) * f64::from(a.d[(r * k + i) / block]);
    let dot = |r: usize, w: &[f32]| (0..k).map(|i| activation(r, i) * f64::from(w[i])).sum();
    (0..x.rows).flat_map(|r| values.chunks_exact(k).map(move |w| dot(r, w)).collect::<Vec<f64>>()).collect()
}

#[test]
fn products_are_those_of_the_values() {
    let mut rng = Rng::new(&[5]);
    for dtype in types() {
        let (rows, cols, m) = (40, 768, 6);
        let (w, values) = matrix(dtype, rows, cols);
        let x = random(m * cols, &mut rng);
        let x = Mat::new(&x, m, cols);
        let want = expected(&values, x, dtype);
        let scale = (want.iter().map(|x| x * x).sum::<f64>() / want.len() as f64).sqrt();
        for instructions in Instructions::available() {
            let mut y = vec![7.0; m * rows];
            w.multiply_with(instructions, x, false, MatMut::new(&mut y, m, rows));
            for (y, want) in y.iter().zip(&want) {
                assert!((f64::from(*y) - want).abs() < 1e-5 * scale, "{dtype:?} {instructions:?}: {y} {want}");
            }
        }
    }
}

#[test]
fn same_bits_whatever_the_instructions_batch_and_threads() {
    let mut rng = Rng::new(&[6]);
    for dtype in types() {
        let (rows, cols, m) = (41, 1536, 13);
        let (w, _) = matrix(dtype, rows, cols);
        // Some activations have the largest magnitude, to bring 16-bit sums to their limits.
        let mut x = random(m * cols, &mut rng);
        x.iter_mut().step_by(3).for_each(|x| *x = x.signum() * 9.0);
        x[..cols].fill(9.0);
        x[cols..2 * cols].fill(-9.0);
        let start = random(m * rows, &mut rng);
        for accumulate in [false, true] {
            let all = |instructions: Instructions, threads: usize| {
                let mut y = start.clone();
                let (x, y_mat) = (Mat::new(&x, m, cols), MatMut::new(&mut y, m, rows));
                pool::with_threads(threads, || w.multiply_with(instructions, x, accumulate, y_mat));
                y
            };
            let want = all(Instructions::Portable, 1);
            for instructions in Instructions::available() {
                assert_eq!(all(instructions, 1), want, "{dtype:?} {instructions:?}");
                assert_eq!(all(instructions, 3), want, "{dtype:?} {instructions:?} on three threads");
                for count in 1..6 {
                    let mut y = start.clone();
                    for first in (0..m).step_by(count) {
                        let n = count.min(m - first);
                        let x = Mat::new(&x[first * cols..][..n * cols], n, cols);
                        let y = MatMut::new(&mut y[first * rows..][..n * rows], n, rows);
                        w.multiply_with(instructions, x, accumulate, y);
                    }
                    assert_eq!(y, want, "{dtype:?} {instructions:?}, {count} rows at a time");
                }
            }
        }
    }
}

#[test]
fn codes_at_their_limits_do_not_overflow() {
    for dtype in types() {
        let (rows, cols) = (16, 256);
        let mut data = random_file(dtype, rows, cols, &mut Rng::new(&[8]));
        // All codes and small scales have their largest magnitude: every bit is one except in the floats.
        for block in data.chunks_exact_mut(dtype.block_bytes()) {
            for (i, b) in block.iter_mut().enumerate() {
                if !floats(dtype).contains(&i) {
                    *b = if dtype == GgmlType::Q6_K && i >= 192 { 0x80 } else { 0xff };
                }
            }
        }
        let w = QuantMatrix::new(dtype, rows, cols, &data, &|r| r);
        let mut values = vec![0.0; rows * cols];
        dequantize(dtype, &data, &mut values);
        for sign in [1.0, -1.0] {
            let x = vec![sign * 2.0; cols];
            let want = expected(&values, Mat::new(&x, 1, cols), dtype);
            for instructions in Instructions::available() {
                let mut y = vec![0.0; rows];
                w.multiply_with(instructions, Mat::new(&x, 1, cols), false, MatMut::new(&mut y, 1, rows));
                for (y, want) in y.iter().zip(&want) {
                    assert!(
                        (f64::from(*y) - want).abs() <= 1e-5 * want.abs(),
                        "{dtype:?} {instructions:?}: {y} {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn activations_that_are_no_numbers_stay_so() {
    for dtype in [GgmlType::Q5_0, GgmlType::Q4_K] {
        let (w, _) = matrix(dtype, 16, 256);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = vec![1.0; 512];
            x[300] = bad;
            let mut y = vec![0.0; 32];
            w.multiply(Mat::new(&x, 2, 256), false, MatMut::new(&mut y, 2, 16));
            assert!(y[..16].iter().all(|y| y.is_finite()) && y[16..].iter().all(|y| y.is_nan()));
        }
    }
}
