//! The shape of a network, from Hugging Face's `config.json`.
//!
//! Keys keep their published names. All keys of the file are kept, so that saving also writes the keys that this
//! crate does not use. Every size is bounded and checked against the others before anything is allocated.

mod counts;
mod deepseek;
mod grouped;
mod keys;
mod moe;
mod quantization;
mod rope;

// One file per `model_type`.
mod deepseek_v2;
mod deepseek_v3;
mod granite;
mod kimi_k2;
mod llama;
mod qwen2;
mod qwen3;
mod qwen3_moe;

pub use counts::Counts;
pub use deepseek::Deepseek;
pub use grouped::{Grouped, Multipliers, SparseLayers};
pub use moe::MoeSizes;
pub use quantization::Fp8;
pub use rope::RopeScaling;

use crate::Error;
use keys::Keys;
use serde_json::{Map, Value};
use std::path::Path;

/// The supported `model_type`s; each has its own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// DeepSeek-V2 and V2-Lite (MLA, MoE with a softmax gate).
    DeepseekV2,
    /// DeepSeek-V3, V3.1, R1 and Moonlight (MLA, MoE with a sigmoid gate, MTP).
    DeepseekV3,
    /// Granite 3 and 4, dense (grouped-query attention, constant factors).
    Granite,
    /// Kimi-K2 as a text model: V3's network under another name.
    KimiK2,
    /// Llama 2 and 3 (grouped-query attention).
    Llama,
    /// Qwen 2 and 2.5 (grouped-query attention, bias of q, k, v).
    Qwen2,
    /// Qwen 3 (grouped-query attention, norm of every query and key head).
    Qwen3,
    /// Qwen 3 with a mixture of experts.
    Qwen3Moe,
}

impl ModelType {
    const ALL: [(&str, ModelType); 8] = [
        ("deepseek_v2", ModelType::DeepseekV2),
        ("deepseek_v3", ModelType::DeepseekV3),
        ("granite", ModelType::Granite),
        ("kimi_k2", ModelType::KimiK2),
        ("llama", ModelType::Llama),
        ("qwen2", ModelType::Qwen2),
        ("qwen3", ModelType::Qwen3),
        ("qwen3_moe", ModelType::Qwen3Moe),
    ];
    /// Returns the published name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|t| t.1 == self).map_or("", |t| t.0)
    }
}

/// The settings that differ between kinds of networks.
#[derive(Clone, Debug, PartialEq)]
pub enum Arch {
    /// Multi-head latent attention: `deepseek_v2`, `deepseek_v3`, `kimi_k2`.
    Deepseek(Deepseek),
    /// Grouped-query attention: `llama`, `granite`, `qwen2`, `qwen3`, `qwen3_moe`.
    Grouped(Grouped),
}

/// The shape of a network. [`Config::from_value`] and [`Config::load`] create it; [`Config::with`] changes it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub model_type: ModelType,
    pub vocab_size: usize,
    pub hidden_size: usize,
    /// Width of a dense MLP.
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub max_position_embeddings: usize,
    pub tie_word_embeddings: bool,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// Depth of the MTP module, 0 or 1 (DeepSeek-V3).
    pub num_nextn_predict_layers: usize,
    /// The storage format of the checkpoint's weights, if they are quantized.
    pub quantization: Option<Fp8>,
    pub arch: Arch,
    raw: Map<String, Value>,
}

