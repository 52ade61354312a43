//! The reply of completions, as one object and in chunks.

use crate::answer::Delta;
use crate::echo;
use crate::error::ApiError;
use crate::logprobs::{self, TextOffset};
use crate::request::Reply;
use crate::sse::{EventWriter, comment, data, done};
use crate::state::Server;
use crate::types::{FINGERPRINT, Usage, new_id, now};
use crate::update::{CollectedAnswer, FinishReason, TokenInfo, Update};
use axum::response::sse::Event;
use serde_json::{Value, json};
use std::sync::Arc;

/// The options of a reply that come from the request.
pub(super) struct CompletionReplyOptions {
    pub(super) logprobs: bool,
    /// True if the reply contains the log-probabilities of the prompt.
    pub(super) echo_logprobs: bool,
    pub(super) include_usage: bool,
}

/// How to reply to a completion request.
pub(super) struct CompletionReply {
    server: Arc<Server>,
    id: String,
    created: u64,
    options: CompletionReplyOptions,
    /// Per answer: the prompt to repeat before it, or an empty text.
    echo: Vec<String>,
    /// Per answer: the length of its text so far.
    offsets: Vec<TextOffset>,
}

impl CompletionReply {
    pub(super) fn new(server: &Arc<Server>, options: CompletionReplyOptions, echo: Vec<String>) -> CompletionReply {
        let offsets = vec![TextOffset::default(); echo.len()];
        CompletionReply { server: server.clone(), id: new_id("cmpl-"), created: now(), options, echo, offsets }
    }

    fn object(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.server.model.name,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        })
    }

    /// Returns the repeated prompt and its log-probabilities: the beginning of answer `index`.
    fn echoed(&mut self, index: usize, prompt: &[TokenInfo]) -> (String, Value) {
        let text = std::mem::take(&mut self.echo[index]);
        let logprobs = echo::logprobs(&self.server.model, prompt, &text, &mut self.offsets[index]);
        (text, logprobs)
    }

    fn choice(&mut self, index: usize, text: &str, tokens: &[TokenInfo], finish: Option<FinishReason>) -> Value {
        let logprobs = match self.options.logprobs {
            true => logprobs::completion(&self.server.model, tokens, &mut self.offsets[index]),
            false => Value::Null,
        };
        let finish = finish.map(FinishReason::name);
        json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish })
    }

    /// Returns the choice of a complete answer.
    fn whole_choice(&mut self, index: usize, answer: &CollectedAnswer) -> Value {
        if !self.options.echo_logprobs {
            let text = std::mem::take(&mut self.echo[index]) + &answer.content.text;
            return self.choice(index, &text, &answer.tokens, answer.finish);
        }
        let (text, logprobs) = self.echoed(index, &answer.prompt);
        let mut choice = self.choice(index, &(text + &answer.content.text), &answer.tokens, answer.finish);
        choice["logprobs"] = echo::join(logprobs, choice["logprobs"].take());
        choice
    }

    fn chunk(&self, choice: Value) -> Event {
        let mut chunk = self.object(json!([choice]));
        if self.options.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }
}

impl Reply for CompletionReply {
    fn answers(&self) -> usize {
        self.echo.len()
    }

    fn whole(mut self, answers: Vec<CollectedAnswer>, usage: Usage) -> Value {
        let choices: Vec<Value> =
            answers.iter().enumerate().map(|(index, answer)| self.whole_choice(index, answer)).collect();
        let mut reply = self.object(choices.into());
        reply["usage"] = usage.json();
        reply
    }
}

impl EventWriter for CompletionReply {
    fn begin(&mut self) -> Vec<Event> {
        // A comment makes the server send the headers at once.
        let start = || vec![comment("here")];
        if self.options.echo_logprobs {
            return start(); // the prompt is sent when its log-probabilities are known
        }
        let mut events = Vec::new();
        for (index, echo) in std::mem::take(&mut self.echo).iter().enumerate().filter(|e| !e.1.is_empty()) {
            let choice = self.choice(index, echo, &[], None);
            events.push(self.chunk(choice));
        }
        if events.is_empty() { start() } else { events }
    }

    fn update(&mut self, update: Update) -> Vec<Event> {
        if let Some(prompt) = update.prompt {
            let (text, logprobs) = self.echoed(update.index, &prompt);
            let choice = json!({ "index": update.index, "text": text, "logprobs": logprobs, "finish_reason": null });
            return vec![self.chunk(choice)];
        }
        let texts =
            update.deltas.into_iter().filter_map(|d| if let Delta::Content(text) = d { Some(text) } else { None });
        let text: String = texts.collect();
        let choice = self.choice(update.index, &text, &update.tokens, update.finish);
        vec![self.chunk(choice)]
    }

    fn end(&mut self, usage: Usage) -> Vec<Event> {
        let usage = self.options.include_usage.then(|| {
            let mut chunk = self.object(json!([]));
            chunk["usage"] = usage.json();
            data(&chunk)
        });
        usage.into_iter().chain([done()]).collect()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        vec![data(&error.body()), done()]
    }
}
