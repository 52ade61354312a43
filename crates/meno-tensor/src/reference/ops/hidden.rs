//! StoreHidden and LoadHidden copy hidden states from and to an activation: see [`crate::ops::hidden`]. Inference only.

use super::Kernels;
use crate::ops::hidden::{LoadHidden, StoreHidden};
use crate::reference::context::Ctx;
use crate::reference::math::wide;

impl Kernels for StoreHidden {
    fn forward(&self, ctx: &mut Ctx) {
        ctx.out.hidden = ctx.value(self.x);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are stored in inference only")
    }
}

impl Kernels for LoadHidden {
    fn forward(&self, ctx: &mut Ctx) {
        ctx.set(self.y, &wide(&ctx.batch.hidden));
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are loaded in inference only")
    }
}
