//! `granite`: IBM Granite 3 and 4, dense: Llama with four constant factors
//! (transformers, `modeling_granite.py`).

use super::grouped::{self, Grouped, Multipliers};
use super::keys::Keys;
use crate::Error;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    let bias = k.flag("attention_bias", false)?;
    let grouped = grouped::parse(k, heads.1, || grouped::shared_out(k, heads))?;
    // transformers' default of all four is 1.
    let factor = |key| Ok::<_, Error>(k.opt_positive(key)?.unwrap_or(1.0) as f32);
    let multipliers = Multipliers {
        embedding_multiplier: factor("embedding_multiplier")?,
        attention_multiplier: Some(factor("attention_multiplier")?),
        residual_multiplier: factor("residual_multiplier")?,
        logits_scaling: factor("logits_scaling")?,
    };
    Ok(Grouped { qkv_bias: bias, o_bias: bias, multipliers, ..grouped })
}
