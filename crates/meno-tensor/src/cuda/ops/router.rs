//! Router, the selection of experts and its balance loss: the equations of [`crate::ops::router`] (DeepSeek-V3, arXiv
//! 2412.19437, eqs. 12–20; DeepSeek-V2, arXiv 2405.04434, §2.2). Everything is f32.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::{Arg, Launch};
use crate::cuda::product::Product;
use crate::cuda::results::Kind;
use crate::ops::router::{Gate, Router, Scoring, TopkMethod};
use crate::precision::Precision;
use crate::tape::Dtype;

/// Returns the scoring as the kernels know it.
fn scoring(gate: &Gate) -> Arg {
    Arg::Int(match gate.scoring_func {
        Scoring::Sigmoid => 0,
        Scoring::Softmax => 1,
    })
}

/// Returns what selects groups, as the kernels know it: 0 for no groups, 1 for the sum of a group's two best, 2 for its
/// best.
fn group_rule(gate: &Gate) -> Arg {
    Arg::Int(match gate.topk_method {
        _ if gate.n_group <= gate.topk_group => 0,
        TopkMethod::Greedy => 0,
        TopkMethod::NoauxTc => 1,
        TopkMethod::GroupLimitedGreedy => 2,
    })
}

/// Returns the factor of the weights: V2 scales them only if it does not normalize them.
fn factor(gate: &Gate) -> f32 {
    match (gate.topk_method, gate.norm_topk_prob) {
        (TopkMethod::Greedy | TopkMethod::GroupLimitedGreedy, true) => 1.0,
        _ => gate.routed_scaling_factor,
    }
}

/// A launch of one warp per row that has `keys` 32-bit integers of shared memory per warp.
fn warps(rows: usize, keys: usize) -> Launch {
    let bytes = keys * size_of::<u32>();
    let warps = (48 * 1024 / bytes.max(1)).clamp(1, 4);
    Launch { shared: warps * bytes, ..Launch::blocks(rows.div_ceil(warps), 32 * warps as u32) }
}

/// What the balance loss of a pass needs: addresses on the card.
struct Balance {
    /// How often each sequence's tokens would choose each expert by affinity alone, `int[segments][experts]`.
    counts: u64,
    /// Σ f s / S and S of each row, `float2[rows]`.
    stats: u64,
    /// α · (sum of token weights) / tokens of each sequence.
    factors: u64,
}

/// Returns the factors of the balance losses of the batch's sequences; `None` if no loss is to be computed.
fn factors(gate: &Gate, ctx: &Ctx) -> Option<Vec<f32>> {
    if gate.aux_loss_alpha == 0.0 || ctx.batch.weights.len() < ctx.rows {
        return None;
    }
    let factor = |rows: &std::ops::Range<usize>| {
        let share: f32 = ctx.batch.weights[rows.clone()].iter().sum();
        gate.aux_loss_alpha * share / rows.len().max(1) as f32
    };
    Some(ctx.batch.segments.iter().map(|segment| factor(&segment.rows)).collect())
}

/// Computes the balance losses of all sequences (eqs. 17–20): α Σ_e f_e P_e, each weighted by its share of the token
/// weights. Returns what their gradients need.
fn balance(op: &Router, ctx: &mut Ctx) -> Result<Option<Balance>, Error> {
    let Some(factors) = factors(&op.gate, ctx) else { return Ok(None) };
    let (experts, top_k) = (op.gate.n_routed_experts, op.gate.num_experts_per_tok);
    let (rows, segments, factors) = (ctx.rows, factors.len(), ctx.constants(&factors)?);
    let counts = ctx.temporary(segments, experts, Dtype::F32)?; // 32-bit integers
    let stats = ctx.temporary(rows, 2, Dtype::F32)?;
    let (scores, losses) = (ctx.act(op.scores), ctx.results.add(Kind::Balance, segments)?);
    let (table, row_segments) = (ctx.on_card.segment_table(), ctx.on_card.row_segments());
    ctx.zero(counts, segments)?;
    let sizes = [rows.into(), experts.into(), top_k.into()];
    let [n, e, k] = sizes;
    let args = [counts.into(), scores.into(), row_segments.into(), n, e, k];
    ctx.launch("router_balance_counts", warps(rows, experts), args)?;
    let args = [stats.into(), scores.into(), counts.into(), table.into(), row_segments.into(), n, e, k];
    ctx.launch("router_balance_rows", warps(rows, 0), args)?;
    let args = [losses.into(), stats.into(), factors.into(), table.into()];
    ctx.launch("router_balance_loss", Launch::blocks(segments, 256), args)?;
    Ok(Some(Balance { counts: counts.at, stats: stats.at, factors }))
}

/// What a choice of experts reads and writes.
struct Choice<'a> {
    gate: &'a Gate,
    rows: usize,
    scoring: Arg,
    /// Logits, replaced by affinities, `float[rows][experts]`.
    scores: Arg,
    bias: Arg,
    chosen: Arg,
    weights: Arg,
    /// `int[experts]`, added to.
    load: Arg,
}

