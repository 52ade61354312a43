//! `suffix` in `/v1/completions`: filling in the middle, with the tokens that the model was trained on for it.

use crate::completions::Prompts;
use crate::error::ApiError;
use crate::model::Served;
use crate::types::MAX_N;
use meno_engine::{Error, Tokenizer};

/// How a family of models marks a gap: the text before it, the text after it, and the start of the middle.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    before: &'static str,
    after: &'static str,
    middle: &'static str,
    /// Tokens that end the middle, besides the tokens that end every answer.
    ends: &'static [&'static str],
    /// Whether the tokenizer puts a space before a text, which the text after the gap must not get.
    spaces: bool,
}

const fn form(before: &'static str, after: &'static str, middle: &'static str, ends: &'static [&'static str]) -> Form {
    Form { before, after, middle, ends, spaces: false }
}

/// Qwen2.5-Coder; DeepSeek-Coder, V3 and R1; StarCoder; SantaCoder; GLM; CodeLlama.
const FORMS: [Form; 6] = [
    form(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        &["<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|endoftext|>", "<|im_end|>"],
    ),
    form("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", &["<｜end▁of▁sentence｜>"]),
    form("<fim_prefix>", "<fim_suffix>", "<fim_middle>", &["<fim_pad>", "<file_sep>", "<|endoftext|>"]),
    form("<fim-prefix>", "<fim-suffix>", "<fim-middle>", &["<fim-pad>", "<|endoftext|>"]),
    form("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", &["<|endoftext|>"]),
    Form { spaces: true, ..form("▁<PRE>", "▁<SUF>", "▁<MID>", &["▁<EOT>"]) },
];

/// A form with the ids of its tokens: before, after, middle.
fn of(tokenizer: &Tokenizer) -> Option<(&'static Form, [u32; 3])> {
    let id = |token| tokenizer.token_to_id(token);
    FORMS.iter().find_map(|f| Some((f, [id(f.before)?, id(f.after)?, id(f.middle)?])))
}

/// Whether gaps can be filled with this tokenizer.
pub fn known(tokenizer: &Tokenizer) -> bool {
    of(tokenizer).is_some()
}

/// Tokens that end a middle.
pub fn ends(tokenizer: &Tokenizer) -> Vec<u32> {
    let ends = of(tokenizer).map_or(&[][..], |(form, _)| form.ends);
    ends.iter().filter_map(|end| tokenizer.token_to_id(end)).collect()
}

/// For every text before the gap: the text, and the tokens that the model is asked with.
pub fn prompts(model: &Served, prompts: Prompts, suffix: &str) -> Result<Vec<(String, Vec<u32>)>, ApiError> {
    let tokenizer = &*model.tokenizer;
    let Some((form, [before, after, middle])) = of(tokenizer) else {
        let message = format!(
            "suffix: the tokenizer of `{}` has no tokens for filling in the middle ({}, … were looked for); code models \
             such as Qwen2.5-Coder have them",
            model.name, FORMS[0].before
        );
        return Err(ApiError::unsupported("suffix", message));
    };
    model.check_length(suffix).map_err(|e| e.about("suffix"))?;
    // Only what the tokenizer puts at the very beginning of a text.
    let first = tokenizer.encode("", true)?.into_iter().filter(|&t| tokenizer.bos() == Some(t));
    let first: Vec<u32> = first.take(1).collect();
    let suffix = encode_after(tokenizer, form, suffix)?;
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

/// The text after the gap. Where the tokenizer begins a text with a space, it is encoded behind a sign whose tokens are
/// dropped, as CodeLlama's own code does.
fn encode_after(tokenizer: &Tokenizer, form: &Form, text: &str) -> Result<Vec<u32>, Error> {
    if !form.spaces {
        return tokenizer.encode(text, false);
    }
    let sign = tokenizer.encode("☺", false)?;
    let marked = tokenizer.encode(&format!("☺{text}"), false)?;
    Ok(marked[sign.len().min(marked.len())..].to_vec())
}
