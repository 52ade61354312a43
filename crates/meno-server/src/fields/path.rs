//! Which field of a request is wrong.
//!
//! serde says what it expected but not where. So the place is searched for, in the one case in ten thousand that needs
//! it: a part without which the request reads otherwise is the part that is wrong, or holds it.

use crate::error::ApiError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Most tries to find the place.
const TRIES: usize = 400;
/// Largest body, by its values, in which it is looked for.
const MAX_VALUES: usize = 20_000;

/// Reads a value; an error names the field (`messages[2].role`).
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

/// How many values stand in a value.
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

    /// Whether a body is still wrong in the same way.
    fn fails(&mut self, body: &Value) -> bool {
        self.tries += 1;
        T::deserialize(body).is_err_and(|e| e.to_string() == self.message)
    }

    fn path(mut self, mut body: Value) -> String {
        let mut path: Vec<Step> = Vec::new();
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
            Step::Key(key) if text.is_empty() => key.clone(),
            Step::Key(key) => format!("{text}.{key}"),
            Step::Index { shown, .. } => format!("{text}[{shown}]"),
        })
    }

    /// The key without which the request reads otherwise.
    fn key(&mut self, body: &mut Value, path: &[Step], keys: &Map<String, Value>) -> Option<Step> {
        for key in keys.keys().take(TRIES) {
            let mut less = keys.clone();
            less.remove(key);
            *at(body, path)? = Value::Object(less);
            let same = self.fails(body);
            *at(body, path)? = Value::Object(keys.clone());
            if !same {
                return Some(Step::Key(key.clone()));
            }
        }
        None
    }

    /// The item that is wrong when it stands alone; the body keeps it alone.
    fn item(&mut self, body: &mut Value, path: &[Step], items: &[Value]) -> Option<Step> {
        *at(body, path)? = Value::Array(Vec::new());
        if self.fails(body) {
            return None; // it is the list that is wrong
        }
        for (shown, item) in items.iter().enumerate().take(TRIES) {
            *at(body, path)? = Value::Array(vec![item.clone()]);
            if self.fails(body) {
                return Some(Step::Index { shown });
            }
        }
        *at(body, path)? = Value::Array(items.to_vec());
        None
    }
}

/// A step into a value. Lists are left with the one item that is followed.
enum Step {
    Key(String),
    Index { shown: usize },
}

fn at<'v>(body: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(body, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index { .. } => value.get_mut(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_completions::ChatRequest;
    use serde_json::json;

    #[test]
    fn the_place_is_found() {
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
