//! Llama (Touvron et al., arXiv 2302.13971) and its successors: grouped-query attention and SwiGLU MLPs. Qwen 2 adds a
//! bias to q, k and v; Qwen 3 normalizes the heads of q and k instead, and has experts in its larger models. Granite
//! adds constant factors.

use crate::Config;
use crate::block::{Attention, Block, Ffn};
use crate::config::Grouped;
use crate::declare::Declare;
use crate::gqa::Gqa;
use crate::mlp::Mlp;
use crate::moe::Moe;

/// Declares the blocks, in the order of the published files.
pub(crate) fn declare(d: &mut Declare, config: &Config, sizes: &Grouped) -> Vec<Block> {
    let (hidden, eps) = (config.hidden_size, config.residual_eps());
    let layers = 0..config.num_hidden_layers;
    let blocks = layers.map(|layer| {
        let mut d = d.under(format_args!("layers.{layer}"));
        Block {
            input_layernorm: d.norm("input_layernorm", hidden, eps),
            attention: Attention::Gqa(Gqa::declare(d.under("self_attn"), config, sizes)),
            post_attention_layernorm: d.norm("post_attention_layernorm", hidden, eps),
            ffn: match &sizes.sparse {
                Some(sparse) if sparse.is_sparse(layer) => Ffn::Moe(Moe::declare(d.under("mlp"), config, &sparse.moe)),
                _ => Ffn::Mlp(Mlp::declare(d.under("mlp"), hidden, config.intermediate_size)),
            },
        }
    });
    blocks.collect()
}
