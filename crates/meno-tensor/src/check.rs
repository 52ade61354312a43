//! Checks of ops: gradients against finite differences, bits against other batches and thread counts.
//!
//! A small network is built around the op: its inputs are parameters ([`Probe::input`]), its output is weighted by
//! fixed random numbers into one loss, and the tape runs it as it runs anything else.

use crate::batch::Batch;
use crate::gemm::Precision;
use crate::params::{Param, Params};
use crate::pool;
use crate::rng::Rng;
use crate::tape::{Act, Builder, Ctx, Io, Mode, Objective, Op, Tape, TokenLoss};

/// Token ids of test batches are below this.
pub const VOCAB: usize = 23;

/// A network under test.
pub struct Net {
    /// Its parameters, the inputs among them, with random values.
    pub params: Params,
    /// Its tape.
    pub tape: Tape,
    /// Three sequences of random tokens with targets and weights.
    pub batch: Batch,
    /// Temperature of the objective.
    pub temperature: f32,
    /// The weight of the entropy in the objective.
    pub entropy: f32,
    /// How far finite differences step: small enough that no routing decision flips.
    pub h: f32,
    inputs: Vec<Param>,
    output: Option<Act>,
    /// The same network with further consumers of its inputs, so that the op must add to their gradients.
    tapped: Option<Box<Net>>,
}

/// Inputs and outputs of a network under test.
pub struct Probe;

const INPUT: &str = "check.input";
const STREAM: &str = "check.stream";

impl Probe {
    /// An activation of `cols` columns whose values are a parameter.
    pub fn input(b: &mut Builder, params: &mut Params, cols: usize) -> Act {
        Self::declare(b, params, cols, INPUT)
    }
    /// As [`Probe::input`], for an activation that the op continues with `Builder::stream`.
    pub fn stream(b: &mut Builder, params: &mut Params, cols: usize) -> Act {
        Self::declare(b, params, cols, STREAM)
    }
    fn declare(b: &mut Builder, params: &mut Params, cols: usize, name: &'static str) -> Act {
        let rows = b.mode().rows;
        let act = b.act(cols);
        let value = params.declare(format!("{name}.{}", params.iter().count()), &[rows, cols]);
        b.push(Input { value, act, name });
        act
    }
}

/// A parameter as an activation.
struct Input {
    value: Param,
    act: Act,
    /// [`INPUT`] or [`STREAM`].
    name: &'static str,
}

impl Op for Input {
    fn name(&self) -> &'static str {
        self.name
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.act], grad_reads: vec![self.act], ..Io::default() }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.act]);
        x.copy_from_slice(&ctx.params.get(self.value)[..x.len()]);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let [dx] = ctx.grads.get([self.act]);
        let [dvalue] = ctx.param_grads.get([self.value]);
        dvalue.iter_mut().zip(dx).for_each(|(g, d)| *g += *d);
    }
}

/// Loss: Σ c·x with fixed random c.
struct WeightedSum {
    x: Act,
    seed: u64,
}

impl WeightedSum {
    fn coefficients(&self) -> impl Iterator<Item = f32> {
        let mut rng = Rng::new(&[self.seed, 77]);
        std::iter::from_fn(move || Some(rng.normal()))
    }
}

impl Op for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], grad_writes: vec![self.x], ..Io::default() }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.x]);
        ctx.out.loss[0] += x.iter().zip(self.coefficients()).map(|(x, c)| *x as f64 * c as f64).sum::<f64>();
    }
    fn backward(&self, ctx: &mut Ctx) {
        let add = ctx.adds(self.x);
        let [dx] = ctx.grads.get([self.x]);
        for (d, c) in dx.iter_mut().zip(self.coefficients()) {
            *d = if add { *d + c } else { c };
        }
    }
}

/// A smooth function of log-probability and entropy that is not linear.
struct Curved {
    temperature: f32,
    entropy: f32,
}

impl Objective for Curved {
    fn token(&self, batch: &Batch, head: usize, row: usize, logprob: f32, entropy: f32) -> TokenLoss {
        let w = batch.weights[row] * (1.0 + head as f32);
        let e = w * self.entropy;
        TokenLoss {
            loss: w * (0.1 * logprob * logprob - logprob) + e * (entropy - 0.2 * entropy * entropy),
            dlogprob: w * (0.2 * logprob - 1.0),
            dentropy: e * (1.0 - 0.4 * entropy),
        }
    }
    fn temperature(&self) -> f32 {
        self.temperature
    }
    fn uses_entropy(&self) -> bool {
        self.entropy != 0.0
    }
}

