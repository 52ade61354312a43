//! Tests of ops on every device: gradients against finite differences, bits against other batches and thread counts,
//! values and gradients against the reference device.
//!
//! A small network is built around the op: its inputs are parameters ([`TestInput`]), and its output is weighted by
//! fixed random numbers into one loss. It is executed like any other network.

mod agreement;
pub mod emulator;

pub use agreement::check_agreement;

use crate::backend::{Backend, Buffer, Executor, Pass, Weights};
use crate::device::Device;
use crate::ops::test_ops::{Input, WeightedSum};
use crate::ops::{Builder, Program};
use crate::pool;
use crate::precision::Precision;
use crate::rng::Rng;
use crate::tape::{Activation, Batch, Losses, Mode, Objective, Param, ParamInfo, ParamLayout, Storage, TokenLoss};
use std::sync::Arc;

/// Upper bound (exclusive) of token ids in test batches.
pub const VOCAB: usize = 23;

/// A network under test.
pub struct Net {
    /// The backend it runs on.
    pub backend: Arc<dyn Backend>,
    /// Its parameters, including the inputs, with random values.
    pub weights: Box<dyn Weights>,
    /// Its program, with memory.
    pub executor: Box<dyn Executor>,
    /// Three sequences of random tokens with targets and weights.
    pub batch: Batch,
    /// Temperature of the objective.
    pub temperature: f32,
    /// The weight of the entropy in the objective.
    pub entropy: f32,
    /// The step of finite differences: small enough that no routing decision flips.
    pub h: f32,
    /// The parameters that hold the inputs.
    pub inputs: Vec<Param>,
    output: Option<Activation>,
    /// The same network with additional consumers of its inputs, so that the op must add to their gradients.
    tapped: Option<Box<Net>>,
}

/// Inputs of a network under test.
pub struct TestInput;

const INPUT: &str = "test.input";
const RESIDUAL: &str = "test.residual";

impl TestInput {
    /// Creates an activation of `cols` columns whose values are a parameter.
    pub fn input(b: &mut Builder, params: &mut ParamLayout, cols: usize) -> Activation {
        Self::declare(b, params, cols, INPUT)
    }
    /// Like [`TestInput::input`], for an activation that the op continues with `Builder::residual`.
    pub fn residual(b: &mut Builder, params: &mut ParamLayout, cols: usize) -> Activation {
        Self::declare(b, params, cols, RESIDUAL)
    }
    fn declare(b: &mut Builder, params: &mut ParamLayout, cols: usize, name: &'static str) -> Activation {
        let rows = b.mode().rows;
        let y = b.activation(cols);
        let value = params.declare(format!("{name}.{}", params.iter().count()), &[rows, cols]);
        b.push(Input { value, y, name });
        y
    }
}

/// A smooth, nonlinear function of log-probability and entropy.
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

/// The definition of a network: pushes ops and declares their parameters.
pub type Define<'a> = &'a dyn Fn(&mut Builder, &mut ParamLayout) -> Option<Activation>;

/// Builds, on every device, a network of one op (or a few) over `rows` rows; `define` returns its output.
pub fn build(train: bool, rows: usize, define: impl Fn(&mut Builder, &mut ParamLayout) -> Activation) -> Vec<Net> {
    let mode = Mode { rows, train, recompute: false };
    nets(mode, &|b, p| Some(define(b, p)))
}

/// Builds, on every device, a network of ops that define their own loss.
pub fn build_loss(train: bool, rows: usize, define: impl Fn(&mut Builder, &mut ParamLayout)) -> Vec<Net> {
    nets(Mode { rows, train, recompute: false }, &|b, p| {
        define(b, p);
        None
    })
}

fn nets(mode: Mode, define: Define) -> Vec<Net> {
    Device::all().into_iter().map(|device| Net::new(device, mode, define)).collect()
}

impl Net {
    /// Builds the network on one device.
    pub fn new(device: Device, mode: Mode, define: Define) -> Net {
        let tapped = Net::assemble(device, mode, true, define);
        Net { tapped: Some(Box::new(tapped)), ..Net::assemble(device, mode, false, define) }
    }

