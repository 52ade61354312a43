//! The kernels of attention at the processor's level, and the memory of a thread.

use super::backward::Head;
use super::forward::{Keys, Queries};
use super::{backward, forward, tile};
use crate::simd::vector::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::vector::{Avx2, Avx512};
use crate::simd::{Level, level};
use std::cell::RefCell;

/// Defines a function that runs a generic kernel at the processor's level.
macro_rules! at_level {
    ($(#[$meta:meta])* $name:ident = $module:ident::$kernel:ident, ($($arg:ident: $ty:ty),*)) => {
        $(#[$meta])*
        pub(super) unsafe fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: as the kernel demands, promised by the caller.
                unsafe { $module::$kernel::<Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $module::$kernel::<Avx2>($($arg),*) }
            }
            // SAFETY: `level` found these features; the rest is promised by the caller.
            unsafe {
                match level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => avx2($($arg),*),
                    _ => $module::$kernel::<Portable>($($arg),*),
                }
            }
        }
    };
}

at_level! {
    /// # Safety
    /// As [`super::forward::forward`], but for the instructions.
    forward = forward::forward, (q: &Queries, keys: &Keys, s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::forward::decode`], but for the instructions.
    decode = forward::decode, (q: &Queries, keys: &[Keys], s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::backward::backward`], but for the instructions.
    backward = backward::backward, (h: &Head, s: &mut [f32])
}
at_level! {
    /// # Safety
    /// As [`super::tile::transpose`], but for the instructions.
    transpose = tile::transpose, (x: *const f32, ld: usize, n: usize, dim: usize, out: &mut [f32])
}

/// Memory of a thread, grown as needed and kept.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) scores: Vec<f32>,
}

impl Scratch {
    pub(super) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        thread_local! { static SCRATCH: RefCell<Scratch> = RefCell::default(); }
        SCRATCH.with_borrow_mut(f)
    }
}

/// The first `len` values of `x`, made longer if need be.
pub(super) fn grow(x: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if x.len() < len {
        x.resize(len, 0.0);
    }
    &mut x[..len]
}