/// A network of one op (or a few) over `rows` rows whose output `f` returns.
pub fn build(train: bool, rows: usize, f: impl Fn(&mut Builder, &mut Params) -> Act) -> Net {
    let mode = Mode { rows, train, recompute: false };
    let tapped = assemble(mode, true, |b, p| Some(f(b, p)));
    Net { tapped: Some(Box::new(tapped)), ..assemble(mode, false, |b, p| Some(f(b, p))) }
}

/// A network of ops that make their own loss.
pub fn build_loss(train: bool, rows: usize, f: impl Fn(&mut Builder, &mut Params)) -> Net {
    let mode = Mode { rows, train, recompute: false };
    Net { tapped: Some(Box::new(build_mode(mode, true, &f))), ..build_mode(mode, false, &f) }
}

/// As [`build_loss`], for a given mode; with further consumers of its inputs if `tap`.
pub fn build_mode(mode: Mode, tap: bool, f: impl Fn(&mut Builder, &mut Params)) -> Net {
    assemble(mode, tap, |b, p| {
        f(b, p);
        None
    })
}

fn assemble(mode: Mode, tap: bool, f: impl Fn(&mut Builder, &mut Params) -> Option<Act>) -> Net {
    let Mode { rows, train, .. } = mode;
    let mut params = Params::default();
    let mut b = Builder::new(mode);
    let output = f(&mut b, &mut params);
    if let Some(x) = output {
        b.push(WeightedSum { x, seed: 1 });
    }
    let inputs: Vec<Param> = params.iter().filter(|(_, i)| i.name.starts_with("check.")).map(|(p, _)| p).collect();
    if tap && train {
        for (i, act) in b.written_by(INPUT).into_iter().enumerate() {
            b.push(WeightedSum { x: act, seed: 2 + i as u64 });
        }
    }
    params.allocate();
    let mut rng = Rng::new(&[rows as u64, 5]);
    let names: Vec<(Param, bool)> = params.iter().map(|(p, i)| (p, i.name.contains("norm"))).collect();
    for (p, gain) in names {
        params.get_mut(p).iter_mut().for_each(|x| *x = if gain { 1.0 + 0.3 * rng.normal() } else { rng.normal() });
    }
    let mut batch = Batch::default();
    let cuts = [0, rows.div_ceil(2), rows.div_ceil(2) + rows / 4, rows];
    for cut in cuts.windows(2).filter(|c| c[0] < c[1]) {
        let tokens: Vec<u32> = (cut[0]..cut[1]).map(|_| rng.below(VOCAB) as u32).collect();
        batch.push_training(&tokens, |i| 0.2 + 0.1 * i as f32);
    }
    Net { params, tape: b.finish(), batch, temperature: 1.0, entropy: 0.0, h: 0.03, inputs, output, tapped: None }
}

impl Net {
    fn objective(&self) -> Curved {
        Curved { temperature: self.temperature, entropy: self.entropy }
    }

    /// Scales the random values of the parameters whose names contain `name`.
    pub fn spread(&mut self, name: &str, factor: f32) {
        let params: Vec<Param> = self.params.iter().filter(|(_, i)| i.name.contains(name)).map(|(p, _)| p).collect();
        params.iter().for_each(|&p| self.params.get_mut(p).iter_mut().for_each(|x| *x *= factor));
        if let Some(tapped) = &mut self.tapped {
            tapped.spread(name, factor);
        }
    }

    /// Runs forward; returns the loss.
    pub fn forward(&mut self, precision: Precision) -> f64 {
        let objective = self.objective();
        self.tape.forward(&mut self.params, precision, &self.batch, &objective, None);
        self.tape.out().loss.iter().sum()
    }

    /// Runs forward and backward; returns the loss and the gradients of all parameters.
    pub fn step(&mut self, precision: Precision) -> (f64, Vec<f32>) {
        let mut grads = vec![0.0; self.params.total()];
        let objective = self.objective();
        self.tape.step(&mut self.params, precision, &self.batch, &objective, &mut grads);
        (self.tape.out().loss.iter().sum(), grads)
    }

    /// The output of one forward pass in f32.
    pub fn output(&mut self) -> Vec<f32> {
        self.forward(Precision::F32);
        self.values()
    }

    fn values(&self) -> Vec<f32> {
        self.output
            .map_or_else(|| self.tape.out().logprobs.clone(), |act| self.tape.values(act, self.batch.len()).to_vec())
    }