    fn assemble(device: Device, mode: Mode, tap: bool, define: Define) -> Net {
        let Mode { rows, train, .. } = mode;
        let mut layout = ParamLayout::default();
        let mut b = Builder::new(mode);
        let output = define(&mut b, &mut layout);
        if let Some(x) = output {
            b.push(WeightedSum { x, seed: 1 });
        }
        let inputs: Vec<Param> = layout.iter().filter(|(_, i)| i.name.starts_with("test.")).map(|(p, _)| p).collect();
        if tap && train {
            for (i, x) in b.written_by(INPUT).into_iter().enumerate() {
                b.push(WeightedSum { x, seed: 2 + i as u64 });
            }
        }
        let backend = device.open().expect("the device opens");
        let mut weights = backend.weights(Arc::new(layout)).expect("room for the weights");
        let mut rng = Rng::new(&[rows as u64, 5]);
        let layout = weights.layout().clone();
        for (p, info) in layout.iter().filter(|(p, _)| layout.storage(*p) == Storage::F32) {
            let gain = info.name.contains("norm");
            let mut value = || if gain { 1.0 + 0.3 * rng.normal() } else { rng.normal() };
            weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x = value())).expect("it takes values");
        }
        let mut batch = Batch::default();
        let cuts = [0, rows.div_ceil(2), rows.div_ceil(2) + rows / 4, rows];
        for cut in cuts.windows(2).filter(|c| c[0] < c[1]) {
            let tokens: Vec<u32> = (cut[0]..cut[1]).map(|_| rng.below(VOCAB) as u32).collect();
            batch.push_training(&tokens, |i| 0.2 + 0.1 * i as f32);
        }
        let executor = backend.executor(b.finish()).expect("the device executes the op");
        let (temperature, entropy, h, tapped) = (1.0, 0.0, 0.03, None);
        Net { backend, weights, executor, batch, temperature, entropy, h, inputs, output, tapped }
    }

    /// Returns the device it runs on.
    pub fn device(&self) -> Device {
        self.backend.device()
    }

    /// Returns the program.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }

    fn objective(&self) -> Curved {
        Curved { temperature: self.temperature, entropy: self.entropy }
    }

    /// Returns the values of the parameter `name`.
    pub fn value(&self, name: &str) -> Vec<f32> {
        let p = self.weights.layout().find(name).unwrap_or_else(|| panic!("no parameter {name}"));
        self.read(p)
    }

    fn read(&self, p: Param) -> Vec<f32> {
        self.weights.read(p).expect("weights can be read").into_owned()
    }

    /// Changes the values of a parameter.
    pub fn update(&mut self, p: Param, mut f: impl FnMut(&mut [f32])) {
        self.weights.update(p, &mut f).expect("weights can be written");
    }

    /// Scales the random values of the parameters whose names contain `name`.
    pub fn spread(&mut self, name: &str, factor: f32) {
        for (p, _) in self.weights.layout().clone().iter().filter(|(_, i)| i.name.contains(name)) {
            self.update(p, |w| w.iter_mut().for_each(|x| *x *= factor));
        }
        if let Some(tapped) = &mut self.tapped {
            tapped.spread(name, factor);
        }
    }

    /// Returns the losses of the last pass.
    pub fn losses(&self) -> Losses {
        self.executor.outputs().losses
    }

    /// Runs forward; returns the loss.
    pub fn forward(&mut self, precision: Precision) -> f64 {
        let objective = self.objective();
        let pass = Pass::new(precision, &self.batch).with_objective(&objective);
        self.executor.forward(&mut *self.weights, pass, None).expect("a pass").losses.total()
    }

    /// Runs forward and backward; adds the gradients of all parameters to `grads` and returns the loss.
    fn add_step(&mut self, precision: Precision, grads: &mut dyn Buffer) -> f64 {
        let objective = self.objective();
        let pass = Pass::new(precision, &self.batch).with_objective(&objective);
        self.executor.step(&mut *self.weights, pass, grads).expect("a pass").losses.total()
    }

    fn zeroed(&self) -> Box<dyn Buffer> {
        self.backend.buffer(self.weights.layout().total()).expect("room for gradients")
    }

    /// Runs forward and backward; returns the loss and the gradients of all parameters.
    pub fn step(&mut self, precision: Precision) -> (f64, Vec<f32>) {
        let mut grads = self.zeroed();
        let loss = self.add_step(precision, &mut *grads);
        (loss, all(&*grads))
    }

    /// Returns the output of one forward pass in f32.
    pub fn output(&mut self) -> Vec<f32> {
        self.forward(Precision::F32);
        self.values()
    }

    fn values(&self) -> Vec<f32> {
        match self.output {
            Some(act) => self.executor.values(act, self.batch.len()).expect("the plan keeps the output"),
            None => self.executor.outputs().logprobs.clone(),
        }
    }

    /// Compares every gradient (a sample of large ones) with central differences of fourth order. `tolerance` is
    /// relative to the larger of the value and the root mean square of the parameter's gradient.
    ///
    /// # Panics
    /// Panics if a gradient disagrees: the test has failed.
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
        let layout = self.weights.layout().clone();
        let mut rng = Rng::new(&[9]);
        for (p, info) in layout.iter().filter(|(_, info)| info.trainable) {
            self.check_gradient(p, info, &grads[info.range()], tolerance, &mut rng);
        }
        self.check_accumulation(&grads);
    }

    fn check_gradient(&mut self, p: Param, info: &ParamInfo, grad: &[f32], tolerance: f64, rng: &mut Rng) {
        let (name, device) = (&info.name, self.device());
        let rms = (grad.iter().map(|g| (*g as f64).powi(2)).sum::<f64>() / grad.len() as f64).sqrt();
        assert!(rms > 0.0, "{device}: {name}: no gradient at all");
        // The emulator is slow, and the agreement of devices covers all values.
        let emulated = matches!(device, Device::Cuda(_)) && emulator::is_loaded();
        let samples = grad.len().min(if emulated { 4 } else { 48 });
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
                "{device}: {name}[{i}]: {analytic} by backward, {numeric} by differences (rms {rms})",
            );
        }
        assert!(flips * 8 <= samples.max(8), "{name}: {flips} of {samples} differences cross a routing decision");
    }

    /// Checks that parameter gradients add up over micro-batches.
    fn check_accumulation(&mut self, once: &[f32]) {
        let mut grads = self.zeroed();
        let len = grads.len();
        grads.update(0..len, &mut |g| g.copy_from_slice(once)).expect("gradients can be written");
        self.add_step(Precision::F32, &mut *grads);
        let twice = all(&*grads);
        let scale = once.iter().fold(0f32, |a, g| a.max(g.abs()));
        for (i, (a, b)) in once.iter().zip(&twice).enumerate() {
            assert!((2.0 * a - b).abs() <= 1e-4 * (a.abs() + 0.1 * scale), "gradient {i}: {a} once, {b} twice");
        }
    }

    /// Computes dL/dp[i] by (8·(f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h. Returns `None` if a token changes its expert
    /// on the way.
    fn difference(&mut self, p: Param, i: usize) -> Option<f64> {
        let h = self.h;
        let x = self.read(p)[i];
        let (mut load, mut same) = (None, true);
        let mut at = |d: f32| {
            self.update(p, |w| w[i] = x + d);
            let loss = self.forward(Precision::F32);
            let now = &self.executor.outputs().expert_load;
            same &= load.get_or_insert_with(|| now.clone()) == now;
            (loss, (x + d) as f64)
        };
        let ((a, xa), (b, xb), (c, xc), (d, xd)) = (at(h), at(-h), at(2.0 * h), at(-2.0 * h));
        self.update(p, |w| w[i] = x);
        same.then(|| (4.0 * (a - b) / (xa - xb) - (c - d) / (xc - xd)) / 3.0)
    }

    /// Checks that output and gradients have the same bits on one and on three threads, and that the output of a
    /// sequence has the same bits alone and in a batch with others.
    ///
    /// # Panics
    /// Panics if a bit differs: the test has failed.
    pub fn check_bits(&mut self) {
        for precision in [Precision::F32, Precision::Bf16] {
            let run =
                |threads: usize, net: &mut Net| pool::with_threads(threads, || (net.step(precision), net.values()));
            if self.program().mode().train {
                let one = run(1, self);
                assert!(one == run(3, self), "{precision:?}: bits depend on the number of threads");
            }
            self.forward(precision);
            let together = self.values();
            let batch = self.batch.clone();
            let inputs: Vec<Vec<f32>> = self.inputs.iter().map(|&p| self.read(p)).collect();
            for segment in &batch.segments {
                self.isolate(&batch, segment.rows.clone());
                self.forward(precision);
                let alone = self.values();
                let cols = alone.len() / segment.rows.len();
                let expected = &together[segment.rows.start * cols..segment.rows.end * cols];
                assert!(alone == expected, "{precision:?}: bits depend on the other rows of the batch");
                for (p, values) in self.inputs.clone().into_iter().zip(&inputs) {
                    self.update(p, |w| w.copy_from_slice(values));
                }
            }
            self.batch = batch;
        }
    }

    /// Makes `rows` of `batch` the whole batch and moves their inputs to the front.
    fn isolate(&mut self, batch: &Batch, rows: std::ops::Range<usize>) {
        for p in self.inputs.clone() {
            let cols = self.weights.layout().info(p).shape[1];
            self.update(p, |w| w.copy_within(rows.start * cols..rows.end * cols, 0));
        }
        self.batch = Batch::default();
        let weights = &batch.weights[rows.clone()];
        self.batch.push_training(&batch.tokens[rows], |i| weights[i - 1]);
    }
}

/// Returns all values of a buffer.
pub fn all(buffer: &dyn Buffer) -> Vec<f32> {
    buffer.read(0..buffer.len()).expect("buffers can be read").into_owned()
}
