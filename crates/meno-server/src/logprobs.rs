//! Log-probabilities in OpenAI's two formats: for chat completions and for completions.

use crate::model::ServedModel;
use crate::update::TokenInfo;
use serde_json::{Map, Value, json};

/// JSON has no −∞; OpenAI uses −9999 instead.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}

fn text(model: &ServedModel, token: u32) -> String {
    let bytes = model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn entry(model: &ServedModel, token: u32, logprob: f32) -> Value {
    let bytes = model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    json!({ "token": text(model, token), "logprob": finite(logprob), "bytes": bytes })
}

/// Returns the `logprobs` of chat completions: tokens of the text in `content`, those of the thinking in
/// `reasoning_content`.
pub(crate) fn chat(model: &ServedModel, tokens: &[TokenInfo]) -> Value {
    let list = |thought: bool| -> Vec<Value> {
        let of = tokens.iter().filter(|t| t.thought == thought);
        of.map(|t| {
            let mut entry = entry(model, t.token, t.logprob);
            let top = t.top.iter().map(|&(token, logprob)| self::entry(model, token, logprob));
            entry["top_logprobs"] = top.collect();
            entry
        })
        .collect()
    };
    json!({ "content": list(false), "reasoning_content": list(true), "refusal": null })
}

/// The position at the end of a completion's text so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextOffset {
    /// Number of complete characters.
    characters: usize,
    /// The bytes of an incomplete character.
    incomplete: Vec<u8>,
}

impl TextOffset {
    /// Adds the bytes of a token. Returns the offset of its text in characters; if it starts inside a character, the
    /// offset of that character.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let at = self.characters;
        self.incomplete.extend_from_slice(bytes);
        let mut rest = &self.incomplete[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.characters += text.chars().count();
                    rest = &[];
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.characters += String::from_utf8_lossy(&rest[..valid]).chars().count();
                    // Invalid bytes are shown as a replacement character.
                    let Some(broken) = error.error_len() else {
                        rest = &rest[valid..];
                        break;
                    };
                    self.characters += 1;
                    rest = &rest[valid + broken..];
                }
            }
        }
        self.incomplete = rest.to_vec();
        at
    }
}

/// The text of a token, or its bytes (`bytes:\xNN…`) if they are not valid UTF-8.
fn completion_text(model: &ServedModel, token: u32) -> String {
    let bytes = model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |text, byte| text + &format!("\\x{byte:02x}")),
    }
}

/// Returns the `logprobs` of completions; `offset` is the position at the end of the text so far.
pub(crate) fn completion(model: &ServedModel, tokens: &[TokenInfo], offset: &mut TextOffset) -> Value {
    let bytes = |token: u32| model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    let offsets: Vec<usize> = tokens.iter().map(|t| offset.push(bytes(t.token))).collect();
    let text = completion_text;
    let top: Vec<Value> = (tokens.iter())
        .map(|t| {
            let all = t.top.iter().map(|&(token, logprob)| (text(model, token), json!(finite(logprob))));
            Value::Object(Map::from_iter(all))
        })
        .collect();
    json!({
        "tokens": tokens.iter().map(|t| text(model, t.token)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|t| finite(t.logprob)).collect::<Vec<_>>(),
        "top_logprobs": top,
        "text_offset": offsets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters_of_several_tokens_once() {
        let offsets = |tokens: &[&[u8]]| {
            let mut offset = TextOffset::default();
            tokens.iter().map(|bytes| offset.push(bytes)).collect::<Vec<_>>()
        };
        assert_eq!(offsets(&[b"ab", b"c", b"d"]), [0, 2, 3]);
        assert_eq!(offsets(&["é😀".as_bytes(), b"x"]), [0, 2]);
        assert_eq!(offsets(&[b"a", b"\xf0\x9f", b"\x98", b"\x80", b"b"]), [0, 1, 1, 1, 2]);
        assert_eq!(offsets(&[b"a\xe2", b"\x82\xacb", b"c"]), [0, 1, 3]);
        assert_eq!(offsets(&[b"\xff", b"a", b"\xe2b", b"c"]), [0, 1, 2, 4]);
    }
}
