//! The served model without its network: its name, tokenizer, chat template and default settings.

use crate::error::{ApiError, shorten};
use crate::generation_fields::SamplingFields;
use crate::prompt::Prompt;
use crate::structured::Grammars;
use crate::thinking::ThinkingTokens;
use crate::tools::ToolSupport;
use crate::types::now;
use meno_engine::reasoning::OPEN;
use meno_engine::task_profile::TaskProfile;
use meno_engine::tokenizer::TokenBytes;
use meno_engine::{ChatTemplate, Error, GenerationConfig, Pooling, Sampling, TextModel, Tokenizer};
use meno_model::Model;
use std::sync::{Arc, OnceLock};

/// Longest text that is tokenized: this many bytes per token of the context, within the two bounds below. Tokenizing
/// needs a few hundred times the memory of the text.
const MAX_BYTES_PER_TOKEN: usize = 64;
const LEAST_BYTES: usize = 64 << 10;
const MOST_BYTES: usize = 4 << 20;

/// Sampling settings for requests that set none; `None`: no setting of the model.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // as in `SamplingFields`
pub struct SamplingDefaults {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
}

/// The served model.
#[derive(Debug)]
pub struct ServedModel {
    /// Its name in the API.
    pub name: String,
    /// Other names that requests may use.
    pub aliases: Vec<String>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template.
    pub template: Option<ChatTemplate>,
    /// The tasks it was trained on, for a model that knows only a few tasks.
    pub task_profile: Option<TaskProfile>,
    /// How its chat template handles tools.
    pub tools: ToolSupport,
    /// True if it thinks by default.
    pub thinks: bool,
    /// The tokens that delimit its thinking.
    pub thinking_tokens: Arc<ThinkingTokens>,
    /// The grammar compiler for its vocabulary.
    pub grammars: Grammars,
    /// Maximum number of tokens of prompt and answer together.
    pub context: usize,
    /// Size of its vocabulary; the network may have more outputs.
    pub vocab_size: usize,
    /// Sampling settings for requests that set none.
    pub defaults: SamplingDefaults,
    /// How to pool hidden states into an embedding, for requests that do not say.
    pub pooling: Pooling,
    /// When it was loaded, in seconds since 1970-01-01 (Unix time).
    pub created: u64,
    token_bytes: OnceLock<Vec<TokenBytes>>,
}

impl ServedModel {
    /// Creates a model from its parts. `context` is the maximum length in tokens.
    pub fn new(
        name: String,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        context: usize,
        vocab_size: usize,
    ) -> Result<ServedModel, Error> {
        let tokenizer = Arc::new(tokenizer);
        let none = GenerationConfig::default().or_default();
        let source = template.as_ref().map(ChatTemplate::source).unwrap_or_default();
        Ok(ServedModel {
            name,
            aliases: Vec::new(),
            tools: ToolSupport::probe(template.as_ref(), &tokenizer),
            thinks: tokenizer.token_to_id(OPEN).is_some() || source.contains(OPEN),
            thinking_tokens: Arc::new(ThinkingTokens::new(tokenizer.clone())?),
            grammars: Grammars::new(tokenizer.clone()),
            tokenizer,
            template,
            task_profile: None,
            context,
            vocab_size,
            defaults: SamplingDefaults { temperature: none.temperature, top_p: none.top_p, ..Default::default() },
            pooling: Pooling::Last,
            created: now(),
            token_bytes: OnceLock::new(),
        })
    }

    /// Splits a model with its text into the served model and the network, for a context of `context` tokens.
    pub fn split(text: TextModel, context: usize) -> Result<(ServedModel, Model), Error> {
        let TextModel { name, model, tokenizer, template, generation, task_profile, .. } = text;
        let served = ServedModel::new(name, tokenizer, template, context, model.config.vocab_size)?;
        Ok((ServedModel { task_profile, ..served.with_generation_config(&generation) }, model))
    }

    /// Uses the sampling defaults of the model's `generation_config.json`.
    pub fn with_generation_config(mut self, config: &GenerationConfig) -> ServedModel {
        let d = &mut self.defaults;
        d.temperature = config.temperature.or(d.temperature);
        d.top_p = config.top_p.or(d.top_p);
        d.min_p = config.min_p.or(d.min_p);
        d.top_k = config.top_k.map(|k| k as i64).or(d.top_k);
        d.repetition_penalty = config.repetition_penalty.or(d.repetition_penalty);
        self
    }

    /// All names of the model.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }

    /// Rejects a request for another model.
    pub fn check_name(&self, model: Option<&str>) -> Result<(), ApiError> {
        match model {
            None | Some("" | "default") => Ok(()),
            Some(name) if self.names().any(|known| name == known) => Ok(()),
            Some(other) => Err(ApiError::no_model(other, &self.name)),
        }
    }

    /// Tokenizes a text that must fit into the context. `add_special` is false for the output of a chat template, which
    /// already contains all special tokens.
    pub fn encode(&self, text: String, add_special: bool) -> Result<Prompt, ApiError> {
        self.check_length(&text)?;
        let mut tokens = self.tokenizer.encode(&text, add_special)?;
        if tokens.is_empty() {
            tokens.extend(self.tokenizer.bos());
        }
        self.check_prompt(&tokens)?;
        Ok(Prompt { text, tokens })
    }

