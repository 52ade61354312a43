//! The sums of squares of which the gradient norm consists.

use crate::optim::norm_blocks;
use crate::pool;
use crate::tape::ParamLayout;
use rayon::prelude::*;
use std::ops::Range;

/// Values of one partial sum.
const BLOCK: usize = 1 << 14;
/// Partial sums computed at once, on the stack.
const WAVE: usize = 64;

/// Computes Σ g² in f64 over every block of the trainable parameters in `range`, and appends it to `squares`.
pub(in crate::cpu) fn gradient_squares(
    layout: &ParamLayout,
    grads: &[f32],
    range: Range<usize>,
    squares: &mut Vec<f64>,
) {
    let mut blocks = norm_blocks(layout, range, BLOCK).map(|block| &grads[block]);
    loop {
        let (mut wave, mut sums) = ([&grads[..0]; WAVE], [0.0; WAVE]);
        let count = wave.iter_mut().zip(&mut blocks).map(|(place, block)| *place = block).count();
        if count == 0 {
            return;
        }
        let (wave, sums) = (&wave[..count], &mut sums[..count]);
        if pool::threads() == 1 {
            sums.iter_mut().zip(wave).for_each(|(s, g)| *s = sum_squares(g));
        } else {
            sums.par_iter_mut().zip(wave).with_min_len(4).for_each(|(s, g)| *s = sum_squares(g));
        }
        squares.extend_from_slice(sums);
    }
}

fn sum_squares(g: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let (whole, rest) = g.as_chunks::<8>();
    for g in whole {
        for i in 0..8 {
            lanes[i] += g[i] as f64 * g[i] as f64;
        }
    }
    let rest: f64 = rest.iter().map(|&g| g as f64 * g as f64).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn norm_leaves_out_frozen_parameters_and_does_not_depend_on_threads() {
        let mut p = ParamLayout::default();
        p.declare("a", &[300, 301]);
        let frozen = p.declare("b", &[5]);
        p.declare("c", &[7]);
        p.freeze(frozen);
        let mut rng = Rng::new(&[3]);
        let mut grads = vec![0.0; p.total()];
        let mut expected = 0.0;
        for (_, info) in p.iter() {
            for g in &mut grads[info.range()] {
                *g = rng.normal();
                expected += if info.trainable { (*g as f64).powi(2) } else { 0.0 };
            }
        }
        let squares = |threads| {
            let mut squares = Vec::new();
            pool::with_threads(threads, || gradient_squares(&p, &grads, 0..p.total(), &mut squares));
            squares
        };
        assert!((squares(1).iter().sum::<f64>() - expected).abs() < 1e-9 * expected);
        assert_eq!(squares(1), squares(3));
    }
}
