//! A network with its weights, and the tapes that train, score and generate with them.

use crate::block::{Block, Ffn};
use crate::config::Arch;
use crate::declare::Declare;
use crate::mla::AttentionOptions;
use crate::moe::Moe;
use crate::mtp::{Mtp, Shared};
use crate::weights::Dtype;
use crate::{Config, Error, deepseek_v3, hf, init, llama};
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::embedding::Embedding;
use meno_tensor::ops::head::Head;
use meno_tensor::ops::hidden::Export;
use meno_tensor::ops::logits::Logits;
use meno_tensor::ops::rms_norm::{Norm, RmsNorm};
use meno_tensor::ops::rope::RopeTable;
use meno_tensor::params::{Param, Params};
use meno_tensor::tape::{Act, Builder, Mode, Tape};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Where everything is among the parameters.
#[derive(Clone, Debug)]
pub struct Network {
    embed_tokens: Param,
    pub(crate) blocks: Vec<Block>,
    /// The final norm.
    norm: Norm,
    /// `lm_head`, or the embedding where they are tied.
    head: Param,
    pub(crate) mtp: Option<Mtp>,
}

impl Network {
    /// Declares what every network has around its blocks.
    pub(crate) fn declare(d: &mut Declare, config: &Config) -> Network {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embed_tokens = d.matrix("embed_tokens", vocab, hidden);
        let norm = d.norm("norm", hidden, config.rms_norm_eps);
        let head = match config.tie_word_embeddings {
            true => embed_tokens,
            false => d.params.declare("lm_head.weight", &[vocab, hidden]),
        };
        d.params.mark_linear(head);
        Network { embed_tokens, blocks: Vec::new(), norm, head, mtp: None }
    }

    /// The routers in the order in which tapes push them.
    fn moes(&self) -> impl Iterator<Item = &Moe> {
        self.blocks.iter().chain(self.mtp.as_ref().map(|m| &m.block)).filter_map(|block| match &block.ffn {
            Ffn::Moe(moe) => Some(moe),
            Ffn::Mlp(_) => None,
        })
    }

    /// Appends embedding and blocks; returns the residual stream `[t, H]` before the final norm.
    fn push(&self, b: &mut Builder, p: &Params, o: &mut AttentionOptions) -> Act {
        let mut x = Embedding::push(b, p, self.embed_tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            o.layer = layer;
            x = block.push(b, p, x, o);
        }
        x
    }
}

/// How a training tape is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainOptions {
    /// Whether blocks are computed again in the backward pass instead of kept.
    pub recompute: bool,
    /// Whether the MTP module, if the network has one, takes part (loss head 1).
    pub mtp: bool,
}

/// How an inference tape is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferOptions {
    /// MLA over the latent: a much smaller cache, equal to 1e-5 instead of to the bit. Nothing changes for others.
    pub absorbed: bool,
}

/// A network and its weights: what trains is what scores is what samples.
pub struct Model {
    /// Its shape.
    pub config: Config,
    /// Its weights.
    pub params: Params,
    network: Network,
    /// Angles of all positions, for generation.
    rope: OnceLock<Arc<RopeTable>>,
}

impl Model {
    /// Refuses tokens that have no row in the embedding: those of another model's tokenizer.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab_size = self.config.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(Error::Token { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// A network whose parameters are declared but have no memory yet.
    pub(crate) fn declare(config: Config) -> Model {
        let mut params = Params::default();
        let network = match &config.arch {
            Arch::Deepseek(sizes) => deepseek_v3::declare(&mut params, &config, sizes),
            Arch::Grouped(sizes) => llama::declare(&mut params, &config, sizes),
        };
        Model { config, params, network, rope: OnceLock::new() }
    }

