//! A constant factor: y = factor · x.

use crate::tape::{Activation, Builder, Describe, Io};

/// y = factor · x.
pub struct Scale {
    /// Input `[t, n]`.
    pub x: Activation,
    /// The factor.
    pub factor: f32,
    /// Output `[t, n]`.
    pub y: Activation,
}

impl Scale {
    /// Appends factor · x; returns the product.
    pub fn push(b: &mut Builder<impl Describe + From<Scale>>, x: Activation, factor: f32) -> Activation {
        let y = b.activation(b.cols(x));
        b.push(Scale { x, factor, y });
        y
    }
}

impl Describe for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn io(&self) -> Io {
        let (x, y) = (vec![self.x], vec![self.y]);
        Io { reads: x.clone(), writes: y.clone(), grad_reads: y, grad_writes: x, ..Io::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestInput, build};

    #[test]
    fn gradients() {
        for mut net in build(true, 7, |b, p| {
            let x = TestInput::input(b, p, 37);
            Scale::push(b, x, -1.5)
        }) {
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }
}
