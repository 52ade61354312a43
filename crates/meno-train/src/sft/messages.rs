//! Messages of a data file: roles, contents, tool calls, thoughts, and which answers are trained on.
//!
//! Nothing is ignored silently: an unsupported key, role or content is an error that names it.

use crate::data::keys;
use meno_engine::{ChatTemplate, Message};
use serde_json::{Map, Value, json};

/// A message; `train` is true if its tokens are trained on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) message: Message,
    pub(super) train: bool,
}

impl Turn {
    /// Returns true for an answer without a text, a thought and a call.
    pub(super) fn is_empty(&self) -> bool {
        let Message { content, extra, .. } = &self.message;
        let silent = |text: Option<&Value>| text.and_then(Value::as_str).is_none_or(|t| t.trim().is_empty());
        silent(Some(content)) && !extra.contains_key("tool_calls") && THOUGHTS.iter().all(|key| silent(extra.get(*key)))
    }
}

/// Fails for trained answers without a preceding user message, because no generation prompt leads to them.
pub(super) fn check_order(turns: &[Turn]) -> Result<(), String> {
    let asks = |t: &Turn| !["system", "developer", "assistant"].contains(&t.message.role.as_str());
    for i in (0..turns.len()).filter(|i| turns[*i].train) {
        if i > 0 && turns[i - 1].message.role == "assistant" {
            return Err(format!(
                "messages {i} and {} are both the assistant's: join them, or leave the second out of training \
                 (\"weight\": 0)",
                i + 1
            ));
        }
        if !turns[..i].iter().any(asks) {
            return Err(format!(
                "message {} is an answer, and no message of a user comes before it: add one, or leave it out of \
                 training (\"weight\": 0)",
                i + 1
            ));
        }
    }
    Ok(())
}

/// Returns the thought of a message or a record: its key and its text. If several keys are present, they must have the
/// same text.
pub(super) fn thought(map: &Map<String, Value>, place: &str) -> Result<Option<(&'static str, String)>, String> {
    let named = |key: &str| if place.is_empty() { format!("`{key}`") } else { format!("`{place}.{key}`") };
    let mut found: Option<(&'static str, String)> = None;
    for key in THOUGHTS {
        let text = match map.get(key) {
            Some(Value::String(text)) => text,
            Some(other) => return Err(format!("{} is {other}, expected a string", named(key))),
            None => continue,
        };
        match &found {
            Some((first, other)) if other != text => {
                return Err(format!(
                    "{} and {} hold different thoughts: expected one of them, or the same text in both",
                    named(first),
                    named(key)
                ));
            }
            Some(_) => {}
            None => found = Some((key, text.clone())),
        }
    }
    Ok(found)
}

/// Keys that may contain a thought.
pub(super) const THOUGHTS: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];
/// Keys that determine whether an answer is trained on: OpenAI's, ChatGLM's, ms-swift's, axolotl's.
const MASKS: [&str; 4] = ["weight", "loss_mask", "loss", "train"];

/// Parses a list of messages in OpenAI's format (`role`, `content`) or ShareGPT's (`from`, `value`). `place` is the key
/// of the list.
pub(super) fn turns(list: &Value, place: &str, template: Option<&ChatTemplate>) -> Result<Vec<Turn>, String> {
    let list = list.as_array().ok_or_else(|| format!("`{place}` is not a list of messages"))?;
    let turn = |(i, m): (usize, &Value)| {
        let place = format!("{place}[{i}]");
        let object = m.as_object().ok_or_else(|| format!("`{place}` is {m}, expected a message"))?;
        let message: Map<String, Value> =
            object.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
        turn(message, &place, template)
    };
    list.iter().enumerate().map(turn).collect()
}

