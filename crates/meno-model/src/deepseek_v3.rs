//! DeepSeek-V3, and V2 before it: MLA everywhere, dense MLPs in the first layers and experts in the others, MTP.
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2. The order of computation is in `crate::model` (embedding, blocks, head),
//! [`crate::block`], [`crate::mla`], [`crate::moe`] and [`crate::mtp`]; here is what a network of this kind consists of.

use crate::Config;
use crate::block::{Attention, Block, Ffn, Mlp};
use crate::config::Deepseek;
use crate::declare::Declare;
use crate::mla::Mla;
use crate::model::Network;
use crate::moe::Moe;
use crate::mtp::Mtp;
use meno_tensor::params::Params;

/// Declares all parameters, in the order of the published files.
pub(crate) fn declare(params: &mut Params, config: &Config, sizes: &Deepseek) -> Network {
    let mut d = Declare::new(params, "model.");
    let mut network = Network::declare(&mut d, config);
    for layer in 0..config.num_hidden_layers {
        let mut d = d.under(format_args!("layers.{layer}"));
        network.blocks.push(declare_block(&mut d, config, sizes, config.is_moe(layer)));
    }
    if config.num_nextn_predict_layers > 0 {
        let d = d.under(format_args!("layers.{}", config.num_hidden_layers));
        network.mtp = Some(Mtp::declare(d, config, sizes));
    }
    network
}

/// Declares one layer.
pub(crate) fn declare_block(d: &mut Declare, config: &Config, sizes: &Deepseek, moe: bool) -> Block {
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
