//! Muon for one matrix: momentum, made orthogonal by Newton–Schulz, scaled to AdamW's step size.
//!
//! Moonlight (arXiv 2502.16982) §2.2: M ← μM + G; O = NewtonSchulz(G + μM); W ← W − lr·(0.2·√max(A, B)·O + λW) for a
//! matrix of A × B. Newton–Schulz (Jordan, 2024) starts from X₀ = M/‖M‖ and applies X ← (a + b·XXᵀ + c·(XXᵀ)²)·X five
//! times.

use super::spans::{BLOCK, THREADS, root_of_sum};
use crate::backend::Error;
use crate::cuda::context::Tensor;
use crate::cuda::driver::{Arg, Gpu, Launch, Memory};
use crate::cuda::product::{Factor, Product};
use crate::precision::Precision;
use crate::tape::Dtype;
use std::sync::Arc;

const A: f32 = 3.4445;
const B: f32 = -4.7750;
const C: f32 = 2.0315;
const ITERATIONS: usize = 5;

/// One step on one matrix.
pub(super) struct MuonStep {
    /// The address of the weights.
    pub(super) values: u64,
    /// The address of their copy in bf16.
    pub(super) rounded: Option<u64>,
    /// The address of the gradients.
    pub(super) grads: u64,
    /// The address of the momentum.
    pub(super) momenta: u64,
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// μ.
    pub(super) momentum: f32,
    /// Factor applied to the gradients.
    pub(super) scale: f32,
    /// 1 − learning rate · weight decay.
    pub(super) keep: f32,
    /// The learning rate, as for AdamW.
    pub(super) learning_rate: f32,
}

/// Scratch memory for the largest matrix.
pub(super) struct Muon {
    /// X, and the next X.
    x: [Memory; 2],
    /// XXᵀ or XᵀX, and the polynomial of it.
    gram: [Memory; 2],
    /// Sums of squares of blocks in f64, then the norm.
    sums: Memory,
}

impl Muon {
    /// Allocates memory for matrices of these shapes.
    pub(super) fn new(gpu: &Arc<Gpu>, shapes: impl Iterator<Item = [usize; 2]>) -> Result<Muon, Error> {
        let (mut most, mut side) = (0, 0);
        for [rows, cols] in shapes {
            most = most.max(rows * cols);
            side = side.max(rows.min(cols));
        }
        let matrix = |len: usize| gpu.allocate(len * size_of::<f32>(), "scratch memory of Muon");
        Ok(Muon {
            x: [matrix(most)?, matrix(most)?],
            gram: [matrix(side * side)?, matrix(side * side)?],
            sums: gpu.allocate((most.div_ceil(BLOCK) + 1) * size_of::<f64>(), "scratch memory of Muon")?,
        })
    }

    /// Takes one step.
    pub(super) fn apply(&self, gpu: &Gpu, step: MuonStep) -> Result<(), Error> {
        let [rows, cols] = step.shape;
        let (n, blocks, x) = (rows * cols, (rows * cols).div_ceil(BLOCK), self.x[0].at());
        let norm = self.sums.at() + (blocks * size_of::<f64>()) as u64;
        let args = &mut [
            x.into(),
            self.sums.at().into(),
            step.momenta.into(),
            step.grads.into(),
            step.momentum.into(),
            step.scale.into(),
            Arg::long(n),
        ];
        gpu.launch("muon_momentum", Launch::blocks(blocks, THREADS), args)?;
        root_of_sum(gpu, norm, self.sums.at(), blocks)?;
        gpu.launch("muon_normalize", Launch::elements(n), &mut [x.into(), norm.into(), Arg::long(n)])?;
        let x = self.orthogonalize(gpu, step.shape)?;
        let rate = step.learning_rate * 0.2 * (rows.max(cols) as f32).sqrt();
        let (rounded, keep) = (step.rounded.unwrap_or(0), step.keep);
        let args = &mut [step.values.into(), rounded.into(), x.into(), keep.into(), rate.into(), Arg::long(n)];
        gpu.launch("muon_update", Launch::elements(n), args)
    }

    /// Computes the nearly orthogonal factor of the matrix in `x[0]`; returns its address.
    fn orthogonalize(&self, gpu: &Gpu, [rows, cols]: [usize; 2]) -> Result<u64, Error> {
        let n = rows.min(cols);
        let matrix = |memory: &Memory, cols| Tensor::new(memory.at(), Dtype::F32, cols);
        let [mut x, mut next] = self.x.each_ref().map(|memory| matrix(memory, cols));
        let [gram, poly] = self.gram.each_ref().map(|memory| matrix(memory, n));
        for _ in 0..ITERATIONS {
            // The Gram matrix of the shorter side: XXᵀ for wide, XᵀX for tall matrices.
            let (wide, long) = if rows <= cols { (Factor::plain(x), cols) } else { (Factor::transposed(x), rows) };
            let tall = if rows <= cols { Factor::transposed(x) } else { Factor::plain(x) };
            multiply(gpu, wide, tall, gram, [n, n, long])?;
            multiply(gpu, Factor::plain(gram), Factor::plain(gram), poly, [n, n, n])?;
            let args = &mut [poly.into(), gram.into(), A.into(), B.into(), C.into(), n.into()];
            gpu.launch("muon_polynomial", Launch::elements(n * n), args)?;
            if rows <= cols {
                multiply(gpu, Factor::plain(poly), Factor::plain(x), next, [rows, cols, n])?;
            } else {
                multiply(gpu, Factor::plain(x), Factor::plain(poly), next, [rows, cols, n])?;
            }
            std::mem::swap(&mut x, &mut next);
        }
        Ok(x.at)
    }
}

/// y = a · b in f32.
fn multiply(gpu: &Gpu, a: Factor, b: Factor, y: Tensor, shape: [usize; 3]) -> Result<(), Error> {
    Product { a, b, blocks: None, y, shape, precision: Precision::F32, bias: 0, residual: 0, add: false }.run_on(gpu)
}
