//! Turns the messages of a request into the prompt of the model.

mod history;

use crate::chat_message::ChatMessage;
use crate::error::{ApiError, shorten};
use crate::model::ServedModel;
use crate::prompt::Prompt;
use crate::thinking::Thinking;
use crate::tools::{instructions, written_call};
use crate::types::{TemplateKwargs, Tool, ToolCall};
use meno_engine::reasoning::{CLOSE, OPEN};
use meno_engine::{ChatTemplate, Message};
use serde_json::{Value, json};

/// The parts that a prompt is rendered from.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<ChatMessage>,
    /// The tools that the model is shown.
    pub tools: Vec<Tool>,
    /// The thinking mode, with its budget.
    pub thinking: Thinking,
    /// More variables for the chat template.
    pub kwargs: TemplateKwargs,
    /// True if the answer continues the last message.
    pub continues: bool,
    /// True if the prompt ends without the start of the answer.
    pub no_generation_prompt: bool,
}

/// What to do with a conversation: run the model, or answer with a fixed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Run the model on this prompt.
    Generate(Prompt),
    /// Reply with this text: a model that knows only a few tasks was asked something else.
    Fixed(String),
}

/// A [`Turn`] before its prompt is tokenized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderedTurn {
    /// Run the model on this prompt.
    Generate {
        /// The text of the prompt.
        text: String,
        /// True if the tokenizer adds special tokens; false if a template, which writes them itself, rendered the text.
        add_special: bool,
    },
    /// Reply with this text.
    Fixed(String),
}

impl Conversation {
    /// Renders and tokenizes. The CPU time is proportional to the text, so do not call this on the event loop.
    pub fn turn(self, model: &ServedModel) -> Result<Turn, ApiError> {
        match self.render(model)? {
            RenderedTurn::Generate { text, add_special } => Ok(Turn::Generate(model.encode(text, add_special)?)),
            RenderedTurn::Fixed(text) => Ok(Turn::Fixed(text)),
        }
    }

    /// Returns the tokens of the prompt, even if they do not fit into the context; `None` if the model is not needed.
    pub fn tokens(self, model: &ServedModel) -> Result<Option<Vec<u32>>, ApiError> {
        match self.render(model)? {
            RenderedTurn::Generate { text, add_special } => {
                model.check_length(&text)?;
                Ok(Some(model.tokenizer.encode(&text, add_special)?))
            }
            RenderedTurn::Fixed(_) => Ok(None),
        }
    }

