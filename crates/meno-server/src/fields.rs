//! The request fields of other servers and how this server handles each.
//!
//! Supported fields are read. Fields that cannot change the answer are ignored. Fields that would change the answer are
//! rejected by name, unless they have the value that changes nothing. `docs/serving.md` has the same table; a test
//! compares the two.

mod path;
mod table;

pub(crate) use path::read_value;
pub(crate) use table::{Endpoint, FIELDS, Field, Handling};

use crate::error::{ApiError, shorten};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Parses a request of an endpoint and rejects fields that are not supported.
pub(crate) fn read<T: DeserializeOwned>(endpoint: Endpoint, mut body: Value) -> Result<T, ApiError> {
    if let Some(fields) = body.as_object_mut() {
        check(endpoint, fields)?;
    }
    read_value(body)
}

/// Rejects unsupported fields that would change the answer.
pub(crate) fn check(endpoint: Endpoint, fields: &Map<String, Value>) -> Result<(), ApiError> {
    check_synonyms(fields)?;
    for (name, value) in fields {
        let known = FIELDS.iter().find(|f| f.name == name);
        let Some(field) = known else {
            check_spelling(endpoint, name)?;
            continue;
        };
        if let Handling::Rejected(why) = field.handling_at(endpoint)
            && !field.is_neutral(value)
        {
            if matches!(field.handling, Handling::Supported(_)) {
                return Err(ApiError::unsupported(name, format!("{name}: this endpoint does not support it")));
            }
            let neutral = field.neutral.map(|n| format!(" (or send {n})")).unwrap_or_default();
            return Err(ApiError::unsupported(name, format!("{name} is not supported here{neutral}: {why}")));
        }
    }
    Ok(())
}

/// Groups of fields with the same meaning.
const SYNONYMS: [&[&str]; 3] = [
    &["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "n_predict"],
    &["repetition_penalty", "repeat_penalty"],
    &["thinking_budget", "thinking_token_budget", "thinking_budget_tokens", "reasoning_budget"],
];

/// Rejects fields with the same meaning and different values.
fn check_synonyms(fields: &Map<String, Value>) -> Result<(), ApiError> {
    for names in SYNONYMS {
        let mut given = names.iter().filter_map(|name| Some((*name, fields.get(*name).filter(|v| !v.is_null())?)));
        let Some((first, value)) = given.next() else { continue };
        if let Some((second, other)) = given.find(|(_, other)| other.as_f64() != value.as_f64()) {
            let message =
                format!("{first} is {value} and {second} is {other}, but they mean the same; send one of them");
            return Err(ApiError::invalid(second, message));
        }
    }
    Ok(())
}

/// Rejects misspelt names of supported fields, which would otherwise be silently lost. Other unknown names are ignored,
/// because clients send custom fields.
fn check_spelling(endpoint: Endpoint, name: &str) -> Result<(), ApiError> {
    let most = match name.chars().count() {
        0..=4 => return Ok(()),
        5..=7 => 1,
        8..=40 => 2,
        _ => return Ok(()),
    };
    let supported = FIELDS.iter().filter(|f| matches!(f.handling_at(endpoint), Handling::Supported(_)));
    let near = supported.map(|f| (strsim::levenshtein(f.name, name), f.name)).filter(|f| f.0 <= most).min();
    match near {
        None => Ok(()),
        Some((_, meant)) => {
            let message = format!("Unrecognized field {:?}; did you mean {meant:?}?", shorten(name));
            Err(ApiError { code: Some("unknown_parameter"), ..ApiError::invalid(name, message) })
        }
    }
}

impl Field {
    /// How an endpoint handles this field.
    fn handling_at(&self, endpoint: Endpoint) -> Handling {
        match self.handling {
            Handling::Supported(at) if !at.contains(&endpoint) => {
                Handling::Rejected("this endpoint does not support it")
            }
            other => other,
        }
    }

    /// Returns true if a value means the same as no value.
    fn is_neutral(&self, value: &Value) -> bool {
        let empty = match value {
            Value::Null => true,
            Value::Bool(false) => self.neutral != Some("true"),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(keys) => keys.is_empty(),
            _ => false,
        };
        let named = || {
            let neutral = self.neutral.and_then(|n| serde_json::from_str::<Value>(n).ok());
            neutral.is_some_and(|n| n == *value || n.as_f64().is_some_and(|n| value.as_f64() == Some(n)))
        };
        empty || named()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rejected(fields: Value) -> Option<String> {
        let Value::Object(fields) = fields else { panic!("an object") };
        check(Endpoint::Chat, &fields).err().map(|e| e.param.unwrap_or_default() + ": " + &e.message)
    }

    #[test]
    fn unsupported_fields_are_rejected_by_name() {
        for (fields, words) in [
            (json!({"mirostat": 2}), "mirostat: mirostat is not supported here (or send 0)"),
            (json!({"allowed_token_ids": [1]}), "allowed_token_ids"),
            (json!({"typical_p": 0.9}), "(or send 1)"),
            (json!({"use_beam_search": true}), "use_beam_search"),
            (json!({"skip_special_tokens": false}), "skip_special_tokens is not supported here (or send true)"),
            (json!({"max_tokens": 8, "n_predict": 3}), "max_tokens is 8 and n_predict is 3"),
            (json!({"repetition_penalty": 1.1, "repeat_penalty": 1.2}), "send one of them"),
            (json!({"best_of": 2}), "best_of: best_of: this endpoint does not support it"),
            (json!({"suffix": "x"}), "this endpoint does not support it"),
            (json!({"temprature": 1}), "did you mean \"temperature\"?"),
            (json!({"max_token": 1}), "did you mean \"max_tokens\"?"),
        ] {
            let message = rejected(fields.clone()).unwrap_or_else(|| panic!("{fields} was taken"));
            assert!(message.contains(words), "{message}");
        }
        for taken in [
            json!({"max_tokens": 8, "max_new_tokens": 8.0, "best_of": 1, "n_predict": null}),
            json!({"mirostat": 0, "typical_p": 1, "use_beam_search": false, "bad_words": [], "suffix": ""}),
            json!({"user": "x", "metadata": {"a": "b"}, "cache_prompt": true, "my_own_note": 7, "trace": 1}),
        ] {
            assert_eq!(rejected(taken.clone()), None, "{taken}");
        }
    }

    #[test]
    fn no_field_is_listed_twice() {
        let names: std::collections::BTreeSet<&str> = FIELDS.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), FIELDS.len());
        for field in FIELDS {
            assert!(field.neutral.is_none_or(|n| serde_json::from_str::<Value>(n).is_ok()), "{}", field.name);
        }
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/serving.md");
        let docs = std::fs::read_to_string(path).unwrap_or_default();
        let part = docs.split("## All fields\n").nth(1).unwrap_or_default().split("\n## ").next().unwrap_or_default();
        for field in FIELDS {
            assert!(part.contains(&format!("`{}`", field.name)), "docs/serving.md does not list `{}`", field.name);
        }
    }
}
