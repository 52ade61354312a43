//! Sixteen lanes of f32: one AVX-512 register, two AVX2 registers, or an array. A kernel written once over [`Vector`]
//! does the same operations in the same order at every level.

/// Sixteen f32.
///
/// # Safety
/// All functions must run where the implementing type's instructions are available, inlined into a function with those
/// target features; pointers must be valid for the lanes that are read or written.
pub(crate) unsafe trait Vector: Copy {
    /// True if the register file holds a tile of 8 × 2 vectors (otherwise 4 × 1).
    const WIDE: bool;
    /// A mask of the first lanes.
    type Mask: Copy;
    /// Returns a mask of the first `n` lanes (all, if `n` ≥ 16).
    unsafe fn mask(n: usize) -> Self::Mask;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// Loads the lanes in the mask; the others are not read and are 0.
    unsafe fn load_mask(p: *const f32, m: Self::Mask) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_mask(self, p: *mut f32, m: Self::Mask);
    /// Returns self · b + c, rounded once if the processor has such an instruction.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    /// Returns self inside the mask, `other` outside.
    unsafe fn select(self, m: Self::Mask, other: Self) -> Self;
    /// Returns self · 2^k, with k in the low bits of `shifted`. self is in [0.5, 2), the result is normal.
    unsafe fn scale_by_low_bits(self, shifted: Self) -> Self;

    /// Prefetches the cache line at `p`, which need not exist.
    #[inline(always)]
    fn prefetch(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch hint; any address is valid.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }

    /// Returns the lanes.
    #[inline(always)]
    unsafe fn array(self) -> [f32; 16] {
        let mut a = [0f32; 16];
        // SAFETY: the array has 16 elements.
        unsafe { self.store(a.as_mut_ptr()) };
        a
    }

    /// Sums the lanes, in a fixed order of pairs.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as the trait demands.
        let mut a = unsafe { self.array() };
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                a[i] += a[i + width];
            }
        }
        a[0]
    }

    /// Returns the largest lane.
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: as the trait demands.
        let mut a = unsafe { self.array() };
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                a[i] = if a[i + width] > a[i] { a[i + width] } else { a[i] };
            }
        }
        a[0]
    }

    /// Transposes: lane j of result i is lane i of `rows[j]`.
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 16]) -> [Self; 16] {
        let mut out = [[0f32; 16]; 16];
        for (j, row) in rows.into_iter().enumerate() {
            // SAFETY: as the trait demands.
            let row = unsafe { row.array() };
            for i in 0..16 {
                out[i][j] = row[i];
            }
        }
        // SAFETY: each array has 16 elements.
        out.map(|x| unsafe { Self::load(x.as_ptr()) })
    }

    /// Computes e^x for x ≤ 88, to 2 ulp; below -87.3 it is the smallest normal number.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
        // SAFETY: as the trait demands.
        unsafe {
            let c = |x: f32| Self::splat(x);
            let x = c(-87.3).max(self); // in this operand order a NaN stays NaN
            let shifted = x.fma(c(std::f32::consts::LOG2_E), c(MAGIC));
            let n = shifted.sub(c(MAGIC));
            let r = n.fma(c(2.121_944_4e-4), n.fma(c(-0.693_359_4), x));
            let mut p = c(1.987_569_1e-4);
            for a in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                p = p.fma(r, c(a));
            }
            p.mul(r).fma(r, r).add(c(1.0)).scale_by_low_bits(shifted)
        }
    }
}

