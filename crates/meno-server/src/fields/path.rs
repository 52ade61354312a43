//! Finds the field of a request that has a wrong type.
//!
//! serde's errors say what was expected but not where. Errors are rare, so the place is searched by trial: if the error
//! changes when a part is removed, that part is wrong or contains what is wrong.

use crate::error::ApiError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Maximum number of trials.
const TRIES: usize = 400;
/// Maximum number of values of a body that is searched.
const MAX_VALUES: usize = 20_000;

/// Parses a value; errors name the field (`messages[2].role`).
pub(crate) fn read_value<T: DeserializeOwned>(body: Value) -> Result<T, ApiError> {
    T::deserialize(&body).map_err(|error| {
        let message = error.to_string();
        let small = values(&body) <= MAX_VALUES;
        let path = if small { Search::<T>::new(&message).path(body) } else { String::new() };
        match path.as_str() {
            "" => ApiError { param: None, ..ApiError::invalid("", format!("The request is not valid: {message}")) },
            path => ApiError::invalid(path, format!("{path}: {message}")),
        }
    })
}

/// Counts the values in a value, itself included.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(keys) => 1 + keys.values().map(values).sum::<usize>(),
        _ => 1,
    }
}

struct Search<'a, T> {
    message: &'a str,
    tries: usize,
    kind: std::marker::PhantomData<T>,
}

impl<'a, T: DeserializeOwned> Search<'a, T> {
    fn new(message: &'a str) -> Self {
        Search { message, tries: 0, kind: std::marker::PhantomData }
    }

    /// Returns true if a body still causes the same error.
    fn fails(&mut self, body: &Value) -> bool {
        self.tries += 1;
        T::deserialize(body).is_err_and(|e| e.to_string() == self.message)
    }

    /// Returns the path of the wrong part.
    fn path(mut self, mut body: Value) -> String {
        let mut path: Vec<PathStep> = Vec::new();
        while self.tries < TRIES {
            let Some(here) = at(&mut body, &path).cloned() else { break };
            let found = match &here {
                Value::Object(keys) => self.key(&mut body, &path, keys),
                Value::Array(items) => self.item(&mut body, &path, items),
                _ => None,
            };
            match found {
                Some(step) => path.push(step),
                None => break,
            }
        }
        path.iter().fold(String::new(), |text, step| match step {
            PathStep::Key(key) if text.is_empty() => key.clone(),
            PathStep::Key(key) => format!("{text}.{key}"),
            PathStep::Index { shown, .. } => format!("{text}[{shown}]"),
        })
    }

    /// Returns the key whose removal changes the error.
    fn key(&mut self, body: &mut Value, path: &[PathStep], keys: &Map<String, Value>) -> Option<PathStep> {
        for key in keys.keys().take(TRIES) {
            let mut less = keys.clone();
            less.remove(key);
            *at(body, path)? = Value::Object(less);
            let same = self.fails(body);
            *at(body, path)? = Value::Object(keys.clone());
            if !same {
                return Some(PathStep::Key(key.clone()));
            }
        }
        None
    }

    /// Returns the item that causes the error when it is the only one. The body keeps only this item.
    fn item(&mut self, body: &mut Value, path: &[PathStep], items: &[Value]) -> Option<PathStep> {
        *at(body, path)? = Value::Array(Vec::new());
        if self.fails(body) {
            return None; // the list itself is wrong
        }
        for (shown, item) in items.iter().enumerate().take(TRIES) {
            *at(body, path)? = Value::Array(vec![item.clone()]);
            if self.fails(body) {
                return Some(PathStep::Index { shown });
            }
        }
        *at(body, path)? = Value::Array(items.to_vec());
        None
    }
}

/// A step into a value. Lists have been reduced to the one item that the path goes through.
enum PathStep {
    Key(String),
    Index { shown: usize },
}

fn at<'v>(body: &'v mut Value, path: &[PathStep]) -> Option<&'v mut Value> {
    path.iter().try_fold(body, |value, step| match step {
        PathStep::Key(key) => value.get_mut(key),
        PathStep::Index { .. } => value.get_mut(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_completions::ChatRequest;
    use serde_json::json;

    #[test]
    fn the_field_is_found() {
        for (body, place) in [
            (json!({"model": "x", "n": "three"}), "n"),
            (json!({"messages": 5, "n": 1}), "messages"),
            (json!({"messages": [{"role": "user", "content": "a"}, {"role": 5}]}), "messages[1].role"),
            (json!({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}), "messages[0].content"),
            (json!({"messages": [{"content": "x"}]}), "messages[0]"),
            (json!({"stream_options": {"include_usage": "yes"}, "n": 1}), "stream_options.include_usage"),
        ] {
            let error = read_value::<ChatRequest>(body.clone()).unwrap_err();
            let param = error.param.clone().unwrap_or_default();
            assert!(param == place || param.starts_with(&format!("{place}[")), "{body}: {error:?}");
            assert_eq!(error.code, Some("invalid_value"));
        }
        let error = read_value::<ChatRequest>(json!([1])).unwrap_err();
        assert_eq!((error.param, error.code), (None, Some("invalid_value")));
    }
}
