//! Hostile tokenizers: each is rejected, or ends in bounded time with an error. Published shapes load.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::Tokenizer;
use serde_json::{Value, json};

/// Returns a letter tokenizer with these parts replaced.
fn with(parts: Value) -> String {
    let vocab: serde_json::Map<String, Value> =
        (' '..='~').chain(['▁', 'é']).map(String::from).zip((0u64..).map(Value::from)).collect();
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "?"},
    });
    for (key, value) in parts.as_object().unwrap() {
        file[key] = value.clone();
    }
    file.to_string()
}

/// Returns the result of loading the tokenizer and encoding `text`. Without the limits, some of these files would take
/// hours or all memory: the test would not end.
fn outcome(json: &str, text: &str) -> Result<Vec<u32>, String> {
    let result = Tokenizer::from_json(json, Default::default()).and_then(|t| {
        let ids = t.encode(text, true)?;
        t.decode(&ids, false);
        Ok(ids)
    });
    result.map_err(|e| e.to_string())
}

#[track_caller]
fn refused(parts: Value, text: &str, expected: &str) {
    let Err(error) = outcome(&with(parts.clone()), text) else {
        panic!("is taken: {}", parts.to_string().chars().take(300).collect::<String>())
    };
    assert!(error.contains(expected), "expected {expected:?}: {error}");
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn replace(kind: &str, pattern: &str, content: &str) -> Value {
    json!({"type": "Replace", "pattern": {kind: pattern}, "content": content})
}

fn sequence(key: &str, steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", key: steps})
}

#[test]
fn patterns_that_backtrack() {
    let a = "a".repeat(20_000);
    for pattern in [r"(a+)+$", r"(a|aa)+$", r"(?:a*a*a*a*b|a)", r"(?=(a+)+$)a", r"(\w+\s?)+$"] {
        refused(json!({"pre_tokenizer": split(pattern)}), &format!("{a}!"), "takes too long");
        // The library ignores errors of normalizers.
        refused(json!({"normalizer": replace("Regex", pattern, "")}), &format!("{a}!"), "takes too long");
    }
    for pattern in [r"(a*)\1b", r"(?<x>a|b\g<x>c)"] {
        refused(json!({"pre_tokenizer": split(pattern)}), "a", "unbounded time");
        refused(json!({"normalizer": replace("Regex", pattern, "")}), "a", "unbounded time");
    }
}

#[test]
fn texts_that_grow() {
    let doubling = |n| vec![replace("String", "a", "aa"); n];
    refused(json!({"normalizer": sequence("normalizers", doubling(30))}), "a", "times as long");
    refused(json!({"decoder": sequence("decoders", doubling(30))}), "a", "times as long");
    refused(json!({"normalizer": replace("String", "a", &"b".repeat(100_000))}), "a", "has 100000 bytes");
    refused(json!({"normalizer": replace("String", "a", &"b".repeat(10_000))}), "a", "has 10000 bytes");
    refused(json!({"normalizer": replace("String", "", "b")}), "a", "empty pattern");
    refused(json!({"normalizer": replace("Regex", "x*", "b")}), "a", "matches the empty text");
    refused(json!({"normalizer": {"type": "Prepend", "prepend": "a".repeat(5000)}}), "a", "has 5000 bytes");
    let letters = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": false});
    refused(json!({"pre_tokenizer": sequence("pretokenizers", vec![letters; 16])}), "é", "ByteLevel and Metaspace");
    refused(
        json!({"normalizer": sequence("normalizers", vec![json!({"type": "NFC"}); 40])}),
        "a",
        "more than 32 steps",
    );
    refused(json!({"decoder": replace("Regex", "(a+)+$", "")}), "a", "regular expression");
    // The limit applies to what a step really does to a long text, not to its worst case.
    let text = "a".repeat(2 << 20);
    for long in [replace("String", "a", &"b".repeat(33)), replace("Regex", "[a]", &"b".repeat(33))] {
        refused(json!({"normalizer": long}), &text, "a text of 2097152 bytes into more than 33554432");
    }
    outcome(&with(json!({"normalizer": replace("String", "xy", &"b".repeat(60))})), &text).unwrap();
    outcome(&with(json!({"normalizer": {"type": "NFKC"}})), &"a".repeat(4 << 20)).unwrap();
}

#[test]
fn too_many_or_too_long_tokens() {
    let token = |text: String| {
        json!({"id": 0, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let many: Vec<Value> = (0..200_000).map(|i| token(format!("<{i}>"))).collect();
    refused(json!({"added_tokens": many}), "a", "200000 added tokens");
    refused(json!({"added_tokens": [token("x".repeat(10 << 20))]}), "a", "has 10485760 bytes");
    // Sizes below the limits load.
    let most: Vec<Value> = (0..30_000).map(|i| token(format!("<token {i:5}>"))).collect();
    let ids = outcome(&with(json!({"added_tokens": most})), "ab<token     7>").unwrap();
    assert_eq!(ids.len(), 3, "two letters and an added token");
}

#[test]
fn tokens_that_look_back_over_the_whole_text() {
    let token = json!([{"id": 0, "content": "<a>", "single_word": true, "lstrip": true, "rstrip": false,
                        "normalized": false, "special": true}]);
    outcome(&with(json!({"added_tokens": token.clone()})), &"<a> b ".repeat(1000)).unwrap();
    refused(json!({"added_tokens": token}), &"<a> b ".repeat(200_000), "`lstrip` or `single_word`");
}

#[test]
fn numbers_that_ask_for_memory() {
    let padding = json!({"strategy": {"Fixed": 1u64 << 40}, "direction": "Right", "pad_to_multiple_of": null,
                         "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
    // transformers pads and truncates by its own arguments, whatever the file says; so does Meno.
    assert_eq!(outcome(&with(json!({"padding": padding})), "ab").unwrap(), [65, 66]);
    let truncation = json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0});
    assert_eq!(outcome(&with(json!({"truncation": truncation})), "ab").unwrap(), [65, 66]);
    refused(json!({"model": {"type": "WordLevel", "vocab": {"a": 4_294_967_295u64}, "unk_token": "a"}}), "a", "the id");
    refused(
        json!({"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "",
        "max_input_chars_per_word": 1u64 << 40}}),
        "a",
        "max_input_chars_per_word",
    );
    refused(json!({"pre_tokenizer": {"type": "FixedLength", "length": 0}}), "a", "length 0");
}

#[test]
fn panics_of_the_library_are_errors() {
    // A SentencePiece table with an empty trie.
    refused(
        json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}}),
        "abc",
        "library failed",
    );
    // A prefix longer than the second token of a merge.
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]],
                       "continuing_subword_prefix": "####", "unk_token": "a"});
    refused(json!({"model": model}), "ab", "library failed");
    // A decoder that strips more letters than the text has.
    let decoder = json!({"type": "Strip", "content": "a", "start": 0, "stop": 9});
    outcome(&with(json!({"decoder": decoder})), "aa").unwrap();
}

