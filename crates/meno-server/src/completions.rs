//! `POST /v1/completions`: continues a text as it is, without a chat template.

mod reply;

use crate::asked_form::{FormFields, asked_form};
use crate::body::JsonBody;
use crate::clients::Client;
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use crate::fim;
use crate::generation::Generation;
use crate::generation_fields::SamplingFields;
use crate::prompt_input::Prompts;
use crate::request::{self, AnswerSettings, Started};
use crate::state::Server;
use crate::types::{MAX_N, OneOrMany, StreamOptions};
use axum::extract::State;
use axum::response::Response;
use meno_engine::Observe;
use reply::{CompletionReply, CompletionReplyOptions};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Default maximum number of tokens (OpenAI's).
const DEFAULT_MAX_TOKENS: usize = 16;
/// Maximum number of alternatives per token at this endpoint (OpenAI's).
const MAX_LOGPROBS: usize = 5;
/// Maximum number of prompt tokens whose log-probabilities one reply contains. Each takes a few hundred bytes.
const MAX_ECHOED: usize = 1 << 18;

/// A request, with OpenAI's fields and those of other servers (`fields`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // documented in OpenAI's reference
pub struct CompletionRequest {
    pub model: Option<String>,
    pub prompt: Option<Prompts>,
    pub best_of: Option<usize>,
    pub echo: Option<bool>,
    pub add_special_tokens: Option<bool>,
    pub suffix: Option<String>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub logprobs: Option<usize>,
    pub response_format: Option<Value>,
    pub structured_outputs: Option<Value>,
    #[serde(flatten)]
    pub form: FormFields,
    #[serde(flatten)]
    pub sampling: SamplingFields,
}

/// Handles `POST /v1/completions`.
pub async fn create(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let start = |request: Value, server: &Arc<Server>, client: &Client| {
        let request: CompletionRequest = fields::read(Endpoint::Completions, request)?;
        let stream = request.stream == Some(true);
        let options = CompletionReplyOptions {
            logprobs: request.logprobs.is_some(),
            echo_logprobs: request.echoes_logprobs(),
            include_usage: request.stream_options.unwrap_or_default().include_usage,
        };
        let (generation, echo) = request.start(server, client)?;
        Ok(Started { generation, reply: CompletionReply::new(server, options, echo), stream })
    };
    request::create(&server, body, start).await
}

impl CompletionRequest {
    /// Starts the generation. Also returns, per answer, the text to repeat before it.
    fn start(mut self, server: &Arc<Server>, client: &Client) -> Result<(Generation, Vec<String>), ApiError> {
        let model = &server.model;
        model.check_name(self.model.as_deref())?;
        self.check_unsupported()?;
        let n = self.sampling.n.unwrap_or(1);
        let mut fields = self.sampling_fields()?;
        let mut sampling = model.sampling(&fields, self.logprobs)?;
        if self.fills() {
            sampling.stop_tokens.extend(fim::ends(&model.tokenizer));
        }
        let stops = fields.take_stops()?;
        let form = asked_form(self.response_format.as_ref(), self.structured_outputs.as_ref(), &self.form)?;
        let grammar = form.map(|(form, param)| server.compiler(client).compile(&form, param)).transpose()?;
        let prompts = self.prompts(server)?;
        let echoes_logprobs = self.echoes_logprobs();
        check_counts(&prompts, n, echoes_logprobs)?;
        let echo = |text: &String| if self.echo == Some(true) { text.clone() } else { String::new() };
        let echo = prompts.iter().flat_map(|(text, _)| std::iter::repeat_n(echo(text), n)).collect();
        let settings = AnswerSettings {
            n,
            sampling,
            seed: fields.seed,
            stops,
            min_tokens: fields.min_tokens.unwrap_or(0),
            grammar,
            thinking: None,
            tools: None,
            observe: if echoes_logprobs { Observe::Logprobs } else { Observe::Nothing },
        };
        Ok((settings.start(server, client, prompts.into_iter().map(|(_, tokens)| tokens))?, echo))
    }

    /// Returns true if the answer fills in the middle between the prompt and a suffix.
    fn fills(&self) -> bool {
        self.suffix.as_ref().is_some_and(|s| !s.is_empty())
    }

    /// Returns true if the reply contains the log-probabilities of the prompt.
    fn echoes_logprobs(&self) -> bool {
        self.echo == Some(true) && self.logprobs.is_some()
    }

    fn check_unsupported(&self) -> Result<(), ApiError> {
        if self.best_of.is_some_and(|best| best > self.sampling.n.unwrap_or(1)) {
            return Err(ApiError::unsupported("best_of", "best_of above n is not supported; ask for n and choose"));
        }
        if self.fills() && self.echoes_logprobs() {
            let message = "log-probabilities of the prompt (echo with logprobs) are not returned with a suffix, \
                           because the model reads the parts of the text in another order";
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
        let mut fields = std::mem::take(&mut self.sampling);
        // 0 is valid here: it requests only the log-probabilities of the prompt.
        fields.max_tokens = fields.limit().or(Some(DEFAULT_MAX_TOKENS));
        fields.check_min_tokens()?;
        Ok(fields)
    }

    /// Returns the text and the tokens of every prompt.
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

/// Rejects a request without prompts, with too many answers, or with too many log-probabilities of prompt tokens.
fn check_counts(prompts: &[(String, Vec<u32>)], n: usize, echoes_logprobs: bool) -> Result<(), ApiError> {
    if prompts.is_empty() {
        return Err(ApiError::invalid("prompt", "prompt is an empty array; at least one prompt is needed"));
    }
    if n == 0 || n.saturating_mul(prompts.len()) > MAX_N {
        let message = format!("n is {n} for {} prompts; expected 1 to {MAX_N} answers", prompts.len());
        return Err(ApiError::invalid("n", message));
    }
    let echoed = prompts.iter().map(|(_, tokens)| tokens.len().saturating_mul(n)).sum::<usize>();
    if echoes_logprobs && echoed > MAX_ECHOED {
        let message = format!("log-probabilities of {echoed} tokens; at most {MAX_ECHOED} are returned at once");
        return Err(ApiError::invalid("echo", message));
    }
    Ok(())
}
