//! Linear layers with a shared input and a fused RMSNorm. The normalized input is not kept: backward recomputes it.

use super::Kernels;
use super::rms_norm::{self, Rows};
use super::rows::{column_sums, for_rows};
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels::{self, axpy};
use crate::cpu::weights::CpuWeights;
use crate::ops::Columns;
use crate::ops::norm_linear::NormLinear;

impl NormLinear {
    /// Returns the input of the GEMMs: x itself, or its norm written to `scratch`.
    fn input<'a>(&self, params: &CpuWeights, x: &'a [f32], scratch: &'a mut [f32], rows: usize) -> Mat<'a> {
        let cols = self.x.cols;
        match self.norm {
            None if rows == 0 => Mat::new(&[], 0, cols),
            None => Mat::strided(&x[self.x.at..], rows, cols, self.x.ld),
            Some(norm) => {
                let gain = params.get(norm.weight);
                let x = Rows { data: x, view: self.x };
                let n = &mut scratch[..rows * cols];
                for_rows(n, cols, |r, n| row_kernels::rms_norm(gain, norm.eps, x.row(r), n));
                Mat::new(n, rows, cols)
            }
        }
    }
}

impl Kernels for NormLinear {
    fn scratch(&self, rows: usize) -> usize {
        if self.direct() { 0 } else { rows * (2 * self.x.cols + 1) }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, ld) = (ctx.rows, self.outputs);
        if t == 0 {
            return;
        }
        let [x, y] = ctx.acts.get([self.x.act, self.y]);
        let n = self.input(ctx.params, x, ctx.scratch, t);
        for (weight, at, outputs) in self.matrices() {
            let y = MatMut::strided(&mut y[at..], t, outputs, ld);
            ctx.params.multiply(ctx.precision, n, weight, false, y);
        }
        for p in &self.projections {
            let Some(bias) = p.bias else { continue };
            let bias = ctx.params.get(bias);
            for_rows(y, ld, |_, y| axpy(1.0, bias, &mut y[p.at..p.at + p.outputs]));
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, ld, cols) = (ctx.rows, self.outputs, self.x.cols);
        if t == 0 {
            return;
        }
        let add = ctx.adds(self.x.act);
        let [x] = ctx.acts.get([self.x.act]);
        let [dx, dy] = ctx.grads.get([self.x.act, self.y]);
        let (own, rest) = ctx.scratch.split_at_mut(if self.direct() { 0 } else { t * cols });
        let n = self.input(ctx.params, x, own, t);
        for (weight, at, outputs) in self.matrices() {
            let dweight = match &self.fused {
                Some(weights) => ctx.param_grads.fused(weights),
                None => ctx.param_grads.one(weight),
            };
            let dy = Mat::strided(&dy[at..], t, outputs, ld);
            gemm(ctx.precision, 1.0, dy.t(), Rhs::Mat(n), true, MatMut::new(dweight, outputs, cols));
        }
        for p in &self.projections {
            let Some(bias) = p.bias else { continue };
            let [dbias] = ctx.param_grads.get([bias]);
            column_sums(dbias, t, |r, columns, sums| axpy(1.0, &dy[r * ld + p.at..][columns], sums));
        }
        // The gradient of the GEMMs' input: directly into dx, or into scratch for the norm.
        let view = self.x;
        if self.direct() && !add && view.is_part() {
            dx.fill(0.0);
        }
        let (dn, rstds) = if self.direct() { (&mut [][..], &mut [][..]) } else { rest.split_at_mut(t * cols) };
        for (i, (weight, at, outputs)) in self.matrices().enumerate() {
            let dy = Mat::strided(&dy[at..], t, outputs, ld);
            let weight = Rhs::Mat(match &self.fused {
                Some(weights) => ctx.params.fused_matrix(weights),
                None => ctx.params.matrix(weight),
            });
            let (add, out) = match self.direct() {
                true => (add || i > 0, MatMut::strided(&mut dx[view.at..], t, cols, view.ld)),
                false => (i > 0, MatMut::new(dn, t, cols)),
            };
            gemm(ctx.precision, 1.0, dy, weight, add, out);
        }
        if let Some(norm) = self.norm {
            let gain = ctx.params.get(norm.weight);
            let [dgain] = ctx.param_grads.get([norm.weight]);
            let dn = Rows { data: dn, view: Columns { act: self.y, ld: cols, at: 0, cols } };
            let x = Rows { data: x, view };
            rms_norm::backward((gain, norm.eps), x, dn, dx, view, add, dgain, &mut rstds[..t]);
        }
    }
}
