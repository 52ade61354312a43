//! From the messages of a request to the prompt of the model.

mod history;

use crate::error::{ApiError, shown};
use crate::model::Served;
use crate::thinking::Thinking;
use crate::tools::{instructions, written_call};
use crate::types::{TemplateKwargs, Tool, ToolCall};
use meno_engine::reasoning::{CLOSE, OPEN};
use meno_engine::{ChatTemplate, Message};
use serde::Deserialize;
use serde_json::{Value, json};

/// A message of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: Option<Content>,
    /// The thought before it, as this server gave it.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    /// The same under its other name.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// Calls that the assistant made.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Of a tool's message: the call it answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// Who speaks.
    #[serde(default)]
    pub name: Option<String>,
    /// Of the last message: whether the answer goes on where it ends (DeepSeek's and Mistral's word for it).
    #[serde(default)]
    pub prefix: Option<bool>,
}

/// A text, or parts of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts.
    Parts(Vec<ContentPart>),
}

crate::text_or_list::read_text_or_list!(Content, Text, Parts, "a string or an array of parts, each with its type");

/// A part of a message.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ContentPart {
    /// `text` (or `input_text`, `output_text`, `refusal`).
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
}

impl Content {
    /// The whole text; an error for parts that are none.
    pub fn into_text(self, param: &str) -> Result<String, ApiError> {
        let parts = match self {
            Content::Text(text) => return Ok(text),
            Content::Parts(parts) => parts,
        };
        let texts = parts.into_iter().enumerate().map(|(i, part)| match (part.kind.as_str(), part.text) {
            ("text" | "input_text" | "output_text", Some(text)) => Ok(text),
            ("text" | "input_text" | "output_text", None) => {
                let place = format!("{param}[{i}].text");
                Err(ApiError::invalid(&place, format!("{place} is missing; expected a string")))
            }
            (kind, _) => {
                let place = format!("{param}[{i}]");
                let message = format!("{place} is a part of type {:?}; this model reads text only", shown(kind));
                Err(ApiError::unsupported(&place, message))
            }
        });
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}

/// What a prompt is made of.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<ChatMessage>,
    /// Tools that the model is told of.
    pub tools: Vec<Tool>,
    /// Whether and how long it may think.
    pub thinking: Thinking,
    /// Further variables of the template.
    pub kwargs: TemplateKwargs,
    /// Whether the answer goes on where the last message ends.
    pub continues: bool,
    /// Whether the prompt ends without the beginning of an answer.
    pub no_generation_prompt: bool,
}

/// A prompt, ready for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

/// A conversation leads to a prompt, or to an answer that needs no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ask the model.
    Ask(Prompt),
    /// A model of few tasks was asked something else: this is what it says.
    Say(String),
}

/// The text of a [`Turn`]: of a prompt, or an answer that needs no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The prompt.
    Ask {
        /// What the template wrote.
        text: String,
        /// Whether the tokenizer adds its own special tokens: a template writes all of them itself.
        add_special: bool,
    },
    /// The answer.
    Say(String),
}

impl Conversation {
    /// Renders and tokenizes. Takes processor time in proportion to the text; not for the event loop.
    pub fn turn(self, served: &Served) -> Result<Turn, ApiError> {
        match self.written(served)? {
            Written::Ask { text, add_special } => Ok(Turn::Ask(served.encode(text, add_special)?)),
            Written::Say(text) => Ok(Turn::Say(text)),
        }
    }

    /// The tokens of the prompt, however many; none where no model is needed.
    pub fn tokens(self, served: &Served) -> Result<Option<Vec<u32>>, ApiError> {
        match self.written(served)? {
            Written::Ask { text, add_special } => {
                served.check_length(&text)?;
                Ok(Some(served.tokenizer.encode(&text, add_special)?))
            }
            Written::Say(_) => Ok(None),
        }
    }

