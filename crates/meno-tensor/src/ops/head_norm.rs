//! RMSNorm of every head on its own, all with one gain (the q_norm and k_norm of Qwen 3, arXiv 2505.09388 §2).

use super::View;
use super::rms_norm::{Norm, Rows, add_gain};
use super::rows::for_rows;
use crate::lanes;
use crate::tape::{Ctx, Io, Op};

/// y = RMSNorm(x) over each run of as many columns as the gain has.
pub struct HeadNorm {
    /// Input: a whole number of heads.
    pub x: View,
    /// Gain `[head]` and epsilon.
    pub norm: Norm,
    /// Output: as many columns.
    pub y: View,
}

impl Op for HeadNorm {
    fn name(&self) -> &'static str {
        "head_norm"
    }
    fn io(&self) -> Io {
        let (x, y) = (self.x.act, self.y.act);
        Io { reads: vec![x], writes: vec![y], saved: vec![x], grad_reads: vec![y], grad_writes: vec![x] }
    }
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
            heads.for_each(|(x, y)| lanes::rms_norm(gain, self.norm.eps, x, y));
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
                lanes::rms_norm_backward(gain, eps, x, dy, dx, add);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Probe, build};

    fn net(part: bool) -> crate::check::Net {
        build(true, 7, |b, p| {
            let x = Probe::input(b, p, 24);
            let q = p.declare("q_norm.weight", &[6]);
            let y = b.act(if part { 21 } else { 24 });
            let norm = |weight| Norm { weight, eps: 1e-5 };
            let whole = if part { 18 } else { 24 };
            let op = HeadNorm { x: View::cols(b, x, 0..whole), norm: norm(q), y: View::cols(b, y, 0..whole) };
            b.push(op);
            if part {
                let k = p.declare("k_norm.weight", &[3]);
                let op = HeadNorm { x: View::cols(b, x, 18..21), norm: norm(k), y: View::cols(b, y, 18..21) };
                b.push(op);
            }
            y
        })
    }

    #[test]
    fn gradients_and_bits() {
        for part in [false, true] {
            let mut net = net(part);
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }

    #[test]
    fn equals_the_norm_of_each_head() {
        let mut net = net(false);
        let get = |net: &crate::check::Net, name: &str| net.params.get(net.params.find(name).unwrap()).to_vec();
        let (x, gain) = (get(&net, "check.input.0"), get(&net, "q_norm.weight"));
        let y = net.output();
        for (x, y) in x.chunks(6).zip(y.chunks(6)) {
            let mean = x.iter().map(|x| x * x).sum::<f32>() / 6.0;
            for ((x, y), g) in x.iter().zip(y).zip(&gain) {
                assert!((y - g * x / (mean + 1e-5).sqrt()).abs() < 1e-5);
            }
        }
    }
}
