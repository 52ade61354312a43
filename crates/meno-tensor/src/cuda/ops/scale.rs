//! Scale, y = factor · x.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::Launch;
use crate::ops::scale::Scale;

impl Kernels for Scale {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, y) = (ctx.act(self.x), ctx.act(self.y));
        let (name, n) = (format!("scale_{}_{}", x.suffix(), y.suffix()), ctx.rows * x.cols);
        ctx.launch(&name, Launch::elements(n), [y.into(), x.into(), self.factor.into(), n.into(), false.into()])
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dy, (dx, adds)) = (ctx.grad(self.y), ctx.give_grad(self.x));
        let (name, n) = (format!("scale_{}_{}", dy.suffix(), dx.suffix()), ctx.rows * dx.cols);
        ctx.launch(&name, Launch::elements(n), [dx.into(), dy.into(), self.factor.into(), n.into(), adds.into()])
    }
}
