//! The core of the endpoints that generate text: chat completions, completions, responses and messages.
//!
//! An endpoint converts its request to [`AnswerSettings`] and prompts, and implements [`Reply`]. This module starts the
//! generation and sends the reply, whole or streamed.

use crate::answer::AnswerFormat;
use crate::body::{self, JsonBody};
use crate::clients::{Client, WorkKind};
use crate::decoding_constraints::DecodingConstraints;
use crate::error::ApiError;
use crate::generation::{Generation, GenerationRequest};
use crate::sse::{self, EventWriter};
use crate::state::Server;
use crate::structured::Grammar;
use crate::thinking::{Thinking, ThinkingLimiter};
use crate::tools::ToolFormat;
use crate::types::Usage;
use crate::update::CollectedAnswer;
use axum::response::Response;
use meno_engine::{Observe, Sampling};
use serde_json::Value;
use std::sync::Arc;

/// How an endpoint replies: event by event, or with one object.
pub(crate) trait Reply: EventWriter {
    /// The number of answers.
    fn answers(&self) -> usize;
    /// The reply as one object.
    fn whole(self, answers: Vec<CollectedAnswer>, usage: Usage) -> Value;
}

/// A generation that was started, and how to reply with it.
pub(crate) struct Started<R> {
    pub(crate) generation: Generation,
    pub(crate) reply: R,
    pub(crate) stream: bool,
}

/// Handles a request: starts the generation with `start`, which runs on a worker thread, and replies.
pub(crate) async fn create<R: Reply>(
    server: &Arc<Server>,
    body: JsonBody,
    start: impl FnOnce(Value, &Arc<Server>, &Client) -> Result<Started<R>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let Started { mut generation, reply, stream } = body.process(server, WorkKind::Answer, start).await?;
    if stream {
        return Ok(sse::respond(generation, reply));
    }
    let answers = generation.collect(reply.answers()).await?;
    Ok(body::json(&reply.whole(answers, generation.usage())))
}

/// How the answers to the prompts of one request are generated.
pub(crate) struct AnswerSettings {
    /// Number of answers per prompt.
    pub(crate) n: usize,
    /// How tokens are sampled.
    pub(crate) sampling: Sampling,
    /// Seed of the random numbers; `None`: a random one.
    pub(crate) seed: Option<i64>,
    /// Strings that end an answer.
    pub(crate) stops: Vec<String>,
    /// Minimum number of tokens of an answer.
    pub(crate) min_tokens: usize,
    /// The grammar of the answers.
    pub(crate) grammar: Option<Grammar>,
    /// How thinking is handled; `None`: the text is returned as it is.
    pub(crate) thinking: Option<ThinkingSettings>,
    /// The format of tool calls and the names of the tools; `None`: no calls.
    pub(crate) tools: Option<(ToolFormat, Vec<String>)>,
    /// What to report about the prompts.
    pub(crate) observe: Observe,
}

/// How the thinking in an answer is handled.
pub(crate) struct ThinkingSettings {
    /// True if the prompt has opened the thinking.
    pub(crate) opened: bool,
    /// The thinking mode, with its budget.
    pub(crate) thinking: Thinking,
    /// True if thinking that repeats itself is ended.
    pub(crate) detect_loops: bool,
    /// True if text before an unmatched closing tag becomes thinking.
    pub(crate) retract: bool,
}

impl AnswerSettings {
    /// Submits the prompts to the engine.
    pub(crate) fn start(
        &self,
        server: &Arc<Server>,
        client: &Client,
        prompts: impl IntoIterator<Item = Vec<u32>>,
    ) -> Result<Generation, ApiError> {
        let requests = prompts.into_iter().map(|prompt| self.request(server, prompt)).collect();
        Generation::start(server, client, requests)
    }

    fn request(&self, server: &Server, prompt: Vec<u32>) -> GenerationRequest {
        let format = AnswerFormat {
            thought: self.thinking.as_ref().map(|t| t.opened),
            retract: self.thinking.as_ref().is_some_and(|t| t.retract),
            stops: self.stops.clone(),
            tools: self.tools.clone(),
            min_tokens: self.min_tokens,
        };
        GenerationRequest {
            prompt,
            n: self.n,
            sampling: self.sampling.clone(),
            seed: self.seed,
            format,
            constraints: (0..self.n).map(|_| self.constraints(server)).collect(),
            observe: self.observe,
        }
    }

    /// The constraints of one answer.
    fn constraints(&self, server: &Server) -> DecodingConstraints {
        let limiter = self.thinking.as_ref().and_then(|t| t.limiter(server, self.grammar.is_some()));
        let open = self.thinking.as_ref().and_then(|_| server.model.thinking_tokens.open());
        let grammar = self.grammar.as_ref().map(Grammar::another);
        let stop_tokens = self.sampling.stop_tokens.clone();
        DecodingConstraints::new(limiter, grammar, open).with_min_tokens(self.min_tokens, stop_tokens)
    }
}

impl ThinkingSettings {
    /// The limiter of the thinking, if there may be any.
    fn limiter(&self, server: &Server, has_grammar: bool) -> Option<ThinkingLimiter> {
        let tokens = &server.model.thinking_tokens;
        // A grammar can let the thinking start only if the opening tag is a single token.
        let requested = matches!(self.thinking, Thinking::On(Some(_)));
        let may_start = (server.model.thinks || requested) && (!has_grammar || tokens.open().is_some());
        match self.thinking {
            Thinking::On(budget) if self.opened || may_start => {
                Some(ThinkingLimiter::new(tokens.clone(), self.opened, budget, self.detect_loops))
            }
            _ => None,
        }
    }
}
