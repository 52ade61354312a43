//! The parameters of a network: names, shapes and places in a flat block. It is a description only; the backend holds
//! the values ([`crate::backend::Weights`]).

use std::ops::Range;

/// A handle to one parameter of a [`ParamLayout`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Param(pub(crate) u32);

impl Param {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How the values of a parameter are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// As f32: the only form that can be trained and saved.
    #[default]
    F32,
    /// As bf16, without f32 values: inference on a GPU.
    Bf16,
    /// Quantized, as in a file: inference.
    Blocks,
}

/// Name, shape and role of one parameter.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// The published tensor name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The shape, row-major; a linear layer is `[out, in]`.
    pub shape: Vec<usize>,
    /// True if an optimizer updates it (`false` for `e_score_correction_bias`, or when frozen).
    pub trainable: bool,
    /// True if another process holds its values: see [`ParamLayout::set_absent`].
    pub absent: bool,
    range: Range<usize>,
    /// True if it is the weight of a linear layer, `[out, in]`.
    linear: bool,
    /// The number of weights, starting with this one, that are fused into one matrix; 0 if an earlier weight's group
    /// includes it.
    fused: usize,
    storage: Storage,
}

impl ParamInfo {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns its place in a block of all parameters in f32 (weights, gradients, optimizer moments) or, if it is
    /// stored as bf16, in a block of all such parameters. Empty if it is quantized.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
    /// Returns rows and columns of the matrix: columns are the last dimension.
    pub fn matrix_shape(&self) -> [usize; 2] {
        let cols = *self.shape.last().expect("invariant: a matrix has a shape");
        [self.len() / cols.max(1), cols]
    }
}

/// All parameters of a network, in order of declaration.
#[derive(Clone, Debug, Default)]
pub struct ParamLayout {
    infos: Vec<ParamInfo>,
    total: usize,
    bf16_total: usize,
}

impl ParamLayout {
    /// Declares a parameter.
    pub fn declare(&mut self, name: impl Into<String>, shape: &[usize]) -> Param {
        let info = ParamInfo {
            name: name.into(),
            shape: shape.to_vec(),
            trainable: true,
            absent: false,
            range: 0..0,
            linear: false,
            fused: 1,
            storage: Storage::F32,
        };
        self.infos.push(info);
        self.place(self.infos.len() - 1);
        Param(self.infos.len() as u32 - 1)
    }

    /// Places parameter `i` after those placed before.
    fn place(&mut self, i: usize) {
        let len = self.infos[i].len();
        let (total, len) = match self.infos[i].storage {
            Storage::F32 => (&mut self.total, len),
            Storage::Bf16 => (&mut self.bf16_total, len),
            Storage::Blocks => (&mut self.total, 0),
        };
        self.infos[i].range = *total..*total + len;
        *total = (*total + len).next_multiple_of(16);
    }

    /// Sets how weights of linear layers, or tables of rows, are stored. Weights that are fused with others stay fused
    /// if all are stored alike, but not in blocks. Call it before weights are allocated.
    pub fn set_storage(&mut self, params: &[Param], storage: Storage) {
        params.iter().for_each(|p| self.infos[p.index()].storage = storage);
        for i in 0..self.infos.len() {
            let group = i..i + self.infos[i].fused;
            let first = self.infos[i].storage;
            if self.infos[group.clone()].iter().any(|info| info.storage != first || first == Storage::Blocks) {
                self.infos[group].iter_mut().for_each(|info| info.fused = 1);
            }
        }
        (self.total, self.bf16_total) = (0, 0);
        (0..self.infos.len()).for_each(|i| self.place(i));
    }

    /// Returns how `p` is stored.
    pub fn storage(&self, p: Param) -> Storage {
        self.infos[p.index()].storage
    }

    /// Returns true if `p` is stored in quantized blocks.
    pub fn is_quantized(&self, p: Param) -> bool {
        self.storage(p) == Storage::Blocks
    }

