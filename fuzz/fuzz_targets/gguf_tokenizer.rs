//! `cargo fuzz run gguf_tokenizer` (see `fuzz/README.md`): arrays of any length and content as the tokenizer of a GGUF
//! file. It is rejected, or it encodes and decodes.
#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use meno_engine::Tokenizer;
use meno_model::gguf::Gguf;

#[derive(arbitrary::Arbitrary, Debug)]
struct Arrays<'a> {
    sentencepiece: bool,
    pre: u8,
    tokens: Vec<&'a str>,
    types: Option<Vec<i32>>,
    scores: Option<Vec<f32>>,
    merges: Option<Vec<&'a str>>,
    ids: [Option<i64>; 4],
    add_bos: Option<bool>,
    text: &'a str,
}

const PRE: [&str; 5] = ["qwen2", "llama-bpe", "deepseek-v3", "deepseek-llm", "unknown"];
const ROLES: [&str; 4] = ["bos", "eos", "padding", "unknown"];
/// Types of metadata by GGUF's numbers.
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const I64: u32 = 11;

/// A GGUF file of metadata alone.
#[derive(Default)]
struct File {
    entries: u64,
    bytes: Vec<u8>,
}

impl File {
    fn text(&mut self, text: &str) {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }
    fn key(&mut self, key: &str, kind: u32) {
        self.entries += 1;
        self.text(key);
        self.bytes.extend(kind.to_le_bytes());
    }
    fn string(&mut self, key: &str, text: &str) {
        self.key(key, STRING);
        self.text(text);
    }
    fn array(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }
    fn strings(&mut self, key: &str, all: &[&str]) {
        self.array(key, STRING, all.len());
        all.iter().for_each(|text| self.text(text));
    }
    fn numbers(&mut self, key: &str, kind: u32, all: &[[u8; 4]]) {
        self.array(key, kind, all.len());
        self.bytes.extend(all.concat());
    }
    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(0u64.to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(self.bytes);
        file
    }
}

fuzz_target!(|a: Arrays| {
    let mut file = File::default();
    file.string("tokenizer.ggml.model", if a.sentencepiece { "llama" } else { "gpt2" });
    file.string("tokenizer.ggml.pre", PRE[a.pre as usize % PRE.len()]);
    file.strings("tokenizer.ggml.tokens", &a.tokens);
    if let Some(types) = &a.types {
        file.numbers("tokenizer.ggml.token_type", 5, &types.iter().map(|t| t.to_le_bytes()).collect::<Vec<_>>());
    }
    if let Some(scores) = &a.scores {
        file.numbers("tokenizer.ggml.scores", 6, &scores.iter().map(|s| s.to_le_bytes()).collect::<Vec<_>>());
    }
    if let Some(merges) = &a.merges {
        file.strings("tokenizer.ggml.merges", merges);
    }
    for (role, id) in ROLES.iter().zip(a.ids) {
        if let Some(id) = id {
            file.key(&format!("tokenizer.ggml.{role}_token_id"), I64);
            file.bytes.extend(id.to_le_bytes());
        }
    }
    if let Some(flag) = a.add_bos {
        file.key("tokenizer.ggml.add_bos_token", BOOL);
        file.bytes.push(flag.into());
    }
    let file = Gguf::from_bytes("fuzzed.gguf", file.finish()).expect("the metadata is well formed");
    let Ok(tokenizer) = Tokenizer::from_gguf(&file) else { return };
    for text in [a.text, "Hello, world's 123 查\n\n  é"] {
        if let Ok(ids) = tokenizer.encode(text, true) {
            tokenizer.decode(&ids, false);
        }
    }
    tokenizer.token_bytes();
});