    /// Renders the prompt without tokenizing it.
    pub fn render(mut self, model: &ServedModel) -> Result<RenderedTurn, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::invalid("messages", "messages is empty; at least one is needed"));
        }
        if let Some(profile) = &model.task_profile {
            let last = self.messages.iter().rev().find(|m| m.role == "user").and_then(|m| m.content.clone());
            let line = last.map(|c| c.into_text("messages")).transpose()?.unwrap_or_default();
            return Ok(match profile.prompt(&line) {
                Some(text) => RenderedTurn::Generate { text, add_special: true },
                None => RenderedTurn::Fixed(format!("{}\n\n{}", profile.fallback, profile.examples.join("\n"))),
            });
        }
        self.continues |= self.messages.last().is_some_and(|m| m.prefix == Some(true));
        let (thinking, continues) = (self.thinking, self.continues);
        let prompted = !continues && !self.no_generation_prompt;
        let text = match &model.template {
            Some(template) => self.render_with_template(template, model, prompted)?,
            None => {
                let mut kwargs = TemplateKwargs::new();
                let messages = self.for_template(model, &mut kwargs, CallForm::List)?;
                messages.iter().filter_map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        };
        let text = match continues {
            true => up_to_marker(text)?,
            false if thinking.is_off() && prompted => without_thinking(text, model),
            false => text,
        };
        Ok(RenderedTurn::Generate { text, add_special: model.template.is_none() })
    }

    /// Renders with the chat template. Arguments that are not valid JSON are passed as a string. If the template
    /// rejects that, the calls are written into the message in the model's own format. If it rejects several calls in
    /// one turn (Llama's does), each call gets its own turn.
    fn render_with_template(
        self,
        template: &ChatTemplate,
        model: &ServedModel,
        prompted: bool,
    ) -> Result<String, ApiError> {
        let calls = || self.messages.iter().filter_map(|m| m.tool_calls.as_ref());
        let malformed = calls().flatten().map(|c| c.function.arguments.trim()).any(|a| !a.is_empty() && !is_json(a));
        let several = calls().any(|calls| calls.len() > 1);
        let spare = (malformed || several).then(|| self.clone());
        let render = |conversation: Conversation, form: CallForm| -> Result<String, ApiError> {
            let mut kwargs = conversation.kwargs.clone();
            let messages = conversation.for_template(model, &mut kwargs, form)?;
            Ok(template.render(&messages, prompted, &kwargs)?)
        };
        let text = render(self, CallForm::List);
        let (Err(error), Some(other)) = (&text, spare) else { return text };
        let apart = || {
            let messages = history::one_call_a_turn(other.messages.clone());
            render(Conversation { messages, ..other.clone() }, CallForm::List)
        };
        let apart = if several { apart().ok() } else { None };
        let written = || render(other.clone(), CallForm::Text).ok().filter(|_| malformed);
        apart.or_else(written).ok_or_else(|| error.clone())
    }

    /// Converts the messages to the form that the template expects.
    fn for_template(
        self,
        model: &ServedModel,
        kwargs: &mut TemplateKwargs,
        calls: CallForm,
    ) -> Result<Vec<Message>, ApiError> {
        if self.thinking.is_off() {
            for key in ["enable_thinking", "thinking"] {
                kwargs.entry(key).or_insert(false.into());
            }
        }
        let mut messages = Vec::new();
        let mut after_result = false;
        for (i, message) in self.messages.into_iter().enumerate() {
            let result = message.role == "tool" && !model.tools.shows_results;
            let message = message.for_template(i, model, calls)?;
            match messages.last_mut() {
                // The template has no role for results, so put all of them into one turn of the user.
                Some(last) if result && after_result => history::append(last, &message, "\n"),
                _ => messages.push(message),
            }
            after_result = result;
        }
        if let (true, Some(last)) = (self.continues, messages.last_mut()) {
            mark_end(last)?;
        }
        if !self.tools.is_empty() {
            if model.tools.lists_tools {
                kwargs.insert("tools".into(), self.tools.iter().map(Tool::json).collect());
            } else {
                add_to_system(&mut messages, &instructions(model.tools.format, &self.tools));
            }
        }
        Ok(if model.tools.shows_system { messages } else { history::without_system(messages) })
    }
}

/// How the template gets earlier calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallForm {
    /// As a list of calls.
    List,
    /// As part of the text of the message.
    Text,
}

/// Marks the place in the prompt where the answer continues. Texts of clients do not contain it.
const MARKER: &str = "\u{F8FE}the answer goes on here\u{F8FF}";

/// Marks the end of the text to continue, or of the thinking if there is no text.
fn mark_end(message: &mut Message) -> Result<(), ApiError> {
    let refuse = |what: &str| {
        let message = format!("the last message cannot be continued: {what}");
        Err(ApiError::invalid("continue_final_message", message))
    };
    if message.extra.contains_key("tool_calls") {
        return refuse("it calls tools");
    }
    let text = message.content.as_str().unwrap_or_default();
    let thought = message.extra.get("reasoning_content").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() && !thought.is_empty() {
        let marked = format!("{thought}{MARKER}");
        message.extra.insert("reasoning_content".into(), marked.clone().into());
        message.extra.insert("reasoning".into(), marked.into());
    } else {
        message.content = format!("{text}{MARKER}").into();
    }
    Ok(())
}

