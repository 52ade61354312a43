//! DeepSeek-V3, and V2 before it: MLA in all layers, dense MLPs in the first layers and experts in the others, MTP.
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2. The order of computation is in [`crate::network`] (embedding, blocks, head),
//! [`crate::block`], [`crate::mla`], [`crate::moe`] and [`crate::mtp`]; this module declares the parts of such a
//! network.

use crate::Config;
use crate::block::Block;
use crate::config::Deepseek;
use crate::declare::Declare;
use crate::mtp::Mtp;
use crate::network::Network;

/// Declares the blocks and the MTP module, in the order of the published files.
pub(crate) fn declare(d: &mut Declare, mut network: Network, config: &Config, sizes: &Deepseek) -> Network {
    for layer in 0..config.num_hidden_layers {
        let mut d = d.under(format_args!("layers.{layer}"));
        network.blocks.push(Block::declare_deepseek(&mut d, config, sizes, config.is_moe(layer)));
    }
    if config.num_nextn_predict_layers > 0 {
        let d = d.under(format_args!("layers.{}", config.num_hidden_layers));
        network.mtp = Some(Mtp::declare(d, config, sizes));
    }
    network
}