    /// The text, not yet tokenized.
    pub fn written(mut self, served: &Served) -> Result<Written, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::invalid("messages", "messages is empty; at least one is needed"));
        }
        if let Some(taught) = &served.taught {
            let last = self.messages.iter().rev().find(|m| m.role == "user").and_then(|m| m.content.clone());
            let line = last.map(|c| c.into_text("messages")).transpose()?.unwrap_or_default();
            return Ok(match taught.prompt(&line) {
                Some(text) => Written::Ask { text, add_special: true },
                None => Written::Say(format!("{}\n\n{}", taught.otherwise, taught.examples.join("\n"))),
            });
        }
        self.continues |= self.messages.last().is_some_and(|m| m.prefix == Some(true));
        let (thinking, continues) = (self.thinking, self.continues);
        let prompted = !continues && !self.no_generation_prompt;
        let text = match &served.template {
            Some(template) => self.rendered(template, served, prompted)?,
            None => {
                let mut kwargs = TemplateKwargs::new();
                let messages = self.for_template(served, &mut kwargs, Calls::Listed)?;
                messages.iter().filter_map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        };
        let text = match continues {
            true => up_to_the_mark(text)?,
            false if thinking.is_off() && prompted => without_thought(text, served),
            false => text,
        };
        Ok(Written::Ask { text, add_special: served.template.is_none() })
    }

    /// Renders with the template. Arguments of calls that are no JSON are given as the text they are. Where the template
    /// refuses that, the calls are written into the message as the model writes them; where it refuses several calls in
    /// a turn (Llama's), each call gets its own turn.
    fn rendered(self, template: &ChatTemplate, served: &Served, prompted: bool) -> Result<String, ApiError> {
        let calls = || self.messages.iter().filter_map(|m| m.tool_calls.as_ref());
        let malformed = calls().flatten().map(|c| c.function.arguments.trim()).any(|a| !a.is_empty() && !is_json(a));
        let several = calls().any(|calls| calls.len() > 1);
        let spare = (malformed || several).then(|| self.clone());
        let render = |conversation: Conversation, form: Calls| -> Result<String, ApiError> {
            let mut kwargs = conversation.kwargs.clone();
            let messages = conversation.for_template(served, &mut kwargs, form)?;
            Ok(template.render(&messages, prompted, &kwargs)?)
        };
        let text = render(self, Calls::Listed);
        let (Err(error), Some(other)) = (&text, spare) else { return text };
        let apart = || {
            let messages = history::one_call_a_turn(other.messages.clone());
            render(Conversation { messages, ..other.clone() }, Calls::Listed)
        };
        let apart = if several { apart().ok() } else { None };
        let written = || render(other.clone(), Calls::Written).ok().filter(|_| malformed);
        apart.or_else(written).ok_or_else(|| error.clone())
    }

    /// The messages as the template wants them.
    fn for_template(
        self,
        served: &Served,
        kwargs: &mut TemplateKwargs,
        calls: Calls,
    ) -> Result<Vec<Message>, ApiError> {
        if self.thinking.is_off() {
            for key in ["enable_thinking", "thinking"] {
                kwargs.entry(key).or_insert(false.into());
            }
        }
        let mut messages = Vec::new();
        let mut after_result = false;
        for (i, message) in self.messages.into_iter().enumerate() {
            let result = message.role == "tool" && !served.tools.shows_results;
            let message = message.for_template(i, served, calls)?;
            match messages.last_mut() {
                // Then all results go into one turn of the user.
                Some(last) if result && after_result => history::append(last, &message, "\n"),
                _ => messages.push(message),
            }
            after_result = result;
        }
        if let (true, Some(last)) = (self.continues, messages.last_mut()) {
            mark_the_end(last)?;
        }
        if !self.tools.is_empty() {
            if served.tools.lists_tools {
                kwargs.insert("tools".into(), self.tools.iter().map(Tool::json).collect());
            } else {
                add_to_system(&mut messages, &instructions(served.tools.format, &self.tools));
            }
        }
        Ok(if served.tools.shows_system { messages } else { history::without_system(messages) })
    }
}

/// How calls in the history are given to the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// As the template takes them.
    Listed,
    /// In the text of the message.
    Written,
}

/// Stands in a prompt where the answer goes on; no text of a client holds it.
const MARK: &str = "\u{F8FE}the answer goes on here\u{F8FF}";

/// Marks the end of the text that is continued, or of the thought where there is no text.
fn mark_the_end(message: &mut Message) -> Result<(), ApiError> {
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
        let marked = format!("{thought}{MARK}");
        message.extra.insert("reasoning_content".into(), marked.clone().into());
        message.extra.insert("reasoning".into(), marked.into());
    } else {
        message.content = format!("{text}{MARK}").into();
    }
    Ok(())
}

/// The prompt up to the end of the text that is continued.
fn up_to_the_mark(mut text: String) -> Result<String, ApiError> {
    let Some(at) = text.find(MARK) else {
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
    fn for_template(self, index: usize, served: &Served, written: Calls) -> Result<Message, ApiError> {
        let place = format!("messages[{index}]");
        let role = match self.role.as_str() {
            "developer" => "system",
            role @ ("system" | "user" | "assistant" | "tool") => role,
            other => {
                let message = format!(
                    "{place}.role is {:?}; expected \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"",
                    shown(other)
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
                add_calls(&mut message, calls, written, served);
            }
        }
        if role == "tool" {
            if let Some(id) = self.tool_call_id {
                message.extra.insert("tool_call_id".into(), id.into());
            }
            if !served.tools.shows_results {
                let text = message.content.as_str().unwrap_or_default();
                return Ok(Message::new("user", format!("<tool_response>\n{text}\n</tool_response>")));
            }
        }
        Ok(message)
    }
}

/// The assistant's calls, in the form that the template takes.
fn add_calls(message: &mut Message, calls: Vec<ToolCall>, written: Calls, served: &Served) {
    let form = served.tools.calls_as_objects.filter(|_| written == Calls::Listed);
    let mut list = Vec::new();
    for call in calls {
        let text = match call.function.arguments.trim() {
            "" => "{}",
            text => text,
        };
        let name = call.function.name;
        match form {
            None => list.push(written_call(served.tools.format, &name, text).into()),
            Some(as_object) => {
                // A model may have written arguments that are no JSON: the history shows what it wrote.
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
        if message.content.as_str() == Some("") && served.tools.null_content {
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

/// A prompt after which the answer comes at once: a thought that the template opened is closed, and a model that
/// opens thoughts itself is shown an empty one.
fn without_thought(mut text: String, served: &Served) -> String {
    let end = text.trim_end();
    if end.ends_with(OPEN) {
        text.truncate(end.len());
        text += &format!("\n\n{CLOSE}\n\n");
    } else if served.thinks && !end.ends_with(CLOSE) {
        text += &format!("{OPEN}\n\n{CLOSE}\n\n");
    }
    text
}
