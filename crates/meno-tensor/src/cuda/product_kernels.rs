//! Runs matrix products: chooses the kernel, and rounds the factors where it needs bf16.

mod plan;
mod quantized;
#[cfg(test)]
mod tests;

use super::context::{Ctx, Scratch, Tensor};
use super::driver::{Arg, Gpu, Launch};
use super::product::{Factor, Product};
use super::product_sm90;
use crate::backend::Error;
use crate::precision::Precision;
use crate::tape::Dtype;
use half::bf16;
use plan::Form;

impl Product {
    /// Runs the product.
    pub(super) fn run(self, ctx: &Ctx) -> Result<(), Error> {
        let scratch = &mut ctx.scratch.borrow_mut();
        let mark = scratch.mark();
        self.launch(ctx.gpu, Some(scratch))?;
        // Later work waits for the kernels launched here, so their temporary matrices are free for it.
        scratch.free_from(mark);
        Ok(())
    }

    /// Runs a product that needs no scratch memory: in f32, or y = x · wᵀ of aligned bf16 matrices.
    pub(super) fn run_on(self, gpu: &Gpu) -> Result<(), Error> {
        self.launch(gpu, None)
    }

    fn launch(self, gpu: &Gpu, scratch: Option<&mut Scratch>) -> Result<(), Error> {
        let [m, n, _] = self.shape;
        if m == 0 || n == 0 {
            return Ok(());
        }
        match (self.blocks, self.precision) {
            (Some(w), _) => self.launch_quantized(w, gpu, scratch),
            (None, Precision::F32) => self.launch_f32(gpu),
            (None, Precision::Bf16) => self.launch_bf16(gpu, scratch),
        }
    }

    /// Returns the arguments that the f32 kernels share.
    fn args(self) -> [Arg; 14] {
        let Product { a, b, y, shape: [m, n, k], bias, residual, add, .. } = self;
        let ([a_row, a_col], [b_row, b_col]) = (a.strides(), b.strides());
        let sizes = [m, n, k, a_row, a_col, b_row, b_col, y.ld].map(Arg::from);
        let [m, n, k, a_row, a_col, b_row, b_col, ldy] = sizes;
        let (a, b, y) = (a.matrix.into(), b.matrix.into(), y.into());
        [y, a, b, m, n, k, a_row, a_col, b_row, b_col, ldy, bias.into(), residual.into(), add.into()]
    }

    fn suffix(self) -> String {
        format!("{}_{}_{}", self.a.matrix.suffix(), self.b.matrix.suffix(), self.y.suffix())
    }

    fn launch_f32(self, gpu: &Gpu) -> Result<(), Error> {
        let [m, n, _] = self.shape;
        let (tile, launch) = plan::plan_f32(m, n);
        gpu.launch(&format!("gemm_f32_{tile}_{}", self.suffix()), launch, &mut self.args())
    }

    /// Runs the plain kernel, of the same value.
    #[cfg(test)]
    fn launch_plain(self, gpu: &Gpu) -> Result<(), Error> {
        let [m, n, _] = self.shape;
        let round = (self.precision == Precision::Bf16).into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, o, p] = self.args();
        let args = &mut [a, b, c, d, e, f, g, h, i, j, k, l, o, p, round];
        gpu.launch(&format!("product_{}", self.suffix()), Launch::elements(m * n), args)
    }

    /// Runs the product on the tensor cores, for matrices of any type and place: which kernel multiplies a matrix must
    /// not depend on the number of rows, so all go this way.
    fn launch_bf16(self, gpu: &Gpu, mut scratch: Option<&mut Scratch>) -> Result<(), Error> {
        let product = self.with_rounded_factors(gpu, scratch.as_deref_mut())?;
        let multiprocessors = gpu.card.multiprocessors as usize;
        match product_sm90::plan(&product, multiprocessors).filter(|_| gpu.card.runs_sm90a()) {
            Some(plan) => plan.run(gpu, scratch),
            None => product.launch_sm80(gpu, scratch),
        }
    }

    /// Returns the product of the factors in bf16 with aligned rows.
    fn with_rounded_factors(self, gpu: &Gpu, mut scratch: Option<&mut Scratch>) -> Result<Product, Error> {
        let Product { a, b, shape: [m, n, k], .. } = self;
        let a = Factor { matrix: rounded(gpu, scratch.as_deref_mut(), a.matrix, a.stored([m, k]))?, ..a };
        let b = Factor { matrix: rounded(gpu, scratch, b.matrix, b.stored([k, n]))?, ..b };
        Ok(Product { a, b, ..self })
    }

    /// Runs a product of aligned bf16 matrices with the kernels that every card has.
    pub(super) fn launch_sm80(self, gpu: &Gpu, scratch: Option<&mut Scratch>) -> Result<(), Error> {
        let Product { a, b, y, shape: [m, n, _], bias, residual, add, .. } = self;
        let plan = plan::plan_bf16(Form::of(a.transposed, b.transposed), self.shape);
        let (a, b, spans) = (a.matrix, b.matrix, plan.spans);
        if spans == 1 {
            return plan.launch(gpu, self.shape, [a, b, y], [bias, residual], add);
        }
        assert!(bias == 0 && residual == 0, "invariant: the gradient of a weight has no bias and no residual");
        let partial = temporary(scratch, spans * m, n, n, Dtype::F32)?;
        plan.launch(gpu, self.shape, [a, b, partial], [0, 0], false)?;
        let args = &mut [y.into(), partial.into(), spans.into(), m.into(), n.into(), y.ld.into(), add.into()];
        gpu.launch("add_spans", Launch::elements(m * n), args)
    }
}

/// Returns `x` as a factor of products with `rows` rows: rounded, where a product would round it. An op that multiplies
/// a matrix twice rounds it once.
pub(super) fn factor(ctx: &Ctx, x: Tensor, rows: usize) -> Result<Tensor, Error> {
    match ctx.precision {
        Precision::F32 => Ok(x),
        Precision::Bf16 => rounded(ctx.gpu, Some(&mut ctx.scratch.borrow_mut()), x, [rows, x.cols]),
    }
}

/// The alignment that the tensor-core kernels need, in bytes.
const ALIGN: usize = 16;

/// Returns a matrix of this many rows and columns in bf16 with aligned rows: itself, or a copy in scratch memory.
fn rounded(gpu: &Gpu, scratch: Option<&mut Scratch>, x: Tensor, [rows, cols]: [usize; 2]) -> Result<Tensor, Error> {
    let wide = ALIGN / size_of::<bf16>();
    if x.dtype == Dtype::Bf16 && x.at.is_multiple_of(ALIGN as u64) && x.ld.is_multiple_of(wide) {
        return Ok(x);
    }
    let y = temporary(scratch, rows, cols, cols.next_multiple_of(wide), Dtype::Bf16)?;
    let args = &mut [y.into(), x.into(), rows.into(), cols.into(), x.ld.into(), y.ld.into()];
    gpu.launch(&format!("round_rows_{}", x.suffix()), Launch::elements(rows * cols), args)?;
    Ok(y)
}

/// Returns a matrix in scratch memory with undefined content.
fn temporary(
    scratch: Option<&mut Scratch>,
    rows: usize,
    cols: usize,
    ld: usize,
    dtype: Dtype,
) -> Result<Tensor, Error> {
    let scratch = scratch.expect("invariant: a product outside of a pass needs no scratch memory");
    Ok(Tensor { at: scratch.take(rows * ld * dtype.bytes())?, dtype, cols, ld })
}
