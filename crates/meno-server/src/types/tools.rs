//! Tools of a request, `tool_choice` and tool calls.

use crate::error::{ApiError, shorten};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A tool of a request.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "SentTool")]
pub struct Tool {
    /// `function`, or `custom`: a function with one string argument, which the client receives as plain text.
    pub kind: String,
    /// The function.
    pub function: Function,
}

/// A tool as clients send it. Chat completions put its fields under `function` or `custom`, responses next to `type`.
#[derive(Deserialize)]
struct SentTool {
    #[serde(rename = "type", default = "function")]
    kind: String,
    function: Option<Function>,
    custom: Option<CustomTool>,
    /// The fields next to `type`.
    #[serde(flatten)]
    flat: Map<String, Value>,
}

/// A tool that takes plain text.
#[derive(Deserialize)]
struct CustomTool {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    format: Option<Value>,
}

impl TryFrom<SentTool> for Tool {
    type Error = String;

    fn try_from(sent: SentTool) -> Result<Tool, String> {
        fn read<T: serde::de::DeserializeOwned>(flat: Map<String, Value>) -> Result<T, String> {
            serde_json::from_value(flat.into()).map_err(|e| e.to_string())
        }
        let function = match sent.kind.as_str() {
            "function" => sent.function.map_or_else(|| read(sent.flat), Ok)?,
            "custom" => sent.custom.map_or_else(|| read(sent.flat), Ok)?.function()?,
            other => {
                return Err(format!(
                    "a tool of type {:?}; this server supports \"function\" and \"custom\"",
                    shorten(other)
                ));
            }
        };
        if function.name.is_empty() {
            return Err("the name of a tool is empty".to_owned());
        }
        if let Some(other) = function.parameters.as_ref().filter(|p| !p.is_null() && !p.is_object() && !p.is_boolean())
        {
            return Err(format!("parameters is {}; expected a JSON schema, an object", shorten(&other.to_string())));
        }
        Ok(Tool { kind: sent.kind, function })
    }
}

impl CustomTool {
    /// Returns the function with one string argument that the model is shown.
    fn function(self) -> Result<Function, String> {
        let mut input = json!({ "type": "string" });
        let format = self.format.as_ref().filter(|f| !f.is_null());
        if let Some(format) = format.filter(|f| f["type"] != "text") {
            // Chat completions put the grammar's fields under `grammar`, responses next to `type`.
            let grammar = if format["grammar"].is_object() { &format["grammar"] } else { format };
            match (grammar["syntax"].as_str(), grammar["definition"].as_str()) {
                (Some("regex"), Some(regex)) => {
                    input["pattern"] = format!("^(?:{regex})$").into();
                    input["description"] = format!("Text that matches the regular expression {regex}").into();
                }
                (Some("lark"), Some(lark)) => {
                    input["description"] = format!("Text that follows this Lark grammar:\n{lark}").into();
                }
                _ => {
                    return Err("format: expected {\"type\": \"text\"}, or \"grammar\" with syntax (\"lark\" or \
                                \"regex\") and definition"
                        .to_owned());
                }
            }
        }
        let parameters = json!({
            "type": "object", "properties": { "input": input }, "required": ["input"], "additionalProperties": false,
        });
        let (name, description) = (self.name, self.description);
        Ok(Function { name, description, parameters: Some(parameters), ..Default::default() })
    }
}

/// Extracts the text from the arguments of a call of a custom tool.
pub fn custom_input(arguments: &str) -> String {
    let read = serde_json::from_str::<Value>(arguments).ok();
    let input = read.as_ref().and_then(|v| v.get("input")).and_then(Value::as_str);
    input.map_or_else(|| arguments.to_owned(), str::to_owned)
}

/// Returns the names of the custom tools.
pub fn custom_names(tools: &[Tool]) -> Vec<String> {
    tools.iter().filter(|t| t.kind == "custom").map(|t| t.function.name.clone()).collect()
}

/// A function that the model may call.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// True if arguments must follow the schema exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Other fields that the client sent; templates can show them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Tool {
    /// The function without the type, as JSON.
    pub fn function_json(&self) -> Value {
        json!(self.function)
    }

    /// The tool in the form that chat templates expect.
    pub fn json(&self) -> Value {
        json!({ "type": "function", "function": self.function })
    }

    /// The schema of the arguments; if there is none, any object is valid.
    pub fn schema(&self) -> Value {
        self.function.parameters.clone().unwrap_or_else(|| json!({ "type": "object" }))
    }
}