    /// Compares every gradient (a sample of large ones) with central differences of fourth order. `tolerance` is
    /// relative to the larger of the value and the root mean square of the parameter's gradient.
    ///
    /// # Panics
    /// If one disagrees: the test has failed.
    pub fn check_gradients(&mut self, tolerance: f64) {
        if let Some(tapped) = &mut self.tapped {
            tapped.temperature = self.temperature;
            tapped.entropy = self.entropy;
            tapped.h = self.h;
            tapped.check_gradients(tolerance);
        }
        let (loss, grads) = self.step(Precision::F32);
        let forward = self.forward(Precision::F32);
        assert!((loss - forward).abs() <= 1e-5 * (1.0 + loss.abs()), "loss {loss} in training, {forward} without");
        let infos: Vec<_> = self.params.iter().map(|(p, i)| (p, i.clone())).filter(|(_, i)| i.trainable).collect();
        let mut rng = Rng::new(&[9]);
        for (p, info) in infos {
            let grad = &grads[info.range()];
            let rms = (grad.iter().map(|g| (*g as f64).powi(2)).sum::<f64>() / grad.len() as f64).sqrt();
            assert!(rms > 0.0, "{}: no gradient at all", info.name);
            let samples = grad.len().min(48);
            let mut flips = 0;
            for s in 0..samples {
                let i = if samples == grad.len() { s } else { rng.below(grad.len()) };
                let Some(numeric) = self.difference(p, i) else {
                    flips += 1;
                    continue;
                };
                let (analytic, scale) = (grad[i] as f64, numeric.abs().max(rms));
                assert!(
                    (analytic - numeric).abs() <= tolerance * scale,
                    "{}[{i}]: {analytic} by backward, {numeric} by differences (rms {rms})",
                    info.name
                );
            }
            assert!(flips * 8 <= samples, "{}: {flips} of {samples} differences cross a routing decision", info.name);
        }
        self.check_accumulation(&grads);
    }

    /// Parameter gradients add up over micro-batches.
    fn check_accumulation(&mut self, once: &[f32]) {
        let mut twice = once.to_vec();
        let objective = self.objective();
        self.tape.step(&mut self.params, Precision::F32, &self.batch, &objective, &mut twice);
        let scale = once.iter().fold(0f32, |a, g| a.max(g.abs()));
        for (i, (a, b)) in once.iter().zip(&twice).enumerate() {
            assert!((2.0 * a - b).abs() <= 1e-4 * (a.abs() + 0.1 * scale), "gradient {i}: {a} once, {b} twice");
        }
    }

    /// dL/dp[i] by (8·(f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h, unless a token changes its expert on the way.
    fn difference(&mut self, p: Param, i: usize) -> Option<f64> {
        let h = self.h;
        let x = self.params.get(p)[i];
        let (mut load, mut same) = (None, true);
        let mut at = |d: f32| {
            self.params.get_mut(p)[i] = x + d;
            let loss = self.forward(Precision::F32);
            same &= *load.get_or_insert_with(|| self.tape.out().expert_load.clone()) == self.tape.out().expert_load;
            (loss, (x + d) as f64)
        };
        let ((a, xa), (b, xb), (c, xc), (d, xd)) = (at(h), at(-h), at(2.0 * h), at(-2.0 * h));
        self.params.get_mut(p)[i] = x;
        same.then(|| (4.0 * (a - b) / (xa - xb) - (c - d) / (xc - xd)) / 3.0)
    }

    /// Output and gradients have the same bits on one and on three threads; the output of a sequence has the same
    /// bits alone as among others.
    ///
    /// # Panics
    /// If one disagrees: the test has failed.
    pub fn check_bits(&mut self) {
        for precision in [Precision::F32, Precision::Bf16] {
            let run =
                |threads: usize, net: &mut Net| pool::with_threads(threads, || (net.step(precision), net.values()));
            if self.tape.mode().train {
                let one = run(1, self);
                assert!(one == run(3, self), "{precision:?}: bits depend on the number of threads");
            }
            self.forward(precision);
            let together = self.values();
            let batch = self.batch.clone();
            let params = self.params.data().to_vec();
            for segment in &batch.segments {
                self.isolate(&batch, segment.rows.clone());
                self.forward(precision);
                let alone = self.values();
                let cols = alone.len() / segment.rows.len();
                let expected = &together[segment.rows.start * cols..segment.rows.end * cols];
                assert!(alone == expected, "{precision:?}: bits depend on the other rows of the batch");
                self.params.data_mut().copy_from_slice(&params);
            }
            self.batch = batch;
        }
    }

    /// Makes `rows` of `batch` the whole batch: their inputs come first.
    fn isolate(&mut self, batch: &Batch, rows: std::ops::Range<usize>) {
        for &p in &self.inputs {
            let cols = self.params.info(p).shape[1];
            self.params.get_mut(p).copy_within(rows.start * cols..rows.end * cols, 0);
        }
        self.batch = Batch::default();
        let weights = &batch.weights[rows.clone()];
        self.batch.push_training(&batch.tokens[rows], |i| weights[i - 1]);
    }
}