/// Defines a function that runs a generic kernel at the processor's level.
macro_rules! at_level {
    ($(#[$meta:meta])* $name:ident = $($kernel:ident)::+, ($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        $(#[$meta])*
        pub(super) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as the kernel demands, promised by the caller.
                unsafe { $($kernel)::+::<$crate::cpu::simd::vector::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { $($kernel)::+::<$crate::cpu::simd::vector::Avx2>($($arg),*) }
            }
            // SAFETY: `level` found these features; the rest is promised by the caller.
            unsafe {
                match $crate::cpu::simd::level() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::simd::Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::simd::Level::Avx2 => avx2($($arg),*),
                    _ => $($kernel)::+::<$crate::cpu::simd::vector::Portable>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use at_level;

/// The baseline: an array that the compiler vectorizes.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 16]);

#[inline(always)]
fn portable_fma(a: f32, b: f32, c: f32) -> f32 {
    // Without an FMA instruction, a fused multiply-add is a call to a slow function.
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn map2(a: [f32; 16], b: [f32; 16], f: impl Fn(f32, f32) -> f32) -> Portable {
    Portable(std::array::from_fn(|i| f(a[i], b[i])))
}

// SAFETY: no instructions beyond the baseline; pointers as the trait demands.
unsafe impl Vector for Portable {
    const WIDE: bool = false;
    type Mask = usize;
    #[inline(always)]
    unsafe fn mask(n: usize) -> usize {
        n.min(16)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; 16])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: 16 readable lanes; arrays of f32 have its alignment.
        unsafe { Portable(*p.cast::<[f32; 16]>()) }
    }
    #[inline(always)]
    unsafe fn load_mask(p: *const f32, m: usize) -> Self {
        if m == 16 {
            // SAFETY: all lanes are readable.
            return unsafe { Self::load(p) };
        }
        // SAFETY: the first m lanes are readable.
        Portable(std::array::from_fn(|i| if i < m { unsafe { *p.add(i) } } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: 16 writable lanes.
        unsafe { *p.cast::<[f32; 16]>() = self.0 }
    }
    #[inline(always)]
    unsafe fn store_mask(self, p: *mut f32, m: usize) {
        for (i, x) in self.0.into_iter().enumerate().take(m) {
            // SAFETY: the first m lanes are writable.
            unsafe { *p.add(i) = x }
        }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Portable(std::array::from_fn(|i| portable_fma(self.0[i], b.0[i], c.0[i])))
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        map2(self.0, b.0, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        map2(self.0, b.0, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        map2(self.0, b.0, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        map2(self.0, b.0, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn select(self, m: usize, other: Self) -> Self {
        Portable(std::array::from_fn(|i| if i < m { self.0[i] } else { other.0[i] }))
    }
    #[inline(always)]
    unsafe fn scale_by_low_bits(self, shifted: Self) -> Self {
        map2(self.0, shifted.0, |a, s| f32::from_bits(a.to_bits().wrapping_add(s.to_bits() << 23)))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    /// One 512-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY: only AVX-512 F instructions; pointers as the trait demands.
    unsafe impl Vector for Avx512 {
        const WIDE: bool = true;
        type Mask = __mmask16;
        #[inline(always)]
        unsafe fn mask(n: usize) -> __mmask16 {
            if n >= 16 { !0 } else { (1 << n) - 1 }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait demands, here and below.
            unsafe { Avx512(_mm512_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_loadu_ps(p)) }
        }
        #[inline(always)]
        unsafe fn load_mask(p: *const f32, m: __mmask16) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_maskz_loadu_ps(m, p)) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see `splat`.
            unsafe { _mm512_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn store_mask(self, p: *mut f32, m: __mmask16) {
            // SAFETY: see `splat`.
            unsafe { _mm512_mask_storeu_ps(p, m, self.0) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_fmadd_ps(self.0, b.0, c.0)) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_add_ps(self.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_sub_ps(self.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_mul_ps(self.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_max_ps(self.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn select(self, m: __mmask16, other: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { Avx512(_mm512_mask_mov_ps(other.0, m, self.0)) }
        }
        #[inline(always)]
        unsafe fn scale_by_low_bits(self, shifted: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted.0));
                Avx512(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), power)))
            }
        }
        #[inline(always)]
        unsafe fn transpose(rows: [Self; 16]) -> [Self; 16] {
            // SAFETY: see `splat`.
            unsafe {
                let mut t = [_mm512_setzero_ps(); 16];
                let mut r = t;
                for i in 0..8 {
                    let (a, b) = (rows[2 * i].0, rows[2 * i + 1].0);
                    (t[2 * i], t[2 * i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                }
                let pd = |x| _mm512_castps_pd(x);
                for i in 0..4 {
                    for j in 0..2 {
                        let (a, b) = (pd(t[4 * i + j]), pd(t[4 * i + j + 2]));
                        r[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                        r[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                    }
                }
                // r[4i + j]: in 128-bit lane k, column 4k + j of rows 4i..4i + 4.
                for j in 0..4 {
                    t[j] = _mm512_shuffle_f32x4::<0x88>(r[j], r[4 + j]);
                    t[4 + j] = _mm512_shuffle_f32x4::<0xdd>(r[j], r[4 + j]);
                    t[8 + j] = _mm512_shuffle_f32x4::<0x88>(r[8 + j], r[12 + j]);
                    t[12 + j] = _mm512_shuffle_f32x4::<0xdd>(r[8 + j], r[12 + j]);
                }
                for j in 0..4 {
                    r[j] = _mm512_shuffle_f32x4::<0x88>(t[j], t[8 + j]);
                    r[8 + j] = _mm512_shuffle_f32x4::<0xdd>(t[j], t[8 + j]);
                    r[4 + j] = _mm512_shuffle_f32x4::<0x88>(t[4 + j], t[12 + j]);
                    r[12 + j] = _mm512_shuffle_f32x4::<0xdd>(t[4 + j], t[12 + j]);
                }
                r.map(Avx512)
            }
        }
    }

    /// The active lanes of two registers. Masked stores cost forty operations on some processors, so a mask records if
    /// it covers all lanes.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Mask {
        low: __m256i,
        high: __m256i,
        whole: bool,
    }

    /// Two 256-bit registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    // SAFETY: only AVX2 and FMA instructions; pointers as the trait demands.
    unsafe impl Vector for Avx2 {
        const WIDE: bool = false;
        type Mask = Avx2Mask;
        #[inline(always)]
        unsafe fn mask(n: usize) -> Self::Mask {
            let whole = n >= 16;
            let n = n.min(16) as i32;
            // SAFETY: as the trait demands, here and below.
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let lanes = |n: i32| _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
                Avx2Mask { low: lanes(n), high: lanes(n - 8), whole }
            }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn load_mask(p: *const f32, m: Self::Mask) -> Self {
            // SAFETY: see `mask`; masked lanes are not read, wherever they point.
            unsafe { Avx2(_mm256_maskload_ps(p, m.low), _mm256_maskload_ps(p.wrapping_add(8), m.high)) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see `mask`.
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn store_mask(self, p: *mut f32, m: Self::Mask) {
            // SAFETY: see `load_mask`.
            unsafe {
                if m.whole {
                    return self.store(p);
                }
                _mm256_maskstore_ps(p, m.low, self.0);
                _mm256_maskstore_ps(p.wrapping_add(8), m.high, self.1);
            }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_sub_ps(self.0, b.0), _mm256_sub_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe { Avx2(_mm256_max_ps(self.0, b.0), _mm256_max_ps(self.1, b.1)) }
        }
        #[inline(always)]
        unsafe fn select(self, m: Self::Mask, other: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe {
                let pick = |a, b, m| _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
                Avx2(pick(self.0, other.0, m.low), pick(self.1, other.1, m.high))
            }
        }
        #[inline(always)]
        unsafe fn scale_by_low_bits(self, shifted: Self) -> Self {
            // SAFETY: see `mask`.
            unsafe {
                let scale = |a, s| {
                    let power = _mm256_slli_epi32::<23>(_mm256_castps_si256(s));
                    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), power))
                };
                Avx2(scale(self.0, shifted.0), scale(self.1, shifted.1))
            }
        }
        #[inline(always)]
        unsafe fn transpose(rows: [Self; 16]) -> [Self; 16] {
            // SAFETY: see `mask`.
            unsafe {
                let [a, b, c, d] = [(0, false), (8, false), (0, true), (8, true)].map(|(first, high)| {
                    let block = std::array::from_fn(|i| if high { rows[first + i].1 } else { rows[first + i].0 });
                    crate::cpu::isa::avx2::transpose(block)
                });
                std::array::from_fn(|i| if i < 8 { Avx2(a[i], b[i]) } else { Avx2(c[i - 8], d[i - 8]) })
            }
        }
    }
}
