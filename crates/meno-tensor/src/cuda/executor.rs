//! Runs a program on the card, with activations at the places of its memory plan.
//!
//! The first pass in a precision plans the memory for its element types ([`dtypes`]) and allocates it.

use super::batch::{Cache, CudaBatch};
use super::buffer::CudaBuffer;
use super::context::{Ctx, Scratch, Slots, Tensor};
use super::driver::{Event, Gpu, Memory};
use super::dtypes::{dtypes, planned_bytes};
use super::kv_store::CudaKvStore;
use super::ops::kernels;
use super::recordings::{Key, Recording, Recordings};
use super::results::Results;
use super::rope_tables::RopeTables;
use super::weights::CudaWeights;
use crate::backend::{Buffer, Error, Executor, KvStore, Pass, Profile, Weights, own_mut};
use crate::kv_cache::KvCache;
use crate::ops::Program;
use crate::precision::Precision;
use crate::tape::{Activation, Dtype, Losses, Outputs, Plan, ScheduleStep};
use half::bf16;
use std::cell::RefCell;
use std::sync::Arc;

/// The memory of a program for one precision.
struct Planned {
    precision: Precision,
    dtypes: Vec<Dtype>,
    plan: Plan,
    activations: Memory,
    grads: Memory,
}

impl Planned {
    fn new(gpu: &Arc<Gpu>, program: &Program, precision: Precision) -> Result<Self, Error> {
        let dtypes = dtypes(program, precision);
        let plan = program.plan_as(|act| dtypes[act]);
        let activations = gpu.allocate(plan.activation_bytes, "activations")?;
        let grads = gpu.allocate(plan.grad_bytes, "gradients of activations")?;
        Ok(Planned { precision, dtypes, plan, activations, grads })
    }
}

/// A program with its memory.
pub(super) struct CudaExecutor {
    gpu: Arc<Gpu>,
    program: Program,
    planned: Option<Planned>,
    ints: Vec<Memory>,
    batch: CudaBatch,
    scratch: Scratch,
    rope_tables: RopeTables,
    results: Results,
    recordings: Recordings,
    out: Outputs,
    profile: Option<Profile>,
    /// Ends of the steps of a pass, for the profile.
    events: Vec<(ScheduleStep, Event)>,
}

impl CudaExecutor {
    pub(super) fn new(gpu: &Arc<Gpu>, program: Program) -> Result<Self, Error> {
        program.check_f32(gpu.device())?;
        let ints = program.int_capacities.iter();
        let ints = ints.map(|&capacity| gpu.allocate(capacity * size_of::<u32>(), "integers of ops"));
        Ok(CudaExecutor {
            ints: ints.collect::<Result<_, _>>()?,
            planned: None,
            batch: CudaBatch::new(gpu, program.mode.rows)?,
            scratch: Scratch::new(gpu),
            rope_tables: RopeTables::new(gpu),
            results: Results::new(gpu),
            recordings: Recordings::default(),
            out: program.outputs(),
            profile: None,
            events: Vec::new(),
            gpu: gpu.clone(),
            program,
        })
    }

    /// Plans and allocates the memory, unless the last pass had this precision too.
    fn prepare(&mut self, precision: Precision) -> Result<(), Error> {
        if self.planned.as_ref().is_none_or(|planned| planned.precision != precision) {
            self.planned = None; // frees the memory before the new memory is allocated
            self.planned = Some(Planned::new(&self.gpu, &self.program, precision)?);
        }
        if cfg!(debug_assertions)
            && let Some(planned) = &self.planned
        {
            // The results of an earlier pass must not be read.
            for memory in [&planned.activations, &planned.grads] {
                memory.fill(0xff, 0..memory.bytes())?;
            }
        }
        Ok(())
    }

