//! Multiplies rows of activations by a quantized matrix, sixteen rows of the matrix at a time.
//!
//! One or two rows of activations use the codes as they are unpacked, at memory speed. With more rows, a stretch of
//! codes is unpacked once into the L1 cache ([`super::tiles`]). In both cases an output is one chain of fused
//! multiply-adds over the blocks of k, whose integer sums are exact. So rows do not affect each other.

use super::activations::{Layout, Tile};
use super::blocks::{Blocks, half_of, planes, run};
use super::format::{BlockFormat, Flat, Iq4_NL, Iq4_XS, Mxfp4, Nested};
use super::format::{Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
use super::isa::{Isa, Portable, Task, Words};
use super::job::{Job, LANES, Tiles, lines};
use super::tiles;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512Vnni, AvxVnni};
use crate::cpu::simd::{Level, level};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::OnceLock;

/// Maximum rows of activations that use codes as they are unpacked.
const DIRECT: usize = 2;
/// Distance in bytes from a read to its prefetch.
const AHEAD: usize = 4096;

/// Prefetches the i-th of n slices of the block [`AHEAD`] bytes further on, spread out because only a few cache-line
/// fetches may be outstanding.
#[inline(always)]
unsafe fn ask<I: Isa, F: BlockFormat>(block: *const u8, i: usize, n: usize) {
    for line in lines(F::BYTES, i, n) {
        // SAFETY: as promised by the caller.
        unsafe { I::prefetch(block.wrapping_add(AHEAD + 64 * line)) };
    }
}

#[inline(always)]
unsafe fn flat<I: Isa, F: Flat>(block: *const u8, b: usize, row: Tile, acc: I::Floats) -> I::Floats {
    // SAFETY: as promised by the caller.
    unsafe {
        let (q, codes) = (row.q.add(32 * b), block.add(F::CODES));
        macro_rules! quad {
            ($i:expr, $plane:expr) => {
                half_of::<I, F>(F::quad::<I::Ints>(codes, 0, 0, $i), $plane)
            };
        }
        let mut sums = I::sums(if F::OFFSET == 0 { 0 } else { *row.fix.add(b) });
        ask::<I, F>(block, 0, 1);
        for plane in 0..planes::<I, F>() {
            for start in (0..8).step_by(run::<I, F>()) {
                let mut part = I::first(quad!(start, plane), I::quad(q.add(4 * start)));
                for i in start + 1..start + run::<I, F>() {
                    part = I::more(part, quad!(i, plane), I::quad(q.add(4 * i)));
                }
                sums = I::add_shifted(sums, part, 4 * plane as u32);
            }
        }
        let d = if F::SINGLE { I::load(block.cast()) } else { I::halves(block) };
        let acc = I::fma(I::floats(sums), I::mul(d, I::splat(*row.d.add(b))), acc);
        if F::MIN { I::fma(I::halves(block.add(32)), I::splat(*row.dsum.add(b)), acc) } else { acc }
    }
}

#[inline(always)]
unsafe fn nested<I: Isa, F: Nested>(block: *const u8, b: usize, row: Tile, acc: I::Floats) -> I::Floats {
    // SAFETY: as promised by the caller.
    unsafe {
        let (q, codes, small) = (row.q.add(256 * b), block.add(F::CODES), block.add(F::SMALL));
        let run = if F::SUB == 16 && run::<I, F>() > 4 { 4 } else { run::<I, F>() };
        let mut sums = I::sums(0);
        for half in 0..2 {
            // Unrolled, so that most shift counts are constants.
            macro_rules! sub {
                ($quarter:literal) => {{
                    let (sub, q) = (4 * half + $quarter, q.add(32 * (4 * half + $quarter)));
                    macro_rules! quad {
                        ($i:expr, $plane:expr) => {
                            half_of::<I, F>(F::quad::<I::Ints>(codes, half, $quarter, $i), $plane)
                        };
                    }
                    ask::<I, F>(block, sub, 8);
                    let pairs = I::pairs(small.add(sub * 32 / (2 * F::SUB) * 32));
                    for plane in 0..planes::<I, F>() {
                        for start in (0..8).step_by(run) {
                            let second = if F::SUB == 16 { start >= 4 } else { $quarter % 2 == 1 };
                            let scale = if second { I::high(pairs) } else { I::low(pairs) };
                            let scale = if plane == 1 { scale.shl(4) } else { scale };
                            let mut part = I::first(quad!(start, plane), I::quad(q.add(4 * start)));
                            for i in start + 1..start + run {
                                part = I::more(part, quad!(i, plane), I::quad(q.add(4 * i)));
                            }
                            sums = I::add_scaled(sums, part, scale);
                        }
                    }
                }};
            }
            sub!(0);
            sub!(1);
            sub!(2);
            sub!(3);
        }
        // The amount that offset or minima subtract.
        let mut less = I::sums(0);
        let bytes = if F::MIN { small.add(F::SMALL_BYTES) } else { small };
        for pair in 0..128 / F::SUB {
            less = I::add_pairs(less, I::pairs(bytes.add(32 * pair)), row.sums.add(b * (256 / F::SUB) + 2 * pair));
        }
        let (d, scale) = (I::halves(block), I::splat(*row.d.add(b)));
        if F::MIN {
            let acc = I::fma(I::floats(sums), I::mul(d, scale), acc);
            I::fnma(I::floats(less), I::mul(I::halves(block.add(32)), scale), acc)
        } else {
            I::fma(I::floats(I::sub_shifted(sums, less, F::OFFSET_BITS)), I::mul(d, scale), acc)
        }
    }
}

