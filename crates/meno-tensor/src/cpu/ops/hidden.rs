//! Copies hidden states between programs.

use super::Kernels;
use crate::cpu::context::Ctx;
use crate::ops::hidden::{LoadHidden, StoreHidden};

impl Kernels for StoreHidden {
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.x]);
        ctx.out.hidden.clear();
        ctx.out.hidden.extend_from_slice(x);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are stored in inference only")
    }
}

impl Kernels for LoadHidden {
    fn forward(&self, ctx: &mut Ctx) {
        let [y] = ctx.acts.get([self.y]);
        assert!(ctx.batch.hidden.len() == y.len(), "invariant: a hidden state for every row");
        y.copy_from_slice(&ctx.batch.hidden);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are loaded in inference only")
    }
}
