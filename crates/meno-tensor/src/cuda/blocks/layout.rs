//! From the blocks of a GGUF file to the records that the kernels read (kernels/quant.cuh).

use super::format::{Format, TILE_COLS, TILE_ROWS};
use crate::quant::GgmlType;
use crate::quant::dequant::scale_min;
use rayon::prelude::*;

/// What the blocks of a row say, element by element.
#[derive(Clone, Default)]
struct Row {
    codes: Vec<u8>,
    /// 4 bytes for 64 elements: two scales in f16, or two pairs of a scale and a minimum, or four scales.
    groups: Vec<u8>,
    /// 4 bytes for 256 elements: the f16 scales that those of the groups are multiplied by.
    supers: Vec<u8>,
}

/// Returns the code of the value zero: behind the last block of a row, the scales are zero too, and the product +0.
fn zero_code(dtype: GgmlType) -> u8 {
    match dtype {
        GgmlType::Q4_0 => 8,
        GgmlType::Q5_0 => 16,
        GgmlType::Q8_0 => 128,
        _ => 0, // whole tiles
    }
}

impl Row {
    /// A row of `chunks` tiles with no blocks.
    fn empty(dtype: GgmlType, chunks: usize) -> Row {
        Row { codes: vec![zero_code(dtype); chunks * TILE_COLS], groups: vec![0; chunks * 4], supers: vec![0; chunks] }
    }

    /// The row that blocks describe.
    fn unpack(dtype: GgmlType, chunks: usize, blocks: &[u8]) -> Row {
        let mut row = Row::empty(dtype, chunks);
        let elements = dtype.block_elements();
        let [groups, supers] = [elements / 16, elements / 64];
        for (i, block) in blocks.chunks_exact(dtype.block_bytes()).enumerate() {
            let codes = &mut row.codes[i * elements..][..elements];
            let groups = &mut row.groups[i * groups..][..groups];
            let supers = &mut row.supers[i * supers..][..supers];
            match dtype {
                GgmlType::Q4_0 => q4_0(block, codes, groups),
                GgmlType::Q5_0 => q5_0(block, codes, groups),
                GgmlType::Q8_0 => q8_0(block, codes, groups),
                GgmlType::Q4_K => q4_k(block, codes, groups, supers),
                GgmlType::Q6_K => q6_k(block, codes, groups, supers),
                _ => unreachable!("invariant: {dtype:?} has a format"),
            }
        }
        row
    }
}

// quant/dequant.rs describes the blocks.

fn q4_0(block: &[u8], codes: &mut [u8], groups: &mut [u8]) {
    groups.copy_from_slice(&block[..2]);
    for (i, &q) in block[2..].iter().enumerate() {
        (codes[i], codes[i + 16]) = (q & 15, q >> 4);
    }
}

fn q5_0(block: &[u8], codes: &mut [u8], groups: &mut [u8]) {
    groups.copy_from_slice(&block[..2]);
    let fifth = |i: usize| (block[2 + i / 8] >> (i % 8) & 1) << 4;
    for (i, &q) in block[6..].iter().enumerate() {
        (codes[i], codes[i + 16]) = (q & 15 | fifth(i), q >> 4 | fifth(i + 16));
    }
}

/// Signed bytes become codes without a sign.
fn q8_0(block: &[u8], codes: &mut [u8], groups: &mut [u8]) {
    groups.copy_from_slice(&block[..2]);
    codes.iter_mut().zip(&block[2..]).for_each(|(code, &q)| *code = q ^ 128);
}

fn q4_k(block: &[u8], codes: &mut [u8], groups: &mut [u8], supers: &mut [u8]) {
    supers.copy_from_slice(&block[..4]);
    for j in 0..8 {
        let (scale, min) = scale_min(&block[4..16], j);
        (groups[2 * j], groups[2 * j + 1]) = (scale as u8, min as u8);
    }
    for (codes, qs) in codes.chunks_exact_mut(64).zip(block[16..].chunks_exact(32)) {
        for (i, &q) in qs.iter().enumerate() {
            (codes[i], codes[i + 32]) = (q & 15, q >> 4);
        }
    }
}

