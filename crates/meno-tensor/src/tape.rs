//! The static tape: a network as a list of fused ops over planned memory.

use crate::batch::Batch;
use crate::buffer::Buffer;
use crate::gemm::Precision;
use crate::kv_cache::KvCache;
use crate::params::{Param, Params};
use crate::plan::{Node, Plan, Step, plan};
use std::ops::Range;

/// A handle to an activation: rows × columns of f32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Act(u32);

impl Act {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A handle to integers that an op keeps from forward to backward (routing decisions).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ints(u32);

/// What an op touches, for the memory plan.
#[derive(Clone, Debug, Default)]
pub struct Io {
    /// Activations that forward reads.
    pub reads: Vec<Act>,
    /// Activations that forward writes (an activation changed in place is in both).
    pub writes: Vec<Act>,
    /// Activations whose values backward reads.
    pub saved: Vec<Act>,
    /// Activations whose gradients backward reads (a gradient changed in place is here and in `grad_writes`).
    pub grad_reads: Vec<Act>,
    /// Activations whose gradients backward writes: added to where [`Ctx::adds`] says so, else overwritten.
    pub grad_writes: Vec<Act>,
}

/// One op of the tape: a forward and a backward over the memory of a [`Ctx`].
pub trait Op: Send + Sync {
    /// Its name in profiles.
    fn name(&self) -> &'static str;
    /// What it touches.
    fn io(&self) -> Io;
    /// How many f32 of scratch memory it wants for at most `rows` rows.
    fn scratch(&self, _rows: usize) -> usize {
        0
    }
    /// Floating-point operations of one forward over `rows` rows (a multiply-add counts two).
    fn flops(&self, _rows: usize) -> u64 {
        0
    }
    /// Computes the outputs.
    fn forward(&self, ctx: &mut Ctx);
    /// Computes the gradients of inputs and parameters.
    fn backward(&self, ctx: &mut Ctx);
}

/// The loss of one predicted token and its derivatives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenLoss {
    /// The token's part of the loss.
    pub loss: f32,
    /// d loss / d log-probability of the target.
    pub dlogprob: f32,
    /// d loss / d entropy of the predicted distribution. Ignored unless [`Objective::uses_entropy`].
    pub dentropy: f32,
}

/// What a loss head minimises, as a function of the log-probability of each target and of the entropy (in nats) of
/// the distribution that predicts it.
pub trait Objective: Sync {
    /// The loss of the target of `row`, given its log-probability and entropy at [`Objective::temperature`].
    fn token(&self, batch: &Batch, head: usize, row: usize, logprob: f32, entropy: f32) -> TokenLoss;
    /// Logits are divided by this before the softmax.
    fn temperature(&self) -> f32 {
        1.0
    }
    /// True if a token's loss depends on the entropy. Its gradient takes a second exponential of every logit.
    fn uses_entropy(&self) -> bool {
        false
    }
}

/// Weighted cross-entropy: the loss of a row is −weight · log p(target).
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// The factor of each head's loss: 1 for the next token, λ for the MTP module.
    pub head_scale: [f32; 2],
}

impl Objective for CrossEntropy {
    fn token(&self, batch: &Batch, head: usize, row: usize, logprob: f32, _entropy: f32) -> TokenLoss {
        let weight = batch.weights[row] * self.head_scale[head];
        TokenLoss { loss: -weight * logprob, dlogprob: -weight, dentropy: 0.0 }
    }
}

/// What a pass computed.
#[derive(Default)]
pub struct Outputs {
    /// Sum of the token losses of each head, then of the balance losses.
    pub loss: [f64; 3],
    /// For head 0: log-probability of every row's target (0 where there is none).
    pub logprobs: Vec<f32>,
    /// For head 0: entropy of every row's distribution, in nats (0 where there is no target).
    pub entropies: Vec<f32>,
    /// Logits of [`Batch::logit_rows`], `[rows, vocab]`.
    pub logits: Vec<f32>,
    /// Normed output of the last block for every row `[t, hidden]`, where the tape was built to tell it (inference).
    pub hidden: Vec<f32>,
    /// For every MoE layer: how many tokens each routed expert got.
    pub expert_load: Vec<Vec<u32>>,
}

/// Activations (or their gradients): disjoint slices of one planned block.
pub struct Slots<'a> {
    data: &'a mut [f32],
    places: &'a [Range<usize>],
    cols: &'a [usize],
    rows: usize,
}

impl Slots<'_> {
    /// The `[rows, cols]` values of each of `acts`, which must be different.
    pub fn get<const N: usize>(&mut self, acts: [Act; N]) -> [&mut [f32]; N] {
        let ranges = acts.map(|a| {
            let start = self.places[a.index()].start;
            start..start + self.cols[a.index()] * self.rows
        });
        self.data.get_disjoint_mut(ranges).expect("invariant: the plan keeps live activations apart")
    }
}

/// Gradients of the parameters, in the layout of [`Params::data`].
pub struct ParamGrads<'a> {
    params: &'a Params,
    data: &'a mut [f32],
}

