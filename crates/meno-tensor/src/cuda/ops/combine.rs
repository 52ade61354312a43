//! Combine, y = residual + Σ_k w_k · (the row of the token's k-th expert): the equation of [`crate::ops::combine`].

use super::Kernels;
use super::dispatch::{gather, sum_choices};
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::ops::combine::Combine;

impl Kernels for Combine {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let [x, weights, y] = [self.x, self.routes.weights, self.y].map(|act| ctx.act(act));
        let residual = self.residual.map_or(0, |residual| ctx.act(residual).at);
        sum_choices(ctx, &self.sorted, x, y, [residual, weights.at])
    }
    /// Gives each expert's row the dL/dy of its token, before the weight is applied.
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dy, (dx, adds)) = (ctx.grad(self.y), ctx.give_grad(self.x));
        assert!(!adds, "invariant: only this op reads the experts' outputs");
        gather(ctx, &self.sorted, dy, dx, [0, 0])
    }
}
