//! The loops of attention for one sequence and one key head: tiles of a few query rows against vectors of keys.

use crate::simd::{exp, multiversion};
use std::cell::RefCell;
use std::ops::Range;

/// Keys (or values) in one vector step; also the lanes of the sum of exponentials.
const LANES: usize = 16;
/// Columns computed at a time.
const WIDTH: usize = 2 * LANES;
/// Query rows computed at a time.
const TILE: usize = 6;

/// One sequence and the query heads of one key head.
pub(super) struct Task {
    pub(super) rows: Range<usize>,
    pub(super) past: usize,
    pub(super) first_head: usize,
    pub(super) group: usize,
    pub(super) heads: usize,
    pub(super) qk_dim: usize,
    pub(super) v_dim: usize,
    pub(super) scale: f32,
}

impl Task {
    /// Query (row, head) pairs, row by row.
    fn queries(&self) -> usize {
        self.rows.len() * self.group
    }
    /// Row in the batch and head of query `i`.
    fn query(&self, i: usize) -> (usize, usize) {
        (self.rows.start + i / self.group, self.first_head + i % self.group)
    }
    /// How many keys query `i` sees.
    fn visible(&self, i: usize) -> usize {
        self.past + i / self.group + 1
    }
}

/// Keys transposed `[qk_dim][key_ld]`, values by key `[.., value_ld]`.
pub(super) struct Keys<'a> {
    pub(super) keys: &'a [f32],
    pub(super) key_ld: usize,
    pub(super) values: &'a [f32],
    pub(super) value_ld: usize,
}

/// Memory of a thread, grown as needed and kept.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) probs: Vec<f32>,
    pub(super) dprobs: Vec<f32>,
}

impl Scratch {
    pub(super) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        thread_local! { static SCRATCH: RefCell<Scratch> = RefCell::default(); }
        SCRATCH.with_borrow_mut(f)
    }
}

fn grow(x: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if x.len() < len {
        x.resize(len, 0.0);
    }
    &mut x[..len]
}

/// out[d][j] = x[j][d] for n rows; returns the distance between rows of `out`, a multiple of [`WIDTH`] whose tail is 0.
pub(super) fn transpose(x: &[f32], ld: usize, n: usize, dim: usize, out: &mut Vec<f32>) -> usize {
    let padded = n.next_multiple_of(WIDTH);
    let out = grow(out, padded * dim);
    for d in 0..dim {
        out[d * padded + n..(d + 1) * padded].fill(0.0);
    }
    for j0 in (0..n).step_by(8) {
        let count = 8.min(n - j0);
        for d in 0..dim {
            for j in j0..j0 + count {
                out[d * padded + j] = x[j * ld + d];
            }
        }
    }
    padded
}

/// Scores of `R` queries against `WIDTH` keys from `j0`: chains over the head's columns.
#[inline(always)]
fn score_tile<const R: usize>(q: [&[f32]; R], keys: &[f32], ld: usize, j0: usize) -> [[f32; WIDTH]; R] {
    let mut acc = [[0f32; WIDTH]; R];
    let dim = q[0].len();
    for d in 0..dim {
        let Some(k) = keys[d * ld + j0..].first_chunk::<WIDTH>() else { return short_tile(q, keys, ld, j0) };
        for r in 0..R {
            let x = q[r][d];
            for l in 0..WIDTH {
                acc[r][l] = x.mul_add(k[l], acc[r][l]);
            }
        }
    }
    acc
}

/// As [`score_tile`] at the very end of a cache whose rows are a multiple of 16 long.
#[inline(never)]
fn short_tile<const R: usize>(q: [&[f32]; R], keys: &[f32], ld: usize, j0: usize) -> [[f32; WIDTH]; R] {
    let mut acc = [[0f32; WIDTH]; R];
    for (r, q) in q.iter().enumerate() {
        for l in 0..WIDTH {
            for (d, x) in q.iter().enumerate() {
                let k = keys.get(d * ld + j0 + l).copied().unwrap_or(0.0);
                acc[r][l] = x.mul_add(k, acc[r][l]);
            }
        }
    }
    acc
}

/// out[r] (+)= Σ_j p[r][j] · x[j] over columns c0.., chains over j; `R` rows share the loads of x.
#[inline(always)]
fn weighted_rows<const R: usize, const W: usize>(
    p: &[f32],
    p_ld: usize,
    n: usize,
    x: &[f32],
    ld: usize,
    c0: usize,
) -> [[f32; W]; R] {
    let mut acc = [[0f32; W]; R];
    for j in 0..n {
        let Some(x) = x[j * ld + c0..].first_chunk::<W>() else { break };
        for r in 0..R {
            let p = p[r * p_ld + j];
            for l in 0..W {
                acc[r][l] = p.mul_add(x[l], acc[r][l]);
            }
        }
    }
    acc
}

