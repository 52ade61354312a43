//! The router. Everything is f32. Unselected groups are masked with −∞, ties go to the lower index.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels::{self, axpy, dot};
use crate::ops::router::{Gate, Router, Scoring, TopkMethod};
use crate::precision::Precision;
use crate::tape::Segment;
use std::ops::Range;

impl Gate {
    fn normalizes(&self) -> bool {
        self.norm_topk_prob
    }
    /// Returns the factor applied to the weights.
    fn scale(&self) -> f32 {
        match self.topk_method {
            TopkMethod::NoauxTc => self.routed_scaling_factor,
            _ if self.norm_topk_prob => 1.0,
            _ => self.routed_scaling_factor,
        }
    }

    /// Converts logits to affinities, in place.
    fn score_row(&self, s: &mut [f32]) {
        match self.scoring_func {
            Scoring::Sigmoid => row_kernels::sigmoid_row(s),
            Scoring::Softmax => {
                let [sum, _] = row_kernels::exp_in_place(s, 1.0, row_kernels::max(s));
                s.iter_mut().for_each(|s| *s /= sum);
            }
        }
    }

    /// Selects the experts of a token with affinities `s`, best first, into `chosen`. `choice` is scratch, one value
    /// per expert.
    fn select(&self, s: &[f32], bias: Option<&[f32]>, choice: &mut [f32], chosen: &mut [u32]) {
        choice.copy_from_slice(s);
        if let Some(bias) = bias {
            axpy(1.0, bias, choice);
        }
        if self.topk_method != TopkMethod::Greedy && self.n_group > self.topk_group {
            self.mask_groups(choice);
        }
        let best = top_k(choice, chosen.len());
        chosen.iter_mut().zip(best).for_each(|(slot, expert)| *slot = expert as u32);
    }

    /// Writes −∞ for every expert outside the `topk_group` best groups.
    fn mask_groups(&self, choice: &mut [f32]) {
        let size = choice.len() / self.n_group;
        let score = |group: &[f32]| {
            let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
            for &c in group {
                if c > first {
                    (first, second) = (c, first);
                } else if c > second {
                    second = c;
                }
            }
            match self.topk_method {
                TopkMethod::NoauxTc if size > 1 => first + second,
                _ => first,
            }
        };
        // A group is kept unless topk_group others beat it (with equal scores, earlier groups win).
        let mut drop = 0u64;
        for g in 0..self.n_group {
            let own = score(&choice[g * size..][..size]);
            let better = (0..self.n_group).filter(|&o| {
                let other = score(&choice[o * size..][..size]);
                other > own || (other == own && o < g)
            });
            if better.count() >= self.topk_group {
                drop |= 1 << g;
            }
        }
        for g in (0..self.n_group).filter(|g| drop >> g & 1 == 1) {
            choice[g * size..][..size].fill(f32::NEG_INFINITY);
        }
    }

    /// Computes the weights of the chosen experts from their affinities; returns the divisor used.
    fn weigh(&self, s: &[f32], chosen: &[u32], weights: &mut [f32]) -> f32 {
        let mut sum = 0.0;
        for (w, &e) in weights.iter_mut().zip(chosen) {
            *w = s[e as usize];
            sum += *w;
        }
        let divisor = if self.normalizes() { sum + 1e-20 } else { 1.0 };
        weights.iter_mut().for_each(|w| *w = *w / divisor * self.scale());
        divisor
    }
}

impl Router {
    /// `ds` holds d loss / d affinity from other sources. Adds the part that comes from the weights, then converts it
    /// to d logit.
    fn backward_row(&self, s: &[f32], dw: &[f32], chosen: &[u32], ds: &mut [f32]) {
        let scale = self.gate.scale();
        let sum: f32 = chosen.iter().map(|&c| s[c as usize]).sum();
        let (divisor, mean) = if self.gate.normalizes() {
            let divisor = sum + 1e-20;
            let weighted: f32 = chosen.iter().zip(dw).map(|(&c, d)| s[c as usize] * d).sum();
            (divisor, weighted / divisor)
        } else {
            (1.0, 0.0)
        };
        for (&c, d) in chosen.iter().zip(dw) {
            ds[c as usize] += scale * (d - mean) / divisor;
        }
        match self.gate.scoring_func {
            Scoring::Sigmoid => ds.iter_mut().zip(s).for_each(|(d, s)| *d *= s * (1.0 - s)),
            Scoring::Softmax => {
                let mean = dot(ds, s);
                ds.iter_mut().zip(s).for_each(|(d, s)| *d = s * (*d - mean));
            }
        }
    }
}

/// Returns the indices of the `k` largest values, largest first, ties by lower index, no index twice. A NaN counts as
/// −∞: later results are NaN too, and the loss reports it. `values` is destroyed.
fn top_k(values: &mut [f32], k: usize) -> impl Iterator<Item = usize> {
    values.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f32::NEG_INFINITY);
    (0..k).map(move |_| {
        let mut best = 0;
        for (i, &v) in values.iter().enumerate() {
            // NaN marks values already taken; −∞ can still be chosen if nothing else is left.
            if v > values[best] || values[best].is_nan() {
                best = i;
            }
        }
        values[best] = f32::NAN;
        best
    })
}

