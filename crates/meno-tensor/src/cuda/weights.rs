//! Weights on the card: f32 values, and a copy of them in bf16 for products. For inference, parameters may be stored as
//! bf16 alone, or quantized.
//!
//! A quantized parameter of a type that the kernels read keeps its blocks ([`super::blocks`]). The others become
//! matrices of bf16; their blocks stay in the host's memory for the look-up of rows ([`CudaWeights::rows`]), but for
//! experts.

use super::blocks::{Blocks, Format, Slabs};
use super::buffer::CudaBuffer;
use super::driver::{Arg, Gpu, Launch, Memory};
use crate::backend::{Buffer, Error, Weights, own, own_mut, quantized_row_bytes};
use crate::precision::Precision;
use crate::quant::fp8::Fp8Matrix;
use crate::quant::{GgmlType, dequant};
use crate::tape::{Dtype, Param, ParamInfo, ParamLayout, Storage};
use half::bf16;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A quantized parameter, in the card's memory.
enum Quantized {
    Blocks(Blocks),
    /// `[rows, cols]` in bf16.
    Dense {
        memory: Memory,
        dtype: GgmlType,
        row_bytes: usize,
        /// The blocks, row after row, on the host. Empty for experts, whose rows are never looked up.
        blocks: Vec<u8>,
    },
}

/// Part of the names of the experts' matrices.
const EXPERTS: &str = ".experts.";

/// All parameters of a network.
pub(super) struct CudaWeights {
    gpu: Arc<Gpu>,
    layout: Arc<ParamLayout>,
    values: CudaBuffer,
    /// The values rounded to bf16, once a pass needs them.
    rounded: Option<Memory>,
    /// True if `rounded` has the current values.
    current: bool,
    /// The values that are stored as bf16.
    bf16: Memory,
    /// Quantized parameters, indexed by parameter.
    quantized: Vec<Option<Quantized>>,
    /// The memory of parameters that are kept in blocks.
    slabs: Slabs,
}

impl CudaWeights {
    pub(super) fn new(gpu: &Arc<Gpu>, layout: Arc<ParamLayout>) -> Result<Self, Error> {
        let values = CudaBuffer::new(gpu, layout.total(), "the weights")?;
        let bf16 = gpu.zeroed(layout.bf16_total() * size_of::<bf16>(), "the weights in bf16")?;
        let quantized = layout.iter().map(|_| None).collect();
        let (gpu, slabs) = (gpu.clone(), Slabs::new(gpu));
        Ok(CudaWeights { gpu, layout, values, rounded: None, current: false, bf16, quantized, slabs })
    }

    /// Returns the f32 values of all parameters.
    pub(super) fn values(&self) -> &CudaBuffer {
        &self.values
    }

    /// Returns the f32 values, which the caller changes.
    pub(super) fn values_mut(&mut self) -> &mut CudaBuffer {
        self.current = false;
        &mut self.values
    }

    /// Returns the addresses of the f32 values and of their copy in bf16 (null if it is not current), for an optimizer
    /// that changes both.
    pub(super) fn addresses_mut(&mut self) -> [u64; 2] {
        let rounded = self.rounded.as_ref().filter(|_| self.current);
        [self.values.at(0), rounded.map_or(0, Memory::at)]
    }

    /// Returns name, shape and place of `p`.
    pub(super) fn layout_of(&self, p: Param) -> &ParamInfo {
        self.layout.info(p)
    }

    /// Returns the address of the f32 values of `p`.
    pub(super) fn at(&self, p: Param) -> u64 {
        self.assert_plain(p);
        self.values.at(self.layout.info(p).range().start)
    }

    /// Returns the matrix `p`, if it is kept in blocks.
    pub(super) fn blocks(&self, p: Param) -> Option<Blocks> {
        match *self.quantized(p)? {
            Quantized::Blocks(blocks) => Some(blocks),
            Quantized::Dense { .. } => None,
        }
    }

