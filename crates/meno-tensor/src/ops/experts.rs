//! The routed experts of DeepSeekMoE: y = residual + Σ_k w_k · Expert_{e_k}(x), every expert a SwiGLU MLP.
//!
//! Dispatch sorts the (token, slot) pairs by expert, tokens in order; every expert's rows are then one matrix. A
//! token's slots are combined in their fixed order, so its result does not depend on the other tokens.
//! Backward needs no down-projection kept: d w_k = dy · (W_down h_k) = (dy · W_down) · h_k.

use super::output;
use super::router::Routes;
use super::rows::for_rows;
use crate::gemm::{Mat, MatMut, Rhs, gemm};
use crate::lanes;
use crate::lanes::{axpy, dot};
use crate::params::{Param, Params};
use crate::tape::{Act, Builder, Ctx, Ints, Io, Op};
use std::ops::Range;

/// The weights of one expert.
#[derive(Clone, Copy, Debug)]
pub struct Expert {
    /// `gate_proj`, `[width, hidden]`.
    pub gate: Param,
    /// `up_proj`, `[width, hidden]`.
    pub up: Param,
    /// `down_proj`, `[hidden, width]`.
    pub down: Param,
}

impl Expert {
    /// The matrices that multiply the input: gate and up, or both in one where they are joined.
    fn inputs(&self, joined: bool) -> impl Iterator<Item = Param> {
        [self.gate, self.up].into_iter().take(if joined { 1 } else { 2 })
    }
}

/// The op.
pub struct Experts {
    /// Input `[t, hidden]`, normed.
    pub x: Act,
    /// Who goes where, and by which weight.
    pub routes: Routes,
    /// `[t, hidden]`, added to the output, which continues its stream.
    pub residual: Option<Act>,
    /// Output `[t, hidden]`.
    pub y: Act,
    /// By index.
    pub experts: Vec<Expert>,
    /// Experts of a token.
    pub top_k: usize,
    /// Width of input and output.
    pub hidden: usize,
    /// Width of an expert (`moe_intermediate_size`).
    pub width: usize,
    /// `[t · top_k, 2 · width]` in the order of dispatch.
    gate_up: Act,
    /// See [`Dispatch`].
    dispatch: Ints,
    /// Whether gate and up of every expert are one matrix ([`Params::join_linear`]).
    joined: bool,
}

/// The order of dispatch: `[first place of every expert, …, end | pair at every place | place of every pair]`, a
/// pair being token · top_k + slot.
struct Dispatch<'a> {
    offsets: &'a [u32],
    pairs: &'a [u32],
    places: &'a [u32],
}

impl<'a> Dispatch<'a> {
    fn sort(chosen: &[u32], experts: usize, out: &mut Vec<u32>) {
        let n = chosen.len();
        out.clear();
        out.resize(experts + 1 + 2 * n, 0);
        let (offsets, rest) = out.split_at_mut(experts + 1);
        let (pairs, places) = rest.split_at_mut(n);
        chosen.iter().for_each(|&e| offsets[e as usize] += 1);
        let mut start = 0;
        for offset in offsets.iter_mut() {
            start += std::mem::replace(offset, start);
        }
        for (pair, &e) in chosen.iter().enumerate() {
            let place = offsets[e as usize];
            offsets[e as usize] += 1;
            pairs[place as usize] = pair as u32;
            places[pair] = place;
        }
        // Each offset now stands at the end of its expert, which is where the next one starts.
        offsets.copy_within(0..experts, 1);
        offsets[0] = 0;
    }
    fn read(ints: &'a [u32], experts: usize) -> Self {
        let (offsets, rest) = ints.split_at(experts + 1);
        let (pairs, places) = rest.split_at(rest.len() / 2);
        Dispatch { offsets, pairs, places }
    }
    fn range(&self, expert: usize) -> Range<usize> {
        self.offsets[expert] as usize..self.offsets[expert + 1] as usize
    }
}

