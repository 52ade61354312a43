//! Keys, queries and outputs of multi-head latent attention. [`crate::ops::mla`] defines the symbols.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::ops::mla::{AbsorbOutput, AbsorbQuery, MlaKeys};
use crate::precision::Precision;

impl Kernels for MlaKeys {
    fn forward(&self, ctx: &mut Ctx) {
        let (n, r, rows) = (self.nope_dim, self.rope_dim, ctx.rows);
        if rows == 0 {
            return;
        }
        let [nope, k_pe, k] = ctx.acts.get([self.nope.act, self.k_pe.act, self.k]);
        let (nope_ld, pe_ld) = (nope.len() / rows, k_pe.len() / rows);
        for_rows(k, self.heads * (n + r), |row, k| {
            let nope = &nope[row * nope_ld + self.nope.offset..];
            let k_pe = &k_pe[row * pe_ld + self.k_pe.offset..][..r];
            for (head, k) in k.chunks_exact_mut(n + r).enumerate() {
                k[..n].copy_from_slice(&nope[head * self.nope.head_stride..][..n]);
                k[n..].copy_from_slice(k_pe);
            }
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (n, r, rows) = (self.nope_dim, self.rope_dim, ctx.rows);
        if rows == 0 {
            return;
        }
        let (add_nope, add_pe) = (ctx.adds(self.nope.act), ctx.adds(self.k_pe.act));
        let [dnope, dk_pe, dk] = ctx.grads.get([self.nope.act, self.k_pe.act, self.k]);
        let (nope_ld, pe_ld, width) = (dnope.len() / rows, dk_pe.len() / rows, self.heads * (n + r));
        for_rows(dnope, nope_ld, |row, dnope| {
            if !add_nope {
                dnope.fill(0.0);
            }
            for (head, dk) in dk[row * width..][..width].chunks_exact(n + r).enumerate() {
                let d = &mut dnope[self.nope.offset + head * self.nope.head_stride..][..n];
                d.iter_mut().zip(dk).for_each(|(d, k)| *d += k);
            }
        });
        for_rows(dk_pe, pe_ld, |row, dk_pe| {
            if !add_pe {
                dk_pe.fill(0.0);
            }
            let d = &mut dk_pe[self.k_pe.offset..][..r];
            // One head after the other, so that the order of the sum is fixed.
            for dk in dk[row * width..][..width].chunks_exact(n + r) {
                d.iter_mut().zip(&dk[n..]).for_each(|(d, k)| *d += k);
            }
        });
    }
}

/// Returns the rows of one head in `kv_b_proj` `[h·(n+v), c]`.
fn head_weight<'a>(weight: &'a [f32], c: usize, first_row: usize, rows: usize) -> Mat<'a> {
    Mat::new(&weight[first_row * c..(first_row + rows) * c], rows, c)
}

impl Kernels for AbsorbQuery {
    fn forward(&self, ctx: &mut Ctx) {
        let (n, r, c, t) = (self.nope_dim, self.rope_dim, self.kv_lora_rank, ctx.rows);
        if t == 0 {
            return;
        }
        let weight = ctx.params.get(self.weight);
        let [q, y] = ctx.acts.get([self.q.act, self.y]);
        let (q_ld, y_ld) = (q.len() / t, self.heads * (c + r));
        for head in 0..self.heads {
            let q = &q[self.q.offset + head * self.q.head_stride..];
            let uk = head_weight(weight, c, head * (n + self.v_dim), n);
            let y = &mut y[head * (c + r)..];
            let a = Mat::strided(q, t, n, q_ld);
            gemm(Precision::F32, 1.0, a, Rhs::Mat(uk), false, MatMut::strided(y, t, c, y_ld));
            for row in 0..t {
                y[row * y_ld + c..][..r].copy_from_slice(&q[row * q_ld + n..][..r]);
            }
        }
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: absorbed attention is for inference")
    }
}

impl Kernels for AbsorbOutput {
    fn forward(&self, ctx: &mut Ctx) {
        let (n, v, c, t) = (self.nope_dim, self.v_dim, self.kv_lora_rank, ctx.rows);
        if t == 0 {
            return;
        }
        let weight = ctx.params.get(self.weight);
        let [x, y] = ctx.acts.get([self.x, self.y]);
        for head in 0..self.heads {
            let uv = head_weight(weight, c, head * (n + v) + n, v).t();
            let a = Mat::strided(&x[head * c..], t, c, self.heads * c);
            let y = MatMut::strided(&mut y[head * v..], t, v, self.heads * v);
            gemm(Precision::F32, 1.0, a, Rhs::Mat(uv), false, y);
        }
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: absorbed attention is for inference")
    }
}
