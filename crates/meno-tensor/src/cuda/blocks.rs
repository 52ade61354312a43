//! Quantized matrices that stay quantized on the card.
//!
//! kernels/quant.cuh describes where codes and scales lie, and [`layout`] and [`fp8`] write them so. Products with few
//! rows read them directly; others dequantize parts into scratch memory.

mod format;
mod fp8;
mod layout;

use format::TILE_COLS;
pub(super) use format::{FP8, Format, TILE_ROWS};

use super::driver::{Arg, Gpu, Launch, Memory};
use crate::backend::Error;
use crate::quant::GgmlType;
use crate::quant::fp8::Fp8Matrix;
use std::ops::Range;
use std::sync::Arc;

/// A quantized matrix on the card, `[rows, cols]`, or whole tiles of its rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    pub(super) format: &'static Format,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// The address of the records.
    records: u64,
    /// The address of the scales of 256 columns.
    supers: u64,
}

impl Blocks {
    /// Copies a matrix in ggml's blocks, of a type that has a format, to the card. `row` returns the blocks of a row,
    /// as in a GGUF file.
    pub(super) fn upload<'a>(
        gpu: &Arc<Gpu>,
        dtype: GgmlType,
        shape: [usize; 2],
        row: impl Fn(usize) -> &'a [u8] + Sync,
    ) -> Result<(Blocks, Memory), Error> {
        let format = Format::of(dtype).expect("invariant: the type has a format");
        Blocks::write(gpu, format, shape, layout::pack(dtype, format, shape, row))
    }

    /// Copies an FP8 matrix to the card.
    pub(super) fn upload_fp8(gpu: &Arc<Gpu>, matrix: &Fp8Matrix, shape: [usize; 2]) -> Result<(Blocks, Memory), Error> {
        Blocks::write(gpu, &FP8, shape, [fp8::pack(matrix, shape), Vec::new()])
    }

    /// Copies records and the scales of 256 columns to the card.
    fn write(
        gpu: &Arc<Gpu>,
        format: &'static Format,
        [rows, cols]: [usize; 2],
        [records, supers]: [Vec<u8>; 2],
    ) -> Result<(Blocks, Memory), Error> {
        let memory = gpu.allocate(records.len() + supers.len(), "quantized weights")?;
        memory.write(0, &records)?;
        memory.write(records.len(), &supers)?;
        let at = memory.at();
        Ok((Blocks { format, rows, cols, records: at, supers: at + records.len() as u64 }, memory))
    }

    /// Returns the number of tiles side by side.
    fn chunks(&self) -> usize {
        self.cols.div_ceil(TILE_COLS)
    }

    /// Returns some rows, from a multiple of 16 on.
    pub(super) fn part(self, rows: Range<usize>) -> Blocks {
        assert!(rows.start.is_multiple_of(TILE_ROWS) && rows.end <= self.rows, "invariant: whole tiles of rows");
        let tile = rows.start / TILE_ROWS;
        let records = self.records + (tile * self.chunks() * self.format.record) as u64;
        let supers = self.supers + (tile * (self.chunks() / 4) * self.format.supers()) as u64;
        Blocks { rows: rows.len(), records, supers, ..self }
    }

    /// Returns the arguments by which kernels find the records: two pointers, and the number of tiles side by side.
    pub(super) fn args(&self) -> [Arg; 3] {
        [self.records.into(), self.supers.into(), self.chunks().into()]
    }

    /// Writes the matrix in bf16 to address `to`, with rows of `ld` elements. They start at multiples of 16 bytes.
    pub(super) fn dequantize(&self, gpu: &Gpu, to: u64, ld: usize) -> Result<(), Error> {
        assert!(to.is_multiple_of(16) && ld.is_multiple_of(8), "invariant: the rows are aligned");
        let [records, supers, chunks] = self.args();
        let args = &mut [to.into(), records, supers, self.rows.into(), self.cols.into(), chunks, ld.into()];
        let launch = Launch::blocks((self.rows.div_ceil(TILE_ROWS) * self.chunks()).div_ceil(8), 256);
        gpu.launch(&format!("dequantize_{}", self.format.name), launch, args)
    }
}
