//! The memory layout of sixteen rows of a ggml block type, and how to extract their codes.
//!
//! A block of sixteen rows holds the scales of all rows, then the words of their packed codes, interleaved by row: word
//! w of row r is at `CODES + 64·w + 4·r`. The words are those of the file (four adjacent bytes of a block). Unpacking
//! therefore applies the file's bit arithmetic to sixteen rows at once.
//!
//! In a [`Flat`] block of 32, a value is d · (code − offset) or d · code + m, with one float d per row. In a [`Nested`]
//! block of 256, a value is d · scale · (code − offset) or d · scale · code − dmin · min, with one small integer scale
//! per 16 or 32 values.

use super::isa::Words;
use crate::quant::GgmlType;
use crate::quant::dequant::{IQ4_VALUES, MXFP4_VALUES, e8m0_half, q3_k_scale, scale_min};

/// Properties of every type.
pub(super) trait BlockFormat {
    /// Values of one row in a block.
    const VALUES: usize = Self::TYPE.block_elements();
    /// The type.
    const TYPE: GgmlType;
    /// Bytes of a block in the file, for one row.
    const FILE_BYTES: usize = Self::TYPE.block_bytes();
    /// Offset of a block's packed codes (the end of its scales), for sixteen rows.
    const CODES: usize;
    /// Words of packed codes in a block of one row.
    const WORDS: usize;
    /// The largest code.
    const MAX: usize;
    /// How many quad products fit an i16 without overflow: 2^15 / (MAX · 254), a power of two. 8-bit codes are split
    /// into two 4-bit planes.
    const RUN: usize = match Self::MAX {
        0..16 => 8,
        16..32 => 4,
        32..64 => 2,
        _ => 8,
    };
    /// Bytes of a block of sixteen rows.
    const BYTES: usize = Self::CODES + 64 * Self::WORDS;

    /// Extracts the codes of quad `i` (four values) of a `quarter` (32 values) of a `half` (128 values).
    ///
    /// # Safety
    /// As [`Words`]; `p` points at the block's packed codes.
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W;
    /// Returns word `w` of the packed codes of a block in the file's format.
    fn word(block: &[u8], w: usize) -> u32;
    /// Writes the scales of `row` to a block of sixteen rows.
    fn scales(block: &[u8], row: usize, out: &mut [u8]);
}

/// One float scale per 32 values.
pub(super) trait Flat: BlockFormat {
    /// Subtracted from every code.
    const OFFSET: i32;
    /// True if there is a float to add (f16, after the scales).
    const MIN: bool = false;
    /// True if the scale is an f32 rather than an f16.
    const SINGLE: bool = false;
}

