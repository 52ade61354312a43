//! Router, the selection of experts and its balance loss: the equations of [`crate::ops::router`] (DeepSeek-V3, arXiv
//! 2412.19437, eqs. 12–20; DeepSeek-V2, arXiv 2405.04434, §2.2).
//!
//! Affinities are stored and compared in f32, as on every device, so that all devices agree on ties.

use super::Kernels;
use crate::ops::router::{Gate, Router, Scoring, TopkMethod};
use crate::precision::Precision;
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, product, sigmoid, stored, wide};

/// Converts the logits of a token to affinities.
fn affinities(gate: &Gate, logits: &[f64]) -> Vec<f64> {
    // The logits are f32, like everything that is stored.
    let logits = wide(&stored(logits));
    match gate.scoring_func {
        Scoring::Sigmoid => logits.into_iter().map(sigmoid).collect(),
        Scoring::Softmax => {
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let exps: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
            let sum: f64 = exps.iter().sum();
            exps.iter().map(|e| e / sum).collect()
        }
    }
}

/// Returns the factor of the weights: V2 scales them only if it does not normalize them.
fn factor(gate: &Gate) -> f64 {
    match (gate.topk_method, gate.norm_topk_prob) {
        (TopkMethod::Greedy | TopkMethod::GroupLimitedGreedy, true) => 1.0,
        _ => gate.routed_scaling_factor as f64,
    }
}

/// Returns the indices of the `k` largest values, largest first, ties by lower index. A NaN counts as −∞.
fn top_k(values: &[f32], k: usize) -> Vec<u32> {
    let value = |i: usize| if values[i].is_nan() { f32::NEG_INFINITY } else { values[i] };
    let mut order: Vec<usize> = (0..values.len()).collect();
    // `partial_cmp` treats −0 and 0 as equal, and the sort is stable.
    order.sort_by(|&a, &b| value(b).partial_cmp(&value(a)).expect("invariant: no NaN is left"));
    order[..k].iter().map(|&i| i as u32).collect()
}

/// Returns the score that selects groups: in V3 the sum of a group's two best, in V2 its best.
fn group_score(gate: &Gate, group: &[f32]) -> f32 {
    let best = top_k(group, group.len().min(2));
    match (gate.topk_method, &best[..]) {
        (TopkMethod::NoauxTc, &[first, second]) => group[first as usize] + group[second as usize],
        _ => group[best[0] as usize],
    }
}

/// Returns the experts of a token with affinities `s`, best first.
fn select(gate: &Gate, s: &[f32], bias: Option<&[f32]>) -> Vec<u32> {
    let mut choice = s.to_vec();
    if let Some(bias) = bias {
        choice.iter_mut().zip(bias).for_each(|(c, b)| *c += b);
    }
    if gate.topk_method != TopkMethod::Greedy && gate.n_group > gate.topk_group {
        let size = s.len() / gate.n_group;
        let scores: Vec<f32> = choice.chunks_exact(size).map(|group| group_score(gate, group)).collect();
        let kept = top_k(&scores, gate.topk_group);
        for (g, group) in choice.chunks_exact_mut(size).enumerate() {
            if !kept.contains(&(g as u32)) {
                group.fill(f32::NEG_INFINITY);
            }
        }
    }
    top_k(&choice, gate.num_experts_per_tok)
}

/// Returns the divisor of the weights of the chosen experts.
fn divisor(gate: &Gate, s: &[f32], chosen: &[u32]) -> f64 {
    if gate.norm_topk_prob { chosen.iter().map(|&e| s[e as usize] as f64).sum::<f64>() + 1e-20 } else { 1.0 }
}

/// Returns the weights of the chosen experts from their affinities.
fn weigh(gate: &Gate, s: &[f32], chosen: &[u32]) -> Vec<f64> {
    let divisor = divisor(gate, s, chosen);
    chosen.iter().map(|&e| s[e as usize] as f64 / divisor * factor(gate)).collect()
}

