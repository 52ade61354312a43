//! The errors of devices.

use crate::device::Device;

/// Why a device cannot do what was requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device is out of memory.
    #[error("{device}: out of memory: {bytes} bytes for {what}")]
    OutOfMemory {
        /// The device.
        device: Device,
        /// Bytes requested.
        bytes: usize,
        /// What the memory is for.
        what: &'static str,
    },
    /// The device lacks something that the program or the model needs.
    #[error("{device} does not support {what}; use another device")]
    Unsupported {
        /// The device.
        device: Device,
        /// What it lacks.
        what: String,
    },
    /// A checkpoint's optimizer state belongs to another network.
    #[error("optimizer state '{name}' has {got} values, the network needs {expected}: it belongs to another network")]
    OptimizerState {
        /// The name of the moment.
        name: &'static str,
        /// Its number of values.
        got: usize,
        /// The number of values that the network needs.
        expected: usize,
    },
}