/// The parsed `tool_choice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// No calls.
    None,
    /// The model decides.
    Auto,
    /// At least one call.
    Required,
    /// A call of this function.
    Named(String),
    /// Only these functions may be called.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// True if at least one call is required.
        required: bool,
    },
}

impl ToolChoice {
    /// Parses `tool_choice`: a string, or `{"type": "function", "function": {"name": …}}`, or, as in the Responses API,
    /// `{"type": "function", "name": …}`.
    pub fn read(value: Option<&Value>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
        let expected =
            "expected \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}";
        let choice = match value {
            None | Some(Value::Null) => return Ok(if tools.is_empty() { ToolChoice::None } else { ToolChoice::Auto }),
            Some(Value::String(word)) => match word.as_str() {
                "none" => return Ok(ToolChoice::None),
                "auto" => ToolChoice::Auto,
                "required" | "any" => ToolChoice::Required,
                other => {
                    return Err(ApiError::invalid(
                        "tool_choice",
                        format!("tool_choice {:?}: {expected}", shorten(other)),
                    ));
                }
            },
            Some(object) if object["type"] == "allowed_tools" => return ToolChoice::allowed(object, tools),
            Some(object) => {
                let name = object["function"]["name"].as_str().or(object["custom"]["name"].as_str());
                let name = name.or(object["name"].as_str());
                let name = name.ok_or_else(|| ApiError::invalid("tool_choice", format!("tool_choice: {expected}")))?;
                if !tools.iter().any(|t| t.function.name == name) {
                    let message =
                        format!("tool_choice names the function {:?}, which is not among the tools", shorten(name));
                    return Err(ApiError::invalid("tool_choice", message));
                }
                ToolChoice::Named(name.to_owned())
            }
        };
        if tools.is_empty() && choice != ToolChoice::Auto {
            return Err(ApiError::invalid("tool_choice", "tool_choice asks for a call, but there are no tools"));
        }
        Ok(if tools.is_empty() { ToolChoice::None } else { choice })
    }

    /// Parses `{"type": "allowed_tools", "mode": …, "tools": […]}`; chat completions put the last two under
    /// `allowed_tools`.
    fn allowed(object: &Value, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
        let bad = |message: String| ApiError::invalid("tool_choice", format!("tool_choice.allowed_tools: {message}"));
        let inner = if object["allowed_tools"].is_object() { &object["allowed_tools"] } else { object };
        let required = match inner["mode"].as_str() {
            None | Some("auto") => false,
            Some("required") => true,
            Some(other) => return Err(bad(format!("mode {:?}; expected \"auto\" or \"required\"", shorten(other)))),
        };
        let Some(list) = inner["tools"].as_array().filter(|l| !l.is_empty()) else {
            return Err(bad("tools: expected a list of tools, each with its name".to_owned()));
        };
        let mut names = Vec::new();
        for tool in list {
            let name = [&tool["function"]["name"], &tool["custom"]["name"], &tool["name"]];
            let name = name.into_iter().find_map(Value::as_str).unwrap_or_default();
            if !tools.iter().any(|t| t.function.name == name) {
                return Err(bad(format!("{:?} is not among the tools", shorten(name))));
            }
            names.push(name.to_owned());
        }
        Ok(ToolChoice::Allowed { names, required })
    }

    /// Returns true if a call is required.
    pub fn is_forced(&self) -> bool {
        matches!(self, ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    }

    /// Returns true if a function may be called.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            ToolChoice::None => false,
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::Named(one) => one == name,
            ToolChoice::Allowed { names, .. } => names.iter().any(|n| n == name),
        }
    }
}

/// A tool call in the history or in an answer.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(try_from = "SentCall")]
pub struct ToolCall {
    /// Its id.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The function that is called.
    pub function: CalledFunction,
}

/// A tool call as clients send it.
#[derive(Deserialize)]
struct SentCall {
    #[serde(default)]
    id: Option<String>,
    function: Option<CalledFunction>,
    custom: Option<CalledCustom>,
}

#[derive(Deserialize)]
struct CalledCustom {
    name: String,
    #[serde(default)]
    input: String,
}

impl TryFrom<SentCall> for ToolCall {
    type Error = String;

    fn try_from(sent: SentCall) -> Result<ToolCall, String> {
        let function = match (sent.function, sent.custom) {
            (Some(function), _) => function,
            (None, Some(custom)) => CalledFunction::custom(custom.name, &custom.input),
            (None, None) => return Err("a call needs function, with name and arguments".to_owned()),
        };
        Ok(ToolCall { id: sent.id.unwrap_or_default(), kind: "function".into(), function })
    }
}