impl Router {
    /// The balance loss of one sequence (eqs. 17–20): α Σ f_e P_e. Leaves f_e in `f`; `rank` is scratch.
    fn balance(&self, scores: &[f32], f: &mut [f32], rank: &mut [f32]) -> f64 {
        let (e, k) = (self.gate.n_routed_experts, self.gate.num_experts_per_tok);
        let t = scores.len() / e;
        f.fill(0.0);
        let mut loss = 0.0;
        for s in scores.chunks_exact(e) {
            rank.copy_from_slice(s);
            top_k(rank, k).for_each(|expert| f[expert] += 1.0);
        }
        f.iter_mut().for_each(|f| *f *= e as f32 / (k * t) as f32);
        for s in scores.chunks_exact(e) {
            loss += (dot(f, s) / s.iter().sum::<f32>()) as f64;
        }
        loss * self.gate.aux_loss_alpha as f64 / t as f64
    }

    /// Returns the sum of the balance losses of all sequences, each weighted by its share of the token weights. Adds
    /// their gradients to `ds` if given.
    fn balance_all(&self, ctx: &mut Ctx, mut ds: Option<&mut [f32]>, scratch: &mut [f32]) {
        let alpha = self.gate.aux_loss_alpha;
        if alpha == 0.0 || ctx.batch.weights.len() < ctx.rows {
            return;
        }
        let e = self.gate.n_routed_experts;
        let [scores] = ctx.acts.get([self.scores]);
        let (f, rank) = scratch[..2 * e].split_at_mut(e);
        for Segment { rows, .. } in &ctx.batch.segments {
            let share: f32 = ctx.batch.weights[rows.clone()].iter().sum();
            if share == 0.0 {
                continue;
            }
            let Range { start, end } = *rows;
            let scores = &scores[start * e..end * e];
            let loss = self.balance(scores, f, rank);
            ctx.out.losses.balance += loss * share as f64;
            let Some(ds) = ds.as_deref_mut() else { continue };
            // d/ds of α/T · Σ_e f_e s_e / S, with S = Σ_e s_e
            let c = alpha * share / rows.len() as f32;
            for (s, ds) in scores.chunks_exact(e).zip(ds[start * e..end * e].chunks_exact_mut(e)) {
                let sum: f32 = s.iter().sum();
                let mean = dot(f, s) / sum;
                ds.iter_mut().zip(&*f).for_each(|(d, f)| *d += c * (f - mean) / sum);
            }
        }
    }
}

impl Kernels for Router {
    fn scratch(&self, rows: usize) -> usize {
        (rows + 2) * self.gate.n_routed_experts
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, e, k) = (ctx.rows, self.gate.n_routed_experts, self.gate.num_experts_per_tok);
        let mut ints = std::mem::take(ctx.ints.get(self.routes.chosen));
        let chosen = ints.reset(t * k);
        let [x, scores, weights] = ctx.acts.get([self.x, self.scores, self.routes.weights]);
        let weight = Rhs::Mat(ctx.params.matrix(self.weight).t());
        gemm(Precision::F32, 1.0, Mat::new(x, t, self.hidden), weight, false, MatMut::new(scores, t, e));
        for_rows(scores, e, |_, s| self.gate.score_row(s));
        let bias = self.bias.map(|b| ctx.params.get(b));
        let choice = &mut ctx.scratch[..e];
        let load = &mut ctx.out.expert_load[self.layer];
        load.clear();
        load.resize(e, 0);
        for ((s, chosen), weights) in
            scores.chunks_exact(e).zip(chosen.chunks_exact_mut(k)).zip(weights.chunks_exact_mut(k))
        {
            self.gate.select(s, bias, choice, chosen);
            self.gate.weigh(s, chosen, weights);
            chosen.iter().for_each(|&c| load[c as usize] += 1);
        }
        *ctx.ints.get(self.routes.chosen) = ints;
        if !ctx.train {
            let scratch = std::mem::take(&mut ctx.scratch);
            self.balance_all(ctx, None, scratch);
            ctx.scratch = scratch;
        }
    }
    /// In training, the balance loss is counted here because forward may run twice.
    fn backward(&self, ctx: &mut Ctx) {
        let (t, e, k) = (ctx.rows, self.gate.n_routed_experts, self.gate.num_experts_per_tok);
        let add = ctx.adds(self.x);
        let scratch = std::mem::take(&mut ctx.scratch);
        let (ds, rest) = scratch.split_at_mut(t * e);
        ds.fill(0.0);
        self.balance_all(ctx, Some(ds), rest);
        let chosen = ctx.ints.get(self.routes.chosen).get();
        let [x, scores] = ctx.acts.get([self.x, self.scores]);
        let [dx, dweights] = ctx.grads.get([self.x, self.routes.weights]);
        let (scores, dweights) = (&*scores, &*dweights);
        for_rows(ds, e, |r, ds| {
            let (s, dw, chosen) = (&scores[r * e..][..e], &dweights[r * k..][..k], &chosen[r * k..][..k]);
            self.backward_row(s, dw, chosen, ds);
        });
        let (dlogits, x) = (Mat::new(ds, t, e), Mat::new(x, t, self.hidden));
        let [dweight] = ctx.param_grads.get([self.weight]);
        gemm(Precision::F32, 1.0, dlogits.t(), Rhs::Mat(x), true, MatMut::new(dweight, e, self.hidden));
        let weight = Rhs::Mat(ctx.params.matrix(self.weight));
        gemm(Precision::F32, 1.0, dlogits, weight, add, MatMut::new(dx, t, self.hidden));
        ctx.scratch = scratch;
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::router::selections;

    #[test]
    fn selections_by_hand() {
        selections::check(|gate, s, bias| {
            let (mut choice, mut chosen, mut weights) = (vec![0.0; s.len()], vec![0; 3], vec![0.0; 3]);
            gate.select(s, bias, &mut choice, &mut chosen);
            gate.weigh(s, &chosen, &mut weights);
            (chosen, weights)
        });
    }
}
