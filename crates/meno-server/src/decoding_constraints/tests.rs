//! Thinking limits and grammars together, token by token.

use super::*;
use crate::places::Places;
use crate::structured::{Grammars, Structure};
use crate::thinking::{ThinkingStop, ThinkingTokens};
use meno_engine::Tokenizer;
use meno_engine::tokenizer::CharacterLevel;
use std::sync::Arc;

fn tokenizer(tags: &[&str]) -> Arc<Tokenizer> {
    let alphabet: String = (' '..='~').chain(['\n']).collect();
    let level = CharacterLevel {
        special: &["<eos>"],
        tags,
        alphabet: &alphabet,
        eos: "<eos>",
        unk: "<eos>",
        ..Default::default()
    };
    Arc::new(Tokenizer::character_level(&level).unwrap())
}

/// Generates the forced tokens, and otherwise the next token of `wish`, which must be allowed.
fn write(tokenizer: &Tokenizer, constraints: &mut DecodingConstraints, wish: &str) -> String {
    let mut wish = tokenizer.encode(wish, false).unwrap().into_iter();
    let (mut ids, mut mask) = (Vec::new(), TokenMask::all(tokenizer.vocab_size()));
    loop {
        mask.allow_all();
        let token = match constraints.choose(&mut mask) {
            Choice::Token(token) => token,
            Choice::End => break,
            choice => {
                let Some(token) = wish.next() else { break };
                let text = tokenizer.decode(&[token], false);
                let so_far = tokenizer.decode(&ids, false);
                assert!(choice == Choice::Any || mask.allows(token), "{text:?} is not allowed after {so_far:?}");
                token
            }
        };
        ids.push(token);
        constraints.accept(token);
    }
    tokenizer.decode(&ids, false)
}

#[test]
fn a_budget_ends_the_thinking_once() {
    for tags in [&["<think>", "</think>"][..], &[]] {
        let t = tokenizer(tags);
        let tokens = Arc::new(ThinkingTokens::new(t.clone()).unwrap());
        let steer = |budget| {
            DecodingConstraints::new(Some(ThinkingLimiter::new(tokens.clone(), true, budget, true)), None, None)
        };
        let mut s = steer(Some(4));
        let text = write(&t, &mut s, "abcdefgh");
        assert_eq!(text, "abcd\n\nI have thought long enough; now the answer.\n</think>\n\nefgh", "{tags:?}");
        assert_eq!(s.report().thinking_stop.get(), Some(ThinkingStop::Budget));
        let mut s = steer(Some(40));
        assert_eq!(write(&t, &mut s, "ab</think>cdefgh"), "ab</think>cdefgh");
        assert_eq!(s.report().thinking_stop.get(), None);
    }
}

#[test]
fn thinking_may_start_later_and_then_counts() {
    let t = tokenizer(&["<think>", "</think>"]);
    let tokens = Arc::new(ThinkingTokens::new(t.clone()).unwrap());
    let mut s =
        DecodingConstraints::new(Some(ThinkingLimiter::new(tokens.clone(), false, Some(2), true)), None, tokens.open());
    assert!(write(&t, &mut s, "\n<think>abcd").starts_with("\n<think>ab\n\nI have"));
    let mut s =
        DecodingConstraints::new(Some(ThinkingLimiter::new(tokens.clone(), false, Some(2), true)), None, tokens.open());
    assert_eq!(write(&t, &mut s, "an answer"), "an answer");
}

#[test]
fn a_grammar_starts_after_the_thinking() {
    let t = tokenizer(&["<think>", "</think>"]);
    let tokens = Arc::new(ThinkingTokens::new(t.clone()).unwrap());
    let grammar =
        Grammars::new(t.clone()).compiler(&Places::new(1)).compile(&Structure::Regex("[0-9]{3}".into()), "x").unwrap();
    let steer = |opened, budget| {
        let watch = ThinkingLimiter::new(tokens.clone(), opened, budget, true);
        DecodingConstraints::new(Some(watch), Some(grammar.another()), tokens.open())
    };
    assert_eq!(write(&t, &mut steer(true, None), "hm, 1</think>123<eos>"), "hm, 1</think>123");
    assert_eq!(write(&t, &mut steer(false, None), "<think>hm</think>123<eos>"), "<think>hm</think>123");
    assert_eq!(write(&t, &mut steer(false, None), "123<eos>"), "123");
    // The grammar ignores the tokens that are forced at the end of the thinking.
    let text = write(&t, &mut steer(true, Some(2)), "hm456<eos>");
    assert!(text.starts_with("hm\n\nI") && text.ends_with("</think>\n\n456"), "{text}");
}

#[test]
fn a_grammar_alone_masks_from_the_first_token() {
    let t = tokenizer(&[]);
    let grammar =
        Grammars::new(t.clone()).compiler(&Places::new(1)).compile(&Structure::Regex("[ab]+".into()), "x").unwrap();
    let mut s = DecodingConstraints::new(None, Some(grammar), None);
    let mut mask = TokenMask::all(t.vocab_size());
    assert_eq!(s.choose(&mut mask), Choice::Masked);
    let allowed: Vec<u32> = (0..t.vocab_size() as u32).filter(|&i| mask.allows(i)).collect();
    assert_eq!(t.decode(&allowed, false), "ab");
}
