//! `POST /v1/chat/completions`.

use crate::answer::{Delta, Reading, Whole};
use crate::app::Server;
use crate::body::{self, Posted};
use crate::clients::{Client, Work};
use crate::conversation::{ChatMessage, Conversation, Turn};
use crate::error::{ApiError, shown};
use crate::generation::{Generation, Order, TokenInfo, Update};
use crate::logprobs;
use crate::steering::Steering;
use crate::stream::{self, DONE, Tell, data};
use crate::structured::{Structure, bounded_space};
use crate::thinking::{Cut, Thinking, ThinkingFields, ThoughtWatch};
use crate::tools::Part;
use crate::types::{
    MAX_N, MAX_STOPS, MAX_TOP_LOGPROBS, OneOrMany, SamplingFields, StreamOptions, TemplateKwargs, Tool, ToolChoice,
    Usage, new_id, now,
};
use axum::extract::State;
use axum::response::Response;
use meno_engine::Observe;
use meno_engine::reasoning::Splitter;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request, in OpenAI's fields and the usual further ones. What is not listed is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them; those that are ours are in docs/serving.md
pub struct ChatRequest {
    pub model: Option<String>,
    pub messages: Vec<ChatMessage>,
    pub max_tokens: Option<usize>,
    pub max_completion_tokens: Option<usize>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub seed: Option<i64>,
    pub n: Option<usize>,
    pub stop: Option<OneOrMany>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<usize>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<Value>,
    pub parallel_tool_calls: Option<bool>,
    pub functions: Option<Value>,
    pub response_format: Option<Value>,
    pub structured_outputs: Option<Value>,
    pub reasoning_effort: Option<String>,
    pub reasoning: Option<Value>,
    pub thinking: Option<Value>,
    pub enable_thinking: Option<bool>,
    pub thinking_budget: Option<Value>,
    pub loop_breaker: Option<bool>,
    pub chat_template_kwargs: Option<TemplateKwargs>,
}

/// A conversation to go on with, and the tools that may be called.
pub(crate) struct Asked {
    pub(crate) conversation: Conversation,
    tools: Vec<Tool>,
    choice: ToolChoice,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let started = posted.run(&server, Work::Answer, |request: ChatRequest, server, client| {
        let stream = request.stream == Some(true);
        let include_usage = request.stream_options.unwrap_or_default().include_usage;
        let n = request.n.unwrap_or(1);
        let reply = Reply::new(server, request.logprobs == Some(true));
        Ok((request.start(server, client)?, reply, stream, n, include_usage))
    });
    let (mut generation, reply, stream, n, include_usage) = started.await?;
    if stream {
        return Ok(stream::respond(generation, Chunks { reply, n, include_usage }));
    }
    let answers: Vec<Gathered> = generation.collect(n, Gathered::add).await?;
    Ok(body::json(&reply.whole(answers, generation.usage())))
}

impl ChatRequest {
    /// Renders, checks and submits a request. Takes processor time; not for the event loop.
    pub(crate) fn start(mut self, server: &Arc<Server>, client: &Client) -> Result<Generation, ApiError> {
        let model = &server.model;
        let n = self.checked_n()?;
        let sampling = model.sampling(&self.sampling_fields()?, self.checked_top_logprobs()?)?;
        let stops = checked_stops(self.stop.take())?;
        let Asked { conversation, tools, choice } = self.asked(server)?;
        let thinking = conversation.thinking;
        let structure = self.structure(&choice, &tools, server)?;
        let prompt = match conversation.turn(model)? {
            Turn::Say(text) => return Ok(Generation::fixed(server.clone(), text)),
            Turn::Ask(prompt) => prompt,
        };
        let opened = Splitter::after(&prompt.text).thinking();
        let watch = self.loop_breaker.unwrap_or(server.options.loop_breaker);
        let steering = steering(server, opened, thinking, watch, structure, n)?;
        let names = tools.into_iter().map(|t| t.function.name).collect::<Vec<_>>();
        let calls = (choice != ToolChoice::None).then_some((model.tools.format, names));
        let reading = Reading { thought: Some(opened), retract: !thinking.is_off(), stops, tools: calls };
        let (seed, observe) = (self.seed, Observe::Nothing);
        let order = Order { prompt: prompt.tokens, n, sampling, seed, reading, steering, observe };
        Generation::start(server, client, vec![order])
    }

