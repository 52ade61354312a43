//! The element types of activations on the card.
//!
//! In bf16, activations that matrix products read or write are bf16. The residual stream stays f32, and with it what
//! feeds it; so do the log-sum-exp of attention and the affinities and weights of a router.

use crate::ops::{Op, Program};
use crate::precision::Precision;
use crate::tape::{Activation, Dtype};

/// Returns the element type of every activation in passes of this precision. A gradient has the type of its activation.
pub(super) fn dtypes(program: &Program, precision: Precision) -> Vec<Dtype> {
    if precision == Precision::F32 {
        return vec![Dtype::F32; program.activations.len()];
    }
    let mut dtypes = vec![Dtype::Bf16; program.activations.len()];
    let mut wide = |act: Activation| dtypes[act.index()] = Dtype::F32;
    for op in program.ops() {
        match op {
            Op::Embedding(op) => wide(op.y),
            Op::LoadHidden(op) => wide(op.y),
            Op::Combine(op) => wide(op.y),
            Op::Attention(op) => wide(op.lse),
            Op::Dispatch(op) => wide(op.sorted.weights),
            Op::Router(op) => [op.scores, op.routes.weights].into_iter().for_each(&mut wide),
            _ => {}
        }
    }
    // States of one residual stream share a gradient, hence a type.
    for (act, &first) in program.alias.iter().enumerate() {
        if act != first {
            (dtypes[act], dtypes[first]) = (Dtype::F32, Dtype::F32);
        }
    }
    dtypes
}

/// Returns the bytes of activations and gradients in passes of this precision.
pub(super) fn planned_bytes(program: &Program, precision: Precision) -> usize {
    let dtypes = dtypes(program, precision);
    let plan = program.plan_as(|act| dtypes[act]);
    plan.activation_bytes + plan.grad_bytes
}
