//! Embedding, y\[t\] = W\[token\[t\]\].

use super::Kernels;
use crate::backend::{Error, Weights};
use crate::cuda::blocks::Blocks;
use crate::cuda::context::Ctx;
use crate::cuda::driver::{Launch, suffix};
use crate::ops::embedding::Embedding;
use crate::tape::Dtype;

/// Columns of a row that a block copies or adds.
const BLOCK_COLS: usize = 1024;

/// One block for each piece of each of `rows` rows.
fn launch(rows: usize, cols: usize) -> Launch {
    Launch { grid: [rows, cols.div_ceil(BLOCK_COLS)], threads: 256, shared: 0 }
}

/// Looks up rows of a table that is kept in blocks.
fn from_blocks(op: &Embedding, ctx: &Ctx, table: Blocks) -> Result<(), Error> {
    let (y, [tokens, row_segments, segments]) = (ctx.act(op.y), tokens(op, ctx));
    let [records, supers, chunks] = table.args();
    let args = [
        y.into(),
        records,
        supers,
        tokens.into(),
        row_segments.into(),
        segments.into(),
        table.rows.into(),
        chunks,
        op.hidden.into(),
        y.ld.into(),
    ];
    // Four threads for 64 columns.
    let launch = Launch { grid: [ctx.rows, op.hidden.div_ceil(64 * 64)], threads: 256, shared: 0 };
    ctx.launch(&format!("embedding_{}_{}", table.format.name, y.suffix()), launch, args)
}

/// Returns the addresses of the tokens, and, for the look-up of next tokens, of the segments of rows and their table.
fn tokens(op: &Embedding, ctx: &Ctx) -> [u64; 3] {
    let batch = ctx.on_card;
    if op.next { [batch.tokens(), batch.row_segments(), batch.segment_table()] } else { [batch.tokens(), 0, 0] }
}

/// Returns the rows of a quantized table that is not kept in blocks, one for every row of the batch, copied to the
/// card; `None` if the table is no such table.
fn quantized(op: &Embedding, ctx: &Ctx) -> Result<Option<u64>, Error> {
    let mut looked_up = Vec::new();
    op.for_tokens(ctx.batch, |row, token| looked_up.push((row, token)));
    let Some(values) = ctx.weights.rows(op.weight, looked_up.iter().map(|&(_, token)| token)) else {
        return Ok(None);
    };
    // Rows that look up no token are zero.
    let mut rows = vec![0f32; ctx.rows * op.hidden];
    for ((row, _), values) in looked_up.iter().zip(values.chunks_exact(op.hidden)) {
        rows[row * op.hidden..][..op.hidden].copy_from_slice(values);
    }
    ctx.upload(&rows).map(Some)
}

/// The rows of a batch, grouped by token.
struct Groups {
    /// The tokens, ascending; then the place of each one's first row in `rows`, and the number of rows.
    index: Vec<u32>,
    /// The rows, ascending within a token.
    rows: Vec<u32>,
    tokens: usize,
}

impl Groups {
    fn new(op: &Embedding, ctx: &Ctx) -> Groups {
        let mut pairs = Vec::new();
        op.for_tokens(ctx.batch, |row, token| pairs.push((token as u32, row as u32)));
        pairs.sort_unstable();
        let rows: Vec<u32> = pairs.iter().map(|pair| pair.1).collect();
        let (mut tokens, mut starts) = (Vec::new(), Vec::new());
        for (place, &(token, _)) in pairs.iter().enumerate() {
            if tokens.last() != Some(&token) {
                tokens.push(token);
                starts.push(place as u32);
            }
        }
        starts.push(rows.len() as u32);
        let count = tokens.len();
        Groups { index: [tokens, starts].concat(), rows, tokens: count }
    }
}

impl Kernels for Embedding {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        if let Some(table) = ctx.weights.blocks(self.weight) {
            return from_blocks(self, ctx, table);
        }
        let y = ctx.act(self.y);
        let quantized = if ctx.weights.layout().is_quantized(self.weight) { quantized(self, ctx)? } else { None };
        let ((table, dtype), [tokens, row_segments, segments]) = match quantized {
            Some(rows) => ((rows, Dtype::F32), [0; 3]),
            None => (ctx.weights.table(self.weight), tokens(self, ctx)),
        };
        let args = [
            y.into(),
            table.into(),
            tokens.into(),
            row_segments.into(),
            segments.into(),
            self.hidden.into(),
            y.ld.into(),
            y.in_fours().into(),
        ];
        ctx.launch(&format!("embedding_{}_{}", suffix(dtype), y.suffix()), launch(ctx.rows, self.hidden), args)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (dy, dtable) = (ctx.grad(self.y), ctx.param_grad(self.weight));
        let groups = Groups::new(self, ctx);
        let index = ctx.upload(&groups.index)?;
        let offsets = index + (groups.tokens * size_of::<u32>()) as u64;
        let rows = ctx.upload(&groups.rows)?;
        let args = [
            dtable.into(),
            dy.into(),
            index.into(),
            offsets.into(),
            rows.into(),
            self.hidden.into(),
            dy.ld.into(),
            dy.in_fours().into(),
        ];
        ctx.launch(&format!("embedding_backward_{}", dy.suffix()), launch(groups.tokens, self.hidden), args)
    }
}