fn turn(mut message: Map<String, Value>, place: &str, template: Option<&ChatTemplate>) -> Result<Turn, String> {
    let sharegpt = message.contains_key("from");
    let (role_key, content_key) = if sharegpt { ("from", "value") } else { ("role", "content") };
    let all = keys(&Value::Object(message.clone()));
    let missing = |key: &str| format!("`{place}`: there is no `{key}`; its keys are {all}");
    let role = message.remove(role_key).ok_or_else(|| missing(role_key))?;
    let role = role.as_str().ok_or_else(|| format!("`{place}.{role_key}` is {role}, expected a string"))?.to_owned();
    let role = if sharegpt { sharegpt_role(&role) } else { known_role(&role, template) }
        .ok_or_else(|| format!("`{place}.{role_key}` is {role:?}; expected {}", roles(sharegpt)))?;
    let train = mask(&mut message, place, role == "assistant")?;
    let said = message.remove(content_key).map(|c| text_of(c, &format!("{place}.{content_key}")));
    let mut content = said.transpose()?;
    let mut extra = Map::new();
    if role == "function_call" {
        let text = content.take().ok_or_else(|| missing(content_key))?;
        extra.insert("tool_calls".into(), calls_of_text(&text, place)?);
    }
    let role = if role == "function_call" { "assistant".to_owned() } else { role };
    if let Some(calls) = message.remove("tool_calls").filter(|c| c.as_array().is_none_or(|c| !c.is_empty())) {
        if role != "assistant" {
            return Err(format!("`{place}.tool_calls`: only the assistant calls tools, and its role is {role:?}"));
        }
        extra.insert("tool_calls".into(), calls_of(calls, &format!("{place}.tool_calls"))?);
    }
    if let Some(key) = THOUGHTS.iter().find(|key| role != "assistant" && message.contains_key(**key)) {
        return Err(format!("`{place}.{key}`: only the assistant thinks, and its role is {role:?}"));
    }
    if let Some((_, text)) = thought(&message, place)? {
        // Templates read different keys, so every key that is present stays.
        for key in THOUGHTS.iter().filter(|key| message.remove(**key).is_some()) {
            extra.insert((*key).to_owned(), text.clone().into());
        }
    }
    for (key, value) in message {
        let known = ["name", "tool_call_id"].contains(&key.as_str());
        if !known && !template.is_some_and(|t| reads(t, &key)) {
            return Err(format!(
                "`{place}`: unknown key `{key}`; expected {role_key}, {content_key}, tool_calls, tool_call_id, name, \
                 reasoning_content, weight or loss_mask, or a key that the chat template reads"
            ));
        }
        extra.insert(key, value);
    }
    let calls = extra.contains_key("tool_calls");
    let silent = role == "assistant" && (calls || THOUGHTS.iter().any(|key| extra.contains_key(*key)));
    let content = match content {
        // Python clients send this with a call, and templates expect it.
        Some(text) if text.is_empty() && calls => Value::Null,
        Some(text) => text.into(),
        None if calls => Value::Null,
        None if silent => "".into(),
        None => return Err(missing(content_key)),
    };
    Ok(Turn { train: train && role == "assistant", message: Message { role, content, extra } })
}

fn roles(sharegpt: bool) -> &'static str {
    if sharegpt {
        "system, human (user), gpt (assistant), function_call or observation (tool)"
    } else {
        "system, developer, user, assistant or tool, or a role that the chat template reads"
    }
}

fn known_role(role: &str, template: Option<&ChatTemplate>) -> Option<String> {
    let known = ["system", "developer", "user", "assistant", "tool"].contains(&role);
    (known || template.is_some_and(|t| reads(t, role))).then(|| role.to_owned())
}

fn sharegpt_role(from: &str) -> Option<String> {
    Some(match from {
        "human" | "user" => "user".into(),
        "gpt" | "assistant" | "chatgpt" | "model" | "bot" => "assistant".into(),
        "system" => "system".into(),
        "tool" | "observation" | "function_response" => "tool".into(),
        "function_call" => "function_call".into(),
        _ => return None,
    })
}

