//! `llama`: Llama 2 and 3 (Touvron et al., arXiv 2302.13971; Grattafiori et al., arXiv 2407.21783), R1-Distill-Llama.

use super::grouped::{self, Grouped};
use super::keys::Keys;
use crate::Error;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    // In transformers, either all four projections have a bias or none has.
    let bias = k.flag("attention_bias", false)?;
    let grouped = grouped::parse(k, heads.1, || grouped::shared_out(k, heads))?;
    Ok(Grouped { qkv_bias: bias, o_bias: bias, ..grouped })
}
