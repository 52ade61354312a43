//! The ops of a program, one file each: operands, shapes, equations, and what each touches. How an op is computed is a
//! backend's affair ([`crate::cpu`], [`crate::reference`]).
//!
//! An op that writes the gradient of some *columns* of an activation ([`Columns`]) sets the other columns to zero when
//! it is the first to write there, so that the next writer can add.

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
        /// An op of a program. The set is closed: the compiler asks every backend for a new one.
        pub enum Op {
            $($(#[$doc])* $name($ty)),*
        }
        $(impl From<$ty> for Op {
            fn from(op: $ty) -> Op {
                Op::$name(op)
            }
        })*
        impl Op {
            /// What the op says about itself.
            pub fn description(&self) -> &dyn Describe {
                match self {
                    $(Op::$name(op) => op),*
                }
            }
        }
        /// The names of the variants, for tests that look at every op.
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
    /// Linear layers of one input behind a fused RMSNorm.
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
    /// The weighted sum of the experts' outputs.
    Combine(combine::Combine),
    /// A loss head.
    Head(head::Head),
    /// Logits for generation.
    Logits(logits::Logits),
    /// Hidden states to the host.
    StoreHidden(hidden::StoreHidden),
    /// Hidden states from the host.
    LoadHidden(hidden::LoadHidden),
    /// A parameter as an activation (tests).
    Input(test_ops::Input),
    /// A loss for any activation (tests).
    WeightedSum(test_ops::WeightedSum),
}

/// Some columns of an activation.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The activation.
    pub act: Activation,
    /// All its columns: the distance between rows.
    pub ld: usize,
    /// The first column.
    pub at: usize,
    /// The number of columns.
    pub cols: usize,
}

impl Columns {
    /// All columns of `act`.
    pub fn all(b: &Builder, act: Activation) -> Columns {
        Columns { act, ld: b.cols(act), at: 0, cols: b.cols(act) }
    }
    /// The columns `range` of `act`.
    pub fn range(b: &Builder, act: Activation, range: Range<usize>) -> Columns {
        assert!(range.end <= b.cols(act), "invariant: columns {range:?} of {}", b.cols(act));
        Columns { act, ld: b.cols(act), at: range.start, cols: range.len() }
    }
    /// Whether these are only some of the activation's columns.
    pub fn is_part(&self) -> bool {
        self.cols != self.ld
    }
    /// These columns of a row.
    pub(crate) fn of<'a>(&self, row: &'a [f32]) -> &'a [f32] {
        &row[self.at..self.at + self.cols]
    }
    /// These columns of a row, to write.
    pub(crate) fn of_mut<'a>(&self, row: &'a mut [f32]) -> &'a mut [f32] {
        &mut row[self.at..self.at + self.cols]
    }
}

/// The output of an op with an optional residual: the next state of that residual stream, or a new activation.
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
