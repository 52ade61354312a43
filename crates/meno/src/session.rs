//! A model with all that text needs: what `generate`, `chat` and `serve` share.

use crate::hub;
use crate::progress::Work;
use anyhow::{Context, Result, bail, ensure};
use meno_engine::reasoning::{Piece, Split};
use meno_engine::taught::Taught;
use meno_engine::{
    Capacity, ChatTemplate, Completion, Error, Flow, GenerationConfig, Generator, Message, Options, Request, Sampling,
    Speculative, TextStream, Tokenizer,
};
use meno_model::Model;
use meno_tensor::gemm::Precision;
use meno_tensor::kv_cache::KvType;
use std::path::{Path, PathBuf};

/// Rows of one step: prompts are run in chunks of this.
const ROWS: usize = 256;

/// Which model, and how it is run.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// Model: a Hugging Face directory, a GGUF file, or ORG/NAME:QUANT of the hub
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// What matrix products compute on
    #[arg(long, value_enum, default_value = "auto")]
    pub precision: PrecisionArg,
    /// Threads (default: all cores)
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most tokens of prompt and answer together (default: the model's, at most 8192)
    #[arg(long, value_name = "TOKENS")]
    pub context: Option<usize>,
    /// Guess tokens ahead: the same answers, sooner where the guesses are right
    #[arg(long, value_enum, default_value = "off", value_name = "WAY")]
    pub speculative: SpeculativeArg,
    /// How the cache stores keys and values
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    pub kv_type: KvTypeArg,
}

/// How the cache stores keys and values.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvTypeArg {
    /// 32-bit floats
    F32,
    /// bfloat16, half the memory
    Bf16,
    /// 8 bits and scales, a quarter of the memory
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

/// Who guesses tokens ahead.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeculativeArg {
    /// Nobody
    Off,
    /// What followed the last time that the same words were said
    Ngram,
    /// The model's multi-token prediction module
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

/// What matrix products compute on.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionArg {
    /// Quantised matrices of a GGUF file as they are, with 8-bit activations: small and fast; the rest as suits the
    /// command, bf16 to generate and f32 to measure
    Auto,
    /// 32-bit floats: what is quantised is dequantised
    F32,
    /// bfloat16 inputs, 32-bit sums: what is quantised is dequantised
    Bf16,
}

impl PrecisionArg {
    /// Loads a model to compute so; matrices that are not quantised are multiplied in `others` by default.
    pub fn load(self, path: &Path, others: Precision) -> Result<(Model, Precision)> {
        self.load_watched(path, others, &mut |_, _| {})
    }

    /// As [`PrecisionArg::load`]; `on_read` is told how many values of how many have been read.
    pub fn load_watched(
        self,
        path: &Path,
        others: Precision,
        on_read: &mut dyn FnMut(usize, usize),
    ) -> Result<(Model, Precision)> {
        let (quantised, precision) = match self {
            PrecisionArg::Auto => (true, others),
            PrecisionArg::F32 => (false, Precision::F32),
            PrecisionArg::Bf16 => (false, Precision::Bf16),
        };
        let work = Work::loading(path);
        let model = Model::load_watched(path, quantised, &mut |read, of| {
            work.set(read as u64, of as u64);
            on_read(read, of);
        });
        Ok((model.with_context(|| format!("cannot load {}", path.display()))?, precision))
    }
}