/// Scores of queries `i..i + R` scaled, one row each of `s`; entries past a query's keys are not meaningful.
#[inline(always)]
fn scores<const R: usize>(
    task: &Task,
    q: (&[f32], usize, usize),
    i: usize,
    keys: &[f32],
    ld: usize,
    s: &mut [f32],
    s_ld: usize,
    n: usize,
) {
    let rows: [&[f32]; R] = std::array::from_fn(|r| {
        let (row, head) = task.query(i + r);
        &q.0[row * q.1 + (head - task.first_head) * q.2..][..task.qk_dim]
    });
    for j0 in (0..n).step_by(WIDTH) {
        let tile = score_tile::<R>(rows, keys, ld, j0);
        for r in 0..R {
            let out = &mut s[r * s_ld + j0..][..WIDTH];
            for l in 0..WIDTH {
                out[l] = tile[r][l] * task.scale;
            }
        }
    }
}

/// Turns a row of scores into exp(s − max), zero past `n`; returns (max, sum), the sum in lanes fixed by the key.
#[inline(always)]
fn exp_scores(s: &mut [f32], n: usize) -> (f32, f32) {
    let mut max = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = s[..n].as_chunks::<LANES>();
    for x in whole {
        for l in 0..LANES {
            max[l] = if x[l] > max[l] { x[l] } else { max[l] };
        }
    }
    let max = rest.iter().chain(&max).fold(f32::NEG_INFINITY, |a, &x| if x > a { x } else { a });
    s[n..].fill(f32::NEG_INFINITY);
    let mut sums = [0f32; LANES];
    for x in s.as_chunks_mut::<LANES>().0 {
        for l in 0..LANES {
            x[l] = exp(x[l] - max);
            sums[l] += x[l];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            sums[l] += sums[l + width];
        }
        width /= 2;
    }
    (max, sums[0])
}

/// Writes out = Σ p·v / sum for `R` queries.
#[inline(always)]
fn outputs<const R: usize>(
    task: &Task,
    i: usize,
    p: &[f32],
    p_ld: usize,
    n: usize,
    keys: &Keys,
    inverse: [f32; R],
    out: &mut [f32],
) {
    let mut c0 = 0;
    while c0 < task.v_dim {
        let width = if task.v_dim - c0 >= WIDTH {
            WIDTH
        } else if task.v_dim - c0 >= LANES {
            LANES
        } else {
            1
        };
        for r in 0..R {
            let (row, head) = task.query(i + r);
            let at = (row * task.heads + head) * task.v_dim + c0;
            out[at..at + width].fill(0.0);
        }
        macro_rules! go {
            ($w:expr) => {{
                let acc = weighted_rows::<R, { $w }>(p, p_ld, n, keys.values, keys.value_ld, c0);
                for r in 0..R {
                    let (row, head) = task.query(i + r);
                    let out = &mut out[(row * task.heads + head) * task.v_dim + c0..][..$w];
                    for l in 0..$w {
                        out[l] = acc[r][l] * inverse[r];
                    }
                }
            }};
        }
        match width {
            WIDTH => go!(WIDTH),
            LANES => go!(LANES),
            _ => go!(1),
        }
        c0 += width;
    }
}

#[inline(always)]
fn forward_tile<const R: usize>(
    task: &Task,
    q: (&[f32], usize, usize),
    i: usize,
    keys: &Keys,
    s: &mut Vec<f32>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let n = task.visible(i + R - 1);
    let s_ld = n.next_multiple_of(WIDTH);
    let s = grow(s, R * s_ld);
    scores::<R>(task, q, i, keys.keys, keys.key_ld, s, s_ld, n);
    let mut inverse = [0f32; R];
    for r in 0..R {
        let (max, sum) = exp_scores(&mut s[r * s_ld..][..s_ld], task.visible(i + r));
        inverse[r] = 1.0 / sum;
        let (row, head) = task.query(i + r);
        lse[row * task.heads + head] = max + sum.ln();
    }
    outputs::<R>(task, i, s, s_ld, n, keys, inverse, out);
}

multiversion! {
    /// Outputs and log-sum-exps of all queries of a task. `q`: values from the group's first head, row and head strides.
    pub(super) fn forward(task: &Task, q: (&[f32], usize, usize), keys: &Keys, s: &mut Vec<f32>, out: &mut [f32], lse: &mut [f32]) {
        let n = task.queries();
        let mut i = 0;
        while i + TILE <= n {
            forward_tile::<TILE>(task, q, i, keys, s, out, lse);
            i += TILE;
        }
        while i < n {
            forward_tile::<1>(task, q, i, keys, s, out, lse);
            i += 1;
        }
    }
}

