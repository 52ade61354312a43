//! `POST /v1/chat/completions`.

mod calls;
mod reply;

use crate::answer::{Reading, Whole};
use crate::app::Server;
use crate::asked_form::{FormFields, asked_form};
use crate::body::{self, Posted};
use crate::clients::{Client, Work};
use crate::conversation::{ChatMessage, Conversation, Turn};
use crate::error::{ApiError, shown};
use crate::fields::{self, Endpoint};
use crate::generation::{Generation, Order, TokenInfo, Update};
use crate::model::Served;
use crate::shown_thought::ShownThought;
use crate::steering::Steering;
use crate::stream;
use crate::structured::{Grammar, Structure};
use crate::thinking::{Cut, Thinking, ThinkingFields, ThoughtWatch};
use crate::types::{
    MAX_N, MAX_STOPS, MAX_TOP_LOGPROBS, MoreSampling, OneOrMany, SamplingFields, StreamOptions, TemplateKwargs, Tool,
    ToolChoice, custom_names, limit,
};
use axum::extract::State;
use axum::response::Response;
use calls::ForcedCalls;
use meno_engine::Observe;
use meno_engine::reasoning::Splitter;
use reply::{Chunks, Reply};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request, in OpenAI's fields and those of other servers ([`crate::fields`]).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them; those that are ours are in docs/serving.md
pub struct ChatRequest {
    pub model: Option<String>,
    pub messages: Vec<ChatMessage>,
    #[serde(deserialize_with = "limit")]
    pub max_tokens: Option<usize>,
    #[serde(deserialize_with = "limit")]
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
    pub thinking_token_budget: Option<Value>,
    pub thinking_budget_tokens: Option<Value>,
    pub reasoning_budget: Option<Value>,
    pub think: Option<Value>,
    pub reasoning_format: Option<String>,
    pub include_reasoning: Option<bool>,
    pub separate_reasoning: Option<bool>,
    pub loop_breaker: Option<bool>,
    pub chat_template_kwargs: Option<TemplateKwargs>,
    pub documents: Option<Value>,
    pub continue_final_message: Option<bool>,
    pub add_generation_prompt: Option<bool>,
    #[serde(flatten)]
    pub form: FormFields,
    #[serde(flatten)]
    pub more: MoreSampling,
}

/// A conversation to go on with, and the tools that may be called.
pub(crate) struct Asked {
    pub(crate) conversation: Conversation,
    tools: Vec<Tool>,
    names: Vec<String>,
    choice: ToolChoice,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let started = posted.run(&server, Work::Answer, |request: Value, server, client| {
        let request: ChatRequest = fields::read(Endpoint::Chat, request)?;
        let stream = request.stream == Some(true);
        let include_usage = request.stream_options.unwrap_or_default().include_usage;
        let n = request.n.unwrap_or(1);
        let reply = Reply {
            thought: request.shown_thought()?,
            custom: custom_names(request.tools.as_deref().unwrap_or_default()),
            ..Reply::new(server, request.logprobs == Some(true))
        };
        Ok((request.start(server, client)?, reply, stream, n, include_usage))
    });
    let (mut generation, reply, stream, n, include_usage) = started.await?;
    if stream {
        return Ok(stream::respond(generation, Chunks::new(reply, n, include_usage)));
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
        let Asked { conversation, tools, names, choice } = self.asked(server)?;
        let (thinking, continues) = (conversation.thinking, conversation.continues);
        let grammar = self.grammar(&choice, &tools, server, client)?;
        let least = self.more.min_tokens.unwrap_or(0);
        let prompt = match conversation.turn(model)? {
            Turn::Say(text) => return Ok(Generation::fixed(server.clone(), text)),
            Turn::Ask(prompt) => prompt,
        };
        let opened = Splitter::after(&prompt.text).thinking();
        let watch = self.loop_breaker.unwrap_or(server.options.loop_breaker);
        let steering = steering(server, opened, thinking, watch, grammar, n);
        let steering = steering.map(|s| s.with_least(least, sampling.stop_tokens.clone())).collect();
        let calls = (choice != ToolChoice::None).then_some((model.tools.format, names));
        let retract = !thinking.is_off() && !continues;
        let reading = Reading { thought: Some(opened), retract, stops, tools: calls, min_tokens: least };
        let (seed, observe) = (self.seed, Observe::Nothing);
        let order = Order { prompt: prompt.tokens, n, sampling, seed, reading, steering, observe };
        Generation::start(server, client, vec![order])
    }

    /// What the model is asked, before its template writes it.
    pub(crate) fn asked(&mut self, server: &Server) -> Result<Asked, ApiError> {
        server.model.check_name(self.model.as_deref())?;
        let tools = self.checked_tools()?;
        let choice = ToolChoice::read(self.tool_choice.as_ref(), &tools)?;
        if let Some(kwargs) = &self.chat_template_kwargs {
            check_flags(kwargs)?;
        }
        let thinking = Thinking::read(&self.thinking_fields(), server.options.thinking_budget)?;
        // A named function is shown with the others, but what may not be called at all is not.
        let shown = |t: &&Tool| !matches!(choice, ToolChoice::Allowed { .. }) || choice.allows(&t.function.name);
        let shown: Vec<Tool> = tools.iter().filter(shown).cloned().collect();
        let names = shown.iter().map(|t| t.function.name.clone()).collect();
        let conversation = self.conversation(&server.model, &choice, shown, thinking)?;
        Ok(Asked { conversation, tools, names, choice })
    }

