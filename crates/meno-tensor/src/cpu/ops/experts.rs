//! Runs the experts one after the other, in the same scratch memory.

use super::Kernels;
use super::dispatch::Order;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels::{self, dot};
use crate::ops::experts::{Expert, Experts};
use crate::tape::Param;
use std::ops::Range;

impl Experts {
    /// The matrices that multiply an expert's input: gate and up, or one matrix if they are fused.
    fn inputs(&self, expert: &Expert) -> impl Iterator<Item = Param> {
        [expert.gate, expert.up].into_iter().take(if self.fused { 1 } else { 2 })
    }

    /// Calls `f(expert, its rows)` for every expert that has rows.
    fn for_experts(&self, order: &Order, mut f: impl FnMut(&Expert, Range<usize>)) {
        for (e, expert) in self.experts.iter().enumerate() {
            let range = order.range(e);
            if !range.is_empty() {
                f(expert, range);
            }
        }
    }
}

impl Kernels for Experts {
    fn scratch(&self, rows: usize) -> usize {
        // An expert has at most one row of each token.
        rows * 4 * self.width
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (h, w) = (self.sorted.hidden, self.width);
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [rows, gate_up, y] = ctx.acts.get([self.sorted.rows, self.gate_up, self.y]);
        self.for_experts(&order, |expert, range| {
            let n = range.len();
            let (xs, hs) = (Mat::new(&rows[range.start * h..range.end * h], n, h), &mut ctx.scratch[..n * w]);
            let gate_up = &mut gate_up[range.start * 2 * w..range.end * 2 * w];
            for (i, p) in self.inputs(expert).enumerate() {
                let out = MatMut::strided(&mut gate_up[i * w..], n, if self.fused { 2 * w } else { w }, 2 * w);
                ctx.params.multiply(ctx.precision, xs, p, false, out);
            }
            for_rows(hs, w, |i, hs| row_kernels::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            let out = MatMut::new(&mut y[range.start * h..range.end * h], n, h);
            ctx.params.multiply(ctx.precision, Mat::new(hs, n, w), expert.down, false, out);
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, h, w) = (ctx.rows, self.sorted.hidden, self.width);
        let (rows, weights) = (self.sorted.rows, self.sorted.weights);
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [xs, weights_of, gate_up] = ctx.acts.get([rows, weights, self.gate_up]);
        let [dxs, dweights, dy] = ctx.grads.get([rows, weights, self.y]);
        let (hs, rest) = ctx.scratch.split_at_mut(t * w);
        let (dhs, dgate_up) = rest[..t * 3 * w].split_at_mut(t * w);
        self.for_experts(&order, |expert, range| {
            let n = range.len();
            let (hs, dhs, dgate_up) = (&mut hs[..n * w], &mut dhs[..n * w], &mut dgate_up[..n * 2 * w]);
            let (gate_up, weights) = (&gate_up[range.start * 2 * w..], &weights_of[range.clone()]);
            let of = |x| Mat::new(x, n, h);
            let (xs, dy) = (of(&xs[range.start * h..range.end * h]), of(&dy[range.start * h..range.end * h]));
            let down = Rhs::Mat(ctx.params.matrix(expert.down));
            gemm(ctx.precision, 1.0, dy, down, false, MatMut::new(dhs, n, w));
            for_rows(hs, w, |i, hs| row_kernels::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            for (i, dw) in dweights[range.clone()].iter_mut().enumerate() {
                *dw = dot(&dhs[i * w..][..w], &hs[i * w..][..w]);
            }
            // From here on hs and dhs hold w·h and w·dh.
            for_rows(hs, w, |i, hs| row_kernels::scale(weights[i], hs));
            for_rows(dhs, w, |i, dhs| row_kernels::scale(weights[i], dhs));
            let dhs = &*dhs;
            for_rows(dgate_up, 2 * w, |i, d| {
                row_kernels::swiglu_backward(&gate_up[i * 2 * w..][..2 * w], &dhs[i * w..][..w], d, false);
            });
            let [ddown] = ctx.param_grads.get([expert.down]);
            gemm(ctx.precision, 1.0, dy.t(), Rhs::Mat(Mat::new(hs, n, w)), true, MatMut::new(ddown, h, w));
            let dxs = &mut dxs[range.start * h..range.end * h];
            for (i, p) in self.inputs(expert).enumerate() {
                let both = [expert.gate, expert.up];
                let (grad, weight, width) = match self.fused {
                    true => (ctx.param_grads.fused(&both), ctx.params.fused_matrix(&both), 2 * w),
                    false => (ctx.param_grads.one(p), ctx.params.matrix(p), w),
                };
                let d = Mat::strided(&dgate_up[i * w..], n, width, 2 * w);
                gemm(ctx.precision, 1.0, d.t(), Rhs::Mat(xs), true, MatMut::new(grad, width, h));
                gemm(ctx.precision, 1.0, d, Rhs::Mat(weight), i > 0, MatMut::new(dxs, n, h));
            }
        });
    }
}
