//! The types of blocks that the kernels read.

use crate::quant::GgmlType;

/// Rows of a tile.
pub(in crate::cuda) const TILE_ROWS: usize = 16;
/// Columns of a tile.
pub(super) const TILE_COLS: usize = 64;

/// A type of blocks that the kernels read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cuda) struct Format {
    pub(super) dtype: GgmlType,
    /// Its name in names of kernels.
    pub(in crate::cuda) name: &'static str,
    /// Bytes of a tile's record.
    pub(super) record: usize,
    /// Bytes of the scales of 256 columns of a row. 0: there are none.
    pub(super) super_scale: usize,
}

const FORMATS: [Format; 5] = [
    Format { dtype: GgmlType::Q4_0, name: "q4_0", record: 576, super_scale: 0 },
    Format { dtype: GgmlType::Q5_0, name: "q5_0", record: 704, super_scale: 0 },
    Format { dtype: GgmlType::Q8_0, name: "q8_0", record: 1088, super_scale: 0 },
    Format { dtype: GgmlType::Q4_K, name: "q4_k", record: 576, super_scale: 4 },
    Format { dtype: GgmlType::Q6_K, name: "q6_k", record: 832, super_scale: 2 },
];

impl Format {
    /// Returns the format of a type; `None` if the kernels do not read it.
    pub(in crate::cuda) fn of(dtype: GgmlType) -> Option<&'static Format> {
        static TABLE: [Format; FORMATS.len()] = FORMATS;
        TABLE.iter().find(|format| format.dtype == dtype)
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
