//! Dispatch copies a token's row for each of its experts, sorted by expert: see [`crate::ops::dispatch`].

use super::Kernels;
use crate::ops::dispatch::{Dispatch, Sorted};
use crate::reference::context::Ctx;
use crate::reference::math::{add, wide};
use std::ops::Range;

/// The order of the rows, in the format of [`Sorted::order`].
pub(super) struct Order {
    offsets: Vec<u32>,
    /// The pair of each row.
    pub(super) pairs: Vec<u32>,
    /// The row of each pair.
    pub(super) rows: Vec<u32>,
}

impl Order {
    /// Sorts pairs by their expert; pairs of one expert stay in order.
    fn sort(chosen: &[u32], experts: usize) -> Self {
        let mut order = Order { offsets: vec![0], pairs: Vec::new(), rows: vec![0; chosen.len()] };
        for expert in 0..experts as u32 {
            for pair in (0..chosen.len()).filter(|&pair| chosen[pair] == expert) {
                order.rows[pair] = order.pairs.len() as u32;
                order.pairs.push(pair as u32);
            }
            order.offsets.push(order.pairs.len() as u32);
        }
        order
    }
    /// Reads the order stored by [`Dispatch`].
    pub(super) fn read(ctx: &Ctx, sorted: &Sorted) -> Self {
        let mut offsets = ctx.ints(sorted.order);
        let mut pairs = offsets.split_off(sorted.experts + 1);
        let rows = pairs.split_off(pairs.len() / 2);
        Order { offsets, pairs, rows }
    }
    /// Returns the rows of an expert.
    pub(super) fn range(&self, expert: usize) -> Range<usize> {
        self.offsets[expert] as usize..self.offsets[expert + 1] as usize
    }
}

/// Returns, for each sorted row, the row of its token in `x`.
pub(super) fn rows_of_tokens(order: &Order, sorted: &Sorted, x: &[f32]) -> Vec<f64> {
    let token = |&pair: &u32| wide(&x[pair as usize / sorted.top_k * sorted.hidden..][..sorted.hidden]);
    order.pairs.iter().flat_map(token).collect()
}

impl Kernels for Dispatch {
    fn forward(&self, ctx: &mut Ctx) {
        let order = Order::sort(&ctx.ints(self.routes.chosen), self.sorted.experts);
        let (x, weights) = (ctx.value(self.x), ctx.value(self.routes.weights));
        let rows = rows_of_tokens(&order, &self.sorted, &x);
        let row_weights: Vec<f64> = order.pairs.iter().map(|&pair| weights[pair as usize] as f64).collect();
        ctx.set(self.sorted.rows, &rows);
        ctx.set(self.sorted.weights, &row_weights);
        ctx.set_ints(self.sorted.order, [order.offsets, order.pairs, order.rows].concat());
    }
    fn backward(&self, ctx: &mut Ctx) {
        let Sorted { top_k, hidden, .. } = self.sorted;
        let order = Order::read(ctx, &self.sorted);
        let (drows, drow_weights) = (ctx.grad(self.sorted.rows), ctx.grad(self.sorted.weights));
        let dweights: Vec<f64> = order.rows.iter().map(|&row| drow_weights[row as usize] as f64).collect();
        let mut dx = vec![0.0; ctx.rows * hidden];
        for (pair, &row) in order.rows.iter().enumerate() {
            add(&mut dx[pair / top_k * hidden..][..hidden], &wide(&drows[row as usize * hidden..][..hidden]));
        }
        ctx.give_grad(self.routes.weights, &dweights);
        ctx.give_grad(self.x, &dx);
    }
}