    /// What the model is asked, before its template writes it.
    pub(crate) fn asked(&mut self, server: &Server) -> Result<Asked, ApiError> {
        server.model.check_name(self.model.as_deref())?;
        let tools = self.checked_tools()?;
        let choice = ToolChoice::read(self.tool_choice.as_ref(), &tools)?;
        let thinking = Thinking::read(&self.thinking_fields(), server.options.thinking_budget)?;
        let shown = if choice == ToolChoice::None { Vec::new() } else { tools.clone() };
        let kwargs = self.chat_template_kwargs.take().unwrap_or_default();
        let messages = std::mem::take(&mut self.messages);
        Ok(Asked { conversation: Conversation { messages, tools: shown, thinking, kwargs }, tools, choice })
    }

    fn checked_n(&self) -> Result<usize, ApiError> {
        let n = self.n.unwrap_or(1);
        if !(1..=MAX_N).contains(&n) {
            return Err(ApiError::invalid("n", format!("n is {n}; expected 1 to {MAX_N}")));
        }
        Ok(n)
    }

    fn checked_top_logprobs(&self) -> Result<Option<usize>, ApiError> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (_, Some(k)) if k > MAX_TOP_LOGPROBS => {
                let message = format!("top_logprobs is {k}; at most {MAX_TOP_LOGPROBS} are told");
                Err(ApiError::invalid("top_logprobs", message))
            }
            (false, Some(k)) if k > 0 => {
                Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true"))
            }
            (false, _) => Ok(None),
            (true, k) => Ok(Some(k.unwrap_or(0))),
        }
    }

    fn checked_tools(&mut self) -> Result<Vec<Tool>, ApiError> {
        if self.functions.as_ref().is_some_and(|f| !f.is_null()) {
            return Err(ApiError::unsupported("functions", "functions is OpenAI's old field; send tools"));
        }
        let tools = self.tools.take().unwrap_or_default();
        if let Some(tool) = tools.iter().find(|t| t.kind != "function") {
            let message = format!("tools: a tool of type {:?}; this server knows \"function\"", shown(&tool.kind));
            return Err(ApiError::unsupported("tools", message));
        }
        Ok(tools)
    }

    fn sampling_fields(&mut self) -> Result<SamplingFields, ApiError> {
        let max_tokens = self.max_completion_tokens.or(self.max_tokens);
        if max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens is 0; an answer has at least one token"));
        }
        Ok(SamplingFields {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            seed: self.seed,
            max_tokens,
            logit_bias: self.logit_bias.take(),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
        })
    }

    fn thinking_fields(&self) -> ThinkingFields {
        let kwargs = self.chat_template_kwargs.as_ref();
        let kwarg = |key: &str| kwargs.and_then(|k| k.get(key)).cloned();
        ThinkingFields {
            enable_thinking: self.enable_thinking.or(kwarg("enable_thinking").and_then(|v| v.as_bool())),
            thinking: self.thinking.clone().or(kwarg("thinking")),
            reasoning_effort: self.reasoning_effort.clone(),
            reasoning: self.reasoning.clone(),
            thinking_budget: self.thinking_budget.clone().filter(|b| !b.is_null()),
        }
    }

    /// The form of the answer, with the field it came from.
    fn structure(
        &self,
        choice: &ToolChoice,
        tools: &[Tool],
        server: &Server,
    ) -> Result<Option<(Structure, &'static str)>, ApiError> {
        let format = Structure::read(self.response_format.as_ref())?.map(|s| (s, "response_format"));
        let other = Structure::read_structured(self.structured_outputs.as_ref())?.map(|s| (s, "structured_outputs"));
        let asked = match (format, other) {
            (Some(_), Some(_)) => {
                let message = "response_format and structured_outputs cannot both be given";
                return Err(ApiError::invalid("structured_outputs", message));
            }
            (a, b) => a.or(b),
        };
        let called: Vec<(String, Value)> = (tools.iter())
            .filter(|t| !matches!(choice, ToolChoice::Named(name) if *name != t.function.name))
            .map(|t| (t.function.name.clone(), bounded_space(t.schema())))
            .collect();
        let parallel = self.parallel_tool_calls.unwrap_or(true) && *choice == ToolChoice::Required;
        let calls = || server.model.tools.format.grammar(&called, parallel, &server.model.tokenizer);
        match (choice, asked) {
            (ToolChoice::Required | ToolChoice::Named(_), _) => {
                Ok(Some((Structure::Lark(format!("start: calls\n{}", calls())), "tools")))
            }
            (ToolChoice::Auto, Some((Structure::JsonSchema(schema), param))) => {
                let schema = bounded_space(schema);
                Ok(Some((Structure::Lark(format!("start: calls | json\njson: %json {schema}\n{}", calls())), param)))
            }
            (_, asked) => Ok(asked),
        }
    }
}

