//! `POST /v1/completions`: text goes on, as it is, without a template.

use crate::answer::{Delta, Reading};
use crate::app::Server;
use crate::asked_form::{FormFields, asked_form};
use crate::body::{self, Posted};
use crate::chat_completions::{Gathered, checked_stops};
use crate::clients::{Client, Work};
use crate::echo;
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use crate::fim;
use crate::generation::{Generation, Order, TokenInfo, Update};
use crate::logprobs::{self, TextOffset};
use crate::steering::Steering;
use crate::stream::{self, DONE, Tell, data};
use crate::text_or_list::{TextOrList, text_or_list};
use crate::types::{MAX_N, MoreSampling, OneOrMany, SamplingFields, StreamOptions, Usage, limit, new_id, now};
use axum::extract::State;
use axum::response::Response;
use meno_engine::Observe;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most tokens of an answer where the request does not say (OpenAI's).
const DEFAULT_MAX_TOKENS: usize = 16;
/// Most alternatives per token in this old endpoint (OpenAI's).
const MAX_LOGPROBS: usize = 5;

/// Most tokens of prompts whose log-probabilities one reply tells: each takes some hundred bytes.
const MAX_ECHOED: usize = 1 << 18;

/// A prompt or several, as text or tokens.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// One text, or several.
    Text(OneOrMany),
    /// One prompt's tokens.
    Tokens(Vec<u32>),
    /// Several prompts' tokens.
    ManyTokens(Vec<Vec<u32>>),
}

/// An item of a list of prompts: a text, a token, or the tokens of a prompt.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a token or an array of tokens")]
enum PromptItem {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a string, an array of strings, an array of tokens or an array of arrays of tokens";
        let items = match text_or_list(deserializer, expected)? {
            TextOrList::Text(text) => return Ok(Prompts::Text(OneOrMany::One(text))),
            TextOrList::List(items) => items,
        };
        let (mut texts, mut tokens, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let total = items.len();
        for item in items {
            match item {
                PromptItem::Text(text) => texts.push(text),
                PromptItem::Token(token) => tokens.push(token),
                PromptItem::Tokens(list) => lists.push(list),
            }
        }
        match total {
            n if n == texts.len() => Ok(Prompts::Text(OneOrMany::Many(texts))),
            n if n == tokens.len() => Ok(Prompts::Tokens(tokens)),
            n if n == lists.len() => Ok(Prompts::ManyTokens(lists)),
            _ => Err(serde::de::Error::custom(format!("expected {expected}, found an array of different types"))),
        }
    }
}

/// A request, in OpenAI's fields and those of other servers ([`crate::fields`]).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them
pub struct CompletionRequest {
    pub model: Option<String>,
    pub prompt: Option<Prompts>,
    #[serde(deserialize_with = "limit")]
    pub max_tokens: Option<usize>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub seed: Option<i64>,
    pub n: Option<usize>,
    pub best_of: Option<usize>,
    pub echo: Option<bool>,
    pub add_special_tokens: Option<bool>,
    pub suffix: Option<String>,
    pub stop: Option<OneOrMany>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub logprobs: Option<usize>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub response_format: Option<Value>,
    pub structured_outputs: Option<Value>,
    #[serde(flatten)]
    pub form: FormFields,
    #[serde(flatten)]
    pub more: MoreSampling,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let started = posted.run(&server, Work::Answer, |request: Value, server, client| {
        let request: CompletionRequest = fields::read(Endpoint::Completions, request)?;
        let stream = request.stream == Some(true);
        let include_usage = request.stream_options.unwrap_or_default().include_usage;
        let logprobs = request.logprobs.is_some();
        let echo_logprobs = logprobs && request.echo == Some(true);
        let (generation, echo) = request.start(server, client)?;
        let (id, offsets) = (new_id("cmpl-"), vec![TextOffset::default(); echo.len()]);
        let (server, created) = (server.clone(), now());
        let reply = Reply { server, id, created, logprobs, echo_logprobs, echo, offsets, include_usage };
        Ok((generation, reply, stream))
    });
    let (mut generation, mut reply, stream) = started.await?;
    let answers = reply.echo.len();
    if stream {
        return Ok(stream::respond(generation, reply));
    }
    let answers: Vec<Gathered> = generation.collect(answers, Gathered::add).await?;
    Ok(body::json(&reply.whole(answers, generation.usage())))
}

