//! The forms of quantized matrices that the kernels read.

use crate::quant::GgmlType;

/// Rows of a tile.
pub(in crate::cuda) const TILE_ROWS: usize = 16;
/// Columns of a tile.
pub(super) const TILE_COLS: usize = 64;

/// A form of quantized matrices that the kernels read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cuda) struct Format {
    /// Its name in names of kernels.
    pub(in crate::cuda) name: &'static str,
    /// Bytes of a tile's record.
    pub(super) record: usize,
    /// Bytes of the scales of 256 columns of a row. 0: there are none.
    pub(super) super_scale: usize,
}

/// The types of ggml's blocks that the kernels read.
static GGML: [(GgmlType, Format); 5] = [
    (GgmlType::Q4_0, Format { name: "q4_0", record: 576, super_scale: 0 }),
    (GgmlType::Q5_0, Format { name: "q5_0", record: 704, super_scale: 0 }),
    (GgmlType::Q8_0, Format { name: "q8_0", record: 1088, super_scale: 0 }),
    (GgmlType::Q4_K, Format { name: "q4_k", record: 576, super_scale: 4 }),
    (GgmlType::Q6_K, Format { name: "q6_k", record: 832, super_scale: 2 }),
];

/// FP8 whose blocks are whole tiles: codes, and 16 bytes with the factor.
pub(in crate::cuda) static FP8: Format = Format { name: "fp8", record: 1040, super_scale: 0 };

impl Format {
    /// Returns the format of one of ggml's types; `None` if the kernels do not read it.
    pub(in crate::cuda) fn of(dtype: GgmlType) -> Option<&'static Format> {
        GGML.iter().find(|(ggml, _)| *ggml == dtype).map(|(_, format)| format)
    }
    /// Returns the bytes of the scales of 16 rows and 256 columns.
    pub(super) fn supers(&self) -> usize {
        TILE_ROWS * self.super_scale
    }
    /// Returns the bytes that 64 columns of 16 rows take in shared memory: a record and its scales of 256 columns.
    pub(in crate::cuda) fn stage(&self) -> usize {
        self.record + self.supers()
    }
}
