//! Instructions beyond the vectors of [`crate::cpu::simd`]: products of bf16, the matrix unit, and transposes in
//! registers.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod dot;

#[cfg(target_arch = "x86_64")]
pub(crate) use bf16::{Bf16Unit, bf16_unit};
