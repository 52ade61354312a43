//! Reports the processor's features and the kernels selected for them, to explain the speed on this machine.

use crate::cpu::quant;
use crate::cpu::simd::{Level, level};

/// The kernels in use. `MENO_CPU` can select lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    /// Products of 32-bit floats, and everything except matrix products.
    pub f32: &'static str,
    /// Products of bf16; without a unit for them they are computed as 32-bit floats.
    pub bf16: &'static str,
    /// Products of quantized matrices.
    pub int8: &'static str,
}

/// Returns the kernels that this process uses.
pub fn kernels() -> Kernels {
    let f32 = match level() {
        Level::Avx512 => "avx512",
        Level::Avx2 => "avx2",
        Level::Portable => "portable",
    };
    #[cfg(target_arch = "x86_64")]
    let bf16 = match crate::cpu::isa::bf16_unit() {
        Some(crate::cpu::isa::Bf16Unit::Tiles) => "amx",
        Some(crate::cpu::isa::Bf16Unit::Dot) => "avx512bf16",
        None => f32,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let bf16 = f32;
    Kernels { f32, bf16, int8: quant::instructions() }
}

/// Lists the processor features that the kernels can use, each with true if present.
#[cfg(target_arch = "x86_64")]
pub fn processor() -> Vec<(&'static str, bool)> {
    macro_rules! features {
        ($($name:tt),* $(,)?) => { vec![$(($name, is_x86_feature_detected!($name))),*] };
    }
    let mut all = features![
        "avx2",
        "fma",
        "f16c",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512vnni",
        "avx512bf16",
    ];
    // AMX may be queried only if AVX-512 is present.
    let amx = is_x86_feature_detected!("avx512f") && crate::cpu::isa::amx::available();
    all.push(("amx-bf16", amx));
    all
}

/// Lists the processor features that the kernels can use: none on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn processor() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Operations per cycle of one core with the kernels in use, assuming the usual number of execution units: 32-bit
/// floats, bf16, 8-bit integers. An addition and a multiplication count as two.
pub fn operations_per_cycle(kernels: Kernels) -> [Option<f64>; 3] {
    let f32 = |name| match name {
        "avx512" => Some(64.0),
        "avx2" => Some(32.0),
        _ => None,
    };
    let bf16 = match kernels.bf16 {
        "amx" => Some(2048.0),
        "avx512bf16" => Some(128.0),
        other => f32(other),
    };
    let int8 = match kernels.int8 {
        "avx512vnni" => Some(256.0),
        "avxvnni" => Some(128.0),
        "avx2" => Some(64.0),
        _ => None,
    };
    [f32(kernels.f32), bf16, int8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_need_what_the_processor_has() {
        let (kernels, has) = (kernels(), processor());
        let has = |name: &str| has.iter().any(|(n, there)| *n == name && *there);
        for (kernel, needs) in [
            (kernels.f32, [("avx512", "avx512f"), ("avx2", "avx2")].as_slice()),
            (kernels.bf16, &[("amx", "amx-bf16"), ("avx512bf16", "avx512bf16")]),
            (kernels.int8, &[("avx512vnni", "avx512vnni"), ("avxvnni", "avxvnni"), ("avx2", "avx2")]),
        ] {
            for (name, feature) in needs {
                assert!(kernel != *name || has(feature), "{kernel} without {feature}");
            }
        }
    }
}
