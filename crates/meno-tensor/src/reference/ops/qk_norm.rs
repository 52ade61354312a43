//! QkNorm, RMSNorm of each head with one gain: the equation of [`crate::ops::qk_norm`].

use super::Kernels;
use super::rms_norm::{norm_rows, norm_rows_backward};
use crate::ops::qk_norm::QkNorm;
use crate::reference::context::Ctx;
use crate::reference::math::wide;

impl Kernels for QkNorm {
    fn forward(&self, ctx: &mut Ctx) {
        // The heads of a row are contiguous, so each head is a row as wide as the gain.
        let (x, gain) = (ctx.columns(self.x), ctx.weights.get(self.norm.weight));
        ctx.set_columns(self.y, &wide(&norm_rows(&gain, self.norm.eps, &x)));
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (x, dy, gain) = (ctx.columns(self.x), ctx.grad_columns(self.y), ctx.weights.get(self.norm.weight));
        let [dx, dgain] = norm_rows_backward(&gain, self.norm.eps, &x, &dy);
        ctx.give_grad_columns(self.x, &dx);
        ctx.give_param_grad(self.norm.weight, &dgain);
    }
}
