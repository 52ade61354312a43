//! Parses the fields that request structured output: OpenAI's `response_format`, vLLM's `structured_outputs` and
//! `guided_*`, llama.cpp's `json_schema` and `grammar`, SGLang's `regex` and `ebnf`, Ollama's `format`.

use crate::error::{ApiError, shorten};
use crate::gbnf;
use crate::structure::{Structure, quoted};
use serde_json::{Value, json};

/// A structure and the field that requested it.
pub type RequestedStructure = (Structure, &'static str);

/// All fields except `response_format` and `structured_outputs`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // documented by the servers named above
pub struct FormFields {
    pub guided_json: Option<Value>,
    pub guided_regex: Option<String>,
    pub guided_choice: Option<Vec<String>>,
    pub guided_grammar: Option<String>,
    pub guided_whitespace_pattern: Option<String>,
    pub json_schema: Option<Value>,
    pub grammar: Option<String>,
    pub regex: Option<String>,
    pub ebnf: Option<String>,
    pub format: Option<Value>,
}

/// Returns the structure that a request asks for, if any. It is an error to request more than one.
pub fn asked_form(
    response_format: Option<&Value>,
    structured_outputs: Option<&Value>,
    fields: &FormFields,
) -> Result<Option<RequestedStructure>, ApiError> {
    let mut all: Vec<RequestedStructure> = Vec::new();
    all.extend(from_response_format(response_format)?.map(|s| (s, "response_format")));
    all.extend(from_structured_outputs(structured_outputs)?.map(|s| (s, "structured_outputs")));
    let text = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    if let Some(value) = given(fields.guided_json.as_ref()) {
        all.push((schema("guided_json", value)?, "guided_json"));
    }
    if let Some(value) = given(fields.json_schema.as_ref()) {
        all.push((schema("json_schema", value)?, "json_schema"));
    }
    if let Some(value) = given(fields.format.as_ref()) {
        let form = if value == "json" { Structure::JsonObject } else { schema("format", value)? };
        all.push((form, "format"));
    }
    for (name, regex) in [("guided_regex", &fields.guided_regex), ("regex", &fields.regex)] {
        all.extend(text(regex).map(|regex| (Structure::Regex(regex), name)));
    }
    for (name, value) in
        [("guided_grammar", &fields.guided_grammar), ("grammar", &fields.grammar), ("ebnf", &fields.ebnf)]
    {
        if let Some(value) = text(value) {
            all.push((grammar(name, value)?, name));
        }
    }
    if let Some(choices) = &fields.guided_choice {
        if choices.is_empty() {
            return Err(ApiError::invalid("guided_choice", "guided_choice is empty; expected at least one string"));
        }
        all.push((choice(choices), "guided_choice"));
    }
    if let [(_, first), (_, second), ..] = &all[..] {
        let message = format!("{first} and {second} cannot both be given, because an answer has only one structure");
        return Err(ApiError::invalid(second, message));
    }
    let mut requested = all.pop();
    if let (Some((structure, _)), Some(pattern)) = (&mut requested, text(&fields.guided_whitespace_pattern)) {
        set_whitespace(structure, &pattern);
    }
    Ok(requested)
}

/// Returns the value of a field unless it is empty, null or false.
fn given(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null() && *v != "" && **v != Value::Bool(false))
}

/// Reads a schema: an object, or a string that contains JSON.
fn schema(param: &str, value: &Value) -> Result<Structure, ApiError> {
    let read = |text: &str| {
        serde_json::from_str(text).map_err(|e| {
            let expected = if param == "format" { "\"json\" or a JSON schema" } else { "a JSON schema" };
            ApiError::invalid(
                param,
                format!("{param} is {:?}; expected {expected} (it is not JSON: {e})", shorten(text)),
            )
        })
    };
    let value = if let Value::String(text) = value { read(text)? } else { value.clone() };
    match value {
        Value::Object(_) | Value::Bool(_) => Ok(Structure::JsonSchema(value)),
        other => {
            let other = other.to_string();
            Err(ApiError::invalid(
                param,
                format!("{param}: expected a JSON schema, an object, not {}", shorten(&other)),
            ))
        }
    }
}

