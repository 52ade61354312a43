//! Rotary position embedding, in place.

use super::Kernels;
use crate::cpu::context::Ctx;
use crate::ops::rope::{Pairs, Rope};
use crate::pool;

impl Rope {
    fn rotate(&self, x: &mut [f32], positions: &[u32], direction: f32) {
        let half = self.table.half;
        let rows = (16384 / (self.heads * half * 2).max(1)).max(1);
        pool::for_chunks(x, rows * self.ld, |task, chunk| {
            for (i, row) in chunk.chunks_exact_mut(self.ld).enumerate() {
                let at = positions[task * rows + i] as usize * half;
                let (cos, sin) = (&self.table.cos[at..at + half], &self.table.sin[at..at + half]);
                for head in 0..self.heads {
                    let x = &mut row[self.offset + head * self.head_stride..][..2 * half];
                    match self.pairs {
                        Pairs::Interleaved => {
                            for ((pair, &c), &s) in x.chunks_exact_mut(2).zip(cos).zip(sin) {
                                let (a, b, s) = (pair[0], pair[1], s * direction);
                                pair[0] = a * c - b * s;
                                pair[1] = a * s + b * c;
                            }
                        }
                        Pairs::HalfSplit => {
                            let (a, b) = x.split_at_mut(half);
                            for i in 0..half {
                                let (p, q, s) = (a[i], b[i], sin[i] * direction);
                                a[i] = p * cos[i] - q * s;
                                b[i] = p * s + q * cos[i];
                            }
                        }
                    }
                }
            }
        });
    }
}

impl Kernels for Rope {
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.x]);
        self.rotate(x, &ctx.batch.positions, 1.0);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let [dx] = ctx.grads.get([self.x]);
        self.rotate(dx, &ctx.batch.positions, -1.0);
    }
}
