//! SwigluLinear, y = residual + (silu(gate) ⊙ up) · Wᵀ: the equation of [`crate::ops::swiglu`].

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::{Arg, Launch};
use crate::cuda::product::Product;
use crate::cuda::product_kernels::factor;
use crate::ops::swiglu::SwigluLinear;

/// Elements of a thread where rows are aligned.
const PACK: usize = 8;

/// Returns the number of threads for `rows` rows of `width` elements, and whether each has [`PACK`] elements.
fn threads(rows: usize, width: usize) -> (usize, bool) {
    // Activations, their gradients and temporaries start at multiples of 64 bytes.
    let wide = width.is_multiple_of(PACK);
    (rows * width / if wide { PACK } else { 1 }, wide)
}

/// h = silu(gate) ⊙ up.
fn swiglu(ctx: &Ctx, gate_up: Tensor, h: Tensor) -> Result<(), Error> {
    let (n, wide) = threads(ctx.rows, h.cols);
    let name = format!("swiglu_{}_{}", gate_up.suffix(), h.suffix());
    ctx.launch(&name, Launch::elements(n), [h.into(), gate_up.into(), Arg::long(n), h.cols.into(), wide.into()])
}

/// Gives the gradient of `[gate | up]` from that of h.
fn swiglu_backward(ctx: &Ctx, gate_up: Tensor, dh: Tensor, (d, adds): (Tensor, bool)) -> Result<(), Error> {
    let (n, wide) = threads(ctx.rows, dh.cols);
    let name = format!("swiglu_backward_{}_{}", gate_up.suffix(), dh.suffix());
    let args = [d.into(), gate_up.into(), dh.into(), Arg::long(n), dh.cols.into(), adds.into(), wide.into()];
    ctx.launch(&name, Launch::elements(n), args)
}

impl Kernels for SwigluLinear {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (gate_up, y) = (ctx.act(self.gate_up), ctx.act(self.y));
        let h = ctx.temporary(ctx.rows, self.inputs, ctx.dtype())?;
        swiglu(ctx, gate_up, h)?;
        let residual = self.residual.map_or(0, |residual| ctx.act(residual).at);
        Product { residual, ..Product::forward(ctx, h, ctx.matrix(self.weight), y) }.run(ctx)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (gate_up, dy, d) = (ctx.act(self.gate_up), ctx.grad(self.y), ctx.give_grad(self.gate_up));
        let h = ctx.temporary(ctx.rows, self.inputs, ctx.dtype())?;
        let dh = ctx.temporary(ctx.rows, self.inputs, ctx.dtype())?;
        let dy = factor(ctx, dy, ctx.rows)?;
        swiglu(ctx, gate_up, h)?;
        Product::weight_gradient(ctx, dy, h, ctx.param_grad(self.weight)).run(ctx)?;
        Product::input_gradient(ctx, dy, ctx.matrix(self.weight), (dh, false)).run(ctx)?;
        swiglu_backward(ctx, gate_up, dh, d)
    }
}