const fn flat_layout<F: Flat>() -> Layout {
    Layout::Flat { offset: F::OFFSET }
}

const fn nested_layout<F: Nested>() -> Layout {
    Layout::Nested { sub: F::SUB }
}

fn half(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Returns the four codes of a quad of one row.
fn codes<F: BlockFormat>(block: &[u8], lane: usize, quad: usize) -> [f32; 4] {
    assert!(block.len() >= F::BYTES && lane < LANES, "invariant: a whole block");
    // SAFETY: the words of a lane lie within the block, which was checked.
    let quad = unsafe { F::quad::<u32>(block.as_ptr().add(F::CODES + 4 * lane), quad / 32, quad / 8 % 4, quad % 8) };
    quad.to_le_bytes().map(f32::from)
}

fn flat_values<F: Flat>(block: &[u8], lane: usize, out: &mut [f32]) {
    let d = match F::SINGLE {
        true => f32::from_le_bytes([0, 1, 2, 3].map(|i| block[4 * lane + i])),
        false => half(block, 2 * lane),
    };
    for (i, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let q = codes::<F>(block, lane, i);
        *out = match F::MIN {
            true => q.map(|q| d * q + half(block, 32 + 2 * lane)),
            false => q.map(|q| d * (q - F::OFFSET as f32)),
        };
    }
}

fn nested_values<F: Nested>(block: &[u8], lane: usize, out: &mut [f32]) {
    let (d, offset) = (half(block, 2 * lane), (1u32 << F::OFFSET_BITS) as f32);
    let small = |at: usize, j: usize| f32::from(block[at + j / 2 * 32 + 2 * lane + j % 2] as i8);
    for (quad, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let j = 4 * quad / F::SUB;
        let (q, scale) = (codes::<F>(block, lane, quad), d * small(F::SMALL, j));
        *out = match F::MIN {
            true => {
                let min = half(block, 32 + 2 * lane) * small(F::SMALL + F::SMALL_BYTES, j);
                q.map(|q| scale * q - min)
            }
            false => q.map(|q| scale * (q - offset)),
        };
    }
}

macro_rules! kernels {
    ($layout:ident, $add:ident, $values:ident, $bytes:ident, $unpack:ident, $multiply:ident, $($name:ident)*) => { $(
        impl Blocks for $name {
            const LAYOUT: Layout = $layout::<$name>();
            #[inline(always)]
            unsafe fn add<I: Isa>(block: *const u8, b: usize, row: Tile, acc: I::Floats) -> I::Floats {
                // SAFETY: as promised by the caller, here and below.
                unsafe { $add::<I, $name>(block, b, row, acc) }
            }
            fn unpacked_bytes<I: Isa>() -> usize {
                tiles::$bytes::<I, $name>()
            }
            #[inline(always)]
            unsafe fn unpack<I: Isa>(block: *const u8, out: *mut u8) {
                // SAFETY: see `add`.
                unsafe { tiles::$unpack::<I, $name>(block, out) }
            }
            unsafe fn multiply<I: Isa>(tiles: Tiles) {
                // SAFETY: see `add`.
                unsafe { tiles::$multiply::<I, $name>(tiles) }
            }
            fn values(block: &[u8], lane: usize, out: &mut [f32]) {
                $values::<$name>(block, lane, out);
            }
        }
    )* };
}
kernels!(flat_layout, flat, flat_values, flat_bytes, unpack_flat, multiply_flat, Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Iq4_NL Mxfp4);
kernels!(nested_layout, nested, nested_values, nested_bytes, unpack_nested, multiply_nested,
    Q2_K Q3_K Q4_K Q5_K Q6_K Iq4_XS);

/// Groups of sixteen rows times one row of activations, using codes as they are unpacked.
struct Direct<'a, F> {
    job: &'a Job<'a>,
    groups: Range<usize>,
    format: PhantomData<F>,
}

