//! A model with its text: network, tokenizer, chat template and settings, read from one path.
//!
//! ```no_run
//! # fn main() -> Result<(), meno_engine::Error> {
//! use meno_engine::TextModel;
//! let mut session = TextModel::load("models/r1-distill".as_ref())?.session()?;
//! let response = session.ask("What is 7 · 8?", &mut |text| print!("{text}"))?;
//! assert!(response.answer.contains("56"));
//! # Ok(())
//! # }
//! ```

use crate::chat_template::{ChatTemplate, Message};
use crate::error::Error;
use crate::generation_config::GenerationConfig;
use crate::generator::{Completion, Generator, GeneratorConfig, Request, Stop, StreamKey, TokenLogprob};
use crate::reasoning::{Piece, Split};
use crate::sampler::Sampling;
use crate::task_profile::TaskProfile;
use crate::text_stream::TextStream;
use crate::tokenizer::Tokenizer;
use meno_model::{LoadOptions, Model, recognize};
use meno_tensor::backend::Pass;
use meno_tensor::precision::Precision;
use meno_tensor::tape::Batch;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Maximum number of tokens of prompt and answer together, unless a session sets another.
const CONTEXT: usize = 8192;

/// A model with its text.
pub struct TextModel {
    /// Its name: that of its directory or file.
    pub name: String,
    /// The directory or file it was read from.
    pub path: PathBuf,
    /// The network.
    pub model: Model,
    /// Input type of its matrix products.
    pub precision: Precision,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The chat template, if there is one.
    pub template: Option<ChatTemplate>,
    /// The sampling settings that its authors recommend.
    pub generation: GenerationConfig,
    /// The tasks it was trained on, for a model that knows only a few tasks.
    pub task_profile: Option<TaskProfile>,
}

impl TextModel {
    /// Reads a Hugging Face directory or a GGUF file to generate with: quantized matrices stay quantized, all others
    /// are multiplied in bf16.
    pub fn load(path: &Path) -> Result<TextModel, Error> {
        let options = LoadOptions { keep_quantized: true, ..LoadOptions::default() };
        TextModel::load_with(path, options, Precision::Bf16, &mut |_, _| {})
    }

    /// As [`TextModel::load`], with options. `on_read` gets the number of values read so far and of all values.
    pub fn load_with(
        path: &Path,
        options: LoadOptions,
        precision: Precision,
        on_read: &mut dyn FnMut(usize, usize),
    ) -> Result<TextModel, Error> {
        recognize::check(path)?;
        let tokenizer = Tokenizer::load(path)?;
        let template = ChatTemplate::load(path, tokenizer.special())?;
        let generation = GenerationConfig::load(path)?;
        let task_profile = if path.is_dir() { TaskProfile::load(path)? } else { None };
        let model = Model::load_with(path, options, on_read)?;
        let (name, path) = (name_of(path), path.to_owned());
        Ok(TextModel { name, path, model, precision, tokenizer, template, generation, task_profile })
    }

    /// The longest context of a session without further settings.
    pub fn default_context(&self) -> usize {
        self.model.config.max_position_embeddings.min(CONTEXT)
    }

    /// Returns the settings for `slots` concurrent answers of at most `max_len` tokens, prompt included, in the model's
    /// precision.
    pub fn generator_config(&self, slots: usize, max_len: usize) -> GeneratorConfig {
        GeneratorConfig { precision: self.precision, ..GeneratorConfig::new(slots, max_len) }
    }

    /// Prepares the model to answer, one answer at a time.
    pub fn session(self) -> Result<Session, Error> {
        let config = self.generator_config(1, self.default_context());
        self.session_with(config)
    }

    /// Prepares the model to answer, with the given settings of the generator.
    pub fn session_with(self, config: GeneratorConfig) -> Result<Session, Error> {
        let generator = Generator::new(&self.model, config)?;
        Ok(Session { text: self, generator, seed: 0, asked: 0 })
    }

    /// Returns the recommended sampling settings; answers end at the end-of-sequence token.
    pub fn sampling(&self) -> Sampling {
        let (own, none) = (self.generation.or_default(), Sampling::default());
        Sampling {
            temperature: own.temperature.unwrap_or(none.temperature),
            top_p: own.top_p.unwrap_or(none.top_p),
            top_k: own.top_k.unwrap_or(none.top_k),
            min_p: own.min_p.unwrap_or(none.min_p),
            repetition_penalty: own.repetition_penalty.unwrap_or(none.repetition_penalty),
            max_tokens: usize::MAX,
            stop_tokens: self.tokenizer.eos(),
            vocab_size: self.tokenizer.id_bound(),
            ..none
        }
    }

