//! The common formats of examples, each converted to one of two: a text with its continuation, or a conversation.

use super::messages::{THOUGHTS, Turn, check_order, mask, parsed, thought, turns};
use crate::data::keys;
use meno_engine::{ChatTemplate, Message};
use serde_json::{Map, Value};

/// An example as stored in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// A prompt and its completion, unchanged.
    Text {
        /// The given text.
        prompt: String,
        /// The trained text.
        completion: String,
    },
    /// A conversation for the chat template.
    Chat(Chat),
}

/// A conversation, and further inputs of the template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chat {
    pub(super) turns: Vec<Turn>,
    /// Variables of the template: `tools` and `chat_template_kwargs`.
    pub(super) extras: Map<String, Value>,
    /// Question and answer for a model without a template.
    pub(super) plain: Option<(String, String)>,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) form: Form,
    /// True if the record's own mask excludes it.
    pub(super) masked: bool,
    /// Its unused columns.
    pub(super) other: Vec<String>,
}

/// Keys of a conversation; the first one present is read.
const CONVERSATIONS: [&str; 3] = ["messages", "conversations", "conversation"];
/// Keys that may accompany a conversation.
const BESIDE: [&str; 3] = ["system", "tools", "chat_template_kwargs"];

/// Returns the content of a record. Nulls count as absent.
pub(super) fn held(value: Value, template: Option<&ChatTemplate>) -> Result<Held, String> {
    let Value::Object(map) = value else { return Err(format!("expected an object, found {}", kind(&value))) };
    let mut record = Record(map.into_iter().filter(|(_, v)| !v.is_null()).collect());
    let masked = !mask(&mut record.0, "", true)?;
    let keys: Vec<String> = record.0.keys().cloned().collect();
    let (form, used) = form(record, template)?;
    let other = keys.into_iter().filter(|key| !used.contains(&key.as_str())).collect();
    Ok(Held { form, masked, other })
}

