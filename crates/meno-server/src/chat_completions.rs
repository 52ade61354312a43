//! `POST /v1/chat/completions`.

mod calls;
mod reply;

use crate::asked_form::{FormFields, asked_form};
use crate::body::JsonBody;
use crate::chat_message::ChatMessage;
use crate::clients::Client;
use crate::conversation::{Conversation, Turn};
use crate::error::{ApiError, shorten};
use crate::fields::{self, Endpoint};
use crate::generation::Generation;
use crate::generation_fields::{SamplingFields, token_limit};
use crate::model::ServedModel;
use crate::reasoning_display::ReasoningDisplay;
use crate::request::{self, AnswerSettings, Started, ThinkingSettings};
use crate::state::Server;
use crate::structure::Structure;
use crate::structured::Grammar;
use crate::thinking::{Thinking, ThinkingFields};
use crate::types::{MAX_N, MAX_TOP_LOGPROBS, StreamOptions, TemplateKwargs, Tool, ToolChoice, custom_names};
use axum::extract::State;
use axum::response::Response;
use calls::CallGrammar;
use meno_engine::Observe;
use meno_engine::reasoning::Splitter;
use reply::{ChatReply, ChatReplyOptions};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A request, with OpenAI's fields and those of other servers (`fields`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // documented in OpenAI's reference; the others are in docs/serving.md
pub struct ChatRequest {
    pub model: Option<String>,
    pub messages: Vec<ChatMessage>,
    #[serde(deserialize_with = "token_limit")]
    pub max_completion_tokens: Option<usize>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<usize>,
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
    pub sampling: SamplingFields,
}

/// A validated chat request: the conversation, the tools, and the names of the tools that the model sees.
pub(crate) struct PreparedChat {
    pub(crate) conversation: Conversation,
    tools: Vec<Tool>,
    names: Vec<String>,
    choice: ToolChoice,
}

/// Handles `POST /v1/chat/completions`.
pub async fn create(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let start = |request: Value, server: &Arc<Server>, client: &Client| {
        let request: ChatRequest = fields::read(Endpoint::Chat, request)?;
        let reply = ChatReply::new(server, request.reply_options()?);
        let stream = request.stream == Some(true);
        Ok(Started { generation: request.start(server, client)?, reply, stream })
    };
    request::create(&server, body, start).await
}

impl ChatRequest {
    /// Validates the request, renders the prompt and submits it to the engine. Needs CPU time, so do not call this on
    /// the event loop.
    pub(crate) fn start(mut self, server: &Arc<Server>, client: &Client) -> Result<Generation, ApiError> {
        let model = &server.model;
        let n = self.checked_n()?;
        let mut fields = self.sampling_fields()?;
        let sampling = model.sampling(&fields, self.checked_top_logprobs()?)?;
        let stops = fields.take_stops()?;
        let PreparedChat { conversation, tools, names, choice } = self.prepare(server)?;
        let (thinking, continues) = (conversation.thinking, conversation.continues);
        let grammar = self.grammar(&choice, &tools, server, client)?;
        let prompt = match conversation.turn(model)? {
            Turn::Fixed(text) => return Ok(Generation::fixed(server.clone(), text)),
            Turn::Generate(prompt) => prompt,
        };
        let thinking = ThinkingSettings {
            opened: Splitter::after(&prompt.text).thinking(),
            thinking,
            detect_loops: self.loop_breaker.unwrap_or(server.options.loop_breaker),
            retract: !thinking.is_off() && !continues,
        };
        let settings = AnswerSettings {
            n,
            sampling,
            seed: fields.seed,
            stops,
            min_tokens: fields.min_tokens.unwrap_or(0),
            grammar,
            thinking: Some(thinking),
            tools: (choice != ToolChoice::None).then_some((model.tools.format, names)),
            observe: Observe::Nothing,
        };
        settings.start(server, client, [prompt.tokens])
    }

    /// Validates the request and returns its conversation, not rendered yet.
    pub(crate) fn prepare(&mut self, server: &Server) -> Result<PreparedChat, ApiError> {
        server.model.check_name(self.model.as_deref())?;
        let tools = self.checked_tools()?;
        let choice = ToolChoice::read(self.tool_choice.as_ref(), &tools)?;
        if let Some(kwargs) = &self.chat_template_kwargs {
            check_flags(kwargs)?;
        }
        let thinking = Thinking::read(&self.thinking_fields(), server.options.thinking_budget)?;
        // If `tool_choice` names one function, the others are still shown. With `allowed_tools` only those are shown.
        let shown = |t: &&Tool| !matches!(choice, ToolChoice::Allowed { .. }) || choice.allows(&t.function.name);
        let shown: Vec<Tool> = tools.iter().filter(shown).cloned().collect();
        let names = shown.iter().map(|t| t.function.name.clone()).collect();
        let conversation = self.conversation(&server.model, &choice, shown, thinking)?;
        Ok(PreparedChat { conversation, tools, names, choice })
    }

