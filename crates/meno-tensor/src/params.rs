//! Parameters: f32 master weights in one block, found by their published names, with packed copies for the GEMM. For
//! inference a matrix may stay quantised instead ([`Params::keep`]).

use crate::buffer::Buffer;
use crate::gemm::{Mat, MatMut, Packed, Precision, Rhs, gemm};
use crate::quant::QuantMatrix;
use std::ops::Range;

/// A handle to one parameter of a [`Params`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Param(pub(crate) u32);

/// Name, shape and role of one parameter.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// The published tensor name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The shape, row-major; a linear layer is `[out, in]`.
    pub shape: Vec<usize>,
    /// Whether an optimizer changes it (`false` for `e_score_correction_bias`, or when frozen).
    pub trainable: bool,
    range: Range<usize>,
}

impl ParamInfo {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Where it lies in [`Params::data`] and in a gradient or optimizer-state block of the same layout: nowhere, if it
    /// stays quantised.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// All parameters of a network: the one copy that trains, scores and samples.
#[derive(Default)]
pub struct Params {
    infos: Vec<ParamInfo>,
    data: Buffer,
    total: usize,
    /// Packed copies used as the right-hand side of forward GEMMs, by parameter; see [`Params::prepare`].
    packed: Vec<Option<Packed>>,
    /// Which parameters are the weight of a linear layer, `[out, in]`.
    linear: Vec<bool>,
    /// How many weights, from this one on, are packed as one matrix (0: with those before); see
    /// [`Params::join_linear`].
    joined: Vec<usize>,
    /// Matrices that stay quantised, by parameter.
    kept: Vec<Option<QuantMatrix>>,
    fresh: Option<Precision>,
}

impl Params {
    /// Declares a parameter. All are declared before [`Params::allocate`].
    pub fn declare(&mut self, name: impl Into<String>, shape: &[usize]) -> Param {
        let len: usize = shape.iter().product();
        let range = self.total..self.total + len;
        self.total = range.end.next_multiple_of(16);
        self.infos.push(ParamInfo { name: name.into(), shape: shape.to_vec(), trainable: true, range });
        self.linear.push(false);
        self.joined.push(1);
        self.kept.push(None);
        Param(self.infos.len() as u32 - 1)
    }

    /// Says that `p`, the weight of a linear layer or looked up by rows, stays as it is in a file: for inference only,
    /// before [`Params::allocate`]. Layers that it was joined with are multiplied by one after the other.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn keep(&mut self, p: Param, matrix: QuantMatrix) {
        assert!(self.info(p).shape == matrix.shape(), "invariant: {} is {:?}", self.info(p).name, self.info(p).shape);
        self.kept[p.0 as usize] = Some(matrix);
    }

    /// Whether `p` stays quantised.
    pub fn kept(&self, p: Param) -> Option<&QuantMatrix> {
        self.kept[p.0 as usize].as_ref()
    }

    /// Whether any parameter stays quantised: then nothing can be trained or saved.
    pub fn any_kept(&self) -> bool {
        self.kept.iter().any(Option::is_some)
    }

