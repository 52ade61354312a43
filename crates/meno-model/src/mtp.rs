//! Multi-token prediction (MTP): a module that predicts the token after the next. It is used as a second training loss,
//! and to draft tokens that the main network then verifies (speculative decoding, §5.4.3).
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2.2, eqs. 21–25, one depth. Embedding and head are those of the main network. The
//! published files contain copies of them; saving writes the copies and loading ignores them.
//!
//! The order of inputs follows the released weights: the embedding comes first in the concatenation, and the hidden
//! state is the main network's after its final norm (as in vLLM, SGLang and transformers; the paper's eq. 21 has the
//! hidden state first).
//!
//! Row i combines h_i with Emb(t_{i+1}) and predicts t_{i+2}. The last row of a sequence has no next token. It predicts
//! nothing and, because attention is causal, no other row attends to it.

use crate::Config;
use crate::attention::AttentionOptions;
use crate::block::Block;
use crate::declare::Declare;
use meno_tensor::ops::embedding::Embedding;
use meno_tensor::ops::head::Head;
use meno_tensor::ops::hidden::LoadHidden;
use meno_tensor::ops::linear::Linear;
use meno_tensor::ops::logits::Logits;
use meno_tensor::ops::rms_norm::{Norm, RmsNorm};
use meno_tensor::ops::{Builder, Columns};
use meno_tensor::tape::{Activation, Param, ParamLayout};

/// The parameters of the module, published as the layer after the last.
#[derive(Clone, Debug)]
pub struct Mtp {
    /// Norm of the embedding.
    enorm: Norm,
    /// Norm of the hidden state.
    hnorm: Norm,
    /// `[H, 2H]`.
    eh_proj: Param,
    pub(crate) block: Block,
    /// The norm before the head.
    shared_head_norm: Norm,
}

impl Mtp {
    /// Declares the module; `block` declares its own layer.
    pub(crate) fn declare(mut d: Declare, config: &Config, block: impl FnOnce(&mut Declare) -> Block) -> Mtp {
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
        Mtp {
            enorm: d.norm("enorm", hidden, eps),
            hnorm: d.norm("hnorm", hidden, eps),
            eh_proj: d.linear("eh_proj", hidden, 2 * hidden),
            block: block(&mut d),
            shared_head_norm: d.norm("shared_head.norm", hidden, eps),
        }
    }

    /// Appends the module and its loss to the normalized output `h` `[t, H]` of the main network. Embedding and head
    /// are the main network's.
    pub(crate) fn push(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        h: Activation,
        [embed_tokens, head]: [Param; 2],
        o: &AttentionOptions,
    ) {
        let next = Embedding::push_next(b, p, embed_tokens);
        let x = self.push_block(b, p, h, next, o);
        // (eqs. 23–25) the shared head, loss 1
        Head::push(b, p, x, Some(self.shared_head_norm), head, 1);
    }

    /// Appends the module for drafting: the token of each row is the one after the token of its hidden state in `h`.
    pub(crate) fn push_draft(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        [embed_tokens, head]: [Param; 2],
        o: &AttentionOptions,
    ) {
        let h = LoadHidden::push(b, p.info(embed_tokens).shape[1]);
        let next = Embedding::push(b, p, embed_tokens);
        let x = self.push_block(b, p, h, next, o);
        Logits::push(b, p, x, Some(self.shared_head_norm), head);
    }

    /// Appends everything except the head, on `h` and the embeddings of the next tokens, both `[t, H]`.
    fn push_block(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        h: Activation,
        next: Activation,
        o: &AttentionOptions,
    ) -> Activation {
        let hidden = b.cols(h);
        // (eq. 21) h' = M [RMSNorm(Emb(t_{i+1})) ; RMSNorm(h_i)]
        let both = b.activation(2 * hidden);
        for (x, norm, at) in [(next, self.enorm, 0), (h, self.hnorm, hidden)] {
            let (x, y) = (Columns::all(b, x), Columns::range(b, both, at..at + hidden));
            b.push(RmsNorm { x, norm, y });
        }
        let x = Linear::push(b, p, both, self.eh_proj, None, None);
        // (eq. 22) the module's own block
        self.block.push(b, p, x, o)
    }
}
