//! Selects the instructions that multiply bf16, if any is faster than f32 vectors.

use super::{amx, dot};
use crate::cpu::simd::{Level, level};
use std::arch::x86_64::__cpuid;
use std::sync::OnceLock;

/// A unit that multiplies pairs of bf16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bf16Unit {
    /// The matrix unit, `tdpbf16ps`.
    Tiles,
    /// Vectors, `vdpbf16ps`.
    Dot,
}

/// Returns this processor's unit. `MENO_CPU` can select one (`amx` or `avx512bf16`) or none (`avx512` and below).
pub(crate) fn bf16_unit() -> Option<Bf16Unit> {
    static UNIT: OnceLock<Option<Bf16Unit>> = OnceLock::new();
    *UNIT.get_or_init(|| {
        let asked = std::env::var("MENO_CPU").unwrap_or_default();
        if level() != Level::Avx512 || !is_x86_feature_detected!("avx512bf16") {
            return None;
        }
        match asked.as_str() {
            "avx512" => None,
            "avx512bf16" => Some(Bf16Unit::Dot),
            _ if amx::available() => Some(Bf16Unit::Tiles),
            _ => dot_pays().then_some(Bf16Unit::Dot),
        }
    })
}

/// Returns true if `vdpbf16ps` is faster than FMA: AMD's does twice the work of an FMA in the same time, Intel's half
/// of it.
fn dot_pays() -> bool {
    let leaf = __cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

impl Bf16Unit {
    /// Prepares this thread to use the unit.
    pub(crate) fn configure(self) {
        if self == Bf16Unit::Tiles {
            amx::configure();
        }
    }

    /// Returns true if C may be written directly with this many rows: the matrix unit writes only whole tiles.
    pub(crate) fn takes_rows(self, rows: usize) -> bool {
        self == Bf16Unit::Dot || rows.is_multiple_of(16)
    }

    /// Computes C (`rows` ≤ 32, × 32, rows `ld` values apart) = (C if `start`, else 0) + A · B over `steps` steps of 32
    /// k, in the tiles of [`amx::block32`]. The matrix unit writes 16 rows or 32.
    ///
    /// # Safety
    /// [`Self::configure`] was called on this thread; a and b hold the tiles, c the rows that are written.
    pub(crate) unsafe fn block(
        self,
        rows: usize,
        steps: usize,
        (a, b): (*const u16, *const u16),
        (c, ld): (*mut f32, usize),
        start: bool,
    ) {
        // SAFETY: as promised by the caller.
        unsafe {
            match self {
                Bf16Unit::Dot => dot::block(rows, steps, a, b, (c, ld), start),
                Bf16Unit::Tiles if rows > 16 => amx::block32(steps, a, b, c, ld, start),
                Bf16Unit::Tiles => amx::block16(steps, a, b, c, ld, start),
            }
        }
    }

    /// Runs products in registers and returns the number of floating-point operations. [`Self::configure`] must have
    /// been called.
    pub(crate) fn measure_peak(self, rounds: usize) -> f64 {
        match self {
            Bf16Unit::Tiles => amx::measure_peak(rounds),
            // SAFETY: this unit is available.
            Bf16Unit::Dot => unsafe { dot::measure_peak(rounds) },
        }
    }
}