    /// What the prompt is made of.
    fn conversation(
        &mut self,
        model: &Served,
        choice: &ToolChoice,
        tools: Vec<Tool>,
        thinking: Thinking,
    ) -> Result<Conversation, ApiError> {
        let mut kwargs = self.chat_template_kwargs.take().unwrap_or_default();
        // Templates get these beside the variables, and Python's servers take them in either place.
        let mut flag = |key: &str, field: Option<bool>| field.or(kwargs.remove(key).and_then(|v| v.as_bool()));
        let generation_prompt = flag("add_generation_prompt", self.add_generation_prompt);
        let continues = flag("continue_final_message", self.continue_final_message) == Some(true);
        if continues && generation_prompt == Some(true) {
            let message = "continue_final_message and add_generation_prompt cannot both be true";
            return Err(ApiError::invalid("continue_final_message", message));
        }
        if let Some(documents) = self.documents.take().filter(|d| d.as_array().is_some_and(|d| !d.is_empty())) {
            if !model.template.as_ref().is_some_and(|t| t.source().contains("documents")) {
                let message = "documents: the chat template of this model shows none; put them into a message";
                return Err(ApiError::unsupported("documents", message));
            }
            kwargs.insert("documents".into(), documents);
        }
        let continues = continues || self.messages.last().is_some_and(|m| m.prefix == Some(true));
        Ok(Conversation {
            messages: std::mem::take(&mut self.messages),
            tools: if *choice == ToolChoice::None { Vec::new() } else { tools },
            thinking,
            kwargs,
            continues,
            no_generation_prompt: generation_prompt == Some(false),
        })
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
                let message = format!("top_logprobs is {k}; at most {MAX_TOP_LOGPROBS} are returned");
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
        Ok(self.tools.take().unwrap_or_default())
    }

    fn sampling_fields(&mut self) -> Result<SamplingFields, ApiError> {
        let max_tokens = self.max_completion_tokens.or(self.max_tokens);
        let fields = SamplingFields {
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
            ..Default::default()
        };
        let fields = self.more.add_to(fields)?;
        if fields.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens is 0; an answer has at least one token"));
        }
        Ok(fields)
    }

    /// Where the thought is shown.
    pub(crate) fn shown_thought(&self) -> Result<ShownThought, ApiError> {
        let excluded = self.reasoning.as_ref().is_some_and(|r| r["exclude"] == true);
        let include = self.include_reasoning.or(excluded.then_some(false));
        ShownThought::read(self.reasoning_format.as_deref(), include, self.separate_reasoning)
    }

    /// What the request says about thinking.
    pub fn thinking_fields(&self) -> ThinkingFields {
        let kwargs = self.chat_template_kwargs.as_ref();
        let kwarg = |key: &str| kwargs.and_then(|k| k.get(key)).cloned();
        ThinkingFields {
            enable_thinking: self.enable_thinking.or(kwarg("enable_thinking").and_then(|v| v.as_bool())),
            thinking: self.thinking.clone().or(kwarg("thinking")),
            reasoning_effort: self.reasoning_effort.clone(),
            reasoning: self.reasoning.clone(),
            think: self.think.clone(),
            budgets: [
                ("reasoning_budget", &self.reasoning_budget),
                ("thinking_budget_tokens", &self.thinking_budget_tokens),
                ("thinking_token_budget", &self.thinking_token_budget),
                ("thinking_budget", &self.thinking_budget),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone().filter(|v| !v.is_null())?)))
            .collect(),
        }
    }

    /// The form of the answer, compiled.
    fn grammar(
        &self,
        choice: &ToolChoice,
        tools: &[Tool],
        server: &Server,
        client: &Client,
    ) -> Result<Option<Grammar>, ApiError> {
        let compiler = client.compiler(server);
        let asked = asked_form(self.response_format.as_ref(), self.structured_outputs.as_ref(), &self.form)?;
        let parallel = self.parallel_tool_calls.unwrap_or(true) && !matches!(choice, ToolChoice::Named(_));
        let calls = ForcedCalls { choice, tools, parallel, model: &server.model, compiler: &compiler };
        if choice.is_forced() {
            return calls.compile("start: calls", "tools").map(Some);
        }
        let may_call = matches!(choice, ToolChoice::Auto | ToolChoice::Allowed { .. });
        match asked {
            Some((Structure::JsonObject, param)) if may_call => calls.or_json(&json!({ "type": "object" }), param),
            Some((Structure::JsonSchema(schema), param)) if may_call => calls.or_json(&schema, param),
            Some((structure, param)) => compiler.compile(&structure, param).map(Some),
            None => Ok(None),
        }
    }
}

/// Refuses switches of the template that are not booleans.
fn check_flags(kwargs: &TemplateKwargs) -> Result<(), ApiError> {
    for key in ["enable_thinking", "add_generation_prompt", "continue_final_message"] {
        if let Some(value) = kwargs.get(key).filter(|v| !v.is_null() && !v.is_boolean()) {
            let place = format!("chat_template_kwargs.{key}");
            let message = format!("{place} is {}; expected true or false", shown(&value.to_string()));
            return Err(ApiError::invalid(&place, message));
        }
    }
    Ok(())
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
    grammar: Option<Grammar>,
    n: usize,
) -> impl Iterator<Item = Steering> {
    let tokens = server.model.thought_tokens.clone();
    // A thought that has not begun could not begin under a grammar, were its tag not one token.
    let asked = matches!(thinking, Thinking::On(Some(_)));
    let may_begin = (server.model.thinks || asked) && (grammar.is_none() || tokens.open().is_some());
    let watch = match thinking {
        Thinking::On(budget) if opened || may_begin => Some(budget),
        _ => None,
    };
    (0..n).map(move |_| {
        let watch = watch.map(|budget| ThoughtWatch::new(tokens.clone(), opened, budget, watch_circles));
        Steering::new(watch, grammar.as_ref().map(|g| g.another()), tokens.open())
    })
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
    /// The tokens of the prompt, if they are returned.
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