    /// Runs the forward pass, and the backward pass if there are `param_grads`.
    fn run(
        &mut self,
        weights: &mut dyn Weights,
        pass: Pass,
        cache: Option<&mut KvCache>,
        param_grads: Option<&CudaBuffer>,
    ) -> Result<(), Error> {
        let (rows, most) = (pass.batch.len(), self.program.mode.rows);
        assert!(rows <= most, "invariant: {rows} rows fit {most}");
        weights.prepare(pass.precision)?;
        let weights: &CudaWeights = own_mut(weights);
        self.prepare(pass.precision)?;
        self.results.clear();
        self.out.losses = Losses::default();
        let cache = match cache {
            None => None,
            Some(cache) => {
                let (table, store) = cache.for_batch(pass.batch)?;
                Some(Cache { table, store: own_mut::<CudaKvStore>(store) })
            }
        };
        self.batch.write(pass.batch, cache.as_ref().map(|cache| cache.table))?;
        let key = match &cache {
            Some(cache) if self.profile.is_none() => self.key(weights, pass, cache),
            _ => None,
        };
        let start = self.profile.as_ref().map(|_| self.gpu.event()).transpose()?;
        match key {
            Some(key) => self.run_recorded(key, weights, pass, cache.as_ref())?,
            None => self.run_steps(weights, pass, cache.as_ref(), param_grads)?,
        }
        self.results.fetch(pass.batch, &mut self.out)?;
        let Some(start) = start else { return Ok(()) };
        self.gpu.synchronize()?;
        self.add_to_profile(start)
    }

    /// Returns the key of a pass that can be recorded.
    fn key(&self, weights: &CudaWeights, pass: Pass, cache: &Cache) -> Option<Key> {
        let keys = if cache.store.layers().is_empty() { 0 } else { cache.store.layer(0)[0] };
        Key::of(pass.precision, pass.batch, weights.values().at(0), keys)
    }

    /// Repeats a recorded pass; records it if it ran just before; or runs it.
    fn run_recorded(
        &mut self,
        key: Key,
        weights: &CudaWeights,
        pass: Pass,
        cache: Option<&Cache>,
    ) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        let generation = gpu.generation();
        if let Some(recording) = self.recordings.find(&key, generation) {
            self.results.expect(&recording.results);
            return recording.graph.launch();
        }
        if self.recordings.ready(&key, generation) {
            match gpu.record(|| self.run_steps(weights, pass, cache, None)) {
                Ok(graph) if gpu.generation() == generation => {
                    graph.launch()?;
                    let results = self.results.entries().to_vec();
                    self.recordings.push(Recording { key, generation, graph, results });
                    return Ok(());
                }
                // Memory was freed, which the pass may use.
                Ok(_) => {}
                // Something comes from the host in the middle of the pass.
                Err(_) => self.recordings.disabled = true,
            }
            self.results.clear();
        }
        self.run_steps(weights, pass, cache, None)?;
        self.recordings.ran(key, generation, gpu.generation());
        Ok(())
    }

    /// Runs all steps, launch by launch.
    fn run_steps(
        &mut self,
        weights: &CudaWeights,
        pass: Pass,
        cache: Option<&Cache>,
        param_grads: Option<&CudaBuffer>,
    ) -> Result<(), Error> {
        let steps = self.planned.as_ref().map_or(0, |planned| planned.plan.schedule.len());
        for at in 0..steps {
            let planned = self.planned.as_ref().expect("invariant: prepared above");
            let step = planned.plan.schedule[at];
            if param_grads.is_none() && !matches!(step, ScheduleStep::Forward(_)) {
                break;
            }
            self.run_step(step, weights, pass, cache, param_grads)?;
        }
        Ok(())
    }

    fn run_step(
        &mut self,
        step: ScheduleStep,
        weights: &CudaWeights,
        pass: Pass,
        cache: Option<&Cache>,
        param_grads: Option<&CudaBuffer>,
    ) -> Result<(), Error> {
        let (ScheduleStep::Forward(i) | ScheduleStep::Recompute(i) | ScheduleStep::Backward(i)) = step;
        let forward = !matches!(step, ScheduleStep::Backward(_));
        let Program { ops, activations: shapes, .. } = &self.program;
        let io = self.program.io(i);
        let Planned { dtypes, plan, activations, grads, .. } =
            self.planned.as_ref().expect("invariant: a pass is prepared");
        let places = if matches!(step, ScheduleStep::Forward(_)) { &plan.forward } else { &plan.backward };
        let [values, gradients] = io.touched(forward);
        let acts = Slots { memory: activations, places, shapes, dtypes, declared: values };
        let grads = Slots { memory: grads, places: &plan.grads, shapes, dtypes, declared: gradients };
        if cfg!(debug_assertions) && !forward {
            // If an op adds where it is the first to write, NaN spreads.
            for &act in gradients[1].iter().filter(|act| !plan.adds[i].contains(act)) {
                grads.poison(act)?;
            }
        }
        self.scratch.reset();
        let mut ctx = Ctx {
            gpu: &self.gpu,
            weights,
            batch: pass.batch,
            on_card: &self.batch,
            rows: pass.batch.len(),
            precision: pass.precision,
            train: param_grads.is_some(),
            cache,
            out: &mut self.out,
            results: &mut self.results,
            objective: pass.objective,
            acts,
            grads,
            param_grads,
            ints: &self.ints,
            declared_ints: &io.ints,
            adds: &plan.adds[i],
            scratch: RefCell::new(&mut self.scratch),
            rope_tables: &mut self.rope_tables,
        };
        match forward {
            true => kernels(&ops[i]).forward(&mut ctx)?,
            false => kernels(&ops[i]).backward(&mut ctx)?,
        }
        if self.profile.is_some() {
            self.events.push((step, self.gpu.event()?));
        }
        Ok(())
    }

    /// Adds the card's time between the events of a pass, which is done, to the profile.
    fn add_to_profile(&mut self, start: Event) -> Result<(), Error> {
        let mut last = start;
        for (step, event) in self.events.drain(..) {
            let seconds = event.seconds_since(&last)?;
            if let Some(profile) = &mut self.profile {
                match step {
                    ScheduleStep::Forward(i) | ScheduleStep::Recompute(i) => profile.ops[i].forward += seconds,
                    ScheduleStep::Backward(i) => profile.ops[i].backward += seconds,
                }
            }
            last = event;
        }
        Ok(())
    }
}

