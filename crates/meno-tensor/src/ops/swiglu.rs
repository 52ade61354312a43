//! The second half of a SwiGLU MLP: y = residual + (silu(gate) ⊙ up) · W_downᵀ (Shazeer, arXiv 2002.05202, eq. 6).
//!
//! gate and up are adjacent in one activation. Backward recomputes silu(gate) ⊙ up.

use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};

/// y = residual + swiglu(gate_up) · Wᵀ.
pub struct SwigluLinear {
    /// `[t, 2 · inputs]`: gate, then up.
    pub gate_up: Activation,
    /// down_proj, `[out, inputs]`.
    pub weight: Param,
    /// `[t, out]`, added to the output, which continues this stream.
    pub residual: Option<Activation>,
    /// Output `[t, out]`.
    pub y: Activation,
    /// Width of gate and of up.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

impl SwigluLinear {
    /// Appends residual + swiglu(gate_up) · weightᵀ; returns its output.
    pub fn push(
        b: &mut Builder<impl Describe + From<SwigluLinear>>,
        params: &ParamLayout,
        gate_up: Activation,
        weight: Param,
        residual: Option<Activation>,
    ) -> Activation {
        let [outputs, inputs] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(b.cols(gate_up) == 2 * inputs, "invariant: {} takes {inputs} inputs", params.info(weight).name);
        let y = b.output(residual, outputs);
        b.push(SwigluLinear { gate_up, weight, residual, y, inputs, outputs });
        y
    }
}

impl Describe for SwigluLinear {
    fn name(&self) -> &'static str {
        "swiglu_linear"
    }
    fn io(&self) -> Io {
        Io {
            reads: [self.gate_up].into_iter().chain(self.residual).collect(),
            writes: vec![self.y],
            saved: vec![self.gate_up],
            grad_reads: vec![self.y],
            grad_writes: vec![self.gate_up],
            ..Io::default()
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.inputs * self.outputs) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestInput, build};

    #[test]
    fn gradients() {
        for residual in [false, true] {
            for mut net in build(true, 5, |b, p| {
                let gate_up = TestInput::input(b, p, 2 * 21);
                let residual = residual.then(|| TestInput::residual(b, p, 13));
                let weight = p.declare("down_proj.weight", &[13, 21]);
                p.mark_linear(weight);
                SwigluLinear::push(b, p, gate_up, weight, residual)
            }) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }
}
