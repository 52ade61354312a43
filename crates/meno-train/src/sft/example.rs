//! An example of a prompt and its answer.

use crate::data::Example;
use crate::error::Error;
use meno_engine::Tokenizer;

/// Encodes a prompt and its answer. They are encoded separately, as in generation.
pub fn example(tokenizer: &Tokenizer, prompt: &str, completion: &str, add_special: bool) -> Result<Example, Error> {
    let mut tokens = tokenizer.encode(prompt, add_special)?;
    let prompt = tokens.len();
    tokens.extend(tokenizer.encode(completion, false)?);
    if let Some(&eos) = tokenizer.eos().first() {
        // The completion may already end with the end-of-sequence token.
        if tokens.last() != Some(&eos) {
            tokens.push(eos);
        }
    }
    Ok(Example { tokens, prompt })
}
