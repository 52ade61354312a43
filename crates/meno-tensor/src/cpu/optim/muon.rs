//! Muon for one matrix: momentum, orthogonalized by Newton–Schulz, scaled to AdamW's step size.
//!
//! Moonlight (arXiv 2502.16982) §2.2: M ← μM + G; O = NewtonSchulz(G + μM); W ← W − lr·(0.2·√max(A, B)·O + λW) for a
//! matrix of A × B. Newton–Schulz (Jordan, 2024) starts from X₀ = M/‖M‖ and applies X ← aX + (b·XXᵀ + c·(XXᵀ)²)·X five
//! times.

use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::pool;
use crate::precision::Precision;

const A: f32 = 3.4445;
const B: f32 = -4.7750;
const C: f32 = 2.0315;
const ITERATIONS: usize = 5;
const BLOCK: usize = 1 << 15;

/// The parameters of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct MuonStep {
    /// μ.
    pub momentum: f32,
    /// The learning rate, as for AdamW.
    pub learning_rate: f32,
    /// Factor applied to the gradients.
    pub scale: f32,
}

/// Scratch memory for the largest matrix.
#[derive(Default)]
pub(super) struct Muon {
    x: Vec<f32>,
    next: Vec<f32>,
    gram: Vec<f32>,
    poly: Vec<f32>,
}

impl Muon {
    /// Reserves memory for a matrix of `rows` × `cols`.
    pub(super) fn reserve(&mut self, rows: usize, cols: usize) {
        let grow = |v: &mut Vec<f32>, len: usize| v.resize(v.len().max(len), 0.0);
        grow(&mut self.x, rows * cols);
        grow(&mut self.next, rows * cols);
        grow(&mut self.gram, rows.min(cols).pow(2));
        grow(&mut self.poly, rows.min(cols).pow(2));
    }

    /// Takes one step on matrix `w` of shape [rows, cols] with gradients `g` and momentum `m`; zeroes `g`.
    pub(super) fn apply(
        &mut self,
        step: MuonStep,
        weight_decay: f32,
        [rows, cols]: [usize; 2],
        w: &mut [f32],
        g: &mut [f32],
        m: &mut [f32],
    ) {
        let x = &mut self.x[..rows * cols];
        let MuonStep { momentum, scale, learning_rate } = step;
        pool::for_blocks([x, g, m], BLOCK, &|_, [x, g, m]| {
            for ((x, g), m) in x.iter_mut().zip(g).zip(m) {
                let d = *g * scale;
                *g = 0.0;
                *m = momentum * *m + d;
                *x = momentum * *m + d;
            }
        });
        self.orthogonalise(rows, cols);
        let keep = 1.0 - learning_rate * weight_decay;
        let rate = learning_rate * 0.2 * (rows.max(cols) as f32).sqrt();
        w.iter_mut().zip(&self.x).for_each(|(w, o)| *w = *w * keep - rate * o);
    }

    /// Replaces the matrix in `x` by its nearly orthogonal factor.
    fn orthogonalise(&mut self, rows: usize, cols: usize) {
        let n = rows.min(cols);
        let Muon { x, next, gram, poly } = self;
        let (gram, poly) = (&mut gram[..n * n], &mut poly[..n * n]);
        let norm = x[..rows * cols].iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
        let inverse = (1.0 / (norm + 1e-7)) as f32;
        x[..rows * cols].iter_mut().for_each(|x| *x *= inverse);
        for _ in 0..ITERATIONS {
            let (now, out) = (&x[..rows * cols], &mut next[..rows * cols]);
            let now_mat = Mat::new(now, rows, cols);
            // The Gram matrix of the shorter side: XXᵀ for wide, XᵀX for tall matrices.
            let wide = if rows <= cols { now_mat } else { now_mat.t() };
            gemm(Precision::F32, 1.0, wide, Rhs::Mat(wide.t()), false, MatMut::new(gram, n, n));
            poly.copy_from_slice(gram);
            poly.iter_mut().for_each(|p| *p *= B);
            let square = Mat::new(gram, n, n);
            gemm(Precision::F32, C, square, Rhs::Mat(square), true, MatMut::new(poly, n, n));
            out.iter_mut().zip(now).for_each(|(o, x)| *o = A * x);
            let poly = Mat::new(poly, n, n);
            if rows <= cols {
                gemm(Precision::F32, 1.0, poly, Rhs::Mat(now_mat), true, MatMut::new(out, rows, cols));
            } else {
                gemm(Precision::F32, 1.0, now_mat, Rhs::Mat(poly), true, MatMut::new(out, rows, cols));
            }
            std::mem::swap(x, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// After five iterations the singular values are around 1 (Jordan: within about 0.3): ‖O v‖ ≈ ‖v‖ along the
    /// shorter side, and the update's size is 0.2 · √max(A, B) of an orthogonal matrix.
    #[test]
    fn updates_are_nearly_orthogonal() {
        for (rows, cols) in [(8, 8), (5, 17), (21, 6)] {
            let mut rng = Rng::new(&[4, rows as u64]);
            let mut muon = Muon::default();
            muon.reserve(rows, cols);
            let mut g: Vec<f32> = (0..rows * cols).map(|_| rng.normal()).collect();
            let (mut w, mut m) = (vec![0f32; rows * cols], vec![0f32; rows * cols]);
            let step = MuonStep { momentum: 0.95, learning_rate: 1.0, scale: 1.0 };
            muon.apply(step, 0.1, [rows, cols], &mut w, &mut g, &mut m);
            let n = rows.min(cols);
            let scale = 0.2 * (rows.max(cols) as f32).sqrt();
            let o: Vec<f32> = w.iter().map(|w| -w / scale).collect();
            let at = |i: usize, l: usize| if rows <= cols { o[i * cols + l] } else { o[l * cols + i] };
            let mut trace = 0.0;
            for i in 0..n {
                for j in 0..n {
                    let dot: f32 = (0..rows.max(cols)).map(|l| at(i, l) * at(j, l)).sum();
                    let identity = (i == j) as u8 as f32;
                    assert!((dot - identity).abs() < 0.6, "{rows}x{cols}: gram [{i}, {j}] is {dot}");
                    trace += if i == j { dot } else { 0.0 };
                }
            }
            assert!((0.6..1.3).contains(&(trace / n as f32)), "{trace}");
        }
    }
}
