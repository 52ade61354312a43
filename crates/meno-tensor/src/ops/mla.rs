//! What Multi-head Latent Attention adds to [`super::attention`] (DeepSeek-V3, arXiv 2412.19437, §2.1.1).
//!
//! *Expanded* (training, prefill, exact decoding): [`MlaKeys`] puts every head's key together,
//! k_h = [k_nope_h ; k_pe], from the up-projection of the latent and the one rotated k_pe that all heads share.
//!
//! *Absorbed* (decoding, agrees to 1e-5): W_kvb is folded into query and output, so that one head of width c + r
//! serves all query heads: q̃_h = W_UK,hᵀ q_nope_h ([`AbsorbQuery`]), score = q̃_h·c_kv + q_pe_h·k_pe, and
//! o_h = W_UV,h · Σ p c_kv ([`AbsorbOutput`]). Its keys [c_kv ; k_pe] are [`MlaKeys`] with one head; its values are
//! the first c columns of them.
//!
//! Shapes: t tokens, h heads, n qk_nope_head_dim, r qk_rope_head_dim, v v_head_dim, c kv_lora_rank.

use super::attention::HeadView;
use super::rows::for_rows;
use crate::gemm::{Mat, MatMut, Precision, Rhs, gemm};
use crate::params::Param;
use crate::tape::{Act, Ctx, Io, Op};

/// Keys from their two parts: k_h = [nope_h ; k_pe] for every head h.
pub struct MlaKeys {
    /// The part each head has of its own, `heads` × n: columns of the output of `kv_b_proj` (or the latent itself).
    pub nope: HeadView,
    /// The part all heads share, one head of width r, rotated: columns of the output of `kv_a_proj_with_mqa`.
    pub k_pe: HeadView,
    /// Output `[t, heads·(n + r)]`.
    pub k: Act,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// r.
    pub rope_dim: usize,
}

impl Op for MlaKeys {
    fn name(&self) -> &'static str {
        "mla_keys"
    }
    fn io(&self) -> Io {
        let inputs = vec![self.nope.act, self.k_pe.act];
        Io { reads: inputs.clone(), writes: vec![self.k], saved: vec![], grad_reads: vec![self.k], grad_writes: inputs }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (n, r, rows) = (self.nope_dim, self.rope_dim, ctx.rows);
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
            // Head by head, so the order of the sum is fixed.
            for dk in dk[row * width..][..width].chunks_exact(n + r) {
                d.iter_mut().zip(&dk[n..]).for_each(|(d, k)| *d += k);
            }
        });
    }
}

/// The rows of one head in `kv_b_proj` `[h·(n+v), c]`.
fn head_weight<'a>(weight: &'a [f32], c: usize, first_row: usize, rows: usize) -> Mat<'a> {
    Mat::new(&weight[first_row * c..(first_row + rows) * c], rows, c)
}

/// Queries against the latent: q_h = [W_UK,hᵀ q_nope_h ; q_pe_h]. Inference only.
pub struct AbsorbQuery {
    /// Queries, `heads` × (n + r), the last r columns rotated.
    pub q: HeadView,
    /// `kv_b_proj.weight`, `[h·(n+v), c]`.
    pub weight: Param,
    /// Output `[t, heads·(c + r)]`.
    pub y: Act,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// r.
    pub rope_dim: usize,
    /// v.
    pub v_dim: usize,
    /// c.
    pub kv_lora_rank: usize,
}

impl Op for AbsorbQuery {
    fn name(&self) -> &'static str {
        "absorb_query"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.q.act], writes: vec![self.y], ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.heads * self.nope_dim * self.kv_lora_rank) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (n, r, c, t) = (self.nope_dim, self.rope_dim, self.kv_lora_rank, ctx.rows);
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

/// The output of absorbed attention: o_h = W_UV,h ō_h. Inference only.
pub struct AbsorbOutput {
    /// ō `[t, heads·c]`.
    pub x: Act,
    /// `kv_b_proj.weight`, `[h·(n+v), c]`.
    pub weight: Param,
    /// Output `[t, heads·v]`.
    pub y: Act,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// v.
    pub v_dim: usize,
    /// c.
    pub kv_lora_rank: usize,
}

impl Op for AbsorbOutput {
    fn name(&self) -> &'static str {
        "absorb_output"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], writes: vec![self.y], ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.heads * self.v_dim * self.kv_lora_rank) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (n, v, c, t) = (self.nope_dim, self.v_dim, self.kv_lora_rank, ctx.rows);
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

#[cfg(test)]
mod tests;
