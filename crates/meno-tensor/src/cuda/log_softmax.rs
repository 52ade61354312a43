//! The log-softmax of a row of logits on the host, with the arithmetic and the bits of the card's loss head.

use crate::log_softmax::LogSoftmax;

/// Returns the normalizer of a row of logits.
pub(super) fn log_softmax_row(_logits: &[f32], _inv_temperature: f32) -> LogSoftmax {
    todo!()
}

/// Like [`log_softmax_row`], with the same bits; leaves exp(z − max) in the row.
pub(super) fn exp_row(_logits: &mut [f32], _inv_temperature: f32) -> LogSoftmax {
    todo!()
}
