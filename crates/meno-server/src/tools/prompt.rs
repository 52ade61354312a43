//! Whether a chat template knows tools, and the words for those that do not.

use super::{Format, deepseek};
use crate::types::Tool;
use meno_engine::{ChatTemplate, Message, Tokenizer};
use serde_json::{Map, Value, json};

/// What a chat template does with tools, found by trying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolSupport {
    /// How the model writes calls.
    pub format: Format,
    /// Whether it shows the list of tools; else [`instructions`] go into the system message.
    pub lists_tools: bool,
    /// Whether it shows earlier calls; `None`: not at all, else whether it wants their arguments as an object.
    pub calls_as_objects: Option<bool>,
    /// Whether it shows messages of the role `tool`.
    pub shows_results: bool,
}

impl ToolSupport {
    /// Tries a template.
    pub fn probe(template: Option<&ChatTemplate>, tokenizer: &Tokenizer) -> ToolSupport {
        let format = Format::of(template, tokenizer);
        let shows = |messages: &[Message], needle: &str| {
            let extras = Map::from_iter([("tools".to_owned(), json!([probe_tool()]))]);
            let rendered = template.and_then(|t| t.render(messages, true, &extras).ok());
            rendered.is_some_and(|text| text.contains(needle))
        };
        let user = Message::new("user", "hi");
        let calls = |arguments: Value| vec![user.clone(), probe_call(arguments)];
        let calls_as_objects = if shows(&calls(json!({"probe_key": 1})), "probe_key") {
            Some(true)
        } else {
            shows(&calls(json!("{\"probe_key\": 1}")), "probe_key").then_some(false)
        };
        let mut result = Message::new("tool", "probe_result");
        result.extra = Map::from_iter([("tool_call_id".to_owned(), "call00000".into())]);
        let arguments = if calls_as_objects == Some(false) { json!("{}") } else { json!({}) };
        let mut with_result = calls(arguments);
        with_result.push(result);
        ToolSupport {
            format,
            lists_tools: shows(std::slice::from_ref(&user), "probe_function"),
            calls_as_objects,
            shows_results: shows(&with_result, "probe_result"),
        }
    }
}

fn probe_tool() -> Value {
    json!({ "type": "function", "function": {
        "name": "probe_function", "description": "probe",
        "parameters": { "type": "object", "properties": { "probe_key": { "type": "integer", "description": "probe" } } },
    }})
}

fn probe_call(arguments: Value) -> Message {
    let call = json!({ "type": "function", "id": "call00000",
                       "function": { "name": "probe_function", "arguments": arguments } });
    Message {
        role: "assistant".into(),
        content: Value::Null,
        extra: Map::from_iter([("tool_calls".to_owned(), json!([call]))]),
    }
}

/// A call as a model of this format writes it, for templates that do not show calls.
pub fn written_call(format: Format, name: &str, arguments: &str) -> String {
    let quoted = Value::from(name);
    match format {
        Format::Hermes => format!("<tool_call>\n{{\"name\": {quoted}, \"arguments\": {arguments}}}\n</tool_call>"),
        Format::Llama => format!("{{\"name\": {quoted}, \"parameters\": {arguments}}}"),
        Format::DeepSeek => format!(
            "{}{}function{}{name}\n```json\n{arguments}\n```{}{}",
            deepseek::CALLS_BEGIN,
            deepseek::CALL_BEGIN,
            deepseek::SEP,
            deepseek::CALL_END,
            deepseek::CALLS_END
        ),
    }
}

/// What tells a model of its tools where the template does not.
pub fn instructions(format: Format, tools: &[Tool]) -> String {
    let example = written_call(format, "FUNCTION_NAME", "{\"parameter\": \"value\"}");
    let list: Vec<String> = tools.iter().map(|t| t.function_json().to_string()).collect();
    format!(
        "You can call functions. To call one, write exactly this, with the arguments as valid JSON:\n{example}\n\n\
         These functions are available:\n{}",
        list.join("\n")
    )
}