/// Cuts the prompt off at the marker.
fn up_to_marker(mut text: String) -> Result<String, ApiError> {
    let Some(at) = text.find(MARKER) else {
        let message = "the last message cannot be continued: the chat template does not show where it ends";
        return Err(ApiError::invalid("continue_final_message", message));
    };
    text.truncate(at);
    Ok(text)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

impl ChatMessage {
    fn for_template(self, index: usize, model: &ServedModel, calls_as: CallForm) -> Result<Message, ApiError> {
        let place = format!("messages[{index}]");
        let role = match self.role.as_str() {
            "developer" => "system",
            role @ ("system" | "user" | "assistant" | "tool") => role,
            other => {
                let message = format!(
                    "{place}.role is {:?}; expected \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"",
                    shorten(other)
                );
                return Err(ApiError::invalid(&format!("{place}.role"), message));
            }
        };
        let calls = self.tool_calls.unwrap_or_default();
        let text = self.content.map(|c| c.into_text(&format!("{place}.content"))).transpose()?;
        if text.is_none() && calls.is_empty() && role != "assistant" {
            return Err(ApiError::invalid(&format!("{place}.content"), format!("{place}.content is missing")));
        }
        let mut message = Message::new(role, text.unwrap_or_default());
        if let Some(name) = self.name {
            message.extra.insert("name".into(), name.into());
        }
        if role == "assistant" {
            if let Some(thought) = self.reasoning_content.or(self.reasoning) {
                message.extra.insert("reasoning_content".into(), thought.clone().into());
                message.extra.insert("reasoning".into(), thought.into());
            }
            if !calls.is_empty() {
                add_calls(&mut message, calls, calls_as, model);
            }
        }
        if role == "tool" {
            if let Some(id) = self.tool_call_id {
                message.extra.insert("tool_call_id".into(), id.into());
            }
            if !model.tools.shows_results {
                let text = message.content.as_str().unwrap_or_default();
                return Ok(Message::new("user", format!("<tool_response>\n{text}\n</tool_response>")));
            }
        }
        Ok(message)
    }
}

/// Adds the assistant's calls in the form that the template supports.
fn add_calls(message: &mut Message, calls: Vec<ToolCall>, calls_as: CallForm, model: &ServedModel) {
    let form = model.tools.calls_as_objects.filter(|_| calls_as == CallForm::List);
    let mut list = Vec::new();
    for call in calls {
        let text = match call.function.arguments.trim() {
            "" => "{}",
            text => text,
        };
        let name = call.function.name;
        match form {
            None => list.push(written_call(model.tools.format, &name, text).into()),
            Some(as_object) => {
                // A model may have written arguments that are not JSON. Show them unchanged.
                let object = serde_json::from_str::<Value>(text).ok().filter(|_| as_object);
                let arguments = object.unwrap_or_else(|| text.into());
                let function = json!({ "name": name, "arguments": arguments });
                list.push(json!({ "id": call.id, "type": "function", "function": function }));
            }
        }
    }
    if form.is_none() {
        let text = message.content.as_str().unwrap_or_default();
        let lines = [text].into_iter().chain(list.iter().filter_map(Value::as_str)).filter(|l| !l.is_empty());
        message.content = lines.collect::<Vec<_>>().join("\n").into();
    } else {
        message.extra.insert("tool_calls".into(), list.into());
        if message.content.as_str() == Some("") && model.tools.null_content {
            message.content = Value::Null;
        }
    }
}

fn add_to_system(messages: &mut Vec<Message>, text: &str) {
    match messages.first_mut() {
        Some(first) if first.role == "system" => {
            first.content = format!("{}\n\n{text}", first.content.as_str().unwrap_or_default()).into();
        }
        _ => messages.insert(0, Message::new("system", text)),
    }
}

/// Ends the prompt so that the model answers without thinking: closes the thinking that the template opened, or adds an
/// empty one if the model would open it itself.
fn without_thinking(mut text: String, model: &ServedModel) -> String {
    let end = text.trim_end();
    if end.ends_with(OPEN) {
        text.truncate(end.len());
        text += &format!("\n\n{CLOSE}\n\n");
    } else if model.thinks && !end.ends_with(CLOSE) {
        text += &format!("{OPEN}\n\n{CLOSE}\n\n");
    }
    text
}