impl Config {
    /// Reads a config.json.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let text = crate::input::read_text(path, crate::input::SMALL).map_err(Error::io(path))?;
        let value = serde_json::from_str(&text).map_err(|e| {
            let damaged = || format!("not JSON: {e}; expected the config.json of a model");
            Error::malformed(path, crate::recognize::content::instead(path).unwrap_or_else(damaged))
        })?;
        Config::from_value(&path.display().to_string(), value)
    }

    /// Reads the keys of a config; errors name `file`.
    pub fn from_value(file: &str, value: Value) -> Result<Config, Error> {
        let Value::Object(raw) = value else {
            let what = "is missing: the config is not a JSON object".to_owned();
            return Err(Error::Config { file: file.to_owned(), key: "model_type".into(), what });
        };
        let mut config = Self::parse(Keys { file, prefix: "", map: &raw })?;
        config.check(Keys { file, prefix: "", map: &raw })?;
        config.raw = raw;
        config.fill_in();
        Ok(config)
    }

    /// Writes the defaults of absent keys explicitly, because other programs have other defaults (transformers' V3
    /// takes an absent `n_group` as 8 and an absent `num_key_value_heads` as 128).
    fn fill_in(&mut self) {
        let Arch::Deepseek(d) = &self.arch else { return };
        // MLA has as many key heads as query heads; they stay equal when `with` changes one of them.
        self.raw.insert("num_key_value_heads".into(), self.num_attention_heads.into());
        let mut set = |key: &str, value: Value| {
            self.raw.entry(key).or_insert(value);
        };
        set("q_lora_rank", d.q_lora_rank.into());
        set("first_k_dense_replace", d.first_k_dense_replace.into());
        set("n_shared_experts", d.moe.n_shared_experts.into());
        set("n_group", d.moe.gate.n_group.into());
        set("topk_group", d.moe.gate.topk_group.into());
        set("norm_topk_prob", d.moe.gate.norm_topk_prob.into());
        set("num_nextn_predict_layers", self.num_nextn_predict_layers.into());
    }

    /// Returns this config with one key set (null removes it), checked again.
    pub fn with(&self, key: &str, value: impl Into<Value>) -> Result<Config, Error> {
        let mut raw = self.raw.clone();
        raw.insert(key.to_owned(), value.into());
        Config::from_value("config", Value::Object(raw))
    }

    /// Returns all keys as they were read, including unknown ones.
    pub fn to_value(&self) -> Value {
        Value::Object(self.raw.clone())
    }

    /// Returns the keys for weights that are saved unquantized.
    pub(crate) fn to_value_unquantized(&self) -> Value {
        let mut raw = self.raw.clone();
        raw.shift_remove("quantization_config");
        Value::Object(raw)
    }

    fn parse(k: Keys) -> Result<Config, Error> {
        let model_type = k.choice("model_type", None, &ModelType::ALL)?;
        k.only("hidden_act", &"silu".into(), "every published model of this family uses it")?;
        let (rope_theta, rope_scaling) = rope::parse(k)?;
        let num_attention_heads = k.size_up_to("num_attention_heads", 1 << 12)?;
        let hidden_size = k.size_up_to("hidden_size", 1 << 18)?;
        let heads = (hidden_size, num_attention_heads);
        let arch = match model_type {
            ModelType::DeepseekV2 => Arch::Deepseek(deepseek_v2::parse(k)?),
            ModelType::DeepseekV3 => Arch::Deepseek(deepseek_v3::parse(k)?),
            ModelType::Granite => Arch::Grouped(granite::parse(k, heads)?),
            ModelType::KimiK2 => Arch::Deepseek(kimi_k2::parse(k)?),
            ModelType::Llama => Arch::Grouped(llama::parse(k, heads)?),
            ModelType::Qwen2 => Arch::Grouped(qwen2::parse(k, heads)?),
            ModelType::Qwen3 => Arch::Grouped(qwen3::parse(k, heads)?),
            ModelType::Qwen3Moe => Arch::Grouped(qwen3_moe::parse(k, heads)?),
        };
        Ok(Config {
            model_type,
            vocab_size: k.size("vocab_size")?,
            hidden_size,
            intermediate_size: k.size("intermediate_size")?,
            num_hidden_layers: k.size_up_to("num_hidden_layers", 1 << 10)?,
            num_attention_heads,
            rms_norm_eps: k.positive("rms_norm_eps")? as f32,
            rope_theta,
            rope_scaling,
            max_position_embeddings: k.size_up_to("max_position_embeddings", 1 << 24)?,
            tie_word_embeddings: k.flag("tie_word_embeddings", false)?,
            initializer_range: k.opt_positive("initializer_range")?.unwrap_or(0.02) as f32,
            num_nextn_predict_layers: match arch {
                Arch::Deepseek(_) => k.count("num_nextn_predict_layers", 1)?,
                Arch::Grouped(_) => 0,
            },
            quantization: quantization::parse(k)?,
            arch,
            raw: Map::new(),
        })
    }

    /// Checks the relations between keys.
    fn check(&self, k: Keys) -> Result<(), Error> {
        match &self.arch {
            Arch::Deepseek(d) => d.check(k, self.num_hidden_layers)?,
            Arch::Grouped(g) => g.check(k, self.num_attention_heads)?,
        }
        if self.max_position_embeddings * self.rope_dim() > 1 << 28 {
            let what = format!("is {}: beyond what any model has", self.max_position_embeddings);
            return Err(k.error("max_position_embeddings", what));
        }
        let (tensors, parameters) = (self.tensor_count(), self.counts().stored());
        if tensors > 1 << 20 || parameters > 1 << 43 {
            let what = format!(
                "and the other keys give {tensors} tensors and {parameters} parameters, more than any model has; one \
                 of them is wrong"
            );
            return Err(k.error("num_hidden_layers", what));
        }
        Ok(())
    }

    /// Returns the MLA, MoE and MTP sizes, if it is a DeepSeek network.
    pub fn deepseek(&self) -> Option<&Deepseek> {
        match &self.arch {
            Arch::Deepseek(d) => Some(d),
            Arch::Grouped(_) => None,
        }
    }

    /// Returns the experts' sizes, if there are experts.
    pub fn moe(&self) -> Option<&MoeSizes> {
        match &self.arch {
            Arch::Deepseek(d) => Some(&d.moe),
            Arch::Grouped(g) => g.sparse.as_ref().map(|s| &s.moe),
        }
    }

    /// Returns true if layer `layer` has experts. The MTP module, which follows the last layer, always does.
    pub fn is_moe(&self, layer: usize) -> bool {
        match &self.arch {
            Arch::Deepseek(d) => layer >= d.first_k_dense_replace,
            Arch::Grouped(g) => g.sparse.as_ref().is_some_and(|s| s.is_sparse(layer)),
        }
    }

    /// Returns the number of coordinates of a head that are rotated by position.
    pub fn rope_dim(&self) -> usize {
        match &self.arch {
            Arch::Deepseek(d) => d.qk_rope_head_dim,
            Arch::Grouped(g) => g.head_dim,
        }
    }

    /// Returns the rotary frequencies of this network.
    pub fn rope_frequencies(&self) -> Vec<f64> {
        self.rope_scaling.frequencies(self.rope_theta, self.rope_dim())
    }

    /// Returns the width of a query and key head.
    pub fn qk_head_dim(&self) -> usize {
        match &self.arch {
            Arch::Deepseek(d) => d.qk_nope_head_dim + d.qk_rope_head_dim,
            Arch::Grouped(g) => g.head_dim,
        }
    }

    /// Returns the constant factors of the network.
    pub fn multipliers(&self) -> Multipliers {
        match &self.arch {
            Arch::Deepseek(_) => Multipliers::default(),
            Arch::Grouped(g) => g.multipliers,
        }
    }

    /// Returns the epsilon of the norms of the residual stream.
    ///
    /// The stream holds x / m, where m is `residual_multiplier`: x + m·f(norm(x)) becomes x/m + f(norm(x)), so blocks
    /// add without a factor. A norm does not see the division if its epsilon is divided by m².
    pub fn residual_eps(&self) -> f32 {
        self.rms_norm_eps / self.multipliers().residual_multiplier.powi(2)
    }

    /// Returns the factor of the scores: `attention_multiplier` if the network has one, otherwise (width of a
    /// head)^-1/2, times mscale² if YaRN requires it (spec §1.4).
    pub fn softmax_scale(&self) -> f32 {
        if let Some(scale) = self.multipliers().attention_multiplier {
            return scale;
        }
        let mscale = match self.arch {
            Arch::Deepseek(_) => self.rope_scaling.softmax_mscale(),
            Arch::Grouped(_) => 1.0,
        };
        ((self.qk_head_dim() as f64).powf(-0.5) * mscale * mscale) as f32
    }
}

#[cfg(test)]
mod tests;
