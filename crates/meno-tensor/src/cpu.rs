//! What the processor has beyond vectors ([`crate::simd`]): the matrix unit and its instructions.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
