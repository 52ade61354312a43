//! From an FP8 matrix to the records that the kernels read (kernels/quant.cuh).

use super::format::{FP8, TILE_COLS, TILE_ROWS};
use crate::quant::fp8::{self, Fp8Matrix};
use rayon::prelude::*;

const _: () = assert!(fp8::TILE[0] == TILE_ROWS && fp8::TILE[1] == TILE_COLS, "a record has one factor");

/// Returns the records, tile after tile along a row of tiles. Codes outside of the matrix are zero.
pub(super) fn pack(matrix: &Fp8Matrix, [rows, cols]: [usize; 2]) -> Vec<u8> {
    assert!(matrix.codes.len() == rows * cols, "invariant: one code for each element");
    assert!(matrix.block.iter().zip(fp8::TILE).all(|(b, t)| b.is_multiple_of(t)), "invariant: blocks of whole tiles");
    let (tiles, chunks) = (rows.div_ceil(TILE_ROWS), cols.div_ceil(TILE_COLS));
    let mut records = vec![0; tiles * chunks * FP8.record];
    records.par_chunks_exact_mut(FP8.record).enumerate().for_each(|(i, record)| {
        let [top, left] = [i / chunks * TILE_ROWS, i % chunks * TILE_COLS];
        let code = |row: usize, column: usize| {
            let [row, column] = [top + row, left + column];
            if row < rows && column < cols { matrix.codes[row * cols + column] } else { 0 }
        };
        let (codes, factor) = record.split_at_mut(TILE_ROWS * TILE_COLS);
        for (at, pair) in codes.chunks_exact_mut(2).enumerate() {
            let [row, column] = place(at);
            pair.copy_from_slice(&in_pair(code(row, column), code(row + 8, column)).to_le_bytes());
        }
        factor[..4].copy_from_slice(&matrix.factor([top, left], cols).to_le_bytes());
    });
    records
}

/// Returns row and column of the first code of pair `at` of a record. The second one is 8 rows below.
fn place(at: usize) -> [usize; 2] {
    let (step, lane, four) = (at / 256 * 2 + at % 8 / 4, at % 256 / 8, at % 4);
    [lane / 4, step * 16 + four / 2 * 8 + lane % 4 * 2 + four % 2]
}

/// The 16 bits of two codes: the first as in an f16 that is 2⁸ times too small, the second in the bits that are left.
fn in_pair(first: u8, second: u8) -> u16 {
    let [first, second] = [first, second].map(u16::from);
    (first & 128) << 8 | (first & 127) << 7 | (second & 128) << 7 | second & 127
}