/// The parts of published tokenizers, as in their files.
#[test]
fn published_shapes_load() {
    let llama2 = json!({
        "normalizer": sequence("normalizers", vec![json!({"type": "Prepend", "prepend": "▁"}),
                                                   replace("String", " ", "▁")]),
        "decoder": sequence("decoders", vec![replace("String", "▁", " "), json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}), json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})]),
    });
    let xlm = json!({
        "normalizer": sequence("normalizers", vec![json!({"type": "Nmt"}), json!({"type": "NFKC"}),
            replace("Regex", " {2,}", " ")]),
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
    });
    let bert = json!({"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}});
    for parts in [llama2, xlm, bert] {
        outcome(&with(parts), "hello world").unwrap();
    }
}

/// Builds a GGUF file that has only metadata: a byte-level tokenizer with these tokens, types and merges, and this eos
/// id.
fn gguf(tokens: &[String], types: &[i32], merges: &[&str], eos: i64) -> Result<Tokenizer, String> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(6u64.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    // Types of metadata: 8 is a string, 9 an array, 5 i32, 11 i64.
    let key = |bytes: &mut Vec<u8>, name: &str, kind: u32| {
        text(bytes, name);
        bytes.extend(kind.to_le_bytes());
    };
    let array = |bytes: &mut Vec<u8>, kind: u32, len: usize| {
        bytes.extend(kind.to_le_bytes());
        bytes.extend((len as u64).to_le_bytes());
    };
    for (name, value) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "qwen2")] {
        key(&mut bytes, name, 8);
        text(&mut bytes, value);
    }
    key(&mut bytes, "tokenizer.ggml.tokens", 9);
    array(&mut bytes, 8, tokens.len());
    tokens.iter().for_each(|token| text(&mut bytes, token));
    key(&mut bytes, "tokenizer.ggml.token_type", 9);
    array(&mut bytes, 5, types.len());
    types.iter().for_each(|kind| bytes.extend(kind.to_le_bytes()));
    key(&mut bytes, "tokenizer.ggml.merges", 9);
    array(&mut bytes, 8, merges.len());
    merges.iter().for_each(|merge| text(&mut bytes, merge));
    key(&mut bytes, "tokenizer.ggml.eos_token_id", 11);
    bytes.extend(eos.to_le_bytes());
    let file = meno_model::gguf::Gguf::from_bytes("a.gguf", bytes).map_err(|e| e.to_string())?;
    Tokenizer::from_gguf(&file).map_err(|e| e.to_string())
}

