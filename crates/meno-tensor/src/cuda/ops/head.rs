//! Head, the loss of log softmax(RMSNorm(x) · Wᵀ / T) at the targets: the equations of [`crate::ops::head`].
//!
//! Logits exist for a limited number of rows at a time. Training computes everything in the backward pass: the logits
//! of some rows become their gradient at once, so they are computed once. The host waits for the card after each of
//! these parts, which costs less than to compute the logits again.

use super::Kernels;
use super::rms_norm::{norm, norm_backward};
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::cuda::product::Product;
use crate::log_softmax::LogSoftmax;
use crate::ops::head::Head;
use crate::ops::rms_norm::Norm;
use crate::tape::{Dtype, Score, TokenLoss, token_losses};
use std::ops::Range;

/// Memory for logits in bytes. Tests have several parts of a few rows each.
pub(super) const LOGIT_BYTES: usize = if cfg!(test) { 512 } else { 256 << 20 };
/// Memory for gradients of logits in bytes: more, because the gradient of the weight is read and written once for each
/// block of them.
const GRADIENT_BYTES: usize = if cfg!(test) { 1024 } else { 512 << 20 };

/// Numbers of rows that are in memory at a time.
#[derive(Clone, Copy, Debug)]
struct Parts {
    /// Rows of logits.
    logits: usize,
    /// Rows of gradients of logits, a multiple of `logits`.
    gradients: usize,
}

impl Parts {
    /// The parts of `rows` rows.
    fn new(rows: usize, vocab: usize, gradient: Dtype) -> Parts {
        // At most what a grid has in y.
        let most = (LOGIT_BYTES / (vocab * size_of::<f32>())).clamp(1, 1 << 15);
        // Whole tiles of products.
        let most = if most > 128 { most / 128 * 128 } else { most };
        let blocks = GRADIENT_BYTES / (vocab * gradient.bytes()) / most;
        Parts { logits: most.min(rows), gradients: (blocks.max(1) * most).min(rows) }
    }
}

/// Returns the launch of a block per row of `cols` columns, of at most `threads` threads.
fn row_blocks(rows: usize, cols: usize, threads: usize) -> Launch {
    Launch::blocks(rows, cols.next_multiple_of(32).min(threads) as u32)
}

/// Rows of the input of a head, gathered and normalized.
#[derive(Clone, Copy, Debug)]
pub(super) struct GatheredRows {
    /// The rows of the input.
    pub(super) x: Tensor,
    /// Their norms: the factor of the product with the LM head.
    pub(super) n: Tensor,
}

impl GatheredRows {
    /// Allocates memory for `rows` rows of x.
    pub(super) fn allocate(ctx: &mut Ctx, x: Tensor, rows: usize) -> Result<Self, Error> {
        let dtype = ctx.dtype();
        Ok(GatheredRows { x: ctx.temporary(rows, x.cols, x.dtype)?, n: ctx.temporary(rows, x.cols, dtype)? })
    }

    /// Gathers `rows` of x, which are on the card at `rows_at` too. Rows that follow each other are not copied.
    pub(super) fn gather(
        self,
        ctx: &Ctx,
        x: Tensor,
        norm_of_head: Option<Norm>,
        rows: &[u32],
        rows_at: u64,
    ) -> Result<Self, Error> {
        let adjacent = rows.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let copy = |to: Tensor| {
            let name = format!("head_gather_{}_{}", x.suffix(), to.suffix());
            ctx.launch(&name, row_blocks(rows.len(), x.cols, 256), [to.into(), x.into(), rows_at.into(), x.cols.into()])
        };
        let first = x.rows_from(rows[0] as usize);
        let Some(norm_of_head) = norm_of_head else {
            if adjacent && x.dtype == self.n.dtype {
                return Ok(GatheredRows { x: first, n: first });
            }
            copy(self.n)?;
            return Ok(GatheredRows { x: self.n, n: self.n });
        };
        let gathered = if adjacent { GatheredRows { x: first, ..self } } else { self };
        if !adjacent {
            copy(self.x)?;
        }
        norm(ctx, &norm_of_head, gathered.x, gathered.n, rows.len())?;
        Ok(gathered)
    }
}

/// What the card computes from a row of logits: the largest z, Σ e, Σ e·(z − max), and the logit of the target.
type Sums = [f32; 4];

/// The wanted rows of a head, and memory on the card for their logits.
struct Wanted<'a> {
    head: &'a Head,
    rows: Vec<u32>,
    /// The rows and their targets on the card, `int[rows]`.
    rows_at: u64,
    targets_at: u64,
    /// The [`Sums`] of all rows, `float4[rows]`.
    sums_at: u64,
    parts: Parts,
    x: Tensor,
    gathered: GatheredRows,
    /// f32, for a part of the rows.
    logits: Tensor,
    inv_temperature: f32,
}

