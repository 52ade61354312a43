//! The networks that `meno bench` measures with random weights.

use anyhow::{Context, Result};
use clap::ValueEnum;
use meno_model::Config;
use serde_json::Value;

/// The networks of PyTorch's and transformers' scripts in docs/log.md, section "Training speed".
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(in crate::commands) enum Preset {
    /// Llama, 6 layers × 256, vocabulary 8192, 8 × 256 tokens
    #[value(name = "W2")]
    W2,
    /// Llama, 4 layers × 128, vocabulary 512, 16 × 128 tokens
    #[value(name = "W2t")]
    W2t,
    /// DeepSeek-V3 (MLA, MoE of 16 experts), 6 layers × 256, vocabulary 8192, 8 × 256 tokens
    #[value(name = "V3")]
    V3,
    /// The shape of Qwen2.5-0.5B, 8 × 2048 tokens: for a GPU
    #[value(name = "qwen2.5-0.5b")]
    Qwen,
    /// DeepSeek-V3 with 672 M parameters, 177 M active, 8 × 2048 tokens: for a GPU
    #[value(name = "V3-mid")]
    V3Mid,
}

impl Preset {
    /// Its name and its network.
    pub(super) fn config(self) -> Result<(String, Config)> {
        let name = self.to_possible_value().expect("invariant: no preset is skipped").get_name().to_owned();
        let config = Config::from_value(&name, self.value()?)?;
        Ok((name, config))
    }
    /// Its config.json.
    pub(in crate::commands) fn value(self) -> Result<Value> {
        serde_json::from_str(self.json()).context("the preset's config")
    }
    fn json(self) -> &'static str {
        match self {
            Preset::W2 => include_str!("presets/w2.json"),
            Preset::W2t => include_str!("presets/w2t.json"),
            Preset::V3 => include_str!("presets/v3.json"),
            Preset::Qwen => include_str!("presets/qwen2.5-0.5b.json"),
            Preset::V3Mid => include_str!("presets/v3-mid.json"),
        }
    }
    /// The number of sequences and the tokens in each.
    pub(super) fn batch(self) -> (usize, usize) {
        match self {
            Preset::W2 | Preset::V3 => (8, 256),
            Preset::W2t => (16, 128),
            Preset::Qwen | Preset::V3Mid => (8, 2048),
        }
    }
}
