//! Several linear layers of one input, behind a fused RMSNorm: y = [n·W₁ᵀ + b₁ | n·W₂ᵀ + b₂ | …], n = RMSNorm(x).
//!
//! q, k, v or gate, up as published (one tensor each) write column ranges of one activation. The normed input is
//! not kept: backward computes it again.

use super::View;
use super::rms_norm::{self, Norm, Rows};
use super::rows::{column_sums, for_rows};
use crate::gemm::{Mat, MatMut, Rhs, gemm};
use crate::lanes;
use crate::lanes::axpy;
use crate::params::{Param, Params};
use crate::tape::{Act, Builder, Ctx, Io, Op};

/// One of the linear layers.
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// Its first column in the output.
    pub at: usize,
    /// Its width.
    pub outputs: usize,
}

/// The op.
pub struct NormLinear {
    /// Input `[t, in]`.
    pub x: View,
    /// The norm of the input, if any.
    pub norm: Option<Norm>,
    /// The layers, side by side in `y`.
    pub projections: Vec<Projection>,
    /// Output `[t, sum of outputs]`.
    pub y: Act,
    /// Sum of outputs.
    pub outputs: usize,
    /// The weights where they are one matrix ([`Params::join_linear`]): one GEMM does the work of several.
    joined: Option<Vec<Param>>,
}

impl NormLinear {
    /// Appends the layers of `weights` (weight, bias) on `x`; returns the one output.
    pub fn push(
        b: &mut Builder,
        params: &Params,
        x: View,
        norm: Option<Norm>,
        weights: &[(Param, Option<Param>)],
    ) -> Act {
        let mut outputs = 0;
        let mut projections = Vec::with_capacity(weights.len());
        for &(weight, bias) in weights {
            let shape = &params.info(weight).shape;
            assert!(shape[1] == x.cols, "invariant: {} takes {} inputs", params.info(weight).name, x.cols);
            projections.push(Projection { weight, bias, at: outputs, outputs: shape[0] });
            outputs += shape[0];
        }
        let y = b.act(outputs);
        let joined: Vec<Param> = weights.iter().map(|w| w.0).collect();
        let joined = params.are_joined(&joined).then_some(joined);
        b.push(NormLinear { x, norm, projections, y, outputs, joined });
        y
    }

    /// The matrices to multiply by: first weight, first column and width of the output.
    fn matrices(&self) -> impl Iterator<Item = (Param, usize, usize)> {
        let count = if self.joined.is_some() { 1 } else { self.projections.len() };
        let whole = self.joined.is_some().then_some(self.outputs);
        self.projections[..count].iter().map(move |p| (p.weight, p.at, whole.unwrap_or(p.outputs)))
    }

    /// Whether the GEMMs read x where it lies.
    fn direct(&self) -> bool {
        self.norm.is_none()
    }

    /// The input of the GEMMs: x itself, or its norm written to `scratch`.
    fn input<'a>(&self, params: &Params, x: &'a [f32], scratch: &'a mut [f32], rows: usize) -> Mat<'a> {
        let cols = self.x.cols;
        match self.norm {
            None if rows == 0 => Mat::new(&[], 0, cols),
            None => Mat::strided(&x[self.x.at..], rows, cols, self.x.ld),
            Some(norm) => {
                let gain = params.get(norm.weight);
                let x = Rows { data: x, view: self.x };
                let n = &mut scratch[..rows * cols];
                for_rows(n, cols, |r, n| lanes::rms_norm(gain, norm.eps, x.row(r), n));
                Mat::new(n, rows, cols)
            }
        }
    }
}