    /// Bytes of the matrices that stay quantised.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().flatten().map(QuantMatrix::bytes).sum()
    }

    /// Lays out what does not stay quantised, and parts what was joined with what does.
    fn lay_out(&mut self) {
        self.total = 0;
        for i in 0..self.infos.len() {
            let group = i..i + self.joined[i];
            if self.kept[group.clone()].iter().any(Option::is_some) {
                self.joined[group].fill(1);
            }
            let len = if self.kept[i].is_some() { 0 } else { self.infos[i].len() };
            self.infos[i].range = self.total..self.total + len;
            self.total = (self.total + len).next_multiple_of(16);
        }
    }

    /// Allocates zeroed memory for everything declared that does not stay quantised.
    pub fn allocate(&mut self) {
        self.lay_out();
        self.data = Buffer::zeroed(self.total);
        self.packed = (0..self.infos.len()).map(|_| None).collect();
    }

    /// Says that `p` is multiplied by in forward GEMMs as `x · pᵀ` (every linear layer; a tied head too).
    pub fn mark_linear(&mut self, p: Param) {
        self.linear[p.0 as usize] = true;
    }

    /// Says that these linear layers always multiply the same input (q, k, v; gate, up): where their weights lie one
    /// after the other, they are packed and multiplied by as one matrix. [`Params::packed`] of the first is then that
    /// of all; the others have none. Returns whether they could be joined.
    pub fn join_linear(&mut self, weights: &[Param]) -> bool {
        let cols = |p: &Param| self.info(*p).shape.last().copied();
        let meet =
            |w: &[Param]| self.info(w[0]).range().end == self.info(w[1]).range().start && cols(&w[0]) == cols(&w[1]);
        if weights.len() < 2 || !weights.windows(2).all(meet) {
            return false;
        }
        weights.iter().for_each(|p| self.joined[p.0 as usize] = 0);
        self.joined[weights[0].0 as usize] = weights.len();
        true
    }

    /// Whether `p` was marked the weight of a linear layer.
    pub fn is_linear(&self, p: Param) -> bool {
        self.linear[p.0 as usize]
    }

    /// Whether [`Params::join_linear`] joined exactly these.
    pub fn are_joined(&self, weights: &[Param]) -> bool {
        weights.len() > 1 && self.joined[weights[0].0 as usize] == weights.len()
    }

    /// Joined weights as one matrix.
    pub fn joined_matrix(&self, weights: &[Param]) -> Mat<'_> {
        let range = self.joined_range(weights);
        let cols = self.matrix(weights[0]).cols;
        Mat::new(&self.data[range.clone()], range.len() / cols, cols)
    }

    /// Where joined weights lie.
    pub(crate) fn joined_range(&self, weights: &[Param]) -> Range<usize> {
        self.info(weights[0]).range().start..self.info(weights[weights.len() - 1]).range().end
    }

    /// Excludes `p` from gradient norm and optimizer.
    pub fn freeze(&mut self, p: Param) {
        self.infos[p.0 as usize].trainable = false;
    }

    /// The handle with this published name.
    pub fn find(&self, name: &str) -> Option<Param> {
        self.infos.iter().position(|i| i.name == name).map(|i| Param(i as u32))
    }

    /// All handles with their information, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (Param, &ParamInfo)> {
        self.infos.iter().enumerate().map(|(i, info)| (Param(i as u32), info))
    }

    /// Name, shape and place of `p`.
    pub fn info(&self, p: Param) -> &ParamInfo {
        &self.infos[p.0 as usize]
    }

    /// The values of `p`.
    ///
    /// # Panics
    /// If it stays quantised: a bug.
    pub fn get(&self, p: Param) -> &[f32] {
        assert!(self.kept(p).is_none(), "invariant: {} has no f32 values", self.info(p).name);
        &self.data[self.infos[p.0 as usize].range()]
    }

    /// Row `row` of the matrix `p`, dequantised where it stays quantised.
    pub fn copy_row(&self, p: Param, row: usize, out: &mut [f32]) {
        match self.kept(p) {
            Some(matrix) => matrix.row(row, out),
            None => out.copy_from_slice(&self.get(p)[row * out.len()..][..out.len()]),
        }
    }

    /// The values of `p`, to change; packed copies become stale.
    pub fn get_mut(&mut self, p: Param) -> &mut [f32] {
        self.fresh = None;
        let range = self.infos[p.0 as usize].range();
        &mut self.data[range]
    }

    /// Everything, in the layout of [`ParamInfo::range`].
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Everything, to change; packed copies become stale.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.fresh = None;
        &mut self.data
    }

    /// The length of [`Params::data`]: values and padding.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many values all parameters have together.
    pub fn count(&self) -> usize {
        self.infos.iter().map(ParamInfo::len).sum()
    }

    /// `p` as a matrix `[rows, cols]`, `cols` being the last dimension.
    pub fn matrix(&self, p: Param) -> Mat<'_> {
        let cols = *self.info(p).shape.last().expect("invariant: a matrix has a shape");
        Mat::new(self.get(p), self.info(p).len() / cols, cols)
    }

    /// Brings the packed copies of all linear weights up to date with the master weights. Called by every tape
    /// before it runs; does nothing when nothing changed.
    pub fn prepare(&mut self, precision: Precision) {
        if self.fresh == Some(precision) {
            return;
        }
        for i in 0..self.infos.len() {
            if !self.linear[i] || self.joined[i] == 0 || self.kept[i].is_some() {
                continue;
            }
            let mut packed = self.packed[i].take();
            let ends = [i, i + self.joined[i] - 1].map(|p| Param(p as u32));
            Packed::pack(&mut packed, precision, self.joined_matrix(&ends).t());
            self.packed[i] = packed;
        }
        self.fresh = Some(precision);
    }

    /// y = x · pᵀ, or y += x · pᵀ, of a linear weight or joined ones: in `precision`, or on the codes of a weight that
    /// stays quantised.
    pub fn multiply(&self, precision: Precision, x: Mat, p: Param, accumulate: bool, y: MatMut) {
        match self.kept(p) {
            Some(matrix) => matrix.multiply(x, accumulate, y),
            None => gemm(precision, 1.0, x, Rhs::Packed(self.packed(p)), accumulate, y),
        }
    }

    /// The packed `pᵀ` (shape `[in, out]`), current after [`Params::prepare`].
    ///
    /// # Panics
    /// If `p` was not marked linear or is stale: both are bugs.
    pub fn packed(&self, p: Param) -> &Packed {
        debug_assert!(self.fresh.is_some(), "invariant: Params::prepare ran after the last change");
        self.packed[p.0 as usize].as_ref().expect("invariant: the parameter was marked linear and prepared")
    }
}
