//! SentencePiece vocabularies (`tokenizer.ggml.model` = `llama`: Llama 2, Mistral, Phi-3): pieces with scores, byte
//! tokens for text without a piece, and a space before the text.
//!
//! Merges are derived from the scores as in transformers (`convert_slow_tokenizer.py`, `generate_merges`). So the ids
//! equal those of its fast tokenizer, and the result can be saved as `tokenizer.json`.

use crate::tokenizer::limits::counts;
use crate::tokenizer::token_type::{BYTE, CONTROL, UNKNOWN, UNUSED, USER_DEFINED};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Longer pieces, in bytes, get no merges; the longest piece of published vocabularies has about 48. This keeps the
/// work on a forged vocabulary linear.
const MAX_PIECE: usize = 256;

/// Returns the merges, highest priority first; fails if there are more than the limit.
pub(super) fn merges(texts: &[String], types: &[i64], scores: &[f32]) -> Result<Vec<(String, String)>, String> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let spelled = |kind: i64| !matches!(kind, UNKNOWN | CONTROL | UNUSED | BYTE);
    for (id, (text, _)) in texts.iter().zip(types).enumerate().filter(|(_, (_, kind))| spelled(**kind)) {
        ids.entry(text).or_insert(id);
    }
    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for (id, text) in texts.iter().enumerate() {
        if text.len() > MAX_PIECE || ids.get(text.as_str()) != Some(&id) {
            continue;
        }
        let mut splits: Vec<(usize, usize, &str, &str)> = Vec::new();
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(l), Some(r)) = (ids.get(left), ids.get(right)) {
                splits.push((*l, *r, left, right));
            }
        }
        splits.sort_unstable();
        found.extend(splits.into_iter().map(|(_, _, left, right)| (scores[id], left, right)));
        counts(0, found.len())?;
    }
    let length = |s: &str| s.chars().count();
    let key = |m: &(f32, &str, &str)| (length(m.1), length(m.2));
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| key(b).cmp(&key(a))));
    Ok(found.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect())
}

/// Returns `Some(special)` for a token that is matched in the text before splitting, `None` for other tokens.
pub(super) fn added(kind: i64) -> Option<bool> {
    match kind {
        CONTROL | UNKNOWN => Some(true),
        USER_DEFINED => Some(false),
        _ => None,
    }
}

/// Replaces spaces by `▁`, and adds one before the text if the vocabulary requires it.
pub(super) fn normalizer(space_before: bool) -> Value {
    let mut steps = Vec::new();
    if space_before {
        steps.push(json!({"type": "Prepend", "prepend": "▁"}));
    }
    steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}));
    json!({"type": "Sequence", "normalizers": steps})
}

/// Inverts the normalizer.
pub(super) fn decoder(space_before: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if space_before {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_merges_first() {
        let texts = ["<unk>", "a", "b", "c", "ab", "bc", "abc", "<0x0A>", "x"].map(str::to_owned);
        let types = [UNKNOWN, 1, 1, 1, 1, 1, 1, BYTE, UNUSED];
        let scores = [0.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0, 0.0, 0.0];
        let pairs = merges(&texts, &types, &scores).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|p| (p.0.as_str(), p.1.as_str())).collect();
        assert_eq!(pairs, [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]);
    }
}
