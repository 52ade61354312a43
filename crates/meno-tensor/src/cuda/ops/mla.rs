//! MlaKeys, k_h = \[nope_h ; k_pe\]: one kernel forward, one backward.

use super::Kernels;
use super::attention::{Heads, give_heads};
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::{Arg, Launch};
use crate::ops::mla::MlaKeys;

impl Kernels for MlaKeys {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (nope, k_pe, k) = (ctx.heads(self.nope), ctx.heads(self.k_pe), ctx.act(self.k));
        assert!(nope.dtype == k.dtype && k_pe.dtype == k.dtype, "invariant: keys have the type of their parts");
        let count = ctx.rows * k.cols;
        let args = [
            k.into(),
            nope.into(),
            nope.ld.into(),
            self.nope.head_stride.into(),
            k_pe.into(),
            k_pe.ld.into(),
            self.heads.into(),
            self.nope_dim.into(),
            self.rope_dim.into(),
            Arg::long(count),
        ];
        ctx.launch(&format!("mla_keys_{}", k.suffix()), Launch::elements(count), args)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let dk = ctx.grad(self.k);
        let parts = [
            Heads { view: self.nope, heads: self.heads, dim: self.nope_dim },
            Heads { view: self.k_pe, heads: 1, dim: self.rope_dim },
        ];
        let [(dnope, nope_add), (dk_pe, pe_add)] = give_heads(ctx, parts)?;
        let count = ctx.rows * (self.heads * self.nope_dim + self.rope_dim);
        let args = [
            dnope.into(),
            dnope.ld.into(),
            self.nope.head_stride.into(),
            nope_add.into(),
            dk_pe.into(),
            dk_pe.ld.into(),
            pe_add.into(),
            dk.into(),
            self.heads.into(),
            self.nope_dim.into(),
            self.rope_dim.into(),
            Arg::long(count),
        ];
        ctx.launch(&format!("mla_keys_backward_{}", dk.suffix()), Launch::elements(count), args)
    }
}