fn q6_k(block: &[u8], codes: &mut [u8], groups: &mut [u8], supers: &mut [u8]) {
    supers[..2].copy_from_slice(&block[208..]);
    groups.copy_from_slice(&block[192..208]);
    for (i, code) in codes.iter_mut().enumerate() {
        let (half, quarter, i) = (i / 128, i % 128 / 32, i % 32);
        let low = block[half * 64 + quarter % 2 * 32 + i] >> (quarter / 2 * 4) & 15;
        let high = block[128 + half * 32 + i] >> (quarter * 2) & 3;
        *code = low | high << 4;
    }
}

/// Returns the records, tile after tile along a row of tiles, and the scales of 256 columns in the same order.
pub(super) fn pack<'a>(
    dtype: GgmlType,
    format: &Format,
    [rows, cols]: [usize; 2],
    row: impl Fn(usize) -> &'a [u8] + Sync,
) -> [Vec<u8>; 2] {
    let (tiles, chunks) = (rows.div_ceil(TILE_ROWS), cols.div_ceil(TILE_COLS));
    let pack_tile = |tile: usize| {
        let unpack = |r: usize| match tile * TILE_ROWS + r {
            r if r < rows => Row::unpack(dtype, chunks, row(r)),
            _ => Row::empty(dtype, chunks),
        };
        let rows: [Row; TILE_ROWS] = std::array::from_fn(unpack);
        let mut records = vec![0; chunks * format.record];
        for (chunk, record) in records.chunks_exact_mut(format.record).enumerate() {
            write_record(dtype, &rows, chunk, record);
        }
        let mut supers = Vec::with_capacity(chunks / 4 * format.supers());
        for block in 0..if format.super_scale > 0 { chunks / 4 } else { 0 } {
            for r in (0..TILE_ROWS).map(in_pairs) {
                supers.extend_from_slice(&rows[r].supers[block * 4..][..format.super_scale]);
            }
        }
        [records, supers]
    };
    let packed: Vec<[Vec<u8>; 2]> = (0..tiles).into_par_iter().map(pack_tile).collect();
    [0, 1].map(|i| packed.iter().flat_map(|parts| &parts[i]).copied().collect())
}

/// Returns the row whose scales come at place `i`: 0, 8, 1, 9, …
fn in_pairs(i: usize) -> usize {
    i / 2 + i % 2 * 8
}

/// Writes the record of a tile.
fn write_record(dtype: GgmlType, rows: &[Row; TILE_ROWS], chunk: usize, record: &mut [u8]) {
    let (codes, groups) = record.split_at_mut(record.len() - TILE_ROWS * 4);
    for (i, group) in groups.chunks_exact_mut(4).enumerate() {
        group.copy_from_slice(&rows[in_pairs(i)].groups[chunk * 4..][..4]);
    }
    for (lane, step, e) in (0..32).flat_map(|lane| (0..4).flat_map(move |step| (0..8).map(move |e| (lane, step, e)))) {
        let (row, column) = (lane / 4 + e / 2 % 2 * 8, step * 16 + e / 4 * 8 + lane % 4 * 2 + e % 2);
        let code = rows[row].codes[chunk * TILE_COLS + column];
        if dtype == GgmlType::Q8_0 {
            codes[step / 2 * 512 + lane * 16 + step % 2 * 8 + e] = code;
            continue;
        }
        codes[lane * 16 + step * 4 + e / 2] |= (code & 15) << (e % 2 * 4);
        match dtype {
            GgmlType::Q5_0 => codes[512 + lane * 4 + step] |= code >> 4 << e,
            GgmlType::Q6_K => codes[512 + lane * 8 + step * 2 + e / 4] |= code >> 4 << (e % 4 * 2),
            _ => {}
        }
    }
}