impl<I: Isa, F: Blocks> Task<I> for Direct<'_, F> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.job;
        for g in self.groups {
            for (m, row) in job.tiles.iter().enumerate() {
                // SAFETY: the job is valid, as promised by the caller.
                unsafe {
                    let mut acc = job.load::<I>(job.accumulate, m, g);
                    let mut block = job.weights.add(g * job.blocks * F::BYTES);
                    for b in 0..job.blocks {
                        acc = F::add::<I>(block, b, *row, acc);
                        block = block.add(F::BYTES);
                    }
                    job.store::<I>(acc, m, g);
                }
            }
        }
    }
}

/// Multiplies all rows by the groups `groups` of sixteen.
///
/// # Safety
/// I's instructions are available; the job's pointers are valid for its sizes, and no other task writes these columns
/// of y.
unsafe fn multiply<I: Isa, F: Blocks>(job: &Job, groups: Range<usize>) {
    // SAFETY: as promised by the caller.
    unsafe {
        match job.tile {
            1 => I::enter(Direct::<F> { job, groups, format: PhantomData }),
            _ => tiles::multiply::<I, F>(job, groups),
        }
    }
}

/// The instructions used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Instructions {
    /// Returns the instruction sets of this processor, best last.
    pub(super) fn available() -> Vec<Instructions> {
        let mut all = vec![Instructions::Portable];
        #[cfg(target_arch = "x86_64")]
        if level() >= Level::Avx2 && is_x86_feature_detected!("f16c") {
            all.push(Instructions::Avx2);
            if is_x86_feature_detected!("avxvnni") && std::env::var("MENO_CPU").as_deref() != Ok("avx2") {
                all.push(Instructions::AvxVnni);
            }
            if level() == Level::Avx512 && is_x86_feature_detected!("avx512vnni") {
                all.push(Instructions::Avx512Vnni);
            }
        }
        all
    }

    /// Returns their common name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Instructions::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => "avx512vnni",
        }
    }

    /// Returns the best available instruction set.
    pub(super) fn best() -> Instructions {
        static BEST: OnceLock<Instructions> = OnceLock::new();
        *BEST.get_or_init(|| Instructions::available().pop().unwrap_or(Instructions::Portable))
    }

    /// Returns the tile size for `rows` rows of activations; 1 if they use codes as they are unpacked.
    pub(super) fn tile(self, rows: usize) -> usize {
        let most = match self {
            Instructions::Portable => Portable::TILE,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Avx2::TILE,
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => AvxVnni::TILE,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => Avx512Vnni::TILE,
        };
        match rows {
            0..=DIRECT => 1,
            _ if rows <= 4 => 4,
            _ => most,
        }
    }

    /// Multiplies all rows by the groups `groups` of sixteen.
    ///
    /// # Safety
    /// These instructions are [available](Instructions::available); the job's pointers are valid for its sizes, and no
    /// other task writes these columns of y.
    pub(super) unsafe fn multiply<F: Blocks>(self, job: &Job, groups: Range<usize>) {
        // SAFETY: as promised by the caller.
        unsafe {
            match self {
                Instructions::Portable => multiply::<Portable, F>(job, groups),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => multiply::<Avx2, F>(job, groups),
                #[cfg(target_arch = "x86_64")]
                Instructions::AvxVnni => multiply::<AvxVnni, F>(job, groups),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512Vnni => multiply::<Avx512Vnni, F>(job, groups),
            }
        }
    }
}

/// Runs the inner loop of [`super::tiles`] `rounds` times on a few bytes in the L1 cache. Returns the number of
/// operations (a product and its sum count as two).
pub(crate) fn measure_int8_peak(rounds: usize) -> f64 {
    let (codes, activations) = ([3u8; 8 * 64], [5i8; 8 * 32]);
    let task = tiles::PeakLoop { rounds, codes: &codes, activations: &activations };
    // SAFETY: the instructions are available.
    unsafe {
        match Instructions::best() {
            Instructions::Portable => Portable::enter(task),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Avx2::enter(task),
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => AvxVnni::enter(task),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => Avx512Vnni::enter(task),
        }
    }
    (rounds * 2 * Instructions::best().tile(usize::MAX) * 32 * LANES) as f64
}
