//! Muon for one matrix (Moonlight, arXiv 2502.16982, §2.2): M ← μM + G; O = NewtonSchulz(G + μM);
//! W ← W − lr·(0.2·√max(A, B)·O + λW) for a matrix of A × B.

use super::update::Update;
use crate::optim::OptimizerConfig;

/// Coefficients and iterations of Newton–Schulz (Jordan, 2024).
const A: f64 = 3.4445;
const B: f64 = -4.7750;
const C: f64 = 2.0315;
const ITERATIONS: usize = 5;

/// A row-major matrix.
struct Matrix {
    data: Vec<f64>,
    rows: usize,
    cols: usize,
}

impl Matrix {
    fn of(rows: usize, cols: usize, at: impl Fn(usize, usize) -> f64) -> Self {
        let elements = (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j)));
        Matrix { data: elements.map(|(i, j)| at(i, j)).collect(), rows, cols }
    }
    fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }
    fn transpose(&self) -> Self {
        Matrix::of(self.cols, self.rows, |i, j| self.at(j, i))
    }
    fn times(&self, other: &Matrix) -> Self {
        Matrix::of(self.rows, other.cols, |i, j| (0..self.cols).map(|l| self.at(i, l) * other.at(l, j)).sum())
    }
}

/// Returns the nearly orthogonal factor: X₀ = M / ‖M‖, then X ← aX + (b·XXᵀ + c·(XXᵀ)²)·X five times.
fn orthogonal(m: Matrix) -> Matrix {
    if m.rows > m.cols {
        // The polynomial of the shorter side gives the same result for the transpose.
        return orthogonal(m.transpose()).transpose();
    }
    let norm = m.data.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-7;
    let mut x = Matrix::of(m.rows, m.cols, |i, j| m.at(i, j) / norm);
    for _ in 0..ITERATIONS {
        let gram = x.times(&x.transpose());
        let square = gram.times(&gram);
        let poly = Matrix::of(m.rows, m.rows, |i, j| B * gram.at(i, j) + C * square.at(i, j));
        let product = poly.times(&x);
        x = Matrix::of(m.rows, m.cols, |i, j| A * x.at(i, j) + product.at(i, j));
    }
    x
}

/// Takes one step on a matrix.
pub(super) fn apply(config: &OptimizerConfig, rows: usize, cols: usize, update: Update) {
    let Update { weights, grads, first, learning_rate, scale, .. } = update;
    let momentum = config.muon_momentum as f64;
    let mut nesterov = Matrix { data: Vec::with_capacity(weights.len()), rows, cols };
    for (m, &g) in first.iter_mut().zip(grads) {
        let g = g as f64 * scale;
        let mean = momentum * *m as f64 + g;
        nesterov.data.push(momentum * mean + g);
        *m = mean as f32;
    }
    let size = 0.2 * (rows.max(cols) as f64).sqrt();
    let decay = config.weight_decay as f64;
    for (w, o) in weights.iter_mut().zip(&orthogonal(nesterov).data) {
        *w = (*w as f64 - learning_rate * (size * o + decay * *w as f64)) as f32;
    }
}