/// One f16 scale per 256 values, and a signed byte per `SUB` values.
pub(super) trait Nested: BlockFormat {
    /// Values that share one small scale.
    const SUB: usize;
    /// 2^OFFSET_BITS is subtracted from every code if there are no minima.
    const OFFSET_BITS: u32 = 0;
    /// True if there are minima: an f16 after d, and a byte per `SUB` values after the scales.
    const MIN: bool = false;
    /// Offset of the small scales: pairs of neighbours, row after row.
    const SMALL: usize = if Self::MIN { 64 } else { 32 };
    /// Bytes of all small scales of a block.
    const SMALL_BYTES: usize = 16 * 256 / Self::SUB;
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Writes two bytes of a row.
fn put(out: &mut [u8], at: usize, row: usize, bytes: &[u8]) {
    out[at + 2 * row..][..2].copy_from_slice(&bytes[..2]);
}

/// Writes byte `j` of a row's small scales, laid out as pairs.
fn put_small(out: &mut [u8], at: usize, row: usize, j: usize, value: u8) {
    out[at + j / 2 * 32 + 2 * row + j % 2] = value;
}

/// Extracts the low or the high half of every byte.
#[inline(always)]
unsafe fn nibble<W: Words>(w: W, high: bool) -> W {
    // SAFETY: as promised by the caller.
    unsafe { if high { w.shr(4).and(15) } else { w.and(15) } }
}

/// Nibbles in the order of the 32-value types: quads 0 to 3 low, 4 to 7 high.
#[inline(always)]
unsafe fn flat_nibble<W: Words>(p: *const u8, i: usize) -> W {
    // SAFETY: as promised by the caller.
    unsafe { nibble(W::load(p.add(i % 4 * 64)), i >= 4) }
}

/// Adds a fifth bit to every nibble, from the word whose byte j has quad i's bit at position i.
#[inline(always)]
unsafe fn fifth<W: Words>(low: W, bits: W, i: usize) -> W {
    // SAFETY: as promised by the caller.
    unsafe {
        let moved = if i <= 4 { bits.shl(4 - i as u32) } else { bits.shr(i as u32 - 4) };
        low.or(moved.and(16))
    }
}

/// Moves bit 4i + j to bit i of byte j.
fn by_quad(bits: u32) -> u32 {
    let mut out = 0;
    for i in 0..8 {
        for j in 0..4 {
            out |= (bits >> (4 * i + j) & 1) << (8 * j + i);
        }
    }
    out
}

/// The 32-value types with plain nibbles or with a fifth bit: name, offset, minimum, bytes before the codes.
macro_rules! flat {
    ($name:ident, four, offset $offset:literal, min $min:literal, file $file:literal) => {
        /// Four bits.
        pub(super) struct $name;
        impl BlockFormat for $name {
            const TYPE: GgmlType = GgmlType::$name;
            const CODES: usize = if $min { 64 } else { 32 };
            const WORDS: usize = 4;
            const MAX: usize = 15;
            #[inline(always)]
            unsafe fn quad<W: Words>(p: *const u8, _: usize, _: usize, i: usize) -> W {
                // SAFETY: as promised by the caller.
                unsafe { flat_nibble(p, i) }
            }
            #[inline(always)]
            fn word(block: &[u8], w: usize) -> u32 {
                word_at(block, $file - 16 + 4 * w)
            }
            flat!(@scales $min);
        }
        impl Flat for $name {
            const OFFSET: i32 = $offset;
            const MIN: bool = $min;
        }
    };
    ($name:ident, five, offset $offset:literal, min $min:literal, file $file:literal) => {
        /// Five bits: the first word holds the fifth bits by quad.
        pub(super) struct $name;
        impl BlockFormat for $name {
            const TYPE: GgmlType = GgmlType::$name;
            const CODES: usize = if $min { 64 } else { 32 };
            const WORDS: usize = 5;
            const MAX: usize = 31;
            #[inline(always)]
            unsafe fn quad<W: Words>(p: *const u8, _: usize, _: usize, i: usize) -> W {
                // SAFETY: as promised by the caller.
                unsafe { fifth(flat_nibble(p.add(64), i), W::load(p), i) }
            }
            #[inline(always)]
            fn word(block: &[u8], w: usize) -> u32 {
                let word = word_at(block, $file - 20 + 4 * w);
                if w == 0 { by_quad(word) } else { word }
            }
            flat!(@scales $min);
        }
        impl Flat for $name {
            const OFFSET: i32 = $offset;
            const MIN: bool = $min;
        }
    };
    (@scales $min:literal) => {
        #[inline(always)]
        fn scales(block: &[u8], row: usize, out: &mut [u8]) {
            put(out, 0, row, block);
            if $min {
                put(out, 32, row, &block[2..]);
            }
        }
    };
}

flat!(Q4_0, four, offset 8, min false, file 18);
flat!(Q4_1, four, offset 0, min true, file 20);
flat!(Q5_0, five, offset 16, min false, file 22);
flat!(Q5_1, five, offset 0, min true, file 24);

/// Eight bits.
pub(super) struct Q8_0;

impl BlockFormat for Q8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const CODES: usize = 32;
    const WORDS: usize = 8;
    const MAX: usize = 255;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, _: usize, _: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe { W::load(p.add(i * 64)) }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        // Stores signed bytes plus 128.
        word_at(block, 2 + 4 * w) ^ 0x8080_8080
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        put(out, 0, row, block);
    }
}

impl Flat for Q8_0 {
    const OFFSET: i32 = 128;
}

/// The first or second 32 values of each 64: low or high nibbles of the same 32 bytes.
#[inline(always)]
unsafe fn nested_nibble<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
    // SAFETY: as promised by the caller.
    unsafe { nibble(W::load(p.add((half * 16 + quarter / 2 * 8 + i) * 64)), quarter % 2 == 1) }
}