    /// Returns the prompt of a conversation: rendered by the template or, without one, the concatenated texts.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, Error> {
        match &self.template {
            Some(template) => template.render(messages, true, &Default::default()),
            None => Ok(messages.iter().filter_map(|m| m.content.as_str()).collect()),
        }
    }

    /// Returns the tokens of a prompt that [`TextModel::prompt`] made. The template has written all special tokens
    /// itself; without one, this is [`TextModel::encode_text`].
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, Error> {
        self.encode(prompt, self.template.is_none())
    }

    /// Returns the tokens of a raw text, with the special tokens that the tokenizer adds (for example, bos).
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode(text, true)
    }

    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        let mut ids = self.tokenizer.encode(text, add_special)?;
        if ids.is_empty() {
            ids.extend(self.tokenizer.bos());
        }
        if ids.is_empty() {
            let message = "the prompt is empty; give at least one character".into();
            return Err(Error::Request { request: 0, message });
        }
        Ok(ids)
    }

    /// Returns the log-probability of every token of a text after the first, given the tokens before it.
    pub fn score(&mut self, text: &str) -> Result<Vec<TokenLogprob>, Error> {
        let tokens = self.encode_text(text)?;
        self.model.check_tokens(&tokens)?;
        let mut batch = Batch::default();
        batch.push_training(&tokens, |_| 1.0);
        let mut executor = self.model.score_executor(tokens.len())?;
        let out = executor.forward(&mut *self.model.weights, Pass::new(self.precision, &batch), None)?;
        let scored = tokens[1..].iter().zip(&out.logprobs);
        Ok(scored.map(|(&token, &logprob)| TokenLogprob { token, logprob, top: Vec::new() }).collect())
    }
}

/// A model that is ready to answer.
///
/// A session keeps no conversation: two calls of [`Session::ask`] are unrelated. To continue a conversation, give
/// [`Session::chat`] the messages so far.
///
/// ```no_run
/// use meno_engine::{Message, TextModel};
/// let mut session = TextModel::load("models/r1-distill".as_ref())?.session()?.with_seed(7);
/// let mut messages = vec![Message::new("user", "What is 7 · 8?")];
/// let first = session.chat(&messages, &mut |_| {})?;
/// messages.extend([Message::new("assistant", first.answer), Message::new("user", "And times 2?")]);
/// let second = session.chat(&messages, &mut |_| {})?;
/// # Ok::<(), meno_engine::Error>(())
/// ```
pub struct Session {
    /// The model with its text.
    pub text: TextModel,
    /// The generator that runs it.
    pub generator: Generator,
    /// The seed of the answers to [`Session::ask`] and [`Session::chat`].
    seed: u64,
    /// How many of these answers were requested: each draws its own random numbers.
    asked: u64,
}

/// One answer, with its text.
pub struct Answer {
    /// Tokens, log-probabilities, and why it ended.
    pub completion: Completion,
    /// Thought and answer; text after a stop string is cut off.
    pub split: Split,
}

impl Session {
    /// Sets the seed of [`Session::ask`] and [`Session::chat`], 0 by default, and starts over with its random numbers.
    /// The same seed and the same calls in the same order give the same answers. The same question asked again in one
    /// session draws other random numbers.
    pub fn with_seed(self, seed: u64) -> Session {
        Session { seed, asked: 0, ..self }
    }

    /// Answers one message, with the recommended settings. `on_text` gets the text as it is written. The model does not
    /// see earlier messages: see [`Session::chat`].
    pub fn ask(&mut self, message: &str, on_text: &mut dyn FnMut(&str)) -> Result<Split, Error> {
        self.chat(&[Message::new("user", message)], on_text)
    }

    /// Continues a conversation, with the recommended settings: `messages` are all messages so far, answers included.
    /// `on_text` gets the text as it is written, thoughts included.
    pub fn chat(&mut self, messages: &[Message], on_text: &mut dyn FnMut(&str)) -> Result<Split, Error> {
        let prompt = self.text.prompt(messages)?;
        let tokens = self.text.encode_prompt(&prompt)?;
        let key = StreamKey { seed: self.seed, step: self.asked, sequence: 0 };
        self.asked += 1;
        let request = Request { prompt: tokens, n: 1, sampling: self.text.sampling(), key };
        let mut on_piece = |piece: Piece, _: usize| match piece {
            Piece::Thought(text) | Piece::Answer(text) => on_text(&text),
            Piece::Retract => {}
        };
        let mut answers = self.answer(&prompt, request, &[], &mut on_piece)?;
        Ok(answers.pop().map(|answer| answer.split).unwrap_or_default())
    }

    /// Answers one request of `n` samples. `on_piece` gets the text of sample 0 as it is written, with the number of
    /// tokens so far.
    pub fn answer(
        &mut self,
        prompt: &str,
        request: Request,
        stops: &[String],
        on_piece: &mut dyn FnMut(Piece, usize),
    ) -> Result<Vec<Answer>, Error> {
        let TextModel { model, tokenizer, .. } = &mut self.text;
        let new_stream = || TextStream::new(tokenizer, prompt, stops);
        let mut streams: Vec<TextStream<'_>> = (0..request.n).map(|_| new_stream()).collect();
        let completions = self.generator.generate(model, &[request], &mut |event| {
            let stream = &mut streams[event.sample];
            for piece in stream.push(event.token) {
                if event.sample == 0 {
                    on_piece(piece, event.index + 1);
                }
            }
            if stream.stopped() { ControlFlow::Break(Stop::Answer) } else { ControlFlow::Continue(()) }
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

/// Returns the name of a directory or file, prefixed by its parent's name if it is very short.
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
