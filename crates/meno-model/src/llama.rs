//! Llama 2 and 3 (Touvron et al., arXiv 2302.13971), and Qwen2 (arXiv 2407.10671), which differs by the bias of its q, k
//! and v: grouped-query attention and SwiGLU MLPs.

use crate::Config;
use crate::block::{Attention, Block, Ffn, Mlp};
use crate::config::Dense;
use crate::declare::Declare;
use crate::gqa::Gqa;
use crate::model::Network;
use meno_tensor::params::Params;

/// Declares all parameters, in the order of the published files.
pub(crate) fn declare(params: &mut Params, config: &Config, sizes: &Dense) -> Network {
    let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
    let mut d = Declare::new(params, "model.");
    let mut network = Network::declare(&mut d, config);
    for layer in 0..config.num_hidden_layers {
        let mut d = d.under(format_args!("layers.{layer}"));
        network.blocks.push(Block {
            input_layernorm: d.norm("input_layernorm", hidden, eps),
            attention: Attention::Gqa(Gqa::declare(d.under("self_attn"), config, sizes)),
            post_attention_layernorm: d.norm("post_attention_layernorm", hidden, eps),
            ffn: Ffn::Mlp(Mlp::declare(d.under("mlp"), hidden, config.intermediate_size)),
        });
    }
    network
}