impl ParamGrads<'_> {
    /// The gradient of each of `params`, to add to.
    pub fn get<const N: usize>(&mut self, params: [Param; N]) -> [&mut [f32]; N] {
        let ranges = params.map(|p| self.params.info(p).range());
        self.data.get_disjoint_mut(ranges).expect("invariant: parameters do not overlap")
    }
    /// The gradient of one parameter, to add to.
    pub fn one(&mut self, param: Param) -> &mut [f32] {
        &mut self.data[self.params.info(param).range()]
    }
    /// The gradient of weights that are joined ([`Params::join_linear`]), as of one matrix.
    pub fn joined(&mut self, weights: &[Param]) -> &mut [f32] {
        &mut self.data[self.params.joined_range(weights)]
    }
}

/// Everything an op computes on.
pub struct Ctx<'a> {
    /// The weights.
    pub params: &'a Params,
    /// The inputs.
    pub batch: &'a Batch,
    /// Rows of this batch.
    pub rows: usize,
    /// Input type of the GEMMs.
    pub precision: Precision,
    /// Whether a backward pass follows.
    pub train: bool,
    /// Activations.
    pub acts: Slots<'a>,
    /// Gradients of activations.
    pub grads: Slots<'a>,
    /// Gradients of parameters.
    pub param_grads: ParamGrads<'a>,
    /// Integers, by handle.
    pub ints: &'a mut [Vec<u32>],
    /// Keys and values of generated sequences (inference).
    pub cache: Option<&'a mut KvCache>,
    /// Scratch memory, at least as long as the op asked for; its content is arbitrary.
    pub scratch: &'a mut [f32],
    /// Results.
    pub out: &'a mut Outputs,
    /// What the loss heads minimise.
    pub objective: &'a dyn Objective,
    adds: &'a [Act],
}

impl Ctx<'_> {
    /// Whether this op must add to the gradient of `act` (another op wrote to it before) instead of overwriting it.
    pub fn adds(&self, act: Act) -> bool {
        self.adds.contains(&act)
    }
    /// The integers of a handle.
    pub fn ints(&mut self, ints: Ints) -> &mut Vec<u32> {
        &mut self.ints[ints.0 as usize]
    }
}

/// What a tape is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Most rows (tokens) of a batch.
    pub rows: usize,
    /// Whether there is a backward pass.
    pub train: bool,
    /// Whether blocks are recomputed in the backward pass instead of kept.
    pub recompute: bool,
}

/// Collects the ops of a network.
pub struct Builder {
    mode: Mode,
    cols: Vec<usize>,
    alias: Vec<usize>,
    ints: Vec<Vec<u32>>,
    ops: Vec<Box<dyn Op>>,
    nodes: Vec<Node>,
    block: Option<usize>,
    blocks: usize,
    routers: usize,
}

impl Builder {
    /// An empty tape.
    pub fn new(mode: Mode) -> Self {
        let (cols, alias, ints, ops, nodes) = (vec![], vec![], vec![], vec![], vec![]);
        Builder { mode, cols, alias, ints, ops, nodes, block: None, blocks: 0, routers: 0 }
    }
    /// What it is built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// A new activation of `cols` columns.
    pub fn act(&mut self, cols: usize) -> Act {
        self.cols.push(cols);
        self.alias.push(self.cols.len() - 1);
        Act(self.cols.len() as u32 - 1)
    }
    /// The next state of the residual stream of `x`: same shape, and their gradients are one (dL/dx starts as dL/dy).
    pub fn stream(&mut self, x: Act) -> Act {
        let y = self.act(self.cols[x.index()]);
        self.alias[y.index()] = self.alias[x.index()];
        y
    }
    /// Columns of an activation.
    pub fn cols(&self, x: Act) -> usize {
        self.cols[x.index()]
    }
    /// Integers that an op keeps, initially none.
    pub fn ints(&mut self) -> Ints {
        self.ints.push(Vec::new());
        Ints(self.ints.len() as u32 - 1)
    }
    /// The index of a new MoE layer in [`Outputs::expert_load`].
    pub fn router(&mut self) -> usize {
        self.routers += 1;
        self.routers - 1
    }
    /// Appends an op.
    pub fn push(&mut self, op: impl Op + 'static) {
        self.nodes.push(Node { io: op.io(), block: self.block });
        self.ops.push(Box::new(op));
    }
    /// What the ops of this name write (checks of ops).
    pub(crate) fn written_by(&self, name: &str) -> Vec<Act> {
        let ops = self.ops.iter().zip(&self.nodes).filter(|(op, _)| op.name() == name);
        ops.flat_map(|(_, node)| node.io.writes.iter().copied()).collect()
    }
    /// Appends the ops that `f` pushes as one block: the unit of activation recomputation.
    pub fn block<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        if self.mode.recompute && self.mode.train {
            self.block = Some(self.blocks);
            self.blocks += 1;
        }
        let result = f(self);
        self.block = None;
        result
    }
    /// Plans the memory and allocates it.
    pub fn finish(self) -> Tape {
        let Mode { rows, train, .. } = self.mode;
        let lens: Vec<usize> = self.cols.iter().map(|c| c * rows).collect();
        let plan = plan(&self.nodes, &lens, &self.alias, train);
        let scratch = self.ops.iter().map(|o| o.scratch(rows)).max().unwrap_or(0);
        let out = Outputs {
            logprobs: vec![0.0; rows],
            entropies: vec![0.0; rows],
            expert_load: vec![Vec::new(); self.routers],
            ..Outputs::default()
        };
        Tape {
            mode: self.mode,
            cols: self.cols,
            acts: Buffer::zeroed(plan.act_memory),
            grads: Buffer::zeroed(plan.grad_memory),
            scratch: Buffer::zeroed(scratch),
            ints: self.ints,
            ops: self.ops,
            plan,
            out,
            profile: None,
        }
    }
}

