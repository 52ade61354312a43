//! Weights of the reference device: one block of f32, and the blocks of quantized parameters in the file's format.

use super::buffer::{Block, zeroed};
use crate::backend::{Buffer, Error, Weights, own_mut, quantized_row_bytes};
use crate::precision::Precision;
use crate::quant::{GgmlType, dequant};
use crate::tape::{Param, ParamLayout};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A quantized parameter: ggml blocks, row after row.
struct Quantized {
    dtype: GgmlType,
    row_bytes: usize,
    blocks: Vec<u8>,
}

/// All parameters of a network.
pub(super) struct ReferenceWeights {
    layout: Arc<ParamLayout>,
    data: Vec<f32>,
    /// Quantized parameters, indexed by parameter.
    quantized: Vec<Option<Quantized>>,
}

impl ReferenceWeights {
    pub(super) fn new(layout: Arc<ParamLayout>) -> Result<Self, Error> {
        let data = zeroed(layout.total(), "the weights")?;
        let quantized = layout.iter().map(|_| None).collect();
        Ok(ReferenceWeights { layout, data, quantized })
    }

    /// Returns all values in the layout of the parameters, mutable.
    pub(super) fn all_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Returns the place of `p` in a block of all parameters.
    pub(super) fn range(&self, p: Param) -> Range<usize> {
        self.layout.info(p).range()
    }

    /// Returns the values of `p`; a copy if it is quantized.
    pub(super) fn get(&self, p: Param) -> Cow<'_, [f32]> {
        match self.quantized(p) {
            None => Cow::Borrowed(&self.data[self.range(p)]),
            Some(q) => {
                let mut values = vec![0.0; self.layout.info(p).len()];
                dequant::dequantize(q.dtype, &q.blocks, &mut values);
                Cow::Owned(values)
            }
        }
    }

    /// Returns a row of `cols` values of the matrix `p`.
    pub(super) fn row(&self, p: Param, row: usize, cols: usize) -> Vec<f32> {
        match self.quantized(p) {
            None => self.data[self.range(p)][row * cols..][..cols].to_vec(),
            Some(q) => {
                let mut values = vec![0.0; cols];
                dequant::dequantize(q.dtype, &q.blocks[row * q.row_bytes..][..q.row_bytes], &mut values);
                values
            }
        }
    }

    /// Returns the input type of products with `p`: a quantized matrix is multiplied by unrounded inputs.
    pub(super) fn precision(&self, p: Param, precision: Precision) -> Precision {
        if self.layout.is_quantized(p) { Precision::F32 } else { precision }
    }

    fn quantized(&self, p: Param) -> Option<&Quantized> {
        let name = &self.layout.info(p).name;
        let blocks = self.quantized[p.index()].as_ref();
        assert!(blocks.is_some() == self.layout.is_quantized(p), "invariant: {name} has its blocks");
        blocks
    }

    fn assert_plain(&self, p: Param) {
        assert!(!self.layout.is_quantized(p), "invariant: {} has no f32 values", self.layout.info(p).name);
    }
}

impl Weights for ReferenceWeights {
    fn layout(&self) -> &Arc<ParamLayout> {
        &self.layout
    }
    fn read(&self, p: Param) -> Result<Cow<'_, [f32]>, Error> {
        self.assert_plain(p);
        Ok(Cow::Owned(self.data[self.range(p)].to_vec()))
    }
    fn update(&mut self, p: Param, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        self.update_range(self.range(p), f)
    }
    fn update_range(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        let mut copy = self.data[range.clone()].to_vec();
        f(&mut copy);
        self.data[range].copy_from_slice(&copy);
        Ok(())
    }
    fn write_quantized(
        &mut self,
        p: Param,
        dtype: GgmlType,
        blocks: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(), Error> {
        let row_bytes = quantized_row_bytes(&self.layout, p, dtype, blocks);
        let mut own: Vec<u8> = zeroed(blocks.len(), "quantized weights")?;
        for (row, to) in own.chunks_exact_mut(row_bytes).enumerate() {
            to.copy_from_slice(&blocks[source(row) * row_bytes..][..row_bytes]);
        }
        self.quantized[p.index()] = Some(Quantized { dtype, row_bytes, blocks: own });
        Ok(())
    }
    fn read_all(&self) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Owned(self.data.clone()))
    }
    fn snapshot(&self, to: &mut dyn Buffer) -> Result<(), Error> {
        own_mut::<Block>(to).values.copy_from_slice(&self.data);
        Ok(())
    }
    fn swap(&mut self, with: &mut dyn Buffer) -> Result<(), Error> {
        self.data.swap_with_slice(&mut own_mut::<Block>(with).values);
        Ok(())
    }
    fn prepare(&mut self, _: Precision) -> Result<(), Error> {
        Ok(()) // there are no derived copies
    }
    fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
    fn quantized_bytes(&self) -> usize {
        self.quantized.iter().flatten().map(|q| q.blocks.len()).sum()
    }
}
