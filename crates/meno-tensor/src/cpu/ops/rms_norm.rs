//! RMSNorm. Only x is kept for backward: rstd costs one pass over a row that backward has in cache anyway.

use super::Kernels;
use super::rows::{column_sums, for_rows};
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels;
use crate::ops::Columns;
use crate::ops::rms_norm::RmsNorm;
use crate::pool;

/// The rows of a matrix in memory: its slice, the distance between rows, the first column.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) view: Columns,
}

impl<'a> Rows<'a> {
    pub(crate) fn row(&self, r: usize) -> &'a [f32] {
        self.view.of(&self.data[r * self.view.ld..][..self.view.ld])
    }
}

/// Computes the gradients of a norm over many rows: dx (columns `dx_view` of its rows) and the gain. `rstds` is
/// scratch, one value per row.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    (gain, eps): (&[f32], f32),
    x: Rows,
    dy: Rows,
    dx: &mut [f32],
    dx_view: Columns,
    add: bool,
    dgain: &mut [f32],
    rstds: &mut [f32],
) {
    let rows = rstds.len();
    // A single thread computes both sums while the rows are in cache; the order of every sum is the same either way.
    let block = if pool::threads() == 1 { 64 } else { rows.max(1) };
    for start in (0..rows).step_by(block) {
        let end = rows.min(start + block);
        let dx = &mut dx[start * dx_view.ld..end * dx_view.ld];
        for_rows(dx, dx_view.ld, |r, row| {
            if !add && dx_view.is_part() {
                row.fill(0.0);
            }
            row_kernels::rms_norm_backward(gain, eps, x.row(start + r), dy.row(start + r), dx_view.of_mut(row), add);
        });
        let rows = |r: usize| (x.row(start + r), dy.row(start + r));
        add_gain(eps, end - start, rows, dgain, &mut rstds[start..end]);
    }
}

/// Computes dgain += Σ_r x·rstd·dy over `rows` rows `(x, dy)`, in order. `rstds` is scratch, one value per row.
pub(crate) fn add_gain<'a>(
    eps: f32,
    rows: usize,
    row: impl Fn(usize) -> (&'a [f32], &'a [f32]) + Sync + Send,
    dgain: &mut [f32],
    rstds: &mut [f32],
) {
    for (r, s) in rstds[..rows].iter_mut().enumerate() {
        *s = row_kernels::rstd(row(r).0, eps);
    }
    let rstds = &rstds[..rows];
    column_sums(dgain, rows, |r, columns, sums| {
        let (x, dy) = row(r);
        row_kernels::add_product(&x[columns.clone()], rstds[r], &dy[columns], sums);
    });
}

impl Kernels for RmsNorm {
    fn scratch(&self, rows: usize) -> usize {
        rows
    }
    fn forward(&self, ctx: &mut Ctx) {
        let gain = ctx.params.get(self.norm.weight);
        let [x, y] = ctx.acts.get([self.x.act, self.y.act]);
        let x = Rows { data: x, view: self.x };
        for_rows(y, self.y.ld, |r, y| row_kernels::rms_norm(gain, self.norm.eps, x.row(r), self.y.of_mut(y)));
    }
    fn backward(&self, ctx: &mut Ctx) {
        let add = ctx.adds(self.x.act);
        let gain = ctx.params.get(self.norm.weight);
        let [x] = ctx.acts.get([self.x.act]);
        let [dx, dy] = ctx.grads.get([self.x.act, self.y.act]);
        let [dgain] = ctx.param_grads.get([self.norm.weight]);
        let (x, dy) = (Rows { data: x, view: self.x }, Rows { data: dy, view: self.y });
        backward((gain, self.norm.eps), x, dy, dx, self.x, add, dgain, &mut ctx.scratch[..ctx.rows]);
    }
}