impl<'a> Wanted<'a> {
    /// Uploads the wanted rows and allocates memory; `None` if there are no such rows.
    fn new(head: &'a Head, ctx: &mut Ctx, train: bool) -> Result<Option<Self>, Error> {
        if head.head == 0 {
            for values in [&mut ctx.out.logprobs, &mut ctx.out.entropies] {
                values.clear();
                values.resize(ctx.rows, 0.0);
            }
        }
        let rows: Vec<u32> = head.wanted_rows(ctx.batch, train).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        ctx.set_ints(head.wanted, &rows)?;
        let (rows_at, x) = (ctx.ints(head.wanted), ctx.act(head.x));
        let targets: Vec<u32> = rows.iter().map(|&row| ctx.batch.targets[head.head][row as usize]).collect();
        let parts = Parts::new(rows.len(), head.vocab, ctx.dtype());
        let most = if train { parts.gradients } else { parts.logits };
        Ok(Some(Wanted {
            head,
            rows_at,
            targets_at: ctx.upload(&targets)?,
            sums_at: ctx.temporary(rows.len(), 4, Dtype::F32)?.at,
            x,
            gathered: GatheredRows::allocate(ctx, x, most)?,
            logits: ctx.temporary(parts.logits, head.vocab, Dtype::F32)?,
            parts,
            rows,
            inv_temperature: 1.0 / ctx.objective.temperature(),
        }))
    }

    /// Splits a range of the wanted rows into parts of `most` rows.
    fn split(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
        range.clone().step_by(most).map(move |start| start..(start + most).min(range.end))
    }

    /// Gathers and normalizes a range of the wanted rows.
    fn gather(&self, ctx: &Ctx, range: Range<usize>) -> Result<GatheredRows, Error> {
        let rows_at = self.rows_at + (range.start * size_of::<u32>()) as u64;
        self.gathered.gather(ctx, self.x, self.head.norm, &self.rows[range], rows_at)
    }

    /// Computes the logits of a range of the wanted rows, whose normalized inputs are n, and their [`Sums`].
    fn sum(&self, ctx: &Ctx, n: Tensor, range: Range<usize>) -> Result<(), Error> {
        let weight = ctx.matrix(self.head.weight);
        Product::forward(ctx, n, weight, self.logits).rows(range.len()).run(ctx)?;
        let args = [
            self.sums_of(range.start).into(),
            self.logits.into(),
            self.targets_of(range.start).into(),
            self.head.vocab.into(),
            self.inv_temperature.into(),
        ];
        ctx.launch("log_softmax_f32", row_blocks(range.len(), self.head.vocab, 512), args)
    }
    fn sums_of(&self, start: usize) -> u64 {
        self.sums_at + (start * size_of::<Sums>()) as u64
    }
    fn targets_of(&self, start: usize) -> u64 {
        self.targets_at + (start * size_of::<u32>()) as u64
    }

    /// The host's phase: fetches the sums of a range of the wanted rows; reports their scores and losses.
    fn score(&self, ctx: &mut Ctx, range: Range<usize>) -> Result<Vec<(LogSoftmax, TokenLoss)>, Error> {
        let (head, rows) = (self.head.head, &self.rows[range.clone()]);
        let (mut softmaxes, mut scores) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for [max, sum, weighted, logit] in ctx.download::<Sums>(self.sums_of(range.start), rows.len())? {
            let softmax = LogSoftmax::new(self.inv_temperature, max, sum, weighted);
            scores.push(Score { logprob: softmax.logprob(logit), entropy: softmax.entropy });
            softmaxes.push(softmax);
        }
        let mut losses = Vec::new();
        token_losses(ctx.objective, ctx.batch, head, rows, scores.iter().copied(), &mut losses);
        let sum = ctx.out.losses.head_mut(head);
        losses.iter().for_each(|loss| *sum += loss.loss as f64);
        if head == 0 {
            for (&row, score) in rows.iter().zip(&scores) {
                ctx.out.logprobs[row as usize] = score.logprob;
                ctx.out.entropies[row as usize] = score.entropy;
            }
        }
        Ok(softmaxes.into_iter().zip(losses).collect())
    }
}

/// Memory for the gradients of a block of rows.
struct Gradients {
    logits: Tensor,
    n: Tensor,
    /// Of the gathered rows.
    x: Tensor,
    /// The [`coefficients`] of a part of the rows.
    coefficients: u64,
}

impl Gradients {
    fn allocate(ctx: &mut Ctx, wanted: &Wanted) -> Result<Self, Error> {
        let (Parts { logits, gradients }, dtype) = (wanted.parts, ctx.dtype());
        Ok(Gradients {
            logits: ctx.temporary(gradients, wanted.head.vocab, dtype)?,
            n: ctx.temporary(gradients, wanted.head.hidden, dtype)?,
            x: ctx.temporary(gradients, wanted.head.hidden, wanted.x.dtype)?,
            coefficients: ctx.temporary(logits, 4, Dtype::F32)?.at,
        })
    }