/// Reads a grammar in Lark or in llama.cpp's GBNF.
fn grammar(param: &str, text: String) -> Result<Structure, ApiError> {
    if !gbnf::is_gbnf(&text) {
        return Ok(Structure::Lark(text));
    }
    let wrong = |what| ApiError::invalid(param, format!("{param} cannot be used: {what}"));
    gbnf::to_lark(&text).map(Structure::Lark).map_err(wrong)
}

/// Returns a grammar that matches one of the texts.
fn choice(choices: &[String]) -> Structure {
    let choices: Vec<String> = choices.iter().map(|c| quoted(c)).collect();
    Structure::Lark(format!("start: {}", choices.join(" | ")))
}

/// Sets the pattern for white space between JSON tokens.
fn set_whitespace(structure: &mut Structure, pattern: &str) {
    if matches!(structure, Structure::JsonObject) {
        *structure = Structure::JsonSchema(json!({ "type": "object" }));
    }
    if let Structure::JsonSchema(Value::Object(schema)) = structure {
        let options = schema.entry("x-guidance").or_insert_with(|| json!({}));
        options["whitespace_pattern"] = pattern.into();
    }
}

/// Parses `response_format`: OpenAI's `text`, `json_object` (also with llama.cpp's `schema`) and `json_schema`, and
/// also `{"type": "regex", "regex": …}` and `{"type": "grammar", "grammar": …}`. In the Responses API's `text.format`
/// the schema is next to the type.
pub fn from_response_format(format: Option<&Value>) -> Result<Option<Structure>, ApiError> {
    let bad = |message: String| ApiError::invalid("response_format", message);
    let Some(format) = format.filter(|f| !f.is_null()) else { return Ok(None) };
    if !format.is_object() {
        let message = format!(
            "response_format is {}; expected an object such as {{\"type\": \"json_object\"}}",
            shorten(&format.to_string())
        );
        return Err(bad(message));
    }
    let kind = format["type"].as_str().unwrap_or_default();
    let text = |key: &str| {
        let text = format[key].as_str().map(str::to_owned);
        text.ok_or_else(|| bad(format!("response_format of type {kind:?} needs {key:?}, a string")))
    };
    let beside = || format["json_schema"].get("schema").or(format.get("schema")).filter(|s| !s.is_null());
    let structure = match kind {
        "text" => return Ok(None),
        "json_object" => match beside() {
            Some(value) => schema("response_format", value)?,
            None => Structure::JsonObject,
        },
        "json_schema" => {
            let value = beside().filter(|s| s.is_object() || s.is_boolean()).ok_or_else(|| {
                bad("response_format of type \"json_schema\" needs json_schema.schema, an object".to_owned())
            })?;
            Structure::JsonSchema(value.clone())
        }
        "regex" => Structure::Regex(text("regex")?),
        "grammar" => grammar("response_format", text("grammar")?)?,
        _ => {
            let message =
                "response_format.type: expected \"text\", \"json_object\", \"json_schema\", \"regex\" or \"grammar\"";
            return Err(bad(message.to_owned()));
        }
    };
    Ok(Some(structure))
}

