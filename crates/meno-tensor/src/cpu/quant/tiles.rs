//! Many rows of activations: a stretch of a group's codes is unpacked once, with its scales, and multiplied by tiles of
//! four or eight rows. Unpacked blocks have the same layout for all 32-value types, and for all 256-value types. So the
//! loops here are compiled for a few shapes, not for every type.
//!
//! An unpacked block of 32 holds d and m (f32, sixteen each), then the codes, one plane after the other if they are
//! split. An unpacked block of 256 holds d and dmin, a scale for every small scale, the pairs for offset or minima,
//! then the codes.

use super::blocks::{Blocks, half_of, planes, run};
use super::format::{Flat, Nested};
use super::isa::{Isa, Task, Words};
use super::job::{Job, LANES, Tiles};
use std::hint::black_box;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Maximum bytes unpacked: they stay in the L1 cache together with a tile's activations.
const UNPACKED: usize = 20 << 10;
/// Sixteen values of 32 bits.
const V: usize = 4 * LANES;

/// Unpacked codes and scales.
#[repr(align(64))]
struct Memory([MaybeUninit<u8>; UNPACKED]);

/// Multiplies all rows by the groups `groups` of sixteen.
///
/// # Safety
/// I's instructions are available; the job's pointers are valid for its sizes, and no other task writes these columns
/// of y.
pub(super) unsafe fn multiply<I: Isa, F: Blocks>(job: &Job, groups: Range<usize>) {
    let mut memory = Memory([MaybeUninit::uninit(); UNPACKED]);
    let unpacked = memory.0.as_mut_ptr().cast::<u8>();
    let most = UNPACKED / F::unpacked_bytes::<I>();
    // One stretch at a time: the rows' part of k stays in the L2 cache for all groups.
    for start in (0..job.blocks).step_by(most) {
        let blocks = start..job.blocks.min(start + most);
        for g in groups.clone() {
            // SAFETY: as promised by the caller; `most` blocks fit.
            unsafe {
                let packed = job.weights.add((g * job.blocks + start) * F::BYTES);
                I::enter(Unpack::<F> { packed, unpacked, blocks: blocks.len(), format: PhantomData });
                let next = packed.wrapping_add(job.blocks * F::BYTES);
                F::multiply::<I>(Tiles { job, g, unpacked, blocks: blocks.clone(), next, block_bytes: F::BYTES });
            }
        }
    }
}

struct Unpack<F> {
    packed: *const u8,
    unpacked: *mut u8,
    blocks: usize,
    format: PhantomData<F>,
}

impl<I: Isa, F: Blocks> Task<I> for Unpack<F> {
    #[inline(always)]
    unsafe fn run(self) {
        for b in 0..self.blocks {
            // SAFETY: as promised by the caller.
            unsafe { F::unpack::<I>(self.packed.add(b * F::BYTES), self.unpacked.add(b * F::unpacked_bytes::<I>())) };
        }
    }
}

/// Sums the products of RUN quads of T rows, with codes starting at `codes` and activations at `q`.
#[inline(always)]
unsafe fn products<I: Isa, const T: usize, const RUN: usize>(codes: *const u8, q: *const i8) -> [I::Ints; T] {
    // SAFETY: as promised by the caller.
    unsafe {
        let w = I::Ints::load(codes);
        let mut part = [w; T];
        for m in 0..T {
            part[m] = I::first(w, I::quad(q.add(4 * m)));
        }
        for i in 1..RUN {
            let w = I::Ints::load(codes.add(V * i));
            for m in 0..T {
                part[m] = I::more(part[m], w, I::quad(q.add(4 * (T * i + m))));
            }
        }
        part
    }
}

/// The peak-throughput loop of [`super::kernel::measure_int8_peak`].
pub(super) struct PeakLoop<'a> {
    pub(super) rounds: usize,
    pub(super) codes: &'a [u8; 8 * V],
    pub(super) activations: &'a [i8; 8 * 32],
}

impl<I: Isa> Task<I> for PeakLoop<'_> {
    #[inline(always)]
    unsafe fn run(self) {
        // SAFETY: as promised by the caller; the arrays hold eight quads of codes and of eight rows.
        unsafe { if I::TILE == 8 { self.tiles::<I, 8>() } else { self.tiles::<I, 4>() } }
    }
}

impl PeakLoop<'_> {
    #[inline(always)]
    unsafe fn tiles<I: Isa, const T: usize>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = [I::sums(0); T];
            for _ in 0..self.rounds {
                let (codes, q) = (black_box(self.codes), black_box(self.activations));
                let part = products::<I, T, 8>(codes.as_ptr(), q.as_ptr());
                for m in 0..T {
                    sums[m] = I::add_shifted(sums[m], part[m], 0);
                }
            }
            for sums in sums {
                let mut out = [0u8; V];
                sums.store(out.as_mut_ptr());
                black_box(out);
            }
        }
    }
}

/// Offset of the codes in an unpacked block of 32.
const FLAT_CODES: usize = 2 * V;

