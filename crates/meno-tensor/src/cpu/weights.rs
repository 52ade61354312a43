//! Weights in host memory: f32 master weights in one block, copies packed for the GEMM, and quantized matrices in the
//! order of their kernels.

use super::gemm::{Mat, MatMut, Packed, Rhs, gemm};
use super::host_buffer::HostBuffer;
use super::quant::QuantMatrix;
use crate::backend::{Buffer, Error, Weights, own_mut};
use crate::precision::Precision;
use crate::quant::GgmlType;
use crate::tape::{Param, ParamInfo, ParamLayout};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// All parameters of a network.
pub(crate) struct CpuWeights {
    layout: Arc<ParamLayout>,
    data: HostBuffer,
    /// Copies packed as the right-hand side of forward GEMMs, indexed by the first weight; see [`Weights::prepare`].
    packed: Vec<Option<Packed>>,
    /// Quantized matrices, indexed by parameter.
    quantized: Vec<Option<QuantMatrix>>,
    /// The precision of the packed copies; `None` if they are stale.
    fresh: Option<Precision>,
}

impl CpuWeights {
    pub(super) fn new(layout: Arc<ParamLayout>) -> Result<Self, Error> {
        let data = HostBuffer::new(layout.total(), "the weights")?;
        let (packed, quantized) = layout.iter().map(|_| (None, None)).unzip();
        Ok(CpuWeights { layout, data, packed, quantized, fresh: None })
    }

    /// Returns name, shape and place of `p`.
    pub(crate) fn info(&self, p: Param) -> &ParamInfo {
        self.layout.info(p)
    }

    /// Returns all values, mutable; packed copies become stale.
    pub(super) fn data_mut(&mut self) -> &mut [f32] {
        self.fresh = None;
        &mut self.data
    }

    fn quantized(&self, p: Param) -> Option<&QuantMatrix> {
        self.quantized[p.index()].as_ref()
    }

    /// Returns the values of `p`.
    ///
    /// # Panics
    /// Panics if `p` is quantized, which is a bug.
    pub(crate) fn get(&self, p: Param) -> &[f32] {
        assert!(!self.layout.is_quantized(p), "invariant: {} has no f32 values", self.info(p).name);
        debug_assert!(!self.info(p).absent, "invariant: the rank that holds {} reads it", self.info(p).name);
        &self.data[self.info(p).range()]
    }

    /// Copies row `row` of the matrix `p` to `out`, dequantized if `p` is quantized.
    pub(crate) fn copy_row(&self, p: Param, row: usize, out: &mut [f32]) {
        match self.quantized(p) {
            Some(matrix) => matrix.row(row, out),
            None => out.copy_from_slice(&self.get(p)[row * out.len()..][..out.len()]),
        }
    }

    /// Returns `p` as a matrix `[rows, cols]`; `cols` is the last dimension.
    pub(crate) fn matrix(&self, p: Param) -> Mat<'_> {
        let [rows, cols] = self.info(p).matrix_shape();
        Mat::new(self.get(p), rows, cols)
    }

    /// Returns the place of fused weights.
    pub(crate) fn span(&self, weights: &[Param]) -> Range<usize> {
        self.layout.span(weights[0], weights[weights.len() - 1])
    }

    /// Returns fused weights as one matrix.
    pub(crate) fn fused_matrix(&self, weights: &[Param]) -> Mat<'_> {
        let (range, [_, cols]) = (self.span(weights), self.info(weights[0]).matrix_shape());
        Mat::new(&self.data[range.clone()], range.len() / cols, cols)
    }

    /// Computes y = x · pᵀ, or y += x · pᵀ, for a linear weight or for fused ones: in `precision`, or on the codes of a
    /// quantized weight.
    pub(crate) fn multiply(&self, precision: Precision, x: Mat, p: Param, accumulate: bool, y: MatMut) {
        match self.quantized(p) {
            Some(matrix) => matrix.multiply(x, accumulate, y),
            None => gemm(precision, 1.0, x, Rhs::Packed(self.packed(p)), accumulate, y),
        }
    }

    /// Returns the packed `pᵀ` (shape `[in, out]`), up to date after [`Weights::prepare`].
    ///
    /// # Panics
    /// Panics if `p` was not marked linear or is stale; both are bugs.
    fn packed(&self, p: Param) -> &Packed {
        debug_assert!(self.fresh.is_some(), "invariant: prepare ran after the last change");
        self.packed[p.index()].as_ref().expect("invariant: the parameter was marked linear and prepared")
    }
}

impl Weights for CpuWeights {
    fn layout(&self) -> &Arc<ParamLayout> {
        &self.layout
    }
    fn read(&self, p: Param) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Borrowed(self.get(p)))
    }
    fn update(&mut self, p: Param, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        let range = self.info(p).range();
        f(&mut self.data_mut()[range]);
        Ok(())
    }
    fn update_range(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        f(&mut self.data_mut()[range]);
        Ok(())
    }
    fn write_quantized(
        &mut self,
        p: Param,
        dtype: GgmlType,
        blocks: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(), Error> {
        assert!(self.layout.is_quantized(p), "invariant: {} was marked as quantized", self.info(p).name);
        let [rows, cols] = self.info(p).matrix_shape();
        self.quantized[p.index()] = Some(QuantMatrix::new(dtype, rows, cols, blocks, source));
        Ok(())
    }
    fn read_all(&self) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Borrowed(&self.data))
    }
    fn snapshot(&self, to: &mut dyn Buffer) -> Result<(), Error> {
        own_mut::<HostBuffer>(to).copy_from_slice(&self.data);
        Ok(())
    }
    fn swap(&mut self, with: &mut dyn Buffer) -> Result<(), Error> {
        self.data_mut().swap_with_slice(own_mut::<HostBuffer>(with));
        Ok(())
    }
    fn prepare(&mut self, precision: Precision) -> Result<(), Error> {
        if self.fresh == Some(precision) {
            return Ok(());
        }
        let layout = self.layout.clone();
        let packed = |p: Param| !layout.is_quantized(p) && !layout.info(p).absent;
        for matrix in layout.linear_matrices().filter(|&[p, _]| packed(p)) {
            let mut packed = self.packed[matrix[0].index()].take();
            Packed::pack(&mut packed, precision, self.fused_matrix(&matrix).t());
            self.packed[matrix[0].index()] = packed;
        }
        self.fresh = Some(precision);
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
    fn quantized_bytes(&self) -> usize {
        self.quantized.iter().flatten().map(QuantMatrix::bytes).sum()
    }
}
