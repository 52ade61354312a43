//! Matrix products on the card: what to multiply. `product_kernels.rs` runs them.
//!
//! Contract: an element is a chain over k in ascending order, whatever the other rows and the tile. In bf16 the chain
//! advances by 16 products at a time, as the tensor cores do. Only the gradient of a weight, whose k is the rows of the
//! batch, may be several chains, over fixed spans of rows, added in ascending order.

use super::blocks::Blocks;
use super::context::{Ctx, Tensor, Weight};
use crate::precision::Precision;
use crate::tape::Dtype;

/// A factor of a product: a matrix, or its transpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) matrix: Tensor,
    pub(super) transposed: bool,
}

impl Factor {
    /// The matrix as it is stored.
    pub(super) fn plain(matrix: Tensor) -> Factor {
        Factor { matrix, transposed: false }
    }
    /// The transpose of the stored matrix.
    pub(super) fn transposed(matrix: Tensor) -> Factor {
        Factor { matrix, transposed: true }
    }
    /// Returns the distance in elements from one row to the next, and from one column to the next.
    pub(super) fn strides(self) -> [usize; 2] {
        if self.transposed { [1, self.matrix.ld] } else { [self.matrix.ld, 1] }
    }
    /// Returns the shape of the stored matrix from that of the factor.
    pub(super) fn stored(self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        if self.transposed { [cols, rows] } else { [rows, cols] }
    }
}

/// y = a · b + bias + residual; or y += a · b.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// `[m, k]`.
    pub(super) a: Factor,
    /// `[k, n]`.
    pub(super) b: Factor,
    /// The quantized matrix that b is the transpose of; the address of b is null then.
    pub(super) blocks: Option<Blocks>,
    /// `[m, n]`.
    pub(super) y: Tensor,
    /// m, n and k.
    pub(super) shape: [usize; 3],
    /// The type that the factors are rounded to.
    pub(super) precision: Precision,
    /// `[n]` in f32, or null.
    pub(super) bias: u64,
    /// `[m, n]` in f32 with the row distance of y, or null.
    pub(super) residual: u64,
    /// True if the product is added to y.
    pub(super) add: bool,
}

impl Product {
    /// y = x · wᵀ, for `rows` rows of x: a linear layer.
    pub(super) fn forward(ctx: &Ctx, x: Tensor, w: impl Into<Weight>, y: Tensor) -> Product {
        let shape = [ctx.rows, y.cols, x.cols];
        let (w, blocks) = match w.into() {
            Weight::Dense(w) => (w, None),
            Weight::Blocks(w) => (Tensor::new(0, Dtype::Bf16, w.cols), Some(w)),
        };
        let (a, b) = (Factor::plain(x), Factor::transposed(w));
        Product { a, b, blocks, y, shape, precision: ctx.precision, bias: 0, residual: 0, add: false }
    }
    /// dx = dy · w, the gradient of a linear layer's input. The second value says whether to add to dx.
    pub(super) fn input_gradient(ctx: &Ctx, dy: Tensor, w: impl Into<Weight>, (dx, add): (Tensor, bool)) -> Product {
        let shape = [ctx.rows, dx.cols, dy.cols];
        let (a, b) = (Factor::plain(dy), Factor::plain(w.into().dense()));
        Product { a, b, blocks: None, y: dx, shape, precision: ctx.precision, bias: 0, residual: 0, add }
    }
    /// dw += dyᵀ · x, the gradient of a linear layer's weight.
    pub(super) fn weight_gradient(ctx: &Ctx, dy: Tensor, x: Tensor, dw: Tensor) -> Product {
        let shape = [dy.cols, x.cols, ctx.rows];
        let (a, b) = (Factor::transposed(dy), Factor::plain(x));
        Product { a, b, blocks: None, y: dw, shape, precision: ctx.precision, bias: 0, residual: 0, add: true }
    }
    /// Returns the product with another number of rows.
    pub(super) fn rows(self, rows: usize) -> Product {
        let [_, n, k] = self.shape;
        Product { shape: [rows, n, k], ..self }
    }
}