impl Executor for CudaExecutor {
    fn program(&self) -> &Program {
        &self.program
    }
    fn forward(
        &mut self,
        weights: &mut dyn Weights,
        pass: Pass,
        cache: Option<&mut KvCache>,
    ) -> Result<&Outputs, Error> {
        self.run(weights, pass, cache, None)?;
        Ok(&self.out)
    }
    fn step(&mut self, weights: &mut dyn Weights, pass: Pass, grads: &mut dyn Buffer) -> Result<&Outputs, Error> {
        assert!(self.program.mode.train, "invariant: the program was built for training");
        self.run(weights, pass, None, Some(own_mut::<CudaBuffer>(grads)))?;
        Ok(&self.out)
    }
    fn outputs(&self) -> &Outputs {
        &self.out
    }
    fn bytes(&self) -> usize {
        let planned = self.planned.as_ref().map_or(0, |p| p.activations.bytes() + p.grads.bytes());
        planned + self.scratch.bytes()
    }
    fn planned_bytes(&self, precision: Precision) -> usize {
        planned_bytes(&self.program, precision)
    }
    fn start_profile(&mut self) {
        self.events.clear();
        self.profile = Some(Profile::new(&self.program));
    }
    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }
    fn values(&self, activation: Activation, rows: usize) -> Result<Vec<f32>, Error> {
        let planned = self.planned.as_ref().expect("invariant: a pass ran");
        let (i, place) = (activation.index(), planned.plan.forward[activation.index()].start);
        let x = Tensor::new(0, planned.dtypes[i], self.program.activations[i].cols);
        let mut values = vec![0f32; rows * x.cols];
        match x.dtype {
            Dtype::F32 => planned.activations.read(place, &mut values)?,
            Dtype::Bf16 => {
                let mut rounded = vec![bf16::ZERO; values.len()];
                planned.activations.read(place, &mut rounded)?;
                values.iter_mut().zip(rounded).for_each(|(value, x)| *value = x.to_f32());
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::cuda::Cuda;
    use crate::device::Device;
    use crate::kv_cache::KvType;
    use crate::ops::Builder;
    use crate::ops::embedding::Embedding;
    use crate::ops::logits::Logits;
    use crate::rng::Rng;
    use crate::sampling::{Scratch, TokenSampling};
    use crate::tape::{Batch, Mode, ParamLayout};

    #[test]
    fn a_repeated_step_is_recorded_and_has_the_same_results() {
        for number in Device::all().into_iter().filter_map(|d| if let Device::Cuda(n) = d { Some(n) } else { None }) {
            let cuda = Cuda::open(number).unwrap();
            let mut layout = ParamLayout::default();
            let table = layout.declare("embedding", &[9, 16]);
            layout.mark_linear(table);
            let layout = Arc::new(layout);
            let mut weights = cuda.weights(layout.clone()).unwrap();
            let mut rng = Rng::new(&[3]);
            weights.update(table, &mut |w| w.iter_mut().for_each(|x| *x = rng.normal())).unwrap();
            let executor = || {
                let mut b = Builder::new(Mode { rows: 2, train: false, recompute: false });
                let x = Embedding::push(&mut b, &layout, table);
                Logits::push(&mut b, &layout, x, None, table);
                CudaExecutor::new(&cuda.gpu, b.finish()).unwrap()
            };
            let mut recorded = executor();
            let mut cache = cuda.kv_cache(&[], KvType::F32, 8).unwrap();
            let slots = [cache.table_mut().open(), cache.table_mut().open()];
            // Settings that change with the step, for both rows.
            let sampled = |step: usize| {
                let settings = |row| {
                    let u = step as f64 / 50.0;
                    TokenSampling { temperature: 0.8, top_k: 0, top_p: 0.9, min_p: 0.0, vocab_size: 9 - row, u }
                };
                [0, 1].map(|row| (row, settings(row))).to_vec()
            };
            for step in 0..40 {
                let mut batch = Batch { logit_rows: vec![0, 1], ..Batch::default() };
                slots.iter().for_each(|&slot| _ = batch.push(&[(step + slot) as u32 % 9], step, Some(slot)));
                let pass = Pass::new(Precision::Bf16, &batch);
                let expected = executor().forward(&mut *weights, pass, None).unwrap().logits.clone();
                assert_eq!(recorded.forward(&mut *weights, pass, Some(&mut cache)).unwrap().logits, expected);
            }
            // Each other executor allocates memory, so no recording lived until the next step.
            assert_eq!(recorded.recordings.len(), 0);
            for step in 40..44 {
                let mut batch = Batch { logit_rows: vec![0, 1], sampled_rows: sampled(step), ..Batch::default() };
                slots.iter().for_each(|&slot| _ = batch.push(&[step as u32 % 9], step, Some(slot)));
                recorded.forward(&mut *weights, Pass::new(Precision::Bf16, &batch), Some(&mut cache)).unwrap();
            }
            assert_eq!((recorded.recordings.len(), recorded.recordings.disabled), (1, false));
            let mut batch = Batch { logit_rows: vec![0, 1], sampled_rows: sampled(44), ..Batch::default() };
            slots.iter().for_each(|&slot| _ = batch.push(&[5 + slot as u32], 44, Some(slot)));
            let pass = Pass::new(Precision::Bf16, &batch);
            let repeated = recorded.forward(&mut *weights, pass, Some(&mut cache)).unwrap().clone();
            assert_eq!(repeated.logits, executor().forward(&mut *weights, pass, None).unwrap().logits);
            let tokens = repeated.logits.chunks(9).zip(sampled(44));
            let expected = tokens.map(|(z, (_, sampling))| Some(cuda.sample(z, &sampling, &mut Scratch::default())));
            assert_eq!(repeated.sampled, expected.collect::<Vec<_>>());
        }
    }
}
