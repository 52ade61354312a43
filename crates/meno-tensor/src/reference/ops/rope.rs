//! Rope, in place (a, b) ← (a cos − b sin, a sin + b cos): the equation of [`crate::ops::rope`].

use super::Kernels;
use crate::ops::rope::{Pairs, Rope};
use crate::reference::context::Ctx;
use crate::reference::math::wide;

/// Rotates all heads of all rows, by the angle times `direction`.
fn rotate(op: &Rope, x: &[f32], positions: &[u32], direction: f64) -> Vec<f64> {
    let (mut y, half) = (wide(x), op.table.half);
    for (row, &position) in y.chunks_exact_mut(op.ld).zip(positions) {
        for (head, i) in (0..op.heads).flat_map(|head| (0..half).map(move |i| (head, i))) {
            let first = op.offset + head * op.head_stride;
            let (a, b) = match op.pairs {
                Pairs::Interleaved => (first + 2 * i, first + 2 * i + 1),
                Pairs::HalfSplit => (first + i, first + i + half),
            };
            let angle = position as usize * half + i;
            let (cos, sin) = (op.table.cos[angle] as f64, op.table.sin[angle] as f64 * direction);
            (row[a], row[b]) = (row[a] * cos - row[b] * sin, row[a] * sin + row[b] * cos);
        }
    }
    y
}

impl Kernels for Rope {
    fn forward(&self, ctx: &mut Ctx) {
        let y = rotate(self, &ctx.value(self.x), &ctx.batch.positions, 1.0);
        ctx.set(self.x, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let dx = rotate(self, &ctx.grad(self.x), &ctx.batch.positions, -1.0);
        ctx.replace_grad(self.x, &dx);
    }
}
