//! Pre-tokenizers of byte-level vocabularies, by the names of llama.cpp's converter (`tokenizer.ggml.pre`; llama.cpp
//! `conversion/base.py`, `get_vocab_base_pre`, and `src/llama-vocab.cpp`).
//!
//! The patterns are those of the published `tokenizer.json` files; llama.cpp rewrites some for its own engine. Names of
//! vocabularies that are not byte-level BPE (`gemma4`, `sarvam-moe`, `whitespace`) and of embedding-only models are
//! left out.

use serde_json::{Value, json};

/// Qwen2's pattern.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Llama 3's pattern: up to three digits form one piece.
// lint: long line
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen3.5's pattern: combining marks belong to the letters before them.
// lint: long line
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o's pattern: splits words where lower case ends and upper case begins.
// lint: long line
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's Tekken: like GPT-4o's, without contractions and with single digits.
// lint: long line
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Kimi K2's pattern: GPT-4o's, with Chinese characters in separate pieces (`tokenization_kimi.py`, `pat_str`).
// lint: long line
const KIMI_K2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Ling's pattern, with possessive repetitions.
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
/// EXAONE's mixture-of-experts pattern: words separated by single spaces stay together.
// lint: long line
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
/// BLOOM's pattern: everything up to a space or sentence punctuation.
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// GPT-2's own pattern, for llama.cpp's default, which splits further after it.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
/// DeepSeek-V3's three patterns, applied one after the other.
const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    // lint: long line
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];
/// The five patterns of DeepSeek LLM and V2, followed by a split into single digits.
const DEEPSEEK_LLM: [&str; 5] = [
    "[\r\n]",
    "\\s?[A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\
     \u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\
     \u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\
     \u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\
     \u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\
     \u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\
     \u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\
     \u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\
     \u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\
     \u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\
     \u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\
     \u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\
     \u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\
     \u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+",
    "\\s+$",
    "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
];

/// Patterns that run fast on any text.
pub(super) const PUBLISHED: [&str; 10] = [
    QWEN2,
    LLAMA3,
    DEEPSEEK_V3[0],
    DEEPSEEK_V3[1],
    DEEPSEEK_V3[2],
    DEEPSEEK_LLM[0],
    DEEPSEEK_LLM[1],
    DEEPSEEK_LLM[2],
    DEEPSEEK_LLM[3],
    DEEPSEEK_LLM[4],
];

/// A splitting step, with its name in `tokenizer.json`.
enum SplitStep {
    /// Matches are pieces, and so is the text between them.
    Split(&'static str),
    /// Every digit is a piece.
    Digits,
    /// Runs of digits are pieces.
    Numbers,
    /// Runs of punctuation are pieces.
    Punctuation,
    /// GPT-2's pattern, then bytes as letters.
    ByteLevel,
}

/// The definition of a name, as in `tokenizer.json`.
pub(super) struct Definition {
    names: &'static [&'static str],
    steps: &'static [SplitStep],
    /// Normalize the text to Unicode NFC first.
    pub(super) nfc: bool,
    /// Do not build a piece by merges if it is itself a token.
    pub(super) ignore_merges: bool,
    /// Begin a text with the bos token if the file does not specify it.
    pub(super) add_bos: bool,
}

const fn splits(names: &'static [&'static str], steps: &'static [SplitStep]) -> Definition {
    Definition { names, steps, nfc: false, ignore_merges: false, add_bos: false }
}

const fn nfc(definition: Definition) -> Definition {
    Definition { nfc: true, ..definition }
}

const fn ignore_merges(definition: Definition) -> Definition {
    Definition { ignore_merges: true, ..definition }
}

const fn add_bos(definition: Definition) -> Definition {
    Definition { add_bos: true, ..definition }
}

use SplitStep::{ByteLevel, Digits, Numbers, Punctuation, Split};

