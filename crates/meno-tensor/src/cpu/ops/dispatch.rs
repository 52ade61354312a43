//! Sorts pairs by expert, and gathers and scatters their rows.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels::axpy;
use crate::ops::dispatch::{Dispatch, Sorted};
use std::ops::Range;

/// The order of the rows, in the format of [`Sorted::order`].
pub(super) struct Order<'a> {
    /// The first row of each expert, and the end.
    pub(super) offsets: &'a [u32],
    /// The pair of each row.
    pub(super) pairs: &'a [u32],
    /// The row of each pair.
    pub(super) rows: &'a [u32],
}

impl<'a> Order<'a> {
    pub(super) fn sort(chosen: &[u32], experts: usize, out: &mut [u32]) {
        out.fill(0);
        let (offsets, rest) = out.split_at_mut(experts + 1);
        let (pairs, rows) = rest.split_at_mut(chosen.len());
        chosen.iter().for_each(|&e| offsets[e as usize] += 1);
        let mut start = 0;
        for offset in offsets.iter_mut() {
            start += std::mem::replace(offset, start);
        }
        for (pair, &e) in chosen.iter().enumerate() {
            let row = offsets[e as usize];
            offsets[e as usize] += 1;
            pairs[row as usize] = pair as u32;
            rows[pair] = row;
        }
        // Each offset now points to the end of its expert's rows, which is where the next expert starts.
        offsets.copy_within(0..experts, 1);
        offsets[0] = 0;
    }
    pub(super) fn read(ints: &'a [u32], sorted: &Sorted) -> Self {
        let (offsets, rest) = ints.split_at(sorted.experts + 1);
        let (pairs, rows) = rest.split_at(rest.len() / 2);
        Order { offsets, pairs, rows }
    }
    /// Returns the rows of an expert.
    pub(super) fn range(&self, expert: usize) -> Range<usize> {
        self.offsets[expert] as usize..self.offsets[expert + 1] as usize
    }
}

impl Kernels for Dispatch {
    fn forward(&self, ctx: &mut Ctx) {
        let (k, h) = (self.sorted.top_k, self.sorted.hidden);
        let mut ints = std::mem::take(ctx.ints.get(self.sorted.order));
        let chosen = ctx.ints.get(self.routes.chosen).get();
        Order::sort(chosen, self.sorted.experts, ints.reset(self.sorted.experts + 1 + 2 * chosen.len()));
        let order = Order::read(ints.get(), &self.sorted);
        let [x, weights] = [self.x, self.routes.weights];
        let [x, weights, rows, row_weights] = ctx.acts.get([x, weights, self.sorted.rows, self.sorted.weights]);
        gather(x, h, rows, |row| order.pairs[row] as usize / k);
        row_weights.iter_mut().zip(order.pairs).for_each(|(w, &pair)| *w = weights[pair as usize]);
        *ctx.ints.get(self.sorted.order) = ints;
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (k, h) = (self.sorted.top_k, self.sorted.hidden);
        let [x, weights] = [self.x, self.routes.weights];
        let (add_x, add_weights) = (ctx.adds(x), ctx.adds(weights));
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [dx, dweights, drows, drow_weights] = ctx.grads.get([x, weights, self.sorted.rows, self.sorted.weights]);
        for (d, &row) in dweights.iter_mut().zip(order.rows) {
            let dw = drow_weights[row as usize];
            *d = if add_weights { *d + dw } else { dw };
        }
        for_rows(dx, h, |r, dx| {
            if !add_x {
                dx.fill(0.0);
            }
            for &row in &order.rows[r * k..(r + 1) * k] {
                axpy(1.0, &drows[row as usize * h..][..h], dx);
            }
        });
    }
}

/// Copies row `source(i)` of `x` to row i of `out`; rows are `cols` wide.
pub(super) fn gather(x: &[f32], cols: usize, out: &mut [f32], source: impl Fn(usize) -> usize + Sync + Send) {
    for_rows(out, cols, |i, out| out.copy_from_slice(&x[source(i) * cols..][..cols]));
}