/// The balance losses of all sequences (eqs. 17–20), each weighted by its share of the token weights: α Σ_e f_e P_e,
/// f_e = E / (k T) · how often e is chosen, P_e = mean of s_e / S, S = Σ_e s_e. Returns the gradients with respect to
/// the affinities: α/T · (f_e − Σ f s / S) / S.
fn balance(op: &Router, ctx: &mut Ctx, scores: &[f32]) -> Vec<f64> {
    let (e, k, alpha) = (op.gate.n_routed_experts, op.gate.num_experts_per_tok, op.gate.aux_loss_alpha as f64);
    let mut ds = vec![0.0; scores.len()];
    if alpha == 0.0 || ctx.batch.weights.len() < ctx.rows {
        return ds;
    }
    for segment in &ctx.batch.segments {
        let share: f64 = ctx.batch.weights[segment.rows.clone()].iter().map(|&w| w as f64).sum();
        let t = segment.rows.len() as f64;
        let mut f = vec![0.0; e];
        for row in segment.rows.clone() {
            let chosen = top_k(&scores[row * e..][..e], k);
            chosen.iter().for_each(|&c| f[c as usize] += e as f64 / (k as f64 * t));
        }
        for row in segment.rows.clone() {
            let s = wide(&scores[row * e..][..e]);
            let sum: f64 = s.iter().sum();
            let mean = f.iter().zip(&s).map(|(f, s)| f * s).sum::<f64>() / sum;
            let c = alpha * share / t;
            ctx.out.losses.balance += c * mean;
            ds[row * e..][..e].iter_mut().zip(&f).for_each(|(d, f)| *d = c * (f - mean) / sum);
        }
    }
    ds
}

/// Adds the part of d loss / d affinity that comes from the weights, and converts the sum to d loss / d logit.
fn backward_row(gate: &Gate, s: &[f32], dweights: &[f32], chosen: &[u32], ds: &mut [f64]) {
    let divisor = divisor(gate, s, chosen);
    let weighted: f64 = chosen.iter().zip(dweights).map(|(&c, &d)| s[c as usize] as f64 * d as f64).sum();
    let mean = if gate.norm_topk_prob { weighted / divisor } else { 0.0 };
    for (&c, &d) in chosen.iter().zip(dweights) {
        ds[c as usize] += factor(gate) * (d as f64 - mean) / divisor;
    }
    let s = wide(s);
    match gate.scoring_func {
        Scoring::Sigmoid => ds.iter_mut().zip(&s).for_each(|(d, s)| *d *= s * (1.0 - s)),
        Scoring::Softmax => {
            let mean: f64 = ds.iter().zip(&s).map(|(d, s)| d * s).sum();
            ds.iter_mut().zip(&s).for_each(|(d, s)| *d = s * (*d - mean));
        }
    }
}

impl Kernels for Router {
    fn forward(&self, ctx: &mut Ctx) {
        let e = self.gate.n_routed_experts;
        let (x, weight) = (ctx.value(self.x), ctx.weights.get(self.weight));
        let (x, weight) = (Mat::new(&x, ctx.rows, self.hidden), Mat::new(&weight, e, self.hidden));
        let logits = product(Precision::F32, x, weight.t());
        let scores: Vec<f64> = logits.chunks_exact(e).flat_map(|z| affinities(&self.gate, z)).collect();
        ctx.set(self.scores, &scores);
        let (scores, bias) = (stored(&scores), self.bias.map(|bias| ctx.weights.get(bias)));
        let (mut all, mut weights, mut load) = (Vec::new(), Vec::new(), vec![0; e]);
        for s in scores.chunks_exact(e) {
            let chosen = select(&self.gate, s, bias.as_deref());
            weights.extend(weigh(&self.gate, s, &chosen));
            chosen.iter().for_each(|&c| load[c as usize] += 1);
            all.extend(chosen);
        }
        ctx.set(self.routes.weights, &weights);
        ctx.set_ints(self.routes.chosen, all);
        ctx.out.expert_load[self.layer] = load;
        if !ctx.train {
            balance(self, ctx, &scores);
        }
    }
    /// In training, the balance loss is counted here because forward may run twice.
    fn backward(&self, ctx: &mut Ctx) {
        let (e, k) = (self.gate.n_routed_experts, self.gate.num_experts_per_tok);
        let (x, scores, weight) = (ctx.value(self.x), ctx.value(self.scores), ctx.weights.get(self.weight));
        let (chosen, dweights) = (ctx.ints(self.routes.chosen), ctx.grad(self.routes.weights));
        let mut ds = balance(self, ctx, &scores);
        for (row, ds) in ds.chunks_exact_mut(e).enumerate() {
            let (s, d) = (&scores[row * e..][..e], &dweights[row * k..][..k]);
            backward_row(&self.gate, s, d, &chosen[row * k..][..k], ds);
        }
        let dlogits = stored(&ds);
        let dlogits = Mat::new(&dlogits, ctx.rows, e);
        let dweight = product(Precision::F32, dlogits.t(), Mat::new(&x, ctx.rows, self.hidden));
        let dx = product(Precision::F32, dlogits, Mat::new(&weight, e, self.hidden));
        ctx.give_param_grad(self.weight, &dweight);
        ctx.give_grad(self.x, &dx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::router::selections;

    #[test]
    fn selections_by_hand() {
        selections::check(|gate, s, bias| {
            let chosen = select(&gate, s, bias);
            let weights = stored(&weigh(&gate, s, &chosen));
            (chosen, weights)
        });
    }
}
