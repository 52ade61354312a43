//! Detects how a chat template handles tools, and provides instructions for templates that do not support them.

use super::deepseek;
use super::format::ToolFormat;
use crate::types::Tool;
use meno_engine::{ChatTemplate, Message, Tokenizer};
use serde_json::{Map, Value, json};

/// How a chat template handles tools, detected by rendering test conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolSupport {
    /// The format of calls.
    pub format: ToolFormat,
    /// True if it shows the list of tools; if not, [`instructions`] are added to the system message.
    pub lists_tools: bool,
    /// True if it expects the arguments of earlier calls as an object; `None`: it does not show earlier calls.
    pub calls_as_objects: Option<bool>,
    /// True if the content of a turn with only calls is null; if not, it is an empty string.
    pub null_content: bool,
    /// True if it shows messages of the role `tool`.
    pub shows_results: bool,
    /// True if it shows messages of the role `system`.
    pub shows_system: bool,
}

/// A way to pass a call to the template.
#[derive(Clone, Copy, Debug)]
struct Trial {
    as_object: bool,
    null_content: bool,
}

/// All ways, in order of preference: the first one with the best score is used.
const TRIALS: [Trial; 4] = [
    Trial { as_object: true, null_content: true },
    Trial { as_object: true, null_content: false },
    Trial { as_object: false, null_content: true },
    Trial { as_object: false, null_content: false },
];

impl ToolSupport {
    /// Detects how a template handles tools.
    pub fn probe(template: Option<&ChatTemplate>, tokenizer: &Tokenizer) -> ToolSupport {
        let format = ToolFormat::of(template, tokenizer);
        let render = |messages: &[Message]| {
            let extras = Map::from_iter([("tools".to_owned(), json!([probe_tool()]))]);
            template.and_then(|t| t.render(messages, true, &extras).ok())
        };
        let user = Message::new("user", "hi");
        let best = TRIALS
            .into_iter()
            .map(|trial| (trial.score(&render), trial))
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        let (score, trial) = best.unwrap_or((0, TRIALS[0]));
        let system = [Message::new("system", "probe_system"), user.clone()];
        let plain = template.and_then(|t| t.render(&system, true, &Map::new()).ok());
        let with_results = render(&trial.conversation(true)).or_else(|| render(&trial.conversation(false)));
        ToolSupport {
            format,
            lists_tools: render(std::slice::from_ref(&user)).is_some_and(|text| text.contains("probe_function")),
            calls_as_objects: (score > 0).then_some(trial.as_object),
            null_content: trial.null_content,
            shows_system: template.is_none()
                || [render(&system), plain].iter().flatten().any(|t| t.contains("probe_system")),
            shows_results: with_results.is_some_and(|text| text.contains("probe_result")),
        }
    }
}

impl Trial {
    /// A question, a call and its result; with `more`, also an answer and another question.
    fn conversation(self, more: bool) -> Vec<Message> {
        let call = |id: &str| {
            let arguments = json!({ "probe_argument": 1 });
            let arguments = if self.as_object { arguments } else { arguments.to_string().into() };
            json!({ "type": "function", "id": id, "function": { "name": "probe_function", "arguments": arguments } })
        };
        let result = |id: &str| {
            let mut result = Message::new("tool", "probe_result");
            result.extra = Map::from_iter([("tool_call_id".to_owned(), id.into())]);
            result
        };
        let calls = Message {
            role: "assistant".into(),
            content: if self.null_content { Value::Null } else { "".into() },
            extra: Map::from_iter([("tool_calls".to_owned(), json!([call("call00000")]))]),
        };
        let mut messages = vec![Message::new("user", "hi"), calls, result("call00000")];
        if more {
            messages.extend([Message::new("assistant", "so"), Message::new("user", "and")]);
        }
        messages
    }

    /// Scores how a template shows the call: 0 if not at all, low if Python's or doubly quoted text appears, else high.
    fn score(self, render: &impl Fn(&[Message]) -> Option<String>) -> usize {
        let of = |messages: &[Message]| {
            let Some(text) = render(messages).filter(|text| text.contains("probe_argument")) else { return 0 };
            if text.contains("None") && !render(&[Message::new("user", "hi")]).is_some_and(|t| t.contains("None")) {
                return 1;
            }
            match text {
                text if text.contains("\\\"probe_argument") => 2, // JSON inside a JSON string
                text if text.contains("'probe_argument'") => 3,
                _ => 4,
            }
        };
        of(&self.conversation(false)) + of(&self.conversation(true)) + of(&self.conversation(false)[..2])
    }
}

fn probe_tool() -> Value {
    json!({ "type": "function", "function": {
        "name": "probe_function", "description": "probe",
        "parameters": {
            "type": "object", "properties": { "probe_key": { "type": "integer", "description": "probe" } },
        },
    }})
}

/// Returns the text of a call in this format, for templates that do not show calls.
pub fn written_call(format: ToolFormat, name: &str, arguments: &str) -> String {
    let quoted = Value::from(name);
    match format {
        ToolFormat::Hermes => format!("<tool_call>\n{{\"name\": {quoted}, \"arguments\": {arguments}}}\n</tool_call>"),
        ToolFormat::Llama => format!("{{\"name\": {quoted}, \"parameters\": {arguments}}}"),
        ToolFormat::DeepSeek => format!(
            "{}{}function{}{name}\n```json\n{arguments}\n```{}{}",
            deepseek::CALLS_BEGIN,
            deepseek::CALL_BEGIN,
            deepseek::SEP,
            deepseek::CALL_END,
            deepseek::CALLS_END
        ),
    }
}

/// Returns the instructions about tools, for templates that do not show tools.
pub fn instructions(format: ToolFormat, tools: &[Tool]) -> String {
    let example = written_call(format, "FUNCTION_NAME", "{\"parameter\": \"value\"}");
    let list: Vec<String> = tools.iter().map(|t| t.function_json().to_string()).collect();
    format!(
        "You can call functions. To call one, write exactly this, with the arguments as valid JSON:\n{example}\n\n\
         These functions are available:\n{}",
        list.join("\n")
    )
}