#[inline(always)]
fn k_scales(block: &[u8], row: usize, out: &mut [u8]) {
    put(out, 0, row, block);
    put(out, 32, row, &block[2..]);
    for j in 0..8 {
        let (scale, min) = scale_min(&block[4..16], j);
        put_small(out, 64, row, j, scale as u8);
        put_small(out, 64 + 128, row, j, min as u8);
    }
}

/// Four bits, scale and minimum per 32.
#[allow(non_camel_case_types)]
pub(super) struct Q4_K;

impl BlockFormat for Q4_K {
    const TYPE: GgmlType = GgmlType::Q4_K;
    const CODES: usize = 64 + 256;
    const WORDS: usize = 32;
    const MAX: usize = 15;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe { nested_nibble(p, half, quarter, i) }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 16 + 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        k_scales(block, row, out);
    }
}

impl Nested for Q4_K {
    const SUB: usize = 32;
    const MIN: bool = true;
}

/// Five bits, scale and minimum per 32: eight words of fifth bits (bit j for the j-th 32 values), then nibbles.
#[allow(non_camel_case_types)]
pub(super) struct Q5_K;

impl BlockFormat for Q5_K {
    const TYPE: GgmlType = GgmlType::Q5_K;
    const CODES: usize = 64 + 256;
    const WORDS: usize = 40;
    const MAX: usize = 31;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe {
            // Shifts the bits of this half to the low end.
            let bits = W::load(p.add(i * 64)).shr(4 * half as u32);
            fifth(nested_nibble(p.add(8 * 64), half, quarter, i), bits, quarter)
        }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 16 + 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        k_scales(block, row, out);
    }
}

impl Nested for Q5_K {
    const SUB: usize = 32;
    const MIN: bool = true;
}

/// Six bits, scale per 16: the nibbles of 64 bytes hold 128 values (all low halves first); 32 bytes hold two more bits
/// of each value.
#[allow(non_camel_case_types)]
pub(super) struct Q6_K;

impl BlockFormat for Q6_K {
    const TYPE: GgmlType = GgmlType::Q6_K;
    const CODES: usize = 32 + 256;
    const WORDS: usize = 48;
    const MAX: usize = 63;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe {
            let low = nibble(W::load(p.add((half * 16 + quarter % 2 * 8 + i) * 64)), quarter >= 2);
            let high = W::load(p.add((32 + half * 8 + i) * 64));
            let moved = if quarter <= 2 { high.shl(4 - 2 * quarter as u32) } else { high.shr(2) };
            low.or(moved.and(48))
        }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        put(out, 0, row, &block[208..]);
        for j in 0..16 {
            put_small(out, 32, row, j, block[192 + j]);
        }
    }
}

impl Nested for Q6_K {
    const SUB: usize = 16;
    const OFFSET_BITS: u32 = 5;
}

/// Two bits, scale and minimum per 16: 32 bytes hold 128 values; bits 2j of a byte belong to the j-th 32 values.
#[allow(non_camel_case_types)]
pub(super) struct Q2_K;

impl BlockFormat for Q2_K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const CODES: usize = 64 + 512;
    const WORDS: usize = 16;
    const MAX: usize = 3;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe { W::load(p.add((half * 8 + i) * 64)).shr(2 * quarter as u32).and(3) }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 16 + 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        put(out, 0, row, &block[80..]);
        put(out, 32, row, &block[82..]);
        for (j, scale) in block[..16].iter().enumerate() {
            put_small(out, 64, row, j, scale & 15);
            put_small(out, 64 + 256, row, j, scale >> 4);
        }
    }
}

impl Nested for Q2_K {
    const SUB: usize = 16;
    const MIN: bool = true;
}

/// Three bits, scale per 16: eight words of third bits (bit j for the j-th 32 values), then two bits as in Q2_K.
#[allow(non_camel_case_types)]
pub(super) struct Q3_K;

