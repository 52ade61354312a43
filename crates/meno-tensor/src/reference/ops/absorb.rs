//! AbsorbQuery, q_h = \[W_UK,hᵀ q_nope_h ; q_pe_h\], and AbsorbOutput, o_h = W_UV,h ō_h: the equations of
//! [`crate::ops::mla`]. Inference only, always f32.

use super::Kernels;
use crate::ops::mla::{AbsorbOutput, AbsorbQuery};
use crate::precision::Precision;
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, product};

/// Returns `rows` rows of `kv_b_proj` `[h·(n+v), c]`.
fn weight_rows(weight: &[f32], c: usize, first: usize, rows: usize) -> Mat<'_> {
    Mat::new(&weight[first * c..], rows, c)
}

/// Copies `[rows, cols]` values to columns `at..at + cols` of rows `ld` apart.
fn place(values: &[f64], cols: usize, to: &mut [f64], ld: usize, at: usize) {
    let rows = to.chunks_exact_mut(ld).zip(values.chunks_exact(cols));
    rows.for_each(|(to, values)| to[at..at + cols].copy_from_slice(values));
}

impl Kernels for AbsorbQuery {
    fn forward(&self, ctx: &mut Ctx) {
        let (n, r, c, t) = (self.nope_dim, self.rope_dim, self.kv_lora_rank, ctx.rows);
        let (q, weight, q_ld, ld) =
            (ctx.value(self.q.act), ctx.weights.get(self.weight), ctx.cols(self.q.act), ctx.cols(self.y));
        let mut y = vec![0.0; t * ld];
        for head in 0..self.heads {
            let (from, to) = (self.q.offset + head * self.q.head_stride, head * (c + r));
            let uk = weight_rows(&weight, c, head * (n + self.v_dim), n);
            let nope = Mat::new(&q, t, q_ld).columns(from..from + n);
            place(&product(Precision::F32, nope, uk), c, &mut y, ld, to);
            for (row, i) in (0..t).flat_map(|row| (0..r).map(move |i| (row, i))) {
                y[row * ld + to + c + i] = q[row * q_ld + from + n + i] as f64;
            }
        }
        ctx.set(self.y, &y);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: absorbed attention is for inference")
    }
}

impl Kernels for AbsorbOutput {
    fn forward(&self, ctx: &mut Ctx) {
        let (n, v, c, t) = (self.nope_dim, self.v_dim, self.kv_lora_rank, ctx.rows);
        let (x, weight) = (ctx.value(self.x), ctx.weights.get(self.weight));
        let mut y = vec![0.0; t * self.heads * v];
        for head in 0..self.heads {
            let uv = weight_rows(&weight, c, head * (n + v) + n, v);
            let mean = Mat::new(&x, t, self.heads * c).columns(head * c..(head + 1) * c);
            place(&product(Precision::F32, mean, uv.t()), v, &mut y, self.heads * v, head * v);
        }
        ctx.set(self.y, &y);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: absorbed attention is for inference")
    }
}
