//! StoreHidden and LoadHidden copy hidden states from and to an activation. Inference only.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::Launch;
use crate::cuda::results::Kind;
use crate::ops::hidden::{LoadHidden, StoreHidden};

impl Kernels for StoreHidden {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let x = ctx.act(self.x);
        let n = ctx.rows * x.cols;
        let hidden = ctx.results.add(Kind::Hidden, n)?;
        let args = [hidden.into(), x.into(), 1f32.into(), n.into(), false.into()];
        ctx.launch(&format!("scale_{}_f32", x.suffix()), Launch::elements(n), args)
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: hidden states are stored in inference only")
    }
}

impl Kernels for LoadHidden {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (y, batch) = (ctx.act(self.y), ctx.batch);
        let n = ctx.rows * y.cols;
        assert!(batch.hidden.len() == n, "invariant: a hidden state for every row");
        let hidden = ctx.upload(&batch.hidden)?;
        let args = [y.into(), hidden.into(), 1f32.into(), n.into(), false.into()];
        ctx.launch(&format!("scale_f32_{}", y.suffix()), Launch::elements(n), args)
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: hidden states are loaded in inference only")
    }
}
