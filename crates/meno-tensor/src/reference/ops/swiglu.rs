//! SwigluLinear, y = residual + (silu(gate) ⊙ up) · Wᵀ: the equation of [`crate::ops::swiglu`].

use super::Kernels;
use crate::ops::swiglu::SwigluLinear;
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, add, product, stored, swiglu, swiglu_backward, wide};

impl Kernels for SwigluLinear {
    fn forward(&self, ctx: &mut Ctx) {
        let (h, weight) = (swiglu(&ctx.value(self.gate_up), self.inputs), ctx.weights.get(self.weight));
        let precision = ctx.weights.precision(self.weight, ctx.precision);
        let (h, weight) = (Mat::new(&h, ctx.rows, self.inputs), Mat::new(&weight, self.outputs, self.inputs));
        let mut y = product(precision, h, weight.t());
        if let Some(residual) = self.residual {
            add(&mut y, &wide(&ctx.value(residual)));
        }
        ctx.set(self.y, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (gate_up, dy, weight) = (ctx.value(self.gate_up), ctx.grad(self.y), ctx.weights.get(self.weight));
        let h = swiglu(&gate_up, self.inputs);
        let (h, dy) = (Mat::new(&h, ctx.rows, self.inputs), Mat::new(&dy, ctx.rows, self.outputs));
        let dweight = product(ctx.precision, dy.t(), h);
        let dh = product(ctx.precision, dy, Mat::new(&weight, self.outputs, self.inputs));
        ctx.give_param_grad(self.weight, &dweight);
        ctx.give_grad(self.gate_up, &swiglu_backward(&gate_up, &stored(&dh), self.inputs));
    }
}
