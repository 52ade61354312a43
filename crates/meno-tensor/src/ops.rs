//! The ops of a program, one file each: operands, shapes, equations, and the activations that each reads and writes.
//! The backends ([`crate::cpu`], [`crate::reference`]) define how an op is computed.
//!
//! An op may write the gradient of only some *columns* of an activation ([`Columns`]). If it is the first to write
//! there, it sets the other columns to zero, so that the next op can add.

pub mod attention;
pub mod combine;
pub mod dispatch;
pub mod embedding;
pub mod experts;
pub mod head;
pub mod hidden;
pub mod linear;
pub mod logits;
pub mod mla;
pub mod norm_linear;
pub mod qk_norm;
pub mod rms_norm;
pub mod rope;
pub mod router;
pub mod swiglu;
pub mod test_ops;

use crate::tape::{Activation, Builder, Describe};
use std::ops::Range;

/// Defines [`Op`] and the conversions into it.
macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident($ty:ty)),* $(,)?) => {
        /// An op of a program. The set is closed, so the compiler reports every backend that lacks a new op.
        pub enum Op {
            $($(#[$doc])* $name($ty)),*
        }
        $(impl From<$ty> for Op {
            fn from(op: $ty) -> Op {
                Op::$name(op)
            }
        })*
        impl Op {
            /// Returns the op's description of itself.
            pub fn description(&self) -> &dyn Describe {
                match self {
                    $(Op::$name(op) => op),*
                }
            }
        }
        /// The names of the variants, for tests that cover every op.
        #[cfg(test)]
        impl Op {
            pub(crate) const VARIANTS: &[&str] = &[$(stringify!($name)),*];
            pub(crate) fn variant(&self) -> &'static str {
                match self {
                    $(Op::$name(_) => stringify!($name)),*
                }
            }
        }
    };
}

ops! {
    /// Token embedding.
    Embedding(embedding::Embedding),
    /// RMSNorm.
    RmsNorm(rms_norm::RmsNorm),
    /// RMSNorm of every head.
    QkNorm(qk_norm::QkNorm),
    /// A linear layer with bias and residual.
    Linear(linear::Linear),
    /// Linear layers with a shared input and a fused RMSNorm.
    NormLinear(norm_linear::NormLinear),
    /// The second half of a SwiGLU MLP.
    SwigluLinear(swiglu::SwigluLinear),
    /// Rotary position embedding.
    Rope(rope::Rope),
    /// Causal attention.
    Attention(attention::Attention),
    /// Keys of multi-head latent attention.
    MlaKeys(mla::MlaKeys),
    /// Queries of absorbed multi-head latent attention.
    AbsorbQuery(mla::AbsorbQuery),
    /// Output of absorbed multi-head latent attention.
    AbsorbOutput(mla::AbsorbOutput),
    /// The router of a mixture of experts.
    Router(router::Router),
    /// Rows sorted by expert.
    Dispatch(dispatch::Dispatch),
    /// The experts on their rows.
    Experts(experts::Experts),
    /// The experts, applied to their rows.
    Combine(combine::Combine),
    /// A loss head.
    Head(head::Head),
    /// Logits for generation.
    Logits(logits::Logits),
    /// Copies hidden states to the host.
    StoreHidden(hidden::StoreHidden),
    /// Copies hidden states from the host.
    LoadHidden(hidden::LoadHidden),
    /// A parameter as an activation (tests).
    Input(test_ops::Input),
    /// A loss for any activation (tests).
    WeightedSum(test_ops::WeightedSum),
}

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
    pub fn all(b: &Builder, act: Activation) -> Columns {
        Columns { act, ld: b.cols(act), at: 0, cols: b.cols(act) }
    }
    /// Returns the columns `range` of `act`.
    pub fn range(b: &Builder, act: Activation, range: Range<usize>) -> Columns {
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

/// Returns the output of an op with an optional residual: the next state of that residual stream, or a new activation.
fn output(b: &mut Builder, residual: Option<Activation>, cols: usize) -> Activation {
    match residual {
        Some(residual) => b.residual(residual),
        None => b.activation(cols),
    }
}

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod network_tests;
