//! The bytes of every token of a vocabulary, for grammars and for reported log-probabilities.

use super::Tokenizer;
use serde_json::Value;
use std::collections::HashMap;

/// The output of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBytes {
    /// The bytes; empty for ids without a token.
    pub bytes: Vec<u8>,
    /// True for a control token: its bytes are its name, not text.
    pub special: bool,
}

/// The encoding of bytes as text in a vocabulary.
enum Spelling {
    /// GPT-2: every byte is one letter.
    Letters(HashMap<char, u8>),
    /// SentencePiece: `<0xAB>` is a byte, and this character is a space.
    Pieces(char),
    /// Plain text.
    Plain,
}

impl Tokenizer {
    /// Returns the bytes of every token, by id.
    pub fn token_bytes(&self) -> Vec<TokenBytes> {
        let spelling = self.spelling();
        let vocab = self.inner.get_vocab(true);
        let size = vocab.values().max().map_or(0, |&id| id as usize + 1);
        let mut tokens = vec![TokenBytes::default(); size];
        for (text, id) in vocab {
            tokens[id as usize].bytes = spelling.bytes(&text);
        }
        for (id, added) in self.inner.get_added_tokens_decoder() {
            if let Some(token) = tokens.get_mut(id as usize) {
                *token = TokenBytes { bytes: added.content.into_bytes(), special: added.special };
            }
        }
        for id in self.special.eos.iter().map(|t| t.1) {
            if let Some(token) = tokens.get_mut(id as usize) {
                token.special = true;
            }
        }
        tokens
    }

    fn spelling(&self) -> Spelling {
        let decoder = serde_json::to_value(self.inner.get_decoder()).unwrap_or_default();
        let single = [decoder.clone()];
        let steps = decoder["decoders"].as_array().map_or(&single[..], Vec::as_slice);
        let find = |kind: &str| steps.iter().find(|s| s["type"] == kind);
        if find("ByteLevel").is_some() {
            return Spelling::Letters(letters());
        }
        let replaced = find("Replace").filter(|s| s["content"] == " ").map(|s| &s["pattern"]["String"]);
        let space = replaced.or(find("Metaspace").map(|s| &s["replacement"])).and_then(Value::as_str);
        match (space.and_then(|s| s.chars().next()), find("ByteFallback")) {
            (None, None) => Spelling::Plain,
            (space, _) => Spelling::Pieces(space.unwrap_or(' ')),
        }
    }
}

impl Spelling {
    fn bytes(&self, token: &str) -> Vec<u8> {
        match self {
            Spelling::Plain => token.as_bytes().to_vec(),
            Spelling::Letters(map) => {
                let bytes: Option<Vec<u8>> = token.chars().map(|c| map.get(&c).copied()).collect();
                bytes.unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Spelling::Pieces(space) => match token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')) {
                Some(hex) if hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok() => {
                    u8::from_str_radix(hex, 16).into_iter().collect()
                }
                _ => token.replace(*space, " ").into_bytes(),
            },
        }
    }
}

/// GPT-2's table (`bytes_to_unicode`): printable bytes map to themselves, the others to U+0100 and following.
fn letters() -> HashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = (0x100u32..).filter_map(char::from_u32);
    let letter = |byte: u8| if printable(byte) { Some(byte as char) } else { others.next() };
    (0..=255).map(letter).collect::<Vec<_>>().into_iter().zip(0..=255).filter_map(|(c, b)| Some((c?, b))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::CharacterLevel;

    #[test]
    fn letters_and_pieces_by_hand() {
        let letters = Spelling::Letters(letters());
        assert_eq!(letters.bytes("Ġworld"), b" world");
        assert_eq!(letters.bytes("Ċ"), b"\n");
        assert_eq!(letters.bytes("çľĭ"), "看".as_bytes());
        let pieces = Spelling::Pieces('▁');
        assert_eq!(pieces.bytes("▁the"), b" the");
        assert_eq!(pieces.bytes("<0x0A>"), b"\n");
        assert_eq!(pieces.bytes("<0xZZ>"), b"<0xZZ>");
    }

    #[test]
    fn control_tokens_are_told_apart() {
        let t = Tokenizer::character_level(&CharacterLevel {
            special: &["<eos>"],
            tags: &["<think>"],
            alphabet: "a查",
            eos: "<eos>",
            unk: "<eos>",
            ..Default::default()
        })
        .unwrap();
        let bytes = t.token_bytes();
        let token = |text: &str, special| TokenBytes { bytes: text.into(), special };
        assert_eq!(bytes, [token("<eos>", true), token("<think>", false), token("a", false), token("查", false)]);
    }
}
