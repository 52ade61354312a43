//! A constant factor.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels;
use crate::ops::scale::Scale;

impl Kernels for Scale {
    fn forward(&self, ctx: &mut Ctx) {
        let [x, y] = ctx.acts.get([self.x, self.y]);
        let cols = x.len() / ctx.rows.max(1);
        for_rows(y, cols, |r, y| {
            y.copy_from_slice(&x[r * cols..][..cols]);
            row_kernels::scale(self.factor, y);
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let add = ctx.adds(self.x);
        let [dx, dy] = ctx.grads.get([self.x, self.y]);
        let cols = dx.len() / ctx.rows.max(1);
        for_rows(dx, cols, |r, dx| {
            if !add {
                dx.fill(0.0);
            }
            row_kernels::axpy(self.factor, &dy[r * cols..][..cols], dx);
        });
    }
}
