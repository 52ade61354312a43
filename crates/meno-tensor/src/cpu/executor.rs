//! Runs a program on the CPU. All memory is allocated once; a pass allocates nothing.

use super::context::{Cache, Ctx, IntBuffer, IntSlots, ParamGrads, Slots};
use super::expert_parallel::ExpertParallel;
use super::head_memory::HeadMemory;
use super::host_buffer::HostBuffer;
use super::kv_store::CpuKvStore;
use super::ops::kernels;
use super::time::cpu_seconds;
use super::weights::CpuWeights;
use crate::backend::{Buffer, Error, Executor, Pass, Profile, Weights, own_mut};
use crate::device::Device;
use crate::kv_cache::KvCache;
use crate::ops::experts::experts_of;
use crate::ops::{Op, Program};
use crate::tape::{Activation, ExpertTraffic, Losses, Outputs, ScheduleStep};
use meno_comm::Comm;

/// A program with its memory.
pub(super) struct CpuExecutor {
    program: Program,
    activations: HostBuffer,
    grads: HostBuffer,
    scratch: HostBuffer,
    ints: Vec<IntBuffer>,
    head: HeadMemory,
    out: Outputs,
    profile: Option<Profile>,
    /// The exchange with the ranks that hold the experts; `None` if all are here.
    experts: Option<ExpertParallel>,
}

/// Returns the number of f32 values of scratch memory that the ops of a program share.
fn scratch(program: &Program) -> usize {
    program.ops.iter().map(|op| kernels(op).scratch(program.mode.rows)).max().unwrap_or(0)
}

/// Returns the bytes that an executor of this program allocates.
pub(super) fn planned_bytes(program: &Program) -> usize {
    program.plan.activation_bytes + program.plan.grad_bytes + scratch(program) * size_of::<f32>()
}

impl CpuExecutor {
    pub(super) fn new(program: Program) -> Result<Self, Error> {
        program.check_f32(Device::Cpu)?;
        let memory = |bytes: usize, what| HostBuffer::new(bytes / size_of::<f32>(), what);
        Ok(CpuExecutor {
            activations: memory(program.plan.activation_bytes, "activations")?,
            grads: memory(program.plan.grad_bytes, "gradients of activations")?,
            scratch: HostBuffer::new(scratch(&program), "scratch memory")?,
            ints: program.int_capacities.iter().map(|&capacity| IntBuffer::new(capacity)).collect(),
            head: HeadMemory::default(),
            out: program.outputs(),
            profile: None,
            experts: None,
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
        let Pass { batch, precision, .. } = pass;
        let (rows, most) = (batch.len(), self.program.mode.rows);
        assert!(rows <= most, "invariant: {rows} rows fit {most}");
        weights.prepare(precision)?;
        let weights: &CpuWeights = own_mut(weights);
        let mut cache = match cache {
            None => None,
            Some(cache) => {
                let (table, store) = cache.for_batch(batch)?;
                Some(Cache { table, store: own_mut::<CpuKvStore>(store) })
            }
        };
        self.out.losses = Losses::default();
        self.out.expert_traffic = ExpertTraffic::default();
        let train = param_grads.is_some();
        for at in 0..self.program.plan.schedule.len() {
            let step = self.program.plan.schedule[at];
            if !train && !matches!(step, ScheduleStep::Forward(_)) {
                break;
            }
            self.run_step(step, weights, pass, cache.as_mut(), param_grads.as_deref_mut());
        }
        Ok(())
    }

    fn run_step(
        &mut self,
        step: ScheduleStep,
        weights: &CpuWeights,
        pass: Pass,
        cache: Option<&mut Cache>,
        param_grads: Option<&mut [f32]>,
    ) {
        let (ScheduleStep::Forward(i) | ScheduleStep::Recompute(i) | ScheduleStep::Backward(i)) = step;
        let Program { ops, nodes, plan, activations: shapes, .. } = &self.program;
        let (rows, forward) = (pass.batch.len(), !matches!(step, ScheduleStep::Backward(_)));
        let places = if matches!(step, ScheduleStep::Forward(_)) { &plan.forward } else { &plan.backward };
        let [values, gradients] = nodes[i].io.touched(forward);
        let train = param_grads.is_some();
        let mut ctx = Ctx {
            params: weights,
            batch: pass.batch,
            rows,
            precision: pass.precision,
            train,
            acts: Slots { data: &mut self.activations, places, shapes, rows, declared: values },
            grads: Slots { data: &mut self.grads, places: &plan.grads, shapes, rows, declared: gradients },
            param_grads: ParamGrads { weights, data: param_grads.unwrap_or_default() },
            ints: IntSlots { buffers: &mut self.ints, declared: &nodes[i].io.ints },
            cache: cache.map(|c| Cache { table: c.table, store: &mut *c.store }),
            scratch: &mut self.scratch,
            head: &mut self.head,
            out: &mut self.out,
            objective: pass.objective,
            adds: &plan.adds[i],
            op: i,
            keep: train && (nodes[i].block.is_none() || matches!(step, ScheduleStep::Recompute(_))),
            experts: self.experts.as_mut(),
        };
        let start = self.profile.is_some().then(cpu_seconds);
        match forward {
            true => kernels(&ops[i]).forward(&mut ctx),
            false => kernels(&ops[i]).backward(&mut ctx),
        }
        if let (Some(start), Some(profile)) = (start, &mut self.profile) {
            let time = &mut profile.ops[i];
            *(if forward { &mut time.forward } else { &mut time.backward }) += cpu_seconds() - start;
        }
    }
}

impl Executor for CpuExecutor {
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
        self.run(weights, pass, None, Some(own_mut::<HostBuffer>(grads)))?;
        Ok(&self.out)
    }
    fn outputs(&self) -> &Outputs {
        &self.out
    }
    fn bytes(&self) -> usize {
        let planned = (self.activations.len() + self.grads.len() + self.scratch.len()) * size_of::<f32>();
        planned + self.experts.as_ref().map_or(0, ExpertParallel::bytes)
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
    fn deal_experts(&mut self, comm: Comm) -> Result<(), Error> {
        for op in &self.program.ops {
            if let Op::Experts(op) = op {
                experts_of(comm.rank(), comm.size(), op.experts.len())?;
            }
        }
        self.experts = (comm.size() > 1).then(|| ExpertParallel::new(comm, self.program.ops.len()));
        Ok(())
    }
}
