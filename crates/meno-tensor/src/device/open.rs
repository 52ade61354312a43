//! Opens devices.

use super::Device;
use crate::backend::{Backend, Error};
use crate::cpu::Cpu;
use crate::cuda::Cuda;
use crate::reference::Reference;
use std::sync::Arc;

impl Device {
    /// Returns every device of this machine.
    pub fn all() -> Vec<Device> {
        #[cfg(any(test, feature = "testing"))]
        crate::testing::emulator::load();
        let cards = crate::cuda::cards().unwrap_or_default();
        [Device::Cpu, Device::Reference].into_iter().chain((0..cards.len()).map(Device::Cuda)).collect()
    }

    /// Opens the device.
    pub fn open(self) -> Result<Arc<dyn Backend>, Error> {
        Ok(match self {
            Device::Cpu => Arc::new(Cpu),
            Device::Reference => Arc::new(Reference),
            Device::Cuda(number) => Arc::new(Cuda::open(number)?),
        })
    }
}