pub(super) const fn flat_bytes<I: Isa, F: Flat>() -> usize {
    FLAT_CODES + planes::<I, F>() * 8 * V
}

#[inline(always)]
pub(super) unsafe fn unpack_flat<I: Isa, F: Flat>(block: *const u8, out: *mut u8) {
    // SAFETY: as promised by the caller.
    unsafe {
        I::store(if F::SINGLE { I::load(block.cast()) } else { I::halves(block) }, out.cast());
        I::store(if F::MIN { I::halves(block.add(32)) } else { I::splat(0.0) }, out.add(V).cast());
        for i in 0..8 {
            let codes = F::quad::<I::Ints>(block.add(F::CODES), 0, 0, i);
            for plane in 0..planes::<I, F>() {
                half_of::<I, F>(codes, plane).store(out.add(FLAT_CODES + (plane * 8 + i) * V));
            }
        }
    }
}

/// Returns true if tiles have eight rows. It is constant false on instruction sets without such tiles, so nothing is
/// compiled for them.
#[inline(always)]
fn is_wide<I: Isa>(tiles: &Tiles) -> bool {
    I::TILE == 8 && tiles.job.tile == 8
}

pub(super) unsafe fn multiply_flat<I: Isa, F: Flat>(tiles: Tiles) {
    let min = F::MIN;
    // SAFETY: as promised by the caller.
    unsafe {
        match (is_wide::<I>(&tiles), planes::<I, F>(), run::<I, F>()) {
            (true, _, _) => I::enter(FlatTiles::<8, 8, 1> { tiles, min }),
            (_, 2, _) => I::enter(FlatTiles::<4, 8, 2> { tiles, min }),
            (_, _, 8) => I::enter(FlatTiles::<4, 8, 1> { tiles, min }),
            _ => I::enter(FlatTiles::<4, 4, 1> { tiles, min }),
        }
    }
}

/// Blocks of 32, tiles of T rows, RUN products per part, codes in PLANES planes.
struct FlatTiles<'a, const T: usize, const RUN: usize, const PLANES: usize> {
    tiles: Tiles<'a>,
    min: bool,
}

impl<I: Isa, const T: usize, const RUN: usize, const PLANES: usize> Task<I> for FlatTiles<'_, T, RUN, PLANES> {
    #[inline(always)]
    unsafe fn run(self) {
        let Tiles { job, unpacked, blocks, .. } = &self.tiles;
        let bytes = FLAT_CODES + PLANES * 8 * V;
        // SAFETY: as promised by the caller.
        unsafe {
            for (t, rows) in job.tiles.iter().enumerate() {
                let (mut acc, share) = (self.tiles.begin::<I, T>(t), self.tiles.share(t));
                for (at, b) in blocks.clone().enumerate() {
                    self.tiles.prefetch::<I>(&share, at);
                    let block = unpacked.add(at * bytes);
                    let mut sums = [I::sums(0); T];
                    for m in 0..T {
                        sums[m] = I::sums(*rows.fix.add(b * T + m));
                    }
                    for plane in 0..PLANES {
                        for start in (0..8).step_by(RUN) {
                            let codes = block.add(FLAT_CODES + (plane * 8 + start) * V);
                            let part = products::<I, T, RUN>(codes, rows.q.add((32 * b + 4 * start) * T));
                            for m in 0..T {
                                sums[m] = I::add_shifted(sums[m], part[m], 4 * plane as u32);
                            }
                        }
                    }
                    let d = I::load(block.cast());
                    for m in 0..T {
                        acc[m] = I::fma(I::floats(sums[m]), I::mul(d, I::splat(*rows.d.add(b * T + m))), acc[m]);
                    }
                    if self.min {
                        for m in 0..T {
                            acc[m] = I::fma(I::load(block.add(V).cast()), I::splat(*rows.dsum.add(b * T + m)), acc[m]);
                        }
                    }
                }
                self.tiles.end::<I, T>(t, acc);
            }
        }
    }
}

/// Offsets of the parts of an unpacked block of 256, with a small scale per `sub` values.
const SCALES: usize = 2 * V;
const fn pairs_at(sub: usize) -> usize {
    SCALES + 256 / sub * V
}
const fn nested_codes(sub: usize) -> usize {
    pairs_at(sub) + 128 / sub * V
}

pub(super) const fn nested_bytes<I: Isa, F: Nested>() -> usize {
    nested_codes(F::SUB) + planes::<I, F>() * 64 * V
}

