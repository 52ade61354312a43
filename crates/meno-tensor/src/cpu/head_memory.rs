//! What a loss head keeps between its phases and passes.

use super::gemm::Packed;
use crate::log_softmax::LogSoftmax;
use crate::tape::TokenLoss;

/// Memory that an executor keeps for its loss heads.
#[derive(Default)]
pub(super) struct HeadMemory {
    /// The weight as the right-hand side of dx = dlogits · W, packed once for all chunks of a pass.
    pub(super) packed: Option<Packed>,
    /// For each row of a chunk: its normalizer and the log-probability of its target.
    pub(super) rows: Vec<(LogSoftmax, f32)>,
    /// The losses of these rows.
    pub(super) losses: Vec<TokenLoss>,
}
