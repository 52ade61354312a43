//! Which instructions multiply bf16, if any does so faster than the vectors multiply f32.

use super::{amx, dot};
use crate::cpu::simd::{Level, level};
use std::arch::x86_64::__cpuid;
use std::sync::OnceLock;

/// What multiplies pairs of bf16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bf16Unit {
    /// The matrix unit, `tdpbf16ps`.
    Tiles,
    /// Vectors, `vdpbf16ps`.
    Dot,
}

/// This processor's (`MENO_CPU` may ask for one of them, `amx` or `avx512bf16`, or for none, `avx512` and below).
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

/// AMD's `vdpbf16ps` does twice the work of an FMA in the same time, Intel's half of it.
fn dot_pays() -> bool {
    let leaf = __cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

impl Bf16Unit {
    /// Readies this thread.
    pub(crate) fn configure(self) {
        if self == Bf16Unit::Tiles {
            amx::configure();
        }
    }

    /// Whether C may be written directly where it has this many rows: tiles come whole.
    pub(crate) fn takes_rows(self, rows: usize) -> bool {
        self == Bf16Unit::Dot || rows.is_multiple_of(16)
    }

    /// C (`rows` ≤ 32 × 32, rows `ld` values apart) = (C if `start`, else 0) + A · B over `steps` steps of 32 k, in the
    /// tiles of [`amx::block32`]. The matrix unit writes 16 rows or 32.
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

    /// Some rounds of products in registers; returns the floating-point operations. [`Self::configure`] was called.
    pub(crate) fn spin(self, rounds: usize) -> f64 {
        match self {
            Bf16Unit::Tiles => amx::spin(rounds),
            // SAFETY: there is such a unit.
            Bf16Unit::Dot => unsafe { dot::spin(rounds) },
        }
    }
}
