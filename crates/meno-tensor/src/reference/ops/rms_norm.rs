//! RmsNorm, y = gain ⊙ x / √(mean(x²) + eps): the equation of [`crate::ops::rms_norm`].

use super::Kernels;
use crate::ops::rms_norm::RmsNorm;
use crate::reference::context::Ctx;
use crate::reference::math::{add, rms_norm, rms_norm_backward, stored, wide};

/// Returns the norm of rows as wide as the gain.
pub(super) fn norm_rows(gain: &[f32], eps: f32, x: &[f32]) -> Vec<f32> {
    x.chunks_exact(gain.len()).flat_map(|x| stored(&rms_norm(gain, eps, x))).collect()
}

/// Returns the gradients of the rows, and of the gain over all rows.
pub(super) fn norm_rows_backward(gain: &[f32], eps: f32, x: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let (mut dx, mut dgain) = (Vec::with_capacity(x.len()), vec![0.0; gain.len()]);
    for (x, dy) in x.chunks_exact(gain.len()).zip(dy.chunks_exact(gain.len())) {
        let [row, share] = rms_norm_backward(gain, eps, x, dy);
        dx.extend(row);
        add(&mut dgain, &share);
    }
    [dx, dgain]
}

impl Kernels for RmsNorm {
    fn forward(&self, ctx: &mut Ctx) {
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
