//! The arithmetic of the reference: matrix products and row functions, with sums in f64 in the order of the index.
//!
//! A result is f64 and is rounded to f32 when it is stored.

use crate::precision::Precision;
use std::ops::Range;

/// A borrowed matrix: element (i, j) is at `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "invariant: {rows} rows of {cols} fit {} values", data.len());
        Mat { data, rows, cols, row_stride: cols, col_stride: 1 }
    }
    /// The transpose.
    pub(super) fn t(self) -> Self {
        Mat { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
    /// A range of its columns.
    pub(super) fn columns(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.cols, "invariant: columns {range:?} of {}", self.cols);
        let start = (range.start * self.col_stride).min(self.data.len());
        Mat { data: &self.data[start..], cols: range.len(), ..self }
    }
    /// Returns all elements in row-major order, rounded to `precision`.
    fn rounded(self, precision: Precision) -> Vec<f64> {
        let at = |i: usize, j: usize| self.data[i * self.row_stride + j * self.col_stride];
        (0..self.rows).flat_map(|i| (0..self.cols).map(move |j| round(precision, at(i, j)) as f64)).collect()
    }
}

fn round(precision: Precision, x: f32) -> f32 {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => half::bf16::from_f32(x).to_f32(),
    }
}

/// Returns a · b, row-major. Inputs are rounded to `precision`, and an element is one sum in the order of k.
pub(super) fn product(precision: Precision, a: Mat, b: Mat) -> Vec<f64> {
    assert!(a.cols == b.rows, "invariant: a product of {} and {} inputs", a.cols, b.rows);
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let (a, b) = (a.rounded(precision), b.t().rounded(precision));
    let element = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[j * k + l]).sum();
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
}

/// Σ a·b.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// Rounds values to f32, the storage type.
pub(super) fn stored(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

/// Widens stored values to f64.
pub(super) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x as f64).collect()
}

/// a += b.
pub(super) fn add(a: &mut [f64], b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

/// Returns the sum of the rows of `x`.
pub(super) fn sum_rows(x: &[f32], cols: usize) -> Vec<f64> {
    let mut sums = vec![0.0; cols];
    x.chunks_exact(cols).for_each(|row| add(&mut sums, &wide(row)));
    sums
}

/// σ(x) = 1 / (1 + e^−x).
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// 1 / √(mean(x²) + eps).
fn rstd(x: &[f32], eps: f32) -> f64 {
    1.0 / (dot(x, x) / x.len() as f64 + eps as f64).sqrt()
}

/// RMSNorm of a row: gain ⊙ x · rstd.
pub(super) fn rms_norm(gain: &[f32], eps: f32, x: &[f32]) -> Vec<f64> {
    let rstd = rstd(x, eps);
    x.iter().zip(gain).map(|(&x, &g)| g as f64 * x as f64 * rstd).collect()
}

/// Gradients of RMSNorm of a row: dx = rstd · (gain ⊙ dy − x · rstd² · mean(gain ⊙ dy ⊙ x)), and dgain = x · rstd ⊙ dy.
pub(super) fn rms_norm_backward(gain: &[f32], eps: f32, x: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let (rstd, x, dy) = (rstd(x, eps), wide(x), wide(dy));
    let scaled: Vec<f64> = dy.iter().zip(gain).map(|(d, &g)| g as f64 * d).collect();
    let mean = scaled.iter().zip(&x).map(|(s, x)| s * x).sum::<f64>() / x.len() as f64;
    let dx = scaled.iter().zip(&x).map(|(s, x)| rstd * (s - x * rstd * rstd * mean)).collect();
    [dx, x.iter().zip(&dy).map(|(x, d)| x * rstd * d).collect()]
}

/// silu(gate) ⊙ up of rows `[gate | up]`, each `width` wide.
pub(super) fn swiglu(gate_up: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let (gate, up) = row.split_at(width);
        let one = |(&g, &u): (&f32, &f32)| (g as f64 * sigmoid(g as f64) * u as f64) as f32;
        gate.iter().zip(up).map(one).collect()
    };
    gate_up.chunks_exact(2 * width).flat_map(row).collect()
}

/// d`[gate | up]` of [`swiglu`] from dh: with σ = σ(gate), dgate = dh·up·σ·(1 + gate·(1 − σ)), dup = dh·gate·σ.
pub(super) fn swiglu_backward(gate_up: &[f32], dh: &[f32], width: usize) -> Vec<f64> {
    let mut d = Vec::with_capacity(gate_up.len());
    for (row, dh) in gate_up.chunks_exact(2 * width).zip(dh.chunks_exact(width)) {
        let (gate, up) = row.split_at(width);
        let at = |i: usize| (gate[i] as f64, up[i] as f64, sigmoid(gate[i] as f64), dh[i] as f64);
        d.extend((0..width).map(at).map(|(g, u, s, dh)| dh * u * s * (1.0 + g * (1.0 - s))));
        d.extend((0..width).map(at).map(|(g, _, s, dh)| dh * g * s));
    }
    d
}
