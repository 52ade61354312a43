//! The errors of devices.

use crate::device::Device;

/// Why a device cannot do what was requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device is out of memory.
    #[error("{device}: out of memory: {} for {what}{}{}", size(*bytes), free_of(*free), hint(what))]
    OutOfMemory {
        /// The device.
        device: Device,
        /// Bytes requested.
        bytes: usize,
        /// Bytes that are free, if the device knows.
        free: Option<usize>,
        /// What the memory is for.
        what: &'static str,
    },
    /// The device cannot be used on this machine.
    #[error("{device} is not available: {reason}")]
    Unavailable {
        /// The device.
        device: Device,
        /// What is missing or too old.
        reason: String,
    },
    /// A call of the device's driver failed. The device cannot be used any more in this process.
    #[error(
        "{device}: {call} failed: {reason}. Start the program again; a training run that has a checkpoint continues \
         from it with --resume"
    )]
    Driver {
        /// The device.
        device: Device,
        /// The function of the driver.
        call: &'static str,
        /// The driver's message.
        reason: String,
    },
    /// The device lacks something that the program or the model needs.
    #[error("{device} does not support {what}; use another device")]
    Unsupported {
        /// The device.
        device: Device,
        /// What it lacks.
        what: String,
    },
    /// The experts of a network cannot be dealt out to several ranks.
    #[error("the experts cannot be dealt out to {ranks} ranks: {reason}")]
    DealExperts {
        /// The number of ranks.
        ranks: usize,
        /// What prevents it, and what to do.
        reason: String,
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

/// Formats a number of bytes.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn free_of(free: Option<usize>) -> String {
    free.map_or(String::new(), |free| format!(", {} are free", size(free)))
}

/// Returns the settings that lower the memory for `what`.
fn hint(what: &str) -> &'static str {
    match what {
        "activations" | "gradients of activations" | "scratch memory" => {
            ": run fewer or shorter sequences at a time (--parallel, --context; in a recipe train.max_tokens, \
             train.gradient_checkpointing and grpo.max_sequences)"
        }
        "the KV cache" => {
            ": keep fewer or shorter sequences (--parallel, --context, --cache-tokens, --max-tokens; in a recipe \
             grpo.max_sequences and grpo.max_completion_length)"
        }
        _ => ": use a smaller model, or a quantized one if it is not trained",
    }
}