/// The stop strings of a request.
pub fn checked_stops(stop: Option<OneOrMany>) -> Result<Vec<String>, ApiError> {
    let stops = stop.map(OneOrMany::into_vec).unwrap_or_default();
    if stops.len() > MAX_STOPS {
        let message = format!("stop has {} strings; at most {MAX_STOPS} are watched for", stops.len());
        return Err(ApiError::invalid("stop", message));
    }
    Ok(stops)
}

/// What is imposed on `n` answers.
fn steering(
    server: &Server,
    opened: bool,
    thinking: Thinking,
    watch_circles: bool,
    structure: Option<(Structure, &str)>,
    n: usize,
) -> Result<Vec<Steering>, ApiError> {
    let tokens = &server.model.thought_tokens;
    let grammar = structure.map(|(s, param)| server.model.grammars.compile(&s, param)).transpose()?;
    // A thought that has not begun could not begin under a grammar, were its tag not one token.
    let asked = matches!(thinking, Thinking::On(Some(_)));
    let may_begin = (server.model.thinks || asked) && (grammar.is_none() || tokens.open().is_some());
    let watch = match thinking {
        Thinking::On(budget) if opened || may_begin => Some(budget),
        _ => None,
    };
    let watch = |_| watch.map(|budget| ThoughtWatch::new(tokens.clone(), opened, budget, watch_circles));
    let grammar = |_| grammar.as_ref().map(|g| g.another());
    Ok((0..n).map(|i| Steering::new(watch(i), grammar(i), tokens.open())).collect())
}

/// An answer gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Thought, text, calls.
    pub whole: Whole,
    /// Its tokens.
    pub tokens: Vec<TokenInfo>,
    /// Why it ended.
    pub finish: Option<&'static str>,
    /// How its thought was cut.
    pub cut: Option<Cut>,
    /// The stop string that ended it.
    pub stop: Option<String>,
    /// The tokens of the prompt, where they are told.
    pub prompt: Vec<TokenInfo>,
}

impl Gathered {
    /// Adds an update.
    pub fn add(&mut self, update: Update) {
        self.prompt.extend(update.prompt.into_iter().flatten());
        self.stop = update.stop.or(self.stop.take());
        update.deltas.into_iter().for_each(|delta| self.whole.add(delta));
        self.tokens.extend(update.tokens);
        self.finish = update.finish.map(|f| f.name()).or(self.finish);
        self.cut = update.cut.or(self.cut);
    }
}

/// What all parts of a reply share.
struct Reply {
    server: Arc<Server>,
    id: String,
    created: u64,
    logprobs: bool,
}

impl Reply {
    fn new(server: &Arc<Server>, logprobs: bool) -> Reply {
        Reply { server: server.clone(), id: new_id("chatcmpl-"), created: now(), logprobs }
    }

