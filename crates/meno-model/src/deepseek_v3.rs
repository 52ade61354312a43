//! DeepSeek-V3, and V2 before it: MLA in all layers, dense MLPs in the first layers and experts in the others, MTP.
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2. The forward pass, in order, with the functions that append it to a program:
//! ```text
//! x = Emb(tokens)                                      network.rs, Network::push
//! for every layer:                                     block.rs, Block::push
//!     x = x + MLA(RMSNorm(x))                          mla.rs, Mla::push
//!     x = x + MLP(RMSNorm(x))     first layers         mlp.rs, Mlp::push
//!     x = x + MoE(RMSNorm(x))     other layers         moe.rs, Moe::push
//! h = RMSNorm(x);  logits = W_head h                   network.rs, Network::{train, score, infer}
//! MTP on h predicts the token after the next           mtp.rs, Mtp::push
//! ```
//! This module declares the parts of such a network.

use crate::Config;
use crate::block::{Attention, Block, Ffn};
use crate::config::Deepseek;
use crate::declare::Declare;
use crate::mla::Mla;
use crate::mlp::Mlp;
use crate::moe::Moe;
use crate::mtp::Mtp;

/// Declares the blocks and the MTP module, in the order of the published files.
pub(crate) fn declare(d: &mut Declare, config: &Config, sizes: &Deepseek) -> (Vec<Block>, Option<Mtp>) {
    let layers = 0..config.num_hidden_layers;
    let blocks = layers.map(|layer| {
        let mut d = d.under(format_args!("layers.{layer}"));
        declare_block(&mut d, config, sizes, config.is_moe(layer))
    });
    let blocks = blocks.collect();
    let mtp = (config.num_nextn_predict_layers > 0).then(|| {
        let d = d.under(format_args!("layers.{}", config.num_hidden_layers));
        // Always a block with experts; `first_k_dense_replace` does not apply.
        Mtp::declare(d, config, |d| declare_block(d, config, sizes, true))
    });
    (blocks, mtp)
}

/// Declares one layer: MLA, then an MLP or, if `moe`, experts.
fn declare_block(d: &mut Declare, config: &Config, sizes: &Deepseek, moe: bool) -> Block {
    let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
    Block {
        input_layernorm: d.norm("input_layernorm", hidden, eps),
        attention: Attention::Mla(Mla::declare(d.under("self_attn"), config, sizes)),
        post_attention_layernorm: d.norm("post_attention_layernorm", hidden, eps),
        ffn: match moe {
            false => Ffn::Mlp(Mlp::declare(d.under("mlp"), hidden, config.intermediate_size)),
            true => Ffn::Moe(Moe::declare(d.under("mlp"), config, &sizes.moe)),
        },
    }
}