/// Returns true if a template refers to a key or a role: as `.word` or in quotes.
pub(super) fn reads(template: &ChatTemplate, word: &str) -> bool {
    let source = template.source();
    let ends = |i: usize| !source[i..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    source.match_indices(word).any(|(i, _)| match source[..i].chars().next_back() {
        Some('.') => ends(i + word.len()),
        Some(quote @ ('\'' | '"')) => source[i + word.len()..].starts_with(quote),
        _ => false,
    })
}

/// Removes the masks of a message or a record and returns true if it is trained on; the default is `true`.
pub(super) fn mask(map: &mut Map<String, Value>, place: &str, assistant: bool) -> Result<bool, String> {
    let mut train = true;
    for key in MASKS {
        let Some(value) = map.remove(key) else { continue };
        let named = if place.is_empty() { format!("`{key}`") } else { format!("`{place}.{key}`") };
        // A cell of a CSV file is a text.
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let on = match (&value, number) {
            (Value::Bool(on), _) => *on,
            (_, Some(0.0)) => false,
            (_, Some(1.0)) => true,
            _ => return Err(format!("{named} is {value}; expected 0 or 1")),
        };
        if on && !assistant {
            return Err(format!("{named} is {value}: only answers of the assistant are trained on"));
        }
        train &= on;
    }
    Ok(train)
}

/// Returns a content as text: a string, or a list of parts that are all text.
fn text_of(value: Value, place: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let text = |(i, part): (usize, &Value)| match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text") | None, Some(text)) => Ok(text.to_owned()),
                (kind, _) => Err(format!("`{place}[{i}]` is a part of type {kind:?}; only text parts are trained on")),
            };
            parts.iter().enumerate().map(text).collect()
        }
        other => Err(format!("`{place}` is {other}, expected a string")),
    }
}

/// Parses tool calls in OpenAI's format. Arguments stay an object or a JSON text, as in the file.
fn calls_of(value: Value, place: &str) -> Result<Value, String> {
    let value = parsed(value, place)?;
    let list = value.as_array().ok_or_else(|| format!("`{place}` is not a list of calls"))?;
    let call = |(i, call): (usize, &Value)| {
        let place = format!("{place}[{i}]");
        let function = call.get("function").filter(|f| !f.is_null()).unwrap_or(call);
        let name = function["name"].as_str().ok_or_else(|| format!("`{place}` has no name of a function"))?;
        let mut out =
            json!({ "type": "function", "function": { "name": name, "arguments": arguments(function, &place)? } });
        if let Some(id) = call.get("id").filter(|id| !id.is_null()) {
            out["id"] = id.clone();
        }
        Ok(out)
    };
    list.iter().enumerate().map(call).collect::<Result<Vec<_>, String>>().map(Value::from)
}

fn arguments(function: &Value, place: &str) -> Result<Value, String> {
    let place = format!("{place}.function.arguments");
    match ["arguments", "parameters"].iter().find_map(|k| function.get(*k)).filter(|a| !a.is_null()) {
        None => Ok(json!({})),
        // Parquet gives all structs of a column the same keys; those without a value count as absent.
        Some(Value::Object(map)) => Ok(map.clone().into_iter().filter(|(_, v)| !v.is_null()).collect()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(json!({})),
        Some(Value::String(text)) => match parsed(text.clone().into(), &place)? {
            Value::Object(_) => Ok(text.clone().into()),
            other => Err(format!("`{place}` is {other}, expected an object")),
        },
        Some(other) => Err(format!("`{place}` is {other}, expected an object")),
    }
}

/// Returns the messages with the arguments of calls as objects or as JSON text, and with missing contents as `null` or
/// as empty text. Templates accept one or the other.
pub(super) fn with_calls(messages: &[Message], objects: bool, nulls: bool) -> Vec<Message> {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        if message.content.is_null() && !nulls {
            message.content = "".into();
        }
        let calls = message.extra.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            let arguments = &mut call["function"]["arguments"];
            let changed = match arguments {
                Value::String(text) if objects => serde_json::from_str(text).ok(),
                Value::Object(_) if !objects => Some(arguments.to_string().into()),
                _ => None,
            };
            *arguments = changed.unwrap_or_else(|| arguments.take());
        }
    }
    messages
}

/// Parses the call, or the list of calls, in the text of a ShareGPT `function_call` message.
fn calls_of_text(text: &str, place: &str) -> Result<Value, String> {
    let place = format!("{place}.value");
    let value: Value = serde_json::from_str(text).map_err(|e| format!("`{place}` is not JSON: {e}"))?;
    calls_of(if value.is_array() { value } else { json!([value]) }, &place)
}

/// Parses a value that may be stored as JSON in a string, as in the cells of a CSV file.
pub(super) fn parsed(value: Value, place: &str) -> Result<Value, String> {
    match value {
        Value::String(text) => serde_json::from_str(&text).map_err(|e| format!("`{place}` is not JSON: {e}")),
        other => Ok(other),
    }
}
