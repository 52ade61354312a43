//! The devices that programs run on.

mod memory;
mod open;

use crate::precision::Precision;
use crate::quant::fp8;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The CPU, with kernels for its instruction sets.
    #[default]
    Cpu,
    /// The reference implementation: scalar loops that accumulate in f64. It is slow and checks the other devices.
    Reference,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

impl Device {
    /// Returns the precision in which a network runs unless another is asked for: bf16 on a GPU, f32 elsewhere.
    pub fn default_precision(self) -> Precision {
        match self {
            Device::Cpu | Device::Reference => Precision::F32,
            Device::Cuda(_) => Precision::Bf16,
        }
    }

    /// Returns true if weights lie in memory of the device, not in the host's.
    pub fn has_own_memory(self) -> bool {
        matches!(self, Device::Cuda(_))
    }

    /// Returns true if the device can store FP8 matrices as they are, with one factor per `block` of rows and columns.
    pub fn keeps_fp8(self, block: [usize; 2]) -> bool {
        self.has_own_memory() && block.iter().zip(fp8::TILE).all(|(size, tile)| size.is_multiple_of(tile))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Reference => f.write_str("reference"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;
    fn try_from(name: String) -> Result<Device, UnknownDevice> {
        name.parse()
    }
}

/// The error for a name that matches no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device '{0}': use auto, cpu, cuda, cuda:N or reference")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;
    fn from_str(name: &str) -> Result<Device, UnknownDevice> {
        match name {
            "auto" | "cpu" => Ok(Device::Cpu),
            "reference" => Ok(Device::Reference),
            "cuda" => Ok(Device::Cuda(0)),
            _ => match name.strip_prefix("cuda:").and_then(|number| number.parse().ok()) {
                Some(number) => Ok(Device::Cuda(number)),
                None => Err(UnknownDevice(name.into())),
            },
        }
    }
}
