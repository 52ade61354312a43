//! C (+)= alpha · A · B on strided views, f32 or bf16 inputs, f32 accumulation.
//!
//! Numerics: `c[i, j]` has one accumulator per block of [`K_BLOCK`] values of k. Inside a block, it is a chain of fused
//! multiply-adds in the order of k. Block results are added to `c` in order, as `fma(alpha, block, c)`. Nothing else
//! (m, n, threads, packing) changes the bits.

#[cfg(target_arch = "x86_64")]
mod bf16;
mod f32;
mod layout;
mod mat;
mod packed;
mod split;

pub use layout::K_BLOCK;
pub use mat::{Mat, MatMut};
pub use packed::Packed;

use crate::precision::Precision;
use layout::View;
#[cfg(target_arch = "x86_64")]
use layout::bf16_unit;

/// The right-hand side of a GEMM.
#[derive(Clone, Copy)]
pub enum Rhs<'a> {
    /// Packed on the fly.
    Mat(Mat<'a>),
    /// Packed in advance, for the same precision.
    Packed(&'a Packed),
}

impl Rhs<'_> {
    /// Rows and columns of B.
    fn shape(&self) -> (usize, usize) {
        match self {
            Rhs::Mat(b) => (b.rows, b.cols),
            Rhs::Packed(b) => (b.k(), b.n()),
        }
    }
}

fn round(precision: Precision, x: f32) -> f32 {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => half::bf16::from_f32(x).to_f32(),
    }
}

/// Computes C = alpha · A · B, or C += alpha · A · B if `accumulate`.
///
/// # Panics
/// Panics if the shapes disagree, which is a bug of the caller.
pub fn gemm(precision: Precision, alpha: f32, a: Mat, b: Rhs, accumulate: bool, c: MatMut) {
    let (k, n) = b.shape();
    assert!(a.cols == k && c.rows == a.rows && c.cols == n, "invariant: GEMM shapes agree");
    if c.rows == 0 || n == 0 {
        return;
    }
    let multiply = |b: View| {
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = bf16_unit(precision) {
            return bf16::multiply(unit, alpha, a, b.data, n, accumulate, c);
        }
        f32::multiply(precision, alpha, a, b, accumulate, c);
    };
    match b {
        Rhs::Packed(b) => {
            assert!(b.precision() == precision, "invariant: packed for the precision it is used in");
            multiply(b.view());
        }
        Rhs::Mat(b) => Packed::with_temporary(precision, b, multiply),
    }
}

/// The scalar version that every kernel is tested against.
pub fn reference(precision: Precision, alpha: f32, a: Mat, b: Mat, accumulate: bool, c: MatMut) {
    assert!(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols, "invariant: GEMM shapes agree");
    for i in 0..a.rows {
        for j in 0..b.cols {
            let mut sum = if accumulate { c.data[i * c.ld + j] } else { 0.0 };
            for block in (0..b.rows).step_by(K_BLOCK) {
                let mut acc = 0f32;
                for l in block..b.rows.min(block + K_BLOCK) {
                    let x = round(precision, a.data[i * a.row_stride + l * a.col_stride]);
                    let y = round(precision, b.data[l * b.row_stride + j * b.col_stride]);
                    acc = x.mul_add(y, acc);
                }
                sum = if block == 0 && !accumulate { alpha * acc } else { alpha.mul_add(acc, sum) };
            }
            c.data[i * c.ld + j] = sum;
        }
    }
}

/// Random values for the kernels' tests.
#[cfg(test)]
fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = crate::rng::Rng::new(&[seed]);
    (0..n).map(|_| rng.normal()).collect()
}
