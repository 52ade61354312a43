//! RMSNorm of each head.

use super::Kernels;
use super::rms_norm::{Rows, add_gain};
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels;
use crate::ops::qk_norm::QkNorm;

impl Kernels for QkNorm {
    fn scratch(&self, rows: usize) -> usize {
        // A head has at least one column.
        rows * self.x.cols
    }
    fn forward(&self, ctx: &mut Ctx) {
        let gain = ctx.params.get(self.norm.weight);
        let [x, y] = ctx.acts.get([self.x.act, self.y.act]);
        let x = Rows { data: x, view: self.x };
        for_rows(y, self.y.ld, |r, y| {
            let heads = x.row(r).chunks_exact(gain.len()).zip(self.y.of_mut(y).chunks_exact_mut(gain.len()));
            heads.for_each(|(x, y)| row_kernels::rms_norm(gain, self.norm.eps, x, y));
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let add = ctx.adds(self.x.act);
        let (gain, eps) = (ctx.params.get(self.norm.weight), self.norm.eps);
        let (d, heads) = (gain.len(), self.x.cols / gain.len());
        let [x] = ctx.acts.get([self.x.act]);
        let [dx, dy] = ctx.grads.get([self.x.act, self.y.act]);
        let [dgain] = ctx.param_grads.get([self.norm.weight]);
        let (x, dy) = (Rows { data: x, view: self.x }, Rows { data: dy, view: self.y });
        for_rows(dx, self.x.ld, |r, row| {
            if !add && self.x.is_part() {
                row.fill(0.0);
            }
            let dx = self.x.of_mut(row).chunks_exact_mut(d);
            for ((dx, x), dy) in dx.zip(x.row(r).chunks_exact(d)).zip(dy.row(r).chunks_exact(d)) {
                row_kernels::rms_norm_backward(gain, eps, x, dy, dx, add);
            }
        });
        let head = |i: usize| {
            let (r, at) = (i / heads, i % heads * d);
            (&x.row(r)[at..at + d], &dy.row(r)[at..at + d])
        };
        let rows = ctx.rows * heads;
        add_gain(eps, rows, head, dgain, &mut ctx.scratch[..rows]);
    }
}
