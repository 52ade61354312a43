//! `rope_theta` and `rope_scaling` (transformers 5 writes both into `rope_parameters`).

use super::keys::Keys;
use crate::Error;
use meno_tensor::ops::rope::{Llama3, Yarn, frequencies, yarn_mscale};
use serde_json::Value;

/// How rotary angles are scaled for contexts longer than the original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// No scaling.
    None,
    /// Positions are divided by the factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1's scaling.
    Llama3(Llama3),
    /// YaRN (Peng et al., arXiv 2309.00071) with DeepSeek's magnitudes.
    Yarn {
        /// The frequencies.
        yarn: Yarn,
        /// cos and sin are multiplied by mscale(mscale) / mscale(mscale_all_dim) …
        mscale: f64,
        /// … and the softmax scale by mscale(mscale_all_dim)².
        mscale_all_dim: f64,
        /// Replaces the factor of cos and sin.
        attention_factor: Option<f64>,
    },
}

impl RopeScaling {
    /// Returns the frequencies, one per rotated pair.
    pub fn frequencies(&self, theta: f64, dim: usize) -> Vec<f64> {
        match self {
            RopeScaling::None => frequencies(theta, dim),
            RopeScaling::Linear { factor } => frequencies(theta, dim).into_iter().map(|f| f / factor).collect(),
            RopeScaling::Llama3(llama3) => llama3.frequencies(theta, dim),
            RopeScaling::Yarn { yarn, .. } => yarn.frequencies(theta, dim),
        }
    }

    /// Returns the factor of cos and sin. If neither mscale is given, it is YaRN's own, 0.1 ln s + 1.
    pub fn magnitude(&self) -> f64 {
        match *self {
            RopeScaling::Yarn { attention_factor: Some(factor), .. } => factor,
            RopeScaling::Yarn { yarn, mscale, mscale_all_dim, .. } if mscale != 0.0 && mscale_all_dim != 0.0 => {
                yarn_mscale(yarn.factor, mscale) / yarn_mscale(yarn.factor, mscale_all_dim)
            }
            RopeScaling::Yarn { yarn, .. } => yarn_mscale(yarn.factor, 1.0),
            _ => 1.0,
        }
    }

    /// Returns the factor that MLA applies twice to its softmax scale.
    pub(super) fn softmax_mscale(&self) -> f64 {
        match *self {
            RopeScaling::Yarn { yarn, mscale_all_dim, .. } if mscale_all_dim != 0.0 => {
                yarn_mscale(yarn.factor, mscale_all_dim)
            }
            _ => 1.0,
        }
    }
}

/// Parses theta and scaling.
pub(super) fn parse(k: Keys) -> Result<(f64, RopeScaling), Error> {
    let object = |key| match k.get(key) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(value) => Err(k.error(key, format!("is {value}: expected an object or null"))),
    };
    let parameters = object("rope_parameters")?.map(|map| Keys { prefix: "rope_parameters.", map, ..k });
    let scaling = object("rope_scaling")?.map(|map| Keys { prefix: "rope_scaling.", map, ..k });
    let theta = match parameters {
        Some(p) if p.get("rope_theta").is_some() => p.opt_positive("rope_theta")?,
        _ => k.opt_positive("rope_theta")?,
    };
    let theta = theta.unwrap_or(10_000.0);
    if theta <= 1.0 {
        return Err(k.error("rope_theta", format!("is {theta}: expected a number above 1, usually 10000")));
    }
    let rule = match parameters.or(scaling) {
        Some(s) => parse_scaling(s, k)?,
        None => RopeScaling::None,
    };
    Ok((theta, rule))
}

fn parse_scaling(s: Keys, config: Keys) -> Result<RopeScaling, Error> {
    let key = if s.get("rope_type").is_some() { "rope_type" } else { "type" };
    let kinds = [("default", 0), ("linear", 1), ("llama3", 2), ("yarn", 3)];
    let at_least_one = |key| s.opt_number(key, "a number, 1 or above", |x| x >= 1.0);
    let factor = || at_least_one("factor")?.ok_or_else(|| s.error("factor", "is missing: expected a number above 1"));
    // Some configs omit it; `max_position_embeddings` is then the context length before scaling.
    let original = || match s.opt_positive("original_max_position_embeddings")? {
        Some(x) => Ok(x),
        None => config.positive("max_position_embeddings"),
    };
    Ok(match s.choice(key, Some(0), &kinds)? {
        0 => RopeScaling::None,
        1 => RopeScaling::Linear { factor: factor()? },
        2 => {
            let (low, high) = (s.positive("low_freq_factor")?, s.positive("high_freq_factor")?);
            if low >= high {
                return Err(s.error("low_freq_factor", format!("is {low}: must be below high_freq_factor {high}")));
            }
            RopeScaling::Llama3(Llama3 {
                factor: factor()?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original()?,
            })
        }
        _ => {
            let number = |key| s.opt_number(key, "a number, 0 or above", |x| x >= 0.0);
            let factor = factor()?;
            // `attn_factor` multiplies YaRN's own magnitude, as in vLLM; in R1-0528-Qwen3-8B the product is 1.
            let attn_factor = s.opt_positive("attn_factor")?.map(|x| x * yarn_mscale(factor, 1.0));
            RopeScaling::Yarn {
                yarn: Yarn {
                    factor,
                    original_max_position_embeddings: original()?,
                    beta_fast: s.opt_positive("beta_fast")?.unwrap_or(32.0),
                    beta_slow: s.opt_positive("beta_slow")?.unwrap_or(1.0),
                },
                mscale: number("mscale")?.unwrap_or(0.0),
                mscale_all_dim: number("mscale_all_dim")?.unwrap_or(0.0),
                attention_factor: s.opt_positive("attention_factor")?.or(attn_factor),
            }
        }
    })
}
