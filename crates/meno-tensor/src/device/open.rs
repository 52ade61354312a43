//! Opens devices.

use super::Device;
use crate::backend::{Backend, Error};
use crate::cpu::Cpu;
use crate::reference::Reference;
use std::sync::Arc;

impl Device {
    /// Returns every device of this machine.
    pub fn all() -> Vec<Device> {
        vec![Device::Cpu, Device::Reference]
    }

    /// Opens the device.
    pub fn open(self) -> Result<Arc<dyn Backend>, Error> {
        Ok(match self {
            Device::Cpu => Arc::new(Cpu),
            Device::Reference => Arc::new(Reference),
        })
    }
}
