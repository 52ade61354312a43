//! RmsNorm, y = gain ⊙ x / √(mean(x²) + eps), for rows and for the heads of rows.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::ops::rms_norm::{Norm, RmsNorm};
use crate::tape::Dtype;

/// The widest run (a row or a head) that one warp normalizes; eight share a wider one.
const WARP_COLS: usize = 1024;
/// Threads of a block.
const THREADS: u32 = 256;
/// Warps of a block.
const WARPS: usize = 8;
/// Runs of a block in backward: the gain's gradient is summed over them first.
const SPAN: usize = 64;
/// Shared memory of a block in backward. Wider sums stay in global memory.
const SHARED: usize = 47 << 10;

/// The runs of rows with `heads` heads each.
struct Runs {
    count: usize,
    cols: usize,
    heads: usize,
    /// Warps that share a run: a function of `cols`, since it determines the order of sums.
    warps: usize,
    gain: Tensor,
}

impl Runs {
    fn new(ctx: &Ctx, norm: &Norm, rows: usize, heads: usize) -> Runs {
        let gain = ctx.values(norm.weight);
        let warps = if gain.cols <= WARP_COLS { 1 } else { WARPS };
        Runs { count: rows * heads, cols: gain.cols, heads, warps, gain }
    }
    /// Returns true if the runs of all matrices are aligned pieces of four elements.
    fn in_fours(&self, matrices: &[Tensor]) -> bool {
        matrices.iter().all(|&matrix| Tensor { cols: self.cols, ..matrix }.in_fours())
    }
}

/// y = norm(x) for `rows` rows as wide as the gain.
pub(super) fn norm(ctx: &Ctx, norm: &Norm, x: Tensor, y: Tensor, rows: usize) -> Result<(), Error> {
    norm_heads(ctx, norm, x, y, [rows, 1])
}

/// Like [`norm`], for each of the heads side by side in a row. `rows_heads` is the number of rows and of heads in one.
pub(super) fn norm_heads(ctx: &Ctx, norm: &Norm, x: Tensor, y: Tensor, [rows, heads]: [usize; 2]) -> Result<(), Error> {
    let runs = Runs::new(ctx, norm, rows, heads);
    let args = [
        y.into(),
        x.into(),
        runs.gain.into(),
        norm.eps.into(),
        runs.count.into(),
        runs.cols.into(),
        heads.into(),
        x.ld.into(),
        y.ld.into(),
        runs.warps.into(),
        runs.in_fours(&[x, y]).into(),
    ];
    let name = format!("rms_norm_{}_{}", x.suffix(), y.suffix());
    ctx.launch(&name, Launch::blocks(runs.count.div_ceil(WARPS / runs.warps), THREADS), args)
}

/// The gradients of [`norm`]: of x (the second value of `dx` says whether to add to it), and of the gain.
pub(super) fn norm_backward(
    ctx: &mut Ctx,
    norm: &Norm,
    x: Tensor,
    dy: Tensor,
    dx: (Tensor, bool),
    rows: usize,
) -> Result<(), Error> {
    norm_heads_backward(ctx, norm, x, dy, dx, [rows, 1])
}

/// The gradients of [`norm_heads`].
pub(super) fn norm_heads_backward(
    ctx: &mut Ctx,
    norm: &Norm,
    x: Tensor,
    dy: Tensor,
    (dx, add): (Tensor, bool),
    [rows, heads]: [usize; 2],
) -> Result<(), Error> {
    let runs = Runs::new(ctx, norm, rows, heads);
    let blocks = runs.count.div_ceil(SPAN);
    let partials = ctx.temporary(blocks, runs.cols, Dtype::F32)?;
    let sums = WARPS / runs.warps * runs.cols * size_of::<f32>();
    let shared = sums <= SHARED;
    let args = [
        dx.into(),
        partials.into(),
        x.into(),
        dy.into(),
        runs.gain.into(),
        norm.eps.into(),
        runs.count.into(),
        runs.cols.into(),
        runs.heads.into(),
        x.ld.into(),
        dy.ld.into(),
        dx.ld.into(),
        SPAN.into(),
        runs.warps.into(),
        runs.in_fours(&[x, dy, dx]).into(),
        shared.into(),
        add.into(),
    ];
    let name = format!("rms_norm_backward_{}_{}_{}", x.suffix(), dy.suffix(), dx.suffix());
    ctx.launch(&name, Launch { shared: if shared { sums } else { 0 }, ..Launch::blocks(blocks, THREADS) }, args)?;
    let dgain = ctx.param_grad(norm.weight);
    let args = [dgain.into(), partials.into(), blocks.into(), runs.cols.into()];
    ctx.launch("add_column_sums", Launch::blocks(runs.cols.div_ceil(32), 1024), args)
}

impl Kernels for RmsNorm {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        norm(ctx, &self.norm, ctx.columns(self.x), ctx.columns(self.y), ctx.rows)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, dy, dx) = (ctx.columns(self.x), ctx.grad_columns(self.y), ctx.give_grad_columns(self.x)?);
        norm_backward(ctx, &self.norm, x, dy, dx, ctx.rows)
    }
}