/// CPU seconds and calls of every op of a tape, forward and backward.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// By op: name, seconds forward (with recomputation), seconds backward.
    pub ops: Vec<(&'static str, f64, f64)>,
}

/// A planned network, ready to run.
pub struct Tape {
    mode: Mode,
    cols: Vec<usize>,
    ops: Vec<Box<dyn Op>>,
    plan: Plan,
    acts: Buffer,
    grads: Buffer,
    scratch: Buffer,
    ints: Vec<Vec<u32>>,
    out: Outputs,
    profile: Option<Profile>,
}

impl Tape {
    /// What it was built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What the last pass computed.
    pub fn out(&self) -> &Outputs {
        &self.out
    }

    /// Bytes of activations, gradients and scratch.
    pub fn bytes(&self) -> usize {
        (self.acts.len() + self.grads.len() + self.scratch.len()) * 4
    }

    /// Floating-point operations of one forward over `rows` rows.
    pub fn flops(&self, rows: usize) -> u64 {
        self.ops.iter().map(|o| o.flops(rows)).sum()
    }

    /// Starts (or restarts) measuring every op.
    pub fn start_profile(&mut self) {
        self.profile = Some(Profile { ops: self.ops.iter().map(|o| (o.name(), 0.0, 0.0)).collect() });
    }

    /// What was measured since [`Tape::start_profile`].
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// The values of an activation as the last pass left them (tests; only meaningful if the plan kept it).
    pub fn values(&self, act: Act, rows: usize) -> &[f32] {
        &self.acts[self.plan.forward[act.index()].clone()][..rows * self.cols[act.index()]]
    }

    /// Forward only: scoring (`objective` sees every target) and, with a cache, generation.
    pub fn forward(
        &mut self,
        params: &mut Params,
        precision: Precision,
        batch: &Batch,
        objective: &dyn Objective,
        cache: Option<&mut KvCache>,
    ) {
        self.run(params, precision, batch, objective, cache, &mut [], false);
    }

    /// Forward and backward; parameter gradients are added to `param_grads` (layout of [`Params::data`]).
    pub fn step(
        &mut self,
        params: &mut Params,
        precision: Precision,
        batch: &Batch,
        objective: &dyn Objective,
        param_grads: &mut [f32],
    ) {
        assert!(self.mode.train, "invariant: the tape was built for training");
        self.run(params, precision, batch, objective, None, param_grads, true);
    }

    #[allow(clippy::too_many_arguments)]
    fn run(
        &mut self,
        params: &mut Params,
        precision: Precision,
        batch: &Batch,
        objective: &dyn Objective,
        mut cache: Option<&mut KvCache>,
        param_grads: &mut [f32],
        train: bool,
    ) {
        assert!(batch.len() <= self.mode.rows, "invariant: {} rows fit {}", batch.len(), self.mode.rows);
        params.prepare(precision);
        let params = &*params;
        if let Some(cache) = cache.as_deref_mut() {
            cache.make_room(batch);
        }
        self.out.loss = [0.0; 3];
        let rows = batch.len();
        for &step in &self.plan.schedule {
            let (i, forward) = match step {
                Step::Forward(i) => (i, true),
                _ if !train => break,
                Step::Recompute(i) => (i, true),
                Step::Backward(i) => (i, false),
            };
            let places = if matches!(step, Step::Forward(_)) { &self.plan.forward } else { &self.plan.backward };
            let mut ctx = Ctx {
                params,
                batch,
                rows,
                precision,
                train,
                acts: Slots { data: &mut self.acts, places, cols: &self.cols, rows },
                grads: Slots { data: &mut self.grads, places: &self.plan.grads, cols: &self.cols, rows },
                param_grads: ParamGrads { params, data: param_grads },
                ints: &mut self.ints,
                cache: cache.as_deref_mut(),
                scratch: &mut self.scratch,
                out: &mut self.out,
                objective,
                adds: &self.plan.adds[i],
            };
            let start = self.profile.is_some().then(cpu_seconds);
            if forward {
                self.ops[i].forward(&mut ctx);
            } else {
                self.ops[i].backward(&mut ctx);
            }
            if let (Some(start), Some(profile)) = (start, &mut self.profile) {
                let spent = cpu_seconds() - start;
                let entry = &mut profile.ops[i];
                if forward { entry.1 += spent } else { entry.2 += spent }
            }
        }
    }
}

/// CPU seconds of this process so far: what a shared machine cannot distort as it does wall time.
pub fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}
