//! Runs a program step by step, with activations at the places of its memory plan.

use super::buffer::{Block, zeroed};
use super::context::{Cache, Ctx, Slots};
use super::kv_store::ReferenceKvStore;
use super::ops::kernels;
use super::weights::ReferenceWeights;
use crate::backend::{Buffer, Error, Executor, Pass, Profile, Weights, own_mut};
use crate::device::Device;
use crate::kv_cache::KvCache;
use crate::ops::Program;
use crate::tape::{Activation, Losses, Outputs, ScheduleStep};
use std::time::Instant;

/// A program with its memory.
pub(super) struct ReferenceExecutor {
    program: Program,
    activations: Vec<f32>,
    grads: Vec<f32>,
    ints: Vec<Vec<u32>>,
    out: Outputs,
    profile: Option<Profile>,
    /// For each op, the activations that no op before it writes.
    first_writes: Vec<Vec<Activation>>,
}

/// Returns, for each op, the activations that it is the first to write.
fn first_writes(program: &Program) -> Vec<Vec<Activation>> {
    let mut written = vec![false; program.activations.len()];
    let mut first = |a: &Activation| !std::mem::replace(&mut written[a.index()], true);
    program.nodes.iter().map(|node| node.io.writes.iter().copied().filter(|a| first(a)).collect()).collect()
}

impl ReferenceExecutor {
    pub(super) fn new(program: Program) -> Result<Self, Error> {
        program.check_f32(Device::Reference)?;
        Ok(ReferenceExecutor {
            activations: zeroed(program.plan.activation_bytes / size_of::<f32>(), "activations")?,
            grads: zeroed(program.plan.grad_bytes / size_of::<f32>(), "gradients of activations")?,
            ints: vec![Vec::new(); program.int_capacities.len()],
            out: program.outputs(),
            profile: None,
            first_writes: first_writes(&program),
            program,
        })
    }

    /// Runs the forward pass, and the backward pass if there are `param_grads`.
    fn run(
        &mut self,
        weights: &mut dyn Weights,
        pass: Pass,
        cache: Option<&mut KvCache>,
        mut param_grads: Option<&mut [f32]>,
    ) -> Result<(), Error> {
        let (rows, most) = (pass.batch.len(), self.program.mode.rows);
        assert!(rows <= most, "invariant: {rows} rows fit {most}");
        let weights: &ReferenceWeights = own_mut(weights);
        let mut cache = match cache {
            None => None,
            Some(cache) => {
                let (table, store) = cache.for_batch(pass.batch)?;
                Some(Cache { table, store: own_mut::<ReferenceKvStore>(store) })
            }
        };
        if cfg!(debug_assertions) {
            // The results of an earlier pass must not be read.
            [&mut self.activations, &mut self.grads].into_iter().for_each(|x| x.fill(f32::NAN));
        }
        self.out.losses = Losses::default();
        for at in 0..self.program.plan.schedule.len() {
            let step = self.program.plan.schedule[at];
            if param_grads.is_none() && !matches!(step, ScheduleStep::Forward(_)) {
                break;
            }
            self.run_step(step, weights, pass, cache.as_mut(), param_grads.as_deref_mut());
        }
        Ok(())
    }