/// Returns the example of a record, and the keys that were used.
fn form(record: Record, template: Option<&ChatTemplate>) -> Result<(Form, Vec<&'static str>), String> {
    let beside = |keys: &[&'static str]| [keys, &BESIDE].concat();
    if let Some(key) = CONVERSATIONS.into_iter().find(|k| record.has(k)) {
        record.check_one(key)?;
        let turns = turns(&parsed(record.0[key].clone(), key)?, key, template)?;
        return Ok((record.chat(turns, None)?, beside(&CONVERSATIONS)));
    }
    if record.has("prompt") && record.has("completion") {
        return Ok((record.prompt_completion(template)?, beside(&["prompt", "completion"])));
    }
    if record.has("instruction") && record.has("output") {
        let used = [&["instruction", "input", "output", "history"][..], &THOUGHTS].concat();
        return Ok((record.alpaca()?, beside(&used)));
    }
    for (question, answers) in [("question", &["answer"][..]), ("problem", &["solution", "answer"])] {
        let answer = answers.iter().find(|k| record.has(k));
        if let (true, Some(answer)) = (record.has(question), answer) {
            let texts = (record.text(question)?, record.text(answer)?);
            let used = [&[question, answer][..], &THOUGHTS].concat();
            return Ok((record.pair(Vec::new(), texts.0, texts.1)?, beside(&used)));
        }
    }
    Err(format!(
        "expected `messages`, `conversations`, `prompt` and `completion`, `instruction` and `output`, `question` and \
         `answer`, or `problem` and `solution`; its keys are {}",
        keys(&Value::Object(record.0))
    ))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A record without its nulls.
struct Record(Map<String, Value>);

impl Record {
    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns a string, or a number as text.
    fn text(&self, key: &str) -> Result<String, String> {
        match self.0.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(other) => Err(format!("`{key}` is {other}, expected a string")),
            None => Ok(String::new()),
        }
    }

    /// Fails if a record has another example besides the conversation of `key`, because the two may differ.
    fn check_one(&self, key: &str) -> Result<(), String> {
        if let Some(other) = CONVERSATIONS.into_iter().find(|k| self.has(k) && self.0[*k] != self.0[key]) {
            return Err(format!("has `{key}` and `{other}`, and they differ: expected one of them"));
        }
        if self.has("prompt") && self.has("completion") {
            return Err(format!("has `{key}` together with `prompt` and `completion`: expected one of the two"));
        }
        Ok(())
    }

    /// Prompt and completion as texts, or as lists of messages; the messages of the completion are trained on.
    fn prompt_completion(self, template: Option<&ChatTemplate>) -> Result<Form, String> {
        let list = |key: &str| match &self.0[key] {
            Value::Array(_) => Ok(Some(self.0[key].clone())),
            // A cell of a CSV file.
            Value::String(text) if text.trim_start().starts_with("[{") => Ok(serde_json::from_str(text).ok()),
            Value::String(_) => Ok(None),
            other => Err(format!("`{key}` is {other}, expected a string or a list of messages")),
        };
        match (list("prompt")?, list("completion")?) {
            (None, None) => {
                if let Some(key) = THOUGHTS.iter().find(|key| self.has(key)) {
                    return Err(format!(
                        "`{key}` next to a string: put the thought into `completion`, or use messages"
                    ));
                }
                if let Some(key) = BESIDE.iter().find(|key| self.has(key)) {
                    return Err(format!("`{key}` next to a string: put it into `prompt`, or use messages"));
                }
                Ok(Form::Text { prompt: self.text("prompt")?, completion: self.text("completion")? })
            }
            (Some(prompt), Some(completion)) => {
                let mut all = turns(&prompt, "prompt", template)?;
                all.iter_mut().for_each(|t| t.train = false);
                all.extend(turns(&completion, "completion", template)?);
                self.chat(all, None)
            }
            _ => Err("`prompt` and `completion`: expected two strings, or two lists of messages".into()),
        }
    }

    /// Alpaca: an instruction with its input, the answer, a system prompt, earlier pairs.
    fn alpaca(self) -> Result<Form, String> {
        let mut earlier = Vec::new();
        if let Some(history) = self.0.get("history") {
            let history = parsed(history.clone(), "history")?;
            let expected = || format!("`history` is {history}, expected a list of pairs of strings");
            for pair in history.as_array().ok_or_else(expected)? {
                match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(question), Value::String(answer)]) => {
                        earlier.push(said("user", question));
                        earlier.push(said("assistant", answer));
                    }
                    _ => return Err(expected()),
                }
            }
        }
        let parts = [self.text("instruction")?, self.text("input")?];
        let question: Vec<&str> = parts.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let (question, answer) = (question.join("\n"), self.text("output")?);
        self.pair(earlier, question, answer)
    }

    /// A question and its answer, after earlier turns.
    fn pair(self, mut turns: Vec<Turn>, question: String, answer: String) -> Result<Form, String> {
        let mut last = said("assistant", &answer);
        let mut plain = turns.is_empty() && !self.has("system");
        if let Some((key, thought)) = thought(&self.0, "")? {
            last.message.extra.insert(key.into(), thought.into());
            plain = false;
        }
        turns.push(said("user", &question));
        turns.push(last);
        self.chat(turns, plain.then_some((question, answer)))
    }

    /// A conversation with the record's system prompt, tools and variables.
    fn chat(self, mut turns: Vec<Turn>, plain: Option<(String, String)>) -> Result<Form, String> {
        if self.has("system") {
            let system = self.text("system")?;
            if turns.first().is_some_and(|t| t.message.role == "system") {
                return Err("has a `system` and a system message: expected one of them".into());
            }
            turns.insert(0, said("system", &system));
        }
        let mut extras = Map::new();
        if let Some(kwargs) = self.0.get("chat_template_kwargs") {
            match parsed(kwargs.clone(), "chat_template_kwargs")? {
                Value::Object(map) => extras.extend(map.into_iter().filter(|(_, v)| !v.is_null())),
                other => return Err(format!("`chat_template_kwargs` is {other}, expected an object")),
            }
        }
        if let Some(tools) = self.0.get("tools") {
            match parsed(tools.clone(), "tools")? {
                Value::Array(list) if list.iter().all(Value::is_object) => {
                    if !list.is_empty() {
                        extras.insert("tools".into(), list.into());
                    }
                }
                other => return Err(format!("`tools` is {other}, expected a list of objects")),
            }
        }
        if !turns.iter().any(|t| t.message.role == "assistant") {
            return Err("has no message whose `role` is \"assistant\": there is nothing to learn".into());
        }
        check_order(&turns)?;
        Ok(Form::Chat(Chat { turns, extras, plain }))
    }
}

fn said(role: &str, text: &str) -> Turn {
    Turn { message: Message::new(role, text), train: role == "assistant" }
}