impl Choice<'_> {
    /// Returns the launch and its arguments.
    fn launch(&self) -> (Launch, [Arg; 14]) {
        let Choice { gate, rows, scoring, scores, bias, chosen, weights, load } = *self;
        let (experts, top_k, groups, kept) =
            (gate.n_routed_experts, gate.num_experts_per_tok, gate.n_group, gate.topk_group);
        let (groups, rule) = (groups.max(1), group_rule(gate));
        let sizes = [rows, experts].map(Arg::from);
        let limits = [top_k, groups, kept].map(Arg::from);
        let ([rows_, experts_], [top_k, groups_, kept]) = (sizes, limits);
        let (normalizes, scale) = (gate.norm_topk_prob.into(), factor(gate).into());
        let args = [
            chosen, weights, load, scores, bias, rows_, experts_, scoring, top_k, groups_, kept, rule, normalizes,
            scale,
        ];
        (warps(rows, experts + groups), args)
    }
}

impl Kernels for Router {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let experts = self.gate.n_routed_experts;
        let [x, scores, weights] = [self.x, self.scores, self.routes.weights].map(|act| ctx.act(act));
        let product = Product::forward(ctx, x, ctx.values(self.weight), scores);
        Product { precision: Precision::F32, ..product }.run(ctx)?;
        let load = ctx.results.add(Kind::ExpertLoad { layer: self.layer }, experts)?;
        ctx.zero(Tensor::new(load, Dtype::F32, experts), 1)?;
        let choice = Choice {
            gate: &self.gate,
            rows: ctx.rows,
            scoring: scoring(&self.gate),
            scores: scores.into(),
            bias: ctx.optional(self.bias).into(),
            chosen: ctx.ints(self.routes.chosen).into(),
            weights: weights.into(),
            load: load.into(),
        };
        let (launch, args) = choice.launch();
        ctx.launch("router_choose", launch, args)?;
        if !ctx.train {
            balance(self, ctx)?;
        }
        Ok(())
    }
    /// In training, the balance loss is counted here because forward may run twice.
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (rows, experts, top_k) = (ctx.rows, self.gate.n_routed_experts, self.gate.num_experts_per_tok);
        let balance = balance(self, ctx)?;
        let [stats, factors, counts] = balance.map_or([0; 3], |b| [b.stats, b.factors, b.counts]);
        let dlogits = ctx.temporary(rows, experts, Dtype::F32)?;
        let args = [
            dlogits.into(),
            ctx.act(self.scores).into(),
            ctx.grad(self.routes.weights).into(),
            ctx.ints(self.routes.chosen).into(),
            stats.into(),
            factors.into(),
            counts.into(),
            ctx.on_card.segment_table().into(),
            ctx.on_card.row_segments().into(),
            rows.into(),
            experts.into(),
            top_k.into(),
            scoring(&self.gate),
            self.gate.norm_topk_prob.into(),
            factor(&self.gate).into(),
        ];
        ctx.launch("router_backward", warps(rows, 0), args)?;
        let (x, weight, dweight) = (ctx.act(self.x), ctx.values(self.weight), ctx.param_grad(self.weight));
        let product = Product::weight_gradient(ctx, dlogits, x, dweight);
        Product { precision: Precision::F32, ..product }.run(ctx)?;
        let product = Product::input_gradient(ctx, dlogits, weight, ctx.give_grad(self.x));
        Product { precision: Precision::F32, ..product }.run(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::driver::Gpu;
    use crate::device::Device;
    use crate::ops::router::selections;

    /// Chooses on the first card; the affinities are given.
    fn choose(gate: Gate, s: &[f32], bias: Option<&[f32]>) -> (Vec<u32>, Vec<f32>) {
        let gpu = Gpu::open(0).expect("a card");
        let memory = |values: &[f32]| {
            let memory = gpu.zeroed(size_of_val(values), "a test").expect("memory");
            memory.write(0, values).expect("a copy");
            memory
        };
        let (scores, bias, load) = (memory(s), bias.map(memory), memory(&vec![0.0; s.len()]));
        let top_k = gate.num_experts_per_tok;
        let (chosen, weights) = (memory(&vec![0.0; top_k]), memory(&vec![0.0; top_k]));
        let (launch, mut args) = Choice {
            gate: &gate,
            rows: 1,
            scoring: Arg::Int(2),
            scores: scores.at().into(),
            bias: bias.as_ref().map_or(0, |bias| bias.at()).into(),
            chosen: chosen.at().into(),
            weights: weights.at().into(),
            load: load.at().into(),
        }
        .launch();
        gpu.launch("router_choose", launch, &mut args).expect("a launch");
        let (mut experts, mut values) = (vec![0u32; top_k], vec![0f32; top_k]);
        chosen.read(0, &mut experts).expect("a copy");
        weights.read(0, &mut values).expect("a copy");
        (experts, values)
    }

    #[test]
    fn selections_by_hand() {
        if Device::all().contains(&Device::Cuda(0)) {
            selections::check(choose);
        }
    }
}
