//! `qwen2`: Qwen 2 and 2.5 (arXiv 2407.10671, 2412.15115), R1-Distill-Qwen: Llama with a bias of q, k and v.

use super::grouped::{self, Grouped};
use super::keys::Keys;
use crate::Error;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    // transformers always uses the bias of q, k and v, ignores `attention_bias`, and never uses a bias of o.
    k.flag("attention_bias", true)?;
    let grouped = grouped::parse(k, heads.1, || grouped::shared_out(k, heads))?;
    Ok(Grouped { qkv_bias: true, ..grouped })
}
