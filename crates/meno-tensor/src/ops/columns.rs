//! Columns of an activation.

use crate::tape::{Activation, Builder, Describe};
use std::ops::Range;

/// A range of columns of an activation.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The activation.
    pub act: Activation,
    /// The number of columns of the activation: the distance between rows.
    pub ld: usize,
    /// The first column.
    pub at: usize,
    /// The number of columns.
    pub cols: usize,
}

impl Columns {
    /// Returns all columns of `act`.
    pub fn all(b: &Builder<impl Describe>, act: Activation) -> Columns {
        Columns { act, ld: b.cols(act), at: 0, cols: b.cols(act) }
    }
    /// Returns the columns `range` of `act`.
    pub fn range(b: &Builder<impl Describe>, act: Activation, range: Range<usize>) -> Columns {
        assert!(range.end <= b.cols(act), "invariant: columns {range:?} of {}", b.cols(act));
        Columns { act, ld: b.cols(act), at: range.start, cols: range.len() }
    }
    /// Returns true if these are only some of the activation's columns.
    pub fn is_part(&self) -> bool {
        self.cols != self.ld
    }
    /// Returns these columns of a row.
    pub(crate) fn of<'a>(&self, row: &'a [f32]) -> &'a [f32] {
        &row[self.at..self.at + self.cols]
    }
    /// Returns these columns of a row, mutable.
    pub(crate) fn of_mut<'a>(&self, row: &'a mut [f32]) -> &'a mut [f32] {
        &mut row[self.at..self.at + self.cols]
    }
}