    /// Returns the address and the type of the matrix `p`, which is not kept in blocks, for products in `precision`.
    pub(super) fn matrix(&self, p: Param, precision: Precision) -> (u64, Dtype) {
        match self.quantized(p) {
            Some(Quantized::Dense { memory, .. }) => return (memory.at(), Dtype::Bf16),
            Some(Quantized::Blocks(_)) => unreachable!("invariant: the caller reads no blocks"),
            None => {}
        }
        match precision {
            _ if self.layout.storage(p) == Storage::Bf16 => (self.bf16_at(p), Dtype::Bf16),
            Precision::F32 => (self.at(p), Dtype::F32),
            Precision::Bf16 => {
                let rounded = self.rounded.as_ref().filter(|_| self.current);
                let rounded = rounded.expect("invariant: prepare ran before the pass");
                let start = self.layout.info(p).range().start;
                (rounded.at() + (start * size_of::<bf16>()) as u64, Dtype::Bf16)
            }
        }
    }

    /// Returns the address of the values of `p`, which are stored as bf16.
    fn bf16_at(&self, p: Param) -> u64 {
        self.bf16.at() + (self.layout.info(p).range().start * size_of::<bf16>()) as u64
    }

    /// Returns the address and the type of a table of rows that is not quantized.
    pub(super) fn table(&self, p: Param) -> (u64, Dtype) {
        match self.layout.storage(p) {
            Storage::Bf16 => (self.bf16_at(p), Dtype::Bf16),
            _ => (self.at(p), Dtype::F32),
        }
    }

    /// Returns rows of a quantized table that is not kept in blocks, dequantized; `None` if `p` is no such table.
    pub(super) fn rows(&self, p: Param, rows: impl Iterator<Item = usize>) -> Option<Vec<f32>> {
        let Quantized::Dense { dtype, row_bytes, ref blocks, .. } = *self.quantized(p)? else { return None };
        let [_, cols] = self.layout.info(p).matrix_shape();
        let mut values = Vec::new();
        for row in rows {
            let start = values.len();
            values.resize(start + cols, 0.0);
            dequant::dequantize(dtype, &blocks[row * row_bytes..][..row_bytes], &mut values[start..]);
        }
        Some(values)
    }

    fn quantized(&self, p: Param) -> Option<&Quantized> {
        let name = &self.layout.info(p).name;
        let quantized = self.quantized[p.index()].as_ref();
        assert!(quantized.is_some() == self.layout.is_quantized(p), "invariant: {name} has its blocks");
        quantized
    }

    fn assert_plain(&self, p: Param) {
        assert!(self.layout.storage(p) == Storage::F32, "invariant: {} has no f32 values", self.layout.info(p).name);
    }
}

