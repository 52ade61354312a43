//! The settings of a generator.

use meno_model::{Config, InferOptions, Model};
use meno_tensor::device::Device;
use meno_tensor::kv_cache::KvType;
use meno_tensor::precision::Precision;
use meno_tensor::tape::pages;

/// Size and settings of a generator. [`GeneratorConfig::new`] gives the settings for a fixed set of requests, and
/// [`GeneratorConfig::serving`] changes them to those of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Maximum number of sequences in the KV cache.
    pub slots: usize,
    /// Maximum length of a sequence in tokens, prompt and answer together.
    pub max_len: usize,
    /// Rows of a step: one for each decoding sequence, the others for chunks of prompts. A smaller number than `slots`
    /// counts as `slots`: see [`GeneratorConfig::rows`].
    pub step_rows: usize,
    /// Maximum prompt rows per step while answers are being decoded. It bounds how long a prompt delays the next token.
    pub prefill_rows: usize,
    /// Input type of the matrix products. With the precision of training, log-probabilities equal those of training bit
    /// for bit.
    pub precision: Precision,
    /// Decode MLA from the latent cache. This uses less memory, and results are equal up to rounding instead of bit for
    /// bit.
    pub absorbed: bool,
    /// Capacity of the KV cache in tokens, for all sequences and kept prefixes together; `None` means `slots` ×
    /// `max_len`. When the cache is full, the most recent sequence waits and is recomputed later.
    pub cache_tokens: Option<usize>,
    /// The type of keys and values in the cache. Any type other than f32 breaks the bit-exact contract with training.
    /// On a GPU in bf16, where attention reads keys and values in bf16, pages of bf16 take the place of f32: the bits
    /// are the same.
    pub kv_type: KvType,
    /// Keeps the cache contents of finished sequences for prompts with the same prefix. Valid only while the weights do
    /// not change.
    pub reuse_prefixes: bool,
    /// The draft method of speculative decoding. Answers are the same, only faster.
    pub speculative: Speculative,
    /// Allow requests for hidden states ([`Observe::Hidden`](super::Observe::Hidden)). Answers are the same.
    pub hidden: bool,
}

/// Rows of a step, unless the caller sets another number.
const STEP_ROWS: usize = 256;
/// At least these rows of a step on a GPU, and of prompts in a step while answers are decoded: fewer do not fill it.
const GPU_STEP_ROWS: usize = 2048;
const GPU_PREFILL_ROWS: usize = 512;

impl GeneratorConfig {
    /// Returns the settings for a fixed set of requests: f32 throughout, no prefixes kept, no drafts.
    pub const fn new(slots: usize, max_len: usize) -> GeneratorConfig {
        GeneratorConfig {
            slots,
            max_len,
            step_rows: STEP_ROWS,
            prefill_rows: usize::MAX,
            precision: Precision::F32,
            absorbed: false,
            cache_tokens: None,
            kv_type: KvType::F32,
            reuse_prefixes: false,
            speculative: Speculative::Off,
            hidden: false,
        }
    }

    /// Returns these settings changed for a server: short chunks of prompts, kept prefixes, hidden states.
    pub const fn serving(self) -> GeneratorConfig {
        GeneratorConfig { prefill_rows: 64, reuse_prefixes: true, hidden: true, ..self }
    }

    /// Returns these settings with what is faster on a device at the same bits.
    pub(crate) fn on(self, device: Device) -> GeneratorConfig {
        if !device.has_own_memory() {
            return self;
        }
        GeneratorConfig {
            step_rows: self.step_rows.max(GPU_STEP_ROWS),
            prefill_rows: self.prefill_rows.max(GPU_PREFILL_ROWS),
            kv_type: self.kv_type.on(device, self.precision),
            ..self
        }
    }

    /// Returns the pages of the KV cache.
    pub(crate) fn pages(&self) -> usize {
        // One page more than the longest sequence: writing to a shared page copies it first.
        self.cache_tokens.map_or(self.slots * pages(self.max_len) + 1, pages)
    }

    /// Returns the bytes of the KV cache and of the activations of a generator without drafts for a network of this
    /// shape, without allocating them.
    pub fn planned_bytes(self, network: &Config, device: Device) -> [usize; 2] {
        let config = self.on(device);
        let infer = InferOptions { absorbed: config.absorbed };
        let page: usize = Model::cache_shapes(network, infer).iter().map(|l| l.page_bytes(config.kv_type)).sum();
        let program = Model::infer_program(network, config.rows(), infer);
        [config.pages() * page, device.planned_bytes(&program, config.precision)]
    }

    /// Returns the rows of a step: `step_rows`, but at least one row for every slot.
    pub fn rows(&self) -> usize {
        self.step_rows.max(self.slots)
    }

    /// Returns true if the generator computes hidden states: for requests, or for drafts of the MTP module.
    pub fn has_hidden(&self) -> bool {
        self.hidden || self.speculative == Speculative::Mtp
    }
}

/// The draft method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculative {
    /// No drafts.
    #[default]
    Off,
    /// Prompt look-up: drafts what followed the last occurrence of the current few tokens.
    Ngram,
    /// The network's multi-token prediction module (DeepSeek-V3, arXiv 2412.19437, §5.4.3).
    Mtp,
}