fn function() -> String {
    "function".to_owned()
}

/// A function with the arguments of a call.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct CalledFunction {
    /// The function's name.
    pub name: String,
    /// The arguments as JSON text. Some clients send an object instead.
    #[serde(default, deserialize_with = "text_of_json")]
    pub arguments: String,
}

impl CalledFunction {
    /// Returns a call of a custom tool in the form that the model writes.
    pub fn custom(name: String, input: &str) -> CalledFunction {
        CalledFunction { name, arguments: json!({ "input": input }).to_string() }
    }
}

fn text_of_json<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_choice_in_every_form() {
        let tool: Tool = serde_json::from_value(json!({"type": "function", "function": {"name": "f"}})).unwrap();
        let tools = [tool];
        let read = |v: Value| ToolChoice::read(Some(&v), &tools);
        assert_eq!(ToolChoice::read(None, &tools).unwrap(), ToolChoice::Auto);
        assert_eq!(ToolChoice::read(None, &[]).unwrap(), ToolChoice::None);
        assert_eq!(read(json!("required")).unwrap(), ToolChoice::Required);
        assert_eq!(read(json!("none")).unwrap(), ToolChoice::None);
        let named = json!({"type": "function", "function": {"name": "f"}});
        assert_eq!(read(named).unwrap(), ToolChoice::Named("f".into()));
        assert!(read(json!({"function": {"name": "g"}})).unwrap_err().message.contains("\"g\""));
        assert!(read(json!("perhaps")).unwrap_err().message.contains("perhaps"));
        assert!(ToolChoice::read(Some(&json!("required")), &[]).is_err());
    }

    #[test]
    fn allowed_tools_in_both_forms() {
        let tools: Vec<Tool> = ["f", "g"]
            .map(|name| serde_json::from_value(json!({"type": "function", "function": {"name": name}})).unwrap())
            .into();
        let chat = json!({"type": "allowed_tools", "allowed_tools":
                          {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}});
        let flat = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]});
        for value in [chat, flat] {
            let choice = ToolChoice::read(Some(&value), &tools).unwrap();
            assert!(choice.is_forced() && choice.allows("g") && !choice.allows("f"), "{choice:?}");
        }
        for bad in
            [json!({"tools": [{"name": "h"}]}), json!({"tools": []}), json!({"mode": "x", "tools": [{"name": "f"}]})]
        {
            let mut bad = bad;
            bad["type"] = "allowed_tools".into();
            assert!(ToolChoice::read(Some(&bad), &tools).unwrap_err().message.contains("allowed_tools"));
        }
    }

    #[test]
    fn custom_tools_are_functions_of_a_text() {
        let read = |tool: Value| serde_json::from_value::<Tool>(tool);
        let chat = json!({"type": "custom", "custom": {"name": "sh", "description": "d", "format":
                          {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a|b"}}}});
        let flat = json!({"type": "custom", "name": "sh", "description": "d", "format":
                          {"type": "grammar", "syntax": "regex", "definition": "a|b"}});
        let tool = read(chat).unwrap();
        assert_eq!(tool, read(flat).unwrap());
        assert_eq!(tool.schema()["properties"]["input"]["pattern"], "^(?:a|b)$");
        assert_eq!((tool.kind.as_str(), tool.json()["type"].as_str()), ("custom", Some("function")));
        let text = read(json!({"type": "custom", "custom": {"name": "x", "format": {"type": "text"}}})).unwrap();
        assert_eq!(text.schema()["properties"]["input"], json!({"type": "string"}));
        assert!(read(json!({"type": "custom", "custom": {"name": "x", "format": {"type": "xml"}}})).is_err());
        assert!(read(json!({"type": "web", "function": {"name": "x"}})).unwrap_err().to_string().contains("\"web\""));
        assert_eq!(custom_input(r#"{"input": "ls\n"}"#), "ls\n");
        assert_eq!(custom_input("ls"), "ls");
        let call: ToolCall =
            serde_json::from_value(json!({"id": "1", "custom": {"name": "sh", "input": "a\"b"}})).unwrap();
        assert_eq!(call.function.arguments, r#"{"input":"a\"b"}"#);
        let call: ToolCall = serde_json::from_value(json!({"function": {"name": "f", "arguments": {"a": 1}}})).unwrap();
        assert_eq!(call.function.arguments, r#"{"a":1}"#);
    }
}
