//! Input, y = a parameter's first rows, and WeightedSum, Σ c·x: the equations of [`crate::ops::test_ops`].

use super::Kernels;
use crate::ops::test_ops::{Input, WeightedSum};
use crate::reference::context::Ctx;
use crate::reference::math::wide;

impl Kernels for Input {
    fn forward(&self, ctx: &mut Ctx) {
        let len = ctx.rows * ctx.cols(self.y);
        let values = wide(&ctx.weights.get(self.value)[..len]);
        ctx.set(self.y, &values);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let dy = wide(&ctx.grad(self.y));
        ctx.give_param_grad(self.value, &dy);
    }
}

impl Kernels for WeightedSum {
    fn forward(&self, ctx: &mut Ctx) {
        let x = ctx.value(self.x);
        ctx.out.losses.next_token += x.iter().zip(self.coefficients()).map(|(&x, c)| x as f64 * c as f64).sum::<f64>();
    }
    fn backward(&self, ctx: &mut Ctx) {
        let len = ctx.rows * ctx.cols(self.x);
        let dx: Vec<f64> = self.coefficients().take(len).map(f64::from).collect();
        ctx.give_grad(self.x, &dx);
    }
}
