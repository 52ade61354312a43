//! The devices that programs run on.

use crate::backend::{Backend, Error};
use crate::cpu::Cpu;
use crate::reference::Reference;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor, with the kernels that it has instructions for.
    #[default]
    Cpu,
    /// The plain reference: scalar loops that accumulate in f64. Slow; it checks the other devices.
    Reference,
}

impl Device {
    /// Every device of this machine.
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

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Reference => "reference",
        })
    }
}

/// The name of a device is none that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device '{0}': use auto, cpu or reference")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;
    fn from_str(name: &str) -> Result<Device, UnknownDevice> {
        match name {
            "auto" | "cpu" => Ok(Device::Cpu),
            "reference" => Ok(Device::Reference),
            _ => Err(UnknownDevice(name.into())),
        }
    }
}