impl Experts {
    /// Appends the experts on `x`; returns residual + their weighted sum.
    pub fn push(
        b: &mut Builder,
        params: &Params,
        x: Act,
        routes: Routes,
        experts: Vec<Expert>,
        residual: Option<Act>,
    ) -> Act {
        let (hidden, width, top_k) = (b.cols(x), params.info(experts[0].gate).shape[0], b.cols(routes.weights));
        for e in &experts {
            for (p, shape) in [(e.gate, [width, hidden]), (e.up, [width, hidden]), (e.down, [hidden, width])] {
                assert!(params.info(p).shape == shape, "invariant: {} is {shape:?}", params.info(p).name);
            }
        }
        let y = output(b, residual, hidden);
        let (gate_up, dispatch) = (b.act(top_k * 2 * width), b.ints());
        let joined = experts.iter().all(|e| params.are_joined(&[e.gate, e.up]));
        b.push(Experts { x, routes, residual, y, experts, top_k, hidden, width, gate_up, dispatch, joined });
        y
    }

    /// The rows of `x` of some places.
    fn gather(&self, x: &[f32], pairs: &[u32], out: &mut [f32]) {
        for_rows(out, self.hidden, |i, out| {
            out.copy_from_slice(&x[pairs[i] as usize / self.top_k * self.hidden..][..self.hidden]);
        });
    }

    /// Calls `f(expert, its places)` for every expert that has any.
    fn for_experts(&self, dispatch: &Dispatch, mut f: impl FnMut(&Expert, Range<usize>)) {
        for (e, expert) in self.experts.iter().enumerate() {
            let range = dispatch.range(e);
            if !range.is_empty() {
                f(expert, range);
            }
        }
    }
}

