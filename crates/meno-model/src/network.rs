//! A network: its parameters, and the programs that train, score and generate with them.

use crate::attention::AttentionOptions;
use crate::block::{Block, Ffn};
use crate::config::{Arch, Config, Multipliers};
use crate::declare::Declare;
use crate::moe::Moe;
use crate::mtp::Mtp;
use crate::{deepseek_v3, llama};
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::embedding::Embedding;
use meno_tensor::ops::head::Head;
use meno_tensor::ops::hidden::StoreHidden;
use meno_tensor::ops::logits::Logits;
use meno_tensor::ops::rms_norm::{Norm, RmsNorm};
use meno_tensor::ops::rope::RopeTable;
use meno_tensor::ops::scale::Scale;
use meno_tensor::ops::{Builder, Program};
use meno_tensor::tape::{Activation, Mode, Param, ParamLayout};
use std::sync::Arc;

/// The parameters of a network, as handles into its layout.
#[derive(Clone, Debug)]
pub struct Network {
    embed_tokens: Param,
    /// Factor of the embedding, in units of the residual stream.
    embedding_scale: f32,
    blocks: Vec<Block>,
    /// The final norm.
    norm: Norm,
    /// `lm_head`, or the embedding if they are tied.
    head: Param,
    /// Factor of the logits.
    logits_scale: f32,
    mtp: Option<Mtp>,
}

impl Network {
    /// Declares all parameters of a network of this shape.
    pub fn declare(config: &Config) -> (Network, ParamLayout) {
        let mut layout = ParamLayout::default();
        let mut d = Declare::new(&mut layout, "model.");
        let mut network = Network::declare_around(&mut d, config);
        (network.blocks, network.mtp) = match &config.arch {
            Arch::Deepseek(sizes) => deepseek_v3::declare(&mut d, config, sizes),
            Arch::Grouped(sizes) => (llama::declare(&mut d, config, sizes), None),
        };
        (network, layout)
    }

    /// Declares the parameters that every network has outside its blocks.
    fn declare_around(d: &mut Declare, config: &Config) -> Network {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embed_tokens = d.matrix("embed_tokens", vocab, hidden);
        let norm = d.norm("norm", hidden, config.residual_eps());
        let head = match config.tie_word_embeddings {
            true => embed_tokens,
            false => d.layout.declare("lm_head.weight", &[vocab, hidden]),
        };
        d.layout.mark_linear(head);
        let Multipliers { embedding_multiplier, residual_multiplier, logits_scaling, .. } = config.multipliers();
        let embedding_scale = embedding_multiplier / residual_multiplier;
        let logits_scale = 1.0 / logits_scaling;
        Network { embed_tokens, embedding_scale, blocks: Vec::new(), norm, head, logits_scale, mtp: None }
    }

    /// Returns the routers in the order in which programs push them.
    pub(crate) fn moes(&self) -> impl Iterator<Item = &Moe> {
        self.blocks.iter().chain(self.mtp.as_ref().map(|m| &m.block)).filter_map(|block| match &block.ffn {
            Ffn::Moe(moe) => Some(moe),
            Ffn::Mlp(_) => None,
        })
    }

    /// Appends embedding and blocks; returns the residual stream `[t, H]` before the final norm.
    fn push(&self, b: &mut Builder, p: &ParamLayout, o: &mut AttentionOptions) -> Activation {
        let x = Embedding::push(b, p, self.embed_tokens);
        let mut x = scaled(b, x, self.embedding_scale);
        for (layer, block) in self.blocks.iter().enumerate() {
            o.layer = layer;
            x = block.push(b, p, x, o);
        }
        x
    }

    /// Appends what the loss and the logits need before their head: returns its input, and the norm if the head applies
    /// it.
    fn head_input(&self, b: &mut Builder, p: &ParamLayout, x: Activation) -> (Activation, Option<Norm>) {
        if self.logits_scale == 1.0 {
            return (x, Some(self.norm));
        }
        let h = RmsNorm::push(b, p, x, self.norm);
        (Scale::push(b, h, self.logits_scale), None)
    }

    /// Returns embedding and head. The MTP module shares them, and published files repeat them in it.
    pub(crate) fn shared(&self) -> [Param; 2] {
        [self.embed_tokens, self.head]
    }

    /// Returns true if `p` can stay quantized: the weights of linear layers, and the embedding, whose rows are looked
    /// up. kv_b_proj cannot, because absorbed attention uses parts of it.
    pub(crate) fn can_quantize(&self, layout: &ParamLayout, p: Param) -> bool {
        let linear = layout.is_linear(p) && !layout.info(p).name.ends_with(".kv_b_proj.weight");
        linear || p == self.embed_tokens
    }

