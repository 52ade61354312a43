//! Experts, y = (silu(x · W_gateᵀ) ⊙ x · W_upᵀ) · W_downᵀ for the rows of each expert: the equations of
//! [`crate::ops::experts`], with its convention for the gradients.
//!
//! A launch covers all experts. The host does not know their rows: it launches as many blocks as there can be tiles of
//! rows, or as many as the card runs at once, and a list made on the card says which tiles there are. Whether tensor
//! cores multiply depends on the types and widths only, so that a row has the same bits in every batch; the kernels of
//! [`sm90`] have the bits of those for every card.

mod every_card;
mod matrices;
mod pass;
mod product;
mod quantized;
mod sm90;

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::{Arg, Launch, suffix};
use crate::ops::experts::Experts;
use crate::tape::{Dtype, Param};
use pass::Pass;
use product::Product;

/// Returns the address and the type of a matrix that is kept dense.
fn dense(ctx: &Ctx, p: Param) -> (u64, Dtype) {
    let matrix = ctx.matrix(p).dense();
    (matrix.at, matrix.dtype)
}

impl Kernels for Experts {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        if quantized::has_blocks(self, ctx) {
            return quantized::forward(self, ctx);
        }
        let pass = Pass::new(self, ctx, |p| dense(ctx, p))?;
        let [x, y, gate_up] = [self.sorted.rows, self.y, self.gate_up].map(|act| ctx.act(act).at);
        let h = ctx.temporary(pass.rows.count, self.width, pass.dtype)?.at;
        let [gate_up_weights, down] = pass.weights;
        // Only the backward pass reads gate and up.
        pass.run(ctx, Product::Swiglu { h, gate_up, read: ctx.train, x }, gate_up_weights)?;
        pass.run(ctx, Product::Forward { y, x: h }, down)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (width, pass) = (self.width, Pass::new(self, ctx, |p| dense(ctx, p))?);
        let [gate_up, down] = pass.weights;
        let [dgate_up, ddown] = pass.gradients(ctx)?;
        let [x, weights, products] = [self.sorted.rows, self.sorted.weights, self.gate_up].map(|act| ctx.act(act).at);
        let dy = ctx.grad(self.y).at;
        let [(dx, adds), (dweights, adds_weights)] =
            [self.sorted.rows, self.sorted.weights].map(|act| ctx.give_grad(act));
        assert!(!adds && !adds_weights, "invariant: only this op reads the sorted rows");
        let temporary = |cols| ctx.temporary(pass.rows.count, cols, pass.dtype);
        let (dh, weighted_h, d) = (temporary(width)?.at, temporary(width)?.at, temporary(2 * width)?.at);
        pass.run(ctx, Product::InputGradient { dx: dh, dy }, down)?;
        let pointers = [d, weighted_h, dweights.at, products, dh, weights].map(Arg::from);
        let [d_, weighted_h_, dweights, products, dh, weights] = pointers;
        let args = [d_, weighted_h_, dweights, products, dh, weights, pass.rows.count.into(), width.into()];
        let name = format!("experts_gradient_rows_{}", suffix(pass.dtype));
        ctx.launch(&name, Launch::blocks(pass.rows.count.div_ceil(4), 128), args)?;
        pass.run(ctx, Product::WeightGradient { dy, x: weighted_h }, ddown)?;
        pass.run(ctx, Product::WeightGradient { dy: d, x }, dgate_up)?;
        pass.run(ctx, Product::InputGradient { dx: dx.at, dy: d }, gate_up)
    }
}
