//! [`Isa`] for x86 vector instructions: AVX2, AVX-VNNI and AVX-512 VNNI.

use super::isa::{Isa, Task, Words};
use std::arch::x86_64::*;

/// Two 256-bit registers, rows 0 to 7 and 8 to 15.
#[derive(Clone, Copy)]
pub(super) struct Two(__m256i, __m256i);

impl Two {
    #[inline(always)]
    fn map(self, f: impl Fn(__m256i) -> __m256i) -> Two {
        Two(f(self.0), f(self.1))
    }
    #[inline(always)]
    fn with(self, b: Two, f: impl Fn(__m256i, __m256i) -> __m256i) -> Two {
        Two(f(self.0, b.0), f(self.1, b.1))
    }
}

/// Two registers of f32.
#[derive(Clone, Copy)]
pub(super) struct TwoFloats(__m256, __m256);

// SAFETY: AVX2 instructions only; pointers as the trait demands.
unsafe impl Words for Two {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: as the trait demands, here and below.
        unsafe { Two(_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: see `load`.
        unsafe {
            _mm256_storeu_si256(p.cast(), self.0);
            _mm256_storeu_si256(p.add(32).cast(), self.1);
        }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        // SAFETY: see `load`.
        unsafe {
            Two(
                _mm256_and_si256(self.0, _mm256_set1_epi8(mask as i8)),
                _mm256_and_si256(self.1, _mm256_set1_epi8(mask as i8)),
            )
        }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `load`.
        unsafe { Two(_mm256_or_si256(self.0, other.0), _mm256_or_si256(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn shl(self, bits: u32) -> Self {
        // SAFETY: see `load`.
        unsafe {
            let n = _mm_cvtsi32_si128(bits as i32);
            Two(_mm256_sll_epi16(self.0, n), _mm256_sll_epi16(self.1, n))
        }
    }
    #[inline(always)]
    unsafe fn shr(self, bits: u32) -> Self {
        // SAFETY: see `load`.
        unsafe {
            let n = _mm_cvtsi32_si128(bits as i32);
            Two(_mm256_srl_epi16(self.0, n), _mm256_srl_epi16(self.1, n))
        }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[u8; 16]) -> Self {
        // SAFETY: see `load`.
        unsafe {
            let t = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            Two(_mm256_shuffle_epi8(t, self.0), _mm256_shuffle_epi8(t, self.1))
        }
    }
}

/// The common part of [`Avx2`] and [`AvxVnni`].
macro_rules! two_registers {
    () => {
        type Ints = Two;
        type Floats = TwoFloats;

        #[inline(always)]
        unsafe fn quad(a: *const i8) -> Two {
            // SAFETY: see `load` of its words.
            unsafe {
                let a = _mm256_set1_epi32(a.cast::<i32>().read_unaligned());
                Two(a, a)
            }
        }
        #[inline(always)]
        unsafe fn sums(x: i32) -> Two {
            // SAFETY: see `load` of its words.
            unsafe { Two(_mm256_set1_epi32(x), _mm256_set1_epi32(x)) }
        }
        #[inline(always)]
        unsafe fn sub_shifted(a: Two, b: Two, bits: u32) -> Two {
            // SAFETY: see `load` of its words.
            unsafe {
                let n = _mm_cvtsi32_si128(bits as i32);
                a.with(b, |a, b| _mm256_sub_epi32(a, _mm256_sll_epi32(b, n)))
            }
        }
        #[inline(always)]
        unsafe fn pairs(p: *const u8) -> Two {
            // SAFETY: see `load` of its words.
            unsafe {
                let (a, b) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(16).cast()));
                Two(_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b))
            }
        }
        #[inline(always)]
        unsafe fn add_pairs(sums: Two, pairs: Two, x: *const i16) -> Two {
            // SAFETY: see `load` of its words.
            unsafe {
                let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
                sums.with(pairs, |s, p| _mm256_add_epi32(s, _mm256_madd_epi16(p, x)))
            }
        }
        #[inline(always)]
        unsafe fn floats(sums: Two) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_cvtepi32_ps(sums.0), _mm256_cvtepi32_ps(sums.1)) }
        }
        #[inline(always)]
        unsafe fn halves(p: *const u8) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe {
                let (a, b) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(16).cast()));
                TwoFloats(_mm256_cvtph_ps(a), _mm256_cvtph_ps(b))
            }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(x: TwoFloats, p: *mut f32) {
            // SAFETY: see `load` of its words.
            unsafe {
                _mm256_storeu_ps(p, x.0);
                _mm256_storeu_ps(p.add(8), x.1);
            }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn mul(a: TwoFloats, b: TwoFloats) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn fma(a: TwoFloats, b: TwoFloats, c: TwoFloats) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
        }
        #[inline(always)]
        unsafe fn fnma(a: TwoFloats, b: TwoFloats, c: TwoFloats) -> TwoFloats {
            // SAFETY: see `load` of its words.
            unsafe { TwoFloats(_mm256_fnmadd_ps(a.0, b.0, c.0), _mm256_fnmadd_ps(a.1, b.1, c.1)) }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            // SAFETY: a prefetch hint; any address is valid.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
    };
}

