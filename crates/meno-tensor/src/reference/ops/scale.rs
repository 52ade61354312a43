//! Scale, y = factor · x.

use super::Kernels;
use crate::ops::scale::Scale;
use crate::reference::context::Ctx;

fn times(factor: f32, x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| factor as f64 * x as f64).collect()
}

impl Kernels for Scale {
    fn forward(&self, ctx: &mut Ctx) {
        let y = times(self.factor, &ctx.value(self.x));
        ctx.set(self.y, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let dx = times(self.factor, &ctx.grad(self.y));
        ctx.give_grad(self.x, &dx);
    }
}
