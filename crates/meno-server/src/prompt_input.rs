//! The `prompt` field of completions and the `input` field of embeddings: texts or token ids.

use crate::text_or_list::{TextOrList, text_or_list};
use crate::types::OneOrMany;
use serde::Deserialize;

/// One or several prompts, as text or as token ids.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// One text, or several.
    Text(OneOrMany),
    /// The tokens of one prompt.
    Tokens(Vec<u32>),
    /// The tokens of several prompts.
    ManyTokens(Vec<Vec<u32>>),
}

/// An item of a list of prompts: a text, one token, or the tokens of a prompt.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a token or an array of tokens")]
enum PromptItem {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a string, an array of strings, an array of tokens or an array of arrays of tokens";
        let items = match text_or_list(deserializer, expected)? {
            TextOrList::Text(text) => return Ok(Prompts::Text(OneOrMany::One(text))),
            TextOrList::List(items) => items,
        };
        let (mut texts, mut tokens, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let total = items.len();
        for item in items {
            match item {
                PromptItem::Text(text) => texts.push(text),
                PromptItem::Token(token) => tokens.push(token),
                PromptItem::Tokens(list) => lists.push(list),
            }
        }
        match total {
            n if n == texts.len() => Ok(Prompts::Text(OneOrMany::Many(texts))),
            n if n == tokens.len() => Ok(Prompts::Tokens(tokens)),
            n if n == lists.len() => Ok(Prompts::ManyTokens(lists)),
            _ => Err(serde::de::Error::custom(format!("expected {expected}, found an array of different types"))),
        }
    }
}
