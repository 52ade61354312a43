//! `qwen3`: Qwen 3 (arXiv 2505.09388), R1-0528-Qwen3-8B: no bias, every query and key head normalized, head width given
//! by `head_dim`.

use super::grouped::{self, Grouped};
use super::keys::Keys;
use crate::Error;

/// transformers' default of `head_dim`.
const HEAD_DIM: usize = 128;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    let bias = k.flag("attention_bias", false)?;
    let grouped = grouped::parse(k, heads.1, || Ok(HEAD_DIM))?;
    Ok(Grouped { qkv_bias: bias, o_bias: bias, qk_norm: true, ..grouped })
}