impl Op for Experts {
    fn name(&self) -> &'static str {
        "experts"
    }
    fn io(&self) -> Io {
        let weights = self.routes.weights;
        Io {
            reads: [self.x, weights].into_iter().chain(self.residual).collect(),
            writes: vec![self.y, self.gate_up],
            saved: vec![self.x, weights, self.gate_up],
            grad_reads: vec![self.y],
            grad_writes: vec![self.x, weights],
        }
    }
    fn scratch(&self, rows: usize) -> usize {
        rows * (2 * self.hidden + 4 * self.width) + rows * self.top_k * (self.hidden + 1)
    }
    fn flops(&self, rows: usize) -> u64 {
        6 * (rows * self.top_k * self.hidden * self.width) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, k, h, w) = (ctx.rows, self.top_k, self.hidden, self.width);
        let mut ints = std::mem::take(ctx.ints(self.dispatch));
        Dispatch::sort(ctx.ints(self.routes.chosen), self.experts.len(), &mut ints);
        let dispatch = Dispatch::read(&ints, self.experts.len());
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let [x, weights, gate_up, y] = ctx.acts.get([self.x, self.routes.weights, self.gate_up, self.y]);
        // One expert after the other, in the same memory: its rows stay in the cache from gather to output. An
        // expert has at most t rows.
        let (outs, rest) = ctx.scratch.split_at_mut(t * k * h);
        let (xs, hs) = rest[..t * (h + w)].split_at_mut(t * h);
        self.for_experts(&dispatch, |expert, range| {
            let n = range.len();
            let (xs, hs) = (&mut xs[..n * h], &mut hs[..n * w]);
            let gate_up = &mut gate_up[range.start * 2 * w..range.end * 2 * w];
            self.gather(x, &dispatch.pairs[range.clone()], xs);
            for (i, p) in expert.inputs(self.joined).enumerate() {
                let out = MatMut::strided(&mut gate_up[i * w..], n, if self.joined { 2 * w } else { w }, 2 * w);
                ctx.params.multiply(ctx.precision, Mat::new(xs, n, h), p, false, out);
            }
            for_rows(hs, w, |i, hs| lanes::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            let out = MatMut::new(&mut outs[range.start * h..range.end * h], n, h);
            ctx.params.multiply(ctx.precision, Mat::new(hs, n, w), expert.down, false, out);
        });
        let (outs, residual) = (&*outs, self.residual.is_some());
        for_rows(y, h, |r, y| {
            if !residual {
                y.fill(0.0);
            }
            for pair in r * k..(r + 1) * k {
                axpy(weights[pair], &outs[dispatch.places[pair] as usize * h..][..h], y);
            }
        });
        *ctx.ints(self.dispatch) = ints;
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, k, h, w) = (ctx.rows, self.top_k, self.hidden, self.width);
        let (add_x, add_weights) = (ctx.adds(self.x), ctx.adds(self.routes.weights));
        let ints = std::mem::take(ctx.ints(self.dispatch));
        let dispatch = Dispatch::read(&ints, self.experts.len());
        let [x, weights, gate_up] = ctx.acts.get([self.x, self.routes.weights, self.gate_up]);
        let [dx, dweights, dy] = ctx.grads.get([self.x, self.routes.weights, self.y]);
        let (gate_up, weights) = (&*gate_up, &*weights);
        let (dxs, rest) = ctx.scratch.split_at_mut(t * k * h);
        let (dws, rest) = rest.split_at_mut(t * k);
        let (xs, rest) = rest.split_at_mut(t * h);
        let (dys, rest) = rest.split_at_mut(t * h);
        let (hs, rest) = rest.split_at_mut(t * w);
        let (dhs, dgate_up) = rest[..t * 3 * w].split_at_mut(t * w);
        self.for_experts(&dispatch, |expert, range| {
            let n = range.len();
            let (xs, dys, hs, dhs) = (&mut xs[..n * h], &mut dys[..n * h], &mut hs[..n * w], &mut dhs[..n * w]);
            let (dgate_up, dws) = (&mut dgate_up[..n * 2 * w], &mut dws[range.clone()]);
            let gate_up = &gate_up[range.start * 2 * w..];
            let pairs = &dispatch.pairs[range.clone()];
            self.gather(x, pairs, xs);
            self.gather(dy, pairs, dys);
            let (xs, dys) = (Mat::new(xs, n, h), Mat::new(dys, n, h));
            let down = Rhs::Mat(ctx.params.matrix(expert.down));
            gemm(ctx.precision, 1.0, dys, down, false, MatMut::new(dhs, n, w));
            for_rows(hs, w, |i, hs| lanes::swiglu(&gate_up[i * 2 * w..][..2 * w], hs));
            for (i, dw) in dws.iter_mut().enumerate() {
                *dw = dot(&dhs[i * w..][..w], &hs[i * w..][..w]);
            }
            // From here on h and dh stand for w·h and w·dh.
            for_rows(hs, w, |i, hs| lanes::scale(weights[pairs[i] as usize], hs));
            for_rows(dhs, w, |i, dhs| lanes::scale(weights[pairs[i] as usize], dhs));
            let dhs = &*dhs;
            for_rows(dgate_up, 2 * w, |i, d| {
                lanes::swiglu_backward(&gate_up[i * 2 * w..][..2 * w], &dhs[i * w..][..w], d, false);
            });
            let [ddown] = ctx.param_grads.get([expert.down]);
            gemm(ctx.precision, 1.0, dys.t(), Rhs::Mat(Mat::new(hs, n, w)), true, MatMut::new(ddown, h, w));
            let dxs = &mut dxs[range.start * h..range.end * h];
            for (i, p) in expert.inputs(self.joined).enumerate() {
                let both = [expert.gate, expert.up];
                let (grad, weight, width) = match self.joined {
                    true => (ctx.param_grads.joined(&both), ctx.params.joined_matrix(&both), 2 * w),
                    false => (ctx.param_grads.one(p), ctx.params.matrix(p), w),
                };
                let d = Mat::strided(&dgate_up[i * w..], n, width, 2 * w);
                gemm(ctx.precision, 1.0, d.t(), Rhs::Mat(xs), true, MatMut::new(grad, width, h));
                gemm(ctx.precision, 1.0, d, Rhs::Mat(weight), i > 0, MatMut::new(dxs, n, h));
            }
        });
        for (pair, d) in dweights.iter_mut().enumerate() {
            let dw = dws[dispatch.places[pair] as usize];
            *d = if add_weights { *d + dw } else { dw };
        }
        let dxs = &*dxs;
        for_rows(dx, h, |r, dx| {
            if !add_x {
                dx.fill(0.0);
            }
            for pair in r * k..(r + 1) * k {
                axpy(1.0, &dxs[dispatch.places[pair] as usize * h..][..h], dx);
            }
        });
        *ctx.ints(self.dispatch) = ints;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Net, Probe, build};
    use crate::ops::router::{Gate, Router, Scoring, TopkMethod};

    fn net(residual: bool, join: bool) -> Net {
        let gate = Gate {
            scoring_func: Scoring::Sigmoid,
            topk_method: TopkMethod::NoauxTc,
            n_routed_experts: 6,
            num_experts_per_tok: 2,
            n_group: 1,
            topk_group: 1,
            norm_topk_prob: true,
            routed_scaling_factor: 1.5,
            aux_loss_alpha: 0.0,
        };
        let mut net = build(true, 10, |b, p| {
            let x = Probe::input(b, p, 10);
            let stream = residual.then(|| Probe::stream(b, p, 10));
            let weight = p.declare("mlp.gate.weight", &[6, 10]);
            let experts = (0..6)
                .map(|e| {
                    let mut declare = |name: &str, shape: &[usize]| {
                        let p_ = p.declare(format!("mlp.experts.{e}.{name}.weight"), shape);
                        p.mark_linear(p_);
                        p_
                    };
                    let (gate, up) = (declare("gate_proj", &[8, 10]), declare("up_proj", &[8, 10]));
                    let expert = Expert { gate, up, down: declare("down_proj", &[10, 8]) };
                    assert!(!join || p.join_linear(&[gate, up]));
                    expert
                })
                .collect();
            let routes = Router::push(b, p, x, weight, None, gate);
            Experts::push(b, p, x, routes, experts, stream)
        });
        net.spread("mlp.gate.weight", 0.5);
        net.spread("proj", 0.4);
        net
    }

    #[test]
    fn gradients() {
        for (residual, join) in [(false, false), (true, false), (true, true)] {
            let mut net = net(residual, join);
            net.check_gradients(2e-3);
            net.check_bits();
        }
    }

    /// Every token on its own, straight from the definition, in f64.
    #[test]
    fn equals_the_definition() {
        let mut net = net(true, true);
        let y = net.output();
        assert_eq!(y, self::net(true, false).output(), "joined or not");
        let value = |name: &str| -> Vec<f64> {
            net.params.get(net.params.find(name).unwrap()).iter().map(|&x| x as f64).collect()
        };
        let times = |w: &[f64], x: &[f64]| -> Vec<f64> {
            w.chunks(x.len()).map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
        };
        let (x, stream, router) = (value("check.input.0"), value("check.stream.1"), value("mlp.gate.weight"));
        for t in 0..10 {
            let x = &x[t * 10..][..10];
            let s: Vec<f64> = times(&router, x).iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
            let mut best: Vec<usize> = (0..6).collect();
            best.sort_by(|&a, &b| s[b].total_cmp(&s[a]));
            let sum = s[best[0]] + s[best[1]];
            let mut expected = stream[t * 10..][..10].to_vec();
            for &e in &best[..2] {
                let weight = |name: &str| value(&format!("mlp.experts.{e}.{name}.weight"));
                let (gate, up) = (times(&weight("gate_proj"), x), times(&weight("up_proj"), x));
                let h: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                let out = times(&weight("down_proj"), &h);
                expected.iter_mut().zip(out).for_each(|(y, o)| *y += 1.5 * s[e] / sum * o);
            }
            for (y, e) in y[t * 10..][..10].iter().zip(expected) {
                assert!((*y as f64 - e).abs() < 1e-5 * (1.0 + e.abs()), "{y} {e}");
            }
        }
    }
}
