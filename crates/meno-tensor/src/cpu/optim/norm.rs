//! The sums of squares of which the gradient norm consists.

use crate::optim::norm_blocks;
use crate::pool;
use crate::tape::ParamLayout;
use rayon::prelude::*;
use std::ops::Range;

/// Values of one partial sum.
const BLOCK: usize = 1 << 14;

/// Computes Σ g² in f64 over every block of the trainable parameters in `range`.
pub(in crate::cpu) fn gradient_squares(layout: &ParamLayout, grads: &[f32], range: Range<usize>) -> Vec<f64> {
    let blocks: Vec<Range<usize>> = norm_blocks(layout, range, BLOCK).collect();
    let sum = |block: &Range<usize>| sum_squares(&grads[block.clone()]);
    match pool::threads() {
        1 => blocks.iter().map(sum).collect(),
        _ => blocks.par_iter().with_min_len(4).map(sum).collect(),
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
        let squares = pool::with_threads(1, || gradient_squares(&p, &grads, 0..p.total()));
        assert!((squares.iter().sum::<f64>() - expected).abs() < 1e-9 * expected);
        assert_eq!(squares, pool::with_threads(3, || gradient_squares(&p, &grads, 0..p.total())));
    }
}
