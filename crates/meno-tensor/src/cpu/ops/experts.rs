//! Runs the experts one after the other, in the same scratch memory.

use super::Kernels;
use super::dispatch::Order;
use super::rows::for_rows;
use crate::cpu::context::{Ctx, ParamGrads};
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels::{self, dot};
use crate::cpu::weights::CpuWeights;
use crate::ops::experts::{Expert, Experts};
use crate::precision::Precision;
use crate::tape::Param;

/// Experts, and the rows that each of them has.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    pub(super) params: &'a CpuWeights,
    pub(super) precision: Precision,
    pub(super) experts: &'a [Expert],
    /// The first row of each expert, and the end.
    pub(super) offsets: &'a [u32],
}

impl Share<'_> {
    /// Calls `f(expert, its number, its first row, its number of rows)` for every expert that has rows.
    fn for_experts(&self, mut f: impl FnMut(&Expert, usize, usize, usize)) {
        for (e, (expert, rows)) in self.experts.iter().zip(self.offsets.windows(2)).enumerate() {
            if rows[0] < rows[1] {
                f(expert, e, rows[0] as usize, (rows[1] - rows[0]) as usize);
            }
        }
    }
}

impl Experts {
    /// The matrices that multiply an expert's input: gate and up, or one matrix if they are fused.
    fn inputs(&self, expert: &Expert) -> impl Iterator<Item = Param> {
        [expert.gate, expert.up].into_iter().take(if self.fused { 1 } else { 2 })
    }

    /// Computes gate and up, and the output, of each of the `rows`. `scratch` has `width` values for each row of an
    /// expert.
    pub(super) fn forward_rows(&self, share: Share, rows: &[f32], [gate_up, y]: [&mut [f32]; 2], scratch: &mut [f32]) {
        let (h, w, Share { params, precision, .. }) = (self.sorted.hidden, self.width, share);
        share.for_experts(|expert, _, start, n| {
            let (xs, hs) = (Mat::new(&rows[start * h..][..n * h], n, h), &mut scratch[..n * w]);
            let gate_up = &mut gate_up[start * 2 * w..][..n * 2 * w];
            for (i, p) in self.inputs(expert).enumerate() {
                let out = MatMut::strided(&mut gate_up[i * w..], n, if self.fused { 2 * w } else { w }, 2 * w);
                params.multiply(precision, xs, p, false, out);
            }
            for_rows(hs, w, |i, hs| row_kernels::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            let out = MatMut::new(&mut y[start * h..][..n * h], n, h);
            params.multiply(precision, Mat::new(hs, n, w), expert.down, false, out);
        });
    }

    /// Computes the gradients of the rows and of their weights, and adds those of each expert's parameters to `grads`,
    /// at the places of the experts that come with them. `scratch` has 4 · `width` values for each row of an expert.
    pub(super) fn backward_rows(
        &self,
        share: Share,
        (grads, places): (&mut ParamGrads, &[Expert]),
        [rows, weights, gate_up]: [&[f32]; 3],
        dy: &[f32],
        [dxs, dweights]: [&mut [f32]; 2],
        scratch: &mut [f32],
    ) {
        let (h, w, Share { params, precision, .. }) = (self.sorted.hidden, self.width, share);
        share.for_experts(|expert, e, start, n| {
            let (hs, rest) = scratch[..n * 4 * w].split_at_mut(n * w);
            let (dhs, dgate_up) = rest.split_at_mut(n * w);
            let (gate_up, weights) = (&gate_up[start * 2 * w..], &weights[start..start + n]);
            let of = |x| Mat::new(x, n, h);
            let (xs, dy) = (of(&rows[start * h..][..n * h]), of(&dy[start * h..][..n * h]));
            let down = Rhs::Mat(params.matrix(expert.down));
            gemm(precision, 1.0, dy, down, false, MatMut::new(dhs, n, w));
            for_rows(hs, w, |i, hs| row_kernels::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            for (i, dw) in dweights[start..start + n].iter_mut().enumerate() {
                *dw = dot(&dhs[i * w..][..w], &hs[i * w..][..w]);
            }
            // From here on hs and dhs hold w·h and w·dh.
            for_rows(hs, w, |i, hs| row_kernels::scale(weights[i], hs));
            for_rows(dhs, w, |i, dhs| row_kernels::scale(weights[i], dhs));
            let dhs = &*dhs;
            for_rows(dgate_up, 2 * w, |i, d| {
                row_kernels::swiglu_backward(&gate_up[i * 2 * w..][..2 * w], &dhs[i * w..][..w], d, false);
            });
            let place = &places[e];
            let ddown = MatMut::new(grads.one(place.down), h, w);
            gemm(precision, 1.0, dy.t(), Rhs::Mat(Mat::new(hs, n, w)), true, ddown);
            let dxs = &mut dxs[start * h..][..n * h];
            for (i, (p, place_of)) in self.inputs(expert).zip(self.inputs(place)).enumerate() {
                let (grad, weight, width) = match self.fused {
                    true => {
                        let both = |expert: &Expert| [expert.gate, expert.up];
                        (grads.fused(&both(place)), params.fused_matrix(&both(expert)), 2 * w)
                    }
                    false => (grads.one(place_of), params.matrix(p), w),
                };
                let d = Mat::strided(&dgate_up[i * w..], n, width, 2 * w);
                gemm(precision, 1.0, d.t(), Rhs::Mat(xs), true, MatMut::new(grad, width, h));
                gemm(precision, 1.0, d, Rhs::Mat(weight), i > 0, MatMut::new(dxs, n, h));
            }
        });
    }
}

impl Kernels for Experts {
    fn scratch(&self, rows: usize) -> usize {
        // An expert has at most one row of each token.
        rows * 4 * self.width
    }
    fn forward(&self, ctx: &mut Ctx) {
        if let Some(parallel) = ctx.experts.take() {
            return self.forward_dealt(ctx, parallel);
        }
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [rows, gate_up, y] = ctx.acts.get([self.sorted.rows, self.gate_up, self.y]);
        let Ctx { params, precision, .. } = *ctx;
        let share = Share { params, precision, experts: &self.experts, offsets: order.offsets };
        self.forward_rows(share, rows, [gate_up, y], ctx.scratch);
    }
    fn backward(&self, ctx: &mut Ctx) {
        if let Some(parallel) = ctx.experts.take() {
            return self.backward_dealt(ctx, parallel);
        }
        let (rows, weights) = (self.sorted.rows, self.sorted.weights);
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [xs, weights_of, gate_up] = ctx.acts.get([rows, weights, self.gate_up]);
        let [dxs, dweights, dy] = ctx.grads.get([rows, weights, self.y]);
        let Ctx { params, precision, .. } = *ctx;
        let share = Share { params, precision, experts: &self.experts, offsets: order.offsets };
        let grads = (&mut ctx.param_grads, &self.experts[..]);
        self.backward_rows(share, grads, [xs, weights_of, gate_up], dy, [dxs, dweights], ctx.scratch);
    }
}
