//! The CPU kernels of each op, forward and backward.

mod attention;
mod combine;
mod dealt_experts;
mod dispatch;
mod embedding;
mod experts;
pub(super) mod head;
mod hidden;
mod linear;
pub(super) mod log_softmax;
mod logits;
mod mla;
mod norm_linear;
mod qk_norm;
mod rms_norm;
mod rope;
mod router;
mod rows;
mod scale;
mod swiglu;
#[cfg(any(test, feature = "testing"))]
mod test_ops;

use super::context::Ctx;
use crate::ops::Op;

/// The kernels of an op.
pub(super) trait Kernels {
    /// Returns the number of f32 of scratch memory that a pass over at most `rows` rows uses.
    fn scratch(&self, _rows: usize) -> usize {
        0
    }
    /// Computes the outputs.
    fn forward(&self, ctx: &mut Ctx);
    /// Computes the gradients of inputs and parameters.
    fn backward(&self, ctx: &mut Ctx);
}

/// Returns the kernels of `op`.
pub(super) fn kernels(op: &Op) -> &dyn Kernels {
    match op {
        Op::Embedding(op) => op,
        Op::RmsNorm(op) => op,
        Op::QkNorm(op) => op,
        Op::Linear(op) => op,
        Op::NormLinear(op) => op,
        Op::SwigluLinear(op) => op,
        Op::Rope(op) => op,
        Op::Attention(op) => op,
        Op::MlaKeys(op) => op,
        Op::AbsorbQuery(op) => op,
        Op::AbsorbOutput(op) => op,
        Op::Router(op) => op,
        Op::Dispatch(op) => op,
        Op::Experts(op) => op,
        Op::Combine(op) => op,
        Op::Scale(op) => op,
        Op::Head(op) => op,
        Op::Logits(op) => op,
        Op::StoreHidden(op) => op,
        Op::LoadHidden(op) => op,
        #[cfg(any(test, feature = "testing"))]
        Op::Input(op) => op,
        #[cfg(any(test, feature = "testing"))]
        Op::WeightedSum(op) => op,
    }
}
