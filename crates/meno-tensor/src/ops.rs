//! The ops of a program, one file each: operands, shapes, equations, and the activations that each reads and writes.
//! The backends ([`crate::cpu`], [`crate::reference`]) define how an op is computed.
//!
//! An op may write the gradient of only some *columns* of an activation ([`Columns`]). If it is the first to write
//! there, it sets the other columns to zero, so that the next op can add.

pub mod attention;
mod columns;
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
pub mod scale;
pub mod swiglu;
#[cfg(any(test, feature = "testing"))]
pub mod test_ops;

pub use columns::Columns;

use crate::tape::{self, Describe, Io};

/// Defines [`Op`] and the conversions into it.
macro_rules! ops {
    (
        $($(#[$doc:meta])* $name:ident($ty:ty)),* ;
        testing: $($(#[$test_doc:meta])* $test:ident($test_ty:ty)),* $(,)?
    ) => {
        /// An op of a program. The set is closed, so the compiler reports every backend that lacks a new op.
        pub enum Op {
            $($(#[$doc])* $name($ty),)*
            $($(#[$test_doc])* #[cfg(any(test, feature = "testing"))] $test($test_ty),)*
        }
        $(impl From<$ty> for Op {
            fn from(op: $ty) -> Op {
                Op::$name(op)
            }
        })*
        $(#[cfg(any(test, feature = "testing"))]
        impl From<$test_ty> for Op {
            fn from(op: $test_ty) -> Op {
                Op::$test(op)
            }
        })*
        impl Op {
            fn description(&self) -> &dyn Describe {
                match self {
                    $(Op::$name(op) => op,)*
                    $(#[cfg(any(test, feature = "testing"))] Op::$test(op) => op,)*
                }
            }
        }
        /// The names of the variants, for tests that cover every op.
        #[cfg(test)]
        impl Op {
            pub(crate) const VARIANTS: &[&str] = &[$(stringify!($name),)* $(stringify!($test)),*];
            pub(crate) fn variant(&self) -> &'static str {
                match self {
                    $(Op::$name(_) => stringify!($name),)*
                    $(Op::$test(_) => stringify!($test)),*
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
    /// The experts, each applied to its rows.
    Experts(experts::Experts),
    /// The weighted sum of each token's expert outputs, added to the residual.
    Combine(combine::Combine),
    /// A constant factor.
    Scale(scale::Scale),
    /// A loss head.
    Head(head::Head),
    /// Logits for generation.
    Logits(logits::Logits),
    /// Copies hidden states to the host.
    StoreHidden(hidden::StoreHidden),
    /// Copies hidden states from the host.
    LoadHidden(hidden::LoadHidden);
    testing:
    /// A parameter as an activation (tests).
    Input(test_ops::Input),
    /// A loss for any activation (tests).
    WeightedSum(test_ops::WeightedSum),
}

impl Describe for Op {
    fn name(&self) -> &'static str {
        self.description().name()
    }
    fn io(&self) -> Io {
        self.description().io()
    }
    fn flops(&self, rows: usize) -> u64 {
        self.description().flops(rows)
    }
    fn recomputed(&self) -> bool {
        self.description().recomputed()
    }
}

/// Collects the ops of a network.
pub type Builder = tape::Builder<Op>;

/// A planned network.
pub type Program = tape::Program<Op>;

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod network_tests;