    /// Returns the parts of the prompt.
    fn conversation(
        &mut self,
        model: &ServedModel,
        choice: &ToolChoice,
        tools: Vec<Tool>,
        thinking: Thinking,
    ) -> Result<Conversation, ApiError> {
        let mut kwargs = self.chat_template_kwargs.take().unwrap_or_default();
        // Templates receive these two apart from the other variables. Like Python's servers, accept
        // them in either place.
        let mut flag = |key: &str, field: Option<bool>| field.or(kwargs.remove(key).and_then(|v| v.as_bool()));
        let generation_prompt = flag("add_generation_prompt", self.add_generation_prompt);
        let continues = flag("continue_final_message", self.continue_final_message) == Some(true);
        if continues && generation_prompt == Some(true) {
            let message = "continue_final_message and add_generation_prompt cannot both be true";
            return Err(ApiError::invalid("continue_final_message", message));
        }
        if let Some(documents) = self.documents.take().filter(|d| d.as_array().is_some_and(|d| !d.is_empty())) {
            if !model.template.as_ref().is_some_and(|t| t.source().contains("documents")) {
                let message =
                    "documents: the chat template of this model does not show documents; put them into a message";
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
        let n = self.sampling.n.unwrap_or(1);
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
            return Err(ApiError::unsupported("functions", "functions is deprecated; send tools"));
        }
        Ok(self.tools.take().unwrap_or_default())
    }

    fn sampling_fields(&mut self) -> Result<SamplingFields, ApiError> {
        let mut fields = std::mem::take(&mut self.sampling);
        fields.max_tokens = self.max_completion_tokens.or(fields.max_tokens);
        fields.check_min_tokens()?;
        if fields.limit() == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens is 0; an answer has at least one token"));
        }
        Ok(fields)
    }

    fn reply_options(&self) -> Result<ChatReplyOptions, ApiError> {
        Ok(ChatReplyOptions {
            // `start` validates the number; here it must only not be too large.
            n: self.sampling.n.unwrap_or(1).min(MAX_N),
            logprobs: self.logprobs == Some(true),
            include_usage: self.stream_options.unwrap_or_default().include_usage,
            display: self.reasoning_display()?,
            custom: custom_names(self.tools.as_deref().unwrap_or_default()),
        })
    }

    /// Where the reply shows the thinking.
    pub(crate) fn reasoning_display(&self) -> Result<ReasoningDisplay, ApiError> {
        let excluded = self.reasoning.as_ref().is_some_and(|r| r["exclude"] == true);
        let include = self.include_reasoning.or(excluded.then_some(false));
        ReasoningDisplay::read(self.reasoning_format.as_deref(), include, self.separate_reasoning)
    }

    /// Returns the fields about thinking.
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

    /// Compiles the grammar of the answer, if there is one.
    fn grammar(
        &self,
        choice: &ToolChoice,
        tools: &[Tool],
        server: &Server,
        client: &Client,
    ) -> Result<Option<Grammar>, ApiError> {
        let compiler = server.compiler(client);
        let form = asked_form(self.response_format.as_ref(), self.structured_outputs.as_ref(), &self.form)?;
        let parallel = self.parallel_tool_calls.unwrap_or(true) && !matches!(choice, ToolChoice::Named(_));
        let calls = CallGrammar { choice, tools, parallel, model: &server.model, compiler: &compiler };
        if choice.is_forced() {
            return calls.compile("start: calls", "tools").map(Some);
        }
        let may_call = matches!(choice, ToolChoice::Auto | ToolChoice::Allowed { .. });
        match form {
            Some((Structure::JsonObject, param)) if may_call => calls.or_json(&json!({ "type": "object" }), param),
            Some((Structure::JsonSchema(schema), param)) if may_call => calls.or_json(&schema, param),
            Some((structure, param)) => compiler.compile(&structure, param).map(Some),
            None => Ok(None),
        }
    }
}

/// Rejects template flags that are not booleans.
fn check_flags(kwargs: &TemplateKwargs) -> Result<(), ApiError> {
    for key in ["enable_thinking", "add_generation_prompt", "continue_final_message"] {
        if let Some(value) = kwargs.get(key).filter(|v| !v.is_null() && !v.is_boolean()) {
            let place = format!("chat_template_kwargs.{key}");
            let message = format!("{place} is {}; expected true or false", shorten(&value.to_string()));
            return Err(ApiError::invalid(&place, message));
        }
    }
    Ok(())
}