impl BlockFormat for Q3_K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const CODES: usize = 32 + 256;
    const WORDS: usize = 24;
    const MAX: usize = 7;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe {
            let low = W::load(p.add((8 + half * 8 + i) * 64)).shr(2 * quarter as u32).and(3);
            let bits = W::load(p.add(i * 64)).shr(4 * half as u32);
            let moved = if quarter <= 2 { bits.shl(2 - quarter as u32) } else { bits.shr(1) };
            low.or(moved.and(4))
        }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        put(out, 0, row, &block[108..]);
        for j in 0..16 {
            put_small(out, 32, row, j, q3_k_scale(&block[96..108], j) as i8 as u8);
        }
    }
}

impl Nested for Q3_K {
    const SUB: usize = 16;
    const OFFSET_BITS: u32 = 2;
}

/// IQ4's values as unsigned 8-bit codes.
const IQ4_CODES: [u8; 16] = shifted(&IQ4_VALUES, 128);
/// MXFP4's values as unsigned 5-bit codes.
const MXFP4_CODES: [u8; 16] = shifted(&MXFP4_VALUES, 16);

const fn shifted(values: &[i8; 16], by: i16) -> [u8; 16] {
    let (mut codes, mut i) = ([0; 16], 0);
    while i < 16 {
        codes[i] = (values[i] as i16 + by) as u8;
        i += 1;
    }
    codes
}

/// Types whose nibbles index a table of values.
macro_rules! table {
    ($name:ident, $ty:ident, $codes:ident, $offset:literal, max $max:literal, single $single:literal, $scale:expr) => {
        /// Four-bit indices into a table of unevenly spaced values.
        #[allow(non_camel_case_types)]
        pub(super) struct $name;
        impl BlockFormat for $name {
            const TYPE: GgmlType = GgmlType::$ty;
            const CODES: usize = if $single { 64 } else { 32 };
            const WORDS: usize = 4;
            const MAX: usize = $max;
            #[inline(always)]
            unsafe fn quad<W: Words>(p: *const u8, _: usize, _: usize, i: usize) -> W {
                // SAFETY: as promised by the caller.
                unsafe { flat_nibble::<W>(p, i).lookup(&$codes) }
            }
            #[inline(always)]
            fn word(block: &[u8], w: usize) -> u32 {
                word_at(block, block.len() - 16 + 4 * w)
            }
            #[inline(always)]
            fn scales(block: &[u8], row: usize, out: &mut [u8]) {
                $scale(block, row, out);
            }
        }
        impl Flat for $name {
            const OFFSET: i32 = $offset;
            const SINGLE: bool = $single;
        }
    };
}

table!(Iq4_NL, Iq4_NL, IQ4_CODES, 128, max 255, single false, |block: &[u8], row, out: &mut [u8]| {
    put(out, 0, row, block)
});
table!(Mxfp4, Mxfp4, MXFP4_CODES, 16, max 31, single true, |block: &[u8], row: usize, out: &mut [u8]| {
    out[4 * row..][..4].copy_from_slice(&e8m0_half(block[0]).to_le_bytes());
});

/// IQ4_NL's values, scale per 32 within 256.
#[allow(non_camel_case_types)]
pub(super) struct Iq4_XS;

impl BlockFormat for Iq4_XS {
    const TYPE: GgmlType = GgmlType::Iq4_XS;
    const CODES: usize = 32 + 128;
    const WORDS: usize = 32;
    const MAX: usize = 255;
    #[inline(always)]
    unsafe fn quad<W: Words>(p: *const u8, half: usize, quarter: usize, i: usize) -> W {
        // SAFETY: as promised by the caller.
        unsafe { flat_nibble::<W>(p.add((4 * half + quarter) * 4 * 64), i).lookup(&IQ4_CODES) }
    }
    #[inline(always)]
    fn word(block: &[u8], w: usize) -> u32 {
        word_at(block, 8 + 4 * w)
    }
    #[inline(always)]
    fn scales(block: &[u8], row: usize, out: &mut [u8]) {
        put(out, 0, row, block);
        let (high, low) = (u16::from_le_bytes([block[2], block[3]]), &block[4..8]);
        for j in 0..8 {
            let scale = (low[j / 2] >> (j % 2 * 4) & 15) | ((high >> (2 * j) & 3) as u8) << 4;
            put_small(out, 32, row, j, (scale as i8 - 32) as u8);
        }
    }
}

impl Nested for Iq4_XS {
    const SUB: usize = 32;
    const OFFSET_BITS: u32 = 7;
}
