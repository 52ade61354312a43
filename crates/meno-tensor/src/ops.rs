//! The ops of the tape, one file each: forward, backward, plain reference and finite-difference test.
//!
//! An op that writes the gradient of some *columns* of an activation ([`View`]) sets the other columns to zero when
//! it is the first to write there (`!Ctx::adds`), so that the next writer can add.

pub mod attention;
pub mod embedding;
pub mod experts;
pub mod head;
pub mod head_norm;
pub mod hidden;
pub mod linear;
pub mod log_softmax;
pub mod logits;
pub mod mla;
pub mod norm_linear;
pub mod rms_norm;
pub mod rope;
pub mod router;
pub mod rows;
pub mod swiglu;

use crate::tape::{Act, Builder};
use std::ops::Range;

/// Some columns of an activation.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The activation.
    pub act: Act,
    /// Its columns: the distance between rows.
    pub ld: usize,
    /// The first column seen.
    pub at: usize,
    /// How many columns are seen.
    pub cols: usize,
}

impl View {
    /// All columns of `act`.
    pub fn all(b: &Builder, act: Act) -> View {
        View { act, ld: b.cols(act), at: 0, cols: b.cols(act) }
    }
    /// The columns `range` of `act`.
    pub fn cols(b: &Builder, act: Act, range: Range<usize>) -> View {
        assert!(range.end <= b.cols(act), "invariant: columns {range:?} of {}", b.cols(act));
        View { act, ld: b.cols(act), at: range.start, cols: range.len() }
    }
    /// Whether it sees only a part of its activation.
    pub fn is_part(&self) -> bool {
        self.cols != self.ld
    }
    /// The seen part of a row.
    pub(crate) fn of<'a>(&self, row: &'a [f32]) -> &'a [f32] {
        &row[self.at..self.at + self.cols]
    }
    /// The seen part of a row, to write.
    pub(crate) fn of_mut<'a>(&self, row: &'a mut [f32]) -> &'a mut [f32] {
        &mut row[self.at..self.at + self.cols]
    }
}

/// The output of an op with an optional residual: the continuation of its stream, or a new activation.
fn output(b: &mut Builder, residual: Option<Act>, cols: usize) -> Act {
    match residual {
        Some(residual) => b.stream(residual),
        None => b.act(cols),
    }
}

#[cfg(test)]
mod network_tests;
