//! The arguments of a model that answers, shared by `generate`, `chat` and `serve`.

use crate::arguments::{DeviceArg, ModelName, Threads, min_p, size, temperature, token_count, top_p, whole};
use crate::open;
use crate::progress::Work;
use anyhow::{Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use meno_engine::{GeneratorConfig, Sampling, Session, Speculative, TextModel};
use meno_model::{LoadOptions, LoadPrecision, Model};
use meno_tensor::device::Device;
use meno_tensor::kv_cache::KvType;
use meno_tensor::precision::Precision;
use std::path::Path;

/// Which model, and how it is run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ModelArgs {
    /// Which model.
    #[command(flatten)]
    pub name: ModelName,
    /// Number format of the matrix products (auto: bf16 for matrices that are not quantized)
    #[arg(long, value_parser = load_precision(), default_value = "auto", value_name = "TYPE")]
    pub precision: LoadPrecision,
    /// Which device.
    #[command(flatten)]
    pub device: DeviceArg,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Context length: maximum number of tokens in prompt and answer, e.g. 8192 or 8k [default: the model's, at most
    /// 8k]
    #[arg(long, value_name = "TOKENS", value_parser = size)]
    pub context: Option<usize>,
    /// Speculative decoding: propose tokens ahead and keep the ones that the model confirms; the answers stay the same
    #[arg(long, value_enum, default_value = "off", value_name = "METHOD")]
    pub speculative: SpeculativeArg,
    /// Number format of the KV cache
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    pub kv_type: KvTypeArg,
}

/// Number format of the KV cache.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvTypeArg {
    /// 32-bit floats
    F32,
    /// bfloat16: half the memory
    Bf16,
    /// 8-bit integers with scales: about a quarter of the memory
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<KvTypeArg> for KvType {
    fn from(t: KvTypeArg) -> KvType {
        match t {
            KvTypeArg::F32 => KvType::F32,
            KvTypeArg::Bf16 => KvType::Bf16,
            KvTypeArg::Q8_0 => KvType::Q8_0,
        }
    }
}

/// How tokens are proposed ahead.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeculativeArg {
    /// No speculative decoding
    Off,
    /// Propose what followed the last occurrence of the same tokens
    Ngram,
    /// Propose with the model's multi-token prediction module
    Mtp,
}

impl From<SpeculativeArg> for Speculative {
    fn from(s: SpeculativeArg) -> Speculative {
        match s {
            SpeculativeArg::Off => Speculative::Off,
            SpeculativeArg::Ngram => Speculative::Ngram,
            SpeculativeArg::Mtp => Speculative::Mtp,
        }
    }
}

/// Parses `auto`, `f32` or `bf16`.
pub(crate) fn load_precision() -> impl TypedValueParser<Value = LoadPrecision> {
    let auto = "Keep the quantized matrices of a GGUF file and multiply them with 8-bit activations (on a GPU in \
                bf16, also those in FP8); use bf16 (chat, generate, serve, every command on a GPU) or f32 (other \
                commands) for all others";
    PossibleValuesParser::new([
        PossibleValue::new("auto").help(auto),
        PossibleValue::new("f32").help("32-bit floats; quantized matrices are dequantized"),
        PossibleValue::new("bf16").help("bfloat16 inputs and 32-bit sums; quantized matrices are dequantized"),
    ])
    .try_map(|name| name.parse())
}

/// Loads a network; returns it with the precision of its products.
pub(crate) fn load(path: &Path, precision: LoadPrecision, device: Device) -> Result<(Model, Precision)> {
    let (options, precision) = precision.resolve(device.default_precision());
    let options = LoadOptions { device, ..options };
    let work = Work::loading(path);
    let model = Model::load_with(path, options, &mut |read, of| work.set(read as u64, of as u64))?;
    Ok((model, precision))
}