#[inline(always)]
pub(super) unsafe fn unpack_nested<I: Isa, F: Nested>(block: *const u8, out: *mut u8) {
    // SAFETY: as promised by the caller.
    unsafe {
        I::store(I::halves(block), out.cast());
        I::store(if F::MIN { I::halves(block.add(32)) } else { I::splat(0.0) }, out.add(V).cast());
        let small = block.add(F::SMALL);
        for pair in 0..128 / F::SUB {
            let pairs = I::pairs(small.add(32 * pair));
            I::low(pairs).store(out.add(SCALES + 2 * pair * V));
            I::high(pairs).store(out.add(SCALES + (2 * pair + 1) * V));
            let less = if F::MIN { I::pairs(small.add(F::SMALL_BYTES + 32 * pair)) } else { pairs };
            less.store(out.add(pairs_at(F::SUB) + pair * V));
        }
        let (codes, out, planes) = (block.add(F::CODES), out.add(nested_codes(F::SUB)), planes::<I, F>());
        for half in 0..2 {
            macro_rules! sub {
                ($quarter:literal) => {
                    for i in 0..8 {
                        let w = F::quad::<I::Ints>(codes, half, $quarter, i);
                        for plane in 0..planes {
                            let at = ((4 * half + $quarter) * planes + plane) * 8 + i;
                            half_of::<I, F>(w, plane).store(out.add(at * V));
                        }
                    }
                };
            }
            sub!(0);
            sub!(1);
            sub!(2);
            sub!(3);
        }
    }
}

pub(super) unsafe fn multiply_nested<I: Isa, F: Nested>(tiles: Tiles) {
    let (min, bits) = (F::MIN, F::OFFSET_BITS);
    // SAFETY: as promised by the caller.
    unsafe {
        match (is_wide::<I>(&tiles), F::SUB, planes::<I, F>(), run::<I, F>()) {
            (true, 16, _, _) => I::enter(NestedTiles::<8, 4, 16, 1> { tiles, min, bits }),
            (true, _, _, _) => I::enter(NestedTiles::<8, 8, 32, 1> { tiles, min, bits }),
            (_, 16, _, 4..) => I::enter(NestedTiles::<4, 4, 16, 1> { tiles, min, bits }),
            (_, 16, _, _) => I::enter(NestedTiles::<4, 2, 16, 1> { tiles, min, bits }),
            (_, _, 2, _) => I::enter(NestedTiles::<4, 8, 32, 2> { tiles, min, bits }),
            (_, _, _, 8) => I::enter(NestedTiles::<4, 8, 32, 1> { tiles, min, bits }),
            _ => I::enter(NestedTiles::<4, 4, 32, 1> { tiles, min, bits }),
        }
    }
}

/// Blocks of 256, tiles of T rows, RUN products per part, a small scale per SUB values, codes in PLANES planes.
struct NestedTiles<'a, const T: usize, const RUN: usize, const SUB: usize, const PLANES: usize> {
    tiles: Tiles<'a>,
    min: bool,
    bits: u32,
}

impl<I: Isa, const T: usize, const RUN: usize, const SUB: usize, const PLANES: usize> Task<I>
    for NestedTiles<'_, T, RUN, SUB, PLANES>
{
    #[inline(always)]
    unsafe fn run(self) {
        let Tiles { job, unpacked, blocks, .. } = &self.tiles;
        let bytes = nested_codes(SUB) + PLANES * 64 * V;
        // SAFETY: as promised by the caller.
        unsafe {
            for (t, rows) in job.tiles.iter().enumerate() {
                let (mut acc, share) = (self.tiles.begin::<I, T>(t), self.tiles.share(t));
                for (at, b) in blocks.clone().enumerate() {
                    self.tiles.prefetch::<I>(&share, at);
                    let block = unpacked.add(at * bytes);
                    let mut sums = [I::sums(0); T];
                    // The codes of one small scale after the other; with two planes, all low halves of 32 values come
                    // first.
                    for j in 0..256 / SUB {
                        let scale = I::Ints::load(block.add(SCALES + j * V));
                        for plane in 0..PLANES {
                            let scale = if plane == 1 { scale.shl(4) } else { scale };
                            for start in (0..SUB / 4).step_by(RUN) {
                                let codes = block.add(nested_codes(SUB) + ((j * PLANES + plane) * SUB / 4 + start) * V);
                                let q = rows.q.add((256 * b + SUB * j + 4 * start) * T);
                                let part = products::<I, T, RUN>(codes, q);
                                for m in 0..T {
                                    sums[m] = I::add_scaled(sums[m], part[m], scale);
                                }
                            }
                        }
                    }
                    let mut less = [I::sums(0); T];
                    for pair in 0..128 / SUB {
                        let pairs = I::Ints::load(block.add(pairs_at(SUB) + pair * V));
                        for m in 0..T {
                            let sums = rows.sums.add(((b * (128 / SUB) + pair) * T + m) * 2);
                            less[m] = I::add_pairs(less[m], pairs, sums);
                        }
                    }
                    let (d, dmin) = (I::load(block.cast()), I::load(block.add(V).cast()));
                    for m in 0..T {
                        let scale = I::splat(*rows.d.add(b * T + m));
                        if self.min {
                            acc[m] = I::fma(I::floats(sums[m]), I::mul(d, scale), acc[m]);
                            acc[m] = I::fnma(I::floats(less[m]), I::mul(dmin, scale), acc[m]);
                        } else {
                            let sums = I::sub_shifted(sums[m], less[m], self.bits);
                            acc[m] = I::fma(I::floats(sums), I::mul(d, scale), acc[m]);
                        }
                    }
                }
                self.tiles.end::<I, T>(t, acc);
            }
        }
    }
}