    /// Computes the gradients of the logits of a block of the wanted rows, whose normalized inputs are n.
    fn of_logits(&self, ctx: &mut Ctx, wanted: &Wanted, n: Tensor, block: Range<usize>) -> Result<(), Error> {
        let uses_entropy = ctx.objective.uses_entropy();
        for range in Wanted::split(block.clone(), wanted.parts.logits) {
            wanted.sum(ctx, n.rows_from(range.start - block.start), range.clone())?;
            let scores = wanted.score(ctx, range.clone())?;
            let one = |(softmax, loss): &(LogSoftmax, TokenLoss)| {
                coefficients(softmax, loss.dlogprob, if uses_entropy { loss.dentropy } else { 0.0 })
            };
            ctx.gpu.write(self.coefficients, &scores.iter().map(one).collect::<Vec<_>>())?;
            let dlogits = self.logits.rows_from(range.start - block.start);
            let args = [
                dlogits.into(),
                wanted.logits.into(),
                self.coefficients.into(),
                wanted.targets_of(range.start).into(),
                wanted.head.vocab.into(),
                wanted.inv_temperature.into(),
            ];
            let grid = [wanted.head.vocab.div_ceil(1024), range.len()];
            let name = format!("log_softmax_gradient_f32_{}", dlogits.suffix());
            ctx.launch(&name, Launch { grid, threads: 256, shared: 0 }, args)?;
        }
        Ok(())
    }

    /// Computes all gradients of a block of the wanted rows.
    fn of_block(&self, ctx: &mut Ctx, wanted: &Wanted, block: Range<usize>) -> Result<(), Error> {
        let (head, rows) = (wanted.head, block.len());
        let rows_at = wanted.rows_at + (block.start * size_of::<u32>()) as u64;
        let gathered = wanted.gather(ctx, block.clone())?;
        self.of_logits(ctx, wanted, gathered.n, block)?;
        let dweight = Product::weight_gradient(ctx, self.logits, gathered.n, ctx.param_grad(head.weight));
        Product { shape: [head.vocab, head.hidden, rows], ..dweight }.run(ctx)?;
        let weight = ctx.matrix(head.weight);
        Product::input_gradient(ctx, self.logits, weight, (self.n, false)).rows(rows).run(ctx)?;
        let mut from = self.n;
        if let Some(norm) = head.norm {
            norm_backward(ctx, &norm, gathered.x, from, (self.x, false), rows)?;
            from = self.x;
        }
        let (dx, adds) = ctx.give_grad(head.x);
        let name = format!("head_scatter_{}_{}", from.suffix(), dx.suffix());
        let args = [dx.into(), from.into(), rows_at.into(), head.hidden.into(), adds.into()];
        ctx.launch(&name, row_blocks(rows, head.hidden, 256), args)
    }
}

/// Returns max, a, b and c, with which the gradient of a logit is e·(a − b·d), + c at the target, for d = z − max and
/// e = exp(d):
///
/// ∂ log p_t / ∂ logit_j = (1[j = t] − p_j) / T,  ∂ H / ∂ logit_j = −p_j (log p_j + H) / T.
fn coefficients(softmax: &LogSoftmax, dlogprob: f32, dentropy: f32) -> [f32; 4] {
    let (c, k) = (dlogprob * softmax.inv_temperature, dentropy * softmax.inv_temperature);
    // With log p = d − log Σ, every logit gets p · (−c − k (d − log Σ + H)).
    let constant = -c - k * (softmax.entropy as f64 - softmax.log_sum) as f32;
    [softmax.max, constant / softmax.sum, k / softmax.sum, c]
}

impl Kernels for Head {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        if ctx.train {
            return Ok(());
        }
        let Some(wanted) = Wanted::new(self, ctx, false)? else { return Ok(()) };
        let all = 0..wanted.rows.len();
        for range in Wanted::split(all.clone(), wanted.parts.logits) {
            let gathered = wanted.gather(ctx, range.clone())?;
            wanted.sum(ctx, gathered.n, range)?;
        }
        wanted.score(ctx, all)?;
        Ok(())
    }

    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dx, adds) = ctx.give_grad(self.x);
        if !adds {
            ctx.zero(dx, ctx.rows)?; // for rows without a target
        }
        let Some(wanted) = Wanted::new(self, ctx, true)? else { return Ok(()) };
        let gradients = Gradients::allocate(ctx, &wanted)?;
        for block in Wanted::split(0..wanted.rows.len(), wanted.parts.gradients) {
            gradients.of_block(ctx, &wanted, block)?;
        }
        Ok(())
    }
}
