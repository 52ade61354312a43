//! Rope, in place (a, b) ← (a cos − b sin, a sin + b cos).

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::ops::rope::{Pairs, Rope};

/// Heads that a thread rotates: it reads their angles once.
const HEADS: usize = 4;

/// Rotates all heads of all rows, by the angle times `direction`.
fn rotate(op: &Rope, ctx: &mut Ctx, x: Tensor, direction: f32) -> Result<(), Error> {
    let [cos, sin] = ctx.rope_tables.addresses(&op.table)?;
    let half = op.table.half;
    let x = x.columns(op.offset, x.cols - op.offset);
    let slices = op.heads.div_ceil(HEADS);
    let in_fours = Tensor { cols: half, ..x }.in_fours() && op.head_stride.is_multiple_of(4);
    let args = [
        x.into(),
        cos.into(),
        sin.into(),
        ctx.on_card.positions().into(),
        direction.into(),
        ctx.rows.into(),
        op.ld.into(),
        op.heads.into(),
        op.head_stride.into(),
        half.into(),
        (op.pairs == Pairs::Interleaved).into(),
        slices.into(),
        in_fours.into(),
    ];
    let threads = ctx.rows * slices * half.div_ceil(4);
    ctx.launch(&format!("rope_{}", x.suffix()), Launch::elements(threads), args)
}

impl Kernels for Rope {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        rotate(self, ctx, ctx.act(self.x), 1.0)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        // The gradient is complete: it is rotated back in place.
        let dx = ctx.grad(self.x);
        rotate(self, ctx, dx, -1.0)
    }
}
