//! RMSNorm: y = weight ⊙ x · rstd, rstd = 1 / √(mean(x²) + eps) (Zhang & Sennrich, arXiv 1910.07467, eq. 4).
//!
//! Nothing is kept for backward but x: rstd costs one pass over a row that backward has in cache anyway.

use super::View;
use super::rows::{column_sums, for_rows};
use crate::lanes;
use crate::params::{Param, Params};
use crate::pool;
use crate::tape::{Act, Builder, Ctx, Io, Op};

/// Gain and epsilon of a norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// The gain, `[cols]`.
    pub weight: Param,
    /// Added to the mean square.
    pub eps: f32,
}

/// Where the rows of a matrix are: its slice, the distance between rows, the first column.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) view: View,
}

impl<'a> Rows<'a> {
    pub(crate) fn row(&self, r: usize) -> &'a [f32] {
        self.view.of(&self.data[r * self.view.ld..][..self.view.ld])
    }
}

/// Gradients of a norm over many rows: dx (columns `dx_view` of its rows) and the gain. `rstds` is scratch, one value a row.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    (gain, eps): (&[f32], f32),
    x: Rows,
    dy: Rows,
    dx: &mut [f32],
    dx_view: View,
    add: bool,
    dgain: &mut [f32],
    rstds: &mut [f32],
) {
    let rows = rstds.len();
    // One thread takes both sums while the rows are in cache; the order of every sum is the same either way.
    let block = if pool::threads() == 1 { 64 } else { rows.max(1) };
    for start in (0..rows).step_by(block) {
        let end = rows.min(start + block);
        let dx = &mut dx[start * dx_view.ld..end * dx_view.ld];
        for_rows(dx, dx_view.ld, |r, row| {
            if !add && dx_view.is_part() {
                row.fill(0.0);
            }
            lanes::rms_norm_backward(gain, eps, x.row(start + r), dy.row(start + r), dx_view.of_mut(row), add);
        });
        let rows = |r: usize| (x.row(start + r), dy.row(start + r));
        add_gain(eps, end - start, rows, dgain, &mut rstds[start..end]);
    }
}

/// dgain += Σ_r x·rstd·dy over `rows` rows `(x, dy)`, in order. `rstds` is scratch, one value a row.
pub(crate) fn add_gain<'a>(
    eps: f32,
    rows: usize,
    row: impl Fn(usize) -> (&'a [f32], &'a [f32]) + Sync + Send,
    dgain: &mut [f32],
    rstds: &mut [f32],
) {
    for (r, s) in rstds[..rows].iter_mut().enumerate() {
        *s = lanes::rstd(row(r).0, eps);
    }
    let rstds = &rstds[..rows];
    column_sums(dgain, rows, |r, columns, sums| {
        let (x, dy) = row(r);
        lanes::add_product(&x[columns.clone()], rstds[r], &dy[columns], sums);
    });
}

/// y = RMSNorm(x), on columns of activations.
pub struct RmsNorm {
    /// Input.
    pub x: View,
    /// Gain and epsilon.
    pub norm: Norm,
    /// Output: as many columns.
    pub y: View,
}

impl RmsNorm {
    /// Appends the norm of all columns of `x`; returns its output.
    pub fn push(b: &mut Builder, params: &Params, x: Act, norm: Norm) -> Act {
        let y = b.act(params.info(norm.weight).len());
        let op = RmsNorm { x: View::all(b, x), norm, y: View::all(b, y) };
        b.push(op);
        y
    }
}

impl Op for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }
    fn io(&self) -> Io {
        let (x, y) = (self.x.act, self.y.act);
        Io { reads: vec![x], writes: vec![y], saved: vec![x], grad_reads: vec![y], grad_writes: vec![x] }
    }
    fn scratch(&self, rows: usize) -> usize {
        rows
    }
    fn forward(&self, ctx: &mut Ctx) {
        let gain = ctx.params.get(self.norm.weight);
        let [x, y] = ctx.acts.get([self.x.act, self.y.act]);
        let x = Rows { data: x, view: self.x };
        for_rows(y, self.y.ld, |r, y| lanes::rms_norm(gain, self.norm.eps, x.row(r), self.y.of_mut(y)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Probe, build};

    #[test]
    fn gradients() {
        let mut net = build(true, 7, |b, p| {
            let x = Probe::input(b, p, 37);
            let norm = Norm { weight: p.declare("norm.weight", &[37]), eps: 1e-5 };
            RmsNorm::push(b, p, x, norm)
        });
        net.check_gradients(1e-3);
    }

    #[test]
    fn columns_of_wider_activations() {
        let mut net = build(true, 5, |b, p| {
            let x = Probe::input(b, p, 24);
            let (left, right) = (p.declare("a", &[10]), p.declare("b", &[14]));
            let y = b.act(24);
            let norm = |weight| Norm { weight, eps: 1e-5 };
            let op = RmsNorm { x: View::cols(b, x, 0..10), norm: norm(left), y: View::cols(b, y, 14..24) };
            b.push(op);
            let op = RmsNorm { x: View::cols(b, x, 10..24), norm: norm(right), y: View::cols(b, y, 0..14) };
            b.push(op);
            y
        });
        net.check_gradients(1e-3);
        net.check_bits();
    }

    #[test]
    fn equals_the_definition() {
        let x = [1.0f32, -2.0, 3.0, 0.5];
        let gain = [2.0, 1.0, 0.5, -1.0];
        let mut y = [0.0; 4];
        lanes::rms_norm(&gain, 0.75, &x, &mut y);
        // mean square 3.5625, + 0.75 = 4.3125, root 2.0766560
        let root = 4.3125f32.sqrt();
        for (y, (x, g)) in y.iter().zip(x.iter().zip(gain)) {
            assert!((y - g * x / root).abs() < 1e-6);
        }
    }
}
