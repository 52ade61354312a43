//! The test ops.

use super::Kernels;
use crate::cpu::context::Ctx;
use crate::ops::test_ops::{Input, WeightedSum};

impl Kernels for Input {
    fn forward(&self, ctx: &mut Ctx) {
        let [y] = ctx.acts.get([self.y]);
        y.copy_from_slice(&ctx.params.get(self.value)[..y.len()]);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let [dy] = ctx.grads.get([self.y]);
        let [dvalue] = ctx.param_grads.get([self.value]);
        dvalue.iter_mut().zip(dy).for_each(|(g, d)| *g += *d);
    }
}

impl Kernels for WeightedSum {
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.x]);
        let sum = x.iter().zip(self.coefficients()).map(|(x, c)| *x as f64 * c as f64).sum::<f64>();
        ctx.out.losses.next_token += sum;
    }
    fn backward(&self, ctx: &mut Ctx) {
        let add = ctx.adds(self.x);
        let [dx] = ctx.grads.get([self.x]);
        for (d, c) in dx.iter_mut().zip(self.coefficients()) {
            *d = if add { *d + c } else { c };
        }
    }
}