/// All definitions. If several have the same steps, a tokenizer is written under the first name of the first one.
const DEFINITIONS: &[Definition] = &[
    nfc(splits(&["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"], &[Split(QWEN2)])),
    splits(&["stablelm2", "hunyuan", "solar-open", "grok-2"], &[Split(QWEN2)]),
    splits(&["qwen35"], &[Split(QWEN35)]),
    add_bos(ignore_merges(splits(
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        &[Split(LLAMA3)],
    ))),
    ignore_merges(splits(&["glm4", "glm5"], &[Split(LLAMA3)])),
    splits(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Split(LLAMA3)]),
    splits(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[Split(DEEPSEEK_V3[0]), Split(DEEPSEEK_V3[1]), Split(DEEPSEEK_V3[2])],
    ),
    splits(
        &["deepseek-llm"],
        &[
            Split(DEEPSEEK_LLM[0]),
            Split(DEEPSEEK_LLM[1]),
            Split(DEEPSEEK_LLM[2]),
            Split(DEEPSEEK_LLM[3]),
            Split(DEEPSEEK_LLM[4]),
            Digits,
        ],
    ),
    splits(
        &["deepseek-coder"],
        &[Split("[\r\n]"), Split(r"\s?\p{L}+"), Split(r"\s?\p{P}+"), Split(DEEPSEEK_LLM[4]), Digits],
    ),
    splits(&["kimi-k2"], &[Split(KIMI_K2)]),
    splits(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[Split(GPT4O)]),
    splits(&["tiny_aya", "cohere2moe"], &[Split(r"\d{1,3}(?=(?:\d{3})*\b)"), Split(GPT4O)]),
    add_bos(ignore_merges(splits(&["tekken"], &[Split(TEKKEN)]))),
    splits(&["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"], &[Digits, ByteLevel]),
    nfc(splits(&["command-r"], &[Digits, ByteLevel])),
    splits(
        &["gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "exaone4", "jais", "trillion", "granite-docling"],
        &[ByteLevel],
    ),
    nfc(splits(&["mpt", "olmo"], &[ByteLevel])),
    splits(&["falcon"], &[Punctuation, ByteLevel, Numbers, Split("[0-9][0-9][0-9]")]),
    splits(&["bailingmoe", "bailingmoe2", "llada-moe"], &[Split(BAILING)]),
    splits(&["seed-coder"], &[Split(SEED_CODER)]),
    splits(&["exaone-moe"], &[Split(EXAONE_MOE)]),
    splits(&["superbpe"], &[Split(r"\p{N}+"), Split(r"(?=(\d{3})+(?!\d))")]),
    splits(&["bloom", "poro-chat", "gpt3-finnish"], &[Split(BLOOM)]),
    splits(&["viking"], &[Split(BLOOM), Digits]),
    splits(&["default"], &[Split(r"[\p{P}\$\+<=>\^~\|]+"), Split(GPT2), Split(r"\p{N}+"), Split("[0-9][0-9][0-9]")]),
];

/// Returns all names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().flat_map(|d| d.names).copied()
}

/// Returns the definition of a name.
pub(super) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|d| d.names.contains(&name))
}

/// Returns the name of the definition with the same splitting as a `tokenizer.json`. A definition with the same NFC
/// setting is preferred.
pub(super) fn named_by(json: &Value) -> Option<&'static str> {
    let wanted = match json["pre_tokenizer"]["pretokenizers"].as_array() {
        Some(all) => canonical(all),
        None => canonical(std::slice::from_ref(&json["pre_tokenizer"])),
    };
    let ignore_merges = json["model"]["ignore_merges"].as_bool().unwrap_or(false);
    let nfc = json["normalizer"]["type"] == "NFC";
    let fits = |d: &&Definition| d.ignore_merges == ignore_merges && canonical(&d.pre_tokenizers()) == wanted;
    let fitting: Vec<&Definition> = DEFINITIONS.iter().filter(fits).collect();
    fitting.iter().find(|d| d.nfc == nfc).or(fitting.first()).map(|d| d.names[0])
}

/// Normalizes steps by their effect: some files write default options out and others omit them.
fn canonical(steps: &[Value]) -> Vec<Value> {
    let flag = |step: &Value, key: &str, default: bool| step[key].as_bool().unwrap_or(default);
    let steps = steps.iter().filter(|s| s["type"] != "ByteLevel" || flag(s, "use_regex", true));
    steps.map(|s| json!([s["type"], s["pattern"], s["behavior"], flag(s, "individual_digits", false)])).collect()
}

impl Definition {
    /// Returns the steps in the format of `tokenizer.json`; one of them maps bytes to letters.
    pub(super) fn pre_tokenizers(&self) -> Vec<Value> {
        let byte_level = |regex: bool| {
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                   "use_regex": regex})
        };
        let mut steps: Vec<Value> = (self.steps.iter())
            .map(|step| match step {
                Split(pattern) => {
                    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
                }
                Digits => json!({"type": "Digits", "individual_digits": true}),
                Numbers => json!({"type": "Digits", "individual_digits": false}),
                Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
                ByteLevel => byte_level(true),
            })
            .collect();
        if !self.steps.iter().any(|s| matches!(s, ByteLevel)) {
            steps.push(byte_level(false));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_stands_for_one_definition_that_can_be_built() {
        let mut seen = HashSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name}");
            let steps = json!({"type": "Sequence", "pretokenizers": definition(name).unwrap().pre_tokenizers()});
            serde_json::from_value::<crate::tokenizer::steps::PreTokenizer>(steps).unwrap();
        }
    }
}