    /// Returns the KV cache sizes of every layer.
    pub fn cache_specs(&self, o: InferOptions) -> Vec<LayerSpec> {
        self.blocks.iter().map(|block| block.cache_spec(o.absorbed)).collect()
    }

    /// Returns the KV cache sizes of the MTP module's layer, if the network has the module.
    pub fn mtp_cache_spec(&self, o: InferOptions) -> Option<LayerSpec> {
        self.mtp.as_ref().map(|mtp| mtp.block.cache_spec(o.absorbed))
    }
}

/// Appends factor · x, or nothing for factor 1.
fn scaled(b: &mut Builder, x: Activation, factor: f32) -> Activation {
    if factor == 1.0 { x } else { Scale::push(b, x, factor) }
}

/// Options of a training program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainOptions {
    /// If true, blocks are recomputed in the backward pass instead of kept.
    pub recompute: bool,
    /// If true, the MTP module, if the network has one, is trained too (loss head 1).
    pub mtp: bool,
}

/// Options of an inference program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferOptions {
    /// If true, MLA works on the latent: a much smaller cache, and results that agree to 1e-5 instead of to the bit.
    /// Other networks ignore it.
    pub absorbed: bool,
}

/// The programs of a network. `rope` has the angles of every position that the rows can have.
impl Network {
    /// Builds training on up to `rows` tokens: loss head 0 is the next token, head 1 the MTP module's; balance losses
    /// are included if the config asks for them.
    pub(crate) fn train(&self, p: &ParamLayout, rows: usize, o: TrainOptions, rope: Arc<RopeTable>) -> Program {
        let mut b = Builder::new(Mode { rows, train: true, recompute: o.recompute });
        let mut attention = AttentionOptions { rope, layer: 0, absorbed: false };
        let x = self.push(&mut b, p, &mut attention);
        match self.mtp.as_ref().filter(|_| o.mtp) {
            None => {
                let (x, norm) = self.head_input(&mut b, p, x);
                Head::push(&mut b, p, x, norm, self.head, 0);
            }
            Some(mtp) => {
                let h = RmsNorm::push(&mut b, p, x, self.norm);
                Head::push(&mut b, p, h, None, self.head, 0);
                attention.layer += 1;
                mtp.push(&mut b, p, h, self.shared(), &attention);
            }
        }
        b.finish()
    }

    /// Builds scoring: log-probabilities and entropies of the targets of head 0, over up to `rows` tokens.
    pub(crate) fn score(&self, p: &ParamLayout, rows: usize, rope: Arc<RopeTable>) -> Program {
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let x = self.push(&mut b, p, &mut AttentionOptions { rope, layer: 0, absorbed: false });
        let (x, norm) = self.head_input(&mut b, p, x);
        Head::push(&mut b, p, x, norm, self.head, 0);
        b.finish()
    }

    /// Builds generation over a KV cache, up to `rows` new tokens at a time: logits of `Batch::logit_rows` and, if
    /// `hidden`, also the hidden states from which [`Network::draft`] drafts.
    pub(crate) fn infer(
        &self,
        p: &ParamLayout,
        rows: usize,
        o: InferOptions,
        hidden: bool,
        rope: Arc<RopeTable>,
    ) -> Program {
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let x = self.push(&mut b, p, &mut AttentionOptions { rope, layer: 0, absorbed: o.absorbed });
        match hidden {
            false => {
                let (x, norm) = self.head_input(&mut b, p, x);
                Logits::push(&mut b, p, x, norm, self.head);
            }
            true => {
                let h = RmsNorm::push(&mut b, p, x, self.norm);
                b.push(StoreHidden { x: h });
                let h = scaled(&mut b, h, self.logits_scale);
                Logits::push(&mut b, p, h, None, self.head);
            }
        }
        b.finish()
    }

    /// Builds drafting with the MTP module, if the network has one. A row is a position i: `Batch::hidden` holds the
    /// main network's hidden state at i, `Batch::tokens` the token at i + 1; the logits are those of i + 2. Its keys
    /// and values follow those of the main network's layers in the cache ([`Network::mtp_cache_spec`]).
    pub(crate) fn draft(&self, p: &ParamLayout, rows: usize, o: InferOptions, rope: Arc<RopeTable>) -> Option<Program> {
        let mtp = self.mtp.as_ref()?;
        let mut b = Builder::new(Mode { rows, train: false, recompute: false });
        let attention = AttentionOptions { rope, layer: self.blocks.len(), absorbed: o.absorbed };
        mtp.push_draft(&mut b, p, self.shared(), &attention);
        Some(b.finish())
    }
}
