//! Tokenizers and chat templates compared with Python's output for the same input (`dev/reference/tokenizer.py`,
//! `dev/reference/chat_template.py`).

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Message, Tokenizer};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The tokenizer of DeepSeek-V3 and R1, too large for the repository: `$MENO_MODELS/deepseek-v3` or the same in the
/// cache.
fn deepseek_dir() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache/meno/dev-models"));
    let dir = std::env::var_os("MENO_MODELS").map(PathBuf::from).or(home)?.join("deepseek-v3");
    dir.join("tokenizer.json").exists().then_some(dir)
}

/// Streams tokens one by one; no piece may contain half a character unless the whole text does.
fn stream(t: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = t.decode_stream(skip_special);
    let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
    text.push_str(&stream.finish());
    text
}

fn check_tokens(t: &Tokenizer, golden: &Value) {
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let ids = t.encode(text, case["add_special"].as_bool().unwrap()).unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(ids, expected, "{text:?}");
        for (skip, key) in [(false, "decoded"), (true, "decoded_skip")] {
            assert_eq!(t.decode(&ids, skip), case[key].as_str().unwrap(), "{text:?}");
            assert_eq!(stream(t, &ids, skip), case[key].as_str().unwrap(), "{text:?} streamed");
        }
    }
}

#[test]
fn small_byte_level_tokenizer_as_in_python() {
    let dir = fixtures().join("small_tokenizer");
    let t = Tokenizer::load(&dir).unwrap();
    check_tokens(&t, &read(&dir.join("tokens.json")));
    assert_eq!((t.bos(), t.eos()), (Some(0), vec![1, 691])); // the config's token, then the others of generation_config
    assert_eq!(t.token_to_id("</think>"), Some(691));
}

#[test]
fn deepseek_tokenizer_as_in_python() {
    let Some(dir) = deepseek_dir() else {
        eprintln!("SKIPPED: no deepseek-v3/tokenizer.json in $MENO_MODELS or ~/.cache/meno/dev-models");
        return;
    };
    let t = Tokenizer::load(&dir).unwrap();
    check_tokens(&t, &read(&fixtures().join("deepseek_tokens.json")));
    assert_eq!((t.bos(), t.eos()), (Some(0), vec![1]));
    assert_eq!((t.token_to_id("<think>"), t.token_to_id("<｜Assistant｜>")), (Some(128798), Some(128804)));
    // Its directory is enough to render and encode a prompt.
    let template = ChatTemplate::load(&dir, t.special()).unwrap().unwrap();
    let prompt = template.render(&[Message::new("user", "你好")], true, &Map::new()).unwrap();
    assert_eq!(prompt, "<｜begin▁of▁sentence｜><｜User｜>你好<｜Assistant｜>");
    assert_eq!(t.encode(&prompt, false).unwrap(), [0, 128803, 30594, 128804]);
}

proptest! {
    #[test]
    fn any_bytes_stream_as_they_decode(ids in proptest::collection::vec(0u32..694, 0..80)) {
        // Random tokens of a byte-level tokenizer are mostly broken UTF-8.
        let t = Tokenizer::load(&fixtures().join("small_tokenizer")).unwrap();
        prop_assert_eq!(stream(&t, &ids, false), t.decode(&ids, false));
    }
}

#[test]
fn unfinished_characters_are_held_back() {
    let t = Tokenizer::load(&fixtures().join("small_tokenizer")).unwrap();
    let ids = t.encode("a🦀b", false).unwrap();
    assert!(ids.len() > 4, "the character is several tokens");
    let mut s = t.decode_stream(false);
    let pieces: Vec<String> = ids.iter().map(|&id| s.push(id)).collect();
    assert_eq!(pieces.iter().filter(|p| !p.is_empty()).collect::<Vec<_>>(), ["a", "🦀", "b"]);
}

#[test]
fn a_tokenizer_file_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Tokenizer::load(dir.path()).unwrap_err().to_string().contains("tokenizer.json"));
    std::fs::write(dir.path().join("tokenizer.json"), "{").unwrap();
    assert!(Tokenizer::load(dir.path()).unwrap_err().to_string().contains("tokenizer.json: not a supported tokenizer"));
}

#[test]
fn templates_as_in_python() {
    let golden = read(&fixtures().join("chat_template.json"));
    let mut rendered = 0;
    for t in golden["templates"].as_array().unwrap() {
        let template = ChatTemplate::new(t["template"].as_str().unwrap(), &Special::default()).unwrap();
        for case in t["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let extras: Map<String, Value> = serde_json::from_value(case["extras"].clone()).unwrap();
            let ours = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap(), &extras);
            let name = format!("{} {}", t["name"], case["messages"]);
            match (case["text"].as_str(), ours) {
                (Some(text), ours) => assert_eq!(ours.expect(&name), text, "{name}"),
                (None, Err(_)) => {}
                (None, Ok(ours)) => panic!("{name}: Python raises {}, we render {ours:?}", case["raises"]),
            }
            rendered += 1;
        }
    }
    assert!(rendered > 100);
}