/// How tokens are chosen.
#[derive(clap::Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Logits are divided by this; 0 takes the most likely token (default: the model's generation_config.json, else
    /// 0.6)
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Keep the most likely tokens that together have this probability (default: the model's, else 0.95)
    #[arg(long)]
    pub top_p: Option<f32>,
    /// Keep this many of the most likely tokens; 0 keeps all (default: the model's, else 0)
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Keep tokens at least this fraction as likely as the most likely (default: the model's, else 0)
    #[arg(long)]
    pub min_p: Option<f32>,
    /// Most tokens of an answer (default: what the context holds)
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// End the answer before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// As the engine takes it, with a model's own settings for what is not given.
    pub fn sampling(&self, tokenizer: &Tokenizer, model: &GenerationConfig) -> Sampling {
        let (model, none) = (model.or_default(), Sampling::default());
        Sampling {
            temperature: self.temperature.or(model.temperature).unwrap_or(none.temperature),
            top_p: self.top_p.or(model.top_p).unwrap_or(none.top_p),
            top_k: self.top_k.or(model.top_k).unwrap_or(none.top_k),
            min_p: self.min_p.or(model.min_p).unwrap_or(none.min_p),
            repetition_penalty: model.repetition_penalty.unwrap_or(none.repetition_penalty),
            max_tokens: self.max_tokens.unwrap_or(usize::MAX),
            stop_tokens: tokenizer.eos(),
            vocab_size: tokenizer.id_bound(),
            ..Sampling::default()
        }
    }
}

impl SamplingArgs {
    /// As a server takes it; what is not given is left to the server, which knows its model's settings.
    pub fn request(&self) -> serde_json::Value {
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
    /// How the generator runs, apart from its capacity.
    pub fn generation(&self) -> Options {
        Options { kv_type: self.kv_type.into(), speculative: self.speculative.into(), ..Options::default() }
    }

    /// Runs `f` with the threads asked for.
    pub fn with_threads<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Result<R> {
        match self.threads {
            None => Ok(f()),
            Some(0) => bail!("--threads 0: at least one thread is needed"),
            Some(n) => Ok(meno_tensor::pool::with_threads(n, f)),
        }
    }
}

/// A model with its text, read from a directory or file.
pub struct Loaded {
    /// What to call it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The network.
    pub model: Model,
    /// Input type of its matrix products.
    pub precision: Precision,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// How its makers want it sampled.
    pub generation: GenerationConfig,
    /// What it was taught, if it is a model of few tasks.
    pub taught: Option<Taught>,
    /// Most tokens of prompt and answer together.
    pub max_len: usize,
}

impl Loaded {
    /// Reads the model at `path`, from the hub if it is a name there.
    pub fn open(path: &Path, args: &ModelArgs) -> Result<Loaded> {
        Loaded::open_watched(path, args, &mut |_, _| {})
    }

    /// As [`Loaded::open`]; `on_read` is told how many values of how many have been read.
    pub fn open_watched(path: &Path, args: &ModelArgs, on_read: &mut dyn FnMut(usize, usize)) -> Result<Loaded> {
        let path = hub::locate(path)?;
        let tokenizer = Tokenizer::load(&path)?;
        let template = ChatTemplate::load(&path, tokenizer.special())?;
        let generation = GenerationConfig::load(&path)?;
        let taught = if path.is_dir() { Taught::load(&path)? } else { None };
        let (model, precision) = args.precision.load_watched(&path, Precision::Bf16, on_read)?;
        let own = model.config.max_position_embeddings;
        let max_len = args.context.unwrap_or(own.min(8192));
        ensure!(max_len <= own, "--context {max_len}: the model was made for at most {own} tokens");
        let name = name_of(&path);
        Ok(Loaded { name, model, precision, tokenizer, template, generation, taught, max_len, path })
    }

    /// What it takes to write `slots` answers at once.
    pub fn capacity(&self, slots: usize) -> Capacity {
        Capacity { slots, max_len: self.max_len, rows: ROWS.max(slots), absorbed: false }
    }
}

/// A model ready to answer.
pub struct Session {
    /// What to call it.
    pub name: String,
    /// The network.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// How its makers want it sampled.
    pub generation: GenerationConfig,
    /// What it was taught, if it is a model of few tasks.
    pub taught: Option<Taught>,
    /// Runs it.
    pub generator: Generator,
    precision: Precision,
}

/// One answer, with its text.
pub struct Answer {
    /// Tokens, log-probabilities, why it ended.
    pub completion: Completion,
    /// Thought and answer; text after a stop string cut off.
    pub split: Split,
}

impl Session {
    /// Loads the model at `path` for `slots` answers at once.
    pub fn open(path: &Path, args: &ModelArgs, slots: usize) -> Result<Session> {
        let loaded = Loaded::open(path, args)?;
        let generator = Generator::with_options(&loaded.model, loaded.capacity(slots), args.generation())?;
        let Loaded { name, model, precision, tokenizer, template, generation, taught, .. } = loaded;
        Ok(Session { name, model, tokenizer, template, generation, taught, generator, precision })
    }

    /// The prompt of a conversation: through the template, or, where there is none, the texts one after the other.
    pub fn prompt(&self, messages: &[Message]) -> Result<String> {
        match &self.template {
            Some(template) => Ok(template.render(messages, true, &Default::default())?),
            None => Ok(messages.iter().filter_map(|m| m.content.as_str()).collect()),
        }
    }

    /// The tokens of a prompt. A template writes all special tokens itself.
    pub fn encode(&self, prompt: &str, templated: bool) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(prompt, !templated)?;
        if ids.is_empty() {
            ids.extend(self.tokenizer.bos());
        }
        ensure!(!ids.is_empty(), "the prompt is empty; give at least one character");
        Ok(ids)
    }

    /// Answers one request of `n` samples. `on_piece` sees the text of sample 0 as it comes, with the tokens so far.
    pub fn answer(
        &mut self,
        prompt: &str,
        request: Request,
        stops: &[String],
        on_piece: &mut dyn FnMut(Piece, usize),
    ) -> Result<Vec<Answer>, Error> {
        let new_stream = || TextStream::new(&self.tokenizer, prompt, stops);
        let mut streams: Vec<TextStream<'_>> = (0..request.n).map(|_| new_stream()).collect();
        let completions = self.generator.generate(&mut self.model, self.precision, &[request], &mut |event| {
            let stream = &mut streams[event.sample];
            for piece in stream.push(event.token) {
                if event.sample == 0 {
                    on_piece(piece, event.index + 1);
                }
            }
            if stream.stopped() { Flow::Stop } else { Flow::Continue }
        })?;
        let mut answers = Vec::new();
        for (completion, stream) in completions.into_iter().zip(streams) {
            let (pieces, split) = stream.finish();
            for piece in pieces {
                if completion.sample == 0 {
                    on_piece(piece, completion.tokens.len());
                }
            }
            answers.push(Answer { completion, split });
        }
        Ok(answers)
    }
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = |p: &Path| p.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match (path.is_dir(), path.parent()) {
        (true, Some(parent)) if path.file_name().is_some_and(|n| n.len() < 8) => {
            format!("{}/{}", name(parent), name(&path))
        }
        _ => name(&path),
    }
}

/// The model of the newest finished `meno replicate`: `runs/*/r1`.
pub fn newest_run() -> Result<PathBuf> {
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("runs").into_iter().flatten().flatten() {
        let dir = entry.path().join("r1");
        if let Ok(meta) = std::fs::metadata(dir.join("config.json")) {
            found.push((meta.modified().unwrap_or(std::time::UNIX_EPOCH), dir));
        }
    }
    found.into_iter().max().map(|f| f.1).context(
        "no model given, and there is no runs/*/r1 here: make one with `meno replicate` (minutes), or name a model \
         with -m",
    )
}