/// What backward reads of one sequence and key head.
pub(super) struct Inputs<'a> {
    /// Values from the group's first head, row and head strides.
    pub(super) q: (&'a [f32], usize, usize),
    /// Keys by row.
    pub(super) k: (&'a [f32], usize),
    /// Keys and values transposed.
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
    pub(super) key_ld: usize,
    pub(super) out: &'a [f32],
    pub(super) dout: &'a [f32],
    pub(super) lse: &'a [f32],
}

/// What backward adds to.
pub(super) struct Grads<'a> {
    pub(super) dq: (&'a mut [f32], usize, usize),
    pub(super) dk: (&'a mut [f32], usize),
    pub(super) dv: (&'a mut [f32], usize),
}

/// x[j][c] += Σ_r p[r][j] · y[r][c] for `n` rows of x: the gradients of keys and values.
#[inline(always)]
fn add_outer<const R: usize>(p: &[f32], p_ld: usize, n: usize, y: [&[f32]; R], factor: f32, x: &mut [f32], ld: usize) {
    let dim = y[0].len();
    let mut c0 = 0;
    macro_rules! go {
        ($w:expr) => {{
            let y: [[f32; $w]; R] = std::array::from_fn(|r| std::array::from_fn(|l| y[r][c0 + l] * factor));
            for j in 0..n {
                let x = &mut x[j * ld + c0..][..$w];
                let mut acc: [f32; $w] = std::array::from_fn(|l| x[l]);
                for r in 0..R {
                    let p = p[r * p_ld + j];
                    for l in 0..$w {
                        acc[l] = p.mul_add(y[r][l], acc[l]);
                    }
                }
                x.copy_from_slice(&acc);
            }
            c0 += $w;
        }};
    }
    while c0 < dim {
        if dim - c0 >= LANES { go!(16) } else { go!(1) }
    }
}

#[inline(always)]
fn backward_tile<const R: usize>(
    task: &Task,
    x: &Inputs,
    i: usize,
    s: &mut Vec<f32>,
    ds: &mut Vec<f32>,
    grads: &mut Grads,
) {
    let n = task.visible(i + R - 1);
    let s_ld = n.next_multiple_of(WIDTH);
    let (s, ds) = (grow(s, R * s_ld), grow(ds, R * s_ld));
    let q: [&[f32]; R] = std::array::from_fn(|r| {
        let (row, head) = task.query(i + r);
        &x.q.0[row * x.q.1 + (head - task.first_head) * x.q.2..][..task.qk_dim]
    });
    let dout: [&[f32]; R] = std::array::from_fn(|r| {
        let (row, head) = task.query(i + r);
        &x.dout[(row * task.heads + head) * task.v_dim..][..task.v_dim]
    });
    scores::<R>(task, x.q, i, x.keys, x.key_ld, s, s_ld, n);
    for j0 in (0..n).step_by(WIDTH) {
        let tile = score_tile::<R>(dout, x.values, x.key_ld, j0);
        for r in 0..R {
            ds[r * s_ld + j0..][..WIDTH].copy_from_slice(&tile[r]);
        }
    }
    for r in 0..R {
        let (row, head) = task.query(i + r);
        let lse = x.lse[row * task.heads + head];
        let out = &x.out[(row * task.heads + head) * task.v_dim..][..task.v_dim];
        let delta: f32 = out.iter().zip(dout[r]).map(|(a, b)| a * b).sum();
        let (s, ds) = (&mut s[r * s_ld..][..s_ld], &mut ds[r * s_ld..][..s_ld]);
        let seen = task.visible(i + r);
        s[seen..].fill(f32::NEG_INFINITY);
        for (s, ds) in s.as_chunks_mut::<LANES>().0.iter_mut().zip(ds.as_chunks_mut::<LANES>().0) {
            for l in 0..LANES {
                s[l] = exp(s[l] - lse);
                ds[l] = s[l] * (ds[l] - delta);
            }
        }
        ds[seen..].fill(0.0);
    }
    add_outer::<R>(s, s_ld, n, dout, 1.0, grads.dv.0, grads.dv.1);
    add_outer::<R>(ds, s_ld, n, q, task.scale, grads.dk.0, grads.dk.1);
    let mut c0 = 0;
    while c0 < task.qk_dim {
        macro_rules! go {
            ($w:expr) => {{
                let acc = weighted_rows::<R, { $w }>(ds, s_ld, n, x.k.0, x.k.1, c0);
                for r in 0..R {
                    let (row, head) = task.query(i + r);
                    let dq = &mut grads.dq.0[row * grads.dq.1 + (head - task.first_head) * grads.dq.2 + c0..][..$w];
                    for l in 0..$w {
                        dq[l] += acc[r][l] * task.scale;
                    }
                }
                c0 += $w;
            }};
        }
        if task.qk_dim - c0 >= WIDTH {
            go!(WIDTH)
        } else if task.qk_dim - c0 >= LANES {
            go!(LANES)
        } else {
            go!(1)
        }
    }
}

multiversion! {
    /// Adds the gradients of all queries of a task.
    pub(super) fn backward(task: &Task, x: &Inputs, s: &mut Vec<f32>, ds: &mut Vec<f32>, grads: &mut Grads) {
        let n = task.queries();
        let mut i = 0;
        while i + TILE <= n {
            backward_tile::<TILE>(task, x, i, s, ds, grads);
            i += TILE;
        }
        while i < n {
            backward_tile::<1>(task, x, i, s, ds, grads);
            i += 1;
        }
    }
}
