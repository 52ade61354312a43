//! The dense feed-forward network of a block.

use crate::declare::Declare;
use meno_tensor::ops::norm_linear::NormLinear;
use meno_tensor::ops::rms_norm::Norm;
use meno_tensor::ops::swiglu::SwigluLinear;
use meno_tensor::ops::{Builder, Columns};
use meno_tensor::tape::{Activation, Param, ParamLayout};

/// A SwiGLU MLP: W_down (silu(W_gate x) ⊙ W_up x) (Shazeer, arXiv 2002.05202).
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    gate_proj: Param,
    up_proj: Param,
    down_proj: Param,
}

impl Mlp {
    pub(crate) fn declare(mut d: Declare, hidden: usize, width: usize) -> Mlp {
        let [gate_proj, up_proj] = d.fused([("gate_proj", width), ("up_proj", width)], hidden);
        Mlp { gate_proj, up_proj, down_proj: d.linear("down_proj", hidden, width) }
    }

    /// Appends residual + MLP(norm(x)).
    pub(crate) fn push(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        x: Activation,
        norm: Option<Norm>,
        residual: Activation,
    ) -> Activation {
        let weights = [(self.gate_proj, None), (self.up_proj, None)];
        let gate_up = NormLinear::push(b, p, Columns::all(b, x), norm, &weights);
        SwigluLinear::push(b, p, gate_up, self.down_proj, Some(residual))
    }
}