/// Returns a + b of sixteen i16, computed at this point. Otherwise the compiler turns a chain of sums into a tree,
/// whose leaves do not fit the registers.
#[inline]
#[target_feature(enable = "avx2")]
fn add_in_order(a: __m256i, b: __m256i) -> __m256i {
    let mut sum = _mm256_add_epi16(a, b);
    // SAFETY: no instruction is emitted; the value stays in its register.
    unsafe { std::arch::asm!("/* {0} */", inout(ymm_reg) sum, options(pure, nomem, nostack, preserves_flags)) };
    sum
}

/// AVX2, FMA and F16C: `vpmaddubsw` sums pairs of products in 16 bits, `vpmaddwd` multiplies by the scale as it widens.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

// SAFETY: AVX2, FMA and F16C instructions only; pointers as the trait demands.
unsafe impl Isa for Avx2 {
    two_registers!();
    const WIDE: bool = false;
    const TILE: usize = 4;

    unsafe fn enter(task: impl Task<Self>) {
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn run<I>(task: impl Task<I>) {
            // SAFETY: as promised by the caller, here and below.
            unsafe { task.run() }
        }
        // SAFETY: see `run`.
        unsafe { run(task) }
    }

    #[inline(always)]
    unsafe fn first(w: Two, a: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { w.with(a, |w, a| _mm256_maddubs_epi16(w, a)) }
    }
    #[inline(always)]
    unsafe fn more(part: Two, w: Two, a: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe {
            Two(
                add_in_order(part.0, _mm256_maddubs_epi16(w.0, a.0)),
                add_in_order(part.1, _mm256_maddubs_epi16(w.1, a.1)),
            )
        }
    }
    #[inline(always)]
    unsafe fn add_shifted(sums: Two, part: Two, bits: u32) -> Two {
        // SAFETY: see `load` of its words.
        unsafe {
            let scale = _mm256_set1_epi16(1 << bits);
            sums.with(part, |s, p| _mm256_add_epi32(s, _mm256_madd_epi16(p, scale)))
        }
    }
    #[inline(always)]
    unsafe fn add_scaled(sums: Two, part: Two, scale: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe {
            Two(
                _mm256_add_epi32(sums.0, _mm256_madd_epi16(part.0, scale.0)),
                _mm256_add_epi32(sums.1, _mm256_madd_epi16(part.1, scale.1)),
            )
        }
    }
    /// Copies the factor to both halves of 32 bits.
    #[inline(always)]
    unsafe fn low(pairs: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { pairs.map(|p| _mm256_blend_epi16::<0xaa>(p, _mm256_slli_epi32::<16>(p))) }
    }
    #[inline(always)]
    unsafe fn high(pairs: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { pairs.map(|p| _mm256_blend_epi16::<0xaa>(_mm256_srli_epi32::<16>(p), p)) }
    }
}

/// AVX2 with AVX-VNNI's `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

// SAFETY: AVX2, FMA, F16C and AVX-VNNI instructions only; pointers as the trait demands.
unsafe impl Isa for AvxVnni {
    two_registers!();
    const WIDE: bool = true;
    const TILE: usize = 4;

    unsafe fn enter(task: impl Task<Self>) {
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        unsafe fn run<I>(task: impl Task<I>) {
            // SAFETY: as promised by the caller, here and below.
            unsafe { task.run() }
        }
        // SAFETY: see `run`.
        unsafe { run(task) }
    }

