//! The devices of a plan: published figures of GPUs, or what was measured here.

use meno_tensor::device::Device;
use meno_tensor::precision::Precision;

/// What a rank computes with.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// Its name.
    pub name: String,
    /// The backend, which determines the number formats in memory.
    pub device: Device,
    /// Memory of a rank in bytes.
    pub memory: u64,
    /// Floating-point operations per second in training passes.
    pub flops: f64,
    /// Peak of floating-point operations per second.
    pub peak: f64,
    /// Bytes per second that are read from or written to memory.
    pub memory_bandwidth: f64,
    /// Where the figures come from, as a sentence.
    pub source: String,
}

/// Published figures of a GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Its name on the command line.
    pub name: &'static str,
    /// Memory that programs can use, in GiB.
    pub memory: f64,
    /// Peak of dense products in bf16, in operations per second.
    pub bf16: f64,
    /// The same in f32, without tensor cores.
    pub f32: f64,
    /// Bandwidth of its memory in bytes per second.
    pub memory_bandwidth: f64,
    /// NVLink in one direction, in bytes per second.
    pub node_bandwidth: f64,
    /// The network adapter that serves it in usual nodes, in bytes per second.
    pub bandwidth: f64,
}

/// Figures of NVIDIA's data sheets for the SXM modules; NVLink of the H800 as DeepSeek-V3 §3.2.2 uses it. Network: one
/// adapter of 400 Gb/s per GPU (A100: 200).
pub const PUBLISHED: [Published; 4] = [
    Published {
        name: "a100",
        memory: 79.0,
        bf16: 312e12,
        f32: 19.5e12,
        memory_bandwidth: 2.04e12,
        node_bandwidth: 300e9,
        bandwidth: 25e9,
    },
    Published {
        name: "h100",
        memory: 79.0,
        bf16: 989e12,
        f32: 67e12,
        memory_bandwidth: 3.35e12,
        node_bandwidth: 450e9,
        bandwidth: 50e9,
    },
    Published {
        name: "h800",
        memory: 79.0,
        bf16: 989e12,
        f32: 67e12,
        memory_bandwidth: 3.35e12,
        node_bandwidth: 160e9,
        bandwidth: 50e9,
    },
    Published {
        name: "h200",
        memory: 140.0,
        bf16: 989e12,
        f32: 67e12,
        memory_bandwidth: 4.8e12,
        node_bandwidth: 450e9,
        bandwidth: 50e9,
    },
];

/// Share of the published memory bandwidth that programs reach.
pub(super) const MEMORY_SHARE: f64 = 0.8;

impl Published {
    /// Returns the GPU with this name.
    pub fn find(name: &str) -> Option<Published> {
        PUBLISHED.into_iter().find(|p| p.name == name)
    }

    /// Returns its speed in products of this precision, of which computation reaches the share `mfu`.
    pub fn speed(&self, precision: Precision, mfu: f64) -> Speed {
        let peak = match precision {
            Precision::F32 => self.f32,
            Precision::Bf16 => self.bf16,
        };
        Speed {
            name: self.name.to_owned(),
            device: Device::Cuda(0),
            memory: (self.memory * (1u64 << 30) as f64) as u64,
            flops: mfu * peak,
            peak,
            memory_bandwidth: MEMORY_SHARE * self.memory_bandwidth,
            source: format!(
                "{}: computation reaches {:.0} % (--mfu) of the published {:.0} TFLOP/s in {precision}, and {:.0} % of \
                 the published memory bandwidth of {:.2} TB/s; neither is measured",
                self.name,
                100.0 * mfu,
                peak / 1e12,
                100.0 * MEMORY_SHARE,
                self.memory_bandwidth / 1e12
            ),
        }
    }
}