impl Op for NormLinear {
    fn name(&self) -> &'static str {
        if self.direct() { "linear" } else { "norm_linear" }
    }
    fn io(&self) -> Io {
        let x = self.x.act;
        Io { reads: vec![x], writes: vec![self.y], saved: vec![x], grad_reads: vec![self.y], grad_writes: vec![x] }
    }
    fn scratch(&self, rows: usize) -> usize {
        if self.direct() { 0 } else { rows * (2 * self.x.cols + 1) }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.x.cols * self.outputs) as u64
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
            let dweight = match &self.joined {
                Some(weights) => ctx.param_grads.joined(weights),
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
        // d of the GEMMs' input: straight into dx, or into scratch for the norm.
        let view = self.x;
        if self.direct() && !add && view.is_part() {
            dx.fill(0.0);
        }
        let (dn, rstds) = if self.direct() { (&mut [][..], &mut [][..]) } else { rest.split_at_mut(t * cols) };
        for (i, (weight, at, outputs)) in self.matrices().enumerate() {
            let dy = Mat::strided(&dy[at..], t, outputs, ld);
            let weight = Rhs::Mat(match &self.joined {
                Some(weights) => ctx.params.joined_matrix(weights),
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
            let dn = Rows { data: dn, view: View { act: self.y, ld: cols, at: 0, cols } };
            let x = Rows { data: x, view };
            rms_norm::backward((gain, norm.eps), x, dn, dx, view, add, dgain, &mut rstds[..t]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Probe, build};

    fn net(norm: bool, part: bool) -> crate::check::Net {
        build(true, 6, |b, p| {
            let x = Probe::input(b, p, 20);
            let view = if part { View::cols(b, x, 3..15) } else { View::all(b, x) };
            let norm = norm.then(|| Norm { weight: p.declare("norm.weight", &[view.cols]), eps: 1e-5 });
            let mut weights = Vec::new();
            for (i, outputs) in [9, 17, 4].into_iter().enumerate() {
                let weight = p.declare(format!("w{i}"), &[outputs, view.cols]);
                p.mark_linear(weight);
                weights.push((weight, (i != 1).then(|| p.declare(format!("b{i}"), &[outputs]))));
            }
            NormLinear::push(b, p, view, norm, &weights)
        })
    }

    #[test]
    fn gradients() {
        for (norm, part) in [(true, false), (true, true), (false, false), (false, true)] {
            net(norm, part).check_gradients(1e-3);
            net(norm, part).check_bits();
        }
    }

    #[test]
    fn joined_weights_give_the_same_bits() {
        let net = |join: bool| {
            build(true, 6, |b, p| {
                let x = Probe::input(b, p, 20);
                let weights: Vec<Param> =
                    [8, 16, 4].iter().enumerate().map(|(i, &n)| p.declare(format!("w{i}"), &[n, 20])).collect();
                weights.iter().for_each(|&w| p.mark_linear(w));
                assert!(!join || p.join_linear(&weights));
                let bias = p.declare("b", &[16]);
                let norm = Norm { weight: p.declare("norm.weight", &[20]), eps: 1e-5 };
                let weights = [(weights[0], None), (weights[1], Some(bias)), (weights[2], None)];
                NormLinear::push(b, p, View::all(b, x), Some(norm), &weights)
            })
        };
        let (mut joined, mut apart) = (net(true), net(false));
        assert_eq!(joined.output(), apart.output());
        joined.check_gradients(1e-3);
        joined.check_bits();
    }

    #[test]
    fn equals_norm_then_linear() {
        let fused = net(true, false).output();
        let mut apart = build(true, 6, |b, p| {
            let x = Probe::input(b, p, 20);
            let norm = Norm { weight: p.declare("norm.weight", &[20]), eps: 1e-5 };
            let mut weights = Vec::new();
            for (i, outputs) in [9, 17, 4].into_iter().enumerate() {
                let weight = p.declare(format!("w{i}"), &[outputs, 20]);
                p.mark_linear(weight);
                weights.push((weight, (i != 1).then(|| p.declare(format!("b{i}"), &[outputs]))));
            }
            let n = super::super::rms_norm::RmsNorm::push(b, p, x, norm);
            let view = View::all(b, n);
            NormLinear::push(b, p, view, None, &weights)
        });
        assert_eq!(fused, apart.output());
    }
}