    #[inline(always)]
    unsafe fn first(w: Two, a: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { w.with(a, |w, a| _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), w, a)) }
    }
    #[inline(always)]
    unsafe fn more(part: Two, w: Two, a: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { Two(_mm256_dpbusd_avx_epi32(part.0, w.0, a.0), _mm256_dpbusd_avx_epi32(part.1, w.1, a.1)) }
    }
    #[inline(always)]
    unsafe fn add_shifted(sums: Two, part: Two, bits: u32) -> Two {
        // SAFETY: see `load` of its words.
        unsafe {
            let n = _mm_cvtsi32_si128(bits as i32);
            sums.with(part, |s, p| _mm256_add_epi32(s, _mm256_sll_epi32(p, n)))
        }
    }
    #[inline(always)]
    unsafe fn add_scaled(sums: Two, part: Two, scale: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { sums.with(part.with(scale, |p, s| _mm256_mullo_epi32(p, s)), |s, p| _mm256_add_epi32(s, p)) }
    }
    /// Sign-extends the factor to 32 bits.
    #[inline(always)]
    unsafe fn low(pairs: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { pairs.map(|p| _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(p))) }
    }
    #[inline(always)]
    unsafe fn high(pairs: Two) -> Two {
        // SAFETY: see `load` of its words.
        unsafe { pairs.map(|p| _mm256_srai_epi32::<16>(p)) }
    }
}

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct One(__m512i);

// SAFETY: AVX-512 F and BW instructions only; pointers as the trait demands.
unsafe impl Words for One {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: as the trait demands, here and below.
        unsafe { One(_mm512_loadu_si512(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: see `load`.
        unsafe { _mm512_storeu_si512(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        // SAFETY: see `load`.
        unsafe { One(_mm512_and_si512(self.0, _mm512_set1_epi8(mask as i8))) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `load`.
        unsafe { One(_mm512_or_si512(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn shl(self, bits: u32) -> Self {
        // SAFETY: see `load`.
        unsafe { One(_mm512_sll_epi16(self.0, _mm_cvtsi32_si128(bits as i32))) }
    }
    #[inline(always)]
    unsafe fn shr(self, bits: u32) -> Self {
        // SAFETY: see `load`.
        unsafe { One(_mm512_srl_epi16(self.0, _mm_cvtsi32_si128(bits as i32))) }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[u8; 16]) -> Self {
        // SAFETY: see `load`.
        unsafe { One(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), self.0)) }
    }
}

/// AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni;

// SAFETY: AVX-512 F, BW and VNNI, FMA and F16C instructions only; pointers as the trait demands.
unsafe impl Isa for Avx512Vnni {
    type Ints = One;
    type Floats = __m512;
    const WIDE: bool = true;
    const TILE: usize = 8;

    unsafe fn enter(task: impl Task<Self>) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
        unsafe fn run<I>(task: impl Task<I>) {
            // SAFETY: as promised by the caller, here and below.
            unsafe { task.run() }
        }
        // SAFETY: see `run`.
        unsafe { run(task) }
    }

    #[inline(always)]
    unsafe fn quad(a: *const i8) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_set1_epi32(a.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn first(w: One, a: One) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_dpbusd_epi32(_mm512_setzero_si512(), w.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn more(part: One, w: One, a: One) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_dpbusd_epi32(part.0, w.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn sums(x: i32) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_set1_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn add_shifted(sums: One, part: One, bits: u32) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_add_epi32(sums.0, _mm512_sll_epi32(part.0, _mm_cvtsi32_si128(bits as i32)))) }
    }
    #[inline(always)]
    unsafe fn add_scaled(sums: One, part: One, scale: One) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_add_epi32(sums.0, _mm512_mullo_epi32(part.0, scale.0))) }
    }
    #[inline(always)]
    unsafe fn sub_shifted(a: One, b: One, bits: u32) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_sub_epi32(a.0, _mm512_sll_epi32(b.0, _mm_cvtsi32_si128(bits as i32)))) }
    }
    #[inline(always)]
    unsafe fn pairs(p: *const u8) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn low(pairs: One) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(pairs.0))) }
    }
    #[inline(always)]
    unsafe fn high(pairs: One) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_srai_epi32::<16>(pairs.0)) }
    }
    #[inline(always)]
    unsafe fn add_pairs(sums: One, pairs: One, x: *const i16) -> One {
        // SAFETY: see `load` of its words.
        unsafe { One(_mm512_dpwssd_epi32(sums.0, pairs.0, _mm512_set1_epi32(x.cast::<i32>().read_unaligned()))) }
    }
    #[inline(always)]
    unsafe fn floats(sums: One) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_cvtepi32_ps(sums.0) }
    }
    #[inline(always)]
    unsafe fn halves(p: *const u8) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(x: __m512, p: *mut f32) {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_storeu_ps(p, x) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see `load` of its words.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: a prefetch hint; any address is valid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
