//! AbsorbQuery, q_h = \[W_UK,hᵀ q_nope_h ; q_pe_h\], and AbsorbOutput, o_h = W_UV,h ō_h. Inference only.
//!
//! Contract: a number is one chain over the columns of its input, whatever the other rows.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::Launch;
use crate::ops::mla::{AbsorbOutput, AbsorbQuery};

/// Rows of a block.
const ROWS: usize = 8;

impl Kernels for AbsorbQuery {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (q, weight, y) = (ctx.heads(self.q), ctx.matrix(self.weight).dense(), ctx.act(self.y));
        assert!(q.dtype == y.dtype, "invariant: queries have one type");
        let blocks = (self.kv_lora_rank + self.rope_dim).div_ceil(128);
        let launch = Launch { grid: [self.heads * blocks, ctx.rows.div_ceil(ROWS)], threads: 128, shared: 0 };
        let args = [
            y.into(),
            q.into(),
            q.ld.into(),
            self.q.head_stride.into(),
            weight.into(),
            ctx.rows.into(),
            self.heads.into(),
            self.nope_dim.into(),
            self.rope_dim.into(),
            self.v_dim.into(),
            self.kv_lora_rank.into(),
        ];
        ctx.launch(&format!("absorb_query_{}_{}", q.suffix(), weight.suffix()), launch, args)
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: absorbed attention is for inference")
    }
}

impl Kernels for AbsorbOutput {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, weight, y) = (ctx.act(self.x), ctx.matrix(self.weight).dense(), ctx.act(self.y));
        assert!(x.dtype == y.dtype, "invariant: outputs have one type");
        let launch = Launch {
            grid: [self.heads * self.v_dim.div_ceil(32), ctx.rows.div_ceil(ROWS)],
            threads: 256,
            shared: 4 * 32 * 33,
        };
        let args = [
            y.into(),
            x.into(),
            weight.into(),
            ctx.rows.into(),
            self.heads.into(),
            self.nope_dim.into(),
            self.v_dim.into(),
            self.kv_lora_rank.into(),
        ];
        ctx.launch(&format!("absorb_output_{}_{}", x.suffix(), weight.suffix()), launch, args)
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: absorbed attention is for inference")
    }
}