    /// Returns true if all parameters are stored as f32. Other networks cannot be trained or saved.
    pub fn is_f32(&self) -> bool {
        self.infos.iter().all(|info| info.storage == Storage::F32)
    }

    /// Marks `p` as the right-hand side of products `x · pᵀ`: every linear layer, and a tied head.
    pub fn mark_linear(&mut self, p: Param) {
        self.infos[p.index()].linear = true;
    }

    /// Returns true if `p` is marked as the weight of a linear layer.
    pub fn is_linear(&self, p: Param) -> bool {
        self.infos[p.index()].linear
    }

    /// Fuses linear layers that always share an input (q, k, v; gate, up): if their weights are contiguous and equally
    /// wide, they are multiplied as one matrix. Returns true if they are fused.
    pub fn fuse_linear(&mut self, weights: &[Param]) -> bool {
        let cols = |p: &Param| self.info(*p).shape.last().copied();
        let meet =
            |w: &[Param]| self.info(w[0]).range().end == self.info(w[1]).range().start && cols(&w[0]) == cols(&w[1]);
        if weights.len() < 2 || !weights.windows(2).all(meet) {
            return false;
        }
        weights.iter().for_each(|p| self.infos[p.index()].fused = 0);
        self.infos[weights[0].index()].fused = weights.len();
        true
    }

    /// Returns true if exactly these weights are fused.
    pub fn are_fused(&self, weights: &[Param]) -> bool {
        weights.len() > 1 && self.infos[weights[0].index()].fused == weights.len()
    }

    /// Returns every matrix of a linear layer, as its first and its last weight (several weights if they are fused).
    pub(crate) fn linear_matrices(&self) -> impl Iterator<Item = [Param; 2]> {
        let matrices = self.infos.iter().enumerate().filter(|(_, info)| info.linear && info.fused > 0);
        matrices.map(|(i, info)| [i, i + info.fused - 1].map(|i| Param(i as u32)))
    }

    /// Returns the place of contiguous weights.
    pub(crate) fn span(&self, first: Param, last: Param) -> Range<usize> {
        self.info(first).range().start..self.info(last).range().end
    }

    /// Excludes `p` from the gradient norm and from the optimizer.
    pub fn freeze(&mut self, p: Param) {
        self.infos[p.index()].trainable = false;
    }

    /// Marks parameters whose values another process holds, such as experts of other ranks. They keep their places, but
    /// nothing may read their values. On the CPU these places take no memory while nothing writes to them.
    pub fn set_absent(&mut self, params: &[Param]) {
        params.iter().for_each(|p| self.infos[p.index()].absent = true);
    }

    /// Returns true if this process holds the values of all parameters.
    pub fn is_complete(&self) -> bool {
        !self.infos.iter().any(|info| info.absent)
    }

    /// Returns the handle with this published name.
    pub fn find(&self, name: &str) -> Option<Param> {
        self.infos.iter().position(|i| i.name == name).map(|i| Param(i as u32))
    }

    /// Returns all handles and their descriptions.
    pub fn iter(&self) -> impl Iterator<Item = (Param, &ParamInfo)> {
        self.infos.iter().enumerate().map(|(i, info)| (Param(i as u32), info))
    }

    /// Returns name, shape and place of `p`.
    pub fn info(&self, p: Param) -> &ParamInfo {
        &self.infos[p.index()]
    }

    /// Returns the length of a block of all parameters that are stored as f32: their values and the padding between
    /// them.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns all places as a list of one range, for [`crate::backend::Backend::optimizer`].
    pub fn whole(&self) -> [Range<usize>; 1] {
        std::array::from_fn(|_| 0..self.total)
    }

    /// Like [`ParamLayout::total`], for the parameters that are stored as bf16.
    pub fn bf16_total(&self) -> usize {
        self.bf16_total
    }

    /// Returns the number of values of all parameters together.
    pub fn count(&self) -> usize {
        self.infos.iter().map(ParamInfo::len).sum()
    }
}
