//! The instructions that the quantized kernels need: sixteen rows in lockstep, four codes of each at a time.
//!
//! Sums of products of codes and activations are integers and exact on every implementation. The few float operations
//! are rounded identically. So all implementations give the same bits, and [`Portable`] is the one that the others are
//! tested against.

use half::f16;

/// Four codes, one byte each, of one row or of sixteen.
///
/// # Safety
/// All functions must run where the implementing type's instructions are available, inlined into a function with those
/// target features; pointers must be valid for the bytes read or written. The same holds for [`Isa`].
/// features; pointers must be valid for what is read or written. The same holds for [`Isa`].
pub(super) unsafe trait Words: Copy {
    unsafe fn load(p: *const u8) -> Self;
    unsafe fn store(self, p: *mut u8);
    /// ANDs every byte with `mask`.
    unsafe fn and(self, mask: u8) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Shifts by less than 8 within 16 bits or more. Bits that cross into another byte must be masked by the caller.
    unsafe fn shl(self, bits: u32) -> Self;
    unsafe fn shr(self, bits: u32) -> Self;
    /// Replaces every byte (below 16) by its entry in `table`.
    unsafe fn lookup(self, table: &[u8; 16]) -> Self;
}

/// Sixteen rows: their codes, sums and scales (32 bits per row) and their floats.
///
/// # Safety
/// As [`Words`].
pub(super) unsafe trait Isa: Copy {
    /// 32 bits per row: four codes; a *part*, the sum of a few products; a *sum*, an i32; a *scale*, an i16; or a
    /// *pair* of i16.
    type Ints: Words;
    /// An f32 per row.
    type Floats: Copy;
    /// True if a part is an i32. Otherwise it is two i16, which hold 2^15 / (largest code · 254) quad products.
    const WIDE: bool;
    /// Maximum rows of activations in one tile: 8 if the registers hold that many sums (and parts are i32), otherwise
    /// 4.
    const TILE: usize;

    /// Runs `task` with these instructions.
    unsafe fn enter(task: impl Task<Self>);
    /// Loads the same four activations for every row.
    unsafe fn quad(a: *const i8) -> Self::Ints;
    /// Sums the products of four unsigned codes and four signed activations.
    unsafe fn first(w: Self::Ints, a: Self::Ints) -> Self::Ints;
    /// Like `first`, added to `part`.
    unsafe fn more(part: Self::Ints, w: Self::Ints, a: Self::Ints) -> Self::Ints;
    /// Returns the same sum for every row.
    unsafe fn sums(x: i32) -> Self::Ints;
    /// Returns sums + part · 2^bits (bits < 15).
    unsafe fn add_shifted(sums: Self::Ints, part: Self::Ints, bits: u32) -> Self::Ints;
    /// Returns sums + part · scale.
    unsafe fn add_scaled(sums: Self::Ints, part: Self::Ints, scale: Self::Ints) -> Self::Ints;
    /// Returns a − b · 2^bits, of sums.
    unsafe fn sub_shifted(a: Self::Ints, b: Self::Ints, bits: u32) -> Self::Ints;
    /// Loads two signed bytes of each row, row after row.
    unsafe fn pairs(p: *const u8) -> Self::Ints;
    /// Returns the first of each pair, as a scale.
    unsafe fn low(pairs: Self::Ints) -> Self::Ints;
    /// Returns the second of each pair, as a scale.
    unsafe fn high(pairs: Self::Ints) -> Self::Ints;
    /// Returns sums + the products of each pair with the two numbers at `x`.
    unsafe fn add_pairs(sums: Self::Ints, pairs: Self::Ints, x: *const i16) -> Self::Ints;
    /// Converts sums to f32, rounded to nearest.
    unsafe fn floats(sums: Self::Ints) -> Self::Floats;
    /// Loads sixteen f16.
    unsafe fn halves(p: *const u8) -> Self::Floats;
    /// Loads sixteen f32.
    unsafe fn load(p: *const f32) -> Self::Floats;
    unsafe fn store(x: Self::Floats, p: *mut f32);
    unsafe fn splat(x: f32) -> Self::Floats;
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Returns a · b + c, rounded once.
    unsafe fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Returns c − a · b, rounded once.
    unsafe fn fnma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Prefetches the cache line at `p`; any address is allowed.
    unsafe fn prefetch(p: *const u8);
}

/// Code to run with the instructions of an [`Isa`].
pub(super) trait Task<I> {
    /// Runs the task. Always inlined.
    ///
    /// # Safety
    /// I's instructions are available; each task adds its own conditions.
    unsafe fn run(self);
}

