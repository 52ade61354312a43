//! AMX, the matrix unit: eight registers ("tiles") of 16 rows × 64 bytes. Rust's intrinsics for it are not stable, so
//! this module uses `asm!`.
//!
//! `tdpbf16ps` adds to a 16 × 16 tile of f32 the product of a 16 × 32 and a 32 × 16 tile of bf16. Within one
//! instruction it sums the even and the odd k separately, then adds both to the accumulator; denormals count as zero
//! (Intel SDM vol. 2, TDPBF16PS). So the bits depend on which 32 values of k share an instruction, never on M or N.

use std::arch::asm;
use std::cell::Cell;

/// Returns true if this processor, which has AVX-512, has AMX for bf16 and the operating system permits its use.
pub(crate) fn available() -> bool {
    has_amx() && permitted()
}

/// Checks CPUID leaf 7 (EDX bit 22 AMX-BF16, bit 24 AMX-TILE) and XGETBV (the operating system saves tile registers).
fn has_amx() -> bool {
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    let bits = (1 << 22) | (1 << 24);
    if leaf.edx & bits != bits {
        return false;
    }
    let (low, _high): (u32, u32);
    // SAFETY: AVX-512 was detected, so XGETBV is enabled.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _high, options(nomem, nostack)) };
    low & (0b11 << 17) == 0b11 << 17
}

/// Requests the tile registers from Linux (arch_prctl ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), once for all threads.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call on two integers; an unknown request fails with an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Configures all tiles of this thread's matrix unit as 16 rows × 64 bytes, once per thread.
pub(super) fn configure() {
    thread_local! { static DONE: Cell<bool> = const { Cell::new(false) }; }
    #[repr(C, align(64))]
    struct Config([u8; 64]);
    DONE.with(|done| {
        if done.replace(true) {
            return;
        }
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        // SAFETY: this runs only on a processor that has AMX; the configuration is 64 bytes of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
    });
}

/// Computes C (32 × 32, rows `ld` values apart) = (C if `start`, else 0) + A · B over `steps` steps of 32 k. A holds
/// the tiles of rows 0..16 for every step, then those of rows 16..32. B holds, for every step, the tiles of columns
/// 0..16 and 16..32, with pairs of k interleaved.
///
/// # Safety
/// [`configure`] was called on this thread; a and b hold `steps` × 2 tiles; c holds 32 rows of 32 values.
#[inline]
pub(super) unsafe fn block32(steps: usize, a: *const u16, b: *const u16, c: *mut f32, ld: usize, start: bool) {
    // SAFETY: promised by the caller; the registers written are declared.
    unsafe {
        asm!(
            "test {start}, {start}",
            "jz 2f",
            "tileloadd tmm0, [{c} + {ld}*1]",
            "tileloadd tmm1, [{c} + {ld}*1 + 64]",
            "tileloadd tmm2, [{c16} + {ld}*1]",
            "tileloadd tmm3, [{c16} + {ld}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm4, [{a} + {row}*1]",
            "tileloadd tmm6, [{b} + {row}*1]",
            "tileloadd tmm7, [{b} + {row}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a16} + {row}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 1024",
            "add {a16}, 1024",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{c} + {ld}*1], tmm0",
            "tilestored [{c} + {ld}*1 + 64], tmm1",
            "tilestored [{c16} + {ld}*1], tmm2",
            "tilestored [{c16} + {ld}*1 + 64], tmm3",
            start = in(reg) start as usize,
            a = inout(reg) a => _,
            a16 = inout(reg) a.wrapping_add(512 * steps) => _,
            b = inout(reg) b => _,
            c = in(reg) c,
            c16 = in(reg) c.wrapping_add(16 * ld),
            ld = in(reg) 4 * ld,
            row = in(reg) 64usize,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Like [`block32`], for the first 16 rows only.
///
/// # Safety
/// As [`block32`], with 16 rows of c.
#[inline]
pub(super) unsafe fn block16(steps: usize, a: *const u16, b: *const u16, c: *mut f32, ld: usize, start: bool) {
    // SAFETY: promised by the caller; the registers written are declared.
    unsafe {
        asm!(
            "test {start}, {start}",
            "jz 2f",
            "tileloadd tmm0, [{c} + {ld}*1]",
            "tileloadd tmm1, [{c} + {ld}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "3:",
            "tileloadd tmm4, [{a} + {row}*1]",
            "tileloadd tmm6, [{b} + {row}*1]",
            "tileloadd tmm7, [{b} + {row}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 1024",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{c} + {ld}*1], tmm0",
            "tilestored [{c} + {ld}*1 + 64], tmm1",
            start = in(reg) start as usize,
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            c = in(reg) c,
            ld = in(reg) 4 * ld,
            row = in(reg) 64usize,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Runs `rounds` × 4 products of tiles in registers and returns the number of floating-point operations. [`configure`]
/// must have been called.
pub(super) fn measure_peak(rounds: usize) -> f64 {
    // SAFETY: the tiles hold values from earlier loads (or zeros); none is stored.
    unsafe {
        asm!(
            "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) rounds => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem),
        );
    }
    (rounds * 4 * 2 * 16 * 16 * 32) as f64
}
