//! MlaKeys, k_h = \[nope_h ; k_pe\]: the equation of [`crate::ops::mla`].

use super::Kernels;
use crate::ops::mla::MlaKeys;
use crate::reference::context::Ctx;

/// Calls `f(column of k, activation column, shared)` for every column of k; `shared` columns come from k_pe.
fn for_columns(op: &MlaKeys, mut f: impl FnMut(usize, usize, bool)) {
    let width = op.nope_dim + op.rope_dim;
    for head in 0..op.heads {
        (0..op.nope_dim).for_each(|i| f(head * width + i, op.nope.offset + head * op.nope.head_stride + i, false));
        (0..op.rope_dim).for_each(|i| f(head * width + op.nope_dim + i, op.k_pe.offset + i, true));
    }
}

impl Kernels for MlaKeys {
    fn forward(&self, ctx: &mut Ctx) {
        let (nope, k_pe) = (ctx.value(self.nope.act), ctx.value(self.k_pe.act));
        let [nope_ld, pe_ld, ld] = [self.nope.act, self.k_pe.act, self.k].map(|act| ctx.cols(act));
        let mut k = vec![0.0; ctx.rows * ld];
        for row in 0..ctx.rows {
            for_columns(self, |to, from, shared| {
                let x = if shared { k_pe[row * pe_ld + from] } else { nope[row * nope_ld + from] };
                k[row * ld + to] = x as f64;
            });
        }
        ctx.set(self.k, &k);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let dk = ctx.grad(self.k);
        let [nope_ld, pe_ld, ld] = [self.nope.act, self.k_pe.act, self.k].map(|act| ctx.cols(act));
        let (mut dnope, mut dk_pe) = (vec![0.0; ctx.rows * nope_ld], vec![0.0; ctx.rows * pe_ld]);
        for row in 0..ctx.rows {
            for_columns(self, |from, to, shared| {
                let d = if shared { &mut dk_pe[row * pe_ld + to] } else { &mut dnope[row * nope_ld + to] };
                *d += dk[row * ld + from] as f64;
            });
        }
        ctx.give_grad(self.nope.act, &dnope);
        ctx.give_grad(self.k_pe.act, &dk_pe);
    }
}