impl Weights for CudaWeights {
    fn layout(&self) -> &Arc<ParamLayout> {
        &self.layout
    }
    fn read(&self, p: Param) -> Result<Cow<'_, [f32]>, Error> {
        self.assert_plain(p);
        self.values.read(self.layout.info(p).range())
    }
    fn update(&mut self, p: Param, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        self.update_range(self.layout.info(p).range(), f)
    }
    fn update_range(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        self.values_mut().update(range, f)
    }
    fn write_quantized(
        &mut self,
        p: Param,
        dtype: GgmlType,
        blocks: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(), Error> {
        let row_bytes = quantized_row_bytes(&self.layout, p, dtype, blocks);
        let [rows, cols] = self.layout.info(p).matrix_shape();
        let row_of = |r: usize| &blocks[source(r) * row_bytes..][..row_bytes];
        if self.layout.storage(p) == Storage::Bf16 {
            assert!(dtype == GgmlType::Bf16, "invariant: {dtype:?} is rounded to bf16 by the caller");
            let values: Vec<u8> = (0..rows).flat_map(row_of).copied().collect();
            return self.bf16.write(self.layout.info(p).range().start * size_of::<bf16>(), &values);
        }
        let expert = self.layout.info(p).name.contains(EXPERTS);
        // Products of experts with other sizes are not those of tensor cores, and have other bits.
        let kept = !expert || [rows, cols].iter().all(|size| size.is_multiple_of(8));
        if kept && Format::of(dtype).is_some() {
            let blocks = Blocks::upload(&mut self.slabs, dtype, [rows, cols], row_of)?;
            self.quantized[p.index()] = Some(Quantized::Blocks(blocks));
            return Ok(());
        }
        let memory = self.gpu.allocate(rows * cols * size_of::<bf16>(), "quantized weights")?;
        let mut sorted = Vec::new();
        let (mut row, mut rounded) = (vec![0.0; cols], Vec::with_capacity(rows * cols));
        for r in 0..rows {
            if !expert {
                sorted.extend_from_slice(row_of(r));
            }
            dequant::dequantize(dtype, row_of(r), &mut row);
            rounded.extend(row.iter().map(|&x| bf16::from_f32(x)));
        }
        memory.write(0, &rounded)?;
        self.quantized[p.index()] = Some(Quantized::Dense { memory, dtype, row_bytes, blocks: sorted });
        Ok(())
    }
    fn write_fp8(&mut self, p: Param, matrix: &Fp8Matrix) -> Result<(), Error> {
        let blocks = Blocks::upload_fp8(&mut self.slabs, matrix, self.layout.info(p).matrix_shape())?;
        self.quantized[p.index()] = Some(Quantized::Blocks(blocks));
        Ok(())
    }
    fn read_all(&self) -> Result<Cow<'_, [f32]>, Error> {
        self.values.read(0..self.layout.total())
    }
    fn snapshot(&self, to: &mut dyn Buffer) -> Result<(), Error> {
        let to: &mut CudaBuffer = own_mut(to);
        to.memory.copy_from(&self.values.memory, self.bytes())
    }
    fn swap(&mut self, with: &mut dyn Buffer) -> Result<(), Error> {
        std::mem::swap(&mut self.values_mut().memory, &mut own_mut::<CudaBuffer>(with).memory);
        Ok(())
    }
    fn prepare(&mut self, precision: Precision) -> Result<(), Error> {
        if precision == Precision::F32 || self.current {
            return Ok(());
        }
        let n = self.layout.total();
        if self.rounded.is_none() {
            self.rounded = Some(self.gpu.allocate(n * size_of::<bf16>(), "the weights in bf16")?);
        }
        let rounded = self.rounded.as_ref().expect("invariant: allocated above");
        let args = &mut [rounded.at().into(), self.values.at(0).into(), Arg::long(n)];
        self.gpu.launch("round_bf16", Launch::elements(n), args)?;
        self.current = true;
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.layout.total() * size_of::<f32>()
    }
    fn quantized_bytes(&self) -> usize {
        let dense = self.quantized.iter().flatten().map(|quantized| match quantized {
            Quantized::Dense { memory, .. } => memory.bytes(),
            Quantized::Blocks(_) => 0,
        });
        self.layout.bf16_total() * size_of::<bf16>() + self.slabs.bytes() + dense.sum::<usize>()
    }
}

impl Buffer for CudaBuffer {
    fn len(&self) -> usize {
        self.len
    }
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Owned(self.to_vec(range)?))
    }
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        let mut values = self.to_vec(range.clone())?;
        f(&mut values);
        self.memory.write(range.start * size_of::<f32>(), &values)
    }
    fn add(&mut self, other: &dyn Buffer) -> Result<(), Error> {
        let other: &CudaBuffer = own(other);
        // The kernel counts in 32 bits.
        for start in (0..self.len).step_by(1 << 30) {
            let n = (self.len - start).min(1 << 30);
            let args = &mut [self.at(start).into(), other.at(start).into(), 1f32.into(), n.into(), 1usize.into()];
            self.memory.gpu().launch("scale_f32_f32", Launch::elements(n), args)?;
        }
        Ok(())
    }
    fn zero(&mut self) -> Result<(), Error> {
        CudaBuffer::zero(self)
    }
    fn mix(&mut self, weights: &dyn Weights, rate: f32) -> Result<(), Error> {
        let weights: &CudaWeights = own(weights);
        let args = &mut [Arg::from(self.at(0)), weights.values().at(0).into(), rate.into(), Arg::long(self.len)];
        self.memory.gpu().launch("mix", Launch::elements(self.len), args)
    }
}