/// Parses vLLM's `structured_outputs`: `json`, `json_object`, `regex`, `choice` or `grammar`.
pub fn from_structured_outputs(value: Option<&Value>) -> Result<Option<Structure>, ApiError> {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(None) };
    const PARAM: &str = "structured_outputs";
    let bad = |message: &str| ApiError::invalid(PARAM, message);
    for key in ["structural_tag", "disable_additional_properties"] {
        if given(value.get(key)).is_some() {
            return Err(ApiError::unsupported(PARAM, format!("structured_outputs.{key} is not supported")));
        }
    }
    let get = |key: &str| given(value.get(key));
    let mut structure = match (get("json"), get("json_object"), get("regex"), get("choice"), get("grammar")) {
        (Some(value), None, None, None, None) => schema(PARAM, value)?,
        (None, Some(Value::Bool(true)), None, None, None) => Structure::JsonObject,
        (None, None, Some(Value::String(regex)), None, None) => Structure::Regex(regex.clone()),
        (None, None, None, Some(Value::Array(choices)), None) if !choices.is_empty() => {
            let texts: Option<Vec<String>> = choices.iter().map(|c| c.as_str().map(str::to_owned)).collect();
            choice(&texts.ok_or_else(|| bad("choice: expected a list of strings"))?)
        }
        (None, None, None, None, Some(Value::String(text))) => grammar(PARAM, text.clone())?,
        _ => return Err(bad("structured_outputs needs exactly one of json, regex, choice (a list), grammar")),
    };
    let tight = get("disable_any_whitespace").is_some().then_some(" ?");
    if let Some(pattern) = get("whitespace_pattern").and_then(Value::as_str).or(tight) {
        set_whitespace(&mut structure, pattern);
    }
    Ok(Some(structure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: Value) -> Result<Option<RequestedStructure>, ApiError> {
        let other: FormFields = serde_json::from_value(fields.clone()).unwrap();
        asked_form(fields.get("response_format"), fields.get("structured_outputs"), &other)
    }

    #[test]
    fn the_same_structure_in_the_fields_of_every_server() {
        let object = json!({"type": "object", "required": ["a"]});
        for (fields, param) in [
            (json!({"response_format": {"type": "json_schema", "json_schema": {"schema": object}}}), "response_format"),
            (json!({"response_format": {"type": "json_schema", "schema": object}}), "response_format"),
            (json!({"response_format": {"type": "json_object", "schema": object}}), "response_format"),
            (json!({"structured_outputs": {"json": object}}), "structured_outputs"),
            (json!({"structured_outputs": {"json": object.to_string(), "regex": null}}), "structured_outputs"),
            (json!({"guided_json": object}), "guided_json"),
            (json!({"guided_json": object.to_string()}), "guided_json"),
            (json!({"json_schema": object}), "json_schema"),
            (json!({"json_schema": object.to_string(), "grammar": ""}), "json_schema"),
            (json!({"format": object, "guided_regex": ""}), "format"),
        ] {
            assert_eq!(form(fields.clone()).unwrap(), Some((Structure::JsonSchema(object.clone()), param)), "{fields}");
        }
        assert_eq!(form(json!({"format": "json"})).unwrap(), Some((Structure::JsonObject, "format")));
        assert_eq!(form(json!({"format": ""})).unwrap(), None);
        let date = Structure::Regex("[0-9]+".into());
        assert_eq!(form(json!({"guided_regex": "[0-9]+"})).unwrap(), Some((date.clone(), "guided_regex")));
        assert_eq!(form(json!({"regex": "[0-9]+"})).unwrap(), Some((date, "regex")));
        let words = Structure::Lark("start: \"a\" | \"b\\\"\"".into());
        assert_eq!(form(json!({"guided_choice": ["a", "b\""]})).unwrap(), Some((words, "guided_choice")));
        for name in ["grammar", "guided_grammar", "ebnf"] {
            let (structure, param) = form(json!({name: "root ::= \"x\""})).unwrap().unwrap();
            assert_eq!((structure, param), (Structure::Lark("start: r_root\nr_root: \"x\"\n".into()), name));
        }
        let spaced = form(json!({"guided_json": {}, "guided_whitespace_pattern": " "})).unwrap().unwrap().0;
        assert_eq!(spaced, Structure::JsonSchema(json!({"x-guidance": {"whitespace_pattern": " "}})));
    }

    #[test]
    fn two_structures_are_an_error() {
        let error = form(json!({"guided_regex": "a", "json_schema": {}})).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("guided_regex"));
        assert!(error.message.contains("json_schema and guided_regex cannot both be given"), "{error}");
        assert_eq!(form(json!({"guided_json": "{"})).unwrap_err().param.as_deref(), Some("guided_json"));
        assert_eq!(form(json!({"grammar": "x ::= \"a\""})).unwrap_err().param.as_deref(), Some("grammar"));
    }
}
