//! Small vocabularies in which every character and every tag is one token.

use super::{Special, Tokenizer};
use crate::error::Error;
use serde_json::{Value, json};

/// The parts of a character-level tokenizer. Ids are assigned in this order: `special`, `tags`, `alphabet`.
#[derive(Clone, Debug, Default)]
pub struct CharacterLevel<'a> {
    /// Control tokens, left out of decoded text; must contain `eos` and `unk`.
    pub special: &'a [&'a str],
    /// Tags that are one token and stay in decoded text, e.g. `<think>`.
    pub tags: &'a [&'a str],
    /// The characters.
    pub alphabet: &'a str,
    /// The token that ends an answer.
    pub eos: &'a str,
    /// The token that begins a text.
    pub bos: Option<&'a str>,
    /// The padding token.
    pub pad: Option<&'a str>,
    /// The token for characters outside the alphabet.
    pub unk: &'a str,
}

impl Tokenizer {
    /// Creates a character-level tokenizer. Its tokenizer.json is an ordinary one (WordLevel over single characters).
    pub fn character_level(c: &CharacterLevel<'_>) -> Result<Tokenizer, Error> {
        let characters: Vec<String> = c.alphabet.chars().map(String::from).collect();
        let tokens: Vec<&str> =
            c.special.iter().chain(c.tags).copied().chain(characters.iter().map(String::as_str)).collect();
        let mut vocab = serde_json::Map::new();
        for (id, &token) in tokens.iter().enumerate() {
            if token.is_empty() || vocab.insert(token.to_owned(), id.into()).is_some() {
                return Err(Error::Tokenizer(format!("token {token:?} is empty or occurs twice in the vocabulary")));
            }
        }
        for role in [Some(c.eos), Some(c.unk), c.bos, c.pad].into_iter().flatten() {
            if !c.special.contains(&role) {
                return Err(Error::Tokenizer(format!("{role:?} has a role but is not among the special tokens")));
            }
        }
        let added: Vec<Value> = (c.special.iter().map(|t| (*t, true)))
            .chain(c.tags.iter().map(|t| (*t, false)))
            .enumerate()
            .map(|(id, (content, special))| {
                json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                        "normalized": false, "special": special })
            })
            .collect();
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "[\\s\\S]" }, "behavior": "Isolated",
                               "invert": false },
            "post_processor": null,
            "decoder": { "type": "Fuse" },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": c.unk },
        });
        let role = |t: &str| {
            let id = tokens.iter().position(|x| *x == t).expect("invariant: roles are among the tokens");
            (t.to_owned(), id as u32)
        };
        let special = Special { bos: c.bos.map(role), eos: vec![role(c.eos)], pad: c.pad.map(role), add_bos: false };
        Tokenizer::from_json(&json.to_string(), special)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Tokenizer {
        Tokenizer::character_level(&CharacterLevel {
            special: &["<pad>", "<eos>", "<unk>"],
            tags: &["<think>", "</think>"],
            alphabet: "0123456789+-=查 \nso",
            eos: "<eos>",
            bos: None,
            pad: Some("<pad>"),
            unk: "<unk>",
        })
        .unwrap()
    }

    #[test]
    fn a_character_and_a_tag_is_one_token() {
        let t = small();
        assert_eq!(t.encode("12<think>查\n3 </think>?<eos>", false).unwrap(), [6, 7, 3, 18, 20, 8, 19, 4, 2, 1]);
        assert_eq!(t.decode(&[6, 7, 3, 18, 20, 8, 19, 4, 1], true), "12<think>查\n3 </think>");
        assert_eq!(t.decode(&[6, 1], false), "1<eos>");
        assert_eq!((t.eos(), t.bos(), t.vocab_size()), (vec![1], None, 23));
    }

    #[test]
    fn what_is_saved_loads_as_the_same() {
        let dir = tempfile::tempdir().unwrap();
        small().save(dir.path(), Some("{{ messages }}")).unwrap();
        let t = Tokenizer::load(dir.path()).unwrap();
        assert_eq!(t.encode("9-查<think>", false).unwrap(), small().encode("9-查<think>", false).unwrap());
        assert_eq!(t.eos(), [1]);
        assert_eq!(t.special().pad, Some(("<pad>".into(), 0)));
    }

    #[test]
    fn a_token_that_stands_twice_is_refused() {
        let c = CharacterLevel { special: &["<e>"], alphabet: "aba", eos: "<e>", unk: "<e>", ..Default::default() };
        assert!(Tokenizer::character_level(&c).unwrap_err().to_string().contains("\"a\""));
    }
}