impl CompletionRequest {
    /// The generation, and by answer the text that goes before it.
    fn start(mut self, server: &Arc<Server>, client: &Client) -> Result<(Generation, Vec<String>), ApiError> {
        let model = &server.model;
        model.check_name(self.model.as_deref())?;
        self.check_unsupported()?;
        let n = self.n.unwrap_or(1);
        let mut sampling = model.sampling(&self.sampling_fields()?, self.logprobs)?;
        if self.suffix.as_ref().is_some_and(|s| !s.is_empty()) {
            sampling.stop_tokens.extend(fim::ends(&model.tokenizer));
        }
        let stops = checked_stops(self.stop.take())?;
        let asked = asked_form(self.response_format.as_ref(), self.structured_outputs.as_ref(), &self.form)?;
        let grammar = asked.map(|(form, param)| client.compiler(server).compile(&form, param)).transpose()?;
        let least = self.more.min_tokens.unwrap_or(0);
        let prompts = self.prompts(server)?;
        if prompts.is_empty() {
            return Err(ApiError::invalid("prompt", "prompt is an empty array; at least one prompt is needed"));
        }
        if n == 0 || n.saturating_mul(prompts.len()) > MAX_N {
            let message = format!("n is {n} for {} prompts; expected 1 to {MAX_N} answers", prompts.len());
            return Err(ApiError::invalid("n", message));
        }
        let tells_prompt = self.echo == Some(true) && self.logprobs.is_some();
        let told = prompts.iter().map(|(_, tokens)| tokens.len().saturating_mul(n)).sum::<usize>();
        if tells_prompt && told > MAX_ECHOED {
            let message = format!("log-probabilities of {told} tokens; at most {MAX_ECHOED} are returned at once");
            return Err(ApiError::invalid("echo", message));
        }
        let observe = if tells_prompt { Observe::Logprobs } else { Observe::Nothing };
        let (mut orders, mut echo) = (Vec::new(), Vec::new());
        for (text, prompt) in prompts {
            let before = if self.echo == Some(true) { text } else { String::new() };
            echo.extend(std::iter::repeat_n(before, n));
            let steering = |_| {
                let steering = Steering::new(None, grammar.as_ref().map(|g| g.another()), None);
                steering.with_least(least, sampling.stop_tokens.clone())
            };
            let steering = (0..n).map(steering).collect();
            let reading =
                Reading { thought: None, retract: false, stops: stops.clone(), tools: None, min_tokens: least };
            let (sampling, seed) = (sampling.clone(), self.seed);
            orders.push(Order { prompt, n, sampling, seed, reading, steering, observe });
        }
        Ok((Generation::start(server, client, orders)?, echo))
    }

    fn check_unsupported(&self) -> Result<(), ApiError> {
        if self.best_of.is_some_and(|best| best > self.n.unwrap_or(1)) {
            return Err(ApiError::unsupported("best_of", "best_of above n is not offered; ask for n and choose"));
        }
        let fills = self.suffix.as_ref().is_some_and(|s| !s.is_empty());
        if fills && self.echo == Some(true) && self.logprobs.is_some() {
            let message = "log-probabilities of the prompt (echo with logprobs) are not returned beside a suffix: the text \
                           is in another order for the model";
            return Err(ApiError::unsupported("echo", message));
        }
        match self.logprobs {
            Some(k) if k > MAX_LOGPROBS => {
                Err(ApiError::invalid("logprobs", format!("logprobs is {k}; at most {MAX_LOGPROBS} are returned")))
            }
            _ => Ok(()),
        }
    }

