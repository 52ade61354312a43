//! Experts, y = (silu(x · W_gateᵀ) ⊙ x · W_upᵀ) · W_downᵀ for the rows of each expert: the equations of
//! [`crate::ops::experts`], with its convention for the gradients.

use super::Kernels;
use super::dispatch::Order;
use crate::ops::experts::Experts;
use crate::precision::Precision;
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, add, dot, product, stored, swiglu, swiglu_backward};
use crate::tape::Param;

/// Returns x · pᵀ for the rows of a weight `[outputs, inputs]`.
fn multiply(ctx: &Ctx, p: Param, x: Mat, [outputs, inputs]: [usize; 2]) -> Vec<f64> {
    let precision: Precision = ctx.weights.precision(p, ctx.precision);
    product(precision, x, Mat::new(&ctx.weights.get(p), outputs, inputs).t())
}

/// Returns rows `[a | b]` from rows of a and rows of b, each `width` wide.
fn side_by_side(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    a.chunks_exact(width).zip(b.chunks_exact(width)).flat_map(|(a, b)| [a, b].concat()).collect()
}

/// Returns every row times its weight, rounded as stored.
fn weighted(x: &[f32], weights: &[f32]) -> Vec<f32> {
    let width = x.len() / weights.len();
    x.chunks_exact(width)
        .zip(weights)
        .flat_map(|(x, &w)| x.iter().map(move |&x| (x as f64 * w as f64) as f32))
        .collect()
}

impl Kernels for Experts {
    fn forward(&self, ctx: &mut Ctx) {
        let (h, w) = (self.sorted.hidden, self.width);
        let order = Order::read(ctx, &self.sorted);
        let rows = ctx.value(self.sorted.rows);
        let (mut y, mut gate_up) = (Vec::new(), Vec::new());
        for (e, expert) in self.experts.iter().enumerate() {
            let range = order.range(e);
            let x = Mat::new(&rows[range.start * h..range.end * h], range.len(), h);
            let [gate, up] = [expert.gate, expert.up].map(|p| multiply(ctx, p, x, [w, h]));
            let both = side_by_side(&gate, &up, w);
            let hs = swiglu(&stored(&both), w);
            y.extend(multiply(ctx, expert.down, Mat::new(&hs, range.len(), w), [h, w]));
            gate_up.extend(both);
        }
        ctx.set(self.gate_up, &gate_up);
        ctx.set(self.y, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (h, w, precision) = (self.sorted.hidden, self.width, ctx.precision);
        let order = Order::read(ctx, &self.sorted);
        let (rows, weights) = (ctx.value(self.sorted.rows), ctx.value(self.sorted.weights));
        let (gate_up, dy) = (ctx.value(self.gate_up), ctx.grad(self.y));
        let (mut drows, mut dweights) = (Vec::new(), Vec::new());
        for (e, expert) in self.experts.iter().enumerate() {
            let range = order.range(e);
            let (n, weights) = (range.len(), &weights[range.clone()]);
            if n == 0 {
                continue;
            }
            let of = |x| Mat::new(x, n, h);
            let (x, dy) = (of(&rows[range.start * h..range.end * h]), of(&dy[range.start * h..range.end * h]));
            let gate_up = &gate_up[range.start * 2 * w..range.end * 2 * w];
            let hs = swiglu(gate_up, w);
            let dhs = stored(&product(precision, dy, Mat::new(&ctx.weights.get(expert.down), h, w)));
            // dL/dw = (dy · W_down) · h, before h and dh are multiplied by the weight.
            dweights.extend(hs.chunks_exact(w).zip(dhs.chunks_exact(w)).map(|(h, dh)| dot(h, dh)));
            let (hs, dhs) = (weighted(&hs, weights), weighted(&dhs, weights));
            ctx.give_param_grad(expert.down, &product(precision, dy.t(), Mat::new(&hs, n, w)));
            let d = stored(&swiglu_backward(gate_up, &dhs, w));
            let mut dx = vec![0.0; n * h];
            for (i, p) in [expert.gate, expert.up].into_iter().enumerate() {
                let d = Mat::new(&d, n, 2 * w).columns(i * w..(i + 1) * w);
                add(&mut dx, &product(precision, d, Mat::new(&ctx.weights.get(p), w, h)));
                ctx.give_param_grad(p, &product(precision, d.t(), x));
            }
            drows.extend(dx);
        }
        ctx.give_grad(self.sorted.rows, &drows);
        ctx.give_grad(self.sorted.weights, &dweights);
    }
}
