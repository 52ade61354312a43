//! Sums over the rows of a matrix, in a fixed order.

use super::context::{Ctx, Tensor};
use super::driver::Launch;
use crate::backend::Error;
use crate::tape::Dtype;

/// Rows whose sum is one partial result.
const SPAN: usize = 256;

/// y += the sum of `rows` rows of `x`: the gradient of a bias. y is a row of f32.
pub(super) fn add_column_sums(ctx: &Ctx, x: Tensor, y: Tensor, rows: usize) -> Result<(), Error> {
    if rows == 0 {
        return Ok(());
    }
    let (spans, cols) = (rows.div_ceil(SPAN), x.cols);
    let partial = ctx.temporary(spans, cols, Dtype::F32)?;
    let launch = Launch { grid: [cols.div_ceil(32), spans], threads: 256, shared: 0 };
    let args = [partial.into(), x.into(), rows.into(), cols.into(), x.ld.into(), SPAN.into()];
    ctx.launch(&format!("column_sums_{}", x.suffix()), launch, args)?;
    let args = [y.into(), partial.into(), spans.into(), 1usize.into(), cols.into(), cols.into(), true.into()];
    ctx.launch("add_spans", Launch::elements(cols), args)
}
