//! `qwen3`: Qwen 3 (arXiv 2505.09388), R1-0528-Qwen3-8B: no bias, every head of queries and keys normed, heads as wide
//! as `head_dim` says.

use super::grouped::{self, Grouped};
use super::keys::Keys;
use crate::Error;

/// transformers' width of a head where the key is absent.
const HEAD_DIM: usize = 128;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    let bias = k.flag("attention_bias", false)?;
    let grouped = grouped::parse(k, heads.1, || Ok(HEAD_DIM))?;
    Ok(Grouped { qkv_bias: bias, o_bias: bias, qk_norm: true, ..grouped })
}