    /// Maximum number of bytes of a text that is tokenized.
    pub fn most_bytes(&self) -> usize {
        self.context.saturating_mul(MAX_BYTES_PER_TOKEN).clamp(LEAST_BYTES, MOST_BYTES)
    }

    /// Rejects a text that is too long to be tokenized.
    pub fn check_length(&self, text: &str) -> Result<(), ApiError> {
        if text.len() <= self.most_bytes() {
            return Ok(());
        }
        let (bytes, most, context) = (text.len(), self.most_bytes(), self.context);
        let message = format!(
            "This model's maximum context length is {context} tokens. However, you requested a prompt of {bytes} \
             bytes; at most {most} are accepted. Please reduce the length of the messages."
        );
        Err(ApiError::too_long(message))
    }

    /// Rejects a prompt that is empty, has unknown tokens, or leaves no room for an answer.
    pub fn check_prompt(&self, tokens: &[u32]) -> Result<(), ApiError> {
        if tokens.is_empty() {
            return Err(ApiError::invalid("prompt", "The prompt is empty; it needs at least one token."));
        }
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= self.vocab_size) {
            let message = format!("Token {token} is outside the vocabulary of {}.", self.vocab_size);
            return Err(ApiError::invalid("prompt", message));
        }
        if tokens.len() >= self.context {
            return Err(Error::PromptTooLong { prompt: tokens.len(), context: self.context }.into());
        }
        Ok(())
    }

    /// The bytes of every token, by id.
    pub fn token_bytes(&self) -> &[TokenBytes] {
        self.token_bytes.get_or_init(|| self.tokenizer.token_bytes())
    }

    /// Returns the sampling settings of a request; fields that it does not set have the model's defaults.
    pub fn sampling(&self, fields: &SamplingFields, top_logprobs: Option<usize>) -> Result<Sampling, ApiError> {
        let d = &self.defaults;
        let repetition_penalty = fields.repetition_penalty.or(fields.repeat_penalty);
        let top_k = fields.top_k.or(d.top_k).unwrap_or(0);
        if top_k < -1 {
            return Err(ApiError::invalid(
                "top_k",
                format!("top_k is {top_k}; expected a number of tokens, or 0 for all"),
            ));
        }
        let none = Sampling::default();
        let sampling = Sampling {
            temperature: fields.temperature.or(d.temperature).unwrap_or(none.temperature),
            top_p: fields.top_p.or(d.top_p).unwrap_or(none.top_p),
            top_k: top_k.max(0) as usize,
            min_p: fields.min_p.or(d.min_p).unwrap_or(none.min_p),
            max_tokens: fields.limit().unwrap_or(usize::MAX),
            stop_tokens: self.stop_tokens(fields)?,
            vocab_size: self.tokenizer.id_bound(),
            logit_bias: self.logit_bias(fields)?,
            presence_penalty: fields.presence_penalty.unwrap_or(none.presence_penalty),
            frequency_penalty: fields.frequency_penalty.unwrap_or(none.frequency_penalty),
            repetition_penalty: repetition_penalty.or(d.repetition_penalty).unwrap_or(none.repetition_penalty),
            top_logprobs,
        };
        for (name, value) in
            [("presence_penalty", sampling.presence_penalty), ("frequency_penalty", sampling.frequency_penalty)]
        {
            if !(-2.0..=2.0).contains(&value) {
                return Err(ApiError::invalid(name, format!("{name} is {value}; expected −2 to 2")));
            }
        }
        sampling.check().map_err(|message| {
            let param = message.split(' ').next().unwrap_or_default().to_owned();
            ApiError::invalid(&param, message)
        })?;
        Ok(sampling)
    }

    /// The tokens that end an answer.
    fn stop_tokens(&self, fields: &SamplingFields) -> Result<Vec<u32>, ApiError> {
        let ids = fields.stop_token_ids.as_deref().unwrap_or_default();
        if let Some(token) = ids.iter().find(|&&t| t as usize >= self.vocab_size) {
            let message = format!("stop_token_ids: {token} is not the id of a token (0 to {})", self.vocab_size - 1);
            return Err(ApiError::invalid("stop_token_ids", message));
        }
        let mut stops = if fields.ignore_eos == Some(true) { Vec::new() } else { self.tokenizer.eos() };
        stops.extend(ids);
        Ok(stops)
    }

    fn logit_bias(&self, fields: &SamplingFields) -> Result<Vec<(u32, f32)>, ApiError> {
        let entries = fields.logit_bias.iter().flatten();
        let read = |(token, &bias): (&String, &f32)| {
            let id = token.parse::<u32>().ok().filter(|&id| (id as usize) < self.vocab_size);
            match id {
                Some(id) if (-100.0..=100.0).contains(&bias) => Ok((id, bias)),
                Some(_) => Err(format!("logit_bias of token {} is {bias}; expected −100 to 100", shorten(token))),
                None => Err(format!(
                    "logit_bias: {:?} is not the id of a token (0 to {})",
                    shorten(token),
                    self.vocab_size - 1
                )),
            }
        };
        entries.map(read).collect::<Result<_, _>>().map_err(|message| ApiError::invalid("logit_bias", message))
    }
}