    /// The names and shapes of the tensors that a network of this shape has.
    pub fn tensor_shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
        let model = Model::declare(config.clone());
        model.params.iter().map(|(_, info)| (info.name.clone(), info.shape.clone())).collect()
    }

    /// What the KV cache of a network of this shape holds, by layer, as [`Model::cache_specs`] gives it.
    pub fn cache_shapes(config: &Config, o: InferOptions) -> Vec<LayerSpec> {
        Model::declare(config.clone()).cache_specs(o)
    }

    /// New weights: N(0, `initializer_range`²), gains 1, biases 0. The same for the same seed, on any machine.
    pub fn random(config: Config, seed: u64) -> Result<Model, Error> {
        let mut model = Model::declare(config);
        init::check_memory(model.params.total() as f64 * 4.0)?;
        model.params.allocate();
        init::fill(&mut model.params, model.config.initializer_range, seed);
        Ok(model)
    }

    /// Reads a Hugging Face directory or a GGUF file, every weight as f32.
    pub fn load(path: &Path) -> Result<Model, Error> {
        hf::load(path, false, &mut |_, _| {})
    }

    /// The same for inference only: matrices of a GGUF file stay quantised as they are.
    pub fn load_quantised(path: &Path) -> Result<Model, Error> {
        hf::load(path, true, &mut |_, _| {})
    }

    /// As [`Model::load`] or, if `quantised`, [`Model::load_quantised`]; `on_read` gets the
    /// number of values read so far and of all values.
    pub fn load_watched(path: &Path, quantised: bool, on_read: &mut dyn FnMut(usize, usize)) -> Result<Model, Error> {
        hf::load(path, quantised, on_read)
    }

    /// Whether `p` can stay quantised: the weights of linear layers and the embedding, whose rows are looked up. Not
    /// kv_b_proj, which absorbed attention takes apart.
    pub(crate) fn can_keep(&self, p: Param) -> bool {
        let linear = self.params.is_linear(p) && !self.params.info(p).name.ends_with(".kv_b_proj.weight");
        linear || p == self.network.embed_tokens
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, under temporary names first.
    pub fn save(&self, dir: &Path, dtype: Dtype) -> Result<(), Error> {
        hf::save(self, dir, dtype)
    }

    /// The handles of embedding, blocks, norm, head.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Embedding and head, which the published files hold again within the MTP module.
    pub(crate) fn shared(&self) -> (Param, Param) {
        (self.network.embed_tokens, self.network.head)
    }

    /// A tape for training on up to `rows` tokens: loss head 0 is the next token, head 1 the MTP module's; balance
    /// losses where the config asks for them.
    pub fn train_tape(&self, rows: usize, o: TrainOptions) -> Tape {
        let (n, p) = (&self.network, &self.params);
        let mut b = Builder::new(Mode { rows, train: true, recompute: o.recompute });
        let mut attention = self.attention_options(self.rope_table(rows), false);
        let x = n.push(&mut b, p, &mut attention);
        match n.mtp.as_ref().filter(|_| o.mtp) {
            None => Head::push(&mut b, p, x, Some(n.norm), n.head, 0),
            Some(mtp) => {
                let h = RmsNorm::push(&mut b, p, x, n.norm);
                Head::push(&mut b, p, h, None, n.head, 0);
                attention.layer += 1;
                mtp.push(&mut b, p, h, Shared { embed_tokens: n.embed_tokens, head: n.head }, &attention);
            }
        }
        b.finish()
    }

    /// A tape for the log-probabilities and entropies of the targets of head 0, over up to `rows` tokens.
    pub fn score_tape(&self, rows: usize) -> Tape {
        let (n, p) = (&self.network, &self.params);
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let x = n.push(&mut b, p, &mut self.attention_options(self.rope_table(rows), false));
        Head::push(&mut b, p, x, Some(n.norm), n.head, 0);
        b.finish()
    }

    /// A tape for generation over a KV cache, up to `rows` new tokens at a time: logits of `Batch::logit_rows`.
    pub fn infer_tape(&self, rows: usize, o: InferOptions) -> Tape {
        let (n, p) = (&self.network, &self.params);
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let x = n.push(&mut b, p, &mut self.attention_options(self.whole_rope_table(), o.absorbed));
        Logits::push(&mut b, p, x, Some(n.norm), n.head);
        b.finish()
    }

    /// [`Model::infer_tape`] that also tells the hidden states that [`Model::mtp_tape`] drafts from.
    pub fn infer_tape_for_mtp(&self, rows: usize, o: InferOptions) -> Tape {
        let (n, p) = (&self.network, &self.params);
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let x = n.push(&mut b, p, &mut self.attention_options(self.whole_rope_table(), o.absorbed));
        let h = RmsNorm::push(&mut b, p, x, n.norm);
        b.push(Export { x: h });
        Logits::push(&mut b, p, h, None, n.head);
        b.finish()
    }

    /// A tape that drafts with the MTP module, if the network has one. A row is a position i: `Batch::hidden` holds the
    /// main network's hidden state there, `Batch::tokens` the token at i + 1; the logits are those of i + 2. Its keys and
    /// values follow those of the main network's layers in the cache ([`Model::mtp_cache_spec`]).
    pub fn mtp_tape(&self, rows: usize, o: InferOptions) -> Option<Tape> {
        let n = &self.network;
        let mtp = n.mtp.as_ref()?;
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let mut attention = self.attention_options(self.whole_rope_table(), o.absorbed);
        attention.layer = n.blocks.len();
        let shared = Shared { embed_tokens: n.embed_tokens, head: n.head };
        mtp.push_draft(&mut b, &self.params, shared, &attention);
        Some(b.finish())
    }

    /// What the cache of the MTP module's layer holds, if the network has one.
    pub fn mtp_cache_spec(&self, o: InferOptions) -> Option<LayerSpec> {
        self.network.mtp.as_ref().map(|mtp| mtp.block.cache_spec(o.absorbed))
    }

    /// What the cache of every layer holds, for [`meno_tensor::kv_cache::KvCache::new`].
    pub fn cache_specs(&self, o: InferOptions) -> Vec<LayerSpec> {
        self.network.blocks.iter().map(|block| block.cache_spec(o.absorbed)).collect()
    }

    /// Moves the selection bias of every router against its load (DeepSeek-V3 §2.1.2): −γ where an expert got more
    /// tokens than the mean, +γ where fewer. `expert_load` is that of the whole step
    /// ([`meno_tensor::tape::Outputs::expert_load`], summed over micro-batches).
    pub fn update_router_bias(&mut self, expert_load: &[Vec<u32>], gamma: f32) {
        if gamma == 0.0 {
            return;
        }
        for (moe, load) in self.network.moes().zip(expert_load) {
            moe.update_bias(&mut self.params, load, gamma);
        }
    }

    fn attention_options(&self, rope: Arc<RopeTable>, absorbed: bool) -> AttentionOptions {
        AttentionOptions { rope, layer: 0, absorbed }
    }

    /// The angles of all positions.
    fn whole_rope_table(&self) -> Arc<RopeTable> {
        self.rope.get_or_init(|| self.rope_table(self.config.max_position_embeddings)).clone()
    }

    fn rope_table(&self, positions: usize) -> Arc<RopeTable> {
        let scaling = &self.config.rope_scaling;
        Arc::new(RopeTable::new(&self.config.rope_frequencies(), scaling.magnitude(), positions))
    }
}