/// One of the sixteen rows: `p` points at its first word.
// SAFETY: no instructions beyond the baseline; pointers as the trait demands.
unsafe impl Words for u32 {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: four readable bytes.
        u32::from_le_bytes(unsafe { p.cast::<[u8; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: four writable bytes.
        unsafe { p.cast::<[u8; 4]>().write(self.to_le_bytes()) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        self & (u32::from(mask) * 0x0101_0101)
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self | other
    }
    #[inline(always)]
    unsafe fn shl(self, bits: u32) -> Self {
        self << bits
    }
    #[inline(always)]
    unsafe fn shr(self, bits: u32) -> Self {
        self >> bits
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[u8; 16]) -> Self {
        u32::from_le_bytes(self.to_le_bytes().map(|b| table[usize::from(b & 15)]))
    }
}

/// Arrays that the compiler vectorizes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

// SAFETY: as for one row.
unsafe impl Words for [u32; 16] {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: 64 readable bytes.
        std::array::from_fn(|r| unsafe { u32::load(p.add(4 * r)) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: 64 writable bytes.
        unsafe { p.cast::<[[u8; 4]; 16]>().write(self.map(u32::to_le_bytes)) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        // SAFETY: plain arithmetic, here and below.
        self.map(|w| unsafe { w.and(mask) })
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        std::array::from_fn(|r| self[r] | other[r])
    }
    #[inline(always)]
    unsafe fn shl(self, bits: u32) -> Self {
        self.map(|w| w << bits)
    }
    #[inline(always)]
    unsafe fn shr(self, bits: u32) -> Self {
        self.map(|w| w >> bits)
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[u8; 16]) -> Self {
        // SAFETY: see `and`.
        self.map(|w| unsafe { w.lookup(table) })
    }
}

#[inline(always)]
fn dot4(w: u32, a: u32) -> i32 {
    let (w, a) = (w.to_le_bytes(), a.to_le_bytes());
    (0..4).map(|j| i32::from(w[j]) * i32::from(a[j] as i8)).sum()
}

/// The two i16 of a pair.
#[inline(always)]
fn pair(x: u32) -> [i32; 2] {
    [i32::from(x as i16), x as i32 >> 16]
}

#[inline(always)]
fn zip(a: [u32; 16], b: [u32; 16], f: impl Fn(i32, i32) -> i32) -> [u32; 16] {
    std::array::from_fn(|r| f(a[r] as i32, b[r] as i32) as u32)
}

// SAFETY: no instructions beyond the baseline; pointers as the trait demands.
unsafe impl Isa for Portable {
    type Ints = [u32; 16];
    type Floats = [f32; 16];
    const WIDE: bool = true;
    const TILE: usize = 4;

    unsafe fn enter(task: impl Task<Self>) {
        // SAFETY: as promised by the caller.
        unsafe { task.run() }
    }
    #[inline(always)]
    unsafe fn quad(a: *const i8) -> [u32; 16] {
        // SAFETY: four readable bytes.
        [unsafe { u32::load(a.cast()) }; 16]
    }
    #[inline(always)]
    unsafe fn first(w: [u32; 16], a: [u32; 16]) -> [u32; 16] {
        std::array::from_fn(|r| dot4(w[r], a[r]) as u32)
    }
    #[inline(always)]
    unsafe fn more(part: [u32; 16], w: [u32; 16], a: [u32; 16]) -> [u32; 16] {
        std::array::from_fn(|r| part[r].wrapping_add(dot4(w[r], a[r]) as u32))
    }
    #[inline(always)]
    unsafe fn sums(x: i32) -> [u32; 16] {
        [x as u32; 16]
    }
    #[inline(always)]
    unsafe fn add_shifted(sums: [u32; 16], part: [u32; 16], bits: u32) -> [u32; 16] {
        zip(sums, part, |s, p| s + (p << bits))
    }
    #[inline(always)]
    unsafe fn add_scaled(sums: [u32; 16], part: [u32; 16], scale: [u32; 16]) -> [u32; 16] {
        zip(sums, zip(part, scale, |p, x| p * x), |s, p| s + p)
    }
    #[inline(always)]
    unsafe fn sub_shifted(a: [u32; 16], b: [u32; 16], bits: u32) -> [u32; 16] {
        zip(a, b, |a, b| a - (b << bits))
    }
    #[inline(always)]
    unsafe fn pairs(p: *const u8) -> [u32; 16] {
        // SAFETY: 32 readable bytes.
        let bytes = unsafe { p.cast::<[[i8; 2]; 16]>().read() };
        bytes.map(|[low, high]| u32::from(i16::from(low) as u16) | u32::from(i16::from(high) as u16) << 16)
    }
    #[inline(always)]
    unsafe fn low(pairs: [u32; 16]) -> [u32; 16] {
        pairs.map(|p| pair(p)[0] as u32)
    }
    #[inline(always)]
    unsafe fn high(pairs: [u32; 16]) -> [u32; 16] {
        pairs.map(|p| pair(p)[1] as u32)
    }
    #[inline(always)]
    unsafe fn add_pairs(sums: [u32; 16], pairs: [u32; 16], x: *const i16) -> [u32; 16] {
        // SAFETY: two readable numbers.
        let x = unsafe { [i32::from(x.read()), i32::from(x.add(1).read())] };
        zip(sums, pairs, |s, p| s + pair(p as u32)[0] * x[0] + pair(p as u32)[1] * x[1])
    }
    #[inline(always)]
    unsafe fn floats(sums: [u32; 16]) -> [f32; 16] {
        sums.map(|x| x as i32 as f32)
    }
    #[inline(always)]
    unsafe fn halves(p: *const u8) -> [f32; 16] {
        // SAFETY: 32 readable bytes.
        let bytes = unsafe { p.cast::<[[u8; 2]; 16]>().read() };
        bytes.map(|b| f16::from_le_bytes(b).to_f32())
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 16] {
        // SAFETY: 16 readable lanes.
        unsafe { p.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(x: [f32; 16], p: *mut f32) {
        // SAFETY: 16 writable lanes.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|r| a[r] * b[r])
    }
    // Without an FMA instruction these are slow calls, but rare: one per 32 or 256 products.
    #[inline(always)]
    unsafe fn fma(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|r| a[r].mul_add(b[r], c[r]))
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|r| (-a[r]).mul_add(b[r], c[r]))
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
}