    fn run_step(
        &mut self,
        step: ScheduleStep,
        weights: &ReferenceWeights,
        pass: Pass,
        cache: Option<&mut Cache>,
        param_grads: Option<&mut [f32]>,
    ) {
        let (ScheduleStep::Forward(i) | ScheduleStep::Recompute(i) | ScheduleStep::Backward(i)) = step;
        let Program { ops, nodes, plan, activations: shapes, int_capacities, .. } = &self.program;
        let (rows, forward) = (pass.batch.len(), !matches!(step, ScheduleStep::Backward(_)));
        let places = if matches!(step, ScheduleStep::Forward(_)) { &plan.forward } else { &plan.backward };
        let [[reads, writes], [grad_reads, grad_writes]] = nodes[i].io.touched(forward);
        let mut acts = Slots { data: &mut self.activations, places, shapes, rows, reads, writes };
        let places = &plan.grads;
        let mut grads = Slots { data: &mut self.grads, places, shapes, rows, reads: grad_reads, writes: grad_writes };
        if cfg!(debug_assertions) {
            // If an op does not write all that it declares, or adds where it is the first to write, NaN spreads.
            writes.iter().filter(|a| self.first_writes[i].contains(a)).for_each(|&a| acts.poison(a));
            grad_writes.iter().filter(|a| !plan.adds[i].contains(a)).for_each(|&a| grads.poison(a));
        }
        let mut ctx = Ctx {
            weights,
            batch: pass.batch,
            rows,
            precision: pass.precision,
            train: param_grads.is_some(),
            cache: cache.map(|c| Cache { table: c.table, store: &mut *c.store }),
            out: &mut self.out,
            objective: pass.objective,
            acts,
            grads,
            param_grads: param_grads.unwrap_or_default(),
            ints: &mut self.ints,
            int_capacities,
            declared_ints: &nodes[i].io.ints,
            adds: &plan.adds[i],
        };
        let start = Instant::now();
        match forward {
            true => kernels(&ops[i]).forward(&mut ctx),
            false => kernels(&ops[i]).backward(&mut ctx),
        }
        if let Some(profile) = &mut self.profile {
            let time = &mut profile.ops[i];
            *(if forward { &mut time.forward } else { &mut time.backward }) += start.elapsed().as_secs_f64();
        }
    }
}

impl Executor for ReferenceExecutor {
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
        self.run(weights, pass, None, Some(&mut own_mut::<Block>(grads).values))?;
        Ok(&self.out)
    }
    fn outputs(&self) -> &Outputs {
        &self.out
    }
    fn bytes(&self) -> usize {
        (self.activations.len() + self.grads.len()) * size_of::<f32>()
    }
    fn start_profile(&mut self) {
        self.profile = Some(Profile::new(&self.program));
    }
    fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }
    fn values(&self, activation: Activation, rows: usize) -> Result<Vec<f32>, Error> {
        let start = self.program.plan.forward[activation.index()].start / size_of::<f32>();
        Ok(self.activations[start..][..rows * self.program.activations[activation.index()].cols].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::ops::Builder;
    use crate::ops::linear::Linear;
    use crate::ops::test_ops::WeightedSum;
    use crate::precision::Precision;
    use crate::reference::Reference;
    use crate::tape::{Batch, Mode, ParamLayout};
    use crate::testing::TestInput;
    use std::sync::Arc;

    /// Returns the loss of a linear layer whose program was modified by `spoil`.
    fn loss(spoil: impl FnOnce(&mut Program)) -> f64 {
        let (mut params, mut b) =
            (ParamLayout::default(), Builder::new(Mode { rows: 4, train: true, recompute: false }));
        let x = TestInput::input(&mut b, &mut params, 6);
        let weight = params.declare("w", &[6, 6]);
        let y = Linear::push(&mut b, &params, x, weight, None, None);
        b.push(WeightedSum { x: y, seed: 1 });
        let mut program = b.finish();
        spoil(&mut program);
        let mut weights = Reference.weights(Arc::new(params)).unwrap();
        for (p, _) in weights.layout().clone().iter() {
            weights.update(p, &mut |w| w.fill(0.5)).unwrap();
        }
        let mut batch = Batch::default();
        batch.push(&[0; 4], 0, None);
        let mut executor = Reference.executor(program).unwrap();
        executor.forward(&mut *weights, Pass::new(Precision::F32, &batch), None).unwrap().losses.total()
    }

    #[test]
    fn a_wrong_plan_shows() {
        assert!(loss(|_| ()).is_finite());
        // The output overlaps the input, although both are alive.
        let spoiled = loss(|program| program.plan.forward[1] = program.plan.forward[0].clone());
        assert!(!cfg!(debug_assertions) || spoiled.is_nan());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "io declares that it reads")]
    fn an_op_reads_only_what_it_declares() {
        loss(|program| program.nodes[1].io.reads.clear());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "io declares that it writes")]
    fn an_op_writes_only_what_it_declares() {
        loss(|program| program.nodes[1].io.writes.clear());
    }
}