    fn sampling_fields(&mut self) -> Result<SamplingFields, ApiError> {
        // 0 is for the log-probabilities of the prompt alone.
        let max_tokens =
            self.max_tokens.or(self.more.n_predict).or(self.more.max_new_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
        let fields = SamplingFields {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            seed: self.seed,
            max_tokens: Some(max_tokens),
            logit_bias: self.logit_bias.take(),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            ..Default::default()
        };
        self.more.add_to(fields)
    }

    /// Text and tokens of every prompt.
    fn prompts(&mut self, server: &Server) -> Result<Vec<(String, Vec<u32>)>, ApiError> {
        let model = &server.model;
        let special = self.add_special_tokens.unwrap_or(true);
        let encode = |text: String| {
            let prompt = model.encode(text, special).map_err(|e| e.about("prompt"))?;
            Ok((prompt.text, prompt.tokens))
        };
        let check = |tokens: Vec<u32>| {
            model.check_prompt(&tokens).map_err(|e| e.about("prompt"))?;
            Ok((model.tokenizer.decode(&tokens, false), tokens))
        };
        if let Some(suffix) = self.suffix.take().filter(|s| !s.is_empty()) {
            let prompts = self.prompt.take().unwrap_or(Prompts::Text(OneOrMany::One(String::new())));
            return fim::prompts(model, prompts, &suffix);
        }
        match self.prompt.take() {
            None => Err(ApiError::invalid("prompt", "prompt is missing")),
            Some(Prompts::Text(texts)) => texts.into_vec().into_iter().take(MAX_N + 1).map(encode).collect(),
            Some(Prompts::Tokens(tokens)) => Ok(vec![check(tokens)?]),
            Some(Prompts::ManyTokens(lists)) => lists.into_iter().take(MAX_N + 1).map(check).collect(),
        }
    }
}

/// What all parts of a reply share.
struct Reply {
    server: Arc<Server>,
    id: String,
    created: u64,
    logprobs: bool,
    /// Return the log-probabilities of the prompt with it.
    echo_logprobs: bool,
    /// By answer: the prompt, where it is to be repeated.
    echo: Vec<String>,
    /// By answer: the text so far.
    offsets: Vec<TextOffset>,
    include_usage: bool,
}

impl Reply {
    fn frame(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.server.model.name,
            "system_fingerprint": crate::FINGERPRINT, "choices": choices,
        })
    }

    /// The prompt repeated, with its log-probabilities: the beginning of an answer.
    fn echoed(&mut self, index: usize, prompt: &[TokenInfo]) -> (String, Value) {
        let text = std::mem::take(&mut self.echo[index]);
        let logprobs = echo::logprobs(&self.server.model, prompt, &text, &mut self.offsets[index]);
        (text, logprobs)
    }

    fn choice(&mut self, index: usize, text: &str, tokens: &[TokenInfo], finish: Option<&str>) -> Value {
        let logprobs = match self.logprobs {
            true => logprobs::completion(&self.server.model, tokens, &mut self.offsets[index]),
            false => Value::Null,
        };
        json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish })
    }

    fn whole(&mut self, answers: Vec<Gathered>, usage: Usage) -> Value {
        let mut choices = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            if self.echo_logprobs {
                let (text, logprobs) = self.echoed(index, &answer.prompt);
                let mut choice = self.choice(index, &(text + &answer.whole.content), &answer.tokens, answer.finish);
                choice["logprobs"] = echo::join(logprobs, choice["logprobs"].take());
                choices.push(choice);
                continue;
            }
            let text = std::mem::take(&mut self.echo[index]) + &answer.whole.content;
            choices.push(self.choice(index, &text, &answer.tokens, answer.finish));
        }
        let mut reply = self.frame(choices.into());
        reply["usage"] = usage.json();
        reply
    }

    fn chunk(&mut self, choice: Value) -> String {
        let mut chunk = self.frame(json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }
}

impl Tell for Reply {
    fn begin(&mut self) -> String {
        if self.echo_logprobs {
            return ": here\n\n".to_owned(); // the prompt follows when its log-probabilities are known
        }
        let echo = std::mem::take(&mut self.echo);
        let mut text = String::new();
        for (index, echo) in echo.iter().enumerate().filter(|e| !e.1.is_empty()) {
            let choice = self.choice(index, echo, &[], None);
            text += &self.chunk(choice);
        }
        if text.is_empty() { ": here\n\n".to_owned() } else { text }
    }

    fn update(&mut self, update: Update) -> String {
        if let Some(prompt) = update.prompt {
            let (text, logprobs) = self.echoed(update.index, &prompt);
            let choice = json!({ "index": update.index, "text": text, "logprobs": logprobs, "finish_reason": null });
            return self.chunk(choice);
        }
        let texts =
            update.deltas.into_iter().filter_map(|d| if let Delta::Content(text) = d { Some(text) } else { None });
        let text: String = texts.collect();
        let choice = self.choice(update.index, &text, &update.tokens, update.finish.map(|f| f.name()));
        self.chunk(choice)
    }

    fn end(&mut self, usage: Usage) -> String {
        if !self.include_usage {
            return DONE.to_owned();
        }
        let mut chunk = self.frame(json!([]));
        chunk["usage"] = usage.json();
        data(&chunk) + DONE
    }

    fn fail(&mut self, error: &ApiError) -> String {
        data(&error.body()) + DONE
    }
}
