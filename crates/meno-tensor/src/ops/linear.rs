//! Linear layers: y = x · Wᵀ (+ bias) (+ residual).

use super::Columns;
use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};

/// y = x · Wᵀ + bias + residual.
pub struct Linear {
    /// Input `[t, in]`.
    pub x: Activation,
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// `[t, out]`, added to the output. `y` continues this stream (`Builder::residual`), so both share one gradient.
    pub residual: Option<Activation>,
    /// Output `[t, out]`.
    pub y: Activation,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

impl Linear {
    /// Appends x · weightᵀ (+ bias) (+ residual, whose stream the output continues); returns its output.
    pub fn push(
        b: &mut Builder<impl Describe + From<Linear>>,
        params: &ParamLayout,
        x: Activation,
        weight: Param,
        bias: Option<Param>,
        residual: Option<Activation>,
    ) -> Activation {
        let [outputs, inputs] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(Columns::all(b, x).cols == inputs, "invariant: {} takes {inputs} inputs", params.info(weight).name);
        let y = b.output(residual, outputs);
        b.push(Linear { x, weight, bias, residual, y, inputs, outputs });
        y
    }
}

impl Describe for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn io(&self) -> Io {
        Io {
            reads: [self.x].into_iter().chain(self.residual).collect(),
            writes: vec![self.y],
            saved: vec![self.x],
            grad_reads: vec![self.y],
            grad_writes: vec![self.x],
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
            for mut net in build(true, 8, |b, p| {
                let x = TestInput::input(b, p, 19);
                let residual = residual.then(|| TestInput::residual(b, p, 11));
                let weight = p.declare("w", &[11, 19]);
                p.mark_linear(weight);
                let bias = p.declare("b", &[11]);
                Linear::push(b, p, x, weight, Some(bias), residual)
            }) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }
}
