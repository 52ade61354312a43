//! The memory that programs need on a device, known before the device is opened.

use super::Device;
use crate::cpu;
use crate::cuda;
use crate::ops::Program;
use crate::precision::Precision;

impl Device {
    /// Returns the bytes of [`crate::backend::Executor::planned_bytes`] without allocating them, also for a device that
    /// this machine does not have.
    pub fn planned_bytes(self, program: &Program, precision: Precision) -> usize {
        match self {
            Device::Cpu => cpu::planned_bytes(program),
            Device::Reference => program.plan.activation_bytes + program.plan.grad_bytes,
            Device::Cuda(_) => cuda::planned_bytes(program, precision),
        }
    }
}
