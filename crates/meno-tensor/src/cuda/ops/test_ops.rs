//! Input, y = a parameter's first rows, and WeightedSum, Σ c·x: the equations of [`crate::ops::test_ops`].

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::Launch;
use crate::cuda::results::Kind;
use crate::ops::test_ops::{Input, WeightedSum};

impl Kernels for Input {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (value, y) = (ctx.values(self.value), ctx.act(self.y));
        let (name, n) = (format!("scale_f32_{}", y.suffix()), ctx.rows * y.cols);
        ctx.launch(&name, Launch::elements(n), [y.into(), value.into(), 1f32.into(), n.into(), false.into()])
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dy, dvalue) = (ctx.grad(self.y), ctx.param_grad(self.value));
        let (name, n) = (format!("scale_{}_f32", dy.suffix()), ctx.rows * dy.cols);
        ctx.launch(&name, Launch::elements(n), [dvalue.into(), dy.into(), 1f32.into(), n.into(), true.into()])
    }
}

impl Kernels for WeightedSum {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let x = ctx.act(self.x);
        let n = ctx.rows * x.cols;
        let coefficients: Vec<f32> = self.coefficients().take(n).collect();
        let (coefficients, terms) = (ctx.upload(&coefficients)?, ctx.results.add(Kind::NextToken, n)?);
        let name = format!("times_{}", x.suffix());
        ctx.launch(&name, Launch::elements(n), [terms.into(), x.into(), coefficients.into(), n.into()])
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dx, adds) = ctx.give_grad(self.x);
        let n = ctx.rows * dx.cols;
        let coefficients: Vec<f32> = self.coefficients().take(n).collect();
        let coefficients = ctx.upload(&coefficients)?;
        let name = format!("scale_f32_{}", dx.suffix());
        ctx.launch(&name, Launch::elements(n), [dx.into(), coefficients.into(), 1f32.into(), n.into(), adds.into()])
    }
}