    fn frame(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.server.model.name,
            "system_fingerprint": crate::FINGERPRINT, "choices": choices,
        })
    }

    fn logprobs(&self, tokens: &[TokenInfo]) -> Value {
        if self.logprobs { logprobs::chat(&self.server.model, tokens) } else { Value::Null }
    }

    fn whole(&self, answers: Vec<Gathered>, usage: Usage) -> Value {
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            let mut choice = json!({
                "index": index, "message": message(answer.whole), "logprobs": self.logprobs(&answer.tokens),
                "finish_reason": answer.finish,
            });
            if let Some(cut) = answer.cut {
                choice["reasoning_ended_by"] = cut.name().into();
            }
            choice
        });
        let mut reply = self.frame("chat.completion", choices.collect());
        reply["usage"] = usage.json();
        reply
    }
}

fn message(whole: Whole) -> Value {
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    let no_text = whole.content.is_empty() && !whole.calls.is_empty();
    message.insert("content".into(), if no_text { Value::Null } else { whole.content.into() });
    message.insert("refusal".into(), Value::Null);
    if !whole.reasoning.is_empty() {
        message.insert("reasoning_content".into(), whole.reasoning.clone().into());
        message.insert("reasoning".into(), whole.reasoning.into());
    }
    if !whole.calls.is_empty() {
        let call = |(name, arguments): (String, String)| json!({ "id": new_id("call_"), "type": "function", "function": { "name": name, "arguments": arguments } });
        message.insert("tool_calls".into(), whole.calls.into_iter().map(call).collect());
    }
    message.into()
}

/// A reply in chunks.
struct Chunks {
    reply: Reply,
    n: usize,
    include_usage: bool,
}

impl Chunks {
    fn chunk(&self, index: usize, delta: Value, tokens: &[TokenInfo], finish: Option<(&str, Option<Cut>)>) -> String {
        let logprobs = if tokens.is_empty() { Value::Null } else { self.reply.logprobs(tokens) };
        let reason = finish.map(|f| f.0);
        let mut choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        if let Some((_, Some(cut))) = finish {
            choice["reasoning_ended_by"] = cut.name().into();
        }
        self.frame(json!([choice]), Value::Null)
    }

    fn frame(&self, choices: Value, usage: Value) -> String {
        let mut chunk = self.reply.frame("chat.completion.chunk", choices);
        if self.include_usage {
            chunk["usage"] = usage;
        }
        data(&chunk)
    }

    fn delta(delta: Delta) -> Option<Value> {
        Some(match delta {
            Delta::Reasoning(text) => json!({ "reasoning_content": text, "reasoning": text }),
            Delta::Content(text) | Delta::Tool(Part::Text(text)) => json!({ "content": text }),
            Delta::Tool(Part::Call { index: call, name }) => {
                let function = json!({ "name": name, "arguments": "" });
                json!({ "tool_calls": [{ "index": call, "id": new_id("call_"), "type": "function", "function": function }] })
            }
            Delta::Tool(Part::Arguments { index: call, text }) => {
                json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })
            }
            Delta::Retract => return None, // what was sent cannot be taken back
        })
    }
}

impl Tell for Chunks {
    fn begin(&mut self) -> String {
        (0..self.n).map(|i| self.chunk(i, json!({ "role": "assistant", "content": "" }), &[], None)).collect()
    }

    fn update(&mut self, update: Update) -> String {
        let (index, mut tokens, mut text) = (update.index, update.tokens, String::new());
        for delta in update.deltas {
            if let Some(delta) = Chunks::delta(delta) {
                text += &self.chunk(index, delta, &std::mem::take(&mut tokens), None);
            }
        }
        if let Some(finish) = update.finish {
            text += &self.chunk(index, json!({}), &tokens, Some((finish.name(), update.cut)));
        }
        text
    }

    fn end(&mut self, usage: Usage) -> String {
        let usage = if self.include_usage { self.frame(json!([]), usage.json()) } else { String::new() };
        usage + DONE
    }

    fn fail(&mut self, error: &ApiError) -> String {
        data(&error.body()) + DONE
    }
}