/// How tokens are chosen.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SamplingArgs {
    /// Sampling temperature; 0 always takes the most likely token [default: from the model's generation_config.json,
    /// else 0.6]
    #[arg(long, value_name = "X", value_parser = temperature)]
    pub temperature: Option<f32>,
    /// Sample from the most likely tokens whose probabilities add up to this [default: the model's, else 0.95]
    #[arg(long, value_name = "P", value_parser = top_p)]
    pub top_p: Option<f32>,
    /// Sample from this many of the most likely tokens; 0 for all [default: the model's, else 0]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub top_k: Option<usize>,
    /// Drop tokens less likely than this fraction of the most likely one [default: the model's, else 0]
    #[arg(long, value_name = "P", value_parser = min_p)]
    pub min_p: Option<f32>,
    /// Maximum number of tokens in an answer, e.g. 512 or 4k [default: up to the context length]
    #[arg(long, value_name = "TOKENS", value_parser = token_count)]
    pub max_tokens: Option<usize>,
    /// Stop before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// The sampling settings for a model; its own recommendations replace omitted ones.
    pub(crate) fn sampling(&self, text: &TextModel) -> Sampling {
        let own = text.sampling();
        Sampling {
            temperature: self.temperature.unwrap_or(own.temperature),
            top_p: self.top_p.unwrap_or(own.top_p),
            top_k: self.top_k.unwrap_or(own.top_k),
            min_p: self.min_p.unwrap_or(own.min_p),
            max_tokens: self.max_tokens.unwrap_or(own.max_tokens),
            ..own
        }
    }

    /// The settings as fields of a server request. Settings that are not given are left to the server, which
    /// knows its model's defaults.
    pub(crate) fn request(&self) -> serde_json::Value {
        let mut request = serde_json::json!({});
        for (key, value) in [("temperature", self.temperature), ("top_p", self.top_p), ("min_p", self.min_p)] {
            if let Some(value) = value {
                request[key] = value.into();
            }
        }
        if let Some(top_k) = self.top_k {
            request["top_k"] = top_k.into();
        }
        if let Some(max_tokens) = self.max_tokens {
            request["max_tokens"] = max_tokens.into();
        }
        if !self.stop.is_empty() {
            request["stop"] = self.stop.clone().into();
        }
        request
    }
}

impl ModelArgs {
    /// Loads the model at `path`, or from the hub if `path` is a hub name; returns it with the context
    /// length. `on_read` receives the number of values read so far and the total.
    pub(crate) fn load(&self, path: &Path, on_read: &mut dyn FnMut(usize, usize)) -> Result<(TextModel, usize)> {
        let path = open::locate(path)?;
        let (options, precision) = self.precision.resolve(Precision::Bf16);
        let options = LoadOptions { device: self.device.device, ..options };
        let work = Work::loading(&path);
        let text = TextModel::load_with(&path, options, precision, &mut |read, of| {
            work.set(read as u64, of as u64);
            on_read(read, of);
        })?;
        drop(work);
        let own = text.model.config.max_position_embeddings;
        let context = self.context.unwrap_or(text.default_context());
        ensure!(
            context >= 2,
            "--context {context}: at least 2 tokens are needed, one of the prompt and one of the answer"
        );
        ensure!(context <= own, "--context {context}: the model supports at most {own} tokens");
        Ok((text, context))
    }

    /// Creates a session with the model at `path` for `slots` concurrent answers.
    pub(crate) fn session(&self, path: &Path, slots: usize) -> Result<Session> {
        let (text, context) = self.load(path, &mut |_, _| {})?;
        let config = self.generator_config(&text, slots, context);
        Ok(text.session_with(config)?)
    }

    /// The generator's settings for `slots` concurrent answers of at most `context` tokens.
    pub(crate) fn generator_config(&self, text: &TextModel, slots: usize, context: usize) -> GeneratorConfig {
        let (kv_type, speculative) = (self.kv_type.into(), self.speculative.into());
        GeneratorConfig { kv_type, speculative, ..text.generator_config(slots, context) }
    }
}