#[test]
fn arrays_of_gguf_files() {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    let tokens = |n: usize| (0..n).map(|i| format!("t{i}")).collect::<Vec<_>>();
    let letters = ["a", "b", "ab"].map(str::to_owned);
    assert_eq!(gguf(&letters, &[NORMAL; 3], &["a b"], 0).unwrap().encode("ab", false).unwrap(), [2]);
    for (error, expected) in [
        (gguf(&letters, &[NORMAL; 2], &[], 0), "has 2 entries for 3 tokens"),
        (gguf(&letters, &[NORMAL; 3], &[], -1), "tokenizer.ggml.eos_token_id"),
        (gguf(&letters, &[NORMAL; 3], &[], i64::MAX), "is 9223372036854775807, but there are only 3 tokens"),
        (gguf(&letters, &[NORMAL; 3], &["a c"], 0), "its tokenizer cannot be used"),
        (gguf(&letters, &[NORMAL; 3], &["ab"], 0), "has an entry that is not a pair"),
        (gguf(&tokens(40_000), &vec![CONTROL; 40_000], &[], 0), "40000 added tokens"),
        (gguf(&["x".repeat(10 << 20)], &[CONTROL], &[], 0), "has 10485760 bytes"),
        (gguf(&tokens(1_100_000), &vec![NORMAL; 1_100_000], &[], 0), "1100000 tokens"),
    ] {
        let error = error.err().unwrap_or_else(|| panic!("expected {expected:?}"));
        assert!(error.contains(expected), "expected {expected:?}: {error}");
    }
    // If two tokens have the same text, encoding returns the first.
    let twice = ["a", "b", "a"].map(str::to_owned);
    assert_eq!(gguf(&twice, &[NORMAL; 3], &[], 1).unwrap().encode("ab", false).unwrap(), [0, 1]);
}

/// Collects the path of every value of a JSON tree.
fn paths(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().take(12).for_each(|(key, value)| {
                paths(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            });
        }
        Value::Array(list) => {
            list.iter().enumerate().take(8).for_each(|(i, value)| paths(value, &format!("{at}/{i}"), out));
        }
        _ => {}
    }
}

/// Valid tokenizers with one or two values replaced by others. Whatever the result is, it comes soon.
#[test]
fn mutations_end() {
    let token = json!([{"id": 97, "content": "<t>", "single_word": false, "lstrip": true, "rstrip": true,
                        "normalized": true, "special": false}]);
    let letters = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let space = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let single = json!([{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
    let seeds = [
        json!({"added_tokens": token, "normalizer": {"type": "NFKC"}, "pre_tokenizer": letters, "decoder": letters}),
        json!({"normalizer": sequence("normalizers", vec![replace("Regex", " {2,}", " "),
                                                          replace("String", "a", "bb")]),
               "pre_tokenizer": sequence("pretokenizers", vec![split(r"\p{L}+|\s+(?!\S)"), space.clone()]),
               "decoder": space}),
        json!({"post_processor": {"type": "TemplateProcessing", "single": single, "pair": single,
               "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]}}}}),
        json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0], ["b", -2.0], ["ab", -1.5]]},
               "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": true}}),
        json!({"model": {"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 100, "vocab": {"a": 0, "##b": 1}}, "pre_tokenizer": {"type": "Whitespace"},
               "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}}),
        json!({"pre_tokenizer": {"type": "FixedLength", "length": 3},
               "decoder": {"type": "Strip", "content": "a", "start": 1, "stop": 1}}),
    ];
    let pool = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1e308),
        json!(""),
        json!("a"),
        json!("(a|aa)+$"),
        json!("\u{0}é▁"),
        json!([]),
        json!({}),
        json!("a".repeat(300)),
    ];
    let mut rng = meno_tensor::rng::Rng::new(&[7]);
    let mut choose = |n: usize| (rng.uniform_f64() * n as f64) as usize;
    let mut taken = 0;
    for round in 0..600 {
        let mut json: Value = serde_json::from_str(&with(seeds[round % seeds.len()].clone())).unwrap();
        for _ in 0..1 + usize::from(choose(4) == 0) {
            let mut all = Vec::new();
            paths(&json, "", &mut all);
            let at = &all[1 + choose(all.len() - 1)];
            let with = match choose(4) {
                0 => json.pointer(&all[choose(all.len())]).unwrap().clone(),
                _ => pool[choose(pool.len())].clone(),
            };
            *json.pointer_mut(at).unwrap() = with;
        }
        taken += usize::from(outcome(&json.to_string(), "ab  <t> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab 査é").is_ok());
    }
    assert!(taken > 50, "only {taken} of 600 were taken: the others show little");
}
