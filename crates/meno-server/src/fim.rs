//! `suffix` in `/v1/completions`: fill-in-the-middle (FIM), with the special tokens that the model was trained with.

use crate::error::ApiError;
use crate::model::ServedModel;
use crate::prompt_input::Prompts;
use crate::types::MAX_N;
use meno_engine::{Error, Tokenizer};

/// The special tokens of a family of models: before the prefix, the suffix and the middle.
#[derive(Debug, PartialEq, Eq)]
struct FimFormat {
    prefix: &'static str,
    suffix: &'static str,
    middle: &'static str,
    /// Tokens that end the middle, in addition to the ones that end every answer.
    ends: &'static [&'static str],
    /// True if the tokenizer adds a space before a text; the suffix must not get it.
    spaces: bool,
}

const fn format(
    prefix: &'static str,
    suffix: &'static str,
    middle: &'static str,
    ends: &'static [&'static str],
) -> FimFormat {
    FimFormat { prefix, suffix, middle, ends, spaces: false }
}

/// Qwen2.5-Coder; DeepSeek-Coder, V3 and R1; StarCoder; SantaCoder; GLM; CodeLlama.
const FORMATS: [FimFormat; 6] = [
    format(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        &["<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|endoftext|>", "<|im_end|>"],
    ),
    format("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", &["<｜end▁of▁sentence｜>"]),
    format("<fim_prefix>", "<fim_suffix>", "<fim_middle>", &["<fim_pad>", "<file_sep>", "<|endoftext|>"]),
    format("<fim-prefix>", "<fim-suffix>", "<fim-middle>", &["<fim-pad>", "<|endoftext|>"]),
    format("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", &["<|endoftext|>"]),
    FimFormat { spaces: true, ..format("▁<PRE>", "▁<SUF>", "▁<MID>", &["▁<EOT>"]) },
];

/// Returns the format of a tokenizer and the ids of its tokens: prefix, suffix, middle.
fn format_of(tokenizer: &Tokenizer) -> Option<(&'static FimFormat, [u32; 3])> {
    let id = |token| tokenizer.token_to_id(token);
    FORMATS.iter().find_map(|f| Some((f, [id(f.prefix)?, id(f.suffix)?, id(f.middle)?])))
}

/// Returns true if the tokenizer has the tokens of a format.
pub(crate) fn is_supported(tokenizer: &Tokenizer) -> bool {
    format_of(tokenizer).is_some()
}

/// Returns the tokens that end the middle.
pub(crate) fn ends(tokenizer: &Tokenizer) -> Vec<u32> {
    let ends = format_of(tokenizer).map_or(&[][..], |(format, _)| format.ends);
    ends.iter().filter_map(|end| tokenizer.token_to_id(end)).collect()
}

/// Returns, for every prefix, its text and the tokens of the prompt.
pub(crate) fn prompts(
    model: &ServedModel,
    prompts: Prompts,
    suffix: &str,
) -> Result<Vec<(String, Vec<u32>)>, ApiError> {
    let tokenizer = &*model.tokenizer;
    let Some((format, [before, after, middle])) = format_of(tokenizer) else {
        let message = format!(
            "suffix: the tokenizer of `{}` has no fill-in-the-middle tokens (such as {}); code models such as \
             Qwen2.5-Coder have them",
            model.name, FORMATS[0].prefix
        );
        return Err(ApiError::unsupported("suffix", message));
    };
    model.check_length(suffix).map_err(|e| e.about("suffix"))?;
    // The beginning-of-sequence token, if the tokenizer adds one.
    let first = tokenizer.encode("", true)?.into_iter().filter(|&t| tokenizer.bos() == Some(t));
    let first: Vec<u32> = first.take(1).collect();
    let suffix = encode_suffix(tokenizer, format, suffix)?;
    let fill = |text: String, tokens: Vec<u32>| {
        let tokens = [&first[..], &[before], &tokens, &[after], &suffix, &[middle]].concat();
        model.check_prompt(&tokens).map_err(|e| e.about("prompt"))?;
        Ok((text, tokens))
    };
    let text = |text: String| {
        model.check_length(&text).map_err(|e| e.about("prompt"))?;
        let tokens = tokenizer.encode(&text, false)?;
        fill(text, tokens)
    };
    let tokens = |tokens: Vec<u32>| fill(tokenizer.decode(&tokens, false), tokens);
    match prompts {
        Prompts::Text(texts) => texts.into_vec().into_iter().take(MAX_N + 1).map(text).collect(),
        Prompts::Tokens(list) => Ok(vec![tokens(list)?]),
        Prompts::ManyTokens(lists) => lists.into_iter().take(MAX_N + 1).map(tokens).collect(),
    }
}

/// Tokenizes the suffix. If the tokenizer adds a space before a text, the suffix is encoded after a symbol whose
/// tokens are then removed, as in CodeLlama's reference code.
fn encode_suffix(tokenizer: &Tokenizer, format: &FimFormat, text: &str) -> Result<Vec<u32>, Error> {
    if !format.spaces {
        return tokenizer.encode(text, false);
    }
    let symbol = tokenizer.encode("☺", false)?;
    let marked = tokenizer.encode(&format!("☺{text}"), false)?;
    Ok(marked[symbol.len().min(marked.len())..].to_vec())
}
